//! The simulators that cocorun supports: the one list to which a new simulator is added.
//!
//! A registry is a value that `main` passes down, so that a test can register another simulator.

use crate::model::build::SimulatorName;
use crate::sim::icarus::Icarus;
use crate::sim::simulator::Simulator;
use crate::sim::verilator::Verilator;

use std::sync::Arc;

/// Simulators in the order they are documented.
#[derive(Clone, Debug)]
pub struct Registry {
    simulators: Vec<Arc<dyn Simulator>>,
}

impl Registry {
    /// Returns the simulators that are part of cocorun.
    pub fn builtin() -> Self {
        Self {
            simulators: vec![Arc::new(Icarus), Arc::new(Verilator)],
        }
    }

    /// Adds a simulator, or replaces the one with its name.
    #[must_use]
    pub fn with(mut self, simulator: Arc<dyn Simulator>) -> Self {
        self.simulators.retain(|it| it.name() != simulator.name());
        self.simulators.push(simulator);
        self
    }

    /// Returns the simulator that is used if `runner.toml` names none.
    pub fn default_name(&self) -> SimulatorName {
        Icarus.name()
    }

    /// Returns all simulators.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Simulator>> {
        self.simulators.iter()
    }

    /// Finds a simulator by its name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Simulator>> {
        self.iter().find(|it| it.name().as_str() == name)
    }

    /// Returns the names, in order.
    pub fn names(&self) -> Vec<SimulatorName> {
        self.iter().map(|it| it.name()).collect()
    }

    /// Returns the simulator that has this alias.
    pub fn by_alias(&self, alias: &str) -> Option<SimulatorName> {
        self.iter()
            .find(|it| it.aliases().contains(&alias))
            .map(|it| it.name())
    }

    /// Lists the names as a sentence: ``cocorun supports `a`, `b` and `c` ``.
    pub fn in_words(&self) -> String {
        let names: Vec<String> = self.iter().map(|it| format!("`{}`", it.name())).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => {
                format!("cocorun supports {} and {last}", rest.join(", "))
            }
            Some((last, _)) => format!("cocorun supports {last}"),
            None => "cocorun supports no simulator".to_owned(),
        }
    }

    /// Returns every Python package that a simulator may be installed in.
    pub fn python_packages(&self) -> Vec<&'static str> {
        self.iter()
            .flat_map(|it| it.python_packages().iter().copied())
            .collect()
    }

    /// Returns every file of cocotb that builds of some simulator need.
    pub fn cocotb_files(&self) -> Vec<&'static str> {
        self.iter()
            .flat_map(|it| it.cocotb_files().iter().copied())
            .collect()
    }
}
