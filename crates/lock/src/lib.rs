//! Locks and run-once steps between processes and nodes that share a directory, also on NFS.
//!
//! - [`CallOnce`] runs a step exactly once per directory and name; all others wait and use the
//!   published result.
//! - [`acquire`] holds a lock by the strategy that suits the file system.
//! - [`maintenance`] lists, ends and removes what is on disk.
//!
//! Everything uses [`Storage`](cocorun_edge::storage::Storage) and
//! [`Clock`](cocorun_edge::clock::Clock) alone. In short: the file server is used as an array of
//! write-once registers. Whoever fills `claim` of the next epoch leads it, after closing all
//! earlier epochs by filling their `commit`; whoever fills its own `commit` first with `done` has
//! published. Time only decides when a process may try.

#[cfg(feature = "locks")]
pub mod acquire;
mod error;
mod holder;
mod ledger;
mod liveness;
#[cfg(feature = "locks")]
pub mod maintenance;
mod once;
mod options;
mod outcome;
mod pytest_cocotb;
mod sync;
#[cfg(feature = "locks")]
pub mod temporary_name;
#[cfg(test)]
mod tests;
mod wait;

pub use error::LockError;
pub use holder::Holder;
pub use holder::plain;
pub use ledger::record::FailureKind;
pub use once::call_once::Accept;
pub use once::call_once::CallOnce;
pub use once::call_once::EnterOutcome;
pub use once::leader::Leader;
pub use once::leader::PublishOutcome;
pub use once::step::Done;
pub use once::step::Failure;
pub use once::step::OnceStep;
pub use once::step::StepError;
pub use options::Options;
pub use outcome::Acceptance;
pub use outcome::FailureRecord;
pub use outcome::Published;
pub use wait::OnWait;
pub use wait::WaitProgress;

/// The README, whose example is compiled by the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
