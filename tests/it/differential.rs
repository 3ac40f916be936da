//! Forked or spawned must make no difference: every testbench of the repository runs both ways, and
//! verdicts, seeds, simulated times, logs and files are compared testcase by testcase.
//!
//! What may differ: wall times, process ids, the names of sessions and runs, and what a simulator
//! says before the fork (which is in the server's log).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::Project;
use crate::support::Ran;
use crate::support::python;
use crate::support::repository;

/// Our own files of a run, which are no output of the testcase.
const OWN_FILES: [&str; 3] = ["request.json", "events.ndjson", "sim.log"];

/// One build of each core; `COCORUN_TEST_ALL=1` runs all, which takes minutes.
const USUAL_CORES: [&str; 5] = [
    "fifo/DEPTH=7/WIDTH=9",
    "uart/CLKS_PER_BIT=4/DATA_BITS=7",
    "spi_master/CLKS_PER_HALF_BIT=1/WIDTH=2",
    "axis_register_slice/DATA_WIDTH=8@icarus",
    "round_robin_arbiter/PORTS=3",
];

/// What one testcase left, fit to be compared.
#[derive(Debug, PartialEq)]
struct Seen {
    verdict: BTreeMap<&'static str, Value>,
    files: BTreeMap<String, String>,
    log: String,
}

/// What is to be compared, and how it was started.
struct Session {
    seen: BTreeMap<String, Seen>,
    forked: usize,
    spawned: usize,
}

/// Copies something of the repository into a project.
fn copy(name: &str, into: &Path) {
    fs::create_dir_all(into).unwrap();
    let from = repository().join(name);
    let copied = Command::new("cp").arg("-r").arg(from).arg(into).status();
    assert!(copied.unwrap().success());
}

/// Gives each testcase a process of its own, spawned or not, and all projects one build directory.
fn prepare(toml: &Path) {
    let text = fs::read_to_string(toml).unwrap();
    fs::write(toml, format!("isolation = \"testcase\"\n{text}")).unwrap();
    let shared = repository().join("target/test-env/examples");
    fs::create_dir_all(&shared).unwrap();
    let own = toml.parent().unwrap().join("sim_build");
    fs::remove_dir_all(&own).ok();
    symlink(shared, own).unwrap();
}

fn session(project: &Project, toml: &Path, args: &[&str]) -> Session {
    let mut command = project.command(&["test", "--format", "json", "--seed", "4711"]);
    let output = command.args(args).arg("--config").arg(toml).output();
    let ran = Ran::from(output.unwrap());
    let mut session = Session {
        seen: BTreeMap::new(),
        forked: 0,
        spawned: 0,
    };
    let mut session_id = String::new();
    for event in ran.events() {
        match event["event"].as_str().unwrap() {
            "session-started" => event["session_id"]
                .as_str()
                .unwrap()
                .clone_into(&mut session_id),
            "run-started" if event["spawned_because"].is_null() => session.forked += 1,
            "run-started" => session.spawned += 1,
            "testcase-finished" => {
                let id = event["testcase"]["id"].as_str().unwrap();
                let same_name = format!("{id} ");
                let is_same = |key: &&String| key.starts_with(&same_name);
                let number = session.seen.keys().filter(is_same).count();
                let occurrence = format!("{same_name}{number}");
                let seen = look(&event, &session_id);
                session.seen.insert(occurrence, seen);
            }
            _ => {}
        }
    }
    assert!(!session.seen.is_empty(), "{}", ran.stderr);
    session
}

fn look(event: &Value, session_id: &str) -> Seen {
    let verdict = [
        "outcome",
        "cause",
        "expected_failure",
        "message",
        "error_type",
        "sim_time_ns",
        "seed",
        "line",
    ];
    let dir = Path::new(event["run_dir"].as_str().unwrap_or("/nonexistent"));
    let names = |text: &str| {
        let dir = dir.to_str().unwrap();
        text.replace(dir, "RUN").replace(session_id, "SESSION")
    };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if OWN_FILES.contains(&name.as_str()) {
            continue;
        }
        let content = fs::read(entry.path()).unwrap_or_default();
        let content = names(&String::from_utf8_lossy(&content));
        let content = match name.as_str() {
            "results.xml" => without_times(&content),
            // A wave file of cocorun's asking holds dates and, compressed, cannot be compared so.
            "waves.fst" | "waves.vcd" => "waves".to_owned(),
            "own.vcd" => without_date(&content),
            _ => content,
        };
        files.insert(name, content);
    }
    let log = fs::read(dir.join("sim.log")).unwrap_or_default();
    Seen {
        verdict: verdict.map(|key| (key, event[key].clone())).into(),
        files,
        log: comparable(&names(&String::from_utf8_lossy(&log))),
    }
}

/// Leaves out what a server says before the fork, and wall times in cocotb's summary.
fn comparable(log: &str) -> String {
    let mut text = String::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if matches!(words[..], ["-.--ns", _, "gpi" | "pygpi", ..]) {
            continue;
        }
        match words[..] {
            ["**", .., "**"] if words.len() > 4 => {
                text.push_str(&words[..words.len() - 3].join(" "));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// Takes wall times and what is computed from them out of `results.xml`.
fn without_times(xml: &str) -> String {
    const WALL_TIMES: [&str; 4] = [
        " time=\"",
        " ratio_time=\"",
        " timestamp=\"",
        " name=\"sim_time_ratio\" value=\"",
    ];
    let mut text = xml.to_owned();
    for attribute in WALL_TIMES {
        let mut parts = text.split(attribute);
        let mut kept = parts.next().unwrap().to_owned();
        for part in parts {
            kept.push_str(part.split_once('"').unwrap().1);
        }
        text = kept;
    }
    text
}

/// Takes the date out of waves; with `--waves`, Icarus writes a binary form that has no such place.
fn without_date(vcd: &str) -> String {
    let cut = |text: &str| {
        let (before, rest) = text.split_once("$date")?;
        Some(format!("{before}{}", rest.split_once("$end")?.1))
    };
    cut(vcd).unwrap_or_else(|| "waves".to_owned())
}

/// Runs everything both ways and compares; returns how many testcases there were.
#[track_caller]
fn expect_no_difference(project: &Project, toml: &Path, args: &[&str], is_forked: bool) -> usize {
    let forked = session(project, toml, args);
    let no_fork = [args, &["--no-fork"]].concat();
    let spawned = session(project, toml, &no_fork);
    assert_eq!(spawned.forked, 0);
    if is_forked {
        assert_eq!(forked.spawned, 0, "all of it can be forked");
        assert_eq!(forked.forked, spawned.spawned);
    } else {
        assert_eq!(forked.forked, 0);
    }
    let keys = |session: &Session| session.seen.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&forked), keys(&spawned));
    for (key, seen) in &forked.seen {
        let other = &spawned.seen[key];
        assert_eq!(seen.verdict, other.verdict, "{key}");
        assert_eq!(seen.files, other.files, "{key}");
        assert!(
            seen.log == other.log,
            "{key}\n--- forked\n{}\n--- spawned\n{}",
            seen.log,
            other.log
        );
    }
    forked.seen.len()
}

#[test]
fn the_root_project_runs_alike_forked_and_spawned() {
    let project = Project::new();
    for name in ["hdl", "runner.toml"] {
        copy(name, &project.path("."));
    }
    copy("tests/cocotb", &project.path("tests"));
    let toml = project.path("runner.toml");
    prepare(&toml);
    assert!(expect_no_difference(&project, &toml, &[], true) > 20);
}

#[test]
fn the_cores_run_alike_forked_and_spawned_on_icarus() {
    let project = Project::new();
    copy("hdl", &project.path("."));
    copy("tests/cocotb", &project.path("tests"));
    let toml = project.path("tests/cocotb/icarus.toml");
    prepare(&toml);
    let mut args = vec!["--simulator", "icarus"];
    if std::env::var_os("COCORUN_TEST_ALL").is_none() {
        args.extend(USUAL_CORES.iter().flat_map(|build| ["--build", build]));
    }
    assert!(expect_no_difference(&project, &toml, &args, true) > 50);
}

#[test]
fn the_examples_run_alike_forked_and_spawned() {
    let project = Project::new();
    copy("examples", &project.path("."));
    let mut count = 0;
    for name in [
        "icarus-counter",
        "verilator-alu",
        "parameter-matrix",
        "mixed-python-packages",
        "makefile",
    ] {
        let toml = project.path("examples").join(name).join("runner.toml");
        prepare(&toml);
        count += expect_no_difference(&project, &toml, &[], true);
    }
    assert!(count > 40, "{count}");
}

/// Makes the project whose only purpose is to show differences.
fn telltale(cocotb: &str) -> Project {
    let project = Project::new();
    for name in ["top.sv", "contents.hex", "test_sees.py"] {
        copy(&format!("tests/differential/{name}"), &project.path("."));
    }
    let text = format!(
        "simulator = [\"icarus\", \"verilator\"]\nisolation = \"testcase\"\n\n[python]\n\
         interpreter = \"{}\"\n\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\n\
         [build.top.verilator]\nbuild_args = [\"-Wno-fatal\"]\n\n[[test]]\n\
         test_module = \"test_sees\"\nplusargs = [\"+loud\", \"+depth=7\"]\n\
         run_files = [\"contents.hex\"]\n",
        python(cocotb).display()
    );
    project.file("runner.toml", &text);
    project
}

#[track_caller]
fn expect_nothing_told(cocotb: &str) {
    let project = telltale(cocotb);
    let toml = project.path("runner.toml");
    assert_eq!(expect_no_difference(&project, &toml, &[], true), 14);
}

#[test]
fn nothing_that_a_testcase_sees_tells_that_it_was_forked_with_cocotb_1_9_2() {
    expect_nothing_told("1.9.2");
}

#[test]
fn nothing_that_a_testcase_sees_tells_that_it_was_forked_with_cocotb_2_0_1() {
    expect_nothing_told("2.0.1");
}

#[test]
fn nothing_that_a_testcase_sees_tells_that_it_was_forked_with_cocotb_2_1_0() {
    expect_nothing_told("2.1.0");
}

#[test]
fn waves_make_no_difference_on_icarus_but_that_nothing_is_forked() {
    let project = telltale("2.1.0");
    let toml = project.path("runner.toml");
    let without = session(&project, &toml, &["--simulator", "icarus"]);
    let waves = ["--simulator", "icarus", "--waves"];
    assert_eq!(expect_no_difference(&project, &toml, &waves, false), 7);
    let with = session(&project, &toml, &waves);
    for (key, seen) in &with.seen {
        assert_eq!(seen.verdict, without.seen[key].verdict, "{key}");
        // The design's own `$dumpfile` has the last word on the name.
        let has_waves = seen.files.get("own.vcd").is_some_and(|it| it == "waves");
        assert!(has_waves, "{key}");
    }
}
