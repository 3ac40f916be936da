//! What a session prints: the terminal, JUnit and JSON agree, and printed commands can be pasted.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;

use quick_junit::TestCaseStatus;
use serde_json::Value;

use crate::support::COCOTB;
use crate::support::COCOTB_VERSIONS;
use crate::support::Project;
use crate::support::Ran;
use crate::support::binary;

const TOP: &str = "\
module top(input logic clk, output logic [7:0] q);
  initial q = 0;
  always_ff @(posedge clk) q <= q + 1;
endmodule
";

const TEST_MIXED: &str = "\
import random

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def passes(dut):
    \"\"\"Does nothing much.\"\"\"
    await Timer(1, 'ns')


@cocotb.test()
async def fails_by_its_seed(dut):
    await Timer(1, 'ns')
    drawn = random.randrange(10**9)
    assert drawn < 0, f'drew {drawn} of <many> & \"more\"'


@cocotb.test(expect_fail=True)
async def fails_as_expected(dut):
    assert dut.q.value == 77


@cocotb.test(skip=True)
async def is_skipped(dut):
    assert False


@cocotb.test(timeout_time=1, timeout_unit='ns')
async def runs_out_of_simulated_time(dut):
    await Timer(1, 'us')
";

const TEST_FINE: &str = "\
import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def waits(dut):
    await Timer(1, 'ns')
";

const RUNNER: &str = "\
[build.top]
sources = [\"top.sv\"]
hdl_toplevel = \"top\"
[[test]]
test_module = [\"test_mixed\", \"test_fine\"]
";

fn project(cocotb: &str, runner_toml: &str) -> Project {
    let project = Project::with_cocotb(cocotb, runner_toml);
    project
        .file("top.sv", TOP)
        .file("test_mixed.py", TEST_MIXED)
        .file("test_fine.py", TEST_FINE);
    project
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

/// Returns the verdicts of the event stream: outcome and message by testcase.
fn verdicts(ran: &Ran) -> BTreeMap<String, (String, Value)> {
    let mut verdicts = BTreeMap::new();
    for event in ran.events() {
        if event["event"] == "testcase-finished" {
            let value = (text(&event["outcome"]), event["message"].clone());
            verdicts.insert(text(&event["testcase"]["id"]), value);
        }
    }
    verdicts
}

/// Counts how many verdicts have this outcome.
fn number_of(verdicts: &BTreeMap<String, (String, Value)>, outcome: &str) -> usize {
    verdicts
        .values()
        .filter(|(found, _)| found == outcome)
        .count()
}

#[test]
fn junit_json_and_the_terminal_agree() {
    for cocotb in COCOTB_VERSIONS {
        let project = project(cocotb, RUNNER);
        let ran = project.run(&["test", "--format", "json", "--junit", "out/report.xml"]);
        let ran = ran.expect_code(1);
        let verdicts = verdicts(&ran);
        assert_eq!(verdicts.len(), 6, "{cocotb}: {verdicts:?}");
        let events = ran.events();
        let end = events.last().unwrap();
        assert_eq!(end["event"], "session-finished");
        assert_eq!(end["exit_code"], 1);
        for outcome in ["passed", "failed", "errored", "skipped"] {
            assert_eq!(
                end["counts"][outcome],
                number_of(&verdicts, outcome),
                "{outcome}"
            );
        }
        assert_eq!(number_of(&verdicts, "passed"), 3, "{cocotb}: {verdicts:?}");
        assert_eq!(number_of(&verdicts, "skipped"), 1);
        check_junit(&project, &verdicts);
        let summary = "6 testcases on 1 build: 3 passed, 2 failed, 1 skipped";
        assert!(ran.text.contains(summary), "{cocotb}: {}", ran.text);
    }
}

fn check_junit(project: &Project, verdicts: &BTreeMap<String, (String, Value)>) {
    let xml = fs::read_to_string(project.path("out/report.xml")).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    let mut told = BTreeMap::new();
    for suite in &report.test_suites {
        assert_eq!(suite.tests, suite.test_cases.len(), "{:?}", suite.name);
        for case in &suite.test_cases {
            let (outcome, message) = match &case.status {
                TestCaseStatus::Success { .. } => ("passed", None),
                TestCaseStatus::NonSuccess {
                    kind: quick_junit::NonSuccessKind::Failure,
                    message,
                    ..
                } => ("failed", message.as_ref()),
                TestCaseStatus::NonSuccess { message, .. } => ("errored", message.as_ref()),
                TestCaseStatus::Skipped { .. } => ("skipped", None),
            };
            let id = format!("{}::{}", suite.name.as_str(), case.name.as_str());
            told.insert(
                id,
                (
                    outcome.to_owned(),
                    message.map(|text| text.as_str().to_owned()),
                ),
            );
        }
    }
    assert_eq!(report.tests, verdicts.len());
    assert_eq!(report.failures, number_of(verdicts, "failed"));
    assert_eq!(report.errors, number_of(verdicts, "errored"));
    let names: Vec<&String> = told.keys().collect();
    assert_eq!(names, verdicts.keys().collect::<Vec<_>>(), "{xml}");
    for (id, (outcome, message)) in told {
        let (wanted, words) = &verdicts[&id];
        assert_eq!(&outcome, wanted, "{id}");
        if let Some(message) = message {
            // The attribute is one line.
            let words = words.as_str().unwrap().lines().next().unwrap();
            assert!(message.contains(words), "{id}: `{message}` and `{words}`");
        }
    }
}

#[test]
fn the_printed_command_repeats_the_failure_exactly() {
    for cocotb in COCOTB_VERSIONS {
        let project = project(cocotb, RUNNER);
        let first = project.run(&["test", "--format", "json"]).expect_code(1);
        let line = first
            .stderr
            .lines()
            .find(|line| line.starts_with("help: rerun") && line.contains("fails_by_its_seed"))
            .unwrap_or_else(|| panic!("no rerun line in:\n{}", first.text));
        let command = line.split('`').nth(1).unwrap();
        assert!(command.starts_with("cocorun test "), "{command}");
        let folder = binary().parent().unwrap().display().to_string();
        let output = Command::new("sh")
            .args(["-c", &format!("{command} --format json")])
            .env(
                "PATH",
                format!("{folder}:{}", std::env::var("PATH").unwrap()),
            )
            .current_dir(project.path("."))
            .output();
        let second = Ran::from(output.unwrap()).expect_code(1);
        let (before, after) = (verdicts(&first), verdicts(&second));
        assert_eq!(after.len(), 1, "{cocotb}: {after:?}");
        let (id, verdict) = after.first_key_value().unwrap();
        assert!(id.ends_with("::fails_by_its_seed"), "{id}");
        assert!(verdict.1.as_str().unwrap().contains("drew "), "{verdict:?}");
        assert_eq!(
            Some(verdict),
            before.get(id),
            "{cocotb}: the same number is drawn"
        );
    }
}

const ESCAPE: char = '\u{1b}';

#[test]
fn colour_is_chosen_by_flag_then_by_variable_then_by_terminal() {
    let project = project(COCOTB, RUNNER);
    let stderr = |args: &[&str], no_color: bool| {
        let mut command = project.command(args);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        Ran::from(command.output().unwrap()).expect_code(0).text
    };
    let fine = ["test", "--module", "test_fine"];
    let with = |flag: &'static str| [&fine[..], &["--color", flag]].concat();
    assert!(
        !stderr(&fine, false).contains(ESCAPE),
        "a pipe is no terminal"
    );
    assert!(!stderr(&fine, true).contains(ESCAPE));
    assert!(!stderr(&with("never"), false).contains(ESCAPE));
    assert!(stderr(&with("always"), false).contains(ESCAPE));
    assert!(
        stderr(&with("always"), true).contains(ESCAPE),
        "a flag outranks a variable"
    );
    let plain = stderr(&fine, false);
    let passes = plain.lines().find(|line| line.contains("PASS")).unwrap();
    assert!(passes.contains("top::test_fine::waits"), "{passes}");
}

#[test]
fn quiet_and_verbose_leave_out_and_add() {
    let project = project(COCOTB, RUNNER);
    let stderr = |args: &[&str], code| project.run(args).expect_code(code).text;
    let usual = stderr(&["test"], 1);
    let quiet = stderr(&["test", "--quiet"], 1);
    let verbose = stderr(&["test", "--verbose"], 1);
    assert!(usual.contains("PASS") && verbose.contains("PASS"));
    assert!(!quiet.contains("PASS"), "{quiet}");
    for said in [&usual, &quiet, &verbose] {
        assert!(said.contains("error[test::failed]"), "{said}");
        assert!(said.contains("3 passed, 2 failed, 1 skipped"), "{said}");
    }
    assert!(!usual.contains("PYTHON"), "{usual}");
    for word in ["PYTHON", "TOOL", "cocotb 2.1.0", "Icarus Verilog"] {
        assert!(verbose.contains(word), "{word} in {verbose}");
    }
}

const TEST_MANY: &str = "\
import cocotb


class Unrelated:
    pass


@cocotb.test()
@cocotb.parametrize(width=[1, 2], name=['a', 'b'])
async def varies(dut, width, name):
    \"\"\"Varies.

    At length.
    \"\"\"


@cocotb.test(stage=3)
async def comes_late(dut):
    pass


@cocotb.test(skip=True)
async def is_skipped(dut):
    pass
";

#[test]
fn a_list_names_file_and_line_of_every_testcase() {
    let runner = RUNNER.replace("[\"test_mixed\", \"test_fine\"]", "\"tests.test_many\"");
    let project = project(COCOTB, &runner);
    project
        .file("tests/__init__.py", "")
        .file("tests/test_many.py", TEST_MANY);
    let ran = project.run(&["list", "--format", "json"]).expect_code(0);
    assert!(!ran.text.contains("error"), "{}", ran.text);
    let listed = ran.events();
    assert_eq!(listed.len(), 6, "{}", ran.stdout);
    let lines: Vec<&str> = TEST_MANY.lines().collect();
    for testcase in &listed {
        assert_eq!(testcase["module"], "tests.test_many");
        let file = text(&testcase["file"]);
        assert_eq!(
            file,
            project.path("tests/test_many.py").display().to_string()
        );
        let line = usize::try_from(testcase["line"].as_u64().unwrap()).unwrap();
        // A decorated function begins where its first decorator stands, or at its own line.
        let name = text(&testcase["testcase"]);
        let plain = name.split('/').next().unwrap();
        let near = lines[line - 1..]
            .iter()
            .take(3)
            .any(|line| line.starts_with(&format!("async def {plain}(")));
        assert!(near, "{name} is not at line {line}");
    }
    let varied: BTreeSet<String> = listed
        .iter()
        .map(|testcase| text(&testcase["testcase"]))
        .filter(|name| name.starts_with("varies"))
        .collect();
    assert_eq!(varied.len(), 4, "{varied:?}");
    let skipped = listed
        .iter()
        .filter(|testcase| testcase["skip"] == true)
        .count();
    assert_eq!(skipped, 1);
    assert_eq!(listed[0]["doc"], "Varies.");
    let late = listed
        .iter()
        .find(|testcase| testcase["stage"] == 3)
        .unwrap();
    assert_eq!(late["testcase"], "comes_late");
    // What is listed can be run by the name it is listed under.
    for name in varied {
        let ran = project.run(&["test", "--testcase", &name, "--format", "json"]);
        let verdicts = verdicts(&ran.expect_code(0));
        assert_eq!(verdicts.len(), 1, "{name}: {verdicts:?}");
        assert_eq!(number_of(&verdicts, "passed"), 1);
    }
}

#[test]
fn every_run_with_waves_leaves_a_wave_file_of_its_own() {
    let runner = format!("simulator = [\"icarus\", \"verilator\"]\n{RUNNER}");
    for cocotb in [COCOTB, "1.9.2"] {
        let project = project(cocotb, &runner);
        let ran = project
            .share_runtime()
            .run(&["test", "--waves", "--format", "json"])
            .expect_code(1);
        let mut files = BTreeMap::new();
        for event in ran.events() {
            // Icarus opens the file when time begins to pass, which a testcase may not wait for.
            let has_run = event["sim_time_ns"].as_f64().is_some_and(|time| time > 0.0);
            if event["event"] == "testcase-finished" && has_run {
                let waves = text(&event["waves"]);
                let dir = text(&event["run_dir"]);
                assert!(waves.starts_with(&dir), "{waves} is not in {dir}");
                let size = fs::metadata(&waves).map_or(0, |found| found.len());
                files.insert(waves, (size, text(&event["testcase"]["build"])));
            }
        }
        for simulator in ["icarus", "verilator"] {
            let of = files
                .values()
                .filter(|(_, build)| build.ends_with(simulator));
            assert!(of.count() >= 1, "{cocotb}: {files:?}");
        }
        for (file, (size, _)) in files {
            assert!(size > 100, "{cocotb}: {file} has {size} bytes");
        }
        // Without the flag, nothing is written; `differential` has the same of Verilator.
        let args = ["test", "--simulator", "icarus", "--format", "json"];
        let ran = project.run(&args).expect_code(1);
        assert!(ran.events().iter().all(|event| event["waves"].is_null()));
    }
}

#[test]
fn sessions_side_by_side_collide_nowhere() {
    let project = project(
        COCOTB,
        &RUNNER.replace("[\"test_mixed\", \"test_fine\"]", "\"test_fine\""),
    );
    let sessions: Vec<Ran> = thread::scope(|scope| {
        let project = &project;
        let loops: Vec<_> = (0..2)
            .map(|number| {
                let junit = format!("report-{number}.xml");
                scope.spawn(move || {
                    let args = ["test", "--format", "json", "--junit", &junit];
                    (0..4).map(|_| project.run(&args)).collect::<Vec<_>>()
                })
            })
            .collect();
        loops
            .into_iter()
            .flat_map(|runs| runs.join().unwrap())
            .collect()
    });
    let mut ids = BTreeSet::new();
    let mut dirs = BTreeSet::new();
    let mut built = 0;
    for ran in sessions {
        let ran = ran.expect_code(0);
        for event in ran.events() {
            match event["event"].as_str().unwrap() {
                "session-started" => assert!(ids.insert(text(&event["session_id"]))),
                "run-started" => assert!(dirs.insert(text(&event["dir"]))),
                "build-finished" if event["outcome"] == "built" => built += 1,
                _ => {}
            }
        }
        assert_eq!(number_of(&verdicts(&ran), "passed"), 1);
    }
    assert_eq!((ids.len(), dirs.len(), built), (8, 8, 1));
}

#[test]
fn an_error_in_a_final_block_fails_the_last_testcase() {
    let project = Project::with_cocotb(
        COCOTB,
        "[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\
         [[test]]\ntest_module = \"test_top\"\n",
    );
    project
        .file(
            "top.sv",
            "module top; logic a; final $error(\"scoreboard is not empty\"); endmodule\n",
        )
        .file(
            "test_top.py",
            "import cocotb\nfrom cocotb.triggers import Timer\n\n\n\
             @cocotb.test()\nasync def is_green(dut):\n    await Timer(1, 'ns')\n",
        );
    let ran = project.run(&["test"]).expect_code(1);
    assert!(ran.text.contains("scoreboard is not empty"), "{}", ran.text);
}
