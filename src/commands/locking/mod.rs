//! `cocorun lock`, `locks` and `once`: locks for makefiles and people.
//!
//! Uses nothing of a session; without the feature `lock-commands` this folder is left out.

mod hold;
mod lock;
mod locks;
mod once;
mod target;
mod waiting;

pub(super) use lock::lock;
pub(super) use locks::locks;
pub(super) use once::once;
