//! The Python interpreter: which one, and what is installed in it.
//!
//! One probe process answers everything; its answer is cached per node and valid while the
//! interpreter, its `pyvenv.cfg` and every directory of `sys.path` are unchanged.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::ErrorKind;
use crate::edge::edges::Edges;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::edge::process::capture;
use crate::model::tool::CocotbVersion;
use crate::model::tool::PythonEnv;
use crate::sim::simulator::SystemPackages;
use crate::toolchain::cache::NodeCache;
use crate::toolchain::cache::entry_name;
use crate::toolchain::missing::Missing;
use crate::toolchain::missing::Unusable;
use crate::toolchain::simulator_search::on_path;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

const PROBE: &str = include_str!("probe.py");
const PROBE_FD_ENV: &str = "COCORUN_PROBE_FD";
/// A cold import from a busy file server takes tens of seconds; more is a hang.
const PROBE_LIMIT: Duration = Duration::from_secs(120);

/// What the probe prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    prefix: Utf8PathBuf,
    python_version: String,
    site_dirs: Vec<Utf8PathBuf>,
    libpython: Option<Utf8PathBuf>,
    distributions: BTreeMap<String, String>,
    packages: BTreeMap<String, Utf8PathBuf>,
    /// Modules that make environments.
    modules: BTreeSet<String>,
    /// Whether pip would refuse to install into it.
    is_externally_managed: bool,
    cocotb: Option<CocotbAnswer>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CocotbAnswer {
    version: Option<String>,
    libs_dir: Utf8PathBuf,
    share_dirs: Vec<Utf8PathBuf>,
    simulator_extension: Option<Utf8PathBuf>,
}

/// A Python with cocotb.
#[derive(Clone, Debug)]
pub struct ProbedEnv {
    /// The environment; its `libpython` is empty if that is missing.
    pub env: PythonEnv,
    /// The shared library of Python, if it was not found.
    pub missing: Option<Missing>,
}

/// A Python from which an environment can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasePython {
    /// Its interpreter.
    pub interpreter: Utf8PathBuf,
    /// Its version, `3.11.7`.
    pub version: String,
    /// Those of the modules `venv`, `ensurepip`, `virtualenv` and `pip` that it has.
    pub modules: BTreeSet<String>,
    /// The version of `pip`, if it has one.
    pub pip: Option<String>,
    /// The shared library of Python, if it was not found.
    pub missing: Option<Missing>,
}

/// Picks the interpreter: the configured one, else `$VIRTUAL_ENV`, else `python3` on PATH.
///
/// # Errors
/// None was found; the message lists every place that was searched.
pub fn find(
    configured: Option<&Utf8Path>,
    environment: &Environment,
) -> std::result::Result<Utf8PathBuf, Unusable> {
    if let Some(path) = configured {
        // A link may exist whose target is in another user's folder, unreadable to this user.
        return match fs::stamp(path) {
            Ok(Some(_)) => Ok(path.to_owned()),
            Ok(None) => Err(Diagnostic::error(
                Code::PythonNotFound,
                format!("the interpreter `{path}` does not exist"),
            )
            .help("fix `interpreter` in `[python]`, or create that environment first")
            .into()),
            Err(error) => Err(Problems::from(error).into()),
        };
    }
    if let Some(root) = environment.get(env::VIRTUAL_ENV) {
        let path = Utf8Path::new(root).join("bin/python");
        // As above; a folder may be closed to this user.
        if fs::stamp(&path).map_err(Problems::from)?.is_some() {
            return Ok(path);
        }
        return Err(Diagnostic::error(
            Code::PythonNotFound,
            format!("`$VIRTUAL_ENV` is `{root}`, but there is no `{path}`"),
        )
        .help("activate another environment, or unset VIRTUAL_ENV")
        .into());
    }
    if let Some(path) = on_path("python3", environment) {
        return Ok(path);
    }
    let search = environment.get(env::PATH).unwrap_or_default();
    Err(Unusable::from(Missing {
        code: Code::PythonNotFound,
        name: "python3".to_owned(),
        purpose: "Python interpreter, with its shared library and its module `venv`".to_owned(),
        looked_at: vec![format!("PATH ({search})")],
        packages: Some(SystemPackages::new(
            "python3 python3-venv libpython3-dev",
            "python3",
            "python",
        )),
        otherwise: Some("name an interpreter with `interpreter` in `[python]`".to_owned()),
    }))
}

/// What to look for in a Python environment besides cocotb itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PythonNeeds {
    /// Packages that may be installed.
    pub packages: Vec<&'static str>,
    /// Files that cocotb must have, relative to its `share` folder.
    pub cocotb_files: Vec<&'static str>,
}

/// Probes an interpreter, or returns the cached answer.
///
/// # Errors
/// It does not start, or has no cocotb or one older than 1.9.
pub fn probe(
    interpreter: &Utf8Path,
    wanted: &PythonNeeds,
    edges: &Edges,
    cache: &NodeCache,
) -> Result<ProbedEnv> {
    let python_path = edges.environment.get(env::PYTHONPATH).unwrap_or_default();
    let answer = answer(interpreter, wanted, python_path, edges, cache)?;
    judge(interpreter, wanted, answer)
}

/// Probes an interpreter from which an environment will be made, or returns the cached answer.
///
/// # Errors
/// It does not start.
pub fn probe_base(interpreter: &Utf8Path, edges: &Edges, cache: &NodeCache) -> Result<BasePython> {
    // Installers run without PYTHONPATH.
    let answer = answer(interpreter, &PythonNeeds::default(), "", edges, cache)?;
    Ok(BasePython {
        interpreter: interpreter.to_owned(),
        missing: missing_libpython(interpreter, &answer),
        version: answer.python_version,
        modules: answer.modules,
        pip: answer.distributions.get("pip").cloned(),
    })
}

fn answer(
    interpreter: &Utf8Path,
    wanted: &PythonNeeds,
    python_path: &str,
    edges: &Edges,
    cache: &NodeCache,
) -> Result<Answer> {
    let packages = wanted.packages.join(" ");
    let asked = [interpreter.as_str(), python_path, PROBE, &packages];
    let name = entry_name("python", &asked);
    // A library that was missing may have been installed into a folder that is not watched.
    let is_whole = |answer: &Answer| answer.libpython.is_some();
    if let Some(answer) = cache.get::<Answer>(&name).filter(is_whole) {
        return Ok(answer);
    }
    let answer = ask(interpreter, wanted, python_path, edges)?;
    let config = answer.prefix.join("pyvenv.cfg");
    let mut learned_from: Vec<&Utf8Path> = vec![interpreter];
    learned_from.extend(answer.site_dirs.iter().map(Utf8PathBuf::as_path));
    if fs::exists(&config) {
        learned_from.push(&config);
    }
    cache.put(&name, &learned_from, &answer);
    Ok(answer)
}

fn ask(
    interpreter: &Utf8Path,
    wanted: &PythonNeeds,
    python_path: &str,
    edges: &Edges,
) -> Result<Answer> {
    let mut args = vec!["-c", PROBE];
    args.extend(&wanted.packages);
    let captured = capture(
        edges.host.as_ref(),
        edges.clock.as_ref(),
        interpreter,
        &args,
        BTreeMap::from([(env::PYTHONPATH.to_owned(), python_path.to_owned())]),
        Some(PROBE_FD_ENV),
        PROBE_LIMIT,
    )
    .map_err(|error| {
        if error.kind == ErrorKind::Unwritable {
            return Problems::from(error);
        }
        Diagnostic::error(
            Code::PythonNotFound,
            format!("the interpreter `{interpreter}` cannot be started"),
        )
        .fact(error.message)
        .into()
    })?;
    captured
        .lines
        .first()
        .and_then(|line| serde_json::from_str(line).ok())
        .ok_or_else(|| {
            let mut problem = Diagnostic::error(
                Code::PythonNotFound,
                format!(
                    "`{interpreter}` does not behave like Python 3 ({})",
                    captured.exit
                ),
            );
            for line in captured
                .output
                .lines()
                .rev()
                .take(5)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
            {
                problem = problem.fact(line);
            }
            problem.into()
        })
}

/// Says how to get cocotb; what works everywhere comes first.
fn how_to_get_cocotb(interpreter: &Utf8Path, answer: &Answer) -> String {
    let made =
        "let cocorun create an environment: `requirements = [\"cocotb==2.1.0\"]` in `[python]`";
    if answer.is_externally_managed {
        format!(
            "{made}; or make one, `{interpreter} -m venv .venv && .venv/bin/pip install cocotb`, \
             and name it: `interpreter = \".venv/bin/python\"`"
        )
    } else {
        let upgrade = answer.cocotb.as_ref().map_or("", |_| "--upgrade ");
        format!("{made}; or `{interpreter} -m pip install {upgrade}cocotb`")
    }
}

/// Returns the shared library of Python if it is missing.
fn missing_libpython(interpreter: &Utf8Path, answer: &Answer) -> Option<Missing> {
    if answer.libpython.is_some() {
        return None;
    }
    let release = release(&answer.python_version);
    let debian = format!("libpython{release}");
    let packages = from_the_system(interpreter).then(|| SystemPackages {
        debian: debian.into(),
        // Part of Python there.
        fedora: "python3-libs".into(),
        arch: "python".into(),
    });
    let otherwise = "use a Python that has a shared library: one of uv or conda, or one built with \
                     `--enable-shared`";
    Some(Missing {
        code: Code::PythonNoLibpython,
        name: format!("libpython{release}.so"),
        purpose: format!("shared library of `{interpreter}`, which simulators load"),
        looked_at: Vec::new(),
        packages,
        otherwise: Some(otherwise.to_owned()),
    })
}

/// Returns `3.11` of `3.11.7`.
pub(super) fn release(version: &str) -> &str {
    let second = version.match_indices('.').nth(1);
    second.map_or(version, |(at, _)| &version[..at])
}

/// Says whether an interpreter, or the one that its environment was made from, is a package of the
/// distribution.
pub(super) fn from_the_system(interpreter: &Utf8Path) -> bool {
    fs::real_path(interpreter).is_ok_and(|path| path.starts_with("/usr/bin"))
}

fn judge(interpreter: &Utf8Path, wanted: &PythonNeeds, answer: Answer) -> Result<ProbedEnv> {
    let help = how_to_get_cocotb(interpreter, &answer);
    let missing = missing_libpython(interpreter, &answer);
    let Some(cocotb) = answer.cocotb else {
        return Err(Diagnostic::error(
            Code::PythonNoCocotb,
            format!("`{interpreter}` has no cocotb"),
        )
        .help(help)
        .into());
    };
    let text = cocotb.version.unwrap_or_default();
    let version = CocotbVersion::parse(&text)
        .filter(|version| version.at_least(1, 9))
        .ok_or_else(|| {
            Diagnostic::error(
                Code::PythonUnsupportedCocotb,
                format!("`{interpreter}` has cocotb `{text}`; cocorun needs 1.9 or newer"),
            )
            .help(help)
        })?;
    let unsupported = |what: &str| {
        Diagnostic::error(
            Code::PythonUnsupportedCocotb,
            format!("cocotb {version} in `{interpreter}` is missing {what}"),
        )
        .help("install cocotb again; if that does not help, this cocotb is not supported yet")
    };
    let share_dir = cocotb
        .share_dirs
        .into_iter()
        .find(|dir| {
            let mut files = wanted.cocotb_files.iter();
            files.all(|name| fs::exists(&dir.join(name)))
        })
        .ok_or_else(|| {
            unsupported(&format!(
                "`share/{}`",
                wanted.cocotb_files.join("`, `share/")
            ))
        })?;
    if version.at_least(2, 1) && cocotb.simulator_extension.is_none() {
        return Err(unsupported("the extension module `cocotb.simulator`").into());
    }
    let env = PythonEnv {
        interpreter: interpreter.to_owned(),
        prefix: answer.prefix,
        python_version: answer.python_version,
        cocotb: version,
        libs_dir: cocotb.libs_dir,
        share_dir,
        libpython: answer.libpython.unwrap_or_default(),
        simulator_extension: cocotb.simulator_extension,
        packages: answer.packages,
        distributions: answer.distributions,
    };
    Ok(ProbedEnv { env, missing })
}
