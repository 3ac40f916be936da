//! A session that is ready to start: what it works on, and its tools.

use crate::agent::package;
use crate::build::context::BuildContext;
use crate::build::context::ObjectCache;
use crate::build::ensure;
use crate::build::ensure::Ready;
use crate::build::news::OnNews;
use crate::build::step_program::Programs;
use crate::build::step_runs::StepRuns;
use crate::commands::find_tools::find_tools;
use crate::commands::objcache;
use crate::commands::reporting::Console;
use crate::commands::resolved::Resolved;
use crate::config;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::env;
use crate::edge::fs;
use crate::model::build::Build;
use crate::model::build::SimulatorName;
use crate::model::test::PlannedModule;
use crate::sim::tools::Tools;
use crate::toolchain::cache::NodeCache;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// The folder for what builds share, in the build directory.
const OBJECTS: &str = "objects";
/// From how many builds on a precompiled header pays whatever is there: it takes two seconds and 90 MB,
/// and saves each build more than one.
const HEADERS_PAY_FROM: usize = 3;

/// What a session works on, and its tools.
pub(super) struct Session {
    pub(super) resolved: Resolved,
    pub(super) tools: Tools,
    /// Warnings about the files of its builds.
    pub(super) warnings: Vec<Diagnostic>,
    cache: NodeCache,
    /// The simulators for which a precompiled header pays.
    headers_pay: BTreeSet<SimulatorName>,
    /// What the steps of its builds came to.
    step_runs: StepRuns,
}

impl Session {
    /// Finds or creates the tools that these builds and modules need.
    ///
    /// # Errors
    /// What is wrong with the files of these builds; what the cocotb that was found cannot do; else as
    /// [`find_tools`].
    pub(super) fn inspect(
        resolved: Resolved,
        builds: &[Build],
        modules: &[PlannedModule],
        console: Console,
    ) -> Result<Self> {
        let names = builds.iter().map(|build| &build.name);
        let warnings = resolved.config.build_problems.of(names)?;
        let cache = NodeCache::open(&resolved.edges.environment);
        let tools = find_tools(&resolved, &cache, builds, console)?;
        let programs = Programs {
            python: &tools.python,
            environment: &resolved.edges.environment,
        };
        let mut problems = programs.missing(builds);
        let tables: BTreeSet<usize> = modules.iter().map(|module| module.table).collect();
        let tables = tables
            .iter()
            .filter_map(|it| resolved.config.tests.get(*it));
        problems.extend(
            tables.filter_map(|table| config::refused_gpi_user(table, &tools.python.cocotb)),
        );
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let headers_pay = headers_pay(builds, &resolved.config.build_dir);
        Ok(Self {
            resolved,
            tools,
            warnings,
            cache,
            headers_pay,
            step_runs: StepRuns::default(),
        })
    }

    /// Makes sure that a build exists.
    ///
    /// # Errors
    /// As [`ensure::ensure_built`].
    pub(super) fn ensure_built(&self, build: &Build, on_news: &OnNews<'_>) -> Result<Ready> {
        let Resolved { config, edges, .. } = &self.resolved;
        let session_id = &self.resolved.session_id;
        let launcher = edges.environment.get(env::OBJCACHE).unwrap_or_default();
        let store = config.build_dir.join(OBJECTS);
        let makes_headers = self.headers_pay.contains(&build.simulator);
        let object_env = [
            (env::COCORUN_OBJECT_LAUNCHER, launcher),
            (env::COCORUN_OBJECT_STORE, store.as_str()),
            (env::COCORUN_SESSION_ID, session_id),
            (
                env::COCORUN_OBJECT_HEADERS,
                if makes_headers { "1" } else { "" },
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let object_cache = objcache::program().map(|program| ObjectCache {
            launcher: format!("{} __objcache", shell_words::quote(program.as_str())),
            env: BTreeMap::from(object_env),
        });
        let context = BuildContext {
            tools: &self.tools,
            edges,
            object_cache: object_cache.as_ref(),
            build_dir: &config.build_dir,
            links_dir: self.cache.links_dir(),
            lock: self.resolved.lock_options(),
            lock_timeout: config.lock_timeout,
            build_timeout: config.build_timeout,
            jobs: &self.resolved.pool,
            step_runs: &self.step_runs,
            step_env: self.python_env(),
            place_of: &|build, keys| config.places.of_build(build, keys),
            step_place_of: &|build, names| config.places.in_file_of(build, names),
            force: self.resolved.force,
            assume_built: self.resolved.assume_built,
        };
        ensure::ensure_built(build, &context, on_news)
    }

    /// Returns the environment variables of every simulation, such as where Python stores byte code.
    pub(super) fn base_env(&self) -> BTreeMap<String, String> {
        let edges = &self.resolved.edges;
        let mut env = BTreeMap::new();
        if let Some(seed) = edges.environment.get(env::PYTHONHASHSEED) {
            env.insert(env::PYTHONHASHSEED.to_owned(), seed.to_owned());
        }
        env.extend(self.python_env());
        env
    }

    /// Returns variables by which byte code never goes next to shared sources, where many nodes
    /// would write it at once, by rename.
    fn python_env(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        // An empty PYTHONDONTWRITEBYTECODE counts as not set.
        match self.cache.byte_code_dir() {
            Some(dir) => {
                env.insert("PYTHONPYCACHEPREFIX".to_owned(), dir.to_string());
                env.insert("PYTHONDONTWRITEBYTECODE".to_owned(), String::new());
            }
            None => {
                env.insert("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
            }
        }
        env
    }

    /// Writes the agent if it is not there yet, and returns the folder that contains its package.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn agent_dir(&self) -> Result<Utf8PathBuf> {
        if let Some(dir) = self
            .cache
            .keep_files("agent", package::PACKAGE_NAME, package::PACKAGE)
        {
            return Ok(dir);
        }
        let dir = self.resolved.session_dir().join("agent");
        let folder = dir.join(package::PACKAGE_NAME);
        fs::create_dirs(&folder)?;
        for (name, text) in package::PACKAGE {
            fs::write(&folder.join(name), text)?;
        }
        Ok(dir)
    }
}

/// Returns the simulators for which a precompiled header pays: those of many builds, or all if many
/// were made in this build directory, as by somebody who edits a design, or if their runtime has to be
/// compiled, most of which takes less time after the header.
fn headers_pay(builds: &[Build], build_dir: &Utf8Path) -> BTreeSet<SimulatorName> {
    let has_runtime = fs::exists(&build_dir.join(OBJECTS));
    let names = fs::list(build_dir).unwrap_or_default();
    let made = names.iter().filter(|name| ensure::is_build_folder(name));
    let made = made.count();
    let simulators: BTreeSet<SimulatorName> =
        builds.iter().map(|build| build.simulator.clone()).collect();
    let pays = |simulator: &SimulatorName| {
        let planned = builds.iter().filter(|it| it.simulator == *simulator);
        !has_runtime || planned.count() + made >= HEADERS_PAY_FROM
    };
    simulators.into_iter().filter(pays).collect()
}
