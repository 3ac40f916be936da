//! What making a build needs, apart from the build itself.

use crate::diagnostic::Snippet;
use crate::edge::clock::Clock;
use crate::edge::env::Environment;
use crate::edge::interrupt::Interrupt;
use crate::edge::jobs::JobPool;
use crate::edge::process::ProcessHost;
use crate::edge::storage::Storage;
use crate::lock::Options;
use crate::sim::simulator::Simulator;
use crate::sim::tools::Tools;

use camino::Utf8Path;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What making a build needs, apart from the build itself.
pub struct BuildContext<'a> {
    /// The Python environment and the simulators.
    pub tools: &'a Tools,
    /// The environment of this process, which compilers inherit.
    pub environment: &'a Environment,
    /// Where compiled parts that builds share come from; `None` where there are none.
    pub object_cache: Option<&'a ObjectCache>,
    /// Where children are started.
    pub host: &'a dyn ProcessHost,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The shared disk, as the guard sees it.
    pub storage: Arc<dyn Storage>,
    /// Ends waits and compiles when raised.
    pub interrupt: &'a Interrupt,
    /// The shared build directory, absolute.
    pub build_dir: &'a Utf8Path,
    /// How the guard behaves.
    pub lock: Options,
    /// For how long to wait for another process that builds the same.
    pub lock_timeout: Duration,
    /// For how long one command of a build may run.
    pub build_timeout: Duration,
    /// The session's job budget; a compile is one job, and its `make` takes what others leave.
    pub jobs: &'a JobPool,
    /// Where a key of `runner.toml` is, to which the names of its tables lead.
    pub place_of: &'a dyn Fn(&[&str]) -> Option<Snippet>,
    /// Whether to build even what is up to date.
    pub force: bool,
    /// Whether to take what is there and neither wait, compile nor write.
    pub assume_built: bool,
}

/// A program that `make` starts in place of the C++ compiler, and that shares what it compiles
/// between builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectCache {
    /// The program and its arguments, as words of a shell.
    pub launcher: String,
    /// Variables for it.
    pub env: BTreeMap<String, String>,
}

impl BuildContext<'_> {
    /// Returns the inherited variables that change what a simulator's builds make.
    pub(super) fn inherited(&self, simulator: &dyn Simulator) -> BTreeMap<String, String> {
        let names = simulator.inherited_variables().iter();
        names
            .filter_map(|name| {
                let value = self.environment.get(name)?;
                Some(((*name).to_owned(), value.to_owned()))
            })
            .collect()
    }
}
