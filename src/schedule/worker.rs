//! A slot's thread: takes tasks until none is left.

use crate::build::ensure::Origin;
use crate::build::ensure::Ready;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::edge::interrupt::StopReason;
use crate::event::BuildHolder;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::event::Slot;
use crate::lock::Holder;
use crate::lock::plain;
use crate::schedule::group::Group;
use crate::schedule::judge::stop_words;
use crate::schedule::listing;
use crate::schedule::queue::ListTask;
use crate::schedule::queue::Queue;
use crate::schedule::queue::RunTask;
use crate::schedule::queue::Task;
use crate::schedule::run;
use crate::schedule::session::Session;

use std::cell::Cell;
use std::sync::Arc;
use std::time::SystemTime;

/// Works until the queue is over.
pub(super) fn work(session: &Session<'_>, queue: &Queue, slot: Slot) {
    while let Some(task) = queue.take() {
        let _done = Done(queue);
        // A build that is up to date, or made by somebody else, needs no job.
        let job = (!matches!(task, Task::Build(_))).then(|| session.plan.pool.take());
        let stop = session.plan.interrupt.raised();
        match task {
            Task::Build(index) => build(session, queue, index, stop),
            Task::List(list) => match stop {
                None => list_modules(session, queue, &list, slot),
                Some(reason) => abandon_list(session, &list, &stopped(reason).into()),
            },
            Task::Run(task) => match stop {
                None => run_testcases(session, queue, &task, slot),
                Some(reason) => {
                    for testcase in &task.testcases {
                        session.tell_unrun(testcase, &stopped(reason).into());
                    }
                }
            },
        }
        drop(job);
    }
}

/// Reports a task finished, also when its worker panics: the others would wait for ever.
struct Done<'a>(&'a Queue);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

fn stopped(reason: StopReason) -> Diagnostic {
    let code = match reason {
        StopReason::Signal(_) => Code::SessionInterrupted,
        StopReason::SessionLimit => Code::SessionTimeout,
    };
    Diagnostic::error(code, format!("it never began: {}", stop_words(reason)))
}

/// Puts a holder into words.
fn holder(holder: &Holder, now: SystemTime) -> BuildHolder {
    BuildHolder {
        name: holder.name(),
        since: holder.since_shortly(now),
        words: holder.seen(),
        doing: holder.doing.as_deref().map(plain),
    }
}

fn build(session: &Session<'_>, queue: &Queue, index: usize, stop: Option<StopReason>) {
    let build = &session.plan.builds[index];
    if let Some(reason) = stop {
        for list in lists_of(session, index) {
            abandon_list(session, &list, &stopped(reason).into());
        }
        return;
    }
    let began = session.plan.clock.now();
    session.tell(Event::BuildStarted {
        build: build.name.clone(),
        simulator: build.simulator,
    });
    let told = Cell::new(None);
    let outcome = (session.plan.ensure)(build, &|waiting| {
        // Once a second is what a person can read; the guard asks more often.
        if told.replace(Some(waiting.waited.as_secs())) != Some(waiting.waited.as_secs()) {
            session.tell(Event::BuildWaiting {
                build: build.name.clone(),
                holder: holder(waiting.holder, session.plan.clock.wall()),
                waited: waiting.waited,
            });
        }
    });
    let duration = session.plan.clock.now().saturating_duration_since(began);
    match outcome {
        Ok(ready) => {
            tell_ready(session, &ready, duration);
            session.designs[index].set(ready.design).ok();
            queue.add_lists(lists_of(session, index));
        }
        Err(problems) => {
            let interrupted = session.plan.interrupt.raised().is_some();
            let first = problems.0.first().cloned().unwrap_or_else(|| {
                Diagnostic::error(Code::BuildCompile, format!("build `{}` failed", build.name))
            });
            let log = first.log.clone();
            session.tell(Event::BuildFinished {
                build: build.name.clone(),
                outcome: BuildOutcome::Failed(Box::new(first.clone())),
                reasons: Vec::new(),
                duration,
                log,
            });
            let consequence = if interrupted {
                first
            } else {
                // Whatever was wrong, a full disk too, is told once, by the build.
                let words = format!("its build `{}` failed", build.name);
                Diagnostic::error(Code::BuildCompile, words)
            };
            for list in lists_of(session, index) {
                abandon_list(session, &list, &Problems::from(consequence.clone()));
            }
        }
    }
}

fn tell_ready(session: &Session<'_>, ready: &Ready, duration: std::time::Duration) {
    session.tell(Event::BuildFinished {
        build: ready.design.name.clone(),
        outcome: match ready.origin {
            Origin::Built => BuildOutcome::Built,
            Origin::UpToDate => BuildOutcome::UpToDate,
            Origin::BuiltElsewhere => BuildOutcome::BuiltElsewhere,
        },
        reasons: ready.reasons.clone(),
        duration,
        log: Some(ready.log.clone()),
    });
}

/// Groups the planned modules of a build by the table they come from.
fn lists_of(session: &Session<'_>, index: usize) -> Vec<ListTask> {
    let name = &session.plan.builds[index].name;
    let mut lists: Vec<(usize, ListTask)> = Vec::new();
    for planned in session
        .plan
        .modules
        .iter()
        .filter(|planned| planned.build == *name)
    {
        match lists.iter_mut().find(|(table, _)| *table == planned.table) {
            Some((_, list)) => list.modules.push(planned.module.clone()),
            None => lists.push((
                planned.table,
                ListTask {
                    group: Arc::new(Group::new(index, planned.settings.clone())),
                    modules: vec![planned.module.clone()],
                    longest: None,
                    lost_its_server: false,
                },
            )),
        }
    }
    let mut lists: Vec<ListTask> = lists.into_iter().map(|(_, list)| list).collect();
    for list in &mut lists {
        list.longest = session.history.longest(name, &list.modules);
    }
    lists
}

/// Gives every module of a listing that will not happen its one result.
fn abandon_list(session: &Session<'_>, list: &ListTask, problems: &Problems) {
    let name = &session.plan.builds[list.group.build].name;
    for module in &list.modules {
        session.tell_unrun(&listing::whole_module(name, module), problems);
    }
}

fn list_modules(session: &Session<'_>, queue: &Queue, list: &ListTask, slot: Slot) {
    let Some(design) = session.designs[list.group.build].get() else {
        return;
    };
    let (runs, lists) = listing::list(session, design, list, slot);
    queue.add_runs(runs);
    queue.add_lists(lists);
}

fn run_testcases(session: &Session<'_>, queue: &Queue, task: &RunTask, slot: Slot) {
    let Some(design) = session.designs[task.group.build].get() else {
        return;
    };
    let rest = run::run(session, design, task, slot);
    if !rest.testcases.is_empty() {
        queue.add_run_first(rest);
    }
}
