//! Requests to the agent.

use crate::model::test::Checkpoint;
use crate::model::test::Seed;
use crate::model::test::TestModule;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The variable that names the request file.
pub const REQUEST_ENV: &str = "COCORUN_AGENT_REQUEST";
/// The variable that names the descriptor of the event pipe.
pub const EVENT_FD_ENV: &str = "COCORUN_AGENT_EVENT_FD";
/// The variable that names the descriptor of a server's socket.
pub const REQUEST_FD_ENV: &str = "COCORUN_AGENT_REQUEST_FD";
/// Asks a simulator for Python's stack and for what its testcase awaits. Users' own code takes
/// SIGUSR1 more often.
pub const STACK_SIGNAL: i32 = libc::SIGUSR2;
/// Asks a simulator that is not in Python what its testcase awaits. Processes without a handler
/// ignore it.
pub const WAIT_SIGNAL: i32 = libc::SIGURG;

/// The version of the request and event format; both sides reject any other.
pub const PROTOCOL: u32 = 2;

/// The longest message to a server, bytes: it takes longer ones, but a short buffer costs it less.
pub const MESSAGE_BYTES_MAX: usize = 32 << 10;

/// The keys of a message that differ between the runs of one module.
const OF_ONE_RUN: [&str; 6] = [
    "cwd",
    "env",
    "event_file",
    "log",
    "results_file",
    "testcases",
];

/// What the agent has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Run the testcases.
    Run,
    /// List the testcases of every module and end the simulation.
    List,
    /// Wait for requests and fork a child for each.
    Serve,
    /// Wait for requests before a design is read, and fork a server of a build for each.
    Start,
    /// List the testcases of the one module, then wait for requests and fork a child for each.
    ServeModule,
    /// Run a checkpoint, then wait for requests and fork a child for each.
    ServeCheckpoint,
}

/// One testcase to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// Its module.
    pub module: TestModule,
    /// cocotb's name for it.
    pub testcase: String,
    /// Index among testcases of the same name, from 0.
    pub occurrence: u32,
}

/// The request to one simulator process; written as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// What to do.
    pub mode: Mode,
    /// Where events go if the pipe cannot be used.
    pub event_file: Utf8PathBuf,
    /// Modules to import, in order.
    pub modules: Vec<TestModule>,
    /// Exactly these run; `None` means all.
    pub testcases: Option<Vec<Wanted>>,
    /// The run's seed.
    pub seed: Seed,
    /// Where cocotb writes its own report.
    pub results_file: Utf8PathBuf,
    /// The folders that modules are imported from, in order, before everything else.
    pub paths: Vec<Utf8PathBuf>,
    /// Names that several files in these folders have, with the files: importing one is an error.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ambiguous: BTreeMap<String, Vec<Utf8PathBuf>>,
    /// For a server: the processors its children may run on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<usize>,
    /// For a server: modules to import before it forks, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preload: Vec<String>,
    /// Functions that run before testcases are forked, in the order in which these call them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<Checkpoint>,
    /// How many of these the process has run when it runs testcases or serves.
    #[serde(skip_serializing_if = "is_zero")]
    pub checkpoint_level: usize,
    /// Whether the next one is known to fail.
    #[serde(skip_serializing_if = "is_false")]
    pub checkpoint_failed: bool,
    /// VPI libraries that the simulator must have loaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vpi_libraries: Vec<Utf8PathBuf>,
    /// For a server: whether the program may contain code that has something to do when it ends.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_foreign_code: bool,
    /// Functions (`package.module:function`) to call once cocotb is initialised, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pygpi_users: Vec<String>,
    /// The signal upon which the process writes Python's stack to its log and continues.
    pub dump_signal: i32,
    /// The signal upon which it writes at once, if no Python code runs, what the testcase awaits.
    pub wait_signal: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(is_so: &bool) -> bool {
    !*is_so
}

/// A request to a server: a run's request, and the process environment of the child that serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForkRequest<'a> {
    /// The run's number, repeated in all events about it.
    pub run: u32,
    /// The child's working directory.
    pub cwd: &'a Utf8Path,
    /// Where its output goes.
    pub log: &'a Utf8Path,
    /// Its own environment variables.
    pub env: ForkEnv,
    /// A file with the [`Request`], where it is too long for a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_file: Option<&'a Utf8Path>,
    /// For the server of a build: the compiled design.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub design: Option<&'a Utf8Path>,
    /// The descriptor by which the simulator's command names the design.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub design_fd: Option<u32>,
}

impl ForkRequest<'_> {
    /// Returns a message with this and a run's request: one JSON object. Its first line has what
    /// differs from run to run, its number first; its second line what all runs of a module have in
    /// common.
    ///
    /// # Panics
    /// Never: strings, numbers and lists have a form in JSON.
    pub fn message(&self, request: &Request) -> String {
        const HAVE_A_FORM: &str = "strings, numbers and lists have a form in JSON";
        let mut own = BTreeMap::new();
        let mut common = BTreeMap::new();
        for value in [serde_json::to_value(self), serde_json::to_value(request)] {
            let Ok(Value::Object(fields)) = value else {
                unreachable!("{HAVE_A_FORM}")
            };
            for (key, value) in fields.into_iter().filter(|(key, _)| key != "run") {
                let is_own = OF_ONE_RUN.contains(&key.as_str());
                let part = if is_own { &mut own } else { &mut common };
                part.insert(key, value);
            }
        }
        let [own, common] = [own, common].map(|it| serde_json::to_string(&it).expect(HAVE_A_FORM));
        let (own, common) = (&own[1..own.len() - 1], &common[1..]);
        format!("{{\"run\":{},{own},\n{common}", self.run)
    }
}

/// How a child's environment differs from its server's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ForkEnv {
    /// Variables to set.
    pub set: BTreeMap<String, String>,
    /// Variables to remove.
    pub unset: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(run: u32) -> String {
        let path = |name: &str| Utf8PathBuf::from(format!("/runs/{run}/{name}"));
        let request = Request {
            protocol: PROTOCOL,
            mode: Mode::Run,
            event_file: path("events"),
            modules: Vec::new(),
            testcases: Some(Vec::new()),
            seed: Seed(7),
            results_file: path("results"),
            paths: vec![Utf8PathBuf::from("/a\nb")],
            ambiguous: BTreeMap::new(),
            cpus: Vec::new(),
            preload: Vec::new(),
            checkpoints: Vec::new(),
            checkpoint_level: 0,
            checkpoint_failed: false,
            vpi_libraries: Vec::new(),
            has_foreign_code: false,
            pygpi_users: Vec::new(),
            dump_signal: STACK_SIGNAL,
            wait_signal: WAIT_SIGNAL,
        };
        let own = ForkRequest {
            run,
            cwd: &path("."),
            log: &path("log"),
            env: ForkEnv {
                set: BTreeMap::from([("COCORUN_RUN_ID".to_owned(), run.to_string())]),
                unset: Vec::new(),
            },
            request_file: None,
            design: None,
            design_fd: None,
        };
        own.message(&request)
    }

    #[test]
    fn a_message_is_one_object_whose_second_line_all_runs_of_a_module_share() {
        let (one, other) = (message(1), message(23));
        let lines = [&one, &other].map(|it| it.split_once('\n').expect("two lines"));
        assert_eq!(lines[0].1, lines[1].1);
        assert!(lines[1].0.starts_with("{\"run\":23,"), "{other}");
        let read: Value = serde_json::from_str(&other).expect("JSON");
        assert_eq!(read["results_file"], "/runs/23/results");
        assert_eq!(read["paths"][0], "/a\nb");
    }
}
