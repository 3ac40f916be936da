//! What every task of a session gets: the outside world, and what all runs share.

use crate::agent::fork_server::Waits;
use crate::edge::clock::Clock;
use crate::edge::edges::Edges;
use crate::edge::interrupt::Interrupt;
use crate::edge::process::ProcessHost;
use crate::event::RunId;
use crate::model::test::RunSettings;
use crate::model::test::Seed;
use crate::schedule::servers::ServerLimit;
use crate::schedule::starters::Starters;
use crate::sim::tools::Tools;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// A running session, as its tasks see it.
pub(super) struct TaskContext<'a> {
    pub(super) edges: &'a Edges,
    pub(super) tools: &'a Tools,
    pub(super) session_id: String,
    pub(super) session_dir: Utf8PathBuf,
    /// The seed of runs that have none of their own.
    pub(super) seed: Seed,
    /// When the session reaches its limit, by `clock`.
    pub(super) ends_at: Option<Instant>,
    /// Environment variables of every simulation.
    pub(super) base_env: BTreeMap<String, String>,
    /// The folder that contains the agent's package.
    pub(super) agent_dir: Utf8PathBuf,
    /// The user's own `PYTHONPATH`, absolute.
    pub(super) inherited_python_path: Option<String>,
    /// The fork servers that are running.
    pub(super) servers: ServerLimit,
    /// What servers of builds are forked from.
    pub(super) starters: Starters,
    /// How many run numbers were given out.
    pub(super) runs: AtomicU32,
}

impl TaskContext<'_> {
    /// Returns what starts children.
    pub(super) fn host(&self) -> &dyn ProcessHost {
        self.edges.host.as_ref()
    }

    /// Returns the clock of all limits.
    pub(super) fn clock(&self) -> &dyn Clock {
        self.edges.clock.as_ref()
    }

    /// Returns the flag that stops the session when it is raised.
    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.edges.interrupt
    }

    /// Returns the next run's number.
    pub(super) fn next_run(&self) -> RunId {
        self.runs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns what a wait for a fork server needs.
    pub(super) fn waits(&self) -> Waits<'_> {
        Waits {
            clock: self.clock(),
            interrupt: self.interrupt(),
        }
    }

    /// Returns how long the session may still take; `None` if it has no limit.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let now = self.clock().now();
        self.ends_at.map(|end| end.saturating_duration_since(now))
    }

    /// Returns the `PYTHONPATH` of runs with these settings: the agent, their own folders, and the
    /// inherited ones.
    pub(super) fn python_path(&self, settings: &RunSettings) -> String {
        let folders = settings.import_path.folders.iter();
        let own = [&self.agent_dir].into_iter().chain(folders);
        let inherited = self.inherited_python_path.as_deref();
        let entries: Vec<&str> = own.map(|it| it.as_str()).chain(inherited).collect();
        entries.join(":")
    }

    /// Says whether the session has reached its limit.
    pub(super) fn is_over(&self) -> bool {
        self.ends_at.is_some_and(|end| self.clock().now() >= end)
    }
}
