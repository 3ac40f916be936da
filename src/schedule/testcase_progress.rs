//! How far a process has got with its testcases, according to the agent. Pure.
//!
//! Invariant: each testcase is judged once. The last one of a process is held back until the
//! process has ended, since its verdict depends on how the process ends; so is one that passes
//! because the simulation ended, after which nothing else runs.

use crate::agent::event::AgentOutcome;
use crate::agent::event::RunEvent;
use crate::edge::process::Exit;
use crate::model::outcome::RunVerdict;
use crate::model::test::Testcase;
use crate::schedule::judge::HDL_FAILURE_STATUS;
use crate::schedule::judge::ProcessEnd;
use crate::schedule::judge::Said;
use crate::schedule::judge::StatusReasons;
use crate::schedule::judge::Trouble;
use crate::schedule::judge::process_verdict;

/// A testcase that is finished in this process.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TestcaseFinding {
    /// Its index among the process's testcases.
    pub(super) index: usize,
    pub(super) said: Said,
    /// How the process ended, if that matters: the testcase was the last one.
    pub(super) end: Option<ProcessEnd>,
    /// Where its part of the log begins, bytes.
    pub(super) log_start: Option<u64>,
    /// One past its last byte; `None` if its part extends to the end.
    pub(super) log_end: Option<u64>,
}

/// Something that the rest of the session should know now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RunNews {
    /// This testcase began.
    Started(usize),
    /// This testcase is over.
    Over(TestcaseFinding),
    /// The process has nothing to do except exit.
    Exiting,
}

/// What remains when a process has ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Closing {
    /// Testcases that were not over before.
    pub(super) findings: Vec<TestcaseFinding>,
    /// Testcases that never began and get another process.
    pub(super) elsewhere: Vec<usize>,
    /// How the process as a whole did.
    pub(super) verdict: RunVerdict,
}

/// One process and its testcases.
pub(super) struct RunProgress<'a> {
    wanted: &'a [Testcase],
    is_over: Vec<bool>,
    running: Option<(usize, Option<u64>)>,
    held: Vec<TestcaseFinding>,
    has_begun: bool,
    reasons: StatusReasons,
    expected_end_log_start: Option<u64>,
    trouble: Option<Trouble>,
}

impl<'a> RunProgress<'a> {
    /// Starts with the testcases of the process, in their order.
    pub(super) fn new(wanted: &'a [Testcase]) -> Self {
        Self {
            wanted,
            is_over: vec![false; wanted.len()],
            running: None,
            held: Vec::new(),
            has_begun: false,
            reasons: StatusReasons::default(),
            expected_end_log_start: None,
            trouble: None,
        }
    }

    /// Returns what is known that explains an exit status.
    pub(super) fn reasons(&self) -> StatusReasons {
        self.reasons
    }

    /// Returns what went wrong outside of any testcase: the best reason.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Returns where the log begins, bytes, of the testcase that expected the simulation to end, if
    /// an HDL failure in it would explain how the process ended.
    pub(super) fn hdl_failure_wanted_from(&self, end: ProcessEnd) -> Option<u64> {
        let is_of_hdl = end == ProcessEnd::Exited(Exit::Code(HDL_FAILURE_STATUS));
        let start = self.expected_end_log_start;
        start.filter(|_| is_of_hdl && !self.reasons.is_any_bad)
    }

    /// Records that the log shows such a failure; before the end.
    pub(super) fn hdl_failure_logged(&mut self) {
        self.reasons.is_hdl_failure_logged = true;
    }

    /// Applies one event.
    pub(super) fn take(&mut self, event: RunEvent) -> Option<RunNews> {
        match event {
            RunEvent::TestcaseStarted {
                module,
                testcase,
                occurrence,
                log_offset,
                ..
            } => {
                let index = self.find(&module.0, &testcase, occurrence)?;
                self.has_begun = true;
                self.running = Some((index, log_offset));
                Some(RunNews::Started(index))
            }
            RunEvent::TestcaseFinished(finished) => {
                let index =
                    self.find(&finished.module.0, &finished.testcase, finished.occurrence)?;
                let log_start = match self.running.take() {
                    Some((running, start)) if running == index => start,
                    _ => finished.log_offset,
                };
                self.has_begun = true;
                self.reasons.is_any_bad |= !matches!(
                    finished.outcome,
                    AgentOutcome::Passed | AgentOutcome::Skipped
                );
                let ends_as_expected = finished.outcome == AgentOutcome::Passed
                    && finished.expected_failure
                    && finished.simulation_ended;
                self.reasons.is_end_expected |= ends_as_expected;
                if ends_as_expected {
                    self.expected_end_log_start = log_start;
                }
                let log_end = finished.log_offset;
                let finding = self.over(index, Said::Judged(finished), log_start, log_end);
                self.hold_or_pass_on(finding, ends_as_expected)
            }
            RunEvent::Missing {
                module,
                testcase,
                occurrence,
            } => {
                let index = self.find(&module.0, &testcase, occurrence)?;
                self.reasons.is_any_bad = true;
                let finding = self.over(index, Said::Missing, None, None);
                self.hold_or_pass_on(finding, false)
            }
            RunEvent::RegressionFinished { .. } => Some(RunNews::Exiting),
            other => {
                if let Some(trouble) = Trouble::of(other) {
                    self.note(trouble);
                }
                None
            }
        }
    }

    /// Records what went wrong outside of any testcase; see [`Trouble::keep`].
    pub(super) fn note(&mut self, trouble: Trouble) {
        Trouble::keep(&mut self.trouble, trouble);
    }

    /// Says whether any testcase is over.
    pub(super) fn is_judged(&self) -> bool {
        self.is_over.contains(&true)
    }

    /// Finds a testcase that is not over.
    fn find(&self, module: &str, testcase: &str, occurrence: u32) -> Option<usize> {
        self.wanted.iter().enumerate().position(|(index, wanted)| {
            !self.is_over[index]
                && wanted.occurrence == occurrence
                && wanted.id.testcase == testcase
                && wanted.id.module.0 == module
        })
    }

    fn over(
        &mut self,
        index: usize,
        said: Said,
        log_start: Option<u64>,
        log_end: Option<u64>,
    ) -> TestcaseFinding {
        self.is_over[index] = true;
        TestcaseFinding {
            index,
            said,
            end: None,
            log_start,
            log_end,
        }
    }

    fn hold_or_pass_on(
        &mut self,
        finding: TestcaseFinding,
        ends_simulation: bool,
    ) -> Option<RunNews> {
        if ends_simulation || self.is_over.iter().all(|is_over| *is_over) {
            self.held.push(finding);
            return None;
        }
        Some(RunNews::Over(finding))
    }

    /// Ends, with everything that is still open.
    pub(super) fn close(&mut self, end: ProcessEnd) -> Closing {
        if end == ProcessEnd::Lost {
            // Whatever was going on is not its fault, and nothing was reported about it.
            for finding in self.held.drain(..) {
                self.is_over[finding.index] = false;
            }
            return Closing {
                findings: Vec::new(),
                elsewhere: self.open(),
                verdict: RunVerdict::Lost,
            };
        }
        let held = self.held.drain(..);
        // What the HDL prints while it ends (`final` blocks) belongs to the last testcase.
        let held = held.map(|finding| TestcaseFinding {
            end: Some(end),
            log_end: None,
            ..finding
        });
        let mut findings: Vec<TestcaseFinding> = held.collect();
        let is_all_judged = self.open().is_empty();
        let mut add = |index, said, log_start| {
            findings.push(TestcaseFinding {
                index,
                said,
                end: Some(end),
                log_start,
                log_end: None,
            });
        };
        let running = self.running.take();
        if let Some((index, log_start)) = running.filter(|(index, _)| !self.is_over[*index]) {
            add(index, Said::Running, log_start);
            self.is_over[index] = true;
            self.has_begun = true;
        }
        let stops = matches!(end, ProcessEnd::Stopped(_));
        let mut elsewhere = self.open();
        // A process that began nothing would begin nothing the next time.
        if !self.has_begun || stops {
            for index in elsewhere.drain(..) {
                add(index, Said::NeverBegan, None);
            }
        }
        Closing {
            findings,
            elsewhere,
            verdict: process_verdict(end, is_all_judged, self.reasons),
        }
    }

    fn open(&self) -> Vec<usize> {
        let all = 0..self.wanted.len();
        all.filter(|index| !self.is_over[*index]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::agent::event::read_run_event;
    use crate::schedule::fixture::testcase;

    fn event(name: &str, testcase: &str, more: &str) -> RunEvent {
        let line = format!(
            r#"{{"event":"{name}","module":"m","testcase":"{testcase}","occurrence":0{more}}}"#
        );
        read_run_event(&line).expect("the agent writes such a line")
    }

    fn started(testcase: &str) -> RunEvent {
        event("testcase_started", testcase, "")
    }

    fn finished(testcase: &str, outcome: &str) -> RunEvent {
        let more = format!(r#","outcome":"{outcome}","expected_failure":false"#);
        event("testcase_finished", testcase, &more)
    }

    #[test]
    fn the_last_testcase_is_held_back_until_its_process_has_ended() {
        let wanted = ["first", "last"].map(testcase);
        let mut progress = RunProgress::new(&wanted);
        progress.take(started("first"));
        let step = progress.take(finished("first", "failed"));
        assert!(matches!(step, Some(RunNews::Over(finding)) if finding.index == 0));
        progress.take(started("last"));
        assert_eq!(progress.take(finished("last", "passed")), None);
        assert!(progress.reasons().is_any_bad);
        let end = ProcessEnd::Exited(Exit::Code(1));
        let closing = progress.close(end);
        assert_eq!(closing.verdict, RunVerdict::Completed);
        let [last] = closing.findings.as_slice() else {
            panic!("only the last: {closing:?}");
        };
        assert_eq!((last.index, last.end), (1, Some(end)));
    }

    #[test]
    fn a_testcase_that_expects_the_end_is_held_back_and_the_rest_runs_elsewhere() {
        let wanted = ["before", "ends", "skipped", "after"].map(testcase);
        let ends = r#","outcome":"passed","expected_failure":true,"simulation_ended":true"#;
        for (is_alone, verdict) in [
            (true, RunVerdict::Completed),
            (false, RunVerdict::Incomplete),
        ] {
            let wanted = if is_alone { &wanted[1..3] } else { &wanted[..] };
            let mut progress = RunProgress::new(wanted);
            progress.take(started("before"));
            progress.take(finished("before", "passed"));
            progress.take(event("testcase_started", "ends", r#","log_offset":70"#));
            assert_eq!(
                progress.take(event("testcase_finished", "ends", ends)),
                None
            );
            progress.take(finished("skipped", "skipped"));
            let end = ProcessEnd::Exited(Exit::Code(1));
            let wanted_from = |end| progress.hdl_failure_wanted_from(end);
            assert_eq!(wanted_from(end), Some(70));
            assert_eq!(wanted_from(ProcessEnd::Exited(Exit::Code(0))), None);
            progress.hdl_failure_logged();
            let closing = progress.close(end);
            assert_eq!(closing.verdict, verdict);
            let first = closing.findings.first().expect("it was held back");
            assert_eq!(
                (first.index, first.end),
                (usize::from(!is_alone), Some(end))
            );
            let elsewhere: &[usize] = if is_alone { &[] } else { &[3] };
            assert_eq!(closing.elsewhere, elsewhere);
        }
    }

    #[test]
    fn the_running_testcase_is_the_culprit_and_the_rest_runs_elsewhere() {
        let wanted = ["before", "trap", "after"].map(testcase);
        for end in [
            ProcessEnd::Exited(Exit::Code(0)),
            ProcessEnd::Exited(Exit::Signal(11)),
            ProcessEnd::TimedOut,
        ] {
            let mut progress = RunProgress::new(&wanted);
            progress.take(started("before"));
            progress.take(finished("before", "passed"));
            progress.take(started("trap"));
            let closing = progress.close(end);
            assert_eq!(closing.elsewhere, [2]);
            let [culprit] = closing.findings.as_slice() else {
                panic!("only the culprit: {closing:?}");
            };
            assert_eq!((culprit.index, &culprit.said), (1, &Said::Running));
        }
    }

    #[test]
    fn a_lost_process_decides_nothing_and_leaves_its_last_result_too() {
        let wanted = ["only"].map(testcase);
        let mut progress = RunProgress::new(&wanted);
        progress.take(started("only"));
        progress.take(finished("only", "passed"));
        let closing = progress.close(ProcessEnd::Lost);
        assert_eq!((closing.findings, closing.elsewhere), (Vec::new(), vec![0]));
    }

    #[test]
    fn a_second_verdict_on_a_testcase_is_ignored() {
        let wanted = ["only", "other"].map(testcase);
        let mut progress = RunProgress::new(&wanted);
        progress.take(started("only"));
        assert!(progress.take(finished("only", "failed")).is_some());
        assert_eq!(progress.take(finished("only", "passed")), None);
    }
}
