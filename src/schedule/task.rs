//! What a session has to do, task by task.

use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::schedule::group::Group;
use crate::schedule::module_server::ModuleServer;

use std::sync::Arc;

/// Modules of one `[[test]]` table on one build, to be listed by one simulator process.
#[derive(Clone, Debug)]
pub(super) struct ListTask {
    pub(super) group: Arc<Group>,
    pub(super) modules: Vec<TestModule>,
    /// Whether it was lost with its last server, so that it gets its own process.
    pub(super) lost_its_server: bool,
    /// Whether it has waited for the servers of others to end.
    pub(super) has_waited: bool,
}

/// Testcases of one table on one build, to be run by one simulator process.
#[derive(Clone, Debug)]
pub(super) struct RunTask {
    pub(super) group: Arc<Group>,
    pub(super) testcases: Vec<Testcase>,
    /// What has imported their module; it ends with the last task that has it.
    pub(super) module_server: Option<Arc<ModuleServer>>,
    /// Which attempt at the testcases this is, from 1. A testcase that never began, or whose server
    /// was lost, has not been attempted.
    pub(super) attempt: u32,
    /// Whether it was lost with its last server, so that it gets its own process.
    pub(super) lost_its_server: bool,
}

/// Testcases that wait until the checkpoints of their group have run.
#[derive(Clone, Debug)]
pub(super) struct BringUpTask {
    pub(super) group: Arc<Group>,
    pub(super) runs: Vec<RunTask>,
}

/// Testcases of a module of which each failed or passed in a process of its own, to be run once
/// more in one process.
#[derive(Clone, Debug)]
pub(super) struct OrderCheck {
    pub(super) task: RunTask,
    /// The indices of those that failed.
    pub(super) suspects: Vec<usize>,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Make sure that the build with this index in the plan exists, then list what runs on it.
    Build(usize),
    /// List the testcases of some modules.
    List(ListTask),
    /// Run the checkpoints of a group, then testcases.
    BringUp(BringUpTask),
    /// Run testcases.
    Run(RunTask),
    /// Find out whether testcases pass after others.
    CheckOrder(OrderCheck),
}
