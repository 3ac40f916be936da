//! What a user who has read only the README sees when something is not as expected.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::python;

const TOP: &str = "\
module top(input logic clk, input logic dies, output logic q);
  assign q = clk;
  always @(posedge dies) $fatal(1, \"the bus is on fire\");
endmodule
";
const TEST_TOP: &str = "\
import atexit
import os
import pathlib
import time

import cocotb
from cocotb.triggers import Timer

HERE = pathlib.Path(os.environ['COCORUN_PROJECT_DIR'])


@cocotb.test()
async def fine(dut):
    report = HERE / 'report.xml'
    assert not report.exists() or 'has not ended' in report.read_text()
    print('ERROR: top.sv:3: said by Python') if (HERE / 'lies').exists() else None
    await Timer(1, 'ns')


@cocotb.test()
async def wrong(dut):
    await Timer(4999, 'ps')
    assert dut.q.value == 7


@cocotb.test()
async def fatal(dut):
    dut.dies.value = 0
    await Timer(1, 'ns')
    dut.dies.value = 1
    await Timer(1, 'ns')


@cocotb.test()
async def hangs(dut):
    print('said before the hang')
    (HERE / 'hanging').touch()
    while True:
        await Timer(1, 'us')


@cocotb.test()
async def hangs_at_the_end(dut):
    atexit.register(time.sleep, 100)
";
const RUNNER: &str = "\
[build.top]
sources = [\"top.sv\"]
hdl_toplevel = \"top\"
[[test]]
test_module = \"test_top\"
";
/// What cocotb says wherever a simulation ends under it, whoever ended it.
const GUESS: &str = "ended prematurely";

fn project(cocotb: &str) -> Project {
    let project = Project::with_cocotb(cocotb, RUNNER);
    project.file("top.sv", TOP).file("test_top.py", TEST_TOP);
    project
}

#[track_caller]
fn expect_words(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.text.contains(word), "`{word}` is not in:\n{}", ran.text);
    }
}

#[track_caller]
fn junit(project: &Project) -> (String, quick_junit::Report) {
    let xml = fs::read_to_string(project.path("report.xml")).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    (xml, report)
}

#[test]
fn from_the_start_the_junit_file_is_this_sessions() {
    let project = project(COCOTB);
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--build", "tpo"], 2, "no build is called `tpo`"),
        (
            &["--simulator", "verilator"],
            4,
            "`runner.toml` has builds for `icarus` only",
        ),
        (&["--config", "absent.toml"], 2, "absent.toml"),
        (&[], 5, "iverilog"),
    ];
    for (args, code, words) in cases {
        project.file("report.xml", "<testsuites/>");
        let args = [&["test", "--junit", "report.xml"], args].concat();
        let mut command = project.command(&args);
        let ran = Ran::from(command.env("PATH", "/nonexistent").output().unwrap());
        expect_words(&ran.expect_code(code), &[words]);
        let (xml, report) = junit(&project);
        assert_eq!((report.tests, report.errors), (1, 1), "{xml}");
        assert!(xml.contains(words), "`{words}` is not in {xml}");
    }
    // `fine` reads the file while it runs.
    project.file("report.xml", "<testsuites/>");
    let args = ["test", "--testcase", "fine", "--junit", "report.xml"];
    project.run(&args).expect_code(0);
    let (xml, report) = junit(&project);
    assert_eq!((report.tests, report.errors), (1, 0), "{xml}");
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_before_anything_runs() {
    let project = project(COCOTB);
    let cases = [
        (".", 2, "usage::bad-argument"),
        ("top.sv/report.xml", 5, "report::unwritable"),
    ];
    for (path, exit_code, problem) in cases {
        let ran = project
            .run(&["test", "--junit", path])
            .expect_code(exit_code);
        expect_words(&ran, &[problem, path]);
        assert!(!project.path("sim_build").exists(), "{}", ran.text);
    }
    for args in [&["list"][..], &["explain"]] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = project.command(args).stdout(full).output().unwrap();
        expect_words(
            &Ran::from(output).expect_code(5),
            &["report::unwritable", "no space left"],
        );
    }
}

#[test]
fn what_a_stop_interrupts_is_named_with_its_log() {
    let project = project(COCOTB);
    let mut command = project.command(&["test", "--testcase", "hangs"]);
    let child = command
        .args(["--junit", "report.xml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while !project.path("hanging").exists() {
        assert!(Instant::now() < until, "it never hangs");
        thread::sleep(Duration::from_millis(5));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).expect_code(130);
    let name = "top::test_top::hangs";
    let headline = format!("`{name}` has no verdict: stopped while it ran: SIGINT");
    expect_words(&ran, &[&headline, "said before the hang"]);
    let last = ran.text.lines().last().unwrap();
    assert!(
        last.contains("NOT RUN [") && last.ends_with(name),
        "{}",
        ran.text
    );
    assert!(!ran.text.contains(GUESS), "{}", ran.text);
    assert!(!junit(&project).0.contains(GUESS));
}

#[test]
fn what_a_kill_made_a_simulator_say_is_not_shown() {
    const SAID: [&str; 3] = [
        "2 timed out",
        "said before the hang",
        "it passed, but the simulator did not exit afterwards",
    ];
    let project = project(COCOTB);
    // On a busy machine the first limit may end them before they come to hang.
    for (limit, is_last) in [("1.5", false), ("15", false), ("90", true)] {
        let args = ["test", "--timeout", limit, "--junit", "report.xml"];
        let only = ["--testcase", "hangs", "--testcase", "hangs_at_the_end"];
        let ran = project.run(&[&args[..], &only].concat()).expect_code(1);
        assert!(!ran.text.contains(GUESS), "{}", ran.text);
        assert!(!junit(&project).0.contains(GUESS));
        // What passed and then hung took as long as it kept its place.
        let lines = ran.text.lines().filter(|line| line.contains("TIMEOUT ["));
        for line in lines {
            assert!(!line.contains("[   0."), "{line}");
        }
        if is_last || SAID.iter().all(|words| ran.text.contains(words)) {
            return expect_words(&ran, &SAID);
        }
    }
}

#[test]
fn what_the_hdl_printed_is_the_message_and_is_shown_once() {
    for cocotb in ["1.9.2", COCOTB] {
        let project = project(cocotb);
        project.file("lies", "");
        let ran = project.run(&["test", "--testcase", "fatal", "--testcase", "fine"]);
        let ran = ran.expect_code(1);
        let by = "an HDL error in the log:";
        let fatal = format!("::fatal` failed: {by} FATAL: ");
        let error = format!("::fine` failed: {by} ERROR: top.sv:3: said by Python");
        let ended = "the bus is on fire; the simulation ended before the testcase did\n";
        expect_words(&ran, &[&fatal, ended, &error]);
        assert!(ran.text.matches(GUESS).count() <= 1, "{}", ran.text);
    }
}

#[test]
fn a_failure_is_where_the_traceback_ends_in_the_testcases_file() {
    let project = project(COCOTB);
    let mut command = project.command(&["test", "--testcase", "wrong"]);
    let ran = Ran::from(command.env("COCORUN_JOBS", "").output().unwrap());
    let at = TEST_TOP.lines().position(|line| line.contains("== 7"));
    let at = format!(
        "  at test_top.py:{}: assert dut.q.value == 7\n",
        at.unwrap() + 1
    );
    expect_words(&ran.expect_code(1), &[&at, "simulated 4.999 ns,"]);
    let ran = Ran::from(command.env("COCORUN_JOBS", "many").output().unwrap());
    expect_words(&ran.expect_code(2), &["`COCORUN_JOBS` must be a number"]);
}

#[test]
fn a_missing_include_file_is_the_first_complaint() {
    let project = project(COCOTB);
    project.file("top.sv", &format!("`include \"defs.vh\"\n{TOP}"));
    let ran = project.run(&["build"]).expect_code(3);
    expect_words(&ran, &["defs.vh not found"]);
}

#[test]
fn a_filter_that_selects_nothing_is_explained() {
    let project = project(COCOTB);
    let help = |args: &[&str], code: i32| {
        let ran = project.run(&[&["list"], args].concat()).expect_code(code);
        ran.text
    };
    for (args, code, words) in [
        (&["test_top.py"][..], 4, "`--module test_top`"),
        (&["fin?"], 4, "write `*fin?`"),
        (&["fine", "wron?"], 4, "write `*wron?`"),
        (&["--module", "zzz"], 2, "known modules: `test_top`"),
    ] {
        let said = help(args, code);
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
    // Where a build failed, nobody knows what a filter would have selected.
    let broken = "[build.broken]\nsources = [\"broken.sv\"]\nhdl_toplevel = \"broken\"\n[[test]]";
    let runner = fs::read_to_string(project.path("runner.toml")).unwrap();
    project.file("runner.toml", &runner.replace("[[test]]", broken));
    project.file("broken.sv", "module broken endmodule\n");
    let said = help(&["fine", "broken::"], 3);
    assert!(!said.contains("selects no testcase"), "{said}");
}

#[test]
fn explain_shows_builds_and_not_runs() {
    let project = project(COCOTB);
    let args = ["test", "--testcase", "fine"];
    let explained = project
        .run(&[&args[..], &["--explain"]].concat())
        .expect_code(0);
    for word in [" START ", " END ", " SESSION "] {
        assert!(!explained.text.contains(word), "{}", explained.text);
    }
    let lines = explained.text.lines().count();
    let usual = project.run(&args).expect_code(0).text.lines().count();
    assert_eq!(lines, usual + 1, "{}", explained.text);
}

#[test]
fn waves_are_written_below_any_name_and_their_place_is_shown() {
    let project = Project::new();
    let runner = format!(
        "[python]\ninterpreter = \"{}\"\n{RUNNER}",
        python(COCOTB).display()
    );
    project
        .file("grün/runner.toml", &runner)
        .file("grün/top.sv", TOP)
        .file("grün/test_top.py", TEST_TOP);
    let args = ["test", "--waves", "--config", "grün/runner.toml"];
    let mut command = project.command(&[&args[..], &["--testcase", "fine"]].concat());
    // Then the compiler takes nothing behind the first source for an option.
    let output = command.env("POSIXLY_CORRECT", "1").output().unwrap();
    let ran = Ran::from(output).expect_code(0);
    let line = ran.text.lines().find(|line| line.contains("Waves "));
    let path = line.unwrap().trim_start().strip_prefix("Waves ").unwrap();
    let size = fs::metadata(project.path("grün").join(path)).unwrap().len();
    assert!(size > 100, "{path}");
}

#[test]
fn what_the_caller_got_wrong_is_not_called_a_fault_of_the_disk() {
    let project = project(COCOTB);
    let ran = project.run(&["lock", "b.lock", "--", "/etc/passwd"]);
    expect_words(&ran.expect_code(125), &["error[usage::bad-argument]"]);
    let mut command = project.command(&["list"]);
    let absent = project.path("absent");
    let ran = Ran::from(command.env("TMPDIR", &absent).output().unwrap());
    let place = format!("temporary file in `{}`", absent.display());
    expect_words(&ran.expect_code(5), &[&place, "TMPDIR"]);
    let said = project
        .run(&["explain", "lock::lost"])
        .expect_code(0)
        .stdout;
    assert!(said.contains("125") && !said.contains("code 5"), "{said}");
    let args = ["lock", "--target=dirt", "--", "mkdir", "dirt"];
    project.run(&args).expect_code(125);
    let names = fs::read_dir(project.path("")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().contains(".tmp")),
        "{names:?}"
    );
}

#[test]
fn a_missing_module_is_shown_once_with_where_it_was_looked_for() {
    for cocotb in ["1.9.2", COCOTB] {
        let project = Project::with_cocotb(
            cocotb,
            "\n[build.one]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\n\
             [build.two]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\n\
             [[test]]\ntest_module = [\"test_fifoo\", \"needs_more\"]\n",
        );
        project.file("top.sv", "module top(input logic d); endmodule\n");
        project.file("test_fifo.py", "");
        project.file("needs_more.py", "import not_installed\n");
        let ran = project.run(&["test", "--jobs", "1"]).expect_code(1);
        let looked = format!("looked in `{}`", project.path("").to_str().unwrap());
        expect_words(
            &ran,
            &[
                "`test_fifoo`; did you mean `test_fifo`?\n",
                looked.trim_end_matches(['/', '`']),
                "(`paths` and `PYTHONPATH`)",
                "the same on `two`\n",
                "No module named 'not_installed'",
                "needs_more.py\", line 1, in <module>",
            ],
        );
        for (words, times) in [("looked in", 1), ("Traceback (most", 1), ("importlib", 0)] {
            assert_eq!(ran.text.matches(words).count(), times, "{}", ran.text);
        }
        assert!(!ran.text.contains("cocorun_agent"), "{}", ran.text);
    }
}
