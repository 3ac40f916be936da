//! The tools of a session: finds or creates its Python environment, and inspects everything that
//! its builds and runs need.

use crate::commands::reporting::Console;
use crate::commands::reporting::line;
use crate::commands::resolved::Resolved;
use crate::config::RunnerConfig;
use crate::diagnostic::Code;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::fs;
use crate::model::build::Build;
use crate::model::build::SimulatorName;
use crate::sim::tools::Tools;
use crate::toolchain::cache::NodeCache;
use crate::toolchain::inspection::InspectionScope;
use crate::toolchain::inspection::inspect;
use crate::toolchain::provision;
use crate::toolchain::provision::Provision;
use crate::toolchain::python;

use camino::Utf8PathBuf;
use std::collections::BTreeSet;

/// Finds or creates every tool that these builds need.
///
/// # Errors
/// Everything that is missing or broken, at once.
pub(super) fn find_tools(
    resolved: &Resolved,
    cache: &NodeCache,
    builds: &[Build],
    console: Console,
) -> Result<Tools> {
    let names: BTreeSet<&SimulatorName> = builds.iter().map(|it| &it.simulator).collect();
    let known = |name: &&SimulatorName| resolved.registry.get(name.as_str()).cloned();
    let scope = InspectionScope {
        interpreter: interpreter(resolved, console),
        registry: &resolved.registry,
        simulators: names.iter().filter_map(known).collect(),
    };
    let mut found = inspect(scope, &resolved.edges, cache);
    let config = &resolved.config;
    found.python = found.python.map_err(|problems| advised(config, problems));
    if let (true, Ok(python)) = (console.is_verbose(), &found.python) {
        let (interpreter, cocotb) = (&python.interpreter, &python.cocotb);
        line(&format!("      PYTHON {interpreter} (cocotb {cocotb})"));
        let findings = found.findings();
        findings.for_each(|finding| line(&format!("        TOOL {finding}")));
    }
    found.into_tools()
}

/// Returns the interpreter of the session, after creating its environment if `requirements` ask for
/// one.
fn interpreter(resolved: &Resolved, console: Console) -> Result<Utf8PathBuf> {
    let (config, edges) = (&resolved.config, &resolved.edges);
    let python = &config.python;
    let base = python::find(python.interpreter.as_deref(), &edges.environment)
        .map_err(|problems| placed(config, problems))?;
    if python.requirements.is_empty() {
        return Ok(base);
    }
    fs::create_dirs(&config.build_dir)?;
    provision::ensure_environment(
        &Provision {
            requirements: &python.requirements,
            base: &base,
            project_dir: &config.project_dir,
            build_dir: &config.build_dir,
            edges,
            lock: resolved.lock_options(),
            lock_timeout: config.lock_timeout,
        },
        &|_| {
            let names = python.requirements.join(", ");
            console.status(&format!("     PREPARE python environment ({names})"));
        },
        &|_| {},
    )
}

/// Adds where an unusable interpreter is configured, or where to add cocotb if the environment was
/// created from a list without it.
fn advised(config: &RunnerConfig, mut problems: Problems) -> Problems {
    if config.python.requirements.is_empty() {
        return placed(config, problems);
    }
    for problem in &mut problems.0 {
        if problem.code == Code::PythonNoCocotb {
            problem.help =
                Some("add `\"cocotb==2.1.0\"` to `requirements` in `[python]`".to_owned());
        }
    }
    problems
}

/// Adds the line of `interpreter` in `runner.toml`, if there is one.
fn placed(config: &RunnerConfig, mut problems: Problems) -> Problems {
    for problem in &mut problems.0 {
        problem.snippet = config.places.of(&["python", "interpreter"]);
    }
    problems
}
