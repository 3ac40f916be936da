//! What every task of a session is given: the outside world, and what all runs share.

use crate::agent::fork_server::Waits;
use crate::edge::clock::Clock;
use crate::edge::interrupt::Interrupt;
use crate::edge::process::ProcessHost;
use crate::event::RunId;
use crate::model::test::Seed;
use crate::sim::tools::Tools;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A session at work, as its tasks see it.
pub(super) struct TaskContext<'a> {
    pub(super) host: &'a dyn ProcessHost,
    pub(super) clock: &'a dyn Clock,
    pub(super) interrupt: &'a Interrupt,
    pub(super) tools: &'a Tools,
    pub(super) session_id: String,
    pub(super) session_dir: Utf8PathBuf,
    /// The seed of runs that have none of their own.
    pub(super) seed: Seed,
    /// When the session reaches its limit, by `clock`.
    pub(super) ends_at: Option<Instant>,
    /// Variables of every simulation.
    pub(super) base_env: BTreeMap<String, String>,
    /// How many fork servers are at work.
    pub(super) servers_alive: Arc<AtomicUsize>,
    /// How many runs have a number.
    pub(super) runs: AtomicU32,
}

impl TaskContext<'_> {
    /// Returns the next run's number.
    pub(super) fn next_run(&self) -> RunId {
        self.runs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns what a wait for a fork server needs.
    pub(super) fn waits(&self) -> Waits<'_> {
        Waits {
            clock: self.clock,
            interrupt: self.interrupt,
        }
    }

    /// Says whether the session has reached its limit.
    pub(super) fn is_over(&self) -> bool {
        self.ends_at.is_some_and(|end| self.clock.now() >= end)
    }
}
