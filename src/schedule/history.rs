//! How long testcases took in earlier sessions, and which of them failed. Pure.
//!
//! Invariant: this only affects the order of runs; a wrong or missing record costs time and never a
//! verdict.
//!
//! A record belongs to a build's name, a build's key, a module and a testcase. A record with the
//! same key is used first, else the newest with that name: after an edit of the design, most
//! testcases take as long as before.

use crate::model::build::BuildName;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::ModuleInVariant;
use crate::model::test::TestModule;
use crate::model::test::TestVariant;
use crate::model::test::Testcase;

use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many keys are kept per testcase: a few branches or checkouts may share a directory.
const KEYS_MAX: usize = 4;
/// How many testcases and builds are kept; the oldest are dropped first. Some 20 MiB on disk.
const RECORDS_MAX: usize = 100_000;

/// One line of a history: what was measured, and when.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Record {
    /// A testcase ran.
    Testcase {
        build: BuildName,
        key: String,
        module: TestModule,
        #[serde(default)]
        variant: Option<TestVariant>,
        testcase: String,
        duration_s: f64,
        is_bad: bool,
        at_s: u64,
    },
    /// A build was compiled.
    Build {
        build: BuildName,
        duration_s: f64,
        at_s: u64,
    },
}

/// A line to be written, which borrows what it says: there may be a hundred thousand.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum RecordRef<'a> {
    Testcase {
        build: &'a BuildName,
        key: &'a str,
        module: &'a TestModule,
        #[serde(skip_serializing_if = "Option::is_none")]
        variant: Option<&'a TestVariant>,
        testcase: &'a str,
        duration_s: f64,
        is_bad: bool,
        at_s: u64,
    },
    Build {
        build: &'a BuildName,
        duration_s: f64,
        at_s: u64,
    },
}

/// What is expected of one or more testcases in one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Estimate {
    /// How long it will take; zero if nothing is known.
    pub(super) duration: Duration,
    /// Whether any of them did not pass last time.
    pub(super) was_bad: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Measured {
    key: String,
    duration: Duration,
    is_bad: bool,
    at_s: u64,
}

type Name = (BuildName, TestModule, Option<TestVariant>, String);

/// What earlier sessions have measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct History {
    /// By testcase, the newest first, one for each key.
    testcases: BTreeMap<Name, Vec<Measured>>,
    compiles: BTreeMap<BuildName, (Duration, u64)>,
    /// The median of all testcases, as of [`settle`](Self::settle).
    overall: Duration,
}

impl History {
    /// Adds one record; of two for the same thing the newer one is kept, and of two equally old
    /// ones the longer.
    pub(super) fn take(&mut self, record: Record) {
        match record {
            Record::Testcase {
                build,
                key,
                module,
                variant,
                testcase,
                duration_s,
                is_bad,
                at_s,
            } => {
                let Ok(duration) = Duration::try_from_secs_f64(duration_s) else {
                    return;
                };
                let measured = Measured {
                    key,
                    duration,
                    is_bad,
                    at_s,
                };
                let name = (build, module, variant, testcase);
                let known = self.testcases.entry(name).or_default();
                match known.iter_mut().find(|other| other.key == measured.key) {
                    Some(other) if (other.at_s, other.duration) < (at_s, duration) => {
                        *other = measured;
                    }
                    Some(_) => {}
                    None => known.push(measured),
                }
                known.sort_by_key(|other| std::cmp::Reverse(other.at_s));
                known.truncate(KEYS_MAX);
            }
            Record::Build {
                build,
                duration_s,
                at_s,
            } => {
                let Ok(duration) = Duration::try_from_secs_f64(duration_s) else {
                    return;
                };
                let known = self.compiles.entry(build).or_default();
                if known.1 <= at_s {
                    *known = (duration, at_s);
                }
            }
        }
    }

    /// Returns everything as records, the newest first, as many as are worth keeping.
    pub(super) fn records(&self) -> Vec<RecordRef<'_>> {
        let testcases = self.testcases.iter().flat_map(|(name, known)| {
            let (build, module, variant, testcase) = name;
            known.iter().map(move |one| RecordRef::Testcase {
                build,
                key: &one.key,
                module,
                variant: variant.as_ref(),
                testcase,
                duration_s: one.duration.as_secs_f64(),
                is_bad: one.is_bad,
                at_s: one.at_s,
            })
        });
        let compiles = self.compiles.iter().map(|(build, known)| RecordRef::Build {
            build,
            duration_s: known.0.as_secs_f64(),
            at_s: known.1,
        });
        let mut records: Vec<RecordRef<'_>> = testcases.chain(compiles).collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.at_s()));
        records.truncate(RECORDS_MAX);
        records
    }

    /// Returns what to expect of testcases in one process on the build with this key.
    ///
    /// One that was never seen counts as [`typical`](Self::typical).
    pub(super) fn estimate(
        &self,
        testcases: &[Testcase],
        key: &str,
        typical: Duration,
    ) -> Estimate {
        let mut sum = Estimate::default();
        for testcase in testcases {
            let id = &testcase.id;
            let (module, variant) = (id.module.clone(), id.variant.clone());
            let name = (id.build.clone(), module, variant, id.testcase.clone());
            let known = self.testcases.get(&name).and_then(|known| {
                let same_key = known.iter().find(|one| one.key == key);
                same_key.or_else(|| known.first())
            });
            match known {
                Some(known) => {
                    sum.duration += known.duration;
                    sum.was_bad |= known.is_bad;
                }
                None => sum.duration += typical,
            }
        }
        sum
    }

    /// Returns the longest testcase of some modules on a build; `None` if one of the modules was
    /// never seen.
    pub(super) fn longest<'a>(
        &self,
        build: &BuildName,
        modules: impl IntoIterator<Item = ModuleInVariant<'a>>,
    ) -> Option<Duration> {
        let mut longest = Duration::ZERO;
        for ModuleInVariant { module, variant } in modules {
            let first = (
                build.clone(),
                module.clone(),
                variant.cloned(),
                String::new(),
            );
            let is_of_module =
                |name: &Name| name.0 == *build && name.1 == *module && name.2.as_ref() == variant;
            let of_module = self
                .testcases
                .range(first..)
                .take_while(|(name, _)| is_of_module(name))
                .filter_map(|(_, known)| known.first());
            longest = longest.max(of_module.map(|one| one.duration).max()?);
        }
        Some(longest)
    }

    /// Returns how long a build took to compile when it was last compiled.
    pub(super) fn compile(&self, build: &BuildName) -> Option<Duration> {
        self.compiles.get(build).map(|known| known.0)
    }

    /// Prepares a history that was read for queries.
    pub(super) fn settle(&mut self) {
        self.overall = median(self.testcases.values()).unwrap_or_default();
    }

    /// Returns the median of a build's testcases, or of all if none of its own was ever seen.
    ///
    /// It is the estimate for a new testcase: before the shorter half, after the longer one.
    pub(super) fn typical(&self, build: &BuildName) -> Duration {
        let first = (
            build.clone(),
            TestModule(String::new()),
            None,
            String::new(),
        );
        let of_build = self.testcases.range(first..);
        let of_build = of_build.take_while(|(name, _)| name.0 == *build);
        median(of_build.map(|(_, known)| known)).unwrap_or(self.overall)
    }
}

fn median<'a>(testcases: impl Iterator<Item = &'a Vec<Measured>>) -> Option<Duration> {
    let newest = testcases.filter_map(|known| known.first());
    let mut durations: Vec<Duration> = newest.map(|one| one.duration).collect();
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied()
}

impl Record {
    /// Creates a record of a result, unless nothing was measured.
    pub(super) fn of(result: &TestcaseResult, key: &str, at_s: u64) -> Option<Self> {
        let was_measured = !matches!(result.outcome, Outcome::NotRun | Outcome::Skipped)
            && !result.id.is_whole_module()
            && result.run_dir.is_some();
        was_measured.then(|| Self::Testcase {
            build: result.id.build.clone(),
            key: key.to_owned(),
            module: result.id.module.clone(),
            variant: result.id.variant.clone(),
            testcase: result.id.testcase.clone(),
            duration_s: result.duration.as_secs_f64(),
            is_bad: !result.outcome.is_good(),
            at_s,
        })
    }
}

impl RecordRef<'_> {
    fn at_s(&self) -> u64 {
        match self {
            Self::Testcase { at_s, .. } | Self::Build { at_s, .. } => *at_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::schedule::fixture;

    fn record(testcase: &str, key: &str, duration_s: f64, at_s: u64) -> Record {
        Record::Testcase {
            build: BuildName("fifo".to_owned()),
            key: key.to_owned(),
            module: TestModule("test_fifo".to_owned()),
            variant: None,
            testcase: testcase.to_owned(),
            duration_s,
            is_bad: false,
            at_s,
        }
    }

    fn history(records: impl IntoIterator<Item = Record>) -> History {
        let mut history = History::default();
        for record in records {
            history.take(record);
        }
        history.settle();
        history
    }

    fn testcase(name: &str) -> Testcase {
        let mut testcase = fixture::testcase(name);
        testcase.id.build = BuildName("fifo".to_owned());
        testcase.id.module = TestModule("test_fifo".to_owned());
        testcase
    }

    fn seconds(history: &History, name: &str, key: &str) -> f64 {
        let typical = history.typical(&BuildName("fifo".to_owned()));
        history
            .estimate(&[testcase(name)], key, typical)
            .duration
            .as_secs_f64()
    }

    #[track_caller]
    fn expect(history: &History, name: &str, key: &str, seconds_wanted: f64) {
        let found = seconds(history, name, key);
        assert!((found - seconds_wanted).abs() < 1e-9, "{name}: {found}");
    }

    #[test]
    fn a_record_of_the_same_key_counts_before_a_newer_one_of_another() {
        let known = history([record("a", "old", 1.0, 1), record("a", "new", 2.0, 2)]);
        expect(&known, "a", "old", 1.0);
        expect(&known, "a", "new", 2.0);
        expect(&known, "a", "never built", 2.0);
    }

    #[test]
    fn of_two_records_the_newer_one_stays_in_whatever_order_they_come() {
        let (older, newer) = (record("a", "k", 9.0, 1), record("a", "k", 3.0, 2));
        expect(&history([older.clone(), newer.clone()]), "a", "k", 3.0);
        expect(&history([newer, older]), "a", "k", 3.0);
    }

    #[test]
    fn an_unknown_testcase_counts_as_the_median_of_its_build() {
        let known = history([
            record("a", "k", 1.0, 1),
            record("b", "k", 4.0, 1),
            record("c", "k", 100.0, 1),
        ]);
        expect(&known, "new", "k", 4.0);
        expect(&History::default(), "new", "k", 0.0);
        let elsewhere = known.typical(&BuildName("uart".to_owned()));
        assert_eq!(elsewhere, Duration::from_secs(4));
    }

    #[test]
    fn testcases_in_one_process_add_up_and_one_bad_one_marks_them_all() {
        let mut known = history([record("a", "k", 1.0, 1)]);
        let Record::Testcase { build, module, .. } = record("b", "k", 0.0, 1) else {
            unreachable!("it was made as a testcase")
        };
        known.take(Record::Testcase {
            build,
            key: "k".to_owned(),
            module,
            variant: None,
            testcase: "b".to_owned(),
            duration_s: 2.0,
            is_bad: true,
            at_s: 1,
        });
        let both = known.estimate(&[testcase("a"), testcase("b")], "k", Duration::ZERO);
        assert_eq!(both.duration, Duration::from_secs(3));
        assert!(both.was_bad);
    }

    #[test]
    fn the_longest_of_modules_is_unknown_while_one_of_them_is() {
        let known = history([record("a", "k", 1.0, 1), record("b", "k", 5.0, 1)]);
        let fifo = BuildName("fifo".to_owned());
        let (seen, unseen) = (TestModule("test_fifo".into()), TestModule("test".into()));
        let [seen, unseen] = [&seen, &unseen].map(|module| ModuleInVariant {
            module,
            variant: None,
        });
        assert_eq!(known.longest(&fifo, [seen]), Some(Duration::from_secs(5)));
        assert_eq!(known.longest(&fifo, [seen, unseen]), None);
    }

    #[test]
    fn each_variant_of_a_module_has_durations_of_its_own() {
        let fast = TestVariant("fast".to_owned());
        let mut slow = record("a", "k", 9.0, 1);
        if let Record::Testcase { variant, .. } = &mut slow {
            *variant = Some(fast.clone());
        }
        let known = history([record("a", "k", 1.0, 1), slow]);
        expect(&known, "a", "k", 1.0);
        let (fifo, module) = (BuildName("fifo".into()), TestModule("test_fifo".into()));
        let longest = |variant| {
            let module = ModuleInVariant {
                module: &module,
                variant,
            };
            known.longest(&fifo, [module])
        };
        assert_eq!(longest(None), Some(Duration::from_secs(1)));
        assert_eq!(longest(Some(&fast)), Some(Duration::from_secs(9)));
        assert_eq!(longest(Some(&TestVariant("other".to_owned()))), None);
    }

    #[test]
    fn records_of_one_testcase_are_bounded_and_nonsense_is_rejected() {
        let known = history((0..20).map(|at| record("a", &at.to_string(), 1.0, at)));
        assert_eq!(known.records().len(), KEYS_MAX);
        let nonsense = [f64::NAN, -1.0, f64::INFINITY, 1e300];
        let known = history(nonsense.map(|seconds| record("a", "k", seconds, 1)));
        assert_eq!(known, History::default());
    }
}
