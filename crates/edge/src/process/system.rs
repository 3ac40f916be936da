//! The operating system as a host of processes.

use crate::Error;
use crate::ErrorKind;
use crate::Result;
use crate::fs::io_problem;
use crate::interrupt::Interrupt;
use crate::process::contract::CommandSpec;
use crate::process::contract::Listener;
use crate::process::contract::Process;
use crate::process::contract::ProcessHost;
use crate::process::contract::Service;
use crate::process::service::SystemService;
use crate::process::spawn::spawn;
use crate::process::tree;

use camino::Utf8Path;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The operating system.
#[derive(Clone, Debug)]
pub struct SystemHost {
    interrupt: Interrupt,
}

impl SystemHost {
    /// Makes a host whose waits end when `interrupt` is raised.
    pub fn new(interrupt: Interrupt) -> Self {
        Self { interrupt }
    }

    /// Makes this process inherit, and kill, the processes that its children leave behind.
    ///
    /// For the program only: a library's caller may have children of its own.
    pub fn adopt_orphans() {
        tree::become_subreaper();
    }
}

impl ProcessHost for SystemHost {
    fn spawn(&self, spec: &CommandSpec) -> Result<Box<dyn Process>> {
        Ok(Box::new(spawn(spec, None, &self.interrupt)?))
    }

    fn serve(
        &self,
        spec: &CommandSpec,
        socket_env: &str,
        listener: Box<dyn Listener>,
    ) -> Result<Box<dyn Service>> {
        let interrupt = self.interrupt.clone();
        let service = SystemService::start(spec.clone(), socket_env, listener, interrupt)?;
        Ok(Box::new(service))
    }
}

/// Becomes another program; returns only if that fails.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn replace_this_process(command: &[String]) -> Error {
    let Some((program, args)) = command.split_first() else {
        return Error::new(ErrorKind::NotStartable, "there is no command to run");
    };
    let error = Command::new(program).args(args).exec();
    io_problem(&error, "start", Utf8Path::new(program))
}
