//! Together with processes of the unmodified pytest-cocotb, some of which are killed.
//!
//! `COCORUN_PYTEST_COCOTB` names the directory that contains its package `pytest_cocotb`.

use crate::once::call_once::CallOnce;
use crate::once::call_once::EnterOutcome;
use crate::options::Options;
use crate::outcome::Acceptance;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::clock::SystemClock;
use cocorun_edge::env::Environment;
use cocorun_edge::machine::Machine;
use cocorun_edge::machine::SystemMachine;
use cocorun_edge::storage::Storage;
use cocorun_edge::storage::SystemStorage;
use std::fmt::Write;
use std::process::Child;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const STORM_VARIABLE: &str = "COCORUN_INTEROP_DIR";
const PYTHON: &str = r#"
import os, sys, time, random
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from pytest_cocotb.nfs_lock import NFSLock
root = Path(sys.argv[1])
log = open(root / f"python.{os.getpid()}.{time.monotonic_ns()}", "w", buffering=1)
while True:
    try:
        with NFSLock(root / ".locks" / "step.lock", timeout=60, poll_interval=0.01):
            start = time.monotonic_ns()
            print(start, "in", file=log)
            time.sleep(random.random() * 0.01)
            print(time.monotonic_ns(), "out", file=log)
    except FileNotFoundError:
        pass  # Its own race between two breakers.
    time.sleep(random.random() * 0.005)
"#;

/// Leads again and again, each time noting when it was inside.
#[test]
fn interop_child() {
    let environment = Environment::of_this_process();
    let Some(root) = environment.get(STORM_VARIABLE).map(Utf8PathBuf::from) else {
        return;
    };
    let name = format!("cocorun.{:032x}", SystemMachine.random());
    let mut lines = String::new();
    let options = Options {
        lease: Duration::from_secs(3),
        heartbeat: Duration::from_millis(300),
        poll_max: Duration::from_millis(50),
        ..Options::new("storm")
    };
    let storage = Arc::new(SystemStorage);
    let clock = Arc::new(SystemClock);
    let mut once = CallOnce::new(storage, clock, root.clone(), "step", options);
    let mut note = |what: &str| {
        let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
        writeln!(lines, "{}{:09} {what}", time.tv_sec(), time.tv_nsec()).expect("a string");
        SystemStorage
            .write_file(&root.join(&name), lines.as_bytes())
            .expect("writable");
    };
    loop {
        let entry = once.enter(&mut |_| Acceptance::Broken("again".to_owned()));
        match entry.expect("a local directory works") {
            EnterOutcome::Lead(leader) => {
                note("in");
                SystemClock.sleep(Duration::from_millis(5));
                note("out");
                leader
                    .publish(serde_json::json!(1))
                    .expect("a local directory works");
            }
            EnterOutcome::Wait { retry_in, .. } => {
                SystemClock.sleep(retry_in.min(Duration::from_millis(50)));
            }
            other => panic!("came to {other:?}"),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the storm needs processes it can kill"
)]
fn spawn(root: &Utf8Path, package: Option<&str>) -> Child {
    let mut command = if let Some(package) = package {
        let mut command = Command::new("python3");
        command.args(["-B", "-c", PYTHON, root.as_str(), package]);
        command
    } else {
        let mut command = Command::new(std::env::current_exe().expect("this test has a path"));
        command.args(["tests::interop_storm::interop_child", "--exact"]);
        command.env(STORM_VARIABLE, root);
        command
    };
    command.spawn().expect("a child starts")
}

/// Reads when each kind of process was inside; one that died inside has no end.
fn intervals(root: &Utf8Path, kind: &str) -> Vec<(u128, u128)> {
    let mut found = Vec::new();
    for name in SystemStorage.list(root).expect("the storm's directory") {
        if !name.starts_with(kind) {
            continue;
        }
        let text = SystemStorage.read_file(&root.join(name)).expect("a log");
        let text = String::from_utf8(text).expect("ASCII");
        let mut begin = None;
        for line in text.lines() {
            match line.split_once(' ') {
                Some((time, "in")) => begin = time.parse().ok(),
                Some((time, "out")) => {
                    found.extend(begin.take().zip(time.parse().ok()));
                }
                _ => {}
            }
        }
    }
    found
}

fn overlaps(left: &[(u128, u128)], right: &[(u128, u128)]) -> usize {
    left.iter()
        .map(|a| right.iter().filter(|b| a.0 < b.1 && b.0 < a.1).count())
        .sum()
}

#[test]
#[ignore = "takes minutes and needs pytest-cocotb's sources; tests/run --lab runs it"]
#[expect(clippy::print_stderr, reason = "the measurements belong in the log")]
fn unmodified_pytest_cocotb_processes_are_never_inside_with_us() {
    let environment = Environment::of_this_process();
    let package = environment
        .get("COCORUN_PYTEST_COCOTB")
        .expect("COCORUN_PYTEST_COCOTB names the directory that holds the package");
    let seconds: u32 = environment
        .get("COCORUN_SOAK")
        .map_or(120, |n| n.parse().expect("seconds"));
    let temp = tempfile::tempdir().expect("a temporary directory");
    let root = Utf8PathBuf::try_from(temp.path().to_path_buf()).expect("a UTF-8 path");
    SystemStorage
        .create_dir(&root.join(".locks"))
        .expect("a directory");
    let kind = |index: usize| index.is_multiple_of(2).then_some(package);
    let mut children: Vec<Child> = (0..6).map(|index| spawn(&root, kind(index))).collect();
    let mut kills = 0;
    for round in 0..seconds * 5 {
        SystemClock.sleep(Duration::from_millis(200));
        let random = usize::try_from(SystemMachine.random() % 60).expect("small");
        if round % 4 == 0 {
            let index = random % 6;
            children[index].kill().expect("it is our child");
            children[index].wait().expect("it is our child");
            children[index] = spawn(&root, kind(index));
            kills += 1;
        }
    }
    for mut child in children {
        assert_eq!(
            child.try_wait().expect("it is our child"),
            None,
            "a child gave up"
        );
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }
    let (ours, theirs) = (intervals(&root, "cocorun."), intervals(&root, "python."));
    let among_them = overlaps(&theirs, &theirs) - theirs.len();
    let (us, them) = (ours.len(), theirs.len());
    eprintln!("{us} entries of ours, {them} of pytest-cocotb's, {kills} kills");
    eprintln!("overlaps among pytest-cocotb's own processes: {among_them}");
    assert!(us > 10 && them > 10, "too few entries to prove anything");
    assert_eq!(overlaps(&ours, &ours), us, "two leaders at once");
    assert_eq!(
        overlaps(&ours, &theirs),
        0,
        "we were inside with pytest-cocotb"
    );
}
