//! The fork server of one module, as the tasks hold it whose testcases it forks.
//!
//! Invariant: it ends with the last of these tasks, or earlier if it is given up or no longer
//! answers; the tasks then fork from the server that has forked it, or from another one.

use crate::agent::fork_server::ForkError;
use crate::agent::fork_server::ForkServer;
use crate::agent::fork_server::ModuleFork;
use crate::agent::fork_server::Waits;
use crate::edge::process::Process;
use crate::schedule::servers::ServerPlace;

use std::any::Any;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// A server that has imported one module.
pub(super) struct ModuleServer(Mutex<Option<ServingModule>>);

/// A module's server that runs. The fields are dropped in this order.
pub(super) struct ServingModule {
    server: ForkServer,
    /// What has forked it, and would end it.
    _first: Arc<dyn Any + Send + Sync>,
    _place: ServerPlace,
}

impl ServingModule {
    /// Says whether it has no child.
    pub(super) fn is_idle(&self) -> bool {
        self.server.has_children(0)
    }
}

impl fmt::Debug for ModuleServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleServer").finish_non_exhaustive()
    }
}

impl ModuleServer {
    /// Forks a run; `None` if it does not, or no longer.
    pub(super) fn fork(
        &self,
        waits: Waits<'_>,
        run: u32,
        request: &str,
    ) -> Option<Box<dyn Process>> {
        let mut serving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match serving.as_ref()?.server.fork(waits, run, request) {
            Ok(process) => Some(process),
            Err(ForkError::Refused(_)) => None,
            Err(ForkError::Gone(_)) => {
                *serving = None;
                None
            }
        }
    }

    /// Returns what it has, to be taken away, unless somebody is using it.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Option<ServingModule>>> {
        self.0.try_lock().ok()
    }
}

/// What makes a server of a process that lists a module, once it serves.
pub(super) struct PendingModuleServer {
    /// Where it gets its requests.
    pub(super) socket: OwnedFd,
    /// What has forked it.
    pub(super) first: Arc<dyn Any + Send + Sync>,
    /// The right to have it.
    pub(super) place: ServerPlace,
}

impl PendingModuleServer {
    /// Takes over the process, which now serves; `None` if that fails, which ends it.
    pub(super) fn serving(self, process: Box<dyn Process>) -> Option<Arc<ModuleServer>> {
        let socket = self.socket;
        let serving = ServingModule {
            server: ForkServer::of_module(ModuleFork { process, socket }).ok()?,
            _first: self.first,
            _place: self.place,
        };
        Some(Arc::new(ModuleServer(Mutex::new(Some(serving)))))
    }
}
