//! In which order runs start: what earlier sessions have measured, and what becomes of it when
//! sessions share it.

use std::fs;

use crate::live::Ended;
use crate::live::Live;
use crate::processes::Watch;
use crate::support::COCOTB;
use crate::support::Project;
use crate::support::repository;

use std::time::Duration;

/// A session that nothing holds up.
const SESSION: Duration = Duration::from_secs(120);
/// Short testcases, the long one among them, and one that fails.
const MODULE: &str = "\
import time
import cocotb
from hdl_commands import check_inverter

@cocotb.test()
async def short_one(dut):
    await check_inverter(dut)

@cocotb.test()
async def short_two(dut):
    await check_inverter(dut)

@cocotb.test()
async def long(dut):
    time.sleep(1.5)

@cocotb.test()
async def short_three(dut):
    await check_inverter(dut)

@cocotb.test()
async def short_bad(dut):
    assert False
";
const AS_PLANNED: [&str; 5] = ["short_one", "short_two", "long", "short_three", "short_bad"];
/// What follows where all but the long one took less than [`SHORT_S`].
const AS_MEASURED: [&str; 5] = ["long", "short_bad", "short_one", "short_two", "short_three"];
/// Seconds below which all durations count as equal; above it, those between two powers of two of
/// it do (`docs/architecture.md`).
const SHORT_S: f64 = 0.062;

fn project(build: &str) -> Project {
    let project = Project::with_cocotb(
        COCOTB,
        &format!(
            "\n[build.{build}]\nsources = [\"commands.sv\", \"plain.sv\"]\nhdl_toplevel = \"plain\"\n\
             [[test]]\nbuild = \"{build}\"\ntest_module = \"mixed\"\n"
        ),
    );
    for name in ["commands.sv", "plain.sv", "hdl_commands.py"] {
        let path = repository().join("tests/traps").join(name);
        project.file(name, &fs::read_to_string(path).unwrap());
    }
    project.file("mixed.py", MODULE);
    project
}

/// Starts a session with one slot, so that the order of starts is the order of the queue.
fn start(project: &Project) -> Live {
    Live::start(&mut project.command(&["test", "--format", "json", "--jobs", "1"]))
}

fn started(ended: &Ended) -> Vec<&str> {
    ended
        .named("testcase-started")
        .into_iter()
        .map(|event| event["testcase"]["testcase"].as_str().unwrap())
        .collect()
}

#[track_caller]
fn expect_order(project: &Project, wanted: &[&str]) -> Ended {
    let ended = start(project).end(SESSION);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert_eq!(started(&ended), wanted);
    ended
}

/// Returns the order that follows from what a session has measured: a busy machine may hold a short
/// testcase up for as long as the long one takes.
fn order_after(ended: &Ended) -> Vec<&str> {
    let finished = ended.named("testcase-finished");
    let mut runs: Vec<(&str, f64, bool)> = finished
        .iter()
        .map(|event| {
            let name = event["testcase"]["testcase"].as_str().unwrap();
            let duration_s = event["duration_s"].as_f64().unwrap();
            let is_short = duration_s < SHORT_S;
            let counted_s = if is_short { 0.0 } else { duration_s };
            (name, counted_s, event["outcome"] != "passed")
        })
        .collect();
    let planned = |name: &str| AS_PLANNED.iter().position(|it| *it == name);
    runs.sort_by_key(|run| planned(run.0));
    runs.sort_by(|one, other| {
        let magnitude = |run: &(&str, f64, bool)| (run.1 / SHORT_S).log2().floor();
        let by_magnitude = magnitude(other).total_cmp(&magnitude(one));
        let by_outcome = other.2.cmp(&one.2);
        by_magnitude
            .then(by_outcome)
            .then(other.1.total_cmp(&one.1))
    });
    let order: Vec<&str> = runs.iter().map(|run| run.0).collect();
    if runs.iter().all(|run| run.1 == 0.0 || run.0 == "long") {
        assert_eq!(order, AS_MEASURED, "on a machine that is not busy");
    }
    order
}

fn history_files(project: &Project) -> Vec<String> {
    fs::read_dir(project.path("sim_build/history"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_second_session_starts_the_long_testcase_first_and_then_what_failed() {
    let project = project("plain");
    let first = expect_order(&project, &AS_PLANNED);
    expect_order(&project, &order_after(&first));
    assert_eq!(history_files(&project).len(), 1);
}

#[test]
fn an_edited_design_keeps_its_order() {
    let project = project("plain");
    let first = expect_order(&project, &AS_PLANNED);
    let design = fs::read_to_string(project.path("plain.sv")).unwrap();
    project.file("plain.sv", &format!("{design}// edited\n"));
    expect_order(&project, &order_after(&first));
}

#[test]
fn sessions_at_once_and_a_damaged_history_cost_nothing_but_the_order() {
    let project = project("plain");
    let other = self::project("other");
    let toml = fs::read_to_string(other.path("runner.toml")).unwrap();
    let shared = project.path("sim_build");
    let toml = format!("build_dir = \"{}\"\n{toml}", shared.display());
    other.file("runner.toml", &toml);
    expect_order(&project, &AS_PLANNED);
    let [whole] = &history_files(&project)[..] else {
        panic!("one session leaves one file")
    };
    let text = fs::read_to_string(project.path(&format!("sim_build/history/{whole}"))).unwrap();
    let cut = &text[..text.len() / 2];
    fs::remove_file(project.path(&format!("sim_build/history/{whole}"))).unwrap();
    for (name, content) in [
        ("20200101T000000-cut", cut),
        ("20300101T000000-x", "\0\u{1}"),
    ] {
        project.file(&format!("sim_build/history/{name}.ndjson"), content);
    }
    project.file("sim_build/history/folder.ndjson/file", "");

    let watch = Watch::over(&project.path(""));
    let both = [start(&project), start(&other)].map(|live| live.end(SESSION));
    watch.expect_nothing_left();
    for ended in &both {
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        assert_eq!(started(ended), AS_PLANNED, "what is damaged says nothing");
    }
    expect_order(&project, &order_after(&both[0]));
    expect_order(&other, &order_after(&both[1]));
}

#[test]
fn nothing_is_written_outside_the_build_directory_by_any_command() {
    for commands in [["list", "test"], ["build", "list"], ["test", "build"]] {
        let project = project("plain");
        let names = || {
            let entries = fs::read_dir(project.path("")).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.retain(|name| name != "sim_build");
            names.sort();
            names
        };
        let before = names();
        for command in commands {
            project.run(&[command, "--jobs", "1"]);
        }
        assert_eq!(names(), before, "{commands:?}");
        assert_eq!(history_files(&project).len(), 1, "{commands:?}");
    }
}
