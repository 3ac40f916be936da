//! pytest-cocotb's locks and ours at the same work in the same harness, in the nodes of the lab.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use camino::Utf8PathBuf;
use cocorun::edge::clock::SystemClock;
use cocorun::edge::machine::Machine;
use cocorun::edge::machine::SystemMachine;
use cocorun::edge::storage::SystemStorage;
use cocorun::lock::CallOnce;
use cocorun::lock::Failure;
use cocorun::lock::Leader;
use cocorun::lock::Options;
use cocorun::lock::acquire::NfsLock;
use serde_json::json;

use crate::nfs::worker::VARIABLE;
use crate::nfs::worker::now_s;
use crate::nfs::worker::say;

/// How long one caller may wait for one round of [`crowd`].
const ROUND_MAX: Duration = Duration::from_secs(30);

/// Makes the modules of the unmodified package importable, without what its `__init__` imports.
const PACKAGE: &str = r#"
import sys, types
package, *arguments = sys.argv[1:]
sys.modules["pytest_cocotb"] = module = types.ModuleType("pytest_cocotb")
module.__path__ = [package + "/pytest_cocotb"]
"#;

/// The same rounds as in [`rounds`] by pytest-cocotb's guard; a stuck round is said and left.
const ROUNDS: &str = r#"
import time
from pathlib import Path
from pytest_cocotb.guard import CallOnce
root, count, limit = arguments
for round in range(int(count)):
    try:
        CallOnce(Path(f"{root}/round{round}"), "step", lambda: time.sleep(0.1), float(limit)).ensure_done()
    except OSError as error:
        print("@stuck", round, type(error).__name__, flush=True)
"#;

fn ours(words: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "nfs::worker::nfs_worker",
        "--exact",
        "--nocapture",
        "--quiet",
    ]);
    command.env(VARIABLE, words);
    command
}

fn theirs(script: &str, arguments: &[&str], package: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-B", "-c", &format!("{PACKAGE}{script}"), package]);
    command.args(arguments);
    command
}

/// Lets many processes of this node go through the same steps, one after the other.
///
/// With pytest-cocotb's guard, or ours beside it where the package is `-`. Says in how many rounds
/// somebody came to no end.
pub(crate) fn crowd(root: &str, processes: u64, count: u64, package: &str) {
    let children: Vec<Child> = (0..processes)
        .map(|_| {
            let mut command = if package == "-" {
                ours(&format!("rounds {root} {count}"))
            } else {
                let limit = ROUND_MAX.as_secs().to_string();
                theirs(ROUNDS, &[root, &count.to_string(), &limit], package)
            };
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let begun = Instant::now();
    let mut stuck = std::collections::BTreeSet::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "a process of the crowd died");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rounds = text.lines().filter_map(|line| line.split_once("@stuck "));
        stuck.extend(rounds.map(|(_, what)| what.split(' ').next().unwrap().to_owned()));
    }
    say("stuck", stuck.len());
    say("seconds", begun.elapsed().as_secs());
}

/// Goes through the steps of [`crowd`] with our guard, which works beside pytest-cocotb's.
pub(crate) fn rounds(root: &str, count: u64) {
    for round in 0..count {
        let options = Options {
            poll_max: Duration::from_millis(500),
            pytest_cocotb: true,
            ..Options::new("lab")
        };
        let mut once = CallOnce::new(
            Arc::new(SystemStorage),
            Arc::new(SystemClock),
            Utf8PathBuf::from(format!("{root}/round{round}")),
            "step",
            options,
        );
        let ended = once.ensure_done(
            &mut |_: &Leader| -> Result<_, Failure<String>> {
                thread::sleep(Duration::from_millis(100));
                Ok(json!({}))
            },
            Some(ROUND_MAX),
        );
        if let Err(error) = ended {
            say("stuck", format!("{round} {error}"));
        }
    }
}

/// pytest-cocotb's own lock, loaded from its unmodified file, used again and again.
const MUTEX: &str = r#"
import os, time
from pytest_cocotb.nfs_lock import NFSLock
root, node = arguments
log = open(f"{root}/log/{node}.{os.getpid()}.{time.monotonic_ns()}", "w", buffering=1)
while True:
    try:
        with NFSLock(root + "/the.lock", timeout=-1, poll_interval=0.1):
            # What a killed process left in its node's cache is not seen by the other one for long.
            print(time.time(), "in", file=log)
            os.fsync(log.fileno())
            time.sleep(0.2)
            print(time.time(), "out", file=log)
            os.fsync(log.fileno())
    except OSError as error:
        print(time.time(), type(error).__name__, file=log)
    time.sleep(0.1)
"#;

/// Lets processes of this node enter one lock by turns, and kills one of them now and then.
///
/// With pytest-cocotb's lock, or ours where the package is `-`.
pub(crate) fn mutex(root: &str, node: &str, seconds: u64, package: &str) {
    let spawn = || {
        let mut command = if package == "-" {
            ours(&format!("enter {root} {node}"))
        } else {
            theirs(MUTEX, &[root, node], package)
        };
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..4).map(|_| spawn()).collect();
    for _ in 0..seconds {
        thread::sleep(Duration::from_secs(1));
        let victim = usize::try_from(SystemMachine.random() % 24).unwrap();
        if let Some(child) = children.get_mut(victim) {
            child.kill().unwrap();
            child.wait().unwrap();
            *child = spawn();
        }
    }
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Enters our lock again and again.
pub(crate) fn enter(root: &str, node: &str) {
    let log = format!("{root}/log/{node}.{:x}", SystemMachine.random());
    let mut log = File::create(log).unwrap();
    let options = Options {
        lease: Duration::from_secs(6),
        heartbeat: Duration::from_secs(1),
        poll_max: Duration::from_millis(200),
        stall: Duration::from_secs(300),
        ..Options::new("lab")
    };
    let mut lock = NfsLock::new(
        Arc::new(SystemStorage),
        Arc::new(SystemClock),
        Utf8PathBuf::from(root),
        "the",
        options,
    );
    loop {
        let held = lock.acquire(&mut |_| ControlFlow::Continue(()), None);
        let held = held.unwrap().unwrap();
        writeln!(log, "{} in", now_s()).unwrap();
        log.sync_all().unwrap();
        thread::sleep(Duration::from_millis(200));
        writeln!(log, "{} out", now_s()).unwrap();
        log.sync_all().unwrap();
        held.release().unwrap();
        thread::sleep(Duration::from_millis(100));
    }
}

/// Counts who was inside together, and for how long nobody came in at the end.
pub(crate) fn entries(root: &str) {
    let mut inside: Vec<(f64, f64)> = Vec::new();
    let mut errors = 0;
    let mut last: f64 = 0.0;
    for entry in fs::read_dir(format!("{root}/log")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut begun = None;
        for line in text.lines() {
            let Some((time, what)) = line.split_once(' ') else {
                continue;
            };
            let time: f64 = time.parse().unwrap();
            match what {
                "in" => {
                    begun = Some(time);
                    last = last.max(time);
                }
                "out" => inside.extend(begun.take().map(|begun| (begun, time))),
                _ => errors += 1,
            }
        }
    }
    inside.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The nodes' clocks agree to 30 ms each; one stays inside for 200 ms.
    let overlaps = inside
        .windows(2)
        .filter(|pair| pair[1].0 < pair[0].1 - 0.08);
    say("overlaps", overlaps.count());
    say("entries", inside.len());
    say("errors", errors);
    say("silence", now_s() - last);
}
