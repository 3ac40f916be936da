//! Sessions with a fake clock and fake processes: limits pass without waiting, and an agent sends
//! what a real one never would.

use crate::agent::request::PROTOCOL;
use crate::build::ensure::Origin;
use crate::build::ensure::Ready;
use crate::config;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::clock::SystemClock;
use crate::edge::edges::Edges;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::edge::interrupt::Interrupt;
use crate::edge::jobs::JobPool;
use crate::edge::process::CommandSpec;
use crate::edge::process::Exit;
use crate::edge::process::Process;
use crate::edge::process::ProcessEvent;
use crate::edge::process::ProcessHost;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::model::build::Build;
use crate::model::build::BuiltDesign;
use crate::model::build::SimulatorName;
use crate::model::outcome::Cause;
use crate::model::outcome::Outcome;
use crate::model::outcome::RunVerdict;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Seed;
use crate::model::tool::CocotbVersion;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;
use crate::plan;
use crate::plan::TestcaseChoice;
use crate::schedule::fixture::design;
use crate::schedule::session;
use crate::sim::registry::Registry;
use crate::sim::tools::InstalledSimulator;
use crate::sim::tools::Tools;

use camino::Utf8Path;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// `timeout_s` of every session here.
const LIMIT: Duration = Duration::from_secs(60);

/// A clock that stands still until something waits on it.
struct FakeClock {
    began: Instant,
    passed: Mutex<Duration>,
}

impl FakeClock {
    fn new() -> Self {
        Self {
            began: SystemClock.now(),
            passed: Mutex::default(),
        }
    }

    fn passed(&self) -> Duration {
        *self.passed.lock().expect("no thread has panicked")
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Instant {
        self.began + self.passed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.passed()
    }

    fn sleep(&self, duration: Duration) {
        *self.passed.lock().expect("no thread has panicked") += duration;
    }
}

/// What a fake simulator does.
#[derive(Clone, Copy)]
struct Script {
    lines: &'static [&'static str],
    /// Whether it exits after its lines; else it hangs.
    exits: bool,
    /// What it writes while it hangs, a line each second; once it is asked where it hangs, many
    /// lines at once.
    babbles: Option<&'static str>,
}

/// Lists one testcase, `t` of module `m`.
const LISTS: Script = Script {
    lines: &[
        r#"{"event":"listing","module":"m"}"#,
        r#"{"event":"listed","module":"m","testcases":[{"testcase":"t","skip":false,"stage":0}]}"#,
        r#"{"event":"listing_finished"}"#,
    ],
    exits: true,
    babbles: None,
};

const STARTED: &str = r#"{"event":"testcase_started","module":"m","testcase":"t"}"#;
const PASSED: &str =
    r#"{"event":"testcase_finished","module":"m","testcase":"t","outcome":"passed"}"#;

/// How many lines a babbling process has written when it is asked where it hangs.
const FLOOD_LINES: u32 = 1_000_000;

/// Not a line: the session is stopped (SIGSTOP) and goes on when two limits have passed.
const SESSION_SLEEPS: &str = "the session sleeps";

struct FakeHost {
    clock: Arc<FakeClock>,
    interrupt: Interrupt,
    listing: Script,
    run: Script,
}

impl ProcessHost for FakeHost {
    fn spawn(&self, spec: &CommandSpec) -> crate::edge::Result<Box<dyn Process>> {
        let request = fs::read_text(Utf8Path::new(&spec.env["COCORUN_AGENT_REQUEST"]))?;
        let is_listing = request.contains(r#""mode":"list""#);
        let script = if is_listing { self.listing } else { self.run };
        Ok(Box::new(FakeProcess {
            clock: Arc::clone(&self.clock),
            interrupt: self.interrupt.clone(),
            lines: script.lines.iter().copied().collect(),
            script,
            flood_lines: 0,
        }))
    }
}

struct FakeProcess {
    clock: Arc<FakeClock>,
    interrupt: Interrupt,
    lines: VecDeque<&'static str>,
    script: Script,
    /// Lines of a flood that are not read yet; reading one takes a millisecond.
    flood_lines: u32,
}

impl Process for FakeProcess {
    fn next_event_to_the_end(&mut self) -> Option<ProcessEvent> {
        self.next_event(None)
    }

    fn id(&self) -> u32 {
        1
    }

    fn next_event(&mut self, limit: Option<Duration>) -> Option<ProcessEvent> {
        while let Some(line) = self.lines.pop_front() {
            if line != SESSION_SLEEPS {
                return Some(ProcessEvent::Line(line.to_owned()));
            }
            self.clock.sleep(LIMIT * 2);
        }
        if self.script.exits {
            return Some(ProcessEvent::Exited(Exit::Code(0)));
        }
        if let Some(reason) = self.interrupt.raised() {
            return Some(ProcessEvent::Stop(reason));
        }
        if self.flood_lines > 0 {
            self.flood_lines -= 1;
            self.clock.sleep(Duration::from_millis(1));
            return Some(ProcessEvent::Line("flood".to_owned()));
        }
        if let Some(line) = self.script.babbles
            && limit != Some(Duration::ZERO)
        {
            self.clock.sleep(Duration::from_secs(1));
            return Some(ProcessEvent::Line(line.to_owned()));
        }
        self.clock
            .sleep(limit.expect("every wait here has a limit"));
        None
    }

    fn signal(&mut self, _number: i32) -> bool {
        self.flood_lines = self.script.babbles.map_or(0, |_| FLOOD_LINES);
        true
    }

    fn end_tree(&mut self, _grace: Duration, _lines: &mut Vec<String>) -> Exit {
        Exit::Signal(9)
    }
}

fn tools() -> Tools {
    let python = PythonEnv {
        interpreter: "/v/bin/python".into(),
        prefix: "/v".into(),
        python_version: "3.11.7".to_owned(),
        cocotb: CocotbVersion::parse("2.1.0").expect("a version"),
        libs_dir: "/v/libs".into(),
        share_dir: "/v/share".into(),
        libpython: "/v/libpython.so".into(),
        simulator_extension: Some("/v/simulator.so".into()),
        packages: BTreeMap::new(),
        distributions: BTreeMap::new(),
    };
    let name = SimulatorName("icarus".to_owned());
    let tool = SimulatorTool {
        simulator: name.clone(),
        compiler: "/bin/iverilog".into(),
        runtime: Some("/bin/vvp".into()),
        env: BTreeMap::new(),
        version: "Icarus Verilog version 11.0".to_owned(),
        identity: "none".to_owned(),
        helpers: BTreeMap::new(),
    };
    let registry = Registry::builtin();
    let simulator = registry.get("icarus").expect("it is built in");
    let simulator = Arc::clone(simulator);
    Tools {
        python,
        simulators: BTreeMap::from([(name, InstalledSimulator { simulator, tool })]),
    }
}

/// A finished session.
struct Ended {
    events: Vec<Event>,
    /// How long it took by the fake clock.
    took: Duration,
}

impl Ended {
    /// Returns the one result.
    fn result(&self) -> &TestcaseResult {
        let results = self.events.iter().filter_map(|event| match event {
            Event::TestcaseFinished(result) => Some(&**result),
            _ => None,
        });
        let results: Vec<&TestcaseResult> = results.collect();
        let [result] = results.as_slice() else {
            panic!("one result: {:#?}", self.events);
        };
        result
    }

    fn notices(&self) -> Vec<&Diagnostic> {
        let notices = self.events.iter().filter_map(|event| match event {
            Event::Notice(problem) => Some(&**problem),
            _ => None,
        });
        notices.collect()
    }

    #[track_caller]
    fn expect(&self, outcome: Outcome, cause: Cause, message: &str) {
        let result = self.result();
        assert_eq!((result.outcome, result.cause), (outcome, Some(cause)));
        assert_eq!(result.message.as_deref(), Some(message));
    }
}

/// Runs a session over one module with these simulators, and a limit of its own.
fn session(listing: Script, run: Script, session_limit: Option<Duration>) -> Ended {
    let ready = |build: &Build| {
        Ok(Ready {
            warnings: Vec::new(),
            design: BuiltDesign {
                name: build.name.clone(),
                ..design("b")
            },
            origin: Origin::UpToDate,
            reasons: Vec::new(),
            log: "/design/build.log".into(),
        })
    };
    session_on(&ready, listing, run, session_limit)
}

/// Runs a session whose build has this result.
fn session_on(
    ensure: &(dyn Fn(&Build) -> Result<Ready> + Send + Sync),
    listing: Script,
    run: Script,
    session_limit: Option<Duration>,
) -> Ended {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = Utf8Path::from_path(dir.path()).expect("UTF-8");
    let toml = dir.join("runner.toml");
    let text = format!(
        "[build.b]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\
         [[test]]\ntest_module = \"m\"\nfork = false\ntimeout_s = {}\n",
        LIMIT.as_secs()
    );
    fs::write(&toml, text).expect("a written file");
    fs::write(&dir.join("top.sv"), "module top; endmodule\n").expect("a written file");
    let plan =
        plan::expand(&config::load(&toml, &Registry::builtin()).expect("a good runner.toml"));
    let clock = Arc::new(FakeClock::new());
    let interrupt = Interrupt::new().expect("a pipe");
    let host = FakeHost {
        clock: Arc::clone(&clock),
        interrupt: interrupt.clone(),
        listing,
        run,
    };
    let pool = JobPool::new(1, None, interrupt.clone()).expect("a pool");
    let edges = Edges {
        host: Arc::new(host),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..Edges::of_the_system(Environment::default(), interrupt)
    };
    let mut events = Vec::new();
    session::execute(
        session::SessionSpec {
            edges: &edges,
            ensure: &|build, _| ensure(build),
            tools: &tools(),
            builds: &plan.builds,
            modules: &plan.modules,
            choose: &|_, _| TestcaseChoice::Selected,
            session_id: "fake".to_owned(),
            session_dir: dir.join("runs"),
            history_dir: dir.join("history"),
            seed: Seed(1),
            jobs: 1,
            pool: &pool,
            limit: session_limit,
            base_env: BTreeMap::new(),
            agent_dir: dir.join("agent"),
            inherited_python_path: None,
            only_lists: false,
        },
        &mut |event| events.push(event),
        &mut || (),
    );
    Ended {
        events,
        took: clock.passed(),
    }
}

#[test]
fn a_run_that_exceeds_its_limit_times_out_after_exactly_that_time() {
    let hangs = Script {
        lines: &[STARTED],
        exits: false,
        babbles: None,
    };
    let ended = session(LISTS, hangs, None);
    ended.expect(
        Outcome::TimedOut,
        Cause::Timeout,
        "exceeded its limit of 60 s",
    );
    assert_eq!(ended.took, LIMIT);
    assert_eq!(ended.result().duration, LIMIT);
    let verdicts = ended.events.iter().filter_map(|event| match event {
        Event::RunFinished { verdict, .. } => Some(*verdict),
        _ => None,
    });
    assert_eq!(verdicts.collect::<Vec<_>>(), [RunVerdict::TimedOut]);
}

#[test]
fn a_listing_that_exceeds_its_limit_times_out_after_exactly_that_time() {
    let hangs = Script {
        lines: &[r#"{"event":"listing","module":"m"}"#],
        exits: false,
        babbles: None,
    };
    let ended = session(hangs, LISTS, None);
    ended.expect(
        Outcome::TimedOut,
        Cause::Timeout,
        "importing it exceeded its limit of 60 s",
    );
    assert_eq!(ended.took, LIMIT);
}

#[test]
fn a_session_that_reaches_its_limit_stops_its_runs_and_starts_no_other() {
    let hangs = Script {
        lines: &[STARTED],
        exits: false,
        babbles: None,
    };
    let limit = Duration::from_secs(30);
    let ended = session(LISTS, hangs, Some(limit));
    ended.expect(
        Outcome::NotRun,
        Cause::Session,
        "stopped while it ran: the session exceeded its limit",
    );
    assert_eq!(ended.took, limit);
    let stops = ended.events.iter();
    let stops = stops.filter(|event| matches!(event, Event::Stopping { .. }));
    assert_eq!(stops.count(), 1);
}

#[test]
fn an_unreadable_line_is_a_warning_and_changes_no_verdict() {
    let speaks = Script {
        lines: &[STARTED, r#"{"event":"novel"}"#, "", "print", PASSED],
        exits: true,
        babbles: None,
    };
    let ended = session(LISTS, speaks, None);
    assert_eq!(ended.result().outcome, Outcome::Passed);
    let notices = ended.notices();
    let messages: Vec<&str> = notices.iter().map(|it| it.message.as_str()).collect();
    let [novel, print] = messages.as_slice() else {
        panic!("two warnings: {messages:?}");
    };
    assert!(novel.contains("unknown variant `novel`"), "{novel}");
    assert!(print.ends_with("`print`"), "{print}");
    assert!(notices.iter().all(|it| it.code == Code::TestAgent));
}

#[test]
fn endless_lines_are_no_answer_to_where_a_testcase_hangs() {
    let hello = format!(r#"{{"event":"hello","protocol":{PROTOCOL},"cocotb":"2.1.0","pid":1}}"#);
    let lines: &[&str] = vec![&*hello.leak(), STARTED].leak();
    let floods = Script {
        lines,
        exits: false,
        babbles: Some("nonsense"),
    };
    let ended = session(LISTS, floods, None);
    assert_eq!(ended.result().outcome, Outcome::TimedOut);
    let asked = ended.took.saturating_sub(LIMIT);
    let limits = Duration::from_secs(1)..Duration::from_secs(10);
    assert!(limits.contains(&asked), "asked for {asked:?}");
}

#[test]
fn lines_that_are_read_late_decide_before_the_limit_does() {
    let speaks = Script {
        lines: &[STARTED, SESSION_SLEEPS, "print", "", PASSED],
        exits: true,
        babbles: None,
    };
    let ended = session(LISTS, speaks, None);
    assert_eq!(ended.result().outcome, Outcome::Passed);
}

#[test]
fn what_stops_cocotb_is_the_reason_although_the_agent_failed_before() {
    let fails = Script {
        lines: &[
            r#"{"event":"agent_error","where":"the log","error_type":"KeyError","message":"k","traceback":""}"#,
            r#"{"event":"startup_error","error_type":"OSError","message":"no libpython","traceback":""}"#,
        ],
        exits: true,
        babbles: None,
    };
    for ended in [session(fails, LISTS, None), session(LISTS, fails, None)] {
        ended.expect(Outcome::Errored, Cause::Startup, "no libpython");
        let warning = &ended.notices()[0].message;
        assert_eq!(warning, "the agent failed (the log): KeyError: k");
    }
}

#[test]
fn an_agent_of_another_protocol_is_not_trusted() {
    let speaks = Script {
        lines: &[
            r#"{"event":"hello","protocol":99,"cocotb":"2.1.0"}"#,
            STARTED,
            PASSED,
        ],
        exits: true,
        babbles: None,
    };
    let ended = session(LISTS, speaks, None);
    let words = format!("the agent speaks protocol 99, and this cocorun {PROTOCOL}");
    ended.expect(Outcome::Errored, Cause::Startup, &words);
}

#[test]
fn a_failed_build_names_the_log_of_its_compiler() {
    let fails = |_: &Build| {
        let problem = Diagnostic::error(Code::BuildCompile, "no semicolon");
        Err(problem.log("/builds/build.log").into())
    };
    let ended = session_on(&fails, LISTS, LISTS, None);
    let logs = ended.events.iter().filter_map(|event| match event {
        Event::BuildFinished {
            outcome: BuildOutcome::Failed(_),
            log,
            ..
        } => Some(log.as_deref()),
        _ => None,
    });
    let logs: Vec<Option<&Utf8Path>> = logs.collect();
    assert_eq!(logs, [Some(Utf8Path::new("/builds/build.log"))]);
    ended.expect(Outcome::Errored, Cause::Build, "its build `b` failed");
}

#[test]
fn endless_lines_do_not_keep_a_run_alive() {
    let babbles = |line| Script {
        lines: &[STARTED],
        exits: false,
        babbles: Some(line),
    };
    let valid = session(LISTS, babbles(r#"{"event":"listing_finished"}"#), None);
    let ended = session(LISTS, babbles("nonsense"), None);
    for ended in [&valid, &ended] {
        ended.expect(
            Outcome::TimedOut,
            Cause::Timeout,
            "exceeded its limit of 60 s",
        );
        assert_eq!(ended.took, LIMIT);
    }
    let last = ended.notices().last().map(|it| it.message.clone());
    let last = last.unwrap_or_default();
    assert!(last.ends_with(" more warnings like these"), "{last}");
}
