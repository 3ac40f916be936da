//! What is left to do, in the order it should be done, shared by the workers.
//!
//! Invariant: a task is taken by one worker and reported finished by it; the queue is over when
//! nothing is waiting and nobody is at work, since only a worker adds tasks.

use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::schedule::group::Group;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

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
    /// Whether its last server took it down, so that it gets a process of its own.
    pub(super) lost_its_server: bool,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Make sure that a build exists, then list what runs on it.
    Build(usize),
    /// List the testcases of some modules.
    List(ListTask),
    /// Run testcases.
    Run(RunTask),
}

#[derive(Debug, Default)]
struct Waiting {
    builds: VecDeque<usize>,
    lists: VecDeque<ListTask>,
    runs: VecDeque<RunTask>,
    at_work: usize,
}

/// The shared queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Queue {
    /// Makes a queue that begins with these builds.
    pub(super) fn new(builds: impl IntoIterator<Item = usize>) -> Self {
        let waiting = Waiting {
            builds: builds.into_iter().collect(),
            ..Waiting::default()
        };
        Self {
            waiting: Mutex::new(waiting),
            changed: Condvar::new(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next task: builds first, since runs wait for them, then lists, then runs.
    ///
    /// Blocks while others may still add tasks; `None` when all is done.
    pub(super) fn take(&self) -> Option<Task> {
        let mut waiting = self.locked();
        loop {
            let next = if let Some(build) = waiting.builds.pop_front() {
                Some(Task::Build(build))
            } else if let Some(list) = waiting.lists.pop_front() {
                Some(Task::List(list))
            } else {
                waiting.runs.pop_front().map(Task::Run)
            };
            if next.is_some() {
                waiting.at_work += 1;
                return next;
            }
            if waiting.at_work == 0 {
                return None;
            }
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says how many builds nobody has begun yet.
    pub(super) fn builds_left(&self) -> usize {
        self.locked().builds.len()
    }

    /// Adds listings.
    pub(super) fn add_lists(&self, lists: impl IntoIterator<Item = ListTask>) {
        self.locked().lists.extend(lists);
        self.changed.notify_all();
    }

    /// Adds runs behind those that wait.
    pub(super) fn add_runs(&self, runs: impl IntoIterator<Item = RunTask>) {
        self.locked().runs.extend(runs);
        self.changed.notify_all();
    }

    /// Adds a run before all others: the rest of one that ended early.
    pub(super) fn add_run_first(&self, run: RunTask) {
        self.locked().runs.push_front(run);
        self.changed.notify_all();
    }

    /// Tells that a taken task is done, after everything it led to was added.
    pub(super) fn finish(&self) {
        self.locked().at_work -= 1;
        self.changed.notify_all();
    }
}
