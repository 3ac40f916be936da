//! The one ordered stream of what happens in a session.
//!
//! Floor 1. `build` and `schedule` send events over one channel; `report` consumes them. They meet
//! nowhere else. Every report sees the same events in the same order. An event carries what a
//! report needs, so that no report reads files to understand one (logs excepted).

use crate::diagnostic::Diagnostic;
use crate::model::build::BuildName;
use crate::model::build::SimulatorName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Counts;
use crate::model::outcome::RunVerdict;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Seed;
use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;

use camino::Utf8PathBuf;
use std::time::Duration;

/// Numbers the runs of a session from 1, in the order they start.
pub type RunId = u32;

/// Numbers the places where runs happen, from 0; the smallest free one is taken.
pub type Slot = usize;

/// What a session is about to do.
#[derive(Clone, Debug)]
pub struct SessionStarted {
    /// Unique name of this call of cocorun.
    pub session_id: String,
    /// Wall-clock start, RFC 3339 in UTC.
    pub started_at: String,
    /// The `runner.toml` in use.
    pub config: Utf8PathBuf,
    /// How many runs or compiles may happen at once.
    pub jobs: usize,
    /// The seed of all runs that have none of their own.
    pub seed: Seed,
    /// How many builds are planned.
    pub builds: usize,
}

/// How a build came to be usable, or did not.
#[derive(Clone, Debug)]
pub enum BuildOutcome {
    /// This session compiled it.
    Built,
    /// It was there already, and nothing it depends on has changed.
    UpToDate,
    /// Another process compiled it while this session waited.
    BuiltElsewhere,
    /// It cannot be used.
    Failed(Box<Diagnostic>),
}

/// Another process that is making a build, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildHolder {
    /// Who it is, on which node.
    pub name: String,
    /// Since when, shortly; `None` where it did not say.
    pub since: Option<String>,
    /// Who it is, since when, and when it was last seen.
    pub words: String,
    /// What it is doing: the last line that its compiler said.
    pub doing: Option<String>,
}

/// How a session ended.
#[derive(Clone, Debug)]
pub struct SessionFinished {
    /// What the shell will see.
    pub exit_code: ExitCode,
    /// Testcases by outcome.
    pub counts: Counts,
    /// Builds that failed.
    pub builds_failed: usize,
    /// How many testcases the filters left out.
    pub deselected: usize,
    /// Wall-clock duration of the session.
    pub duration: Duration,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// First event of every session.
    SessionStarted(SessionStarted),
    /// A build is looked at: compiled, waited for, or found up to date.
    BuildStarted {
        /// Which.
        build: BuildName,
        /// With what.
        simulator: SimulatorName,
    },
    /// Another process holds the guard of this build; sent again while the wait lasts.
    BuildWaiting {
        /// Which.
        build: BuildName,
        /// Who holds it.
        holder: BuildHolder,
        /// For how long this session has waited.
        waited: Duration,
    },
    /// A build is decided.
    BuildFinished {
        /// Which.
        build: BuildName,
        /// How.
        outcome: BuildOutcome,
        /// Why it was not up to date: what changed, one line each (`--explain`).
        reasons: Vec<String>,
        /// How long it took, waiting included.
        duration: Duration,
        /// The compiler's log, where one was written.
        log: Option<Utf8PathBuf>,
    },
    /// cocotb listed the testcases of a module.
    ModuleListed {
        /// The build it runs on.
        build: BuildName,
        /// Which module.
        module: TestModule,
        /// The selected ones, in cocotb's order.
        selected: Vec<Testcase>,
        /// How many the filters left out.
        deselected: usize,
    },
    /// A simulator process starts.
    RunStarted {
        /// Which.
        run: RunId,
        /// Where.
        slot: Slot,
        /// On what.
        build: BuildName,
        /// With which testcases.
        testcases: Vec<TestcaseId>,
        /// Its own directory.
        dir: Utf8PathBuf,
        /// Why it was not forked from a server; `None` where it was.
        spawned_because: Option<String>,
    },
    /// A testcase starts within a run.
    TestcaseStarted {
        /// In which run.
        run: RunId,
        /// Where.
        slot: Slot,
        /// Which.
        testcase: TestcaseId,
    },
    /// A testcase has its verdict. Sent exactly once for every planned testcase.
    TestcaseFinished(Box<TestcaseResult>),
    /// A simulator process is gone, with everything it had started.
    RunFinished {
        /// Which.
        run: RunId,
        /// Where it was.
        slot: Slot,
        /// How it ended.
        verdict: RunVerdict,
        /// How long it lived.
        duration: Duration,
    },
    /// Something worth telling that is no verdict.
    Notice(Box<Diagnostic>),
    /// A signal or the session limit ends the session; running children are being killed.
    Stopping {
        /// Why, in words.
        reason: String,
    },
    /// Last event of every session.
    SessionFinished(SessionFinished),
}
