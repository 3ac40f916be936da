//! What is left to do, in the order it should be done, shared by the workers.
//!
//! The order is that of the shortest session: builds and listings first, since runs wait for them,
//! then runs, the longest first. A run that is expected to outlast a build or a listing with all that
//! follows from it goes before that one. Nobody waits for a better order: a free worker takes what is
//! there.
//!
//! Invariant: a task is taken by one worker and reported finished by it; the queue is over when
//! nothing is waiting and nobody is at work, since only a worker adds tasks.

use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::schedule::group::Group;
use crate::schedule::history::Estimate;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// Durations below this count as equal: what one gains by their order is less than they vary.
const SHORT: Duration = Duration::from_millis(62);

/// A build to be made sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BuildTask {
    /// Its place in the plan.
    pub(super) build: usize,
    /// How long it takes to compile, and its longest testcase after that; `None` where unknown.
    pub(super) longest: Option<Duration>,
}

/// Modules of one `[[test]]` table on one build, to be listed by one simulator process.
#[derive(Clone, Debug)]
pub(super) struct ListTask {
    pub(super) group: Arc<Group>,
    pub(super) modules: Vec<TestModule>,
    /// The longest testcase of the modules; `None` where unknown.
    pub(super) longest: Option<Duration>,
    /// Whether its last server took it down, so that it gets a process of its own.
    pub(super) lost_its_server: bool,
}

/// Testcases of one table on one build, to be run by one simulator process.
#[derive(Clone, Debug)]
pub(super) struct RunTask {
    pub(super) group: Arc<Group>,
    pub(super) testcases: Vec<Testcase>,
    /// What is expected of them.
    pub(super) estimate: Estimate,
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

/// A run's place among those that wait: the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RunPlace {
    /// Rests of runs that ended early stand before all others.
    is_new: bool,
    /// Runs of which the longest takes less than twice the shortest count as equally long.
    magnitude: Reverse<u32>,
    /// Among equals, what failed last time goes first: its user waits for it.
    was_good: bool,
    /// Zero for all short ones.
    duration: Reverse<Duration>,
    /// Else the order of the plan.
    sequence: usize,
}

/// A build's or a listing's place: unknown ones first, then by the longest that waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    is_known: bool,
    longest: Reverse<Duration>,
    sequence: usize,
}

impl Place {
    fn new(longest: Option<Duration>, sequence: usize) -> Self {
        let rounded = longest.filter(|longest| *longest >= SHORT);
        Self {
            is_known: longest.is_some(),
            longest: Reverse(rounded.unwrap_or_default()),
            sequence,
        }
    }

    /// Says whether a run that is expected to take so long should not wait for this.
    fn yields_to(&self, run: &RunPlace) -> bool {
        self.is_known && run.duration.0 > self.longest.0
    }
}

#[derive(Debug, Default)]
struct Waiting {
    builds: BTreeMap<Place, usize>,
    lists: BTreeMap<Place, ListTask>,
    runs: BTreeMap<RunPlace, RunTask>,
    added: usize,
    at_work: usize,
}

impl Waiting {
    fn sequence(&mut self) -> usize {
        self.added += 1;
        self.added
    }

    fn add_run(&mut self, run: RunTask, is_new: bool) {
        let Estimate { duration, was_bad } = run.estimate;
        let duration = if duration < SHORT {
            Duration::ZERO
        } else {
            duration
        };
        let ticks = duration.as_nanos() / SHORT.as_nanos();
        let place = RunPlace {
            is_new,
            magnitude: Reverse(u128::BITS - ticks.leading_zeros()),
            was_good: !was_bad,
            duration: Reverse(duration),
            sequence: self.sequence(),
        };
        self.runs.insert(place, run);
    }

    fn next(&mut self) -> Option<Task> {
        let run = self.runs.first_key_value().map(|(place, _)| *place);
        let goes_before = |place: &Place| !run.is_some_and(|run| place.yields_to(&run));
        if let Some(build) = self.builds.first_entry().filter(|it| goes_before(it.key())) {
            return Some(Task::Build(build.remove()));
        }
        if let Some(list) = self.lists.first_entry().filter(|it| goes_before(it.key())) {
            return Some(Task::List(list.remove()));
        }
        self.runs.pop_first().map(|(_, run)| Task::Run(run))
    }
}

/// The shared queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Queue {
    /// Makes a queue that begins with these builds.
    pub(super) fn new(builds: impl IntoIterator<Item = BuildTask>) -> Self {
        let mut waiting = Waiting::default();
        for BuildTask { build, longest } in builds {
            let place = Place::new(longest, waiting.sequence());
            waiting.builds.insert(place, build);
        }
        Self {
            waiting: Mutex::new(waiting),
            changed: Condvar::new(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next task.
    ///
    /// Blocks while others may still add tasks; `None` when all is done.
    pub(super) fn take(&self) -> Option<Task> {
        let mut waiting = self.locked();
        loop {
            let next = waiting.next();
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

    /// Adds listings.
    pub(super) fn add_lists(&self, lists: impl IntoIterator<Item = ListTask>) {
        let mut waiting = self.locked();
        for list in lists {
            let place = Place::new(list.longest, waiting.sequence());
            waiting.lists.insert(place, list);
        }
        drop(waiting);
        self.changed.notify_all();
    }

    /// Adds runs.
    pub(super) fn add_runs(&self, runs: impl IntoIterator<Item = RunTask>) {
        let mut waiting = self.locked();
        for run in runs {
            waiting.add_run(run, true);
        }
        drop(waiting);
        self.changed.notify_all();
    }

    /// Adds a run before all others: the rest of one that ended early.
    pub(super) fn add_run_first(&self, run: RunTask) {
        self.locked().add_run(run, false);
        self.changed.notify_all();
    }

    /// Tells that a taken task is done, after everything it led to was added.
    pub(super) fn finish(&self) {
        self.locked().at_work -= 1;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::model::build::BuildName;
    use crate::model::test::RunSettings;
    use crate::model::test::TestcaseId;

    fn group(build: usize) -> Arc<Group> {
        let settings = RunSettings::plain(Duration::from_secs(1));
        Arc::new(Group::new(build, settings))
    }

    fn run(name: &str, duration_ms: u64, was_bad: bool) -> RunTask {
        RunTask {
            group: group(0),
            testcases: vec![Testcase {
                id: TestcaseId {
                    build: BuildName("b".to_owned()),
                    module: TestModule("m".to_owned()),
                    testcase: name.to_owned(),
                },
                occurrence: 0,
                file: None,
                line: None,
                doc: None,
                skip: false,
                stage: 0,
            }],
            estimate: Estimate {
                duration: Duration::from_millis(duration_ms),
                was_bad,
            },
            lost_its_server: false,
        }
    }

    fn list(build: usize, longest_ms: Option<u64>) -> ListTask {
        ListTask {
            group: group(build),
            modules: Vec::new(),
            longest: longest_ms.map(Duration::from_millis),
            lost_its_server: false,
        }
    }

    fn build(build: usize, longest_ms: Option<u64>) -> BuildTask {
        BuildTask {
            build,
            longest: longest_ms.map(Duration::from_millis),
        }
    }

    /// Takes all that waits, as words.
    fn order(queue: &Queue) -> String {
        let mut words = Vec::new();
        while let Some(task) = queue.locked().next() {
            words.push(match task {
                Task::Build(index) => format!("build{index}"),
                Task::List(list) => format!("list{}", list.group.build),
                Task::Run(run) => run.testcases[0].id.testcase.clone(),
            });
        }
        words.join(" ")
    }

    #[test]
    fn the_longest_run_goes_first_and_short_ones_keep_the_order_of_the_plan() {
        let queue = Queue::default();
        queue.add_runs([
            run("short_b", 2, false),
            run("short_a", 60, false),
            run("medium", 400, false),
            run("long", 9_000, false),
        ]);
        queue.add_runs([run("longest", 20_000, false)]);
        assert_eq!(order(&queue), "longest long medium short_b short_a");
    }

    #[test]
    fn what_failed_last_time_goes_first_among_equals_and_not_before_longer_ones() {
        let queue = Queue::default();
        queue.add_runs([
            run("good", 5, false),
            run("bad", 1, true),
            run("good_10s", 10_000, false),
            run("bad_8s", 8_100, true),
            run("good_30s", 30_000, false),
        ]);
        assert_eq!(order(&queue), "good_30s bad_8s good_10s bad good");
    }

    #[test]
    fn without_a_history_the_order_is_that_of_the_plan() {
        let queue = Queue::new([build(0, None), build(1, None)]);
        queue.add_lists([list(0, None), list(1, None)]);
        queue.add_runs([run("b", 0, false), run("a", 0, false)]);
        assert_eq!(order(&queue), "build0 build1 list0 list1 b a");
    }

    #[test]
    fn a_build_that_is_unknown_goes_first_and_then_the_one_with_most_behind_it() {
        let builds = [
            build(0, Some(10)),
            build(1, Some(90_000)),
            build(2, None),
            build(3, Some(20)),
        ];
        assert_eq!(order(&Queue::new(builds)), "build2 build1 build0 build3");
    }

    #[test]
    fn a_long_run_waits_only_for_what_may_lead_to_a_longer_one() {
        let builds = [
            build(0, Some(5_000)),
            build(1, Some(80_000)),
            build(2, None),
        ];
        let queue = Queue::new(builds);
        queue.add_lists([list(3, Some(70_000)), list(4, Some(50)), list(5, None)]);
        queue.add_runs([run("long", 60_000, false), run("short", 1, false)]);
        let wanted = "build2 build1 list5 list3 long build0 list4 short";
        assert_eq!(order(&queue), wanted);
    }

    #[test]
    fn the_rest_of_a_run_goes_before_longer_ones() {
        let queue = Queue::default();
        queue.add_runs([run("long", 60_000, false)]);
        queue.add_run_first(run("rest", 1, false));
        assert_eq!(order(&queue), "rest long");
    }
}
