//! What is left to do, in the order it should be done, shared by the workers.
//!
//! The order aims at the shortest session, and at early verdicts. Runs go before listings if there
//! are enough for all workers, the longest first; but a listing whose testcases are known to be
//! longer, also than all waiting runs together take, goes before them. Builds go before both, on all workers but one, unless the longest run
//! is expected to outlast the build with all that follows from it. So what a build leads to runs
//! while others are made. Workers never wait for a better order: a free worker takes what is
//! available.
//!
//! Invariant: a task is taken by one worker and reported finished by it; the queue is done when
//! nothing is waiting and no worker is busy, since only a worker adds tasks.

use crate::schedule::history::Estimate;
use crate::schedule::task::BringUpTask;
use crate::schedule::task::ListTask;
use crate::schedule::task::OrderCheck;
use crate::schedule::task::RunTask;
use crate::schedule::task::Task;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// Durations below this count as equal: the gain from ordering them is less than their variation.
const SHORT: Duration = Duration::from_millis(62);
/// A run takes at least this long, however short its testcase is.
const RUN_MIN: Duration = Duration::from_millis(10);

/// A build task that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BuildTask {
    /// Its index in the plan.
    pub(super) build: usize,
    /// How long it takes to compile, and its longest testcase after that; `None` if unknown.
    pub(super) longest: Option<Duration>,
}

/// A run's priority among those that wait: the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RunPriority {
    /// Testcases that run again go before all others.
    is_new: bool,
    /// Runs whose longest takes less than twice the shortest count as equally long.
    magnitude: Reverse<u32>,
    /// Among equals, what failed last time goes first: the user is waiting for it.
    was_good: bool,
    /// Zero for all short ones.
    duration: Reverse<Duration>,
    /// Else the order of the plan.
    sequence: i64,
}

/// A build's or a listing's priority: unknown ones first, then by the longest that waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct StepPriority {
    is_known: bool,
    longest: Reverse<Duration>,
    sequence: i64,
}

impl RunPriority {
    /// How long the run is expected to take.
    fn expected(&self) -> Duration {
        self.duration.0.max(RUN_MIN)
    }
}

impl StepPriority {
    /// The first of those that are known.
    const LONGEST: Self = Self {
        is_known: true,
        longest: Reverse(Duration::MAX),
        sequence: i64::MIN,
    };

    /// Says whether something that follows is known to be longer than a run.
    fn leads_beyond(&self, run: &RunPriority) -> bool {
        self.is_known && self.longest.0 > run.duration.0
    }

    fn new(longest: Option<Duration>, sequence: i64) -> Self {
        let rounded = longest.filter(|longest| *longest >= SHORT);
        Self {
            is_known: longest.is_some(),
            longest: Reverse(rounded.unwrap_or_default()),
            sequence,
        }
    }

    /// Says whether a run that is expected to take this long should not wait for it.
    fn yields_to(&self, run: &RunPriority) -> bool {
        self.is_known && run.duration.0 > self.longest.0
    }
}

#[derive(Debug, Default)]
struct Pending {
    builds: BTreeMap<StepPriority, usize>,
    lists: BTreeMap<StepPriority, ListTask>,
    runs: BTreeMap<RunPriority, RunTask>,
    /// How long these are expected to take, one after the other.
    runs_expected: Duration,
    /// Testcases that wait for the checkpoints of their group.
    bring_ups: VecDeque<BringUpTask>,
    /// The groups whose checkpoints run now.
    brought_up: BTreeSet<usize>,
    /// Listings that wait until other groups are done with their servers.
    last_lists: VecDeque<ListTask>,
    /// They decide nothing, so they go last.
    order_checks: VecDeque<OrderCheck>,
    /// The number of what was added last.
    last_sequence: i64,
    /// The number of what was put before all that waited; at most zero.
    first_sequence: i64,
    /// How many workers there are.
    jobs: usize,
    at_work: usize,
    /// How many of those that are at work make builds.
    building: usize,
}

impl Pending {
    fn sequence(&mut self) -> i64 {
        self.last_sequence += 1;
        self.last_sequence
    }

    fn add_run(&mut self, run: RunTask, estimate: Estimate, is_new: bool) {
        let Estimate { duration, was_bad } = estimate;
        let duration = if duration < SHORT {
            Duration::ZERO
        } else {
            duration
        };
        let ticks = duration.as_nanos() / SHORT.as_nanos();
        let place = RunPriority {
            is_new,
            magnitude: Reverse(u128::BITS - ticks.leading_zeros()),
            was_good: !was_bad,
            duration: Reverse(duration),
            sequence: self.sequence(),
        };
        self.runs_expected += place.expected();
        self.runs.insert(place, run);
    }

    /// Takes a listing that goes before the first run.
    fn next_list(&mut self, run: Option<&RunPriority>) -> Option<ListTask> {
        let Some(run) = run else {
            return self.lists.pop_first().map(|(_, list)| list);
        };
        let candidate = if self.runs.len() < self.jobs {
            let first = self.lists.keys().next();
            first.filter(|place| !place.yields_to(run))
        } else {
            let known = self.lists.range(StepPriority::LONGEST..);
            let longest = known.map(|(place, _)| place).next();
            // What the waiting runs outlast need not begin now, and a module that is listed has a
            // server until its last run.
            let jobs = u32::try_from(self.jobs).unwrap_or(u32::MAX);
            let waiting = self.runs_expected / jobs;
            longest.filter(|place| place.leads_beyond(run) && place.longest.0 > waiting)
        };
        let place = *candidate?;
        self.lists.remove(&place)
    }

    /// Takes testcases whose checkpoints nobody else runs now: what they lead to is needed by all.
    fn next_bring_up(&mut self) -> Option<BringUpTask> {
        let mut waiting = self.bring_ups.iter();
        let at = waiting.position(|it| !self.brought_up.contains(&it.group.server_id()))?;
        let bring_up = self.bring_ups.remove(at)?;
        self.brought_up.insert(bring_up.group.server_id());
        Some(bring_up)
    }

    fn next(&mut self) -> Option<Task> {
        let run = self.runs.first_key_value().map(|(place, _)| *place);
        let has_other = run.is_some() || !self.lists.is_empty();
        let may_build = !has_other || self.building + 1 < self.jobs;
        let is_urgent = |place: &StepPriority| !run.is_some_and(|run| place.yields_to(&run));
        let build = self.builds.first_entry();
        if let Some(build) = build.filter(|it| may_build && is_urgent(it.key())) {
            self.building += 1;
            return Some(Task::Build(build.remove()));
        }
        if let Some(bring_up) = self.next_bring_up() {
            return Some(Task::BringUp(bring_up));
        }
        if let Some(list) = self.next_list(run.as_ref()) {
            return Some(Task::List(list));
        }
        if let Some((place, run)) = self.runs.pop_first() {
            self.runs_expected = self.runs_expected.saturating_sub(place.expected());
            return Some(Task::Run(run));
        }
        if let Some(list) = self.last_lists.pop_front() {
            return Some(Task::List(list));
        }
        self.order_checks.pop_front().map(Task::CheckOrder)
    }
}

/// The shared queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pending: Mutex<Pending>,
    changed: Condvar,
}

impl Queue {
    /// Creates a queue for so many workers that begins with these builds.
    pub(super) fn new(jobs: usize, builds: impl IntoIterator<Item = BuildTask>) -> Self {
        let mut pending = Pending {
            jobs,
            ..Pending::default()
        };
        for BuildTask { build, longest } in builds {
            let place = StepPriority::new(longest, pending.sequence());
            pending.builds.insert(place, build);
        }
        Self {
            pending: Mutex::new(pending),
            changed: Condvar::new(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next task.
    ///
    /// Blocks while others may still add tasks; `None` when all is done.
    pub(super) fn take(&self) -> Option<Task> {
        let mut pending = self.locked();
        loop {
            let next = pending.next();
            if next.is_some() {
                pending.at_work += 1;
                return next;
            }
            if pending.at_work == 0 {
                return None;
            }
            pending = self
                .changed
                .wait(pending)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Adds listings, each with the longest testcase of its modules; `None` if unknown.
    pub(super) fn add_lists(&self, lists: impl IntoIterator<Item = (ListTask, Option<Duration>)>) {
        let mut pending = self.locked();
        for (list, longest) in lists {
            let place = StepPriority::new(longest, pending.sequence());
            pending.lists.insert(place, list);
        }
        drop(pending);
        self.changed.notify_all();
    }

    /// Adds listings that continue one, before others that are as urgent: what is begun is finished
    /// first, since each group that is begun has its server.
    pub(super) fn add_next_lists(&self, lists: Vec<(ListTask, Option<Duration>)>) {
        let mut pending = self.locked();
        for (list, longest) in lists.into_iter().rev() {
            pending.first_sequence -= 1;
            let place = StepPriority::new(longest, pending.first_sequence);
            pending.lists.insert(place, list);
        }
        drop(pending);
        self.changed.notify_all();
    }

    /// Adds a listing that is done when nothing is left to run.
    pub(super) fn add_last_list(&self, list: ListTask) {
        self.locked().last_lists.push_back(list);
        self.changed.notify_all();
    }

    /// Adds testcases that wait for the checkpoints of their group.
    pub(super) fn add_bring_up(&self, bring_up: BringUpTask) {
        self.locked().bring_ups.push_back(bring_up);
        self.changed.notify_all();
    }

    /// Adds runs, each with what is expected of it.
    pub(super) fn add_runs(&self, runs: impl IntoIterator<Item = (RunTask, Estimate)>) {
        let mut pending = self.locked();
        for (run, estimate) in runs {
            pending.add_run(run, estimate, true);
        }
        drop(pending);
        self.changed.notify_all();
    }

    /// Adds testcases that run again, before all others, as the attempt that the task states.
    pub(super) fn add_again(&self, run: RunTask, estimate: Estimate) {
        self.locked().add_run(run, estimate, false);
        self.changed.notify_all();
    }

    /// Adds a check of a module's order.
    pub(super) fn add_order_check(&self, check: OrderCheck) {
        self.locked().order_checks.push_back(check);
        self.changed.notify_all();
    }

    /// Reports that a taken task is done, after everything it led to was added.
    pub(super) fn finish(&self, task: &Task) {
        let mut pending = self.locked();
        pending.at_work -= 1;
        if matches!(task, Task::Build(_)) {
            pending.building -= 1;
        }
        if let Task::BringUp(bring_up) = task {
            pending.brought_up.remove(&bring_up.group.server_id());
        }
        drop(pending);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::model::test::RunSettings;
    use crate::schedule::fixture::design;
    use crate::schedule::fixture::testcase;
    use crate::schedule::group::Group;
    use crate::sim::icarus::Icarus;
    use crate::sim::simulator::Simulator;

    use std::sync::Arc;

    fn group(build: usize) -> Arc<Group> {
        let settings = RunSettings::plain(Duration::from_secs(1));
        let design = Arc::new(design(&build.to_string()));
        let simulator: Arc<dyn Simulator> = Arc::new(Icarus);
        Arc::new(Group::new(
            design,
            settings,
            (0, None),
            simulator,
            "waves.fst",
        ))
    }

    fn run(name: &str, duration_ms: u64, was_bad: bool) -> (RunTask, Estimate) {
        let task = RunTask {
            group: group(0),
            testcases: vec![testcase(name)],
            module_server: None,
            attempt: 1,
            lost_its_server: false,
        };
        let estimate = Estimate {
            duration: Duration::from_millis(duration_ms),
            was_bad,
        };
        (task, estimate)
    }

    fn list(build: usize, longest_ms: Option<u64>) -> (ListTask, Option<Duration>) {
        let task = ListTask {
            group: group(build),
            modules: Vec::new(),
            lost_its_server: false,
            has_waited: false,
        };
        (task, longest_ms.map(Duration::from_millis))
    }

    fn build(build: usize, longest_ms: Option<u64>) -> BuildTask {
        BuildTask {
            build,
            longest: longest_ms.map(Duration::from_millis),
        }
    }

    /// Does all that waits, one after the other, and returns it as words.
    fn order(queue: &Queue) -> String {
        let mut words = Vec::new();
        while let Some(task) = queue.take() {
            queue.finish(&task);
            words.push(match task {
                Task::Build(index) => format!("build{index}"),
                Task::List(list) => format!("list{}", list.group.design.name),
                Task::BringUp(task) => format!("bring-up of {}", task.runs.len()),
                Task::Run(run) => run.testcases[0].id.testcase.clone(),
                Task::CheckOrder(check) => format!("check{}", check.task.testcases.len()),
            });
        }
        words.join(" ")
    }

    #[test]
    fn checkpoints_of_a_group_are_run_by_one_worker_and_those_of_others_meanwhile() {
        let queue = Queue::new(3, []);
        let (one, other) = (group(1), group(2));
        for group in [&one, &one, &other] {
            queue.add_bring_up(BringUpTask {
                group: Arc::clone(group),
                runs: Vec::new(),
            });
        }
        let build_of = |task: Option<Task>| match task {
            Some(Task::BringUp(task)) => Some(task.group.design.name.to_string()),
            _ => None,
        };
        let first = queue.take().expect("it waits");
        assert_eq!(build_of(queue.take()).as_deref(), Some("2"));
        queue.finish(&first);
        assert_eq!(build_of(queue.take()).as_deref(), Some("1"));
    }

    #[test]
    fn the_longest_run_goes_first_and_short_ones_keep_the_order_of_the_plan() {
        let queue = Queue::new(2, []);
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
        let queue = Queue::new(2, []);
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
        let queue = Queue::new(2, [build(0, None), build(1, None)]);
        queue.add_lists([list(0, None), list(1, None)]);
        queue.add_runs([run("b", 0, false), run("a", 0, false)]);
        assert_eq!(order(&queue), "build0 build1 b list0 list1 a");
    }

    #[test]
    fn a_build_that_is_unknown_goes_first_and_then_the_one_with_most_behind_it() {
        let builds = [
            build(0, Some(10)),
            build(1, Some(90_000)),
            build(2, None),
            build(3, Some(20)),
        ];
        assert_eq!(order(&Queue::new(2, builds)), "build2 build1 build0 build3");
    }

    #[test]
    fn a_long_run_waits_only_for_what_may_lead_to_a_longer_one() {
        let builds = [
            build(0, Some(5_000)),
            build(1, Some(80_000)),
            build(2, None),
        ];
        let queue = Queue::new(2, builds);
        queue.add_lists([list(3, Some(70_000)), list(4, Some(50)), list(5, None)]);
        queue.add_runs([run("long", 60_000, false), run("short", 1, false)]);
        let wanted = "build2 build1 list3 long build0 list5 list4 short";
        assert_eq!(order(&queue), wanted);
    }

    #[test]
    fn a_listing_waits_for_runs_that_outlast_what_it_leads_to() {
        let queue = Queue::new(2, []);
        queue.add_lists([list(1, Some(500)), list(2, Some(500))]);
        queue.add_runs((0..101).map(|_| run("short", 1, false)));
        let order = order(&queue);
        assert!(
            order.starts_with("short short list1 list2 short"),
            "{order}"
        );
    }

    #[test]
    fn one_worker_of_several_lists_and_runs_while_the_others_build() {
        let queue = Queue::new(3, (0..4).map(|it| build(it, None)));
        let mut taken: Vec<Task> = (0..3).filter_map(|_| queue.take()).collect();
        queue.add_lists([list(0, None)]);
        queue.finish(&taken.remove(0));
        let next = queue.take();
        assert!(matches!(next, Some(Task::List(_))), "{next:?}");
        queue.finish(&taken.remove(0));
        let next = queue.take();
        assert!(matches!(next, Some(Task::Build(3))), "{next:?}");
    }

    #[test]
    fn what_is_begun_to_be_listed_is_listed_before_the_next_group_begins() {
        let queue = Queue::new(1, []);
        queue.add_lists([list(0, None), list(1, None)]);
        let first = queue.take().expect("a listing");
        queue.add_next_lists(vec![list(2, None), list(3, None)]);
        queue.finish(&first);
        assert_eq!(order(&queue), "list2 list3 list1");
    }

    #[test]
    fn a_single_worker_runs_what_a_build_leads_to_before_it_makes_the_next() {
        let queue = Queue::new(1, [build(0, None), build(1, None)]);
        let first = queue.take().expect("a build");
        queue.add_lists([list(0, None), list(1, None)]);
        queue.add_runs([run("a", 1, false)]);
        queue.finish(&first);
        assert_eq!(order(&queue), "a list0 list1 build1");
    }

    #[test]
    fn a_listing_that_waits_for_a_server_goes_after_all_runs() {
        let queue = Queue::new(2, []);
        queue.add_last_list(list(7, None).0);
        queue.add_lists([list(0, None)]);
        queue.add_runs([run("a", 1, false)]);
        assert_eq!(order(&queue), "list0 a list7");
    }

    #[test]
    fn a_check_of_the_order_waits_for_everything_else() {
        let queue = Queue::new(2, []);
        queue.add_order_check(OrderCheck {
            task: run("a", 1, true).0,
            suspects: Vec::new(),
        });
        queue.add_lists([list(0, None)]);
        queue.add_runs([run("b", 1, false)]);
        assert_eq!(order(&queue), "list0 b check1");
    }

    #[test]
    fn testcases_that_run_again_go_before_longer_ones_and_keep_their_attempt() {
        let queue = Queue::new(2, []);
        queue.add_runs([run("long", 60_000, false), run("flaky", 1, false)]);
        let mut taken = Vec::new();
        while let Some(Task::Run(task)) = queue.take() {
            queue.finish(&Task::Run(task.clone()));
            let name = task.testcases[0].id.testcase.clone();
            taken.push(format!("{name}{}", task.attempt));
            if name == "flaky" && task.attempt < 3 {
                let again = RunTask {
                    attempt: task.attempt + 1,
                    ..task
                };
                queue.add_again(again, Estimate::default());
                queue.add_runs([run("longer", 90_000, false)]);
            }
        }
        assert_eq!(
            taken,
            ["long1", "flaky1", "flaky2", "flaky3", "longer1", "longer1"]
        );
    }
}
