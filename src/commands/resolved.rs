//! What a session works on, decided only from the command line, the environment and `runner.toml`:
//! no tool has been inspected, and nothing was written.

use crate::cli::Global;
use crate::cli::WorkArgs;
use crate::config;
use crate::config::RunnerConfig;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::edges::Edges;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::edge::jobs::JobPool;
use crate::edge::jobs::OuterJobs;
use crate::lock::Options;
use crate::model::build::SimulatorName;
use crate::model::test::Seed;
use crate::sim::registry::Registry;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use std::num::NonZero;
use std::thread::available_parallelism;

/// What the program was started with, before the project is read.
pub(super) struct Startup {
    pub(super) edges: Edges,
    /// The jobs of the `make` that started it.
    pub(super) outer_jobs: Option<OuterJobs>,
    /// The simulators that can be used.
    pub(super) registry: Registry,
}

/// A project that was found and read, and the settings of a session on it.
pub(super) struct Resolved {
    pub(super) config: RunnerConfig,
    pub(super) edges: Edges,
    pub(super) registry: Registry,
    pub(super) session_id: String,
    pub(super) started_at: Timestamp,
    pub(super) jobs: usize,
    pub(super) pool: JobPool,
    /// Whether to build even what is up to date.
    pub(super) force: bool,
    /// Whether to use what exists, without waiting, compiling or writing.
    pub(super) assume_built: bool,
    no_lock: bool,
}

impl Resolved {
    /// Finds and reads `runner.toml`.
    ///
    /// # Errors
    /// Every problem of the configuration at once; a job count of zero.
    pub(super) fn open(global: &Global, work: &WorkArgs, startup: Startup) -> Result<Self> {
        let Startup {
            mut edges,
            outer_jobs,
            registry,
        } = startup;
        let here = fs::current_dir()?;
        edges.environment = with_absolute_python_path(edges.environment, &here);
        let path = config::find(&here, global.config.as_deref())?;
        let config = config::load(&path, &registry)?;
        let jobs = jobs_of(work, &edges.environment)?
            .or(config.jobs)
            .unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
        let started_at = Timestamp::try_from(edges.clock.wall()).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Self {
            pool: JobPool::new(jobs, outer_jobs, edges.interrupt.clone())?,
            session_id: session_id(started_at),
            force: work.force,
            no_lock: work.no_lock,
            assume_built: work.assume_built,
            config,
            edges,
            registry,
            started_at,
            jobs,
        })
    }

    /// Draws a seed for runs that have none; any seed will do, since it is reported.
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
    /// Only cocorun uses a directory that is named after cocorun's own key, so pytest-cocotb's lock
    /// files are not created there.
    pub(super) fn lock_options(&self) -> Options {
        Options {
            pytest_cocotb: false,
            alone: self.no_lock,
            ..Options::new(&self.session_id)
        }
    }

    /// Returns where the runs of this session get their directories.
    pub(super) fn session_dir(&self) -> Utf8PathBuf {
        self.config.build_dir.join("runs").join(&self.session_id)
    }

    /// Checks a simulator that is named on the command line.
    ///
    /// # Errors
    /// There is no simulator with that name.
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
}

/// Returns how many jobs the command line asks for, else the environment.
///
/// # Errors
/// It is not a number, or zero.
fn jobs_of(work: &WorkArgs, environment: &Environment) -> Result<Option<usize>> {
    let variable = environment.get(env::COCORUN_JOBS).unwrap_or_default();
    let (name, jobs) = match work.jobs {
        Some(jobs) => ("--jobs", Some(jobs)),
        // Many scripts unset a variable by setting it to nothing.
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

/// Makes the entries of `PYTHONPATH` absolute: simulators run in their own folders.
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

/// Names a session: the start time for people, then random digits to make the name unique.
fn session_id(started_at: Timestamp) -> String {
    let host = hostname::get().unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(host.as_encoded_bytes());
    hasher.update(&std::process::id().to_le_bytes());
    hasher.update(started_at.to_string().as_bytes());
    let digest = hasher.finalize().to_hex();
    format!("{}-{}", started_at.strftime("%Y%m%dT%H%M%S"), &digest[..6])
}
