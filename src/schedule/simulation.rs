//! Starting one simulator process with our agent in it. Shared by listings and runs.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::env;
use crate::edge::fs;
use crate::edge::process::CommandSpec;
use crate::edge::process::Process;
use crate::event::RunId;
use crate::event::Slot;
use crate::model::build::BuiltDesign;
use crate::model::test::RunSettings;
use crate::model::test::Seed;
use crate::model::test::TestModule;
use crate::schedule::folder::RunFolder;
use crate::schedule::session::Session;
use crate::sim::agent;
use crate::sim::agent::AgentEvent;
use crate::sim::agent::Mode;
use crate::sim::agent::Request;
use crate::sim::agent::Wanted;
use crate::sim::launch::LaunchInput;
use crate::sim::launch::launch;

use camino::Utf8PathBuf;

/// What one process is for.
pub(super) struct Simulation<'a> {
    pub(super) design: &'a BuiltDesign,
    pub(super) settings: &'a RunSettings,
    pub(super) mode: Mode,
    pub(super) modules: Vec<TestModule>,
    pub(super) testcases: Option<Vec<Wanted>>,
    pub(super) seed: Seed,
    pub(super) run: RunId,
    pub(super) slot: Slot,
    pub(super) waves: Option<Utf8PathBuf>,
}

impl Simulation<'_> {
    /// Writes the request and starts the simulator.
    ///
    /// # Errors
    /// The disk or the start failed; nothing runs then.
    pub(super) fn start(
        &self,
        session: &Session<'_>,
        folder: &RunFolder,
    ) -> Result<Box<dyn Process>> {
        let request = Request {
            protocol: agent::PROTOCOL,
            mode: self.mode,
            event_file: folder.event_file.clone(),
            modules: self.modules.clone(),
            testcases: self.testcases.clone(),
            seed: self.seed,
            results_file: folder.results.clone(),
        };
        let text = serde_json::to_string(&request).map_err(|error| {
            Diagnostic::error(Code::DiskIo, format!("cannot write a request: {error}"))
        })?;
        fs::write(&folder.request, text)?;
        session.plan.host.spawn(&self.command(session, folder)?)
    }

    fn command(&self, session: &Session<'_>, folder: &RunFolder) -> Result<CommandSpec> {
        let tool = session
            .plan
            .tools
            .simulators
            .get(&self.design.simulator)
            .ok_or_else(|| {
                Diagnostic::error(
                    Code::ToolNotFound,
                    format!("no simulator was found for `{}`", self.design.simulator),
                )
            })?;
        let launch = launch(LaunchInput {
            design: self.design,
            tool,
            python: &session.plan.tools.python,
            test_args: &self.settings.test_args,
            plusargs: &self.settings.plusargs,
            run_dir: &folder.dir,
            waves: self.waves.as_deref(),
        });
        let mut env = self.settings.env.clone();
        env.extend(session.plan.base_env.clone());
        env.extend(launch.env);
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        set(agent::REQUEST_ENV, folder.request.to_string());
        set(env::COCORUN_SESSION_ID, session.plan.session_id.clone());
        set(env::COCORUN_RUN_ID, self.run.to_string());
        set(env::COCORUN_SLOT, self.slot.to_string());
        Ok(CommandSpec {
            program: launch.program,
            args: launch.args,
            env,
            env_remove: launch.env_remove,
            cwd: folder.dir.clone(),
            log: folder.log.clone(),
            channel_env: Some(agent::EVENT_FD_ENV.to_owned()),
        })
    }
}

/// Reads the events that could not go through the pipe.
pub(super) fn events_from_file(folder: &RunFolder) -> Vec<AgentEvent> {
    let text = fs::read_if_there(&folder.event_file).unwrap_or_default();
    text.lines().filter_map(agent::read_event).collect()
}
