//! Counts what happened, once for all reports, and notices when the stream contradicts itself.
//!
//! A testcase counts once: its last attempt decides. Passed testcases leave nothing behind but a
//! number, so memory grows with what is planned and with what went wrong, never with what passed.

use super::text;
use super::verdict;

use crate::diagnostic::Code;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::event::SessionFinished;
use crate::model::build::BuildName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Counts;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::TestcaseId;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// How many builds came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BuildCounts {
    pub(super) built: usize,
    pub(super) up_to_date: usize,
    pub(super) elsewhere: usize,
    pub(super) failed: usize,
    /// The session ended before they were built.
    pub(super) stopped: usize,
}

impl BuildCounts {
    pub(super) fn total(self) -> usize {
        self.built + self.up_to_date + self.elsewhere + self.failed + self.stopped
    }
}

/// The state of a session as its events tell it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Testcases by outcome.
    pub(super) counts: Counts,
    /// Builds by outcome.
    pub(super) builds: BuildCounts,
    /// How many testcases the filters left out so far.
    pub(super) deselected: usize,
    /// Whether any module was listed or any testcase decided.
    pub(super) has_tests: bool,
    /// Why the session is being ended, once it is.
    pub(super) stopping: Option<String>,
    /// The last event, once it came.
    pub(super) finished: Option<SessionFinished>,
    /// Planned testcases without a verdict. Names may repeat: cocotb allows it across decorators.
    open: BTreeMap<TestcaseId, usize>,
    /// Builds that cannot be used, and what they failed of.
    failed_builds: BTreeMap<BuildName, Code>,
    /// Builds that decided testcases ran on.
    tested_builds: BTreeSet<BuildName>,
    /// What is not good, for a later attempt to replace.
    bad: BTreeMap<TestcaseId, Outcome>,
}

impl Tally {
    /// Takes the next event.
    pub(super) fn on_event(&mut self, event: &Event) {
        match event {
            Event::BuildFinished { build, outcome, .. } => match outcome {
                BuildOutcome::Built => self.builds.built += 1,
                BuildOutcome::UpToDate => self.builds.up_to_date += 1,
                BuildOutcome::BuiltElsewhere => self.builds.elsewhere += 1,
                BuildOutcome::Failed(problem) => {
                    if verdict::is_stop(problem.code) {
                        self.builds.stopped += 1;
                    } else {
                        self.builds.failed += 1;
                    }
                    self.failed_builds.insert(build.clone(), problem.code);
                }
            },
            Event::ModuleListed {
                selected,
                deselected,
                ..
            } => {
                self.has_tests = true;
                self.deselected += deselected;
                for testcase in selected {
                    *self.open.entry(testcase.id.clone()).or_default() += 1;
                }
            }
            Event::TestcaseFinished(result) => self.decide(result),
            Event::Stopping { reason } => self.stopping = Some(reason.clone()),
            Event::SessionFinished(finished) => {
                self.deselected = finished.deselected;
                self.finished = Some(finished.clone());
            }
            Event::SessionStarted(_)
            | Event::BuildStarted { .. }
            | Event::BuildWaiting { .. }
            | Event::RunStarted { .. }
            | Event::TestcaseStarted { .. }
            | Event::RunFinished { .. }
            | Event::Notice(_) => {}
        }
    }

    fn decide(&mut self, result: &TestcaseResult) {
        self.has_tests = true;
        if let Some(number) = self.open.get_mut(&result.id) {
            *number -= 1;
            if *number == 0 {
                self.open.remove(&result.id);
            }
        }
        if !self.tested_builds.contains(&result.id.build) {
            self.tested_builds.insert(result.id.build.clone());
        }
        if result.attempt > 1
            && let Some(former) = self.bad.remove(&result.id)
        {
            self.forget(former);
        }
        self.counts.add(result.outcome);
        if !result.outcome.is_good() {
            self.bad.insert(result.id.clone(), result.outcome);
        }
    }

    fn forget(&mut self, outcome: Outcome) {
        let number = match outcome {
            Outcome::Passed => &mut self.counts.passed,
            Outcome::Failed => &mut self.counts.failed,
            Outcome::Errored => &mut self.counts.errored,
            Outcome::TimedOut => &mut self.counts.timed_out,
            Outcome::Skipped => &mut self.counts.skipped,
            Outcome::NotRun => &mut self.counts.not_run,
        };
        *number = number.saturating_sub(1);
    }

    /// Returns the code of a bad result, `None` for a good one.
    pub(super) fn code(&self, result: &TestcaseResult) -> Option<Code> {
        verdict::code(result, self.failed_builds.get(&result.id.build).copied())
    }

    /// Returns how many testcases are known so far, decided or not.
    pub(super) fn planned(&self) -> usize {
        self.counts.total() + self.open.values().sum::<usize>()
    }

    /// Returns on how many builds testcases were decided.
    pub(super) fn tested_builds(&self) -> usize {
        self.tested_builds.len()
    }

    /// Says whether the session proved what it was asked to prove.
    pub(super) fn is_success(&self) -> bool {
        self.finished
            .as_ref()
            .is_some_and(|end| end.exit_code == ExitCode::Success)
            && self.stopping.is_none()
            && self.contradictions().is_empty()
    }

    /// Returns what cannot be right about the stream, a line each; empty unless cocorun has a bug
    /// or broke off.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(end) = &self.finished else {
            return vec!["the session broke off: its last event never came".to_owned()];
        };
        if let Some((first, _)) = self.open.first_key_value() {
            let number = text::count(self.open.values().sum(), "planned testcase");
            lines.push(format!(
                "no verdict came for {number}, first `{}`",
                verdict::name(first)
            ));
        }
        if end.counts != self.counts {
            lines.push(format!(
                "the session counts {} ({} bad), but the verdicts that came are {} ({} bad)",
                text::count(end.counts.total(), "testcase"),
                end.counts.bad(),
                self.counts.total(),
                self.counts.bad(),
            ));
        }
        let bad = self.counts.bad() + self.builds.failed + self.builds.stopped;
        if end.exit_code == ExitCode::Success && bad > 0 {
            let bad = text::count(bad, "bad result");
            lines.push(format!("the session ended with 0 in spite of {bad}"));
        }
        lines
    }
}
