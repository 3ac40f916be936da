//! Finds simulators and their versions.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::edges::Edges;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::edge::process::capture;
use crate::edge::programs;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;
use crate::sim::simulator::Location;
use crate::sim::simulator::Need;
use crate::sim::simulator::Program;
use crate::sim::simulator::Simulator;
use crate::sim::simulator::Version;
use crate::sim::tools::InstalledSimulator;
use crate::toolchain::cache::NodeCache;
use crate::toolchain::cache::entry_name;
use crate::toolchain::missing::Missing;
use crate::toolchain::missing::Unusable;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a search gives.
type Found<T> = std::result::Result<T, Unusable>;

const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// What finding a simulator needs.
pub struct Search<'a> {
    /// The outside world.
    pub edges: &'a Edges,
    /// The Python environment, which may contain the simulator; `None` if it cannot be used.
    pub python: Option<&'a PythonEnv>,
    /// Caches versions.
    pub cache: &'a NodeCache,
}

/// What was found for a simulator and the programs it needs.
#[derive(Clone, Debug)]
pub struct ToolInspection {
    /// The simulator, if it and everything it needs were found.
    pub installed: Option<InstalledSimulator>,
    /// What was searched for, in order.
    pub findings: Vec<ToolFinding>,
    /// Why there is no simulator yet, if the Python environment that may contain it was not
    /// searched.
    pub absent_so_far: Option<Unusable>,
}

/// One thing that was searched for.
#[derive(Clone, Debug)]
pub struct ToolFinding {
    /// What it is for: a simulator's name, or that with a program that it needs.
    pub subject: String,
    /// Where it is and its version, or the problem.
    pub found: std::result::Result<String, Unusable>,
}

impl fmt::Display for ToolFinding {
    /// Writes one line, such as ``simulator `x`: /usr/bin/x (version 1)``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, found } = self;
        match found {
            Ok(words) => write!(f, "{subject}: {words}"),
            Err(unusable) => write!(f, "{subject}: {}", unusable.headline()),
        }
    }
}

/// Finds a simulator and the programs that its builds need, with their versions.
pub fn inspect_simulator(simulator: &Arc<dyn Simulator>, search: &Search<'_>) -> ToolInspection {
    let name = simulator.name();
    let tool = find(simulator.as_ref(), search);
    let mut findings = Vec::new();
    let mut absent_so_far = None;
    match &tool {
        // Without the Python environment that may contain it, a simulator is not yet missing.
        Err(why) if search.python.is_none() && !simulator.python_packages().is_empty() => {
            absent_so_far = Some(why.clone());
        }
        found => findings.push(ToolFinding {
            subject: format!("simulator `{name}`"),
            found: match found {
                Ok(tool) => Ok(format!("{} ({})", tool.compiler, tool.version)),
                Err(why) => Err(why.clone()),
            },
        }),
    }
    let mut helpers = BTreeMap::new();
    for need in simulator.needs() {
        let subject = format!("{} for `{name}`", need.label);
        let found = helper(need, &subject, search);
        if let (true, Ok(helper)) = (need.shapes_builds, &found) {
            helpers.insert(need.label.to_owned(), helper.identity.clone());
        }
        findings.push(ToolFinding {
            subject,
            found: found.map(|helper| helper.shown),
        });
    }
    findings.extend(simulator.licences().iter().map(|licence| ToolFinding {
        subject: format!("licence for `{name}`"),
        found: Ok(format!("each run takes one `{licence}`")),
    }));
    let is_whole = findings.iter().all(|finding| finding.found.is_ok());
    let installed = tool.ok().filter(|_| is_whole);
    ToolInspection {
        installed: installed.map(|tool| InstalledSimulator {
            simulator: Arc::clone(simulator),
            tool: SimulatorTool { helpers, ..tool },
        }),
        findings,
        absent_so_far,
    }
}

/// Takes the first place where all programs of a simulator are, and asks for its version.
fn find(simulator: &dyn Simulator, search: &Search<'_>) -> Found<SimulatorTool> {
    let name = simulator.name();
    let locations = simulator.locations(&search.edges.environment, search.python);
    let mut looked_at = Vec::new();
    let mut missing = name.to_string();
    for location in locations {
        let compiler = program(&location.compiler, search);
        let runtime = location.runtime.as_ref().map(|it| program(it, search));
        match (compiler, runtime.transpose()) {
            (Ok(compiler), Ok(runtime)) => {
                for need in location.needs {
                    helper(need, &format!("{} of `{compiler}`", need.label), search)?;
                }
                return describe(simulator, location, compiler, runtime, search);
            }
            (Err(name), _) | (_, Err(name)) => missing = name,
        }
        looked_at.push(location.shown);
    }
    Err(Unusable::from(Missing {
        code: Code::ToolNotFound,
        name: missing,
        purpose: format!("simulator `{name}`"),
        looked_at,
        packages: simulator.system_packages(),
        otherwise: Some(simulator.install_help().to_owned()),
    }))
}

fn describe(
    simulator: &dyn Simulator,
    location: Location,
    compiler: Utf8PathBuf,
    runtime: Option<Utf8PathBuf>,
    search: &Search<'_>,
) -> Found<SimulatorTool> {
    let version = match location.version {
        Version::Known(version) => version,
        Version::Ask(flag) => version(&compiler, flag, &location.env, search)?,
    };
    let programs: Vec<&Utf8Path> = std::iter::once(&compiler)
        .chain(&runtime)
        .map(Utf8PathBuf::as_path)
        .collect();
    let identity = identity(&programs, &version);
    Ok(SimulatorTool {
        simulator: simulator.name(),
        compiler,
        runtime,
        env: location.env,
        version,
        identity,
        helpers: BTreeMap::new(),
    })
}

/// Finds a program, or returns the display name of the missing one.
fn program(program: &Program, search: &Search<'_>) -> std::result::Result<Utf8PathBuf, String> {
    match program {
        Program::OnPath(name) => {
            on_path(name, &search.edges.environment).ok_or_else(|| (*name).to_owned())
        }
        Program::At(path) if fs::exists(path) => Ok(path.clone()),
        Program::At(path) => Err(path.file_name().unwrap_or_default().to_owned()),
    }
}

struct Helper {
    shown: String,
    identity: String,
}

/// Finds another program that is needed; its version is queried only if it matters.
fn helper(need: &Need, subject: &str, search: &Search<'_>) -> Found<Helper> {
    let environment = &search.edges.environment;
    let found = need
        .any_of
        .iter()
        .find_map(|name| on_path(name, environment));
    let Some(program) = found else {
        let path = environment.get(env::PATH).unwrap_or_default();
        return Err(Unusable::from(Missing {
            code: Code::ToolNotFound,
            name: need
                .any_of
                .first()
                .copied()
                .unwrap_or(need.label)
                .to_owned(),
            purpose: subject.to_owned(),
            looked_at: vec![format!("PATH ({path})")],
            packages: Some(need.packages.clone()),
            otherwise: None,
        }));
    };
    if !need.shapes_builds {
        return Ok(Helper {
            shown: program.to_string(),
            identity: String::new(),
        });
    }
    let version = version(&program, "--version", &BTreeMap::new(), search)?;
    Ok(Helper {
        shown: format!("{program} ({version})"),
        identity: identity(&[&program], &version),
    })
}

/// Returns the program of this name that is first on PATH.
pub(super) fn on_path(name: &str, environment: &Environment) -> Option<Utf8PathBuf> {
    let path = environment.get(env::PATH).unwrap_or_default();
    programs::on_path(name, path)
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
        search.edges.host.as_ref(),
        search.edges.clock.as_ref(),
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
    if !captured.exit.is_success() {
        let words = format!("`{program} {flag}` failed ({})", captured.exit);
        return Err(Diagnostic::error(Code::ToolBroken, words)
            .fact(first)
            .into());
    }
    search.cache.put(&name, &[program], &first);
    Ok(first)
}

/// Digests real path, size, modification time and version of a tool's programs.
fn identity(programs: &[&Utf8Path], version: &str) -> String {
    let mut text = version.to_owned();
    for program in programs {
        text.push('\n');
        text.push_str(&programs::identity(program));
    }
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
