//! A storm of real `cocorun` processes on shared keys, on one node or several.
//!
//! Each slot goes through all keys, one after the other, like a job of a regression: a step done
//! once, a lock, a target. Now and then a cocorun is killed, and its slot tries again. Every answer
//! is recorded, and [`check`] compares all of them. What is asserted: a caller that is not killed
//! ends with the right exit code; all who ask for one step or target see the same, complete bytes;
//! nothing is made again once any caller got the answer that it is made; nobody enters a lock
//! before the one inside has come out or was killed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use cocorun::edge::machine::Machine;
use cocorun::edge::machine::SystemMachine;

/// How often a word is repeated in an output, so that a torn file shows.
const REPEATS: usize = 2000;
/// How long one call may take; the lease of `once` is 30 s, and several holders may die in turn.
const CALL_MAX: Duration = Duration::from_secs(400);

/// The step: it leaves a file that says which run made it, and a line once it is complete.
const STEP: &str = r#"
sleep 0.0$3
echo "$1" >>"$2.begun"
i=0; while [ $i -lt 20 ]; do echo "$1"; i=$((i+1)); done >"$2.$1"
sleep 0.0$3
echo "$1" >>"$2.ended"
"#;

/// The command inside the lock: its two lines are adjacent unless another process is inside, too.
const INSIDE: &str = r#"
echo "in $COCORUN_LOCK_FENCE" >>"$1"
sleep 0.0$2
echo "out $COCORUN_LOCK_FENCE" >>"$1"
exit $3
"#;

/// The command that makes a target, in two pieces.
const MAKE: &str = r#"
echo "$2" >>"$3.begun"
i=0; while [ $i -lt 1000 ]; do echo "$2"; i=$((i+1)); done >"$1"
sleep 0.0$4
i=0; while [ $i -lt 1000 ]; do echo "$2"; i=$((i+1)); done >>"$1"
"#;

/// Wraps the compiler and records each compile.
const COMPILER: &str = r#"#!/bin/sh
case " $* " in *" -o "*) echo "$*" >>"${0%/*}/compiles";; esac
exec /usr/bin/iverilog "$@"
"#;

/// What a storm does, and where.
#[derive(Clone)]
pub(crate) struct Storm {
    /// The program.
    pub(crate) binary: PathBuf,
    /// The shared directory, which exists.
    pub(crate) root: PathBuf,
    /// This node's name in the answers.
    pub(crate) node: String,
    /// Number of concurrent callers.
    pub(crate) slots: u32,
    /// How many steps, and as many targets.
    pub(crate) keys: u32,
    /// How many of 16 calls are killed.
    pub(crate) kills_in_16: u32,
    /// Longest time after its start at which a call is killed, milliseconds.
    pub(crate) kill_within_ms: u32,
    /// How long calls are killed.
    pub(crate) mischief: Duration,
    /// What is done for each key: `once`, `lock`, `target`, `build`; the last in a [`project`].
    pub(crate) actions: &'static [&'static str],
}

/// Makes a project with a build for each key, and a compiler that records what it compiles.
pub(crate) fn project(root: &Path, keys: u32, python: &Path) {
    let dir = root.join("project");
    fs::create_dir_all(&dir).unwrap();
    let mut toml = format!("[python]\ninterpreter = \"{}\"\n", python.display());
    for key in 0..keys {
        let table =
            format!("[build.b{key}]\nsources = [\"b{key}.sv\"]\nhdl_toplevel = \"b{key}\"\n");
        toml.push_str(&table);
        let text = format!("module b{key}(input a, output b); assign b = !a; endmodule\n");
        fs::write(dir.join(format!("b{key}.sv")), text).unwrap();
    }
    fs::write(dir.join("runner.toml"), toml).unwrap();
    fs::create_dir_all(dir.join("bin")).unwrap();
    let compiler = dir.join("bin/iverilog");
    fs::write(&compiler, COMPILER).unwrap();
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs cocorun with the compiler of a [`project`].
pub(crate) fn in_project(binary: &Path, root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary);
    let dir = root.join("project");
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}/bin:{path}", dir.display()));
    command.args(args).current_dir(dir);
    command
}

/// Returns how often the compiler of a [`project`] was run.
pub(crate) fn compiles(root: &Path) -> usize {
    let log = fs::read_to_string(root.join("project/bin/compiles"));
    log.unwrap_or_default().lines().count()
}

/// Runs `locks clean` in a loop until asked to stop; returns the reported actions.
pub(crate) fn clean_in_a_loop(
    binary: &Path,
    root: &Path,
    is_over: &AtomicBool,
) -> BTreeMap<String, u32> {
    let mut actions: BTreeMap<String, u32> = BTreeMap::new();
    while !is_over.load(Ordering::SeqCst) {
        let mut command = Command::new(binary);
        command.args(["locks", "clean", "--watch=15"]).arg(root);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{out}\n{err}");
        for line in out.lines() {
            let word = line.split(' ').next().unwrap_or_default();
            *actions.entry(word.to_owned()).or_default() += 1;
        }
        thread::sleep(Duration::from_millis(20));
    }
    actions
}

impl Storm {
    fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().unwrap().to_owned()
    }

    /// Lets all slots go through all keys; returns how many calls were killed.
    pub(crate) fn run(&self) -> u32 {
        for dir in ["steps", "objects", "answers"] {
            fs::create_dir_all(self.root.join(dir)).unwrap();
        }
        let quiet_after = Instant::now() + self.mischief;
        let kills = AtomicU32::new(0);
        thread::scope(|scope| {
            let slots: Vec<_> = (0..self.slots)
                .map(|slot| {
                    let kills = &kills;
                    scope.spawn(move || self.walk_as(slot, quiet_after, kills))
                })
                .collect();
            for slot in slots {
                slot.join().unwrap();
            }
        });
        kills.into_inner()
    }

    fn walk_as(&self, slot: u32, quiet_after: Instant, kills: &AtomicU32) {
        let name = format!(
            "answers/{}.{slot}.{:08x}",
            self.node,
            SystemMachine.random()
        );
        let mut answers = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.root.join(name))
            .unwrap();
        for step in 0..self.keys {
            let key = (step + (slot % 4) * self.keys / 4) % self.keys;
            for &what in self.actions {
                let answer = loop {
                    let word = format!("{:016x}", SystemMachine.random() & 0xffff_ffff_ffff_ffff);
                    let mut command = self.command(what, key, &word);
                    let is_victim = dice(16) < self.kills_in_16 && Instant::now() < quiet_after;
                    let delay =
                        is_victim.then(|| Duration::from_millis(dice(self.kill_within_ms).into()));
                    let Some((code, err)) = end(command.spawn().unwrap(), delay) else {
                        kills.fetch_add(1, Ordering::SeqCst);
                        continue;
                    };
                    let wanted = if what == "lock" { key % 5 } else { 0 };
                    assert_eq!(
                        code,
                        Some(i32::try_from(wanted).unwrap()),
                        "{what} {key} on {}: {err}",
                        self.node
                    );
                    break self.answer(what, key);
                };
                answers
                    .write_all(format!("{what} {key} {answer} .\n").as_bytes())
                    .unwrap();
            }
        }
        answers.sync_all().unwrap();
    }

    fn command(&self, what: &str, key: u32, word: &str) -> Command {
        if what == "build" {
            let build = format!("b{key}");
            let mut command = in_project(&self.binary, &self.root, &["build", &build]);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::piped());
            return command;
        }
        let mut command = Command::new(&self.binary);
        let pause = dice(10).to_string();
        let lease = "--stale-timeout=10";
        match what {
            "once" => {
                let dir = self.path(&format!("steps/{key}"));
                let out = self.path(&format!("steps/{key}.out"));
                command.args(["once", "--dir", &dir, "--name", "step", "--"]);
                command.args(["sh", "-c", STEP, "sh", word, &out, &pause]);
            }
            "lock" => {
                let lock = self.path("the");
                let log = self.path("the.log");
                let code = (key % 5).to_string();
                command.args(["lock", "--strategy=ledger", lease, "--poll-interval=0.3"]);
                command.args([&lock, "--", "sh", "-c", INSIDE, "sh", &log, &pause, &code]);
            }
            _ => {
                let target = self.path(&format!("objects/{key}.o"));
                let log = self.path(&format!("objects/{key}"));
                command.args(["lock", "--strategy=ledger", lease, "--poll-interval=0.3"]);
                command.args([&format!("--target={target}"), "--skip-if-exists", "--"]);
                command.args(["sh", "-c", MAKE, "sh", &target, word, &log, &pause]);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        command
    }

    /// Reads what a caller was promised.
    fn answer(&self, what: &str, key: u32) -> String {
        if what == "lock" || what == "build" {
            return "-".to_owned();
        }
        if what == "target" {
            let made = fs::read_to_string(self.path(&format!("objects/{key}.o"))).unwrap();
            let word = made.lines().next().unwrap_or_default().to_owned();
            let whole = format!("{word}\n").repeat(REPEATS);
            assert!(made == whole, "object {key} is torn: {} bytes", made.len());
            return word;
        }
        let out = self.path(&format!("steps/{key}.out"));
        let begun = fs::read_to_string(format!("{out}.begun")).unwrap();
        let ended = fs::read_to_string(format!("{out}.ended")).unwrap();
        let word = ended.lines().last().unwrap().to_owned();
        let made = fs::read_to_string(format!("{out}.{word}")).unwrap();
        assert!(made == format!("{word}\n").repeat(20), "step {key} is torn");
        // How often it was started no longer changes, either.
        format!("{word}:{}:{}", begun.lines().count(), ended.lines().count())
    }
}

/// Draws a number below a limit.
pub(crate) fn dice(limit: u32) -> u32 {
    u32::try_from(SystemMachine.random() % u128::from(limit)).unwrap()
}

/// Waits for a call; `None` if it was killed after the delay.
pub(crate) fn end(mut child: Child, kill_after: Option<Duration>) -> Option<(Option<i32>, String)> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let mut err = Vec::new();
            child.stderr.take().unwrap().read_to_end(&mut err).unwrap();
            return Some((status.code(), String::from_utf8_lossy(&err).into_owned()));
        }
        if kill_after.is_some_and(|delay| begun.elapsed() >= delay) {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        assert!(begun.elapsed() < CALL_MAX, "somebody is stuck");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Compares all answers; returns how many there were.
pub(crate) fn check(root: &Path, keys: u32) -> String {
    let mut given: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    let mut count = 0;
    for entry in fs::read_dir(root.join("answers")).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        for line in String::from_utf8_lossy(&text).lines() {
            // The last line of a node that lost its power may be torn.
            let words: Vec<&str> = line.split(' ').collect();
            if let [what, key, answer, "."] = words[..] {
                let answers = given.entry(format!("{what} {key}")).or_default();
                *answers.entry(answer.to_owned()).or_default() += 1;
                count += 1;
            }
        }
    }
    for key in 0..keys {
        for what in ["once", "target"] {
            let answers = given.remove(&format!("{what} {key}")).unwrap_or_default();
            assert_eq!(answers.len(), 1, "{what} {key}: {answers:?}");
        }
    }
    let again = |begun: String| fs::read_to_string(begun).map_or(0, |text| text.lines().count());
    let begun = |key: u32| again(format!("{}/objects/{key}.begun", root.display()));
    let extra = (0..keys).map(|key| begun(key) - 1).sum::<usize>();
    let mut log = String::new();
    let file = File::open(root.join("the.log"));
    file.unwrap().read_to_string(&mut log).unwrap();
    let (entries, killed) = in_turns(&log);
    let mut text = String::new();
    write!(
        text,
        "{count} answers, {entries} entries of which {killed} were killed, \
         {extra} targets begun again"
    )
    .unwrap();
    text
}

/// Checks that no two were inside together; returns how many came in and did not come out.
fn in_turns(log: &str) -> (usize, usize) {
    let (mut inside, mut last) = (None, 0);
    let (mut entries, mut killed) = (0, 0);
    for line in log.lines() {
        let (what, fence) = line.split_once(' ').unwrap();
        let fence: u32 = fence.parse().unwrap();
        if what == "in" {
            assert!(fence > last, "{fence} came in after {last}:\n{log}");
            killed += usize::from(inside.is_some());
            (inside, last) = (Some(fence), fence);
            entries += 1;
        } else {
            assert_eq!(inside.take(), Some(fence), "two were inside:\n{log}");
        }
    }
    (entries, killed + usize::from(inside.is_some()))
}
