//! Mutual exclusion with the means of the actual file system.
//!
//! [`Strategy`] lists the methods, [`choose`] picks one and tries its primitives on the actual
//! directory, [`Lock`] waits and [`Guard`] holds. Invariants: a file system that is not known to be
//! local is never treated as local; a strategy whose primitives do not work is refused, never
//! weakened.

mod blocks;
mod detect;
mod guard;
mod nfs_lock;
mod poll_schedule;
mod probe;
mod strategy;
mod tickets;

pub use detect::Choice;
pub use detect::choose;
pub use guard::Guard;
pub use guard::Lock;
pub(crate) use guard::holder_of;
pub use nfs_lock::AcquireOutcome;
pub use nfs_lock::HeldTicket;
pub use nfs_lock::NfsLock;
pub use strategy::Strategy;
