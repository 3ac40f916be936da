//! Reports rebuilt from a recorded session are those that the session itself wrote.
//!
//! Each session is one of the real engine with real simulators. Its NDJSON is read back, and every
//! report is made again from the events alone. They must agree byte for byte; only the moments at
//! which reports were written may differ: the summary's duration counts from the start of the
//! program, and suites are stamped with the wall clock.

use std::fs;
use std::io;
use std::io::Write;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use camino::Utf8PathBuf;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use cocorun::edge::clock::Clock;
use cocorun::edge::clock::SystemClock;
use cocorun::edge::output_file::OutputFile;
use cocorun::edge::terminal::size_of_stderr;
use cocorun::event::RecordedEvent;
use cocorun::event::SessionState;
use cocorun::event::read_events;
use cocorun::report::JsonReport;
use cocorun::report::JunitOptions;
use cocorun::report::JunitReport;
use cocorun::report::Report;
use cocorun::report::Reports;
use cocorun::report::TerminalOptions;
use cocorun::report::TerminalReport;
use cocorun::report::Verbosity;

use crate::support::COCOTB;
use crate::support::COCOTB_VERSIONS;
use crate::support::Project;
use crate::support::Ran;

const TOP: &str = "\
module top(input logic dies, output logic [7:0] q);
  initial q = 0;
  always @(posedge dies) $fatal(1, \"the bus is on fire\");
endmodule
";

/// One testcase for each way in which one can end.
const TEST_OUTCOMES: &str = "\
import os
import pathlib
import signal
import sys

import cocotb
from cocotb.triggers import Timer

HERE = pathlib.Path(os.environ['COCORUN_PROJECT_DIR'])


@cocotb.test()
async def passes(dut):
    \"\"\"Does nothing much.\"\"\"
    await Timer(1234567, 'ps')


@cocotb.test()
async def fails(dut):
    await Timer(1, 'ns')
    assert dut.q.value == 77, 'not <77> & \"more\" \\x1b[31mred\\x1b[0m\\nsecond line ü'


@cocotb.test(expect_fail=True)
async def fails_as_expected(dut):
    assert False


@cocotb.test(skip=True)
async def is_skipped(dut):
    pass


@cocotb.test()
async def crashes(dut):
    print('last words')
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


@cocotb.test()
async def ends_the_simulation(dut):
    dut.dies.value = 0
    await Timer(1, 'ns')
    dut.dies.value = 1
    await Timer(1, 'ns')


@cocotb.test()
async def leaves(dut):
    os._exit(3)


@cocotb.test()
async def hangs(dut):
    print('hangs')
    (HERE / 'hanging').touch()
    while True:
        await Timer(1, 'us')
";

const RUNNER: &str = "\
timeout_s = LIMIT

[build.top]
sources = [\"top.sv\"]
hdl_toplevel = \"top\"

[build.broken]
sources = [\"broken.sv\"]
hdl_toplevel = \"broken\"

[build.misspelt]
sources = [\"top.sv\"]
hdl_toplevel = \"top\"
parameters = { WIDHT = 8 }

[build.warned]
simulator = \"verilator\"
sources = [\"warned.sv\"]
hdl_toplevel = \"warned\"

[[test]]
build = [\"top\", \"broken\"]
test_module = [\"test_outcomes\", \"test_import\", \"test_empty\"]

[[test]]
build = [\"misspelt\", \"warned\"]
test_module = \"test_outcomes\"
";

fn project(cocotb: &str, limit_s: u32) -> Project {
    let project = Project::with_cocotb(cocotb, &RUNNER.replace("LIMIT", &limit_s.to_string()));
    project
        .file("top.sv", TOP)
        .file("broken.sv", "module broken;\n  wire a = ;\nendmodule\n")
        .file(
            "warned.sv",
            "module warned(output logic [3:0] q);\n  assign q = 8'hff;\nendmodule\n",
        )
        .file("test_outcomes.py", TEST_OUTCOMES)
        .file("test_import.py", "import a_package_that_is_not_there\n")
        .file("test_empty.py", "");
    project
}

/// A clock that shows the time of the event that is being replayed.
struct ReplayClock {
    start: Instant,
    elapsed: Mutex<Duration>,
}

impl Clock for ReplayClock {
    fn now(&self) -> Instant {
        self.start + *self.elapsed.lock().unwrap()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + *self.elapsed.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) {
        *self.elapsed.lock().unwrap() += duration;
    }
}

/// A stream that keeps what is written.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a session wrote, or what was made of its recording.
struct Written {
    terminal: String,
    junit: String,
    json: String,
}

/// Makes every report from a recording; returns them with the exit code that the events add up to.
fn rebuild(recording: &str, verbosity: Verbosity) -> (Written, i32) {
    let events: Vec<RecordedEvent> = read_events(recording.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let clock = Arc::new(ReplayClock {
        start: SystemClock.now(),
        elapsed: Mutex::default(),
    });
    let (terminal, json) = (Buffer::default(), Buffer::default());
    let folder = tempfile::tempdir().unwrap();
    let junit = Utf8PathBuf::from_path_buf(folder.path().join("report.xml")).unwrap();
    let options = TerminalOptions {
        color: false,
        progress: false,
        verbosity,
        explain: false,
        wraps: false,
        output_lines: 20,
        began: None,
        out: Box::new(terminal.clone()),
        size_of: Arc::new(size_of_stderr),
    };
    let junit_options = JunitOptions {
        file: Arc::new(OutputFile::open(&junit).unwrap()),
        hostname: String::new(),
    };
    let mut reports = Reports(vec![
        Box::new(TerminalReport::new(options, clock.clone())),
        Box::new(JunitReport::new(junit_options, clock.clone())),
        Box::new(JsonReport::new(Box::new(json.clone()), clock.clone())),
    ]);
    let mut state = SessionState::default();
    for recorded in &events {
        *clock.elapsed.lock().unwrap() = recorded.elapsed;
        state.take(&recorded.event);
        reports.on_event(&recorded.event, &state);
    }
    reports.finish(&state).unwrap();
    let signal = state
        .stopping()
        .and_then(|reason| (reason == "SIGINT").then_some(2));
    let written = Written {
        terminal: terminal.text(),
        junit: fs::read_to_string(junit).unwrap(),
        json: json.text(),
    };
    (written, i32::from(state.exit_code(signal).code()))
}

/// Returns the session's part of what the terminal showed, without what depends on when it was
/// shown: signs of life, and the duration of the summary.
fn timeless(terminal: &str) -> String {
    const SIGNS_OF_LIFE: [&str; 5] = [
        "       STILL [",
        "     RUNNING [",
        "    BUILDING [",
        "     STARTED [",
        "      ENDING [",
    ];
    let mut text = String::new();
    for line in terminal.lines() {
        if SIGNS_OF_LIFE.iter().any(|sign| line.starts_with(sign)) {
            continue;
        }
        match line.strip_prefix("     Summary [") {
            Some(rest) => {
                let (_, rest) = rest.split_once(']').unwrap();
                text.push_str("     Summary [TIME]");
                text.push_str(rest);
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    // With `--verbose`, tools are shown before the session begins.
    let begin = text.find("     SESSION ").unwrap_or(0);
    text.split_off(begin)
}

/// Takes the wall-clock time at which each suite began out of a report.
fn unstamped(junit: &str) -> String {
    let mut parts = junit.split("<testsuite ");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (before, after) = part.split_once(" timestamp=\"").unwrap();
        let (_, after) = after.split_once('"').unwrap();
        text.push_str("<testsuite ");
        text.push_str(before);
        text.push_str(after);
    }
    text
}

#[track_caller]
fn expect_rebuilt(project: &Project, ran: &Ran, verbosity: Verbosity) {
    let junit = fs::read_to_string(project.path("report.xml")).ok();
    let (rebuilt, exit_code) = rebuild(&ran.stdout, verbosity);
    expect_same(&rebuilt.json, &ran.stdout);
    expect_same(&timeless(&rebuilt.terminal), &timeless(&ran.text));
    if let Some(junit) = junit {
        expect_same(&unstamped(&rebuilt.junit), &unstamped(&junit));
    }
    assert_eq!(exit_code, ran.code);
}

/// Compares texts, and shows the first line that differs.
#[track_caller]
fn expect_same(rebuilt: &str, original: &str) {
    for (rebuilt, original) in rebuilt.lines().zip(original.lines()) {
        assert_eq!(rebuilt, original);
    }
    assert_eq!(
        rebuilt.len(),
        original.len(),
        "\n{rebuilt}\n---\n{original}"
    );
}

/// Runs a session of every outcome, under longer limits until each is there: a busy machine may be
/// too slow for the first ones.
fn session_of_all_outcomes(cocotb: &str, flag: Option<&str>) -> (Project, Ran) {
    const OUTCOMES: [&str; 5] = ["passed", "failed", "errored", "timed-out", "skipped"];
    for limit_s in [4, 30, 120] {
        let project = project(cocotb, limit_s);
        let args = ["test", "--format", "json", "--junit", "report.xml"];
        let ran = project.run(&[&args[..], flag.as_slice()].concat());
        let ran = ran.expect_code(3);
        let counts = ran.events().last().unwrap()["counts"].clone();
        let is_complete = counts["timed_out"] == 1 && counts["passed"] == 2;
        if is_complete {
            for outcome in OUTCOMES {
                let is_it = |event: &serde_json::Value| event["outcome"] == outcome;
                assert!(ran.events().iter().any(is_it), "{outcome}: {}", ran.stdout);
            }
            return (project, ran);
        }
    }
    panic!("the machine is too slow")
}

#[test]
fn every_report_of_a_session_of_all_outcomes_can_be_rebuilt_from_its_recording() {
    for cocotb in COCOTB_VERSIONS {
        let (project, ran) = session_of_all_outcomes(cocotb, None);
        expect_rebuilt(&project, &ran, Verbosity::Normal);
    }
    let (project, ran) = session_of_all_outcomes(COCOTB, Some("--verbose"));
    expect_rebuilt(&project, &ran, Verbosity::Verbose);
}

#[test]
fn the_reports_of_an_interrupted_session_can_be_rebuilt() {
    let project = project(COCOTB, 600);
    let args = [
        "test",
        "--format",
        "json",
        "--junit",
        "report.xml",
        "--quiet",
    ];
    let mut command: Command = project.command(&args);
    let child = command
        .args(["--jobs", "1", "--build", "top", "--module", "test_outcomes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    while !project.path("hanging").exists() {
        assert!(Instant::now() < until, "it never hangs");
        thread::sleep(Duration::from_millis(5));
    }
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).expect_code(130);
    assert!(
        ran.stdout.contains("\"outcome\":\"not-run\""),
        "{}",
        ran.stdout
    );
    expect_rebuilt(&project, &ran, Verbosity::Quiet);
}

#[test]
fn the_reports_of_a_session_without_testcases_can_be_rebuilt() {
    let project = project(COCOTB, 600);
    let junit = ["--junit", "report.xml"];
    let args = [
        "test",
        "no_such_name",
        "--build",
        "top",
        "--module",
        "test_outcomes",
    ];
    let args = [&args[..], &junit, &["--format", "json"]].concat();
    let ran = project.run(&args).expect_code(4);
    expect_rebuilt(&project, &ran, Verbosity::Normal);
    fs::remove_file(project.path("report.xml")).unwrap();
    let ran = project.run(&["build", "--format", "json"]).expect_code(3);
    expect_rebuilt(&project, &ran, Verbosity::Normal);
}

#[test]
fn the_log_of_a_failed_build_is_in_every_report() {
    let project = project(COCOTB, 600);
    let args = ["test", "--build", "broken", "--format", "json"];
    let ran = project
        .run(&[&args[..], &["--junit", "report.xml"]].concat())
        .expect_code(3);
    let events = ran.events();
    let finished = events
        .iter()
        .find(|event| event["event"] == "build-finished")
        .unwrap();
    let log = finished["log"].as_str().unwrap();
    let complaint = fs::read_to_string(log).unwrap();
    assert!(
        complaint.contains("broken.sv:2: syntax error"),
        "{complaint}"
    );
    let root = format!("{}/", fs::canonicalize(project.path("")).unwrap().display());
    let shown = log.strip_prefix(&root).unwrap();
    assert!(ran.text.contains(&format!("log: {shown}")), "{}", ran.text);
    let xml = fs::read_to_string(project.path("report.xml")).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    let suite = report
        .test_suites
        .iter()
        .find(|it| it.name.as_str() == "broken");
    let build = &suite.unwrap().test_cases[0];
    let property = build.properties.iter().find(|it| it.name.as_str() == "log");
    assert_eq!(property.unwrap().value.as_str(), log);
    let quoted = build.system_out.as_ref().unwrap().as_str();
    assert!(quoted.contains("broken.sv:2: syntax error"), "{quoted}");
    let explained = project.run(&["explain", "build::compile"]).expect_code(0);
    assert!(explained.stdout.contains("log"), "{}", explained.stdout);
}
