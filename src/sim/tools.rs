//! The tools of a session: a Python environment, and the simulators that its builds use.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::model::build::SimulatorName;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;
use crate::sim::simulator::Simulator;

use std::collections::BTreeMap;
use std::sync::Arc;

/// The tools with which builds and runs of a session are started.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The Python environment.
    pub python: PythonEnv,
    /// The simulators that were found, by name.
    pub simulators: BTreeMap<SimulatorName, InstalledSimulator>,
}

/// A simulator, and where it is installed.
#[derive(Clone, Debug)]
pub struct InstalledSimulator {
    /// What holds for every installation of it.
    pub simulator: Arc<dyn Simulator>,
    /// This installation.
    pub tool: SimulatorTool,
}

impl Tools {
    /// Returns a simulator of this session.
    ///
    /// # Errors
    /// The session did not look for it, because none of its builds uses it.
    pub fn simulator(&self, name: &SimulatorName) -> Result<&InstalledSimulator> {
        self.simulators.get(name).ok_or_else(|| {
            let words = format!("no simulator was found for `{name}`");
            Diagnostic::error(Code::ToolNotFound, words).into()
        })
    }
}
