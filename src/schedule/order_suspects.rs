//! Which testcases may have failed only because each has a process of its own. Pure.
//!
//! Invariant: a module is checked once at most, after its last result. Limits on failures, on
//! checks and on time keep the checks of a session from costing more than they are worth.

use crate::event::Event;
use crate::model::build::BuildName;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Isolation;
use crate::model::test::TestModule;
use crate::model::test::TestVariant;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;
use crate::schedule::group::Group;
use crate::schedule::task::OrderCheck;
use crate::schedule::task::RunTask;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

/// In a session with more bad results than this, order is not what is wrong.
const BAD_MAX: usize = 100;
/// How many modules of a session are checked.
const CHECKS_MAX: usize = 8;
/// A module whose testcases took longer than this is not run again. Also the limit of a testcase
/// in a check, where its own is longer.
const CHECK_TIME_MAX: Duration = Duration::from_secs(30);

/// A module in one of its variants on a build.
type Key = (BuildName, TestModule, Option<TestVariant>);

fn key_of(id: &TestcaseId) -> Key {
    (id.build.clone(), id.module.clone(), id.variant.clone())
}

/// The results of a module whose testcases have processes of their own.
struct ModuleResults {
    group: Arc<Group>,
    /// Whether all testcases run with the settings of that group.
    is_of_one_table: bool,
    testcases: Vec<Testcase>,
    results: Vec<Option<(Outcome, Duration)>>,
    /// The places of those without a result, by name; a name may have several.
    open: BTreeMap<String, VecDeque<usize>>,
}

/// The modules of a session that are not over, and what was checked.
#[derive(Default)]
pub(super) struct OrderSuspects {
    modules: BTreeMap<Key, ModuleResults>,
    bad: usize,
    checks: usize,
}

impl OrderSuspects {
    /// Takes the runs of listed modules.
    pub(super) fn plan(&mut self, runs: &[RunTask]) {
        for run in runs {
            let is_forked_from_checkpoint = run.group.runs_checkpoints_itself_because().is_none();
            // To run the checkpoint for each testcase once more would take too long.
            if run.group.settings.isolation != Isolation::Testcase || is_forked_from_checkpoint {
                continue;
            }
            for testcase in &run.testcases {
                let key = key_of(&testcase.id);
                let module = self.modules.entry(key).or_insert_with(|| ModuleResults {
                    group: Arc::clone(&run.group),
                    is_of_one_table: true,
                    testcases: Vec::new(),
                    results: Vec::new(),
                    open: BTreeMap::new(),
                });
                module.is_of_one_table &= Arc::ptr_eq(&module.group, &run.group);
                let open = module.open.entry(testcase.id.testcase.clone());
                open.or_default().push_back(module.testcases.len());
                module.testcases.push(testcase.clone());
                module.results.push(None);
            }
        }
    }

    /// Takes an event; returns what is worth a check if it ends a module.
    pub(super) fn take(&mut self, event: &Event) -> Option<OrderCheck> {
        let Event::TestcaseFinished(result) = event else {
            return None;
        };
        self.bad += usize::from(!result.outcome.is_good());
        let key = key_of(&result.id);
        let module = self.modules.get_mut(&key)?;
        module.note(result);
        if !module.open.is_empty() {
            return None;
        }
        self.modules.remove(&key)?.check()
    }

    /// Counts a check that is about to run; says whether it may.
    pub(super) fn admit(&mut self) -> bool {
        let may = self.bad <= BAD_MAX && self.checks < CHECKS_MAX;
        self.checks += usize::from(may);
        may
    }
}

impl ModuleResults {
    fn note(&mut self, result: &TestcaseResult) {
        let Entry::Occupied(mut open) = self.open.entry(result.id.testcase.clone()) else {
            return;
        };
        if let Some(at) = open.get_mut().pop_front() {
            self.results[at] = Some((result.outcome, result.duration));
        }
        if open.get().is_empty() {
            open.remove();
        }
    }

    /// Returns the check of a module that is over, if it has testcases that may pass after others.
    fn check(self) -> Option<OrderCheck> {
        let results: Vec<(Outcome, Duration)> = self.results.into_iter().flatten().collect();
        let is_over = |(outcome, _): &(Outcome, Duration)| *outcome != Outcome::NotRun;
        if !self.is_of_one_table || !results.iter().all(is_over) {
            return None;
        }
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for testcase in &self.testcases {
            *times.entry(&testcase.id.testcase).or_default() += 1;
        }
        let is_suspect = |at: &usize| {
            // Results do not tell equal names apart.
            results[*at].0 == Outcome::Failed && times[&*self.testcases[*at].id.testcase] == 1
        };
        // Nothing ran before the first one in one process either.
        let suspects: Vec<usize> = (1..results.len()).filter(is_suspect).collect();
        let last = *suspects.last()?;
        let took: Duration = results[..=last].iter().map(|(_, took)| *took).sum();
        if took > CHECK_TIME_MAX {
            return None;
        }
        Some(OrderCheck {
            task: RunTask {
                group: Arc::new(self.group.apart(CHECK_TIME_MAX)),
                testcases: self.testcases[..=last].to_vec(),
                module_server: None,
                attempt: 1,
                lost_its_server: false,
            },
            suspects,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::model::outcome::TestcaseResult;
    use crate::model::test::RunSettings;
    use crate::model::test::Seed;
    use crate::schedule::fixture::design;
    use crate::schedule::fixture::testcase;
    use crate::sim::icarus::Icarus;
    use crate::sim::simulator::Simulator;

    fn planned(names: &[&str], isolation: Isolation) -> OrderSuspects {
        let simulator: Arc<dyn Simulator> = Arc::new(Icarus);
        let settings = RunSettings {
            isolation,
            waves: true,
            ..RunSettings::plain(Duration::from_secs(600))
        };
        let group = Group::new(
            Arc::new(design("b")),
            settings,
            (0, None),
            simulator,
            "waves.fst",
        );
        let group = Arc::new(group);
        let run = |name: &&str| RunTask {
            group: Arc::clone(&group),
            testcases: vec![testcase(name)],
            module_server: None,
            attempt: 1,
            lost_its_server: false,
        };
        let mut suspects = OrderSuspects::default();
        let runs: Vec<RunTask> = names.iter().map(run).collect();
        suspects.plan(&runs);
        suspects
    }

    fn result(name: &str, outcome: Outcome, duration_s: u64) -> Event {
        Event::TestcaseFinished(Box::new(TestcaseResult {
            id: testcase(name).id,
            outcome,
            cause: None,
            expected_failure: false,
            message: None,
            error_type: None,
            details: None,
            duration: Duration::from_secs(duration_s),
            sim_time_ns: None,
            seed: Seed(1),
            attempt: 1,
            run_dir: None,
            log: None,
            waves: None,
            file: None,
            line: None,
        }))
    }

    /// Returns the check that these results of a module lead to, the last one given first.
    fn check_of(results: &[(&str, Outcome, u64)], isolation: Isolation) -> Option<OrderCheck> {
        let names: Vec<&str> = results.iter().map(|it| it.0).collect();
        let mut suspects = planned(&names, isolation);
        let events = results.iter().rev();
        let mut checks = events.filter_map(|it| suspects.take(&result(it.0, it.1, it.2)));
        let check = checks.next();
        assert!(checks.next().is_none(), "one module, one check");
        check
    }

    #[test]
    fn what_failed_alone_is_checked_after_everything_before_it() {
        use Outcome::Failed;
        use Outcome::Passed;
        let results = [
            ("a", Failed, 1),
            ("b", Passed, 1),
            ("c", Failed, 1),
            ("d", Failed, 1),
            ("e", Passed, 1),
        ];
        let check = check_of(&results, Isolation::Testcase).expect("two may depend on order");
        assert_eq!(check.suspects, [2, 3]);
        assert_eq!(check.task.testcases.len(), 4);
        let settings = &check.task.group.settings;
        assert!(!settings.waves && !settings.fork);
        assert_eq!(settings.timeout, CHECK_TIME_MAX);
    }

    #[test]
    fn nothing_is_checked_that_is_green_first_stopped_crashed_hung_long_shared_or_of_one_name() {
        use Outcome::Failed;
        use Outcome::Passed;
        for results in [
            [("a", Passed, 1), ("b", Passed, 1)],
            [("a", Failed, 1), ("b", Passed, 1)],
            [("a", Outcome::NotRun, 0), ("b", Failed, 1)],
            [("a", Passed, 1), ("b", Outcome::Errored, 1)],
            [("a", Passed, 1), ("b", Outcome::TimedOut, 1)],
            [("a", Passed, 1), ("b", Failed, 30)],
            [("a", Passed, 1), ("a", Failed, 1)],
        ] {
            assert!(
                check_of(&results, Isolation::Testcase).is_none(),
                "{results:?}"
            );
        }
        let shared = [("a", Passed, 1), ("b", Failed, 1)];
        assert!(check_of(&shared, Isolation::Module).is_none());
    }

    #[test]
    fn neither_many_failures_nor_many_modules_lead_to_many_checks() {
        let mut few = planned(&["a"], Isolation::Testcase);
        let admitted = (0..CHECKS_MAX * 2).filter(|_| few.admit()).count();
        assert_eq!(admitted, CHECKS_MAX);
        let mut many = planned(&["a"], Isolation::Testcase);
        for _ in 0..=BAD_MAX {
            many.take(&result("elsewhere", Outcome::Failed, 1));
        }
        assert!(!many.admit());
    }
}
