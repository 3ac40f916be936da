//! What hangs, crashes or is interrupted: nothing is left behind, nothing is lost.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::live::Ended;
use crate::live::Live;
use crate::processes::Watch;
use crate::processes::of_project;
use crate::support::COCOTB;
use crate::support::Project;
use crate::support::repository;

/// A moment of the kernel's, on a slow machine; less than any wait for something that does not come.
const MOMENT: Duration = Duration::from_secs(25);
/// A session that nothing holds up.
const SESSION: Duration = Duration::from_secs(240);

/// Limits of what hangs, and whether it is the last to be tried: a machine may be too slow for the
/// first ones.
const LIMITS_S: [(f64, bool); 3] = [(8.0, false), (30.0, false), (90.0, true)];

const GREEN: &str = "\
import time
import cocotb
from hdl_commands import check_inverter

@cocotb.test()
async def works(dut):
    await check_inverter(dut)
    time.sleep(0.2)
";
const HANGS_IN_PYTHON: &str = "\
import os
import signal
import time
import cocotb
from hdl_commands import check_inverter

@cocotb.test()
async def ends(dut):
    await check_inverter(dut)

@cocotb.test()
async def hangs(dut):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    open(os.environ['COCORUN_PROJECT_DIR'] + '/deaf', 'w').close()
    while True:
        time.sleep(1)
";
const HANGS_IN_HDL: &str = "\
import cocotb
from hdl_commands import SPIN, command

@cocotb.test()
async def hangs(dut):
    await command(dut, SPIN)
";
const SEGFAULTS: &str = "\
import ctypes
import cocotb

@cocotb.test()
async def dies(dut):
    ctypes.string_at(0)
";

/// Makes a project on the design of the traps. `top` holds keys of the top level.
fn project(top: &str, tables: &str) -> Project {
    let project = Project::with_cocotb(
        COCOTB,
        &format!(
            "{top}\n[build.plain]\nsources = [\"commands.sv\", \"plain.sv\"]\n\
             hdl_toplevel = \"plain\"\n{tables}"
        ),
    );
    for name in ["commands.sv", "plain.sv", "hdl_commands.py"] {
        let path = repository().join("tests/traps").join(name);
        project.file(name, &fs::read_to_string(path).unwrap());
    }
    project
}

fn test_of(build: &str, modules: &[&str]) -> String {
    format!("[[test]]\nbuild = \"{build}\"\ntest_module = {modules:?}\n")
}

/// Puts an `iverilog` before the real one that notes each compile and takes its time over it. How
/// long it takes is no part of it, for that would be another compiler.
fn slow_compiler(project: &Project, seconds: f64) {
    const SCRIPT: &str = "#!/bin/sh
case \" $* \" in *' -o '*) echo compile >>\"$0.log\"; sleep \"$(cat \"$0.seconds\")\";; esac
PATH=${PATH#*:} exec iverilog \"$@\"
";
    project.file("bin/iverilog.seconds", &seconds.to_string());
    let path = project.path("bin/iverilog");
    if !path.exists() {
        project.file("bin/iverilog", SCRIPT);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Returns `cocorun test` with events; the slow compiler is used where there is one.
fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(&["test", "--format", "json"]);
    let path = std::env::var("PATH").unwrap();
    let bin = project.path("bin");
    command.args(args).env("COCORUN_JOBS", "2");
    if bin.exists() {
        command.env("PATH", format!("{}:{path}", bin.display()));
    }
    command
}

/// Checks that the next session is green and soon there.
#[track_caller]
fn expect_next_is_green(project: &Project, args: &[&str], results: usize) -> Ended {
    let ended = Live::start(&mut command(project, args)).end(SESSION);
    let outcomes = ended.outcomes();
    assert_eq!(ended.code, 0, "{outcomes:#?}\n{}", ended.stderr);
    assert_eq!(outcomes.len(), results, "{outcomes:#?}");
    ended
}

/// Checks the stream of a session that was stopped in good order.
#[track_caller]
fn expect_honest_stop(ended: &Ended, context: &str) {
    let last = ended.events.last().expect("it reported something");
    assert_eq!(last["event"], "session-finished", "{context}");
    assert_eq!(last["exit_code"], ended.code, "{context}");
    let finished = ended.named("testcase-finished");
    for event in &finished {
        let is_told = event["outcome"] == "passed" || event["outcome"] == "not-run";
        assert!(is_told, "{context}: {event}");
    }
    for listed in ended.named("module-listed") {
        for testcase in listed["selected"].as_array().unwrap() {
            let results = finished
                .iter()
                .filter(|event| event["testcase"]["id"] == testcase["id"])
                .count();
            assert_eq!(results, 1, "{context}: {testcase}");
        }
    }
}

#[test]
fn two_that_hang_and_one_that_crashes_cost_only_themselves() {
    for (limit_s, is_last) in LIMITS_S {
        if cost_only_themselves(limit_s, is_last) {
            return;
        }
    }
}

/// Returns whether the machine was fast enough for the limit.
fn cost_only_themselves(limit_s: f64, is_last: bool) -> bool {
    let green: Vec<String> = (0..21).map(|number| format!("green_{number:02}")).collect();
    let mut modules = vec!["hangs_in_python", "hangs_in_hdl", "segfaults"];
    modules.extend(green.iter().map(String::as_str));
    let project = project(
        &format!("timeout_s = {limit_s}\n"),
        &test_of("plain", &modules),
    );
    project
        .file("hangs_in_python.py", HANGS_IN_PYTHON)
        .file("hangs_in_hdl.py", HANGS_IN_HDL)
        .file("segfaults.py", SEGFAULTS);
    for module in &green {
        project.file(&format!("{module}.py"), GREEN);
    }
    let watch = Watch::over(&project.path(""));
    let ended = Live::start(&mut command(&project, &[])).end(SESSION);
    watch.expect_nothing_left();
    assert!(watch.groups_seen() > 3);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let mut wanted: Vec<String> = green
        .iter()
        .map(|module| format!("{module} works passed"))
        .collect();
    wanted.extend([
        "hangs_in_hdl hangs timed-out".to_owned(),
        "hangs_in_python ends passed".to_owned(),
        "hangs_in_python hangs timed-out".to_owned(),
        "segfaults dies errored".to_owned(),
    ]);
    if !is_last && ended.was_too_slow(&wanted) {
        return false;
    }
    assert_eq!(ended.outcomes(), wanted);
    for culprit in [
        "hangs_in_hdl::hangs",
        "hangs_in_python::hangs",
        "segfaults::dies",
    ] {
        assert!(ended.stderr.contains(culprit), "{}", ended.stderr);
    }
    for run in ended.named("run-finished") {
        let bound = limit_s + MOMENT.as_secs_f64();
        assert!(run["duration_s"].as_f64().unwrap() < bound, "{run}");
    }
    true
}

#[test]
fn ctrl_c_at_any_moment_leaves_nothing_and_the_next_run_is_green() {
    const MOMENTS: u64 = 10;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = std::env::var("COCORUN_TEST_SEED")
        .map_or(u64::from(now.subsec_nanos()), |seed| seed.parse().unwrap());
    writeln!(std::io::stderr(), "COCORUN_TEST_SEED={seed}").unwrap();
    let project = project("timeout_s = 100\n", &test_of("plain", &["one", "two"]));
    slow_compiler(&project, 0.5);
    for module in ["one", "two"] {
        project.file(&format!("{module}.py"), GREEN);
    }
    let began = Instant::now();
    expect_next_is_green(&project, &[], 2);
    let mut whole = began.elapsed();
    let watch = Watch::over(&project.path(""));
    let mut random = seed;
    let mut stopped = 0;
    for moment in 0..MOMENTS {
        // Knuth's MMIX generator; its upper bits are the random ones.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let part = f64::from(u32::try_from(random >> 32).unwrap()) / f64::from(u32::MAX);
        let delay = whole.mul_f64(part * 0.95);
        let context = format!("seed {seed}, moment {moment}, after {delay:?} of {whole:?}");
        let live = Live::start(&mut command(&project, &["--force"]));
        thread::sleep(delay);
        if moment % 2 == 0 {
            live.signal(Signal::SIGINT);
        } else {
            live.signal_group(Signal::SIGINT);
        }
        let ended = live.end(MOMENT);
        let alive = watch.alive();
        assert!(alive.is_empty(), "{context}: {alive:#?}");
        match ended.code {
            130 => stopped += 1,
            // It was faster than the first session: that was the first, or others used the machine.
            0 => whole = whole.min(ended.duration()),
            code => panic!("{context}: exit code {code}\n{}", ended.stderr),
        }
        // Before its first word it had nothing to report.
        if !ended.events.is_empty() {
            expect_honest_stop(&ended, &context);
        }
        expect_next_is_green(&project, &["--module", "one"], 1);
    }
    assert!(
        stopped > MOMENTS / 2,
        "seed {seed}: only {stopped} were in time"
    );
}

#[test]
fn each_signal_has_its_exit_code_and_keeps_what_had_finished() {
    let project = project("", &test_of("plain", &["green", "hangs_in_python"]));
    project
        .file("green.py", GREEN)
        .file("hangs_in_python.py", HANGS_IN_PYTHON);
    for (signal, code) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ] {
        // The testcases of the module come in the order of the plan where nothing is known of them.
        fs::remove_dir_all(project.path("sim_build/history")).ok();
        let watch = Watch::over(&project.path(""));
        let mut live = Live::start(&mut command(&project, &["--jobs", "1"]));
        live.wait_for_testcase("hangs");
        live.signal(signal);
        let ended = live.end(MOMENT);
        watch.expect_nothing_left();
        assert_eq!(ended.code, code, "{}", ended.stderr);
        expect_honest_stop(&ended, signal.as_str());
        let wanted = [
            "green works passed",
            "hangs_in_python ends passed",
            "hangs_in_python hangs not-run",
        ];
        assert_eq!(ended.outcomes(), wanted, "{signal}");
        expect_next_is_green(&project, &["--module", "green"], 1);
    }
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let project = project("", &test_of("plain", &["hangs_in_python"]));
    project.file("hangs_in_python.py", HANGS_IN_PYTHON);
    let watch = Watch::over(&project.path(""));
    // An orderly end takes half a second, within which this machine may not come to the second
    // signal every time.
    let mut in_time = (0..10).filter(|_| {
        fs::remove_file(project.path("deaf")).ok();
        let mut live = Live::start(&mut command(&project, &[]));
        await_file(&project, "deaf");
        live.signal(Signal::SIGINT);
        live.wait_for("stopping", |event| event["event"] == "stopping");
        live.signal(Signal::SIGINT);
        let ended = live.end(MOMENT);
        watch.expect_nothing_left_within(MOMENT);
        assert_eq!(ended.code, 130);
        ended.named("session-finished").is_empty()
    });
    assert!(in_time.next().is_some(), "it did not end at once");
}

/// Waits until a testcase has left a mark.
#[track_caller]
fn await_file(project: &Project, name: &str) {
    let until = Instant::now() + SESSION;
    while !project.path(name).exists() {
        assert!(Instant::now() < until, "{name} does not appear");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn sigkill_takes_the_simulators_along_and_blocks_nobody() {
    let project = project(
        "",
        &test_of("plain", &["green", "hangs_in_hdl", "hangs_in_python"]),
    );
    project
        .file("green.py", GREEN)
        .file("hangs_in_hdl.py", HANGS_IN_HDL)
        .file("hangs_in_python.py", HANGS_IN_PYTHON);
    let watch = Watch::over(&project.path(""));
    let mut live = Live::start(&mut command(&project, &["--jobs", "3"]));
    live.wait_for_testcase("hangs");
    live.wait_for_testcase("hangs");
    live.signal(Signal::SIGKILL);
    assert_eq!(live.end(MOMENT).code, 137);
    watch.expect_nothing_left_within(MOMENT);
    expect_next_is_green(&project, &["--module", "green"], 1);
}

#[test]
fn a_killed_sessions_folder_goes_in_its_turn_and_that_of_a_living_one_stays() {
    let project = project("", &test_of("plain", &["green", "hangs_in_python"]));
    project
        .file("green.py", GREEN)
        .file("hangs_in_python.py", HANGS_IN_PYTHON);
    let hangs = ["--module", "hangs_in_python"];
    let runs = project.path("sim_build/runs");
    // Names tell the second only, so the order of two sessions is given here.
    let start = |name: &str| {
        let mut live = Live::start(&mut command(&project, &hangs));
        live.wait_for_testcase("hangs");
        // What a session makes after its folder was renamed names no owner.
        let is_new = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_folder = !path.is_symlink() && path.join("owner.json").exists();
            !name.starts_with('0') && is_folder
        };
        let mut folders = fs::read_dir(&runs)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let folder = folders.find(is_new).unwrap();
        fs::rename(folder, runs.join(name)).unwrap();
        live
    };
    let living = start("00010101T000001-abcdef");
    let killed = start("00010101T000002-abcdef");
    killed.signal(Signal::SIGKILL);
    killed.end(MOMENT);
    let killed_folder = runs.join("00010101T000002-abcdef");
    // Those of the last hour stay anyway.
    let sign = fs::File::options()
        .write(true)
        .open(killed_folder.join("owner.json"));
    let two_hours = Duration::from_secs(7200);
    let old = SystemTime::now() - two_hours;
    sign.unwrap().set_modified(old).unwrap();
    // With eight that are newer, and the next, ten are over.
    for number in 0..8 {
        let name = format!("sim_build/runs/9999010{number}T000000-abcdef/finished");
        project.file(&name, "");
    }
    expect_next_is_green(&project, &["--module", "green"], 1);
    assert!(killed_folder.exists(), "people look into the last ten");
    expect_next_is_green(&project, &["--module", "green"], 1);
    assert!(!killed_folder.exists());
    let living_folder = runs.join("00010101T000001-abcdef");
    assert!(living_folder.exists(), "the oldest, which lives");
    living.signal(Signal::SIGINT);
    assert_eq!(living.end(MOMENT).code, 130);
}

#[test]
fn sigkill_within_a_compile_blocks_nobody() {
    let project = project("", &test_of("plain", &["green"]));
    slow_compiler(&project, 20.0);
    project.file("green.py", GREEN);
    let live = Live::start(&mut command(&project, &[]));
    await_process(&project, "sleep");
    live.signal(Signal::SIGKILL);
    assert_eq!(live.end(MOMENT).code, 137);
    slow_compiler(&project, 0.0);
    let next = expect_next_is_green(&project, &[], 1);
    for wait in next.named("build-waiting") {
        // The lease of who cannot be seen to be dead is 30 s.
        let is_short = wait["waited_s"].as_f64().unwrap() < 25.0;
        assert!(is_short, "it waited for the dead: {wait}");
    }
}

#[test]
fn ctrl_c_kills_every_compiler_that_verilator_started() {
    let project = project("simulator = \"verilator\"\n", &test_of("plain", &["green"]));
    project.file("green.py", GREEN);
    let watch = Watch::over(&project.path(""));
    let live = Live::start(&mut command(&project, &[]));
    await_process(&project, "cc1plus");
    live.signal(Signal::SIGINT);
    let ended = live.end(MOMENT);
    watch.expect_nothing_left();
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    expect_honest_stop(&ended, "compiling");
}

#[test]
fn a_session_that_runs_too_long_is_stopped_and_reported() {
    for (limit_s, is_last) in LIMITS_S {
        let project = project(
            &format!("session_timeout_s = {limit_s}\n"),
            &test_of("plain", &["green", "hangs_in_python"]),
        );
        project
            .file("green.py", GREEN)
            .file("hangs_in_python.py", HANGS_IN_PYTHON);
        let watch = Watch::over(&project.path(""));
        let began = Instant::now();
        let ended = Live::start(&mut command(&project, &["--jobs", "1"])).end(SESSION);
        assert!(began.elapsed() < Duration::from_secs_f64(limit_s) + MOMENT);
        watch.expect_nothing_left();
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        assert_eq!(ended.named("stopping").len(), 1);
        expect_honest_stop(&ended, "session_timeout_s");
        // A machine may be too slow to come to it within the first limits.
        if is_last || project.path("deaf").exists() {
            let outcomes = ended.outcomes();
            let hanging = "hangs_in_python hangs not-run".to_owned();
            return assert!(outcomes.contains(&hanging), "{outcomes:#?}");
        }
    }
}

#[test]
fn two_sessions_at_once_compile_each_design_once() {
    let tables = format!(
        "[build.other]\nsources = [\"commands.sv\", \"plain.sv\"]\nhdl_toplevel = \"plain\"\n\
         defines = {{ OTHER = 1 }}\n{}{}",
        test_of("plain", &["green"]),
        test_of("other", &["green"]),
    );
    let project = project("", &tables);
    slow_compiler(&project, 1.5);
    project.file("green.py", GREEN);
    let sessions = [0, 1].map(|_| Live::start(&mut command(&project, &[])));
    let ended = sessions.map(|live| live.end(SESSION));
    let mut built = Vec::new();
    for session in &ended {
        assert_eq!(session.code, 0, "{}", session.stderr);
        assert_eq!(session.outcomes(), ["green works passed"; 2]);
        built.extend(
            session
                .named("build-finished")
                .into_iter()
                .filter(|event| event["outcome"] == "built")
                .map(|event| event["build"].clone()),
        );
    }
    built.sort_by_key(Value::to_string);
    assert_eq!(built, ["other", "plain"]);
    let compiles = fs::read_to_string(project.path("bin/iverilog.log")).unwrap();
    assert_eq!(compiles.lines().count(), 2);
}

/// Waits until a program of this name works for the project.
#[track_caller]
fn await_process(project: &Project, name: &str) {
    let folder = project.path("").canonicalize().unwrap();
    let until = Instant::now() + SESSION;
    while Instant::now() < until {
        let is_there = of_project(&folder).iter().any(|found| {
            let program = found.command.split(' ').next().unwrap_or_default();
            program.rsplit('/').next() == Some(name)
        });
        if is_there {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no `{name}` was seen");
}

#[test]
fn a_fork_server_that_hangs_while_it_starts_holds_no_signal_up() {
    let project = Project::with_cocotb(
        COCOTB,
        "[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\
         [[test]]\ntest_module = \"test_top\"\n",
    );
    project
        .file("top.sv", "module top; logic a; endmodule\n")
        .file(
            "test_top.py",
            "import cocotb\n\n\n@cocotb.test()\nasync def is_green(dut):\n    pass\n",
        )
        .file(
            "sitecustomize.py",
            "import os\nimport time\n\nif 'COCORUN_AGENT_REQUEST_FD' in os.environ:\n    \
             open(os.environ['COCORUN_PROJECT_DIR'] + '/hangs', 'w').close()\n    \
             time.sleep(600)\n",
        );
    let mut session = project.command(&["test", "--quiet"]).spawn().unwrap();
    let began = Instant::now();
    while !project.path("hangs").exists() {
        assert!(began.elapsed().as_secs() < 60, "the server was not started");
        thread::sleep(Duration::from_millis(20));
    }
    let told = Instant::now();
    let pid = nix::unistd::Pid::from_raw(session.id().cast_signed());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(session.wait().unwrap().code(), Some(143));
    assert!(told.elapsed().as_secs() < 30, "{:?}", told.elapsed());
}
