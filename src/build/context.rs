//! What making a build needs, apart from the build itself.

use crate::build::step_program::Programs;
use crate::build::step_runs::StepRuns;
use crate::diagnostic::Snippet;
use crate::edge::edges::Edges;
use crate::edge::jobs::JobPool;
use crate::lock::Options;
use crate::model::build::Build;
use crate::sim::simulator::Simulator;
use crate::sim::tools::Tools;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::time::Duration;

/// What making a build needs, apart from the build itself.
pub struct BuildContext<'a> {
    /// The Python environment and the simulators.
    pub tools: &'a Tools,
    /// The outside world.
    pub edges: &'a Edges,
    /// Where compiled parts that builds share come from; `None` if there are none.
    pub object_cache: Option<&'a ObjectCache>,
    /// The shared build directory, absolute.
    pub build_dir: &'a Utf8Path,
    /// Where links without blanks are made, for compilers that cannot handle blanks in paths; a
    /// private folder of the node, if there is one.
    pub links_dir: Option<Utf8PathBuf>,
    /// How the guard behaves.
    pub lock: Options,
    /// How long to wait while another process makes the same build.
    pub lock_timeout: Duration,
    /// How long one command of a build may run.
    pub build_timeout: Duration,
    /// The session's job budget; a compile is one job, and its `make` uses any that are free.
    pub jobs: &'a JobPool,
    /// What the steps of the session came to so far.
    pub step_runs: &'a StepRuns,
    /// Environment variables of every step, such as where Python stores byte code.
    pub step_env: BTreeMap<String, String>,
    /// Returns where a key in the table of a build is, which the names of inner tables lead to.
    pub place_of: &'a dyn Fn(&Build, &[&str]) -> Option<Snippet>,
    /// Returns where a key of a step of a build is, which the names of all tables lead to.
    pub step_place_of: &'a dyn Fn(&Build, &[&str]) -> Option<Snippet>,
    /// Whether to build even what is up to date.
    pub force: bool,
    /// Whether to use what exists, without waiting, compiling or writing.
    pub assume_built: bool,
}

/// A program that `make` starts instead of the C++ compiler, and that shares compiled objects
/// between builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectCache {
    /// The program and its arguments, as shell words.
    pub launcher: String,
    /// Its environment variables.
    pub env: BTreeMap<String, String>,
}

impl BuildContext<'_> {
    /// Returns how programs of steps are found.
    pub(super) fn programs(&self) -> Programs<'_> {
        Programs {
            python: &self.tools.python,
            environment: &self.edges.environment,
        }
    }

    /// Returns the inherited variables that change what a simulator's builds make.
    pub(super) fn inherited(&self, simulator: &dyn Simulator) -> BTreeMap<String, String> {
        let names = simulator.inherited_variables().iter();
        names
            .filter_map(|name| {
                let value = self.edges.environment.get(name)?;
                Some(((*name).to_owned(), value.to_owned()))
            })
            .collect()
    }
}
