//! `cocorun lock`, `locks` and `once`: locks for makefiles and people.
//!
//! Nothing of a session is used here; the feature `lock-commands` leaves the folder out.

mod hold;
mod lock;
mod locks;
mod once;
mod target;
mod waiting;

pub(super) use lock::lock;
pub(super) use locks::locks;
pub(super) use once::once;
