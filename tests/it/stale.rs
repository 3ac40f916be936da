//! A dead holder's lock, and many processes that contend for it at the same moment.
//!
//! The same harness drives pytest-cocotb's locks, which let two in, so it is known to see that.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Lines;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

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
use nix::time::ClockId;
use nix::time::clock_gettime;
use serde_json::json;

/// Tells the worker what to do.
const VARIABLE: &str = "COCORUN_STALE_WORKER";
/// How many processes contend.
const PROCESSES: usize = 16;
/// How long one stays inside.
const INSIDE: Duration = Duration::from_millis(5);

/// pytest-cocotb's lock and guard in the same rounds as [`contend`].
const PYTHON: &str = r#"
import sys, time
sys.path.insert(0, sys.argv[1])
import types
sys.modules["pytest_cocotb"] = module = types.ModuleType("pytest_cocotb")
module.__path__ = [sys.argv[1] + "/pytest_cocotb"]
from pathlib import Path
from pytest_cocotb.guard import CallOnce
from pytest_cocotb.nfs_lock import NFSLock
for line in sys.stdin:
    directory = Path(line.strip())
    words = []
    def step():
        words.append(time.monotonic_ns())
        time.sleep(0.005)
        words.append(time.monotonic_ns())
    try:
        if sys.argv[2] == "once":
            CallOnce(directory, "step", step, 60).ensure_done()
        else:
            with NFSLock(directory / ".locks/step.lock", timeout=60, poll_interval=0.01):
                step()
    except Exception as error:
        words = ["error", type(error).__name__]
    print("@", *words, flush=True)
"#;

#[test]
fn stale_worker() {
    let Ok(text) = std::env::var(VARIABLE) else {
        return;
    };
    match text.split_once(' ') {
        Some(("die", dir)) => {
            let mut lock = lock(dir);
            let _held = lock.acquire(&mut |_| ControlFlow::Continue(()), None);
            say("held");
            thread::sleep(Duration::from_secs(600));
        }
        _ => contend(&text),
    }
}

fn say(words: &str) {
    let mut out = std::io::stdout().lock();
    // The test runner has begun a line of its own.
    write!(out, "\n@ {words}\n").unwrap();
    out.flush().unwrap();
}

fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}

fn options() -> Options {
    Options {
        poll_max: Duration::from_millis(20),
        pytest_cocotb: true,
        ..Options::new(&format!("{:032x}", SystemMachine.random()))
    }
}

fn lock(dir: &str) -> NfsLock {
    let (storage, clock) = (Arc::new(SystemStorage), Arc::new(SystemClock));
    NfsLock::new(storage, clock, Utf8PathBuf::from(dir), "step", options())
}

/// Enters the lock, or does the step once, in each directory that a line of standard input names.
fn contend(kind: &str) {
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let mut words = Vec::new();
        let mut step = || {
            words.push(now_ns().to_string());
            thread::sleep(INSIDE);
            words.push(now_ns().to_string());
        };
        if kind == "once" {
            let (storage, clock) = (Arc::new(SystemStorage), Arc::new(SystemClock));
            let dir = Utf8PathBuf::from(line);
            CallOnce::new(storage, clock, dir, "step", options())
                .ensure_done(
                    &mut |_: &Leader| -> Result<_, Failure<String>> {
                        step();
                        Ok(json!({}))
                    },
                    None,
                )
                .unwrap();
        } else {
            let mut lock = lock(&line);
            let held = lock.acquire(&mut |_| ControlFlow::Continue(()), None);
            let held = held.unwrap().unwrap();
            step();
            held.release().unwrap();
        }
        say(&words.join(" "));
    }
}

fn worker(words: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["stale::stale_worker", "--exact", "--nocapture", "--quiet"]);
    command.env(VARIABLE, words);
    command
}

/// A process, and what it says.
struct Contender {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Contender {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn told(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn said(&mut self) -> Vec<String> {
        let mut lines = self.lines.by_ref().map(Result::unwrap);
        let line = lines.find(|line| line.starts_with('@'));
        let line = line.expect("a contender died");
        line.split(' ').skip(1).map(ToOwned::to_owned).collect()
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a number of rounds came to.
#[derive(Debug, Default)]
struct Rounds {
    entries: usize,
    /// Pairs that were inside at the same time.
    overlaps: usize,
    errors: BTreeMap<String, u32>,
    /// Rounds in which not exactly one was inside.
    not_once: usize,
}

/// Leaves the lock of a process of this machine that is dead.
fn leave_stale_lock(dir: &Path, is_ours: bool) {
    let gate = dir.join(".locks/step.lock");
    fs::create_dir_all(gate.parent().unwrap()).unwrap();
    if is_ours {
        let mut dying = Contender::start(worker(&format!("die {}", dir.display())));
        assert_eq!(dying.said(), ["held"]);
    } else {
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
        let info = json!({"hostname": host, "pid": gone.id(), "timestamp": 1_700_000_000.5});
        fs::create_dir(&gate).unwrap();
        fs::write(gate.join("holder.info"), info.to_string()).unwrap();
    }
}

/// Lets all contend for one stale lock after the other.
fn contended(rounds: usize, kind: &str, package: Option<&str>) -> Rounds {
    let root = tempfile::tempdir().unwrap();
    let mut contenders: Vec<Contender> = (0..PROCESSES)
        .map(|_| {
            Contender::start(if let Some(package) = package {
                let mut command = Command::new("python3");
                command.args(["-B", "-c", PYTHON, package, kind]);
                command
            } else {
                worker(kind)
            })
        })
        .collect();
    let mut found = Rounds::default();
    for round in 0..rounds {
        let dir = root.path().join(round.to_string());
        // A step is guarded by pytest-cocotb's own lock too.
        leave_stale_lock(&dir, package.is_none() && kind == "lock");
        for contender in &mut contenders {
            contender.told(dir.to_str().unwrap());
        }
        let mut inside: Vec<(i64, i64)> = Vec::new();
        for contender in &mut contenders {
            let words = contender.said();
            match words.as_slice() {
                [error, name] if error == "error" => {
                    *found.errors.entry(name.clone()).or_default() += 1;
                }
                [begin, end] => inside.push((begin.parse().unwrap(), end.parse().unwrap())),
                _ => {}
            }
        }
        inside.sort_unstable();
        found.entries += inside.len();
        found.overlaps += inside.windows(2).filter(|two| two[1].0 < two[0].1).count();
        found.not_once += usize::from(inside.len() != 1);
    }
    found
}

#[test]
fn sixteen_that_find_a_dead_holder_enter_one_after_the_other() {
    let found = contended(5, "lock", None);
    assert_eq!(
        (found.entries, found.overlaps),
        (5 * PROCESSES, 0),
        "{found:?}"
    );
}

#[test]
fn sixteen_that_find_a_dead_python_holder_do_the_step_once() {
    // Python's holders are borne for ten seconds after their process was seen gone.
    let found = contended(1, "once", None);
    assert_eq!((found.entries, found.not_once), (1, 0), "{found:?}");
}

#[test]
#[ignore = "takes minutes and needs pytest-cocotb's sources; tests/run --lab runs it"]
#[expect(
    clippy::print_stderr,
    reason = "what was measured is wanted in the log"
)]
fn pytest_cocotbs_locks_let_two_in_where_ours_let_one() {
    let package = std::env::var("COCORUN_PYTEST_COCOTB")
        .expect("COCORUN_PYTEST_COCOTB names the directory that holds the package");
    for (kind, rounds) in [("lock", 300), ("once", 100)] {
        // Ours needs ten seconds for each of Python's dead holders.
        let rounds_of_ours = if kind == "once" { 30 } else { rounds };
        let theirs = contended(rounds, kind, Some(&package));
        eprintln!("{kind}: pytest-cocotb, {rounds} rounds of {PROCESSES}: {theirs:?}");
        let ours = contended(rounds_of_ours, kind, None);
        eprintln!("{kind}: ours, {rounds_of_ours} rounds of {PROCESSES}: {ours:?}");
        assert_eq!(ours.overlaps, 0);
        if kind == "lock" {
            assert!(
                theirs.overlaps > 0,
                "this contest is too easy to prove anything"
            );
            assert_eq!(ours.entries, rounds_of_ours * PROCESSES);
        } else {
            assert_eq!((ours.entries, ours.not_once), (rounds_of_ours, 0));
        }
    }
}
