//! How a child that a service forked ended: set by one thread, read by another.

use crate::process::contract::Exit;

use std::sync::Mutex;
use std::sync::PoisonError;

/// What is known about a forked child's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ForkedEnd {
    /// It has not ended.
    #[default]
    Alive,
    /// Its service reported it.
    Ended(Exit),
    /// Its service is gone, and nobody knows.
    Lost,
}

/// A forked child's end; set before the child's `ended` descriptor is readable.
#[derive(Debug, Default)]
pub(super) struct SharedEnd(Mutex<ForkedEnd>);

impl SharedEnd {
    /// Sets it, unless it is already set.
    pub(super) fn settle(&self, end: ForkedEnd) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == ForkedEnd::Alive {
            *current = end;
        }
    }

    /// Returns what is known now.
    pub(super) fn get(&self) -> ForkedEnd {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
