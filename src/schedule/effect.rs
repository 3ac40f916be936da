//! Effects of tasks. A task emits effects while it runs; one driver applies them.

use crate::diagnostic::Diagnostic;
use crate::event::Event;
use crate::model::build::BuildName;
use crate::schedule::task::BringUpTask;
use crate::schedule::task::ListTask;
use crate::schedule::task::RunTask;

/// One effect of a task.
#[derive(Debug)]
pub(super) enum Effect {
    /// Send an event to the reports.
    Send(Event),
    /// Report a problem, once in a session however often it occurs.
    Notice(Diagnostic),
    /// A build exists, under this key.
    BuildReady(BuildName, String),
    /// Also list these.
    List(Vec<ListTask>),
    /// Also list these, which continue the task: before others that are as urgent.
    ListNext(Vec<ListTask>),
    /// Also run these, once the checkpoints of their group have run.
    BringUp(BringUpTask),
    /// Also run these.
    Run(Vec<RunTask>),
    /// Run the testcases that a process did not get to in another one, before everything that
    /// waits.
    RunAgain(RunTask),
}

/// Receives a task's effects as they occur.
pub(super) type Emit<'a> = dyn Fn(Effect) + 'a;
