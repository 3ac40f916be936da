//! Creates the Python environment of `[python] requirements`, once for all processes on the disk.
//!
//! Invariant: an environment is used only after it was published complete. It stays where it was
//! created, since a virtual environment contains its own path.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::cache_dir;
use crate::edge::edges::Edges;
use crate::edge::fs;
use crate::edge::process::CommandSpec;
use crate::edge::process::Completion;
use crate::edge::process::complete;
use crate::lock::Acceptance;
use crate::lock::CallOnce;
use crate::lock::Failure;
use crate::lock::FailureKind;
use crate::lock::Leader;
use crate::lock::OnceStep;
use crate::lock::Options;
use crate::lock::Published;
use crate::lock::StepError;
use crate::lock::WaitProgress;
use crate::toolchain::installer::Installer;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// The step's name in the shared directory.
const STEP: &str = "python_environment";
/// The log of the installer.
const LOG: &str = "install.log";
/// The environment within the attempt's directory.
const VENV: &str = "venv";
/// An installer may have to fetch and build a lot; longer than this is a hang.
const INSTALL_LIMIT: Duration = Duration::from_secs(1800);

/// What provisioning needs.
pub struct Provision<'a> {
    /// The requirements, as pip takes them; `-r FILE` and `-c FILE` name files of the project.
    pub requirements: &'a [String],
    /// The interpreter from which the environment is created.
    pub base: &'a Utf8Path,
    /// The folder that relative files in the requirements start from.
    pub project_dir: &'a Utf8Path,
    /// The shared build directory.
    pub build_dir: &'a Utf8Path,
    /// The outside world.
    pub edges: &'a Edges,
    /// How the guard behaves.
    pub lock: Options,
    /// How long to wait while another process creates the same environment.
    pub lock_timeout: Duration,
}

/// What happens while an environment is provided.
pub struct Steps<'a> {
    /// Is called before this process makes anything, possibly twice: says how, or everything that
    /// is missing.
    pub check: &'a dyn Fn() -> Result<Installer>,
    /// Is called when this process starts to create the environment.
    pub on_start: &'a dyn Fn(),
    /// Is called several times a second while another process creates it.
    pub on_wait: &'a dyn Fn(&WaitProgress<'_>),
}

/// Makes sure that the environment exists and returns its interpreter.
///
/// # Errors
/// The installer failed, a limit passed, or the session stops; nothing is published then.
pub fn ensure_environment(provision: &Provision<'_>, steps: &Steps<'_>) -> Result<Utf8PathBuf> {
    let dir = dir(provision)?;
    // Nobody has begun, so that what is missing is reported before anything is made.
    if !fs::exists(&dir) {
        (steps.check)()?;
    }
    cache_dir::make(provision.build_dir)?;
    let mut once = CallOnce::new(
        Arc::clone(&provision.edges.storage),
        Arc::clone(&provision.edges.clock),
        dir,
        STEP,
        provision.lock.clone(),
    );
    let mut step = Installation { provision, steps };
    match once.ensure_done(&mut step, Some(provision.lock_timeout)) {
        Ok(done) => Ok(interpreter_in(&done.published().dir)),
        Err(StepError::Step(problems)) => Err(problems),
        Err(StepError::Elsewhere(failed)) => {
            Err(failure(&failed.dir.join(LOG), "it failed").into())
        }
        Err(StepError::Interrupted) => Err(interrupted().into()),
        Err(StepError::Lock(error)) => Err(error.into()),
    }
}

/// Creating one environment.
struct Installation<'a> {
    provision: &'a Provision<'a>,
    steps: &'a Steps<'a>,
}

impl OnceStep for Installation<'_> {
    type Error = Problems;

    fn run(
        &mut self,
        leader: &Leader,
    ) -> std::result::Result<serde_json::Value, Failure<Problems>> {
        // Networks and registries recover, so a failure is not recorded.
        (self.steps.check)()
            .and_then(|installer| {
                (self.steps.on_start)();
                install(self.provision, &installer, leader)
            })
            .map_err(|problems| Failure::new(FailureKind::Transient, problems))
    }

    fn accept(&mut self, published: &Published) -> Acceptance {
        if fs::exists(&interpreter_in(&published.dir)) {
            Acceptance::Use
        } else {
            Acceptance::Broken("its interpreter is gone".to_owned())
        }
    }

    fn on_wait(&mut self, progress: &WaitProgress) -> ControlFlow<()> {
        (self.steps.on_wait)(progress);
        match self.provision.edges.interrupt.raised() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }
}

fn interpreter_in(dir: &Utf8Path) -> Utf8PathBuf {
    dir.join(VENV).join("bin/python")
}

fn interrupted() -> Diagnostic {
    Diagnostic::error(
        Code::SessionInterrupted,
        "creating the Python environment was interrupted",
    )
}

/// Returns the shared directory of the environment, named after what it is made from: interpreter,
/// requirements, files they name.
fn dir(provision: &Provision<'_>) -> Result<Utf8PathBuf> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &[u8]| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    add(b"layout 1");
    add(fs::real_path(provision.base)?.as_str().as_bytes());
    for requirement in provision.requirements {
        add(requirement.as_bytes());
        if let Some(file) = named_file(requirement) {
            add(&fs::read(&provision.project_dir.join(file))?);
        }
    }
    let key = hasher.finalize().to_hex();
    Ok(provision.build_dir.join(format!("python-{}", &key[..16])))
}

/// Returns the file of `-r FILE` or `-c FILE`.
fn named_file(requirement: &str) -> Option<&str> {
    ["-r ", "-c ", "--requirement ", "--constraint "]
        .iter()
        .find_map(|flag| requirement.strip_prefix(flag))
        .map(str::trim)
}

fn install(
    provision: &Provision<'_>,
    installer: &Installer,
    leader: &Leader,
) -> Result<serde_json::Value> {
    let venv = leader.dir().join(VENV);
    let log = leader.dir().join(LOG);
    let steps = installer.steps(provision.base, &venv, requirement_args(provision));
    for (doing, program, args) in steps {
        leader.note(doing);
        run(provision, leader, &program, args, &log, doing)?;
    }
    Ok(serde_json::json!({ "requirements": provision.requirements }))
}

fn requirement_args(provision: &Provision<'_>) -> Vec<String> {
    let mut args = Vec::new();
    for requirement in provision.requirements {
        match named_file(requirement) {
            Some(file) => {
                let flag = requirement.split(' ').next().unwrap_or("-r");
                args.extend([
                    flag.to_owned(),
                    provision.project_dir.join(file).to_string(),
                ]);
            }
            None => args.push(requirement.clone()),
        }
    }
    args
}

fn run(
    provision: &Provision<'_>,
    leader: &Leader,
    program: &Utf8Path,
    args: Vec<String>,
    log: &Utf8Path,
    doing: &str,
) -> Result<()> {
    let spec = CommandSpec {
        program: program.to_owned(),
        args,
        env: BTreeMap::new(),
        // Variables of another environment, and one that would prevent byte code in this one.
        env_remove: [
            "PYTHONHOME",
            "PYTHONPATH",
            "VIRTUAL_ENV",
            "PYTHONDONTWRITEBYTECODE",
        ]
        .map(str::to_owned)
        .to_vec(),
        cwd: provision.project_dir.to_owned(),
        log: log.to_owned(),
        channel_env: None,
        inherits: Vec::new(),
    };
    let until = provision.edges.clock.now() + INSTALL_LIMIT;
    let mut goes_on = || !leader.is_lost();
    let clock = provision.edges.clock.as_ref();
    match complete(
        provision.edges.host.as_ref(),
        clock,
        &spec,
        until,
        &mut goes_on,
    )? {
        Completion::Left(exit) if exit.is_success() => Ok(()),
        Completion::Left(exit) => Err(failure(log, &format!("{doing}: {exit}")).into()),
        Completion::TimedOut => {
            let limit = INSTALL_LIMIT.as_secs();
            Err(failure(log, &format!("{doing} took longer than {limit} s")).into())
        }
        Completion::Stopped(_) | Completion::Abandoned => Err(interrupted().into()),
    }
}

fn failure(log: &Utf8Path, how: &str) -> Diagnostic {
    let mut problem = Diagnostic::error(
        Code::PythonProvision,
        format!("the environment of `[python] requirements` could not be created ({how})"),
    );
    let text = fs::read_if_there(log).unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    for line in lines.iter().skip(lines.len().saturating_sub(6)) {
        problem = problem.fact(*line);
    }
    problem
        .fact(format!("log: {log}"))
        .help("check the names, versions and the network, then run again")
}
