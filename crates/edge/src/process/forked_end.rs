//! How a child ended that a service forked: set by one thread, read by another.

use crate::process::contract::Exit;

use std::sync::Mutex;
use std::sync::PoisonError;

/// What is known of a forked child's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ForkedEnd {
    /// It has not ended.
    #[default]
    Alive,
    /// Its service said so.
    Ended(Exit),
    /// Its service is gone, and nobody knows.
    Lost,
}

/// A forked child's end; set before the child's `ended` descriptor is readable.
#[derive(Debug, Default)]
pub(super) struct SharedEnd(Mutex<ForkedEnd>);

impl SharedEnd {
    /// Sets it; what was known before stays.
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
