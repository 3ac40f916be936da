//! Simulators and tools that are not there: a process edge that answers as the agent does.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use camino::Utf8Path;
use nix::time::ClockId;
use serde_json::Value;
use serde_json::json;

use cocorun::agent::request::PROTOCOL;
use cocorun::build::ensure::Origin;
use cocorun::build::ensure::Ready;
use cocorun::edge::process::CommandSpec;
use cocorun::edge::process::Exit;
use cocorun::edge::process::Process;
use cocorun::edge::process::ProcessEvent;
use cocorun::edge::process::ProcessHost;
use cocorun::model::build::Build;
use cocorun::model::build::BuiltDesign;
use cocorun::model::build::SimulatorName;
use cocorun::model::tool::CocotbVersion;
use cocorun::model::tool::PythonEnv;
use cocorun::model::tool::SimulatorTool;
use cocorun::sim::registry::Registry;
use cocorun::sim::tools::InstalledSimulator;
use cocorun::sim::tools::Tools;

/// Each testcase whose number is a multiple of this one fails: so many in each session here that no
/// module is checked for the order of its testcases.
pub(crate) const FAILS_EACH: usize = 20;
/// So many testcases begin before the results of others are reported.
const AHEAD_MAX: usize = 1000;

/// Answers list and run requests as the agent does, without any process.
pub(crate) struct FakeHost {
    testcases: usize,
    pub(crate) spawned: AtomicUsize,
    /// How many testcases of its processes were begun, and how many results were reported.
    begun: AtomicUsize,
    pub(crate) reported: AtomicUsize,
    /// Its own processor time, in nanoseconds.
    pub(crate) own_ns: AtomicU64,
}

impl FakeHost {
    pub(crate) fn of(testcases: usize) -> Arc<Self> {
        Arc::new(Self {
            testcases,
            spawned: AtomicUsize::default(),
            begun: AtomicUsize::default(),
            reported: AtomicUsize::default(),
            own_ns: AtomicU64::default(),
        })
    }
}

impl ProcessHost for FakeHost {
    fn spawn(&self, spec: &CommandSpec) -> cocorun::edge::Result<Box<dyn Process>> {
        let before = thread_time();
        self.spawned.fetch_add(1, Ordering::Relaxed);
        let request = fs::read_to_string(&spec.env["COCORUN_AGENT_REQUEST"]).unwrap();
        let request: Value = serde_json::from_str(&request).unwrap();
        let lines = if request["mode"] == "list" {
            list_lines(&request, self.testcases)
        } else {
            // Real simulators take longer than reports, so that no results pile up.
            while self.begun.load(Ordering::Relaxed)
                > self.reported.load(Ordering::Relaxed) + AHEAD_MAX
            {
                thread::sleep(Duration::from_micros(100));
            }
            let wanted = request["testcases"].as_array().unwrap().len();
            self.begun.fetch_add(wanted, Ordering::Relaxed);
            run_lines(&request)
        };
        fs::write(&spec.log, "a simulator's words\n").unwrap();
        let lines = lines.iter().map(ToString::to_string).collect();
        let took = thread_time().saturating_sub(before);
        let took_ns = u64::try_from(took.as_nanos()).unwrap();
        self.own_ns.fetch_add(took_ns, Ordering::Relaxed);
        Ok(Box::new(FakeProcess(lines)))
    }
}

fn list_lines(request: &Value, testcases: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    for module in request["modules"].as_array().unwrap() {
        lines.push(json!({"event": "listing", "module": module}));
        let testcases: Vec<Value> = (0..testcases)
            .map(|number| {
                json!({
                    "testcase": format!("burst/width={number}"), "occurrence": 0,
                    "file": "/project/test.py", "line": number + 1, "doc": null,
                    "skip": false, "stage": 0,
                })
            })
            .collect();
        lines.push(json!({"event": "listed", "module": module, "testcases": testcases}));
    }
    lines.push(json!({"event": "listing_finished"}));
    lines
}

fn run_lines(request: &Value) -> Vec<Value> {
    let mut lines = vec![json!({
        "event": "hello", "protocol": PROTOCOL, "cocotb": "2.1.0", "simulator": "Icarus",
    })];
    for wanted in request["testcases"].as_array().unwrap() {
        let (module, testcase) = (&wanted["module"], &wanted["testcase"]);
        let number = testcase.as_str().unwrap().rsplit('=').next().unwrap();
        let fails = number.parse::<usize>().unwrap() % FAILS_EACH == 0;
        lines.push(json!({
            "event": "testcase_started", "module": module, "testcase": testcase,
            "log_offset": 0,
        }));
        lines.push(json!({
            "event": "testcase_finished", "module": module, "testcase": testcase,
            "outcome": if fails { "failed" } else { "passed" },
            "expected_failure": false,
            "cause": fails.then_some("test"),
            "message": fails.then(|| format!("assert {number} == 0")),
            "error_type": fails.then_some("AssertionError"),
            "traceback": fails.then_some("Traceback (most recent call last):\n  …\n"),
            "duration_s": 0.01, "sim_time_ns": 100.0, "log_offset": 20,
        }));
    }
    lines.push(json!({"event": "regression_finished"}));
    lines
}

struct FakeProcess(VecDeque<String>);

impl Process for FakeProcess {
    fn next_event_to_the_end(&mut self) -> Option<ProcessEvent> {
        self.next_event(None)
    }

    fn id(&self) -> u32 {
        1
    }

    fn next_event(&mut self, _limit: Option<Duration>) -> Option<ProcessEvent> {
        Some(match self.0.pop_front() {
            Some(line) => ProcessEvent::Line(line),
            None => ProcessEvent::Exited(Exit::Code(0)),
        })
    }

    fn end_tree(&mut self, _grace: Duration, lines: &mut Vec<String>) -> Exit {
        lines.extend(self.0.drain(..));
        Exit::Code(0)
    }
}

pub(crate) fn tools() -> Tools {
    let python = PythonEnv {
        interpreter: "/v/bin/python".into(),
        prefix: "/v".into(),
        python_version: "3.11.7".to_owned(),
        cocotb: CocotbVersion::parse("2.1.0").unwrap(),
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

pub(crate) fn ready(build: &Build, dir: &Utf8Path) -> Ready {
    Ready {
        warnings: Vec::new(),
        design: BuiltDesign {
            name: build.name.clone(),
            simulator: build.simulator.clone(),
            key: "0".repeat(64),
            dir: dir.to_owned(),
            artifact: dir.join("sim.vvp"),
            hdl_toplevel: build.hdl_toplevel.clone(),
            toplevel_language: build.toplevel_language(),
            waves: false,
            has_foreign_code: false,
            step_dirs: BTreeMap::new(),
        },
        origin: Origin::UpToDate,
        reasons: Vec::new(),
        log: dir.join("build.log"),
    }
}

/// Returns the processor time that this thread has used.
fn thread_time() -> Duration {
    Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap())
}
