//! One line of the NDJSON form of the stream: the types that it is written from and read into.
//!
//! Public interface, documented in `docs/json-events.md`. Fields are added, never renamed, removed
//! or given another meaning; a change that is not additive raises [`SCHEMA`]. That is why these
//! types are apart from the events themselves: a change of an internal type cannot alter them.
//!
//! Some fields follow from others and are written for the reader's convenience (`id`, `code`,
//! `exit`); reading ignores them. A field that was added later has a default, so that older
//! recordings can be read.

use crate::event::kinds::SessionCommand;
use crate::model::build::BuildName;
use crate::model::build::SimulatorName;
use crate::model::outcome::Cause;
use crate::model::outcome::Counts;
use crate::model::outcome::LogSpan;
use crate::model::outcome::Outcome;
use crate::model::outcome::RunVerdict;
use crate::model::test::Checkpoint;
use crate::model::test::Seed;
use crate::model::test::TestModule;
use crate::model::test::TestVariant;

use camino::Utf8Path;
use serde::Deserialize;
use serde::Serialize;
use std::borrow::Cow;

/// The version of the format, in the first object of every stream.
pub const SCHEMA: u32 = 1;

/// One object of the stream; the tag names the event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Line<'a> {
    SessionStarted(SessionStartedLine<'a>),
    BuildStarted {
        elapsed_s: f64,
        build: Cow<'a, BuildName>,
        simulator: SimulatorName,
    },
    BuildWaiting(BuildWaitingLine<'a>),
    StepStarted {
        elapsed_s: f64,
        step: Cow<'a, str>,
        build: Cow<'a, BuildName>,
    },
    StepFinished(StepFinishedLine<'a>),
    BuildFinished(BuildFinishedLine<'a>),
    ModuleListed(ModuleListedLine<'a>),
    RunStarted(RunStartedLine<'a>),
    CheckpointReached(CheckpointReachedLine<'a>),
    TestcaseStarted {
        elapsed_s: f64,
        run: u32,
        slot: usize,
        testcase: Identity<'a>,
    },
    TestcaseFinished(Box<TestcaseFinishedLine<'a>>),
    OrderDependence(OrderDependenceLine<'a>),
    RunFinished {
        elapsed_s: f64,
        run: u32,
        slot: usize,
        verdict: RunVerdict,
        duration_s: f64,
    },
    Notice {
        elapsed_s: f64,
        problem: Problem<'a>,
    },
    Stopping {
        elapsed_s: f64,
        reason: Cow<'a, str>,
    },
    SessionFinished(SessionFinishedLine<'a>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SessionStartedLine<'a> {
    pub(super) elapsed_s: f64,
    pub(super) schema: u32,
    pub(super) cocorun: Cow<'a, str>,
    pub(super) session_id: Cow<'a, str>,
    #[serde(default)]
    pub(super) command: SessionCommand,
    #[serde(default)]
    pub(super) host: Cow<'a, str>,
    pub(super) started_at: Cow<'a, str>,
    pub(super) config: Cow<'a, Utf8Path>,
    pub(super) jobs: usize,
    pub(super) seed: Seed,
    pub(super) builds: usize,
    #[serde(default)]
    pub(super) modules: usize,
    #[serde(default = "cocorun_test")]
    pub(super) rerun_prefix: Cow<'a, str>,
}

fn cocorun_test<'a>() -> Cow<'a, str> {
    Cow::Borrowed("cocorun test")
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BuildWaitingLine<'a> {
    pub(super) elapsed_s: f64,
    pub(super) build: Cow<'a, BuildName>,
    pub(super) holder: Cow<'a, str>,
    #[serde(default)]
    pub(super) holder_name: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) holder_since: Option<Cow<'a, str>>,
    pub(super) doing: Option<Cow<'a, str>>,
    pub(super) waited_s: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StepFinishedLine<'a> {
    pub(super) elapsed_s: f64,
    pub(super) step: Cow<'a, str>,
    pub(super) build: Cow<'a, BuildName>,
    pub(super) outcome: StepOutcomeWord,
    pub(super) duration_s: f64,
    pub(super) reasons: Cow<'a, [String]>,
    pub(super) log: Cow<'a, Utf8Path>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StepOutcomeWord {
    Done,
    Failed,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BuildFinishedLine<'a> {
    pub(super) elapsed_s: f64,
    pub(super) build: Cow<'a, BuildName>,
    pub(super) outcome: BuildOutcomeWord,
    pub(super) duration_s: f64,
    pub(super) reasons: Cow<'a, [String]>,
    pub(super) log: Option<Cow<'a, Utf8Path>>,
    pub(super) problem: Option<Problem<'a>>,
}

/// How a build ended, without the problem.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BuildOutcomeWord {
    Built,
    UpToDate,
    BuiltElsewhere,
    Failed,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ModuleListedLine<'a> {
    pub(super) elapsed_s: f64,
    pub(super) build: Cow<'a, BuildName>,
    pub(super) module: Cow<'a, TestModule>,
    #[serde(default)]
    pub(super) variant: Option<Cow<'a, TestVariant>>,
    pub(super) selected: Vec<ListedLine<'a>>,
    pub(super) deselected: usize,
    #[serde(default)]
    pub(super) reimported_because: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunStartedLine<'a> {
    pub(super) elapsed_s: f64,
    pub(super) run: u32,
    pub(super) slot: usize,
    pub(super) build: Cow<'a, BuildName>,
    pub(super) testcases: Vec<Identity<'a>>,
    pub(super) dir: Cow<'a, Utf8Path>,
    pub(super) spawned_because: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) checkpoint: Option<Cow<'a, Checkpoint>>,
    #[serde(default)]
    pub(super) checkpoint_unused_because: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CheckpointReachedLine<'a> {
    pub(super) elapsed_s: f64,
    pub(super) build: Cow<'a, BuildName>,
    pub(super) checkpoint: Cow<'a, Checkpoint>,
    pub(super) duration_s: f64,
    pub(super) sim_time_ns: f64,
    pub(super) log: Cow<'a, Utf8Path>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TestcaseFinishedLine<'a> {
    pub(super) elapsed_s: f64,
    pub(super) testcase: Identity<'a>,
    pub(super) outcome: Outcome,
    pub(super) cause: Option<Cause>,
    #[serde(default)]
    pub(super) code: Option<Cow<'a, str>>,
    pub(super) expected_failure: bool,
    pub(super) message: Option<Cow<'a, str>>,
    pub(super) error_type: Option<Cow<'a, str>>,
    pub(super) details: Option<Cow<'a, str>>,
    pub(super) duration_s: f64,
    pub(super) sim_time_ns: Option<f64>,
    pub(super) seed: Seed,
    pub(super) attempt: u32,
    pub(super) run_dir: Option<Cow<'a, Utf8Path>>,
    pub(super) log: Option<Cow<'a, LogSpan>>,
    pub(super) waves: Option<Cow<'a, Utf8Path>>,
    pub(super) file: Option<Cow<'a, Utf8Path>>,
    pub(super) line: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OrderDependenceLine<'a> {
    pub(super) elapsed_s: f64,
    pub(super) testcase: Identity<'a>,
    pub(super) after: Cow<'a, str>,
    pub(super) earlier: usize,
    pub(super) run_dir: Option<Cow<'a, Utf8Path>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SessionFinishedLine<'a> {
    pub(super) elapsed_s: f64,
    pub(super) exit_code: u8,
    #[serde(default)]
    pub(super) exit: Cow<'a, str>,
    pub(super) counts: Counts,
    pub(super) builds_failed: usize,
    pub(super) deselected: usize,
    pub(super) duration_s: f64,
}

/// A testcase's identity; `id` joins the others.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Identity<'a> {
    #[serde(default)]
    pub(super) id: String,
    pub(super) build: Cow<'a, BuildName>,
    pub(super) module: Cow<'a, TestModule>,
    #[serde(default)]
    pub(super) variant: Option<Cow<'a, TestVariant>>,
    pub(super) testcase: Cow<'a, str>,
}

/// A testcase as it was listed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ListedLine<'a> {
    #[serde(default)]
    pub(super) id: String,
    pub(super) build: Cow<'a, BuildName>,
    pub(super) module: Cow<'a, TestModule>,
    #[serde(default)]
    pub(super) variant: Option<Cow<'a, TestVariant>>,
    pub(super) testcase: Cow<'a, str>,
    #[serde(default)]
    pub(super) occurrence: u32,
    pub(super) file: Option<Cow<'a, Utf8Path>>,
    pub(super) line: Option<u32>,
    pub(super) doc: Option<Cow<'a, str>>,
    pub(super) skip: bool,
    pub(super) stage: i64,
}

/// A problem with its code.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Problem<'a> {
    pub(super) severity: SeverityWord,
    pub(super) code: Cow<'a, str>,
    pub(super) message: Cow<'a, str>,
    pub(super) place: Option<Place<'a>>,
    pub(super) facts: Cow<'a, [String]>,
    pub(super) help: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) log: Option<Cow<'a, Utf8Path>>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SeverityWord {
    Error,
    Warning,
}

/// A place in a file; line and column count from 1, the column in characters.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Place<'a> {
    pub(super) path: Cow<'a, Utf8Path>,
    pub(super) line: usize,
    pub(super) column: usize,
    /// How many characters are marked, a line feed counting as one.
    #[serde(default)]
    pub(super) length: usize,
    /// The lines that the marked characters are part of.
    #[serde(default)]
    pub(super) text: Cow<'a, str>,
    pub(super) label: Cow<'a, str>,
}
