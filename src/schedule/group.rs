//! What the modules of one `[[test]]` table on one build share: settings, and a fork server.
//!
//! Invariant: a group's server lives at most as long as any task of the group waits or runs;
//! dropping the last task ends the server. It may end before, see [`ServerOwner`]; the next run then
//! starts another one.

use crate::agent::fork_server::Complaint;
use crate::agent::fork_server::ForkError;
use crate::agent::fork_server::ForkServer;
use crate::agent::fork_server::ModuleFork;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::memory;
use crate::edge::process::Process;
use crate::model::build::BuiltDesign;
use crate::model::test::FixedSettings;
use crate::model::test::Isolation;
use crate::model::test::ModuleInVariant;
use crate::model::test::RunSettings;
use crate::model::test::TestModule;
use crate::model::test::TestVariant;
use crate::model::test::Testcase;
use crate::schedule::checkpoints::CheckpointFork;
use crate::schedule::checkpoints::CheckpointServer;
use crate::schedule::checkpoints::Checkpoints;
use crate::schedule::context::TaskContext;
use crate::schedule::folder::RunFolder;
use crate::schedule::module_server::ModuleServer;
use crate::schedule::module_server::PendingModuleServer;
use crate::schedule::module_server::ServingModule;
use crate::schedule::servers::ServerOwner;
use crate::schedule::servers::ServerPlace;
use crate::schedule::simulation::Simulation;
use crate::schedule::simulation::fork_request;
use crate::schedule::starter;
use crate::sim::simulator::Simulator;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A server may take this long to start, whatever the limit of a testcase: a cold start from a busy
/// file server takes tens of seconds.
const START_LIMIT_MIN: Duration = Duration::from_secs(120);

/// Why a task that was lost with its server gets its own process.
pub(super) const SERVER_WAS_LOST: &str = "its fork server was lost";

/// Modules of one table on one build.
pub(super) struct Group {
    /// What runs.
    pub(super) design: Arc<BuiltDesign>,
    /// The settings of its runs.
    pub(super) settings: RunSettings,
    /// The table that its modules are of.
    pub(super) table: usize,
    /// What sets its runs apart from others of the same modules.
    variant: Option<TestVariant>,
    /// The design it runs on.
    pub(super) simulator: Arc<dyn Simulator>,
    /// The name of the wave file of a run, by the format that the build was made for.
    pub(super) wave_file: &'static str,
    shared: Arc<SharedServer>,
}

/// The server of one or more groups. The fields are dropped in this order.
#[derive(Default)]
struct SharedServer {
    /// What runs before testcases are forked.
    checkpoints: Checkpoints,
    /// Locked while the server starts, which takes up to minutes.
    server: Mutex<Server>,
    /// Locked for moments only, and never while waiting for `server`.
    warnings: Mutex<Warnings>,
    /// The servers of modules that it has forked.
    modules: Mutex<Vec<Weak<ModuleServer>>>,
    /// Whether it refuses to fork such servers.
    refuses_modules: AtomicBool,
}

impl SharedServer {
    fn locked_modules(&self) -> MutexGuard<'_, Vec<Weak<ModuleServer>>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was not reported yet.
#[derive(Default)]
struct Warnings {
    /// Complaints of servers that are gone, or could not start.
    kept: Vec<Complaint>,
    /// The server that may have further complaints.
    serving: Option<Arc<Counted>>,
}

#[derive(Default)]
enum Server {
    #[default]
    Untried,
    Serving(Arc<Counted>),
    /// Why processes are spawned instead.
    None(String),
}

/// A server that counts towards the session's limit. The fields are dropped in this order.
struct Counted {
    server: ForkServer,
    _place: ServerPlace,
}

/// Why a server was not started.
enum NoServer {
    /// The group never has one.
    Never(String),
    /// There are enough others.
    NotNow(String),
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("build", &self.design.name)
            .finish_non_exhaustive()
    }
}

/// What forks a run instead of the group's first server.
#[derive(Clone, Copy)]
pub(super) enum ForkedFrom<'a> {
    /// What has imported its module.
    Module(&'a ModuleServer),
    /// What has run a checkpoint.
    Checkpoint(&'a CheckpointFork),
}

/// A process that was started for a run, and how.
pub(super) struct Started {
    pub(super) process: Box<dyn Process>,
    /// `None` if it was forked, else why it was not.
    pub(super) spawned_because: Option<String>,
}

impl Group {
    /// Creates a group without a server.
    pub(super) fn new(
        design: Arc<BuiltDesign>,
        settings: RunSettings,
        (table, variant): (usize, Option<TestVariant>),
        simulator: Arc<dyn Simulator>,
        wave_file: &'static str,
    ) -> Self {
        Self {
            design,
            settings,
            table,
            variant,
            simulator,
            wave_file,
            shared: Arc::default(),
        }
    }

    /// Returns what groups on one design have in common whose server would be started alike.
    pub(super) fn server_key(&self) -> String {
        let settings = RunSettings {
            isolation: Isolation::Testcase,
            fail_on_hdl_error: false,
            fixed: FixedSettings::default(),
            ..self.settings.clone()
        };
        serde_json::to_string(&settings).expect("its parts have a form in JSON")
    }

    /// Has the server of another group with the same key.
    pub(super) fn with_server_of(self, other: &Self) -> Self {
        Self {
            shared: Arc::clone(&other.shared),
            ..self
        }
    }

    /// Returns a group with a limit of at most `limit` whose runs are spawned and write no waves.
    pub(super) fn apart(&self, limit: Duration) -> Self {
        let settings = RunSettings {
            timeout: self.settings.timeout.min(limit),
            fork: false,
            waves: false,
            ..self.settings.clone()
        };
        let (design, simulator) = (Arc::clone(&self.design), Arc::clone(&self.simulator));
        let table = (self.table, self.variant.clone());
        Self::new(design, settings, table, simulator, self.wave_file)
    }

    /// Returns one of its modules as people see it.
    pub(super) fn in_variant<'a>(&'a self, module: &'a TestModule) -> ModuleInVariant<'a> {
        ModuleInVariant {
            module,
            variant: self.variant.as_ref(),
        }
    }

    /// Returns the testcase that represents one of its modules as a whole.
    pub(super) fn whole_module(&self, module: &TestModule) -> Testcase {
        Testcase::whole_module(&self.design.name, self.in_variant(module))
    }

    /// Identifies its server among those of all groups.
    pub(super) fn server_id(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    /// Returns its checkpoints.
    pub(super) fn checkpoints(&self) -> &Checkpoints {
        &self.shared.checkpoints
    }

    /// Returns why its testcases run the checkpoints themselves; `None` where they need not, or
    /// there are none.
    pub(super) fn runs_checkpoints_itself_because(&self) -> Option<&'static str> {
        let settings = &self.settings;
        let reasons = [
            (settings.checkpoints.is_empty(), "there are none"),
            (!settings.fork, "`fork = false`"),
            (settings.waves, "waves are written"),
            (
                settings.isolation != Isolation::Testcase,
                "testcases share a process",
            ),
            (!settings.pygpi_users.is_empty(), "there are `pygpi_users`"),
            (!self.simulator.can_fork(), "its simulator cannot be forked"),
        ];
        let reason = reasons.iter().find(|(is_so, _)| *is_so);
        reason.map(|(_, why)| *why)
    }

    /// Says whether modules may get servers of their own: the first call starts the first server.
    pub(super) fn may_serve_modules(self: &Arc<Self>, context: &TaskContext<'_>) -> bool {
        !self.shared.refuses_modules.load(Ordering::Relaxed)
            && context.servers.has_room_for_module(memory::available())
            && self.server(|| self.start_server(context)).is_ok()
    }

    /// Says whether it has no server only because there are too many others.
    pub(super) fn lacks_place(self: &Arc<Self>, context: &TaskContext<'_>) -> bool {
        let has_none = self.server(|| self.start_server(context)).is_err();
        has_none && matches!(*self.locked(), Server::Untried)
    }

    /// Keeps a module's server in mind, which can be given up with the first one.
    pub(super) fn keep_module_server(&self, server: &Arc<ModuleServer>) {
        let mut modules = self.shared.locked_modules();
        modules.retain(|it| it.strong_count() > 0);
        modules.push(Arc::downgrade(server));
    }

    /// Forks a process that lists the one module of a simulation, and may serve it then.
    ///
    /// # Errors
    /// The disk failed, or there is no server to fork it.
    pub(super) fn fork_module(
        self: &Arc<Self>,
        context: &TaskContext<'_>,
        simulation: &Simulation<'_>,
        folder: &RunFolder,
    ) -> Result<(Box<dyn Process>, PendingModuleServer)> {
        simulation.write_request(folder)?;
        let broken = |why: String| Diagnostic::error(Code::ToolBroken, why);
        let place = context.servers.admit_module(memory::available());
        let place = place.map_err(broken)?;
        let first = self.server(|| self.start_server(context));
        let first = first.map_err(broken)?;
        let request = fork_request(simulation, folder);
        let forked = first
            .server
            .fork_module(context.waits(), simulation.run, &request);
        match forked {
            Ok(ModuleFork { process, socket }) => {
                let pending = PendingModuleServer {
                    socket,
                    first,
                    place,
                };
                Ok((process, pending))
            }
            Err(error) => {
                let refuses = matches!(error, ForkError::Refused(_));
                let no_modules = &self.shared.refuses_modules;
                no_modules.fetch_or(refuses, Ordering::Relaxed);
                Err(broken(self.not_forked(&first, error)).into())
            }
        }
    }

    /// Starts a simulation: forked if possible, by the module's server if there is one, else
    /// spawned.
    ///
    /// # Errors
    /// Neither worked.
    pub(super) fn start(
        self: &Arc<Self>,
        context: &TaskContext<'_>,
        simulation: &Simulation<'_>,
        folder: &RunFolder,
        spawn_because: Option<&str>,
        from: Option<ForkedFrom<'_>>,
    ) -> Result<Started> {
        simulation.write_request(folder)?;
        let why = match spawn_because {
            Some(why) => why.to_owned(),
            None => match self.fork(context, simulation, folder, from) {
                Ok(process) => {
                    return Ok(Started {
                        process,
                        spawned_because: None,
                    });
                }
                Err(why) => why,
            },
        };
        let process = context
            .host()
            .spawn(&simulation.command(context, folder)?)?;
        Ok(Started {
            process,
            spawned_because: Some(why),
        })
    }

    fn fork(
        self: &Arc<Self>,
        context: &TaskContext<'_>,
        simulation: &Simulation<'_>,
        folder: &RunFolder,
        from: Option<ForkedFrom<'_>>,
    ) -> std::result::Result<Box<dyn Process>, String> {
        let request = fork_request(simulation, folder);
        let (waits, run) = (context.waits(), simulation.run);
        match from {
            Some(ForkedFrom::Checkpoint(from)) => {
                return from
                    .fork(waits, run, &request)
                    .map_err(|error| self.not_forked_from_checkpoint(&from.server, error));
            }
            // What it does not fork is forked before its module is imported.
            Some(ForkedFrom::Module(server)) => {
                if let Some(process) = server.fork(waits, run, &request) {
                    return Ok(process);
                }
            }
            None => {}
        }
        let server = self.server(|| self.start_server(context))?;
        let forked = server.server.fork(waits, run, &request);
        forked.map_err(|error| self.not_forked(&server, error))
    }

    /// Returns why a checkpoint's server has forked nothing; one that is gone is forgotten.
    fn not_forked_from_checkpoint(
        &self,
        server: &Arc<CheckpointServer>,
        error: ForkError,
    ) -> String {
        match error {
            ForkError::Refused(why) => why,
            ForkError::Gone(why) => {
                self.checkpoints().locked().lose(server);
                why
            }
        }
    }

    /// Returns why a server has forked nothing; the next run starts another one if it is gone.
    fn not_forked(&self, server: &Arc<Counted>, error: ForkError) -> String {
        match error {
            ForkError::Refused(why) => why,
            ForkError::Gone(why) => {
                let mut current = self.locked();
                if let Server::Serving(running) = &*current
                    && Arc::ptr_eq(running, server)
                {
                    self.retire(&mut current, server);
                }
                why
            }
        }
    }

    /// Keeps what a server has said, and lets the next run start another one.
    fn retire(&self, current: &mut Server, server: &Counted) {
        let mut warnings = self.locked_warnings();
        warnings.kept.extend(server.server.take_complaints());
        warnings.serving = None;
        *current = Server::Untried;
    }

    fn locked(&self) -> MutexGuard<'_, Server> {
        let server = &self.shared.server;
        server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked_warnings(&self) -> MutexGuard<'_, Warnings> {
        let warnings = &self.shared.warnings;
        warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the server; the first call starts it while others wait.
    fn server(
        &self,
        start: impl FnOnce() -> std::result::Result<Counted, NoServer>,
    ) -> std::result::Result<Arc<Counted>, String> {
        let mut current = self.locked();
        if matches!(*current, Server::Untried) {
            *current = match start() {
                Ok(server) => {
                    let server = Arc::new(server);
                    self.locked_warnings().serving = Some(Arc::clone(&server));
                    Server::Serving(server)
                }
                Err(NoServer::NotNow(why)) => return Err(why),
                Err(NoServer::Never(why)) => {
                    if !self.settings.preload.is_empty() && self.settings.fork {
                        let words = format!("nothing is forked: {why}");
                        self.locked_warnings().kept.push(Complaint::Preload(words));
                    }
                    Server::None(why)
                }
            };
        }
        match &*current {
            Server::Serving(server) => Ok(Arc::clone(server)),
            Server::None(why) => Err(why.clone()),
            Server::Untried => unreachable!("it was tried above"),
        }
    }

    /// Takes the server's messages since the last call; never waits for a server that starts.
    pub(super) fn take_warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = self.locked_warnings();
        let mut complaints = mem::take(&mut warnings.kept);
        if let Some(serving) = &warnings.serving {
            complaints.extend(serving.server.take_complaints());
        }
        drop(warnings);
        complaints.into_iter().map(|it| self.warning(it)).collect()
    }

    fn warning(&self, complaint: Complaint) -> Diagnostic {
        let build = &self.design.name;
        match complaint {
            Complaint::Preload(words) => Diagnostic::warning(Code::TestPreload, words).fact(
                format!("build `{build}`, `preload = {:?}`", self.settings.preload),
            ),
            Complaint::Agent(words) => {
                Diagnostic::warning(Code::TestAgent, words).fact(format!("build `{build}`"))
            }
        }
    }

    fn start_server(
        self: &Arc<Self>,
        context: &TaskContext<'_>,
    ) -> std::result::Result<Counted, NoServer> {
        let never = |why: &str| Err(NoServer::Never(why.to_owned()));
        if !self.settings.fork {
            return never("`fork = false`");
        }
        if self.settings.waves {
            return never("waves are written");
        }
        if !self.simulator.can_fork() {
            return never(&format!("`{}` cannot be forked", self.design.simulator));
        }
        let owner: Arc<dyn ServerOwner> = Arc::clone(self) as _;
        let place = context.servers.admit(&owner, memory::available());
        let place = place.map_err(NoServer::NotNow)?;
        let limit = start_limit(&self.settings);
        match starter::start_server(context, &self.design, &self.settings, limit) {
            Ok(server) => Ok(Counted {
                server,
                _place: place,
            }),
            Err(problems) => never(&first_message(&problems.0)),
        }
    }
}

impl ServerOwner for Group {
    fn give_up_idle_server(&self) -> Option<Box<dyn Send>> {
        let mut current = self.shared.server.try_lock().ok()?;
        let Server::Serving(server) = &*current else {
            return None;
        };
        let modules = self.shared.locked_modules().clone();
        let modules: Vec<Arc<ModuleServer>> = modules.iter().filter_map(Weak::upgrade).collect();
        let mut of_modules = Vec::new();
        for module in &modules {
            let serving = module.try_lock()?;
            if serving.as_ref().is_some_and(|it| !it.is_idle()) {
                return None;
            }
            of_modules.push(serving);
        }
        let count = of_modules.iter().filter(|it| it.is_some()).count();
        // A second one is held for its warnings, one by each module's server; another is about to
        // fork.
        if Arc::strong_count(server) > 2 + count || !server.server.has_children(count) {
            return None;
        }
        let of_modules: Vec<ServingModule> =
            of_modules.iter_mut().filter_map(|it| it.take()).collect();
        let server = Arc::clone(server);
        self.retire(&mut current, &server);
        Some(Box::new((of_modules, server)))
    }
}

/// Returns how long a server may take to start: like any simulator, as long as a testcase.
///
/// A short limit is meant for testcases and not for the elaboration that all of them share.
fn start_limit(settings: &RunSettings) -> Duration {
    settings.timeout.max(START_LIMIT_MIN)
}

fn first_message(problems: &[Diagnostic]) -> String {
    problems.first().map_or_else(
        || Code::ToolBroken.name().to_owned(),
        |it| it.message.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::schedule::fixture::design;
    use crate::sim::registry::Registry;

    use std::sync::mpsc;
    use std::thread;

    fn group() -> Arc<Group> {
        let settings = RunSettings {
            fork: true,
            preload: vec!["p".to_owned()],
            ..RunSettings::plain(Duration::from_secs(1))
        };
        let registry = Registry::builtin();
        let simulator = registry.get("icarus").expect("it is built in");
        let simulator = Arc::clone(simulator);
        Arc::new(Group::new(
            Arc::new(design("b")),
            settings,
            (0, None),
            simulator,
            "w.fst",
        ))
    }

    #[test]
    fn warnings_do_not_wait_for_a_server_that_starts() {
        let group = group();
        let server = group.server(|| {
            let (taken, warnings) = mpsc::channel();
            let other = Arc::clone(&group);
            thread::spawn(move || taken.send(other.take_warnings()));
            let warnings = warnings.recv_timeout(Duration::from_secs(60));
            assert_eq!(warnings, Ok(Vec::new()), "they waited, or there were some");
            Err(NoServer::Never("it is a test".to_owned()))
        });
        assert!(server.is_err());
        let warnings = group.take_warnings();
        let messages: Vec<&str> = warnings.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(messages, ["nothing is forked: it is a test"]);
        assert!(group.take_warnings().is_empty());
    }

    #[test]
    fn a_server_may_start_as_long_as_a_testcase_may_run_and_never_less_than_two_minutes() {
        let limit_s = |timeout_s| {
            let settings = RunSettings::plain(Duration::from_secs(timeout_s));
            start_limit(&settings).as_secs()
        };
        assert_eq!([1, 120, 3600].map(limit_s), [120, 120, 3600]);
    }
}
