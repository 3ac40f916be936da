//! The agent: our Python package that runs inside the simulator, as cocorun sees it.
//!
//! The package's sources stand in `agent/cocorun_agent`; they are part of this program and are
//! written once per build directory, under their digest. `docs/agent.md` is the protocol.

use crate::model::test::Seed;
use crate::model::test::TestModule;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;

/// The variable that names the request file.
pub const REQUEST_ENV: &str = "COCORUN_AGENT_REQUEST";
/// The variable that names the descriptor of the event pipe.
pub const EVENT_FD_ENV: &str = "COCORUN_AGENT_EVENT_FD";
/// The variable that names the descriptor of a server's socket.
pub const REQUEST_FD_ENV: &str = "COCORUN_AGENT_REQUEST_FD";
/// The protocol's number; an agent that speaks another one refuses to start.
pub const PROTOCOL: u32 = 1;

/// What the agent is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Run the testcases.
    Run,
    /// List the testcases of every module and end the simulation.
    List,
    /// Wait for requests and fork a child for each.
    Serve,
}

/// One testcase to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// Its module.
    pub module: TestModule,
    /// cocotb's name of it.
    pub testcase: String,
    /// Which of several of that name, from 0.
    pub occurrence: u32,
}

/// What one simulator process is asked for; written as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// What to do.
    pub mode: Mode,
    /// Where events go when the pipe cannot be used.
    pub event_file: Utf8PathBuf,
    /// Modules to import, in order.
    pub modules: Vec<TestModule>,
    /// Exactly these run; `None` means all.
    pub testcases: Option<Vec<Wanted>>,
    /// The run's seed.
    pub seed: Seed,
    /// Where cocotb writes its own report.
    pub results_file: Utf8PathBuf,
    /// For a server: the processors its children may run on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<usize>,
    /// For a server: modules to import before it forks, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preload: Vec<String>,
    /// The signal that has the process write Python's stack to its log, and go on.
    pub dump_signal: i32,
    /// The signal that has it write at once, where no Python code runs, what the testcase awaits.
    pub wait_signal: i32,
}

/// What a server is asked for: a request, and the surroundings of the child that serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForkRequest<'a> {
    /// The run's number, handed back in all events about it.
    pub run: u32,
    /// The child's working directory.
    pub cwd: &'a Utf8Path,
    /// Where its output goes.
    pub log: &'a Utf8Path,
    /// Its own variables.
    pub env: ForkEnv,
    /// A file that holds the [`Request`], which may be longer than a message.
    pub request_file: &'a Utf8Path,
}

/// How a child's environment differs from its server's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ForkEnv {
    /// Variables to set.
    pub set: BTreeMap<String, String>,
    /// Variables to take away.
    pub unset: Vec<String>,
}

/// One testcase as the agent lists it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ListedTestcase {
    /// cocotb's name.
    pub testcase: String,
    /// Which of several of that name, from 0.
    #[serde(default)]
    pub occurrence: u32,
    /// The file that defines it.
    pub file: Option<Utf8PathBuf>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// First line of its docstring.
    pub doc: Option<String>,
    /// Marked `skip=True`.
    pub skip: bool,
    /// cocotb's stage.
    pub stage: i64,
}

/// How cocotb judged a testcase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentOutcome {
    /// It passed, perhaps by failing as expected.
    Passed,
    /// It failed.
    Failed,
    /// It was skipped.
    Skipped,
    /// It could not be started.
    Errored,
}

/// One line from the agent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AgentEvent {
    /// cocotb is up.
    Hello {
        /// cocotb's version.
        cocotb: String,
        /// The simulator's own name.
        simulator: Option<String>,
        /// The process that speaks; another than the one started where the simulator's command is
        /// a script.
        pid: Option<u32>,
    },
    /// A module is about to be imported for listing.
    Listing {
        /// Which module.
        module: TestModule,
    },
    /// Every module was listed, or told why not.
    ListingFinished {},
    /// The testcases of a module.
    Listed {
        /// Which module.
        module: TestModule,
        /// In cocotb's order.
        testcases: Vec<ListedTestcase>,
    },
    /// A module cannot be imported.
    ModuleError {
        /// Which module.
        module: TestModule,
        /// The exception's type.
        error_type: String,
        /// Its message.
        message: String,
        /// The traceback.
        traceback: String,
    },
    /// A testcase begins.
    TestcaseStarted {
        /// Its module.
        module: TestModule,
        /// Its name.
        testcase: String,
        /// Which of several of that name, from 0.
        #[serde(default)]
        occurrence: u32,
        /// Size of the log then.
        log_offset: Option<u64>,
    },
    /// A testcase is judged.
    TestcaseFinished(Box<Finished>),
    /// A testcase of the request never began, since the simulation ended before.
    NotRun {
        /// Its module.
        module: TestModule,
        /// Its name.
        testcase: String,
        /// Which of several of that name, from 0.
        #[serde(default)]
        occurrence: u32,
        /// Why.
        message: Option<String>,
    },
    /// A testcase of the request does not exist.
    Missing {
        /// Its module.
        module: TestModule,
        /// Its name.
        testcase: String,
        /// Which of several of that name, from 0.
        #[serde(default)]
        occurrence: u32,
    },
    /// cocotb failed before any testcase.
    StartupError {
        /// The exception's type.
        error_type: String,
        /// Its message.
        message: String,
        /// The traceback.
        traceback: String,
    },
    /// The agent itself failed; verdicts then come from what else is known.
    AgentError {
        /// What happened.
        message: String,
    },
    /// cocotb has written `results.xml` and ends the simulation.
    RegressionFinished {},
}

/// A testcase with cocotb's judgement.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Finished {
    /// Its module.
    pub module: TestModule,
    /// Its name.
    pub testcase: String,
    /// Which of several of that name, from 0.
    #[serde(default)]
    pub occurrence: u32,
    /// The judgement.
    pub outcome: AgentOutcome,
    /// Whether it passed by failing as it should.
    #[serde(default)]
    pub expected_failure: bool,
    /// A stable word, see `docs/agent.md`.
    pub cause: Option<String>,
    /// One line.
    pub message: Option<String>,
    /// The exception's type.
    pub error_type: Option<String>,
    /// The traceback.
    pub traceback: Option<String>,
    /// Wall-clock seconds.
    pub duration_s: Option<f64>,
    /// Simulated nanoseconds.
    pub sim_time_ns: Option<f64>,
    /// Size of the log then.
    pub log_offset: Option<u64>,
}

/// The package's files: name below `cocorun_agent/`, and text.
pub const PACKAGE: &[(&str, &str)] = &[
    (
        "__init__.py",
        include_str!("agent/cocorun_agent/__init__.py"),
    ),
    ("boot.py", include_str!("agent/cocorun_agent/boot.py")),
    ("channel.py", include_str!("agent/cocorun_agent/channel.py")),
    ("child.py", include_str!("agent/cocorun_agent/child.py")),
    (
        "generators.py",
        include_str!("agent/cocorun_agent/generators.py"),
    ),
    (
        "interpreter.py",
        include_str!("agent/cocorun_agent/interpreter.py"),
    ),
    ("listing.py", include_str!("agent/cocorun_agent/listing.py")),
    ("output.py", include_str!("agent/cocorun_agent/output.py")),
    (
        "processes.py",
        include_str!("agent/cocorun_agent/processes.py"),
    ),
    (
        "rehearsal.py",
        include_str!("agent/cocorun_agent/rehearsal.py"),
    ),
    (
        "reporter.py",
        include_str!("agent/cocorun_agent/reporter.py"),
    ),
    ("request.py", include_str!("agent/cocorun_agent/request.py")),
    (
        "selection.py",
        include_str!("agent/cocorun_agent/selection.py"),
    ),
    ("serve.py", include_str!("agent/cocorun_agent/serve.py")),
    ("text.py", include_str!("agent/cocorun_agent/text.py")),
    ("v1.py", include_str!("agent/cocorun_agent/v1.py")),
    ("v2.py", include_str!("agent/cocorun_agent/v2.py")),
    ("waiting.py", include_str!("agent/cocorun_agent/waiting.py")),
];

/// The package's name, the folder its files belong in.
pub const PACKAGE_NAME: &str = "cocorun_agent";

impl AgentEvent {
    /// Returns which process greets, if this is a greeting.
    pub fn greeter(&self) -> Option<u32> {
        match self {
            Self::Hello { pid, .. } => *pid,
            _ => None,
        }
    }
}

/// Reads a line; `None` for an event this version does not know, which is no error.
pub fn read_event(line: &str) -> Option<AgentEvent> {
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the test looks at the sources themselves"
    )]
    fn every_file_of_the_package_is_part_of_the_program() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sim/agent/cocorun_agent");
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .expect("the package is there")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| {
                std::path::Path::new(name)
                    .extension()
                    .is_some_and(|end| end == "py")
            })
            .collect();
        names.sort_unstable();
        let packed: Vec<&str> = PACKAGE.iter().map(|(name, _)| *name).collect();
        assert_eq!(packed, names);
    }
}
