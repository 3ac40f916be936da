//! Inspects every tool of a session independently.
//!
//! Invariant: a missing or broken tool does not hide another one, so that all problems are reported
//! at once.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::edges::Edges;
use crate::model::tool::PythonEnv;
use crate::sim::registry::Registry;
use crate::sim::simulator::Simulator;
use crate::sim::tools::Tools;
use crate::toolchain::cache::NodeCache;
use crate::toolchain::python;
use crate::toolchain::python::PythonNeeds;
use crate::toolchain::simulator_search;
use crate::toolchain::simulator_search::Search;
use crate::toolchain::simulator_search::ToolFinding;
use crate::toolchain::simulator_search::ToolInspection;

use camino::Utf8PathBuf;
use std::sync::Arc;

/// What to inspect.
pub struct InspectionScope<'a> {
    /// The interpreter, or why there is none.
    pub interpreter: Result<Utf8PathBuf>,
    /// Every simulator that may be in the interpreter's environment.
    pub registry: &'a Registry,
    /// The simulators to look for.
    pub simulators: Vec<Arc<dyn Simulator>>,
}

/// What was found; valid until a tool is installed, changed or removed.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The Python environment, or why it cannot be used.
    pub python: Result<PythonEnv>,
    /// The simulators, in the order of the scope.
    pub simulators: Vec<ToolInspection>,
}

/// Inspects the interpreter and the simulators.
pub fn inspect(scope: InspectionScope<'_>, edges: &Edges, cache: &NodeCache) -> Inspected {
    let wanted = PythonNeeds {
        packages: scope.registry.python_packages(),
        cocotb_files: scope.registry.cocotb_files(),
    };
    let probe = |interpreter: Utf8PathBuf| python::probe(&interpreter, &wanted, edges, cache);
    let python = scope.interpreter.and_then(probe);
    let search = Search {
        edges,
        python: python.as_ref().ok(),
        cache,
    };
    let simulators = scope.simulators.iter();
    let simulators = simulators
        .map(|it| simulator_search::inspect_simulator(it, &search))
        .collect();
    Inspected { python, simulators }
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
        let missing: Vec<Diagnostic> = findings
            .filter_map(|finding| finding.found.as_ref().err())
            .flat_map(|problems| problems.0.clone())
            .collect();
        match self.python {
            Ok(python) if missing.is_empty() => {
                let installed = self.simulators.into_iter().filter_map(|it| it.installed);
                let simulators = installed
                    .map(|it| (it.tool.simulator.clone(), it))
                    .collect();
                Ok(Tools { python, simulators })
            }
            Ok(_) => Err(Problems(missing)),
            Err(mut problems) => {
                problems.0.extend(missing);
                Err(problems)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::diagnostic::Code;
    use crate::edge::env::Environment;
    use crate::edge::interrupt::Interrupt;

    #[test]
    fn a_broken_python_hides_neither_a_simulator_nor_the_programs_it_needs() {
        let empty = Environment::from_pairs([("PATH", "/nowhere")]);
        let interrupt = Interrupt::new().expect("descriptors");
        let edges = Edges::of_the_system(empty, interrupt);
        let registry = Registry::builtin();
        let broken = Diagnostic::error(Code::PythonNotFound, "no Python interpreter was found");
        let scope = InspectionScope {
            interpreter: Err(broken.into()),
            registry: &registry,
            simulators: registry.iter().cloned().collect(),
        };
        let found = inspect(scope, &edges, &NodeCache::none());
        let problems = found.into_tools().expect_err("nothing is there");
        let codes: Vec<Code> = problems.0.iter().map(|it| it.code).collect();
        assert_eq!(codes[0], Code::PythonNotFound);
        assert!(codes[1..].iter().all(|code| *code == Code::ToolNotFound));
        assert!(codes.len() > 2, "{problems}");
        let in_python = registry
            .iter()
            .filter(|it| !it.python_packages().is_empty());
        for simulator in in_python {
            let missing = format!("`{}` was not found", simulator.name());
            let is_reported = problems.0.iter().any(|it| it.message == missing);
            assert!(!is_reported, "it may be in the environment: {problems}");
        }
    }
}
