//! The simulators of a session that have started Python and read no design, see `starter`.

use crate::agent::fork_server::ForkServer;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

/// They end with the session.
#[derive(Debug)]
pub(super) struct Starters {
    are_worth_it: bool,
    /// By what they are started with; `None` if one cannot serve.
    started: Mutex<BTreeMap<String, Option<ForkServer>>>,
}

impl Starters {
    /// `designs` is how many builds of the session start Python before they read their design.
    pub(super) fn new(designs: usize) -> Self {
        Self {
            are_worth_it: designs > 1,
            started: Mutex::default(),
        }
    }

    /// Uses a starter; `None` if there is none. The first call for a key starts it, while others
    /// wait.
    pub(super) fn with<T>(
        &self,
        key: String,
        start: impl FnOnce() -> Option<ForkServer>,
        usage: impl FnOnce(&ForkServer) -> Option<T>,
    ) -> Option<T> {
        if !self.are_worth_it {
            return None;
        }
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        usage(started.entry(key).or_insert_with(start).as_ref()?)
    }
}
