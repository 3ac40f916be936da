//! The simulators of a session that have started Python and read no design, see `starter`.

use crate::agent::fork_server::ForkServer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// How many a session has at most: each takes some 30 MiB and lives to its end, since the servers
/// that were forked from it end with it.
const STARTERS_MAX: usize = 4;

/// What is known of one kind of start.
#[derive(Debug, Default)]
enum Starter {
    /// Nobody has asked for it.
    #[default]
    Unknown,
    /// Servers of this design alone were started like this, on their own.
    WantedBy(String),
    Serving(ForkServer),
    /// It cannot serve, or there are too many others.
    None,
}

/// By what servers are started with. They end with the session.
#[derive(Debug, Default)]
pub(super) struct Starters {
    /// Whether the first design is likely to have others that are started alike.
    expect_several: bool,
    by_key: Mutex<BTreeMap<String, Arc<Mutex<Starter>>>>,
}

impl Starters {
    /// Begins with none.
    pub(super) fn new(expect_several: bool) -> Self {
        Self {
            expect_several,
            by_key: Mutex::default(),
        }
    }

    /// Uses a starter for a design; `None` if there is none. The first design with a key starts it if
    /// several are expected, else the second, while others for that key wait: the servers of one design
    /// are cheaper without.
    pub(super) fn with<T>(
        &self,
        key: &str,
        design: &str,
        start: impl FnOnce() -> Option<ForkServer>,
        usage: impl FnOnce(&ForkServer) -> Option<T>,
    ) -> Option<T> {
        let (starter, has_room) = {
            let mut all = locked(&self.by_key);
            let has_room = all.len() <= STARTERS_MAX || all.contains_key(key);
            (Arc::clone(all.entry(key.to_owned()).or_default()), has_room)
        };
        let mut starter = locked(&starter);
        match &*starter {
            Starter::Unknown if self.expect_several && has_room => {
                *starter = start().map_or(Starter::None, Starter::Serving);
            }
            Starter::Unknown => *starter = Starter::WantedBy(design.to_owned()),
            Starter::WantedBy(other) if other != design && has_room => {
                *starter = start().map_or(Starter::None, Starter::Serving);
            }
            _ => {}
        }
        match &*starter {
            Starter::Serving(server) => usage(server),
            _ => None,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
