//! Starts one simulator process with the agent in it. Shared by listings and runs.

use crate::agent::request::EVENT_FD_ENV;
use crate::agent::request::ForkEnv;
use crate::agent::request::ForkRequest;
use crate::agent::request::MESSAGE_BYTES_MAX;
use crate::agent::request::Mode;
use crate::agent::request::PROTOCOL;
use crate::agent::request::REQUEST_ENV;
use crate::agent::request::Request;
use crate::agent::request::STACK_SIGNAL;
use crate::agent::request::WAIT_SIGNAL;
use crate::agent::request::Wanted;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::env as variables;
use crate::edge::fs;
use crate::edge::process::CommandSpec;
use crate::edge::process::processors;
use crate::event::RunId;
use crate::event::Slot;
use crate::model::build::BuiltDesign;
use crate::model::test::RunSettings;
use crate::model::test::Seed;
use crate::model::test::TestModule;
use crate::schedule::context::TaskContext;
use crate::schedule::folder::RunFolder;
use crate::sim::launch::launch;
use crate::sim::simulator::LaunchInput;
use crate::sim::simulator::Simulator;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;

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
    pub(super) checkpoints: CheckpointUse,
}

/// Which checkpoints of its table a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckpointUse {
    /// How many have run in it when it runs testcases, or serves.
    pub(super) level: usize,
    /// Whether the next one is known to fail.
    pub(super) has_failed: bool,
}

impl Simulation<'_> {
    /// Writes the request to where the agent looks for it.
    ///
    /// # Errors
    /// The disk failed.
    pub(super) fn write_request(&self, folder: &RunFolder) -> Result<()> {
        Ok(fs::write(&folder.request, to_json(&self.request(folder)))?)
    }

    fn request(&self, folder: &RunFolder) -> Request {
        Request {
            protocol: PROTOCOL,
            mode: self.mode,
            event_file: folder.event_file.clone(),
            modules: self.modules.clone(),
            testcases: self.testcases.clone(),
            seed: self.seed,
            results_file: folder.results.clone(),
            paths: self.settings.import_path.folders.clone(),
            ambiguous: self.settings.import_path.ambiguous.clone(),
            cpus: Vec::new(),
            preload: Vec::new(),
            checkpoints: if self.checkpoints == CheckpointUse::default() {
                Vec::new()
            } else {
                self.settings.checkpoints.clone()
            },
            checkpoint_level: self.checkpoints.level,
            checkpoint_failed: self.checkpoints.has_failed,
            vpi_libraries: self.settings.vpi_libraries.clone(),
            has_foreign_code: has_foreign_code(self.design, self.settings),
            pygpi_users: self.settings.pygpi_users.clone(),
            dump_signal: STACK_SIGNAL,
            wait_signal: WAIT_SIGNAL,
        }
    }

    /// Returns how to spawn a simulator for this run only.
    ///
    /// # Errors
    /// The simulator was not found.
    pub(super) fn command(
        &self,
        context: &TaskContext<'_>,
        folder: &RunFolder,
    ) -> Result<CommandSpec> {
        let waves = self.waves.as_deref();
        let mut spec = command(context, self.design, self.settings, folder, waves)?;
        spec.env.extend(self.own_env());
        Ok(spec)
    }

    /// Returns the variables that differ from run to run.
    fn own_env(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (variables::COCORUN_RUN_ID.to_owned(), self.run.to_string()),
            (variables::COCORUN_SLOT.to_owned(), self.slot.to_string()),
        ])
    }
}

/// Returns the message that requests a child from a server; the request has been written, too, since
/// the folder of a forked run looks like that of any other.
pub(super) fn fork_request(simulation: &Simulation<'_>, folder: &RunFolder) -> String {
    let own = ForkRequest {
        run: simulation.run,
        cwd: working_dir(simulation.settings, folder),
        log: &folder.log,
        env: ForkEnv {
            set: simulation.own_env(),
            unset: Vec::new(),
        },
        request_file: None,
        design: None,
        design_fd: None,
    };
    let message = own.message(&simulation.request(folder));
    if message.len() <= MESSAGE_BYTES_MAX {
        return message;
    }
    to_json(&ForkRequest {
        request_file: Some(&folder.request),
        ..own
    })
}

/// Says whether the process has code that may have something to do when it ends.
fn has_foreign_code(design: &BuiltDesign, settings: &RunSettings) -> bool {
    design.has_foreign_code || !settings.vpi_libraries.is_empty() || !settings.gpi_users.is_empty()
}

/// Returns the request to a process that serves in a mode and runs no testcase itself.
pub(super) fn base_request(
    context: &TaskContext<'_>,
    design: &BuiltDesign,
    settings: &RunSettings,
    folder: &RunFolder,
    mode: Mode,
) -> Request {
    Request {
        protocol: PROTOCOL,
        mode,
        event_file: folder.event_file.clone(),
        modules: Vec::new(),
        testcases: None,
        seed: settings.seed.unwrap_or(context.seed),
        results_file: folder.results.clone(),
        paths: settings.import_path.folders.clone(),
        ambiguous: settings.import_path.ambiguous.clone(),
        cpus: processors(),
        preload: settings.preload.clone(),
        checkpoints: Vec::new(),
        checkpoint_level: 0,
        checkpoint_failed: false,
        vpi_libraries: settings.vpi_libraries.clone(),
        has_foreign_code: has_foreign_code(design, settings),
        pygpi_users: Vec::new(),
        dump_signal: STACK_SIGNAL,
        wait_signal: WAIT_SIGNAL,
    }
}

/// Creates the folder of a server and returns how to start it.
///
/// # Errors
/// The disk failed, or the simulator was not found.
pub(super) fn server_command(
    context: &TaskContext<'_>,
    design: &BuiltDesign,
    settings: &RunSettings,
) -> Result<CommandSpec> {
    let folder = RunFolder::make(
        &context.session_dir,
        &design.name,
        "server",
        context.next_run(),
        &settings.run_files,
    )?;
    let request = base_request(context, design, settings, &folder, Mode::Serve);
    fs::write(&folder.request, to_json(&request))?;
    command(context, design, settings, &folder, None)
}

/// Returns the folder that a process starts in.
fn working_dir<'a>(settings: &'a RunSettings, folder: &'a RunFolder) -> &'a Utf8Path {
    settings.cwd.as_ref().unwrap_or(&folder.dir)
}

/// Returns the path by which a simulator that starts in `cwd` finds the wave file of a run.
///
/// # Errors
/// It cannot: waves in `cwd` itself would be those of several runs.
fn wave_path(
    simulator: &dyn Simulator,
    waves: &Utf8Path,
    folder: &RunFolder,
    cwd: &Utf8Path,
) -> Result<Utf8PathBuf> {
    let path = match waves.file_name() {
        // `..` leads out of the real folder.
        Some(name) if cwd != folder.dir && !waves.as_str().is_ascii() => {
            let dir = fs::real_path(&folder.dir)?;
            simulator.wave_path(&dir.join(name), &fs::real_path(cwd)?)
        }
        _ => simulator.wave_path(waves, cwd),
    };
    path.ok_or_else(|| {
        let message = format!(
            "`{}` cannot write waves to `{waves}` with the working directory `{cwd}`: the path from \
             one to the other is not ASCII; remove `cwd`, or choose another `build_dir`",
            simulator.name()
        );
        Diagnostic::error(Code::ConfigBadValue, message).into()
    })
}

pub(super) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings, numbers and lists have a form in JSON")
}

fn command(
    context: &TaskContext<'_>,
    design: &BuiltDesign,
    settings: &RunSettings,
    folder: &RunFolder,
    waves: Option<&Utf8Path>,
) -> Result<CommandSpec> {
    let installed = context.tools.simulator(&design.simulator)?;
    let waves = match waves {
        Some(waves) => Some(wave_path(
            installed.simulator.as_ref(),
            waves,
            folder,
            working_dir(settings, folder),
        )?),
        None => None,
    };
    let input = LaunchInput {
        design,
        tool: &installed.tool,
        python: &context.tools.python,
        vpi_libraries: &settings.vpi_libraries,
        gpi_users: &settings.gpi_users,
        test_args: &settings.test_args,
        plusargs: &settings.plusargs,
        waves: waves.as_deref(),
    };
    let launch = launch(installed.simulator.as_ref(), &input);
    let mut env = settings.env.clone();
    let own_order = env.get(variables::PYTHONHASHSEED).cloned();
    env.extend(context.base_env.clone());
    env.extend(own_order.map(|seed| (variables::PYTHONHASHSEED.to_owned(), seed)));
    let project_dir = settings.project_dir.to_string();
    env.insert(variables::COCORUN_PROJECT_DIR.to_owned(), project_dir);
    env.insert(
        variables::PYTHONPATH.to_owned(),
        context.python_path(settings),
    );
    // The order of sets of strings is as random as any number drawn. Python's hash seed has the
    // same range as cocotb's.
    let seed = settings.seed.unwrap_or(context.seed);
    env.entry(variables::PYTHONHASHSEED.to_owned())
        .or_insert_with(|| seed.0.to_string());
    env.extend(launch.env);
    env.insert(REQUEST_ENV.to_owned(), folder.request.to_string());
    env.insert(
        variables::COCORUN_SESSION_ID.to_owned(),
        context.session_id.clone(),
    );
    Ok(CommandSpec {
        program: launch.program,
        args: launch.args,
        env,
        env_remove: launch.env_remove,
        cwd: working_dir(settings, folder).to_owned(),
        log: folder.log.clone(),
        channel_env: Some(EVENT_FD_ENV.to_owned()),
        inherits: Vec::new(),
    })
}
