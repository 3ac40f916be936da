//! What happens in a session: one type per kind of event.

use crate::diagnostic::Diagnostic;
use crate::model::build::BuildName;
use crate::model::build::SimulatorName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Counts;
use crate::model::outcome::OrderDependence;
use crate::model::outcome::RunVerdict;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Checkpoint;
use crate::model::test::Seed;
use crate::model::test::TestModule;
use crate::model::test::TestVariant;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::time::Duration;

/// Numbers the runs of a session from 1, in the order they start.
pub type RunId = u32;

/// Numbers the places where runs happen, from 0; the smallest free one is taken.
pub type Slot = usize;

/// The command that a session carries out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionCommand {
    /// `cocorun test`: every listed testcase gets a verdict.
    #[default]
    Test,
    /// `cocorun build`: there are no testcases.
    Build,
    /// `cocorun list`: testcases are listed and not run.
    List,
}

/// What a session is about to do.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionStarted {
    /// Version of cocorun.
    pub cocorun: String,
    /// Unique name of this call of cocorun.
    pub session_id: String,
    /// What it was called for.
    pub command: SessionCommand,
    /// The name of the machine.
    pub host: String,
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
    /// How many test modules are planned; a module on two builds counts twice.
    pub modules: usize,
    /// How a command that repeats one of its testcases begins: `cocorun test`, with the options that
    /// matter; quoted for a shell.
    pub rerun_prefix: String,
}

/// How a build came to be usable, or did not.
#[derive(Clone, Debug, PartialEq)]
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

/// Another process that holds a build's lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildHolder {
    /// Who it is, on which node.
    pub name: String,
    /// Since when, in short form; `None` if unknown.
    pub since: Option<String>,
    /// Who it is, since when, and when it was last seen.
    pub words: String,
    /// What it is doing: the last line that its compiler printed.
    pub doing: Option<String>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq)]
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

/// How the process of a run was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOrigin {
    /// Why it was not forked from a server; `None` where it was.
    pub spawned_because: Option<String>,
    /// The checkpoint from whose end it was forked; `None` where it was not.
    pub checkpoint: Option<Checkpoint>,
    /// Why it was not forked from the end of its table's checkpoint, or of the last of several;
    /// `None` where it was, or there is none.
    pub checkpoint_unused_because: Option<String>,
}

/// A checkpoint that has run.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointReached {
    /// The build it ran on.
    pub build: BuildName,
    /// Which one.
    pub checkpoint: Checkpoint,
    /// How long it took, with the start of its process.
    pub duration: Duration,
    /// When it was over, simulated nanoseconds.
    pub sim_time_ns: f64,
    /// What it has written.
    pub log: Utf8PathBuf,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// First event of every session.
    SessionStarted(SessionStarted),
    /// A build is checked, and compiled or waited for if necessary.
    BuildStarted {
        /// Which one.
        build: BuildName,
        /// With what.
        simulator: SimulatorName,
    },
    /// Another process holds the lock of this build; repeated while the wait lasts.
    BuildWaiting {
        /// Which one.
        build: BuildName,
        /// Who holds it.
        holder: BuildHolder,
        /// For how long this session has waited.
        waited: Duration,
    },
    /// A step of a build begins to run here. One that is up to date has no events, nor has one that
    /// another process runs.
    StepStarted {
        /// Its name; `prepare` for that of a build's own.
        step: String,
        /// The build that asked for it first.
        build: BuildName,
    },
    /// A step that began here has ended.
    StepFinished {
        /// Its name.
        step: String,
        /// The build that asked for it first.
        build: BuildName,
        /// Whether it wrote what it must; if not, the build has failed for that reason.
        is_done: bool,
        /// Why it ran: what changed, one line each (`--explain`).
        reasons: Vec<String>,
        /// How long it took.
        duration: Duration,
        /// What its commands have printed.
        log: Utf8PathBuf,
    },
    /// A build is decided.
    BuildFinished {
        /// Which one.
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
        /// Which of its runs on the build, if there can be several.
        variant: Option<TestVariant>,
        /// The selected ones, in cocotb's order.
        selected: Vec<Testcase>,
        /// How many the filters left out.
        deselected: usize,
        /// Why each of its runs imports it again instead of being forked after the import; `None`
        /// where none does, or nothing is forked.
        reimported_because: Option<String>,
    },
    /// A simulator process starts.
    RunStarted {
        /// Which one.
        run: RunId,
        /// Where.
        slot: Slot,
        /// On what.
        build: BuildName,
        /// With which testcases.
        testcases: Vec<TestcaseId>,
        /// Its own directory.
        dir: Utf8PathBuf,
        /// How it was started.
        origin: RunOrigin,
    },
    /// A checkpoint has run, once for all testcases that are forked from its end.
    CheckpointReached(CheckpointReached),
    /// A testcase starts within a run.
    TestcaseStarted {
        /// In which run.
        run: RunId,
        /// Where.
        slot: Slot,
        /// Which one.
        testcase: TestcaseId,
    },
    /// A testcase has a result. Sent exactly once for every attempt of every planned testcase; the
    /// last attempt is the verdict.
    TestcaseFinished(Box<TestcaseResult>),
    /// A testcase that failed alone passes after others; its result stands.
    OrderDependence(OrderDependence),
    /// A simulator process is gone, with everything it had started.
    RunFinished {
        /// Which one.
        run: RunId,
        /// Where it was.
        slot: Slot,
        /// How it ended.
        verdict: RunVerdict,
        /// How long it lived.
        duration: Duration,
    },
    /// An error or warning that is not the verdict of a testcase.
    Notice(Box<Diagnostic>),
    /// A signal or the session limit ends the session; running children are being killed.
    Stopping {
        /// Why, in words.
        reason: String,
    },
    /// Last event of every session.
    SessionFinished(SessionFinished),
}
