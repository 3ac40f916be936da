//! Every module of `tests/traps` on every simulator and every cocotb, verdict by verdict.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use crate::junit;
use crate::processes::Watch;
use crate::support::Project;
use crate::support::Ran;
use crate::support::python;
use crate::support::repository;
use crate::traps_table::MODULE;
use crate::traps_table::Right;
use crate::traps_table::TRAPS;
use crate::traps_table::Target;

/// The modules that hang, of which a session's time is made; they have a session of their own.
const HANGING: [&str; 6] = [
    "trap_hang_at_import",
    "trap_hdl_zero_delay_loop",
    "clocked_trap_endless_simulated_time",
    "trap_python_loop",
    "trap_sleep_ignoring_sigterm",
    "trap_thread_never_ends",
];
/// More than processors: some of the hanging ones do nothing.
const JOBS: &str = "3";
/// Limit of what does not hang, so that a slow machine alone is no timeout.
const PATIENT_S: &str = "120";
/// Limits of what hangs, and whether it is the last to be tried. The first is kept short, for a
/// session's time is made of it.
const HANGING_LIMITS_S: [(&str, bool); 3] = [("5", false), ("20", false), ("60", true)];
/// The event of a verdict.
const FINISHED: &str = "testcase-finished";

#[test]
fn every_trap_has_its_right_verdict_on_icarus_with_cocotb_1_9_2() {
    check_all("icarus", "1.9.2");
}

#[test]
fn every_trap_has_its_right_verdict_on_icarus_with_cocotb_2_0_1() {
    check_all("icarus", "2.0.1");
}

#[test]
fn every_trap_has_its_right_verdict_on_icarus_with_cocotb_2_1_0() {
    check_all("icarus", "2.1.0");
}

#[test]
fn every_trap_has_its_right_verdict_on_verilator_with_cocotb_1_9_2() {
    check_all("verilator", "1.9.2");
}

#[test]
fn every_trap_has_its_right_verdict_on_verilator_with_cocotb_2_0_1() {
    check_all("verilator", "2.0.1");
}

#[test]
fn every_trap_has_its_right_verdict_on_verilator_with_cocotb_2_1_0() {
    check_all("verilator", "2.1.0");
}

#[test]
fn a_trap_alone_never_ends_with_exit_code_0() {
    let target = Target {
        simulator: "icarus",
        cocotb: "2.1.0",
    };
    let project = traps();
    for module in [
        "trap_empty_parametrize",
        "trap_exit_status_after_results",
        "trap_fakes_results",
        "trap_hdl_error",
        "trap_no_testcases",
        "trap_os_exit_0",
    ] {
        let ran = session(
            &project,
            target,
            &["--timeout", PATIENT_S, "--module", module],
        )
        .expect_code(1);
        let events = ran.events();
        assert!(!events_named(&events, FINISHED).is_empty());
    }
}

#[test]
fn a_toplevel_that_is_not_in_the_design_is_a_failed_build() {
    let project = traps();
    let ran = run(project
        .command(&["test", "--config", "toplevel_not_in_design.toml"])
        .args(["--format", "json"])
        .env("VIRTUAL_ENV", environment("2.1.0")))
    .expect_code(3);
    let events = ran.events();
    let finished = events_named(&events, FINISHED);
    assert_eq!(finished.len(), 2, "one per simulator: {finished:#?}");
    for event in finished {
        assert_eq!(event["outcome"], "errored");
        assert_eq!(event["cause"], "build");
    }
    assert!(events_named(&events, "run-started").is_empty());
    assert!(ran.text.matches("plian").count() >= 2, "{}", ran.text);
}

#[test]
fn every_trap_module_is_in_the_table_and_in_the_readme() {
    let in_table: BTreeSet<&str> = TRAPS.iter().map(|trap| trap.module).collect();
    assert_eq!(in_table.len(), TRAPS.len(), "a module stands there twice");
    let folder = repository().join("tests/traps");
    let on_disk: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| Some(name.strip_suffix(".py")?.to_owned()))
        .filter(|name| name != "hdl_commands")
        .collect();
    assert!(
        on_disk
            .iter()
            .map(String::as_str)
            .eq(in_table.iter().copied())
    );
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let in_readme: BTreeSet<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .filter(|first| *first != "module")
        .collect();
    assert_eq!(in_readme, in_table);
}

fn check_all(simulator: &'static str, cocotb: &'static str) {
    let target = Target { simulator, cocotb };
    let project = traps();
    let all = TRAPS.iter().map(|trap| trap.module);
    let (hanging, others): (Vec<&str>, Vec<&str>) =
        all.partition(|module| HANGING.contains(module));
    let events = checked_session(&project, target, &others, PATIENT_S);
    let wrong = differences(target, &others, &events_named(&events, FINISHED));
    assert!(wrong.is_empty(), "{target:?}\n{wrong:#?}");
    let report = fs::read_to_string(project.path("junit.xml")).unwrap();
    assert!(report.contains("the last line before the failure"));
    for (limit_s, is_last) in HANGING_LIMITS_S {
        let events = checked_session(&project, target, &hanging, limit_s);
        for run in events_named(&events, "run-finished") {
            let limit_s: f64 = limit_s.parse().unwrap();
            assert!(
                run["duration_s"].as_f64().unwrap() < limit_s + 30.0,
                "{run}"
            );
        }
        let finished = events_named(&events, FINISHED);
        let wrong = differences(target, &hanging, &finished);
        if wrong.is_empty() {
            break;
        }
        // Only a machine too slow for the limit is an excuse, and it shows as what must not time out.
        let was_slow = finished
            .iter()
            .any(|event| event["outcome"] == "timed-out" && !may_time_out(target, event));
        assert!(was_slow && !is_last, "{target:?} {limit_s} s\n{wrong:#?}");
    }
    expect_green_alone(&project, target);
}

/// Says whether the table lets this testcase time out.
fn may_time_out(target: Target, finished: &Value) -> bool {
    let id = &finished["testcase"];
    TRAPS
        .iter()
        .filter(|trap| id["module"] == trap.module)
        .flat_map(|trap| trap.on(target))
        .any(|(testcase, right)| id["testcase"] == testcase && right.contains(&"timed-out"))
}

/// Runs some of the modules, checks that every report of it says the same, and returns its events.
fn checked_session(
    project: &Project,
    target: Target,
    modules: &[&str],
    limit_s: &str,
) -> Vec<Value> {
    let mut args = vec!["--junit", "junit.xml", "--timeout", limit_s];
    args.extend(modules.iter().flat_map(|module| ["--module", module]));
    let watch = Watch::over(&project.path(""));
    let ran = session(project, target, &args);
    watch.expect_nothing_left();
    assert!(watch.groups_seen() > 2, "the watch saw too little");
    drop(watch);
    let ran = ran.expect_code(1);
    let events = ran.events();
    let finished = events_named(&events, FINISHED);
    expect_one_result_for_each_listed(modules, &events, &finished);
    expect_counts(&events, &finished);
    junit::expect_agrees(&project.path("junit.xml"), &finished);
    assert!(!ran.text.contains('\u{1b}'), "the terminal is repainted");
    events
}

/// Checks what must be green although it looks dangerous, with nothing bad beside it.
fn expect_green_alone(project: &Project, target: Target) {
    let watch = Watch::over(&project.path(""));
    let ran = session(
        project,
        target,
        &[
            "--module=trap_changes_directory",
            "--module=trap_leaves_daemon",
            "--module=trap_passes_early",
            "--module=trap_reads_stdin",
            "--module=trap_skip",
            "--timeout",
            PATIENT_S,
        ],
    )
    .expect_code(0);
    watch.expect_nothing_left();
    let events = ran.events();
    assert_eq!(events_named(&events, FINISHED).len(), 13);
    let one = [
        "--module=trap_suffix_names",
        "--testcase=test_a",
        "--timeout",
        PATIENT_S,
    ];
    let events = session(project, target, &one).expect_code(0).events();
    for name in ["testcase-started", FINISHED] {
        let of_name = events_named(&events, name);
        assert_eq!(of_name.len(), 1, "{of_name:#?}");
        assert_eq!(of_name[0]["testcase"]["testcase"], "test_a");
    }
}

/// Makes a project of all traps: their simulators write beside them.
fn traps() -> Project {
    let project = Project::new();
    project.share_runtime();
    for entry in fs::read_dir(repository().join("tests/traps")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            let name = entry.file_name().into_string().unwrap();
            project.file(&name, &fs::read_to_string(entry.path()).unwrap());
        }
    }
    project
}

fn environment(cocotb: &str) -> PathBuf {
    let python = python(cocotb);
    python.parent().unwrap().parent().unwrap().to_owned()
}

fn session(project: &Project, target: Target, args: &[&str]) -> Ran {
    run(project
        .command(&["test", "--format", "json", "--jobs", JOBS])
        .args(["--simulator", target.simulator])
        .args(args)
        .env("VIRTUAL_ENV", environment(target.cocotb)))
}

/// Runs cocorun with a standard input on which nobody types and that never ends.
fn run(command: &mut Command) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let never_typed = child.stdin.take();
    let ran = Ran::from(child.wait_with_output().unwrap());
    drop(never_typed);
    ran
}

fn events_named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == name)
        .collect()
}

/// Outcomes by module and testcase; two of one name are both there.
type Outcomes = BTreeMap<(String, String), Vec<String>>;

fn outcomes(finished: &[&Value]) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for event in finished {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let testcase = &event["testcase"];
        outcomes
            .entry((text(&testcase["module"]), text(&testcase["testcase"])))
            .or_default()
            .push(text(&event["outcome"]));
    }
    outcomes
}

/// Says where results differ from the table.
fn differences(target: Target, modules: &[&str], finished: &[&Value]) -> Vec<String> {
    let mut outcomes = outcomes(finished);
    let mut wrong = Vec::new();
    for trap in TRAPS.iter().filter(|trap| modules.contains(&trap.module)) {
        let mut wanted: BTreeMap<String, Vec<Right>> = BTreeMap::new();
        for (testcase, right) in trap.on(target) {
            wanted.entry(testcase).or_default().push(right);
        }
        for (testcase, rights) in wanted {
            let key = (trap.module.to_owned(), testcase);
            let found = outcomes.remove(&key).unwrap_or_default();
            if !agree(&found, &rights) {
                wrong.push(format!("{key:?}: {found:?}, but right is {rights:?}"));
            }
        }
    }
    let more = outcomes.iter();
    wrong.extend(more.map(|more| format!("{more:?} is in no table")));
    wrong
}

/// Says whether each outcome is one of the right ones, in some order.
fn agree(found: &[String], rights: &[Right]) -> bool {
    let mut open = rights.to_vec();
    found.len() == rights.len()
        && found.iter().all(|outcome| {
            let place = open
                .iter()
                .position(|right| right.contains(&outcome.as_str()));
            place.map(|place| open.remove(place)).is_some()
        })
}

/// Checks that every listed testcase, and every module that could not be listed, has one result.
#[track_caller]
fn expect_one_result_for_each_listed(planned: &[&str], events: &[Value], finished: &[&Value]) {
    let id = |testcase: &Value| testcase["id"].as_str().unwrap().to_owned();
    let mut listed: Vec<String> = Vec::new();
    let mut modules = BTreeSet::new();
    for event in events_named(events, "module-listed") {
        assert!(modules.insert(event["module"].as_str().unwrap().to_owned()));
        listed.extend(event["selected"].as_array().unwrap().iter().map(id));
    }
    let (whole, mut decided): (Vec<String>, Vec<String>) = finished
        .iter()
        .map(|event| id(&event["testcase"]))
        .partition(|id| id.ends_with(MODULE));
    listed.sort();
    decided.sort();
    assert_eq!(listed, decided);
    assert_eq!(whole.len() + modules.len(), planned.len());
}

#[track_caller]
fn expect_counts(events: &[Value], finished: &[&Value]) {
    let ends = events_named(events, "session-finished");
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0]["exit_code"], 1);
    for (name, outcome) in [
        ("passed", "passed"),
        ("failed", "failed"),
        ("errored", "errored"),
        ("timed_out", "timed-out"),
        ("skipped", "skipped"),
        ("not_run", "not-run"),
    ] {
        let count = finished
            .iter()
            .filter(|event| event["outcome"] == outcome)
            .count();
        assert_eq!(ends[0]["counts"][name], count, "{name}");
    }
}
