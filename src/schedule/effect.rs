//! What tasks lead to. A task gives effects while it is at work; one driver applies them.

use crate::diagnostic::Diagnostic;
use crate::event::Event;
use crate::model::build::BuildName;
use crate::schedule::task::ListTask;
use crate::schedule::task::RunTask;

/// One effect of a task.
#[derive(Debug)]
pub(super) enum Effect {
    /// Send an event to the reports.
    Send(Event),
    /// Report a problem, once in a session however often it is met.
    Notice(Diagnostic),
    /// A build is there, under this key.
    BuildReady(BuildName, String),
    /// List these, too.
    List(Vec<ListTask>),
    /// Run these, too.
    Run(Vec<RunTask>),
    /// Run what a process has left over in another one, before everything that waits.
    RunAgain(RunTask),
}

/// Where a task hands its effects to, as they come.
pub(super) type Emit<'a> = dyn Fn(Effect) + 'a;
