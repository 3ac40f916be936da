//! The tools of a session: finds or creates its Python environment, and inspects everything that
//! its builds and runs need.

use crate::commands::reporting::Console;
use crate::commands::reporting::line;
use crate::commands::resolved::Resolved;
use crate::config::RunnerConfig;
use crate::diagnostic::Code;
use crate::diagnostic::Result;
use crate::model::build::Build;
use crate::model::build::SimulatorName;
use crate::sim::tools::Tools;
use crate::toolchain::cache::NodeCache;
use crate::toolchain::inspection::InspectionScope;
use crate::toolchain::inspection::before_provision;
use crate::toolchain::inspection::inspect;
use crate::toolchain::missing::Unusable;
use crate::toolchain::provision;
use crate::toolchain::provision::Provision;
use crate::toolchain::provision::Steps;
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
        registry: &resolved.registry,
        simulators: names.iter().filter_map(known).collect(),
    };
    let interpreter = interpreter(resolved, &scope, cache, console)?;
    let mut found = inspect(interpreter, &scope, &resolved.edges, cache);
    let config = &resolved.config;
    found.python = found.python.map_err(|unusable| advised(config, unusable));
    if let (true, Ok(python)) = (console.is_verbose(), &found.python) {
        let (interpreter, cocotb) = (&python.env.interpreter, &python.env.cocotb);
        line(&format!("      PYTHON {interpreter} (cocotb {cocotb})"));
        let findings = found.findings();
        findings.for_each(|finding| line(&format!("        TOOL {finding}")));
    }
    found.into_tools()
}

/// Returns the interpreter of the session, or why there is none, after creating its environment if
/// `requirements` ask for one.
///
/// # Errors
/// The environment cannot be created; everything that is missing was reported before it was begun.
fn interpreter(
    resolved: &Resolved,
    scope: &InspectionScope<'_>,
    cache: &NodeCache,
    console: Console,
) -> Result<std::result::Result<Utf8PathBuf, Unusable>> {
    let (config, edges) = (&resolved.config, &resolved.edges);
    let requirements = &config.python.requirements;
    let base = python::find(config.python.interpreter.as_deref(), &edges.environment)
        .map_err(|unusable| placed(config, unusable));
    if requirements.is_empty() {
        return Ok(base);
    }
    let check = || before_provision(&base, requirements, scope, edges, cache);
    let Ok(path) = &base else {
        // There is nothing to create an environment from.
        check()?;
        return Ok(base);
    };
    let provision = Provision {
        requirements,
        base: path,
        project_dir: &config.project_dir,
        build_dir: &config.build_dir,
        edges,
        lock: resolved.lock_options(),
        lock_timeout: config.lock_timeout,
    };
    let steps = Steps {
        check: &check,
        on_start: &|| {
            let names = requirements.join(", ");
            console.status(&format!("     PREPARE python environment ({names})"));
        },
        on_wait: &|_| {},
    };
    provision::ensure_environment(&provision, &steps).map(Ok)
}

/// Adds where an unusable interpreter is configured, or where to add cocotb if the environment was
/// created from a list without it.
fn advised(config: &RunnerConfig, unusable: Unusable) -> Unusable {
    if config.python.requirements.is_empty() {
        return placed(config, unusable);
    }
    let Unusable::Broken(mut problems) = unusable else {
        return unusable;
    };
    for problem in &mut problems.0 {
        if problem.code == Code::PythonNoCocotb {
            problem.help =
                Some("add `\"cocotb==2.1.0\"` to `requirements` in `[python]`".to_owned());
        }
    }
    Unusable::Broken(problems)
}

/// Adds the line of `interpreter` in `runner.toml`, if there is one.
fn placed(config: &RunnerConfig, unusable: Unusable) -> Unusable {
    let Unusable::Broken(mut problems) = unusable else {
        return unusable;
    };
    for problem in &mut problems.0 {
        problem.snippet = config.places.of(&["python", "interpreter"]);
    }
    Unusable::Broken(problems)
}
