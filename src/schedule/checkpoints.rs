//! The checkpoints of a group: the servers that have run them, and why there are no more.
//!
//! Invariants: the servers stand in the order of the checkpoints, each forked from the one before; a
//! server that is lost takes all others with it.

use crate::agent::fork_server::ForkError;
use crate::agent::fork_server::ForkServer;
use crate::agent::fork_server::ModuleFork;
use crate::agent::fork_server::Waits;
use crate::edge::process::Process;
use crate::model::outcome::LogSpan;
use crate::model::test::Checkpoint;
use crate::model::test::TestModule;
use crate::model::test::TestcaseId;
use crate::schedule::judge::TestcaseVerdict;
use crate::schedule::servers::ServerPlace;

use camino::Utf8PathBuf;
use std::any::Any;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// How often servers may be lost before testcases run their checkpoints themselves.
const LOSSES_MAX: u32 = 1;

/// How many modules have a server of their own at the end of one checkpoint.
const MODULES_MAX: usize = 4;

/// A server that has run a checkpoint, and maybe imported a module then. The fields are dropped in this order.
pub(super) struct CheckpointServer {
    /// Those that it has forked for modules.
    modules: Mutex<ModulesBelow>,
    server: ForkServer,
    /// What has forked it, and would end it.
    _before: Arc<dyn Any + Send + Sync>,
    _place: ServerPlace,
}

/// The servers of the modules that were imported at the end of a checkpoint.
#[derive(Default)]
struct ModulesBelow {
    by_module: BTreeMap<TestModule, Below>,
    /// Those that serve, the oldest first.
    serving: VecDeque<TestModule>,
}

/// What is known of a module at the end of a checkpoint.
enum Below {
    /// One testcase was forked from the checkpoint itself: for a single one it would not pay.
    SeenOnce,
    /// It has no server, or none yet.
    Without,
    Serving(Arc<CheckpointServer>),
}

/// What forks the next testcase of a module.
pub(super) enum NextOfModule {
    /// The checkpoint's own server.
    Checkpoint,
    /// A server that is to be started, and then handed to
    /// [`serve_module`](CheckpointServer::serve_module).
    ToBeStarted,
    /// The module's server.
    Module(Arc<CheckpointServer>),
}

impl fmt::Debug for CheckpointServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointServer").finish_non_exhaustive()
    }
}

impl CheckpointServer {
    /// Takes over a process that serves now; `None` if that fails, which ends it.
    pub(super) fn serving(
        fork: ModuleFork,
        before: Arc<dyn Any + Send + Sync>,
        place: ServerPlace,
    ) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            modules: Mutex::default(),
            server: ForkServer::of_module(fork).ok()?,
            _before: before,
            _place: place,
        }))
    }

    /// Returns what forks the next testcase of a module.
    pub(super) fn next_of(&self, module: &TestModule) -> NextOfModule {
        let mut modules = self.locked_modules();
        match modules.by_module.get(module) {
            None => {
                modules.by_module.insert(module.clone(), Below::SeenOnce);
                NextOfModule::Checkpoint
            }
            Some(Below::SeenOnce) => {
                modules.by_module.insert(module.clone(), Below::Without);
                NextOfModule::ToBeStarted
            }
            Some(Below::Without) => NextOfModule::Checkpoint,
            Some(Below::Serving(server)) => NextOfModule::Module(Arc::clone(server)),
        }
    }

    /// Keeps the server of a module; the oldest one makes room for it.
    pub(super) fn serve_module(&self, module: &TestModule, server: Arc<Self>) {
        let mut modules = self.locked_modules();
        if modules.serving.len() >= MODULES_MAX
            && let Some(oldest) = modules.serving.pop_front()
        {
            modules.by_module.insert(oldest, Below::SeenOnce);
        }
        modules.serving.push_back(module.clone());
        let serving = Below::Serving(server);
        modules.by_module.insert(module.clone(), serving);
    }

    /// Notes that a module's server could not be started now, but may be later.
    pub(super) fn not_yet(&self, module: &TestModule) {
        let mut modules = self.locked_modules();
        modules.by_module.insert(module.clone(), Below::SeenOnce);
    }

    /// Forgets the server of a module, which forks nothing any more.
    pub(super) fn forget_module(&self, module: &TestModule) {
        let mut modules = self.locked_modules();
        modules.serving.retain(|it| it != module);
        modules.by_module.insert(module.clone(), Below::Without);
    }

    fn locked_modules(&self) -> MutexGuard<'_, ModulesBelow> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forks what runs the next checkpoint, or what serves a module.
    ///
    /// # Errors
    /// It rejects the request, or is gone.
    pub(super) fn fork_next(
        &self,
        waits: Waits<'_>,
        run: u32,
        request: &str,
    ) -> Result<ModuleFork, ForkError> {
        self.server.fork_module(waits, run, request)
    }
}

/// What forks one testcase.
#[derive(Debug)]
pub(super) struct CheckpointFork {
    /// The server of the last checkpoint that the testcase can use.
    pub(super) server: Arc<CheckpointServer>,
    /// What that has forked for its module.
    pub(super) module_server: Option<(TestModule, Arc<CheckpointServer>)>,
}

impl CheckpointFork {
    /// Forks it: from its module's server, or else from the checkpoint's.
    ///
    /// # Errors
    /// The checkpoint's server rejects the request, or is gone.
    pub(super) fn fork(
        &self,
        waits: Waits<'_>,
        run: u32,
        request: &str,
    ) -> Result<Box<dyn Process>, ForkError> {
        if let Some((module, server)) = &self.module_server {
            if let Ok(process) = server.server.fork(waits, run, request) {
                return Ok(process);
            }
            self.server.forget_module(module);
        }
        self.server.server.fork(waits, run, request)
    }
}

/// A checkpoint that has failed, for every testcase that calls it.
#[derive(Debug)]
pub(super) struct CheckpointFailure {
    /// The verdict on a testcase that calls it.
    pub(super) verdict: TestcaseVerdict,
    /// The directory of its process.
    pub(super) dir: Utf8PathBuf,
    /// What it has written.
    pub(super) log: LogSpan,
    /// Whether there is no such function: testcases that do not call it fail too.
    pub(super) is_missing: bool,
}

/// Why there is no further server.
#[derive(Debug)]
pub(super) enum NoMore {
    /// Its checkpoint has failed.
    Failed(Arc<CheckpointFailure>),
    /// Testcases run it themselves.
    Unused(String),
}

/// What is known about a group's checkpoints.
#[derive(Debug, Default)]
pub(super) struct CheckpointState {
    /// Whether they have been run.
    pub(super) is_tried: bool,
    /// One for each checkpoint that has run.
    pub(super) servers: Vec<Arc<CheckpointServer>>,
    /// Why there are no more than these.
    pub(super) no_more: Option<NoMore>,
    losses: u32,
    /// How many testcases of a name can use, and why not more.
    known: BTreeMap<(TestModule, String), (usize, String)>,
}

impl CheckpointState {
    /// Forgets all servers, since this one is gone; they are started again once.
    pub(super) fn lose(&mut self, server: &Arc<CheckpointServer>) {
        if !self.servers.iter().any(|it| Arc::ptr_eq(it, server)) {
            return;
        }
        // The last one first.
        while self.servers.pop().is_some() {}
        self.losses += 1;
        self.no_more = None;
        if self.losses > LOSSES_MAX {
            let words = "the checkpoint's server was lost twice".to_owned();
            self.no_more = Some(NoMore::Unused(words));
        } else {
            self.is_tried = false;
        }
    }

    /// Remembers how many checkpoints a testcase can use, and why not more.
    pub(super) fn learn(&mut self, testcase: &TestcaseId, levels: usize, reason: &str) {
        self.known
            .insert(name_of(testcase), (levels, reason.to_owned()));
    }

    /// Returns what is known of a testcase, or of another one of the same function.
    pub(super) fn known(&self, testcase: &TestcaseId) -> Option<&(usize, String)> {
        self.known.get(&name_of(testcase))
    }
}

/// Names a testcase without its parametrisation.
fn name_of(testcase: &TestcaseId) -> (TestModule, String) {
    let name = testcase.testcase.split('/').next().unwrap_or_default();
    (testcase.module.clone(), name.to_owned())
}

/// The checkpoints of a group.
#[derive(Debug, Default)]
pub(super) struct Checkpoints(Mutex<CheckpointState>);

impl Checkpoints {
    /// Locks them; for as long as they run, which may be minutes.
    pub(super) fn locked(&self) -> MutexGuard<'_, CheckpointState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the name of a checkpoint's directory, before the number.
pub(super) fn label(checkpoint: &Checkpoint) -> String {
    let (module, function) = checkpoint.parts();
    format!("checkpoint-{module}.{function}")
}
