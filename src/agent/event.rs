//! Events from the agent: one JSON object per line, from a run, a listing or a fork server.

use crate::agent::request::PROTOCOL;
use crate::model::test::Checkpoint;
use crate::model::test::TestModule;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// How much of a line that cannot be read is shown, characters.
const SHOWN_CHARACTERS_MAX: usize = 120;

/// One testcase as the agent lists it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedTestcase {
    /// cocotb's name.
    pub testcase: String,
    /// Index among testcases of the same name, from 0.
    #[serde(default)]
    pub occurrence: u32,
    /// The module that cocotb names, if it is not the requested one.
    pub defined_in: Option<String>,
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
    /// Marked `expect_fail`.
    #[serde(default)]
    pub expect_fail: bool,
    /// Marked `expect_error`.
    #[serde(default)]
    pub expect_error: bool,
}

/// A testcase that a module defines and cocotb does not find.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnreachableTestcase {
    /// Its function, with the class that it is in.
    pub testcase: String,
    /// The file that defines it.
    pub file: Option<Utf8PathBuf>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// Where its name gets another meaning, if that is known.
    pub again_file: Option<Utf8PathBuf>,
    /// The line there, from 1.
    pub again_line: Option<u32>,
    /// Whether it is in a class, into which cocotb does not look.
    pub is_in_class: bool,
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

/// The sender of the events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// cocotb's version.
    pub cocotb: String,
    /// The simulator's own name.
    pub simulator: Option<String>,
    /// The simulator's own version.
    pub simulator_version: Option<String>,
    /// Python's version.
    pub python: Option<String>,
    /// The process that sends; not the one that was started if the simulator's command is a
    /// script.
    pub pid: Option<u32>,
    /// Size of the log at that time, bytes.
    pub log_offset: Option<u64>,
}

/// An exception.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// Its type.
    pub error_type: String,
    /// Its message, one line.
    pub message: String,
    /// The traceback; may be empty.
    pub traceback: String,
}

/// An exception that a module raised.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleException {
    /// Which module.
    pub module: TestModule,
    /// The exception's type.
    pub error_type: String,
    /// Its message, one line.
    pub message: String,
    /// The traceback; may be empty.
    pub traceback: String,
}

/// An error in the agent itself, or something it needs that this cocotb does not offer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentError {
    /// What it was doing.
    #[serde(rename = "where")]
    pub place: String,
    /// The exception's type; `Unsupported` if cocotb is missing something.
    pub error_type: String,
    /// Its message, one line.
    pub message: String,
    /// The traceback; may be empty.
    pub traceback: String,
}

impl AgentError {
    /// Returns what happened, as a sentence without a full stop.
    pub fn in_words(&self) -> String {
        format!(
            "the agent failed ({}): {}: {}",
            self.place, self.error_type, self.message
        )
    }
}

/// One line about a run or a listing.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum RunEvent {
    /// cocotb can be imported.
    Hello(Hello),
    /// A module is about to be imported for listing.
    Listing {
        /// Which module.
        module: TestModule,
        /// Size of the log at that time, bytes.
        log_offset: Option<u64>,
    },
    /// Every module was listed, or has an error.
    ListingFinished {
        /// Size of the log at that time, bytes.
        log_offset: Option<u64>,
    },
    /// The testcases of a module.
    Listed {
        /// Which module.
        module: TestModule,
        /// In cocotb's order.
        testcases: Vec<ListedTestcase>,
        /// What the module defines in addition, and never runs.
        #[serde(default)]
        unreachable: Vec<UnreachableTestcase>,
    },
    /// A module cannot be imported.
    ModuleError(ModuleException),
    /// A testcase begins.
    TestcaseStarted {
        /// Its module.
        module: TestModule,
        /// Its name.
        testcase: String,
        /// Index among testcases of the same name, from 0.
        #[serde(default)]
        occurrence: u32,
        /// The module that cocotb names, if it is not the requested one.
        defined_in: Option<String>,
        /// Size of the log at that time, bytes.
        log_offset: Option<u64>,
    },
    /// A testcase is judged.
    TestcaseFinished(Box<Finished>),
    /// A testcase of the request never began, because the simulation ended first.
    NotRun {
        /// Its module.
        module: TestModule,
        /// Its name.
        testcase: String,
        /// Index among testcases of the same name, from 0.
        #[serde(default)]
        occurrence: u32,
        /// The module that cocotb names, if it is not the requested one.
        defined_in: Option<String>,
        /// A stable identifier, see `docs/agent.md`.
        cause: String,
        /// Why.
        message: Option<String>,
    },
    /// A testcase of the request does not exist.
    Missing {
        /// Its module.
        module: TestModule,
        /// Its name.
        testcase: String,
        /// Index among testcases of the same name, from 0.
        #[serde(default)]
        occurrence: u32,
    },
    /// cocotb failed outside of any testcase.
    StartupError(Exception),
    /// cocotb's internal bookkeeping failed; it runs nothing more.
    RegressionError(Exception),
    /// The agent itself failed; verdicts then come from what else is known.
    AgentError(AgentError),
    /// cocotb has written `results.xml` and ends the simulation.
    RegressionFinished {
        /// Size of the log at that time, bytes.
        log_offset: Option<u64>,
    },
    /// A module's server, once it has listed the module: it accepts requests from now on.
    Serving {
        /// Its process.
        pid: u32,
    },
    /// The same: its testcases cannot be forked after their import, and it ends.
    CannotServe {
        /// Why.
        message: String,
    },
    /// A checkpoint function has returned.
    CheckpointReached {
        /// When, simulated nanoseconds.
        sim_time_ns: f64,
        /// Size of the log at that time, bytes.
        log_offset: Option<u64>,
    },
    /// The testcase was forked from a checkpoint and cannot be judged in this process, which ends.
    CheckpointMissed {
        /// Why, as a sentence without a full stop.
        reason: String,
        /// How many checkpoint functions it had called as expected.
        levels: usize,
    },
    /// The testcase was forked from a checkpoint and has made the calls that it stands for: what
    /// becomes of it in this process is its verdict.
    CheckpointUsed {},
    /// The testcase has called the checkpoint function that is known to fail; the process ends.
    CheckpointCalled {
        /// Which one.
        function: Checkpoint,
    },
    /// There is no such checkpoint function; the process ends.
    CheckpointUnfit {
        /// Why, as a sentence without a full stop.
        message: String,
        /// The traceback of its module's import, if that has failed.
        traceback: Option<String>,
    },
    /// The answer to [`STACK_SIGNAL`](crate::agent::request::STACK_SIGNAL): where the testcase is.
    Waiting(Awaited),
}

/// A testcase with cocotb's judgement.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    /// Its module.
    pub module: TestModule,
    /// Its name.
    pub testcase: String,
    /// Index among testcases of the same name, from 0.
    #[serde(default)]
    pub occurrence: u32,
    /// The module that cocotb names, if it is not the requested one.
    pub defined_in: Option<String>,
    /// The judgement.
    pub outcome: AgentOutcome,
    /// Whether it passed by failing as it should.
    #[serde(default)]
    pub expected_failure: bool,
    /// Whether what cocotb judged is that the simulation ended under it.
    #[serde(default)]
    pub simulation_ended: bool,
    /// A stable identifier, see `docs/agent.md`.
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
    /// The testcase's own seed in decimal: it may have some 160 bits.
    pub seed: Option<String>,
    /// The type of what it returned, if it passed and that is not `None`.
    pub returned: Option<String>,
    /// Size of the log at that time, bytes.
    pub log_offset: Option<u64>,
}

/// Where a testcase is, in answer to the signal.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Awaited {
    /// The trigger it awaits; `None` if it does not wait.
    pub trigger: Option<String>,
    /// The file of the user's innermost frame.
    pub path: Option<String>,
    /// The line there, from 1.
    pub line: Option<u32>,
    /// The function there.
    pub function: Option<String>,
    /// Simulated nanoseconds since the start.
    pub sim_time_ns: Option<f64>,
    /// The same for people, with more frames and the other tasks.
    pub text: String,
}

/// One line on a fork server's own channel.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerEvent {
    /// cocotb can be imported.
    Hello(Hello),
    /// Requests are accepted from now on.
    Serving {
        /// The server's process.
        pid: u32,
    },
    /// It cannot fork safely, and ends.
    CannotServe {
        /// Why.
        message: String,
    },
    /// A module of `preload` cannot be imported, or is not safe to have imported, before the fork.
    PreloadError(ModuleException),
    /// A child was forked.
    ChildStarted {
        /// The request's run.
        run: u32,
        /// Its process, which leads its own process group.
        pid: i32,
    },
    /// A child has ended and was reaped.
    ChildExited {
        /// The request's run.
        run: u32,
        /// Its process.
        pid: i32,
        /// As wait(2) returns it.
        status: i32,
        /// Processor time in user mode, its own subprocesses included.
        user_s: f64,
        /// Processor time in the kernel.
        system_s: f64,
        /// Its largest resident size.
        rss_kib_max: u64,
    },
    /// No child was made.
    Refused {
        /// The request's run, if the request could be read.
        run: Option<u32>,
        /// Why.
        message: String,
    },
    /// The server failed before it could serve.
    StartupError(Exception),
    /// The agent itself failed.
    AgentError(AgentError),
}

/// A line that is not an event of this protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// An unknown or malformed event, or not an event at all: a testcase wrote to the pipe, or a
    /// signal split a line.
    Line {
        /// What is wrong with it.
        error: String,
        /// Its beginning.
        line: String,
    },
    /// The agent's hello has another protocol number: none of its events can be trusted.
    Protocol(u32),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { error, line } => {
                write!(f, "an unreadable line from the agent ({error}): `{line}`")
            }
            Self::Protocol(theirs) => write!(
                f,
                "the agent speaks protocol {theirs}, and this cocorun {PROTOCOL}"
            ),
        }
    }
}

/// Reads a line of a run's or a listing's channel.
///
/// # Errors
/// It is not an event of this protocol.
pub fn read_run_event(line: &str) -> Result<RunEvent, Unreadable> {
    match read(line)? {
        RunEvent::Hello(hello) if hello.protocol != PROTOCOL => {
            Err(Unreadable::Protocol(hello.protocol))
        }
        event => Ok(event),
    }
}

/// Reads a line of a fork server's channel.
///
/// # Errors
/// It is not an event of this protocol.
pub fn read_server_event(line: &str) -> Result<ServerEvent, Unreadable> {
    match read(line)? {
        ServerEvent::Hello(hello) if hello.protocol != PROTOCOL => {
            Err(Unreadable::Protocol(hello.protocol))
        }
        event => Ok(event),
    }
}

fn read<T: DeserializeOwned>(line: &str) -> Result<T, Unreadable> {
    serde_json::from_str(line).map_err(|error| Unreadable::Line {
        error: error.to_string(),
        line: line.chars().take(SHOWN_CHARACTERS_MAX).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    /// Returns the names that an enumeration knows, from serde's own error about one it does not
    /// know.
    fn names<T: DeserializeOwned + fmt::Debug>() -> BTreeSet<String> {
        let error = serde_json::from_str::<T>(r#"{"event":"?"}"#).expect_err("no such event");
        let text = error.to_string();
        let (_, known) = text.split_once("expected one of ").expect("serde's words");
        let quoted = known.split('`').skip(1).step_by(2);
        quoted.map(str::to_owned).collect()
    }

    #[test]
    fn the_python_package_and_this_file_know_the_same_events() {
        let python: BTreeSet<String> = include_str!("cocorun_agent/events.py")
            .lines()
            .filter_map(|line| line.strip_prefix("def ")?.split_once('('))
            .filter(|(name, _)| !name.starts_with('_'))
            .map(|(name, _)| name.to_owned())
            .collect();
        let mut known = names::<RunEvent>();
        known.extend(names::<ServerEvent>());
        assert!(known.len() > 15, "{known:?}");
        assert_eq!(python, known);
    }

    #[test]
    fn events_are_made_in_one_file_of_the_package() {
        for (name, text) in crate::agent::package::PACKAGE {
            let makes = text.contains("\"event\"");
            assert_eq!(makes, *name == "events.py", "{name}");
        }
    }

    #[test]
    fn the_package_has_the_same_protocol_number() {
        let text = include_str!("cocorun_agent/__init__.py");
        assert!(text.contains(&format!("\nPROTOCOL = {PROTOCOL}\n")));
    }

    #[test]
    fn an_invalid_line_is_reported_with_the_reason() {
        for (line, words) in [
            ("", "EOF"),
            ("{\"event\":\"nove", "EOF"),
            (r#"{"event":"novel"}"#, "unknown variant `novel`"),
            (
                r#"{"event":"regression_finished","more":1}"#,
                "unknown field `more`",
            ),
            (
                r#"{"event":"listed","testcases":[]}"#,
                "missing field `module`",
            ),
        ] {
            let error = read_run_event(line).expect_err(line).to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
        let hello = r#"{"event":"hello","protocol":99,"cocotb":"2.1.0"}"#;
        assert_eq!(read_run_event(hello), Err(Unreadable::Protocol(99)));
        assert_eq!(read_server_event(hello), Err(Unreadable::Protocol(99)));
    }
}
