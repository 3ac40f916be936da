//! A slot's thread: takes tasks until none is left, and applies their effects.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Severity;
use crate::edge::interrupt::StopReason;
use crate::edge::jobs::JobPool;
use crate::event::Event;
use crate::event::Slot;
use crate::model::build::Build;
use crate::model::build::BuildName;
use crate::model::test::PlannedModule;
use crate::schedule::bring_up;
use crate::schedule::building;
use crate::schedule::building::Ensure;
use crate::schedule::context::TaskContext;
use crate::schedule::effect::Effect;
use crate::schedule::history::Estimate;
use crate::schedule::history::History;
use crate::schedule::judge::stop_reason_in_words;
use crate::schedule::listing;
use crate::schedule::listing::ListSelection;
use crate::schedule::order_check;
use crate::schedule::order_suspects::OrderSuspects;
use crate::schedule::queue::Queue;
use crate::schedule::result::RunFacts;
use crate::schedule::result::emit_unrun;
use crate::schedule::run;
use crate::schedule::task::BringUpTask;
use crate::schedule::task::ListTask;
use crate::schedule::task::RunTask;
use crate::schedule::task::Task;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// What takes longer than this begins at once, even if it has to be spawned.
const WAITS_MAX: Duration = Duration::from_secs(5);

/// What workers send to the session's own thread.
pub(super) enum Message {
    Event(Event),
    /// A build exists, under this key.
    BuildReady(BuildName, String),
    /// A worker has nothing left to do.
    Finished,
}

/// What all workers of a session share.
pub(super) struct Workshop<'a> {
    pub(super) context: TaskContext<'a>,
    pub(super) builds: &'a [Build],
    /// The indices of builds that differ only in their names, by the first one.
    pub(super) equal_builds: BTreeMap<usize, Vec<usize>>,
    pub(super) modules: &'a [PlannedModule],
    pub(super) ensure: &'a Ensure<'a>,
    pub(super) selection: ListSelection<'a>,
    pub(super) pool: &'a JobPool,
    pub(super) queue: Queue,
    /// What earlier sessions have measured.
    pub(super) history: History,
    pub(super) messages: Sender<Message>,
    /// What was reported about disk, tools and agents.
    pub(super) reported: Mutex<BTreeSet<(Code, String)>>,
    /// Testcases that may pass after others.
    pub(super) suspects: Mutex<OrderSuspects>,
}

/// Reports that a worker has finished, also when it panics.
struct Finishing<'a>(&'a Sender<Message>);

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        self.0.send(Message::Finished).ok();
    }
}

/// Reports a task finished, also when its worker panics: the others would wait for ever.
struct TaskGuard<'a>(&'a Queue, &'a Task);

impl Drop for TaskGuard<'_> {
    fn drop(&mut self) {
        self.0.finish(self.1);
    }
}

impl Workshop<'_> {
    /// Works until the queue is done.
    pub(super) fn work(&self, slot: Slot) {
        let _finishing = Finishing(&self.messages);
        while let Some(task) = self.queue.take() {
            let _task = TaskGuard(&self.queue, &task);
            // A build that is up to date, or made by another process, needs no job.
            let job = (!matches!(task, Task::Build(_))).then(|| self.pool.take());
            match self.context.interrupt().raised() {
                None => self.perform(&task, slot),
                Some(reason) => self.give_up(&task, reason),
            }
            drop(job);
        }
    }

    fn perform(&self, task: &Task, slot: Slot) {
        let emit = |effect| self.apply(effect);
        match task {
            Task::Build(index) => {
                building::build(&self.context, &self.names_of(*index), self.ensure, &emit);
            }
            Task::List(list) if self.should_wait(list) => self.queue.add_last_list(ListTask {
                has_waited: true,
                ..list.clone()
            }),
            Task::List(list) => {
                listing::list(&self.context, list, slot, self.selection, &emit);
            }
            Task::BringUp(task) => {
                bring_up::bring_up(&self.context, &task.group, slot, &emit);
                emit(Effect::Run(task.runs.clone()));
            }
            Task::Run(task) => run::run(&self.context, task, slot, &emit),
            Task::CheckOrder(check) => {
                if self.suspects().admit() {
                    order_check::check(&self.context, check, slot, &emit);
                }
            }
        }
    }

    /// Says whether a listing is better done once others have ended their fork servers: what it
    /// leads to would have to be spawned, and is not known to be long.
    fn should_wait(&self, list: &ListTask) -> bool {
        !list.has_waited
            && !list.lost_its_server
            && self.longest(list).is_none_or(|it| it < WAITS_MAX)
            && list.group.lacks_place(&self.context)
    }

    fn suspects(&self) -> MutexGuard<'_, OrderSuspects> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports the results of everything in a task that will not be started.
    fn give_up(&self, task: &Task, reason: StopReason) {
        let emit = |effect| self.apply(effect);
        let problems = stopped(reason).into();
        let nothing = |attempt| RunFacts::nothing_started(self.context.seed, attempt);
        match task {
            Task::Build(index) => {
                for (build, modules) in self.names_of(*index) {
                    building::give_up(&self.context, build, &modules, &problems, &emit);
                }
            }
            Task::List(list) => {
                for module in &list.modules {
                    let testcase = list.group.whole_module(module);
                    emit_unrun(&emit, &testcase, &problems, nothing(1));
                }
            }
            Task::BringUp(BringUpTask { runs, .. }) => {
                for testcase in runs.iter().flat_map(|run| &run.testcases) {
                    emit_unrun(&emit, testcase, &problems, nothing(1));
                }
            }
            Task::Run(task) => {
                for testcase in &task.testcases {
                    emit_unrun(&emit, testcase, &problems, nothing(task.attempt));
                }
            }
            Task::CheckOrder(_) => {}
        }
    }

    /// Returns a build under each of its names, with the modules planned under that name.
    fn names_of(&self, first: usize) -> Vec<(&Build, Vec<&PlannedModule>)> {
        let indices = self.equal_builds.get(&first).into_iter().flatten();
        let builds = indices.map(|index| &self.builds[*index]);
        builds
            .map(|build| (build, self.modules_of(build)))
            .collect()
    }

    fn modules_of(&self, build: &Build) -> Vec<&PlannedModule> {
        let all = self.modules.iter();
        all.filter(|planned| planned.build == build.name).collect()
    }

    /// Applies one effect of a task.
    fn apply(&self, effect: Effect) {
        match effect {
            Effect::Send(event) => {
                let check = self.suspects().take(&event);
                self.send(Message::Event(event));
                if let Some(check) = check {
                    self.queue.add_order_check(check);
                }
            }
            Effect::BuildReady(build, key) => self.send(Message::BuildReady(build, key)),
            Effect::Notice(problem) => {
                // Errors of one kind have one cause; warnings differ by their subject.
                let what = match problem.severity {
                    Severity::Error => String::new(),
                    Severity::Warning => format!("{} {:?}", problem.message, problem.facts),
                };
                let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
                if reported.insert((problem.code, what)) {
                    self.send(Message::Event(Event::Notice(Box::new(problem))));
                }
            }
            Effect::List(lists) => {
                self.queue
                    .add_lists(lists.into_iter().map(|it| self.with_longest(it)));
            }
            Effect::ListNext(lists) => {
                let lists = lists.into_iter().map(|it| self.with_longest(it));
                self.queue.add_next_lists(lists.collect());
            }
            Effect::BringUp(task) => self.queue.add_bring_up(task),
            Effect::Run(runs) => {
                let Some(first) = runs.first() else { return };
                self.suspects().plan(&runs);
                let typical = self.history.typical(&first.group.design.name);
                let runs = runs.into_iter();
                let runs = runs.map(|run| (self.estimate(&run, typical), run));
                self.queue
                    .add_runs(runs.map(|(estimate, run)| (run, estimate)));
            }
            Effect::RunAgain(run) => {
                let typical = self.history.typical(&run.group.design.name);
                let estimate = self.estimate(&run, typical);
                self.queue.add_again(run, estimate);
            }
        }
    }

    fn send(&self, message: Message) {
        // The receiver outlives every worker.
        self.messages.send(message).ok();
    }

    fn with_longest(&self, list: ListTask) -> (ListTask, Option<Duration>) {
        let longest = self.longest(&list);
        (list, longest)
    }

    fn longest(&self, list: &ListTask) -> Option<Duration> {
        let modules = list.modules.iter();
        let modules = modules.map(|module| list.group.in_variant(module));
        self.history.longest(&list.group.design.name, modules)
    }

    fn estimate(&self, run: &RunTask, typical: Duration) -> Estimate {
        self.history
            .estimate(&run.testcases, &run.group.design.key, typical)
    }
}

fn stopped(reason: StopReason) -> Diagnostic {
    let code = match reason {
        StopReason::Signal(_) => Code::SessionInterrupted,
        StopReason::SessionLimit => Code::SessionTimeout,
    };
    let words = format!("not started: {}", stop_reason_in_words(reason));
    Diagnostic::error(code, words)
}
