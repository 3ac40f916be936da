//! From what the agent said and how the process ended to one verdict per testcase. Pure.
//!
//! Invariant: a testcase passes only if cocotb judged it so within this process. The last one of a
//! process also needs the process to leave with status 0, or another one to explain why it did not,
//! so the last result is held back until the process is gone.

use crate::edge::interrupt::StopReason;
use crate::edge::process::Exit;
use crate::model::outcome::Cause;
use crate::model::outcome::Outcome;
use crate::model::outcome::RunVerdict;
use crate::model::test::Testcase;
use crate::sim::agent::AgentEvent;
use crate::sim::agent::AgentOutcome;
use crate::sim::agent::Finished;

use std::time::Duration;

/// How a process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Exited(Exit),
    /// Killed at a limit.
    TimedOut,
    /// Killed since the session stops.
    Stopped(StopReason),
    /// Gone with the server that had forked it.
    Lost,
}

/// A verdict on one testcase.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) cause: Option<Cause>,
    pub(super) expected_failure: bool,
    pub(super) message: Option<String>,
    pub(super) error_type: Option<String>,
    pub(super) details: Option<String>,
    pub(super) duration: Option<Duration>,
    pub(super) sim_time_ns: Option<f64>,
    pub(super) log_start: Option<u64>,
    pub(super) log_end: Option<u64>,
}

impl Verdict {
    /// Makes a verdict that cocotb did not give.
    pub(super) fn ours(outcome: Outcome, cause: Cause, message: impl Into<String>) -> Self {
        Self {
            outcome,
            cause: Some(cause),
            expected_failure: false,
            message: Some(message.into()),
            error_type: None,
            details: None,
            duration: None,
            sim_time_ns: None,
            log_start: None,
            log_end: None,
        }
    }

    fn of_cocotb(finished: Finished, log_start: Option<u64>) -> Self {
        let (outcome, cause) = match (finished.outcome, finished.cause.as_deref()) {
            (AgentOutcome::Passed, _) => (Outcome::Passed, None),
            (AgentOutcome::Skipped, _) => (Outcome::Skipped, Some(Cause::Skip)),
            (AgentOutcome::Errored, _) => (Outcome::Errored, Some(Cause::Test)),
            (AgentOutcome::Failed, Some("unexpected-pass")) => {
                (Outcome::Failed, Some(Cause::UnexpectedPass))
            }
            (AgentOutcome::Failed, Some("simulation-ended")) => {
                (Outcome::Failed, Some(Cause::SimulationEnded))
            }
            (AgentOutcome::Failed, _) => (Outcome::Failed, Some(Cause::Test)),
        };
        Self {
            outcome,
            cause,
            expected_failure: finished.expected_failure,
            message: finished.message,
            error_type: finished.error_type,
            details: finished.traceback,
            duration: finished
                .duration_s
                .and_then(|s| Duration::try_from_secs_f64(s).ok()),
            sim_time_ns: finished.sim_time_ns.map(to_femtoseconds),
            log_start,
            log_end: finished.log_offset,
        }
    }
}

/// Something the rest of the session should know now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// This testcase began.
    Started(usize),
    /// This testcase is decided.
    Decided(usize, Verdict),
    /// Nothing is left to do in this process but to leave.
    Leaving,
}

/// What is left when a process is gone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Closing {
    /// Verdicts that were not told before.
    pub(super) decided: Vec<(usize, Verdict)>,
    /// Testcases that never began and deserve another process.
    pub(super) leftover: Vec<usize>,
    /// How the process as a whole did.
    pub(super) verdict: RunVerdict,
}

/// Follows one process.
pub(super) struct Judge<'a> {
    wanted: &'a [Testcase],
    is_decided: Vec<bool>,
    running: Option<(usize, Option<u64>)>,
    held: Option<(usize, Verdict)>,
    has_begun: bool,
    is_any_bad: bool,
    trouble: Option<(Cause, Trouble)>,
}

/// What kept a process from running testcases.
struct Trouble {
    message: String,
    error_type: Option<String>,
    details: Option<String>,
}

impl<'a> Judge<'a> {
    /// Begins with the testcases the process was given, in the order it was given them.
    pub(super) fn new(wanted: &'a [Testcase]) -> Self {
        Self {
            wanted,
            is_decided: vec![false; wanted.len()],
            running: None,
            held: None,
            has_begun: false,
            is_any_bad: false,
            trouble: None,
        }
    }

    /// Takes in one line of the agent's.
    pub(super) fn take(&mut self, event: AgentEvent) -> Option<Step> {
        match event {
            AgentEvent::TestcaseStarted {
                module,
                testcase,
                occurrence,
                log_offset,
            } => {
                let index = self.find(&module.0, &testcase, occurrence)?;
                self.has_begun = true;
                self.running = Some((index, log_offset));
                Some(Step::Started(index))
            }
            AgentEvent::TestcaseFinished(finished) => self.finish(*finished),
            AgentEvent::Missing {
                module,
                testcase,
                occurrence,
            } => {
                let index = self.find(&module.0, &testcase, occurrence)?;
                let message = "it was listed, but is gone from its module now";
                self.decide(
                    index,
                    Verdict::ours(Outcome::Errored, Cause::NoResult, message),
                )
            }
            AgentEvent::ModuleError {
                error_type,
                message,
                traceback,
                ..
            } => {
                self.note_trouble(Cause::Import, error_type, message, traceback);
                None
            }
            AgentEvent::StartupError {
                error_type,
                message,
                traceback,
            } => {
                self.note_trouble(Cause::Startup, error_type, message, traceback);
                None
            }
            AgentEvent::AgentError { message } => {
                self.note_trouble(Cause::Startup, String::new(), message, String::new());
                None
            }
            AgentEvent::RegressionFinished {} => Some(Step::Leaving),
            AgentEvent::Hello { .. }
            | AgentEvent::Listing { .. }
            | AgentEvent::Listed { .. }
            | AgentEvent::ListingFinished {}
            | AgentEvent::NotRun { .. } => None,
        }
    }

    fn note_trouble(&mut self, cause: Cause, kind: String, message: String, traceback: String) {
        let full = |text: String| (!text.is_empty()).then_some(text);
        self.trouble.get_or_insert((
            cause,
            Trouble {
                message,
                error_type: full(kind),
                details: full(traceback),
            },
        ));
    }

    /// Finds an undecided testcase: a second verdict on one is none.
    fn find(&self, module: &str, testcase: &str, occurrence: u32) -> Option<usize> {
        self.wanted.iter().enumerate().position(|(index, wanted)| {
            !self.is_decided[index]
                && wanted.occurrence == occurrence
                && wanted.id.testcase == testcase
                && wanted.id.module.0 == module
        })
    }

    fn finish(&mut self, finished: Finished) -> Option<Step> {
        let index = self.find(&finished.module.0, &finished.testcase, finished.occurrence)?;
        let log_start = match self.running.take() {
            Some((running, start)) if running == index => start,
            _ => finished.log_offset,
        };
        self.has_begun = true;
        self.decide(index, Verdict::of_cocotb(finished, log_start))
    }

    /// Decides a testcase; the last one waits for the end of the process.
    fn decide(&mut self, index: usize, verdict: Verdict) -> Option<Step> {
        self.is_decided[index] = true;
        self.is_any_bad |= !verdict.outcome.is_good();
        if self.is_decided.iter().all(|is_decided| *is_decided) {
            self.held = Some((index, verdict));
            return None;
        }
        Some(Step::Decided(index, verdict))
    }

    /// Decides everything that is still open.
    pub(super) fn close(mut self, end: End) -> Closing {
        let mut decided = Vec::new();
        if end == End::Lost {
            // Whatever was going on is not its own doing, and nobody was told of it.
            if let Some((index, _)) = self.held.take() {
                self.is_decided[index] = false;
            }
            let leftover = (0..self.wanted.len())
                .filter(|index| !self.is_decided[*index])
                .collect();
            return Closing {
                decided,
                leftover,
                verdict: RunVerdict::Lost,
            };
        }
        if let Some((index, verdict)) = self.held.take() {
            let mut verdict = self.held_verdict(verdict, end);
            // What the HDL prints while it ends (`final` blocks) belongs to the last testcase.
            verdict.log_end = None;
            decided.push((index, verdict));
            let verdict = match end {
                End::TimedOut => RunVerdict::TimedOut,
                End::Stopped(_) => RunVerdict::Cancelled,
                End::Exited(Exit::Signal(_)) => RunVerdict::Crashed,
                End::Exited(exit) if exit.is_success() || self.is_any_bad => RunVerdict::Completed,
                End::Exited(_) | End::Lost => RunVerdict::Incomplete,
            };
            return Closing {
                decided,
                leftover: Vec::new(),
                verdict,
            };
        }
        if let Some((index, log_start)) = self.running.take() {
            let mut verdict = Self::cut_short(end);
            verdict.log_start = log_start;
            decided.push((index, verdict));
            self.is_decided[index] = true;
            self.has_begun = true;
        }
        let open: Vec<usize> = (0..self.wanted.len())
            .filter(|index| !self.is_decided[*index])
            .collect();
        let stops = matches!(end, End::Stopped(_));
        // A process that began nothing would begin nothing again.
        let leftover = if self.has_begun && !stops {
            open.clone()
        } else {
            Vec::new()
        };
        if leftover.is_empty() {
            decided.extend(open.into_iter().map(|index| (index, self.never_begun(end))));
        }
        let verdict = match end {
            End::TimedOut => RunVerdict::TimedOut,
            End::Stopped(_) => RunVerdict::Cancelled,
            End::Exited(Exit::Signal(_)) => RunVerdict::Crashed,
            End::Exited(_) | End::Lost => RunVerdict::Incomplete,
        };
        Closing {
            decided,
            leftover,
            verdict,
        }
    }

    /// Judges the last testcase by how its process left.
    fn held_verdict(&self, verdict: Verdict, end: End) -> Verdict {
        if !verdict.outcome.is_good() {
            return verdict;
        }
        let (outcome, cause, message) = match end {
            // Simulators leave with a status after a failure. Nothing else explains one.
            End::Exited(exit) if exit.is_success() => return verdict,
            End::Exited(Exit::Code(_)) if self.is_any_bad => return verdict,
            End::Exited(exit) => (
                Outcome::Errored,
                Cause::ExitStatus,
                format!("it was green, yet the simulator ended with {exit} afterwards"),
            ),
            End::TimedOut => (
                Outcome::TimedOut,
                Cause::Timeout,
                "it passed, but the simulator did not end afterwards and was killed".to_owned(),
            ),
            // Its own result stands: nothing is known against it.
            End::Stopped(_) | End::Lost => return verdict,
        };
        Verdict {
            outcome,
            cause: Some(cause),
            message: Some(message),
            // What it took until it passed is not what it took until it was killed.
            duration: verdict.duration.filter(|_| end != End::TimedOut),
            ..verdict
        }
    }

    /// Judges the testcase that was running when the process ended.
    fn cut_short(end: End) -> Verdict {
        match end {
            End::TimedOut => Verdict::ours(
                Outcome::TimedOut,
                Cause::Timeout,
                "it ran longer than its limit",
            ),
            End::Stopped(reason) => Verdict::ours(
                Outcome::NotRun,
                Cause::Session,
                format!("it was stopped while it ran: {}", stop_words(reason)),
            ),
            End::Exited(exit @ Exit::Signal(_)) => Verdict::ours(
                Outcome::Errored,
                Cause::Crashed,
                format!("the simulator ended with {exit} while it ran"),
            ),
            End::Exited(exit) => Verdict::ours(
                Outcome::Errored,
                Cause::NoResult,
                format!("the simulator left with {exit} while it ran"),
            ),
            End::Lost => unreachable!("a lost process decides nothing"),
        }
    }

    /// Judges a testcase that never began and will not be tried again.
    fn never_begun(&self, end: End) -> Verdict {
        if let End::Stopped(reason) = end {
            let words = format!("it never began: {}", stop_words(reason));
            return Verdict::ours(Outcome::NotRun, Cause::Session, words);
        }
        if let Some((cause, trouble)) = &self.trouble {
            let mut verdict = Verdict::ours(Outcome::Errored, *cause, trouble.message.clone());
            verdict.error_type.clone_from(&trouble.error_type);
            verdict.details.clone_from(&trouble.details);
            return verdict;
        }
        match end {
            End::TimedOut => Verdict::ours(
                Outcome::TimedOut,
                Cause::Timeout,
                "the simulator began no testcase within the limit",
            ),
            End::Exited(exit @ Exit::Signal(_)) => Verdict::ours(
                Outcome::Errored,
                Cause::Crashed,
                format!("the simulator ended with {exit} before it began a testcase"),
            ),
            End::Exited(exit) => Verdict::ours(
                Outcome::Errored,
                Cause::NoResult,
                format!("the simulator left with {exit} before it began a testcase"),
            ),
            End::Stopped(_) | End::Lost => unreachable!("handled above"),
        }
    }
}

/// Takes away what adding binary fractions left behind the finest simulated time there is.
fn to_femtoseconds(ns: f64) -> f64 {
    let rounded = (ns * 1e6).round() / 1e6;
    if rounded.is_finite() { rounded } else { ns }
}

/// Says in words why a session stops.
pub(super) fn stop_words(reason: StopReason) -> String {
    match reason {
        StopReason::Signal(number) => {
            let name = nix::sys::signal::Signal::try_from(i32::from(number));
            name.map_or_else(
                |_| format!("signal {number}"),
                |name| name.as_str().to_owned(),
            )
        }
        StopReason::SessionLimit => "the session's limit has passed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::build::BuildName;
    use crate::model::test::TestModule;
    use crate::model::test::TestcaseId;

    const SUCCESS: End = End::Exited(Exit::Code(0));

    fn testcases(names: &[&str]) -> Vec<Testcase> {
        names
            .iter()
            .map(|name| Testcase {
                id: TestcaseId {
                    build: BuildName("b".to_owned()),
                    module: TestModule("m".to_owned()),
                    testcase: (*name).to_owned(),
                },
                occurrence: 0,
                file: None,
                line: None,
                doc: None,
                skip: false,
                stage: 0,
            })
            .collect()
    }

    fn event(name: &str, testcase: &str, more: &str) -> AgentEvent {
        let line = format!(
            r#"{{"event":"{name}","module":"m","testcase":"{testcase}","occurrence":0{more}}}"#
        );
        crate::sim::agent::read_event(&line).expect("the agent writes such a line")
    }

    fn started(testcase: &str) -> AgentEvent {
        event("testcase_started", testcase, "")
    }

    fn finished(testcase: &str, outcome: &str) -> AgentEvent {
        let more = format!(r#","outcome":"{outcome}","expected_failure":false"#);
        event("testcase_finished", testcase, &more)
    }

    /// Runs `first` and `last` to these outcomes and returns the verdict on `last`.
    fn last_of(first: &str, last: &str, end: End) -> (Outcome, Option<Cause>) {
        let wanted = testcases(&["first", "last"]);
        let mut judge = Judge::new(&wanted);
        judge.take(started("first"));
        judge.take(finished("first", first));
        judge.take(started("last"));
        assert_eq!(judge.take(finished("last", last)), None, "it is held back");
        let mut closing = judge.close(end);
        assert!(closing.leftover.is_empty());
        let (index, verdict) = closing.decided.pop().expect("the held one");
        assert!(closing.decided.is_empty());
        assert_eq!(index, 1);
        (verdict.outcome, verdict.cause)
    }

    #[test]
    fn a_green_process_that_leaves_with_a_status_is_no_pass() {
        let wrong = (Outcome::Errored, Some(Cause::ExitStatus));
        let passed = (Outcome::Passed, None);
        assert_eq!(last_of("passed", "passed", SUCCESS), passed);
        let status = End::Exited(Exit::Code(3));
        assert_eq!(last_of("passed", "passed", status), wrong);
    }

    #[test]
    fn a_failure_explains_a_status_but_neither_a_signal_nor_a_hang() {
        let passed = (Outcome::Passed, None);
        let crashed = (Outcome::Errored, Some(Cause::ExitStatus));
        let hung = (Outcome::TimedOut, Some(Cause::Timeout));
        assert_eq!(
            last_of("failed", "passed", End::Exited(Exit::Code(1))),
            passed
        );
        assert_eq!(
            last_of("failed", "passed", End::Exited(Exit::Signal(11))),
            crashed
        );
        assert_eq!(last_of("failed", "passed", End::TimedOut), hung);
        assert_eq!(last_of("passed", "passed", End::TimedOut), hung);
    }

    #[test]
    fn a_failure_stays_one_however_its_process_ends() {
        let failed = (Outcome::Failed, Some(Cause::Test));
        for end in [
            SUCCESS,
            End::Exited(Exit::Code(1)),
            End::Exited(Exit::Signal(11)),
            End::TimedOut,
        ] {
            assert_eq!(last_of("passed", "failed", end), failed);
        }
    }

    #[test]
    fn the_running_testcase_is_the_culprit_and_the_rest_runs_elsewhere() {
        let wanted = testcases(&["before", "trap", "after"]);
        for (end, outcome, cause) in [
            (SUCCESS, Outcome::Errored, Cause::NoResult),
            (
                End::Exited(Exit::Signal(11)),
                Outcome::Errored,
                Cause::Crashed,
            ),
            (End::TimedOut, Outcome::TimedOut, Cause::Timeout),
        ] {
            let mut judge = Judge::new(&wanted);
            judge.take(started("before"));
            judge.take(finished("before", "passed"));
            judge.take(started("trap"));
            let closing = judge.close(end);
            assert_eq!(closing.leftover, [2]);
            let [(1, verdict)] = closing.decided.as_slice() else {
                panic!("only the culprit is decided: {closing:?}");
            };
            assert_eq!((verdict.outcome, verdict.cause), (outcome, Some(cause)));
        }
    }

    #[test]
    fn a_second_verdict_on_a_testcase_is_none() {
        let wanted = testcases(&["only", "other"]);
        let mut judge = Judge::new(&wanted);
        judge.take(started("only"));
        assert!(judge.take(finished("only", "failed")).is_some());
        assert_eq!(judge.take(finished("only", "passed")), None);
    }

    #[test]
    fn simulated_times_are_whole_femtoseconds() {
        for (told, right) in [(4.999_000_000_000_000_6, 4.999), (0.0, 0.0), (1e300, 1e300)] {
            assert_eq!(to_femtoseconds(told).to_bits(), f64::to_bits(right));
        }
    }
}
