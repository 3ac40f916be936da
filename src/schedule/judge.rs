//! The verdict on a testcase from everything known about it. Pure: all input is in [`Facts`].
//!
//! Invariant: a testcase passes only if cocotb judged it passed within its process. The last one of
//! a process also needs the process to exit with status 0, or a known reason why it did not: see
//! [`StatusReasons`].

use crate::agent::event::AgentOutcome;
use crate::agent::event::Awaited;
use crate::agent::event::Exception;
use crate::agent::event::Finished;
use crate::agent::event::RunEvent;
use crate::agent::machinery::is_machinery;
use crate::edge::interrupt::StopReason;
use crate::edge::process::Exit;
use crate::model::outcome::Cause;
use crate::model::outcome::Outcome;
use crate::model::outcome::RunVerdict;

use std::fmt::Write as _;
use std::time::Duration;

/// The status with which simulators exit after `$fatal`, or an `$error` that ends the simulation.
pub(super) const HDL_FAILURE_STATUS: i32 = 1;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessEnd {
    /// By itself.
    Exited(Exit),
    /// Killed at a limit.
    TimedOut,
    /// Killed because the session stops.
    Stopped(StopReason),
    /// Lost with the server that had forked it.
    Lost,
}

/// How far a testcase got, according to the agent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// cocotb has judged it.
    Judged(Box<Finished>),
    /// Its module no longer has it.
    Missing,
    /// It was running when the process ended.
    Running,
    /// It had not begun when the process ended, and is not run elsewhere.
    NeverBegan,
}

/// What went wrong in a process outside of any testcase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A module cannot be imported.
    Import(Exception),
    /// cocotb could not start.
    Startup(Exception),
    /// cocotb's internal bookkeeping failed.
    Regression(Exception),
    /// The agent failed, or speaks another protocol.
    Agent(String),
}

/// A frame of Python's stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StackFrame {
    pub(super) path: String,
    /// From 1.
    pub(super) line: u32,
    pub(super) function: String,
}

/// Where a process was that reached its limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hang {
    /// What the agent answered.
    pub(super) waiting: Option<Awaited>,
    /// Python's stack, innermost frame first; empty if the simulator itself was running, `None` if
    /// it was not written.
    pub(super) stack: Option<Vec<StackFrame>>,
}

/// What is known about a process that explains an exit status other than 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StatusReasons {
    /// A testcase is bad: simulators exit with such a status after a failure.
    pub(super) is_any_bad: bool,
    /// A testcase passed because it expected the simulation to end, and it did.
    pub(super) is_end_expected: bool,
    /// The log of that testcase shows that the HDL ended the simulation as a failure: the end may
    /// also be `$finish`, which brings no such status.
    pub(super) is_hdl_failure_logged: bool,
}

impl StatusReasons {
    fn explain(self, exit: Exit) -> bool {
        match exit {
            Exit::Code(status) => {
                let is_by_hdl = self.is_end_expected && self.is_hdl_failure_logged;
                self.is_any_bad || (is_by_hdl && status == HDL_FAILURE_STATUS)
            }
            Exit::Signal(_) => false,
        }
    }

    /// Says why not even an expected end explains the status, if there was one.
    fn why_not(self, exit: Exit) -> Option<String> {
        let is_unexplained = self.is_end_expected
            && !self.is_hdl_failure_logged
            && exit == Exit::Code(HDL_FAILURE_STATUS);
        is_unexplained.then(|| {
            "the expected end of the simulation does not explain it: the log shows no HDL failure \
             such as `$fatal`"
                .to_owned()
        })
    }
}

/// Everything that determines the verdict on one testcase.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub(super) said: Said,
    /// How the process ended, if the testcase was the last one; `None` if the process continued.
    pub(super) end: Option<ProcessEnd>,
    /// What explains an exit status of the process.
    pub(super) reasons: StatusReasons,
    pub(super) trouble: Option<&'a Trouble>,
    /// What the process answered at the limit.
    pub(super) hang: Option<&'a Hang>,
    /// The wall-clock limit of a testcase.
    pub(super) limit: Duration,
    /// Whether an HDL error turns a pass into a failure.
    pub(super) fails_on_hdl_error: bool,
    /// The first HDL error in the testcase's part of the log.
    pub(super) hdl_error: Option<String>,
}

/// A verdict on one testcase.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TestcaseVerdict {
    pub(super) outcome: Outcome,
    pub(super) cause: Option<Cause>,
    pub(super) expected_failure: bool,
    pub(super) message: Option<String>,
    pub(super) error_type: Option<String>,
    pub(super) details: Option<String>,
    /// How long it took, if cocotb measured it.
    pub(super) duration: Option<Duration>,
    pub(super) sim_time_ns: Option<f64>,
}

impl TestcaseVerdict {
    /// Creates a verdict that cocotb did not give.
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
        }
    }

    fn of_cocotb(finished: Finished) -> Self {
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
        let duration_s = finished.duration_s;
        Self {
            outcome,
            cause,
            expected_failure: finished.expected_failure,
            message: finished.message,
            error_type: finished.error_type,
            details: finished.traceback,
            duration: duration_s.and_then(|it| Duration::try_from_secs_f64(it).ok()),
            sim_time_ns: finished.sim_time_ns.map(to_femtoseconds),
        }
    }

    /// Adds further words to the first line of the message.
    fn and(mut self, words: Option<String>) -> Self {
        if let (Some(message), Some(words)) = (&mut self.message, words) {
            let end = message.find('\n').unwrap_or(message.len());
            message.insert_str(end, &format!("; {words}"));
        }
        self
    }

    /// Adds where the testcase was when it reached its limit.
    pub(super) fn and_hang(self, hang: Option<&Hang>) -> Self {
        let Some(hang) = hang else {
            return self;
        };
        let mut verdict = self.and(hang.in_words());
        verdict.details = verdict.details.or_else(|| hang.details());
        verdict
    }
}

impl Trouble {
    /// Keeps the better of two reasons, the first of equals: an agent that failed does not explain
    /// what cocotb itself reported.
    pub(super) fn keep(kept: &mut Option<Self>, new: Self) {
        let agent_only = |trouble: &Self| matches!(trouble, Self::Agent(_));
        if kept
            .as_ref()
            .is_none_or(|old| agent_only(old) && !agent_only(&new))
        {
            *kept = Some(new);
        }
    }

    /// Returns the trouble that an event reports.
    pub(super) fn of(event: RunEvent) -> Option<Self> {
        match event {
            RunEvent::ModuleError(error) => Some(Self::Import(Exception {
                error_type: error.error_type,
                message: error.message,
                traceback: error.traceback,
            })),
            RunEvent::StartupError(error) => Some(Self::Startup(error)),
            RunEvent::RegressionError(error) => Some(Self::Regression(error)),
            RunEvent::AgentError(error) => Some(Self::Agent(error.in_words())),
            // A testcase that is not run here is run elsewhere, like any that is never mentioned.
            RunEvent::NotRun { .. }
            | RunEvent::Hello(_)
            | RunEvent::Listing { .. }
            | RunEvent::Listed { .. }
            | RunEvent::ListingFinished { .. }
            | RunEvent::TestcaseStarted { .. }
            | RunEvent::TestcaseFinished(_)
            | RunEvent::Missing { .. }
            | RunEvent::RegressionFinished { .. }
            | RunEvent::Serving { .. }
            | RunEvent::CannotServe { .. }
            | RunEvent::CheckpointReached { .. }
            | RunEvent::CheckpointMissed { .. }
            | RunEvent::CheckpointUsed {}
            | RunEvent::CheckpointCalled { .. }
            | RunEvent::CheckpointUnfit { .. }
            | RunEvent::Waiting(_) => None,
        }
    }

    /// Turns it into the verdict on a testcase that it kept from running.
    pub(super) fn verdict(&self) -> TestcaseVerdict {
        let (cause, message, exception) = match self {
            Self::Import(error) => {
                let words = format!(
                    "cannot be imported: {}: {}",
                    error.error_type, error.message
                );
                (Cause::Import, words, Some(error))
            }
            Self::Startup(error) => (Cause::Startup, error.message.clone(), Some(error)),
            Self::Regression(error) => (Cause::Startup, cocotb_failed(error), Some(error)),
            Self::Agent(words) => (Cause::Startup, words.clone(), None),
        };
        let mut verdict = TestcaseVerdict::ours(Outcome::Errored, cause, message);
        // What the message already names is not repeated.
        let names_type = !matches!(self, Self::Regression(_));
        verdict.error_type = exception
            .filter(|_| names_type)
            .map(|error| error.error_type.clone());
        verdict.details = exception.and_then(traceback);
        verdict
    }
}

/// Puts a failure of cocotb itself into words.
pub(super) fn cocotb_failed(error: &Exception) -> String {
    format!(
        "cocotb itself failed: {}: {}",
        error.error_type, error.message
    )
}

fn traceback(error: &Exception) -> Option<String> {
    Some(error.traceback.clone()).filter(|text| !text.is_empty())
}

impl Hang {
    /// Says where the testcase was, as the end of a sentence; `None` if that is not known.
    fn in_words(&self) -> Option<String> {
        let waiting = self.waiting.as_ref();
        let awaits = waiting.and_then(|it| Some((it.path.as_ref()?, it.line?)));
        let runs = self.own_frames().map(|it| (&it.path, it.line)).next();
        let trigger = waiting.and_then(|it| it.trigger.as_deref());
        let (mut words, place) = match (trigger, runs.or(awaits)) {
            (Some(_), _) => ("waits".to_owned(), awaits),
            (None, Some(place)) => ("Python code was running".to_owned(), Some(place)),
            (None, None) => {
                let words =
                    "no Python code ran: the testcase waits for a trigger that does not come";
                return self.is_outside_python().then(|| words.to_owned());
            }
        };
        // Writing to a string does not fail.
        if let Some((path, line)) = place {
            write!(words, " at {path}:{line}").ok();
        }
        if let Some(trigger) = trigger {
            write!(words, " for {trigger}").ok();
        }
        if let Some(ns) = waiting.and_then(|it| it.sim_time_ns).map(to_femtoseconds) {
            write!(words, ", at {ns} ns of simulated time").ok();
        }
        Some(words)
    }

    /// Says whether no Python code was running.
    pub(super) fn is_outside_python(&self) -> bool {
        self.stack.as_ref().is_some_and(Vec::is_empty)
    }

    /// Returns the frames of Python's stack that are not cocotb's.
    fn own_frames(&self) -> impl Iterator<Item = &StackFrame> {
        let frames = self.stack.iter().flatten();
        frames.filter(|frame| !is_machinery(&frame.path))
    }

    /// Returns what the testcase awaits and, if the user's code was running, Python's stack; as
    /// lines with the innermost frame first.
    pub(super) fn details(&self) -> Option<String> {
        let awaits = self.waiting.as_ref().map(|it| it.text.clone());
        let mut parts: Vec<String> = awaits.into_iter().filter(|it| !it.is_empty()).collect();
        if self.own_frames().next().is_some() {
            let mut stack = "Python's stack (most recent call first):".to_owned();
            for StackFrame {
                path,
                line,
                function,
            } in self.stack.iter().flatten()
            {
                write!(stack, "\n  File \"{path}\", line {line}, in {function}").ok();
            }
            parts.push(stack);
        }
        (!parts.is_empty()).then(|| parts.join("\n"))
    }
}

/// Judges a testcase.
pub(super) fn judge(facts: &Facts<'_>) -> TestcaseVerdict {
    with_hdl_error(before_hdl_errors(facts), facts)
}

/// Says whether an HDL error in the log would change the verdict: reading a log costs time.
pub(super) fn depends_on_hdl_errors(facts: &Facts<'_>) -> bool {
    hdl_role(&before_hdl_errors(facts), facts).is_some()
}

/// Judges a process that has ended by how it ended, whether all of its testcases were judged, and
/// what explains its exit status.
pub(super) fn process_verdict(
    end: ProcessEnd,
    is_all_judged: bool,
    reasons: StatusReasons,
) -> RunVerdict {
    match end {
        ProcessEnd::TimedOut => RunVerdict::TimedOut,
        ProcessEnd::Stopped(_) => RunVerdict::Cancelled,
        ProcessEnd::Lost => RunVerdict::Lost,
        ProcessEnd::Exited(Exit::Signal(_)) => RunVerdict::Crashed,
        ProcessEnd::Exited(exit)
            if is_all_judged && (exit.is_success() || reasons.explain(exit)) =>
        {
            RunVerdict::Completed
        }
        ProcessEnd::Exited(_) => RunVerdict::Incomplete,
    }
}

/// What an HDL error in the log means for a verdict.
enum HdlRole {
    /// It is the failure.
    Fails,
    /// It is what ended the simulation, as far as is known.
    Explains,
    /// It is additional information.
    Adds,
}

fn hdl_role(verdict: &TestcaseVerdict, facts: &Facts<'_>) -> Option<HdlRole> {
    let is_wanted = facts.fails_on_hdl_error && !verdict.expected_failure;
    match (verdict.outcome, verdict.cause) {
        (Outcome::Passed, _) if is_wanted => Some(HdlRole::Fails),
        (Outcome::Failed, Some(Cause::SimulationEnded)) => Some(HdlRole::Explains),
        (Outcome::Errored, Some(Cause::NoResult | Cause::Crashed | Cause::ExitStatus)) => {
            Some(HdlRole::Adds)
        }
        _ => None,
    }
}

fn with_hdl_error(verdict: TestcaseVerdict, facts: &Facts<'_>) -> TestcaseVerdict {
    let Some(line) = &facts.hdl_error else {
        return verdict;
    };
    // A testcase may print such a line itself, so this says how it is known.
    let reported = format!("an HDL error in the log: {line}");
    match hdl_role(&verdict, facts) {
        Some(HdlRole::Fails) => TestcaseVerdict {
            outcome: Outcome::Failed,
            cause: Some(Cause::HdlError),
            message: Some(reported),
            ..verdict
        },
        // cocotb knows only that it ended, and guesses why. What the HDL reported need not be why
        // it ended: an `$error` does not end it.
        Some(HdlRole::Explains) => TestcaseVerdict {
            message: Some(format!(
                "{reported}; the simulation ended before the testcase did"
            )),
            error_type: None,
            details: None,
            ..verdict
        },
        Some(HdlRole::Adds) => verdict.and(Some(reported)),
        None => verdict,
    }
}

fn before_hdl_errors(facts: &Facts<'_>) -> TestcaseVerdict {
    match (&facts.said, facts.end) {
        (Said::Judged(finished), None) => {
            with_trouble(TestcaseVerdict::of_cocotb((**finished).clone()), facts)
        }
        (Said::Judged(finished), Some(end)) => {
            last_of_process(TestcaseVerdict::of_cocotb((**finished).clone()), end, facts)
        }
        (Said::Missing, _) => TestcaseVerdict::ours(
            Outcome::Errored,
            Cause::NoResult,
            "it was listed, but its module no longer has it",
        ),
        (Said::Running, Some(end)) => cut_short(end, facts),
        (Said::NeverBegan, Some(end)) => never_begun(end, facts),
        (Said::Running | Said::NeverBegan, None) => {
            unreachable!("only the end of a process leaves a testcase so")
        }
    }
}

/// Adds cocotb's internal failure to the message and details of a testcase that did not pass.
fn with_trouble(mut verdict: TestcaseVerdict, facts: &Facts<'_>) -> TestcaseVerdict {
    let Some(Trouble::Regression(error)) = facts.trouble else {
        return verdict;
    };
    if verdict.outcome.is_good() {
        return verdict;
    }
    verdict.details = verdict.details.or_else(|| traceback(error));
    verdict.and(Some(cocotb_failed(error)))
}

/// Judges the last testcase by how its process ended.
fn last_of_process(
    verdict: TestcaseVerdict,
    end: ProcessEnd,
    facts: &Facts<'_>,
) -> TestcaseVerdict {
    if !verdict.outcome.is_good() {
        return with_trouble(verdict, facts);
    }
    let (outcome, cause, message) = match end {
        ProcessEnd::Exited(exit) if exit.is_success() || facts.reasons.explain(exit) => {
            return verdict;
        }
        ProcessEnd::Exited(exit) => (
            Outcome::Errored,
            Cause::ExitStatus,
            format!(
                "it passed, but the simulator {} afterwards",
                exit.in_words()
            ),
        ),
        ProcessEnd::TimedOut => (
            Outcome::TimedOut,
            Cause::Timeout,
            "it passed, but the simulator did not exit afterwards and was killed".to_owned(),
        ),
        // Its own result stands: nothing contradicts it.
        ProcessEnd::Stopped(_) | ProcessEnd::Lost => return verdict,
    };
    let verdict = TestcaseVerdict {
        outcome,
        cause: Some(cause),
        message: Some(message),
        // Those of a failure that was expected.
        error_type: None,
        details: None,
        // The time until it passed is not the time until it was killed.
        duration: verdict.duration.filter(|_| end != ProcessEnd::TimedOut),
        ..verdict
    };
    let why_not = match end {
        ProcessEnd::Exited(exit) => facts.reasons.why_not(exit),
        _ => None,
    };
    let verdict = verdict.and(why_not);
    with_trouble(verdict, facts).and_hang(facts.hang)
}

/// Judges the testcase that was running when the process ended.
fn cut_short(end: ProcessEnd, facts: &Facts<'_>) -> TestcaseVerdict {
    let verdict = match end {
        ProcessEnd::TimedOut => {
            let words = format!("exceeded its limit of {} s", facts.limit.as_secs_f64());
            TestcaseVerdict::ours(Outcome::TimedOut, Cause::Timeout, words).and_hang(facts.hang)
        }
        ProcessEnd::Stopped(reason) => TestcaseVerdict::ours(
            Outcome::NotRun,
            Cause::Session,
            format!("stopped while it ran: {}", stop_reason_in_words(reason)),
        ),
        ProcessEnd::Exited(exit @ Exit::Signal(_)) => TestcaseVerdict::ours(
            Outcome::Errored,
            Cause::Crashed,
            format!("the simulator {}", exit.in_words()),
        ),
        ProcessEnd::Exited(exit) => TestcaseVerdict::ours(
            Outcome::Errored,
            Cause::NoResult,
            format!("the simulator {} before it finished", exit.in_words()),
        ),
        ProcessEnd::Lost => unreachable!("a lost process decides nothing"),
    };
    with_trouble(verdict, facts)
}

/// Judges a testcase that never began and will not be tried again.
fn never_begun(end: ProcessEnd, facts: &Facts<'_>) -> TestcaseVerdict {
    if let ProcessEnd::Stopped(reason) = end {
        let words = format!("not started: {}", stop_reason_in_words(reason));
        return TestcaseVerdict::ours(Outcome::NotRun, Cause::Session, words);
    }
    if let Some(trouble) = facts.trouble {
        return trouble.verdict();
    }
    match end {
        ProcessEnd::TimedOut => {
            let limit = facts.limit.as_secs_f64();
            let words = format!("the simulator started no testcase within its limit of {limit} s");
            TestcaseVerdict::ours(Outcome::TimedOut, Cause::Timeout, words).and_hang(facts.hang)
        }
        ProcessEnd::Exited(exit) => {
            let cause = match exit {
                Exit::Signal(_) => Cause::Crashed,
                Exit::Code(_) => Cause::NoResult,
            };
            let words = format!(
                "the simulator {} before any testcase began",
                exit.in_words()
            );
            TestcaseVerdict::ours(Outcome::Errored, cause, words)
        }
        ProcessEnd::Stopped(_) | ProcessEnd::Lost => unreachable!("handled above"),
    }
}

/// Rounds away errors of binary fractions below the finest simulated time, a femtosecond.
fn to_femtoseconds(ns: f64) -> f64 {
    let rounded = (ns * 1e6).round() / 1e6;
    if rounded.is_finite() { rounded } else { ns }
}

/// Says why a session stops.
pub(super) fn stop_reason_in_words(reason: StopReason) -> String {
    match reason {
        StopReason::Signal(number) => {
            let name = nix::sys::signal::Signal::try_from(i32::from(number));
            name.map_or_else(
                |_| format!("signal {number}"),
                |name| name.as_str().to_owned(),
            )
        }
        StopReason::SessionLimit => "the session exceeded its limit".to_owned(),
    }
}

#[cfg(test)]
mod tests;
