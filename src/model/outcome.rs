//! The outcomes of testcases and of runs: two levels that are never mixed.

use crate::model::test::Seed;
use crate::model::test::TestcaseId;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::time::Duration;

/// The outcome of one testcase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran to completion and reported so itself.
    Passed,
    /// It ran, and cocotb or the HDL reported a failure.
    Failed,
    /// It has no verdict of its own: crash, import error, lost result.
    Errored,
    /// It exceeded its wall-clock limit and was killed.
    TimedOut,
    /// It is marked skipped, or skipped itself.
    Skipped,
    /// The session ended (signal, session limit) before it could run.
    NotRun,
}

impl Outcome {
    /// Says whether a session with this outcome can still be a success.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Passed | Self::Skipped)
    }

    /// Returns the word shown in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::TimedOut => "timed out",
            Self::Skipped => "skipped",
            Self::NotRun => "not run",
        }
    }
}

/// Why an outcome is not `Passed`, as a stable identifier for tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// cocotb recorded a failure: an assertion or an exception.
    Test,
    /// The testcase passed although `expect_fail` or `expect_error` said otherwise.
    UnexpectedPass,
    /// The HDL printed `$error` although the testcase passed according to cocotb.
    HdlError,
    /// The simulation ended while the testcase ran: `$finish`, `$fatal`, `$stop`, no events left.
    SimulationEnded,
    /// The simulator was killed by a signal.
    Crashed,
    /// The simulator exited with a status that its results do not explain.
    ExitStatus,
    /// The test module could not be imported.
    Import,
    /// cocotb or the simulator failed before the first testcase (toplevel not found, library
    /// missing).
    Startup,
    /// The process ended and this testcase has no result.
    NoResult,
    /// The module has no testcase.
    NoTestcases,
    /// The testcase exceeded its wall-clock limit.
    Timeout,
    /// The build it needs failed.
    Build,
    /// The session was interrupted or exceeded its own limit.
    Session,
    /// It is marked skipped.
    Skip,
}

impl Cause {
    /// Returns the stable identifier for tools, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::UnexpectedPass => "unexpected-pass",
            Self::HdlError => "hdl-error",
            Self::SimulationEnded => "simulation-ended",
            Self::Crashed => "crashed",
            Self::ExitStatus => "exit-status",
            Self::Import => "import",
            Self::Startup => "startup",
            Self::NoResult => "no-result",
            Self::NoTestcases => "no-testcases",
            Self::Timeout => "timeout",
            Self::Build => "build",
            Self::Session => "session",
            Self::Skip => "skip",
        }
    }
}

/// The outcome of one attempt of a testcase, with everything that a report needs.
#[derive(Clone, Debug, PartialEq)]
pub struct TestcaseResult {
    /// Which testcase.
    pub id: TestcaseId,
    /// The verdict.
    pub outcome: Outcome,
    /// Why, unless it simply passed.
    pub cause: Option<Cause>,
    /// Whether the pass is an expected failure (`expect_fail`, `expect_error`).
    pub expected_failure: bool,
    /// One line that says what went wrong: the assertion message, or cocorun's own.
    pub message: Option<String>,
    /// The Python exception's type, if there was one.
    pub error_type: Option<String>,
    /// The Python traceback, or the last lines of the process's output.
    pub details: Option<String>,
    /// Wall-clock time of the testcase itself.
    pub duration: Duration,
    /// Simulated time it took, nanoseconds, if cocotb reported it.
    pub sim_time_ns: Option<f64>,
    /// The seed to pass to `--seed` to reproduce it.
    pub seed: Seed,
    /// Which attempt this was, from 1.
    pub attempt: u32,
    /// The run's own directory, unless nothing was started.
    pub run_dir: Option<Utf8PathBuf>,
    /// The run's log and the byte range in it that belongs to this testcase.
    pub log: Option<LogSpan>,
    /// The wave file, if one was written.
    pub waves: Option<Utf8PathBuf>,
    /// Where the testcase is defined.
    pub file: Option<Utf8PathBuf>,
    /// The line of its definition, from 1.
    pub line: Option<u32>,
}

/// A testcase that failed in a process of its own and passes after others in one simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderDependence {
    /// Which testcase.
    pub testcase: TestcaseId,
    /// The testcase of its module that ran directly before it when it passed.
    pub after: String,
    /// How many others ran before that one.
    pub earlier: usize,
    /// The directory of the run in which it passed.
    pub run_dir: Option<Utf8PathBuf>,
}

/// A part of a log file, in bytes; `end` is exclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpan {
    /// The log file.
    pub path: Utf8PathBuf,
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// How one simulator process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunVerdict {
    /// All of its testcases have a result, and its exit status agrees with them.
    Completed,
    /// It was killed because a testcase ran too long.
    TimedOut,
    /// It was killed by a signal.
    Crashed,
    /// It exited without results for all of its testcases, or with a status they do not explain.
    Incomplete,
    /// The session ended it.
    Cancelled,
    /// It was forked from a checkpoint that its testcase does not begin with, which runs again.
    CheckpointMissed,
    /// It ended together with its fork server, through no fault of its own; its testcases run again.
    Lost,
}

/// The number of testcases with each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// See [`Outcome::Passed`].
    pub passed: usize,
    /// See [`Outcome::Failed`].
    pub failed: usize,
    /// See [`Outcome::Errored`].
    pub errored: usize,
    /// See [`Outcome::TimedOut`].
    pub timed_out: usize,
    /// See [`Outcome::Skipped`].
    pub skipped: usize,
    /// See [`Outcome::NotRun`].
    pub not_run: usize,
}

impl Counts {
    /// Counts one more testcase.
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Errored => self.errored += 1,
            Outcome::TimedOut => self.timed_out += 1,
            Outcome::Skipped => self.skipped += 1,
            Outcome::NotRun => self.not_run += 1,
        }
    }

    /// Uncounts one testcase that was counted with this outcome.
    pub fn remove(&mut self, outcome: Outcome) {
        let number = match outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Failed => &mut self.failed,
            Outcome::Errored => &mut self.errored,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::Skipped => &mut self.skipped,
            Outcome::NotRun => &mut self.not_run,
        };
        *number = number.saturating_sub(1);
    }

    /// Returns these counts without a part of them.
    #[must_use]
    pub fn without(self, part: &Self) -> Self {
        Self {
            passed: self.passed.saturating_sub(part.passed),
            failed: self.failed.saturating_sub(part.failed),
            errored: self.errored.saturating_sub(part.errored),
            timed_out: self.timed_out.saturating_sub(part.timed_out),
            skipped: self.skipped.saturating_sub(part.skipped),
            not_run: self.not_run.saturating_sub(part.not_run),
        }
    }

    /// Returns how many testcases were counted.
    pub fn total(&self) -> usize {
        self.passed + self.bad() + self.skipped
    }

    /// Returns how many testcases keep the session from being a success.
    pub fn bad(&self) -> usize {
        self.failed + self.errored + self.timed_out + self.not_run
    }
}
