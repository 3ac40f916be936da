//! What every subcommand that builds needs: configuration, edges, tools, directories.

use crate::agent::package;
use crate::build::context::BuildContext;
use crate::build::context::ObjectCache;
use crate::build::ensure;
use crate::build::ensure::Ready;
use crate::cli::Global;
use crate::cli::WorkArgs;
use crate::commands::objcache;
use crate::commands::reporting::Console;
use crate::commands::reporting::line;
use crate::config;
use crate::config::RunnerConfig;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::clock::SystemClock;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::edge::interrupt::Interrupt;
use crate::edge::jobs::JobPool;
use crate::edge::jobs::OuterJobs;
use crate::edge::process::SystemHost;
use crate::edge::storage::SystemStorage;
use crate::lock::Options;
use crate::lock::WaitProgress;
use crate::model::build::Build;
use crate::model::build::SimulatorName;
use crate::model::test::Seed;
use crate::sim::registry::Registry;
use crate::sim::tools::Tools;
use crate::toolchain::cache::NodeCache;
use crate::toolchain::provision;
use crate::toolchain::provision::Provision;
use crate::toolchain::python;
use crate::toolchain::python::PythonNeeds;
use crate::toolchain::simulator;
use crate::toolchain::simulator::Search;
use crate::toolchain::simulator::ToolInspection;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

/// A project that was found and read, and the edges to work on it.
pub(super) struct Workspace {
    pub(super) config: RunnerConfig,
    registry: Registry,
    pub(super) environment: Environment,
    pub(super) interrupt: Interrupt,
    pub(super) host: SystemHost,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) session_id: String,
    pub(super) started_at: Timestamp,
    pub(super) jobs: usize,
    pub(super) pool: JobPool,
    cache: NodeCache,
    force: bool,
    no_lock: bool,
    assume_built: bool,
}

/// What the program found when it was started.
pub(super) struct Surroundings {
    pub(super) environment: Environment,
    /// Raised by signals.
    pub(super) interrupt: Interrupt,
    /// The jobs of the `make` that started it.
    pub(super) outer_jobs: Option<OuterJobs>,
    /// The simulators that can be used.
    pub(super) registry: Registry,
}

impl Workspace {
    /// Finds and reads `runner.toml`.
    ///
    /// # Errors
    /// Every problem of the configuration at once; a job count of zero.
    pub(super) fn open(
        global: &Global,
        work: &WorkArgs,
        surroundings: Surroundings,
    ) -> Result<Self> {
        let Surroundings {
            environment,
            interrupt,
            outer_jobs,
            registry,
        } = surroundings;
        let here = fs::current_dir()?;
        let environment = with_absolute_python_path(environment, &here);
        let path = config::find(&here, global.config.as_deref())?;
        let config = config::load(&path, &registry)?;
        let jobs = jobs_of(work, &environment)?
            .or(config.jobs)
            .unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let started_at = Timestamp::try_from(clock.wall()).unwrap_or(Timestamp::UNIX_EPOCH);
        let session_id = session_id(started_at);
        Ok(Self {
            host: SystemHost::new(interrupt.clone()),
            pool: JobPool::new(jobs, outer_jobs, interrupt.clone())?,
            cache: NodeCache::open(&environment),
            force: work.force,
            no_lock: work.no_lock,
            assume_built: work.assume_built,
            config,
            registry,
            environment,
            interrupt,
            clock,
            session_id,
            started_at,
            jobs,
        })
    }

    /// Draws a seed for runs that have none: any will do, as long as it is told.
    pub(super) fn draw_seed(&self) -> Seed {
        let digest = blake3::hash(self.session_id.as_bytes());
        let bytes = digest.as_bytes();
        Seed(u32::from_le_bytes([
            bytes[0],
            bytes[1],
            bytes[2],
            bytes[3] & 0x7f,
        ]))
    }

    /// Returns how the guards of this session behave.
    ///
    /// Nobody but cocorun finds its way into a directory that is named after cocorun's own key, so
    /// none of pytest-cocotb's lock files are made there.
    pub(super) fn lock_options(&self) -> Options {
        Options {
            pytest_cocotb: false,
            alone: self.no_lock,
            ..Options::new(&self.session_id)
        }
    }

    /// Finds, or makes, every tool that these builds need.
    ///
    /// # Errors
    /// Everything that is missing, at once, except that simulators cannot be looked for without a
    /// Python environment.
    pub(super) fn tools(&self, builds: &[Build], console: Console) -> Result<Tools> {
        self.refuse(builds)?;
        let interpreter = self.interpreter(console)?;
        let wanted = PythonNeeds {
            packages: self.registry.python_packages(),
            cocotb_files: self.registry.cocotb_files(),
        };
        let python = python::probe(
            &interpreter,
            &wanted,
            &self.host,
            self.clock.as_ref(),
            &self.cache,
            &self.environment,
        )
        .map_err(|problems| self.advised(problems))?;
        let search = Search {
            environment: &self.environment,
            python: &python,
            host: &self.host,
            clock: self.clock.as_ref(),
            cache: &self.cache,
        };
        let names: BTreeSet<&SimulatorName> = builds.iter().map(|it| &it.simulator).collect();
        let wanted = names
            .iter()
            .filter_map(|name| self.registry.get(name.as_str()));
        let inspections: Vec<ToolInspection> = wanted
            .map(|simulator| simulator::inspect(simulator, &search))
            .collect();
        let findings = || inspections.iter().flat_map(|it| &it.findings);
        let problems: Vec<Diagnostic> = findings()
            .filter_map(|finding| finding.found.as_ref().err())
            .flat_map(|problems| problems.0.clone())
            .collect();
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        if console.is_verbose() {
            let cocotb = &python.cocotb;
            line(&format!("      PYTHON {interpreter} (cocotb {cocotb})"));
            findings().for_each(|finding| line(&format!("        TOOL {finding}")));
        }
        let installed = inspections.into_iter().filter_map(|it| it.installed);
        let simulators = installed.map(|it| (it.tool.simulator.clone(), it));
        Ok(Tools {
            simulators: simulators.collect(),
            python,
        })
    }

    /// Refuses builds that their simulators cannot make.
    fn refuse(&self, builds: &[Build]) -> Result<()> {
        let mut refusals = Vec::new();
        for build in builds {
            let simulator = self.registry.get(build.simulator.as_str());
            let why = simulator.map(|it| it.refusals(build, &self.config.build_dir));
            refusals.extend(why.into_iter().flatten().map(|why| {
                Diagnostic::error(
                    Code::ConfigBadValue,
                    format!("build `{}` cannot be compiled: {why}", build.name),
                )
            }));
        }
        if refusals.is_empty() {
            return Ok(());
        }
        Err(Problems(refusals))
    }

    /// Checks a simulator that is named on the command line.
    ///
    /// # Errors
    /// There is none of that name.
    pub(super) fn known_simulator(
        &self,
        name: Option<&SimulatorName>,
    ) -> Result<Option<SimulatorName>> {
        let Some(name) = name else {
            return Ok(None);
        };
        if self.registry.get(name.as_str()).is_some() {
            return Ok(Some(name.clone()));
        }
        let words = format!("unknown simulator `{name}`");
        let problem = Diagnostic::error(Code::ConfigUnknownSimulator, words);
        Err(problem.help(self.registry.in_words()).into())
    }

    /// Shows where an interpreter is named that is no good; says where to name cocotb to somebody
    /// whose environment was made from a list without it.
    fn advised(&self, problems: Problems) -> Problems {
        if self.config.python.requirements.is_empty() {
            return self.placed(problems);
        }
        let mut problems = problems;
        for problem in &mut problems.0 {
            if problem.code == Code::PythonNoCocotb {
                problem.help =
                    Some("add `\"cocotb==2.1.0\"` to `requirements` in `[python]`".to_owned());
            }
        }
        problems
    }

    /// Adds the line of `interpreter` in `runner.toml`, where there is one.
    fn placed(&self, mut problems: Problems) -> Problems {
        for problem in &mut problems.0 {
            problem.snippet = self.config.places.of(&["python", "interpreter"]);
        }
        problems
    }

    fn interpreter(&self, console: Console) -> Result<Utf8PathBuf> {
        let python = &self.config.python;
        let base = python::find(python.interpreter.as_deref(), &self.environment)
            .map_err(|problems| self.placed(problems))?;
        if python.requirements.is_empty() {
            return Ok(base);
        }
        fs::create_dirs(&self.config.build_dir)?;
        provision::ensure_environment(
            &Provision {
                requirements: &python.requirements,
                base: &base,
                project_dir: &self.config.project_dir,
                build_dir: &self.config.build_dir,
                environment: &self.environment,
                host: &self.host,
                clock: Arc::clone(&self.clock),
                storage: Arc::new(SystemStorage),
                interrupt: &self.interrupt,
                lock: self.lock_options(),
                lock_timeout: self.config.lock_timeout,
            },
            &|_| {
                let names = python.requirements.join(", ");
                console.status(&format!("     PREPARE python environment ({names})"));
            },
            &|_| {},
        )
    }

    /// Makes sure that a build exists.
    ///
    /// # Errors
    /// As [`ensure::ensure_built`].
    pub(super) fn ensure_built(
        &self,
        tools: &Tools,
        build: &Build,
        on_wait: &dyn Fn(&WaitProgress<'_>),
    ) -> Result<Ready> {
        let chosen = self.environment.get(env::OBJCACHE).unwrap_or_default();
        let object_env = BTreeMap::from([
            (env::COCORUN_OBJECT_LAUNCHER.to_owned(), chosen.to_owned()),
            (
                env::COCORUN_OBJECT_STORE.to_owned(),
                self.config.build_dir.join("objects").to_string(),
            ),
            (env::COCORUN_SESSION_ID.to_owned(), self.session_id.clone()),
        ]);
        let object_cache = objcache::program().map(|program| ObjectCache {
            launcher: format!("{} __objcache", shell_words::quote(program.as_str())),
            env: object_env,
        });
        let context = BuildContext {
            tools,
            environment: &self.environment,
            object_cache: object_cache.as_ref(),
            host: &self.host,
            clock: Arc::clone(&self.clock),
            storage: Arc::new(SystemStorage),
            interrupt: &self.interrupt,
            build_dir: &self.config.build_dir,
            lock: self.lock_options(),
            lock_timeout: self.config.lock_timeout,
            build_timeout: self.config.build_timeout,
            jobs: &self.pool,
            place_of: &|names| self.config.places.of(names),
            force: self.force,
            assume_built: self.assume_built,
        };
        ensure::ensure_built(build, &context, on_wait)
    }

    /// Returns where the runs of this session get their directories.
    pub(super) fn session_dir(&self) -> Utf8PathBuf {
        self.config.build_dir.join("runs").join(&self.session_id)
    }

    /// Returns the variables of every simulation: where Python finds the agent and the tests, and
    /// where it keeps byte code.
    ///
    /// # Errors
    /// The agent cannot be written.
    pub(super) fn base_env(&self) -> Result<BTreeMap<String, String>> {
        let agent = self.agent_dir()?;
        let mut paths = vec![agent.to_string()];
        paths.extend(self.config.python.paths.iter().map(ToString::to_string));
        paths.extend(self.environment.get(env::PYTHONPATH).map(str::to_owned));
        let mut env = BTreeMap::from([
            ("PYTHONPATH".to_owned(), paths.join(":")),
            (
                env::COCORUN_PROJECT_DIR.to_owned(),
                self.config.project_dir.to_string(),
            ),
        ]);
        if let Some(seed) = self.environment.get(env::PYTHONHASHSEED) {
            env.insert(env::PYTHONHASHSEED.to_owned(), seed.to_owned());
        }
        // Byte code never goes beside shared sources: many nodes would write it at once, by rename.
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
        Ok(env)
    }

    /// Writes the agent where it is not yet, and returns the folder that holds its package.
    fn agent_dir(&self) -> Result<Utf8PathBuf> {
        if let Some(dir) = self
            .cache
            .keep_files("agent", package::PACKAGE_NAME, package::PACKAGE)
        {
            return Ok(dir);
        }
        let dir = self.session_dir().join("agent");
        let package = dir.join(package::PACKAGE_NAME);
        fs::create_dirs(&package)?;
        for (name, text) in package::PACKAGE {
            fs::write(&package.join(name), text)?;
        }
        Ok(dir)
    }
}

/// Returns how many jobs the command line asks for, or else the environment.
///
/// # Errors
/// It is no number, or zero.
fn jobs_of(work: &WorkArgs, environment: &Environment) -> Result<Option<usize>> {
    let variable = environment.get(env::COCORUN_JOBS).unwrap_or_default();
    let (name, jobs) = match work.jobs {
        Some(jobs) => ("--jobs", Some(jobs)),
        // A variable that is set to nothing is how many a script unsets one.
        None if variable.is_empty() => return Ok(None),
        None => ("COCORUN_JOBS", variable.parse().ok()),
    };
    match jobs {
        Some(jobs) if jobs > 0 => Ok(Some(jobs)),
        _ => {
            let text = format!("`{name}` must be a number, at least 1");
            let problem = Diagnostic::error(Code::UsageBadArgument, text);
            Err(problem.help("leave it out to use every processor").into())
        }
    }
}

/// Returns how a command that repeats a testcase begins.
pub(super) fn rerun_prefix(global: &Global) -> String {
    match &global.config {
        Some(path) => format!(
            "cocorun test --config {}",
            shell_words::quote(path.as_str())
        ),
        None => "cocorun test".to_owned(),
    }
}

/// Makes the entries of `PYTHONPATH` absolute: simulators run in folders of their own.
fn with_absolute_python_path(environment: Environment, here: &Utf8Path) -> Environment {
    let Some(given) = environment.get(env::PYTHONPATH) else {
        return environment;
    };
    let entries: Vec<String> = given
        .split(':')
        .map(|entry| here.join(entry).to_string())
        .collect();
    let absolute = entries.join(":");
    environment.with(env::PYTHONPATH, &absolute)
}

/// Names a session: start time for people, digits that nobody else has for the disk.
fn session_id(started_at: Timestamp) -> String {
    let host = hostname::get().unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(host.as_encoded_bytes());
    hasher.update(&std::process::id().to_le_bytes());
    hasher.update(started_at.to_string().as_bytes());
    let digest = hasher.finalize().to_hex();
    format!("{}-{}", started_at.strftime("%Y%m%dT%H%M%S"), &digest[..6])
}
