//! What a session has to do, task by task.

use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::schedule::group::Group;

use std::sync::Arc;

/// Modules of one `[[test]]` table on one build, to be listed by one simulator process.
#[derive(Clone, Debug)]
pub(super) struct ListTask {
    pub(super) group: Arc<Group>,
    pub(super) modules: Vec<TestModule>,
    /// Whether its last server took it down, so that it gets a process of its own.
    pub(super) lost_its_server: bool,
}

/// Testcases of one table on one build, to be run by one simulator process.
#[derive(Clone, Debug)]
pub(super) struct RunTask {
    pub(super) group: Arc<Group>,
    pub(super) testcases: Vec<Testcase>,
    /// Which try of the testcases this is, from 1. A testcase that never began, or whose server was
    /// lost, has not been tried.
    pub(super) attempt: u32,
    /// Whether its last server took it down, so that it gets a process of its own.
    pub(super) lost_its_server: bool,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Make sure that the build at this place in the plan exists, then list what runs on it.
    Build(usize),
    /// List the testcases of some modules.
    List(ListTask),
    /// Run testcases.
    Run(RunTask),
}
