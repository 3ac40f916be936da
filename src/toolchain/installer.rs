//! Which program makes the environment of `[python] requirements`, and the commands it takes.
//!
//! Invariant: an installer is chosen only if everything that it needs is there, so that what is
//! missing is known before anything is made.

use crate::diagnostic::Code;
use crate::edge::edges::Edges;
use crate::edge::env;
use crate::edge::fs;
use crate::edge::process::capture;
use crate::sim::simulator::SystemPackages;
use crate::toolchain::missing::Missing;
use crate::toolchain::missing::Unusable;
use crate::toolchain::python::BasePython;
use crate::toolchain::python::from_the_system;
use crate::toolchain::python::release;
use crate::toolchain::simulator_search::on_path;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::time::Duration;

/// The first release of pip that installs into another environment (`--python`).
const PIP_WITH_PYTHON: (u32, u32) = (22, 3);
/// How long `pip --version` may take.
const VERSION_LIMIT: Duration = Duration::from_secs(60);
/// Options of every `pip install`.
const QUIETLY: [&str; 3] = ["--disable-pip-version-check", "--no-input", "--quiet"];

/// A way to make an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installer {
    /// The program `uv`.
    Uv(Utf8PathBuf),
    /// Python's own `venv`, which puts pip into the environment.
    Venv,
    /// The command that starts `virtualenv`, which puts pip into the environment.
    Virtualenv(Vec<String>),
    /// Python's own `venv` without pip, and the command that starts another pip.
    Pip(Vec<String>),
}

/// A step of an installer: what it does, its program and arguments.
pub type InstallStep = (&'static str, Utf8PathBuf, Vec<String>);

impl Installer {
    /// Chooses the first way that works here: `uv`, `venv`, `virtualenv`, or another pip.
    ///
    /// # Errors
    /// None does.
    pub fn choose(base: &BasePython, edges: &Edges) -> Result<Self, Unusable> {
        let has = |module: &str| base.modules.contains(module);
        let program = |name: &str| on_path(name, &edges.environment);
        let of_base = |module: &str| words(&[base.interpreter.as_str(), "-m", module]);
        if let Some(uv) = program("uv") {
            return Ok(Self::Uv(uv));
        }
        if has("venv") && has("ensurepip") {
            return Ok(Self::Venv);
        }
        if has("virtualenv") {
            return Ok(Self::Virtualenv(of_base("virtualenv")));
        }
        if let Some(virtualenv) = program("virtualenv") {
            return Ok(Self::Virtualenv(vec![virtualenv.to_string()]));
        }
        if has("venv") {
            if has("pip") && base.pip.as_deref().is_some_and(takes_python) {
                return Ok(Self::Pip(of_base("pip")));
            }
            let pips = ["pip3", "pip"].into_iter().filter_map(program);
            for pip in pips {
                if pip_version(&pip, edges).is_some_and(|it| takes_python(&it)) {
                    return Ok(Self::Pip(vec![pip.to_string()]));
                }
            }
        }
        Err(missing_venv(base, edges).into())
    }

    /// Returns the steps that make the environment `venv` and install into it.
    pub fn steps(
        &self,
        base: &Utf8Path,
        venv: &Utf8Path,
        requirements: Vec<String>,
    ) -> [InstallStep; 2] {
        let python = venv.join("bin/python");
        let (make, install) = match self {
            Self::Uv(uv) => (
                words(&[
                    uv.as_str(),
                    "venv",
                    "--python",
                    base.as_str(),
                    venv.as_str(),
                ]),
                words(&[uv.as_str(), "pip", "install", "--python", python.as_str()]),
            ),
            Self::Venv => (
                words(&[base.as_str(), "-m", "venv", venv.as_str()]),
                words(&[python.as_str(), "-m", "pip", "install"]),
            ),
            Self::Virtualenv(command) => (
                joined(command, &["--python", base.as_str(), venv.as_str()]),
                words(&[python.as_str(), "-m", "pip", "install"]),
            ),
            Self::Pip(command) => (
                words(&[base.as_str(), "-m", "venv", "--without-pip", venv.as_str()]),
                joined(command, &["--python", python.as_str(), "install"]),
            ),
        };
        let (making, installing) = match self {
            Self::Uv(_) => (
                "creating a virtual environment with uv",
                "installing requirements with uv",
            ),
            Self::Venv | Self::Pip(_) => (
                "creating a virtual environment",
                "installing requirements with pip",
            ),
            Self::Virtualenv(_) => (
                "creating a virtual environment with virtualenv",
                "installing requirements with pip",
            ),
        };
        let mut install = install;
        if !matches!(self, Self::Uv(_)) {
            install.extend(words(&QUIETLY));
        }
        install.extend(requirements);
        [step(making, make), step(installing, install)]
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn joined(command: &[String], args: &[&str]) -> Vec<String> {
    [command, &words(args)].concat()
}

fn step(doing: &'static str, mut command: Vec<String>) -> InstallStep {
    let program = command.remove(0);
    (doing, program.into(), command)
}

/// Says whether this release of pip has `--python`.
fn takes_python(version: &str) -> bool {
    let mut numbers = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    release >= PIP_WITH_PYTHON
}

/// Returns `23.0.1` of `pip 23.0.1 from …`.
fn pip_version(pip: &Utf8Path, edges: &Edges) -> Option<String> {
    let (host, clock) = (edges.host.as_ref(), edges.clock.as_ref());
    let env = BTreeMap::new();
    let asked = capture(host, clock, pip, &["--version"], env, None, VERSION_LIMIT).ok()?;
    let mut answer = asked.output.split_whitespace();
    (asked.exit.is_success() && answer.next() == Some("pip"))
        .then(|| answer.next().map(str::to_owned))?
}

fn missing_venv(base: &BasePython, edges: &Edges) -> Missing {
    let interpreter = &base.interpreter;
    // The package for the distribution's main Python has a name that people know.
    let main = fs::real_path(Utf8Path::new("/usr/bin/python3")).ok();
    let debian = if fs::real_path(interpreter).ok() == main {
        "python3-venv".to_owned()
    } else {
        format!("python{}-venv", release(&base.version))
    };
    let packages = from_the_system(interpreter).then(|| SystemPackages {
        debian: debian.into(),
        // Part of Python there.
        fedora: "python3-libs".into(),
        arch: "python".into(),
    });
    let module = if base.modules.contains("venv") {
        "ensurepip"
    } else {
        "venv"
    };
    let path = edges.environment.get(env::PATH).unwrap_or_default();
    Missing {
        code: Code::PythonProvision,
        name: module.to_owned(),
        purpose: format!(
            "module of `{interpreter}`, to create the environment of `[python] requirements`; \
             nor is there `uv`, `virtualenv` or pip 22.3"
        ),
        looked_at: vec![format!("PATH ({path})")],
        packages,
        otherwise: Some("install `uv` or `virtualenv`".to_owned()),
    }
}
