//! Real processes on one directory, killed and frozen at random: one result per key, always.
//!
//! The processes are this test binary, started again for [`storm_child`] alone.

use crate::ledger::record::Commit;
use crate::once::call_once::CallOnce;
use crate::once::leader::Leader;
use crate::once::step::Failure;
use crate::options::Options;
use crate::outcome::Acceptance;
use crate::tests::fake;
use crate::tests::fake::callbacks;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::clock::SystemClock;
use cocorun_edge::env::Environment;
use cocorun_edge::machine::Machine;
use cocorun_edge::machine::SystemMachine;
use cocorun_edge::storage::Storage;
use cocorun_edge::storage::SystemStorage;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

const DIR_VARIABLE: &str = "COCORUN_STORM_DIR";
const CHILDREN: u64 = 12;

/// Rounds of mischief, one every 30 ms.
const ROUNDS: usize = 200;
/// Rounds after which a storm that has had no effect is given up, even on a slow machine.
const ROUNDS_MAX: usize = 6_000;
/// How many answers a storm needs before it proves anything.
const ANSWERS_MIN: usize = 51;
const KEYS_MIN: usize = 6;
/// Shorter than a frozen child sleeps, so that live holders are replaced as well.
const LEASE: Duration = Duration::from_millis(600);
/// Nobody waits this long for one key, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Draws random numbers from a seed, which identifies a storm.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn options(run_id: &str) -> Options {
    Options {
        lease: LEASE,
        heartbeat: Duration::from_millis(100),
        poll_max: Duration::from_millis(50),
        ..Options::new(run_id)
    }
}

/// Does key after key of one of four lanes; each answer is a file of its own.
#[test]
fn storm_child() {
    let environment = Environment::of_this_process();
    let Some(root) = environment.get(DIR_VARIABLE).map(Utf8PathBuf::from) else {
        return;
    };
    let mut dice = Dice(u64::try_from(SystemMachine.random() >> 65).unwrap_or(1) | 1);
    for key in (dice.below(4)..).step_by(4) {
        let (epoch, token) = do_once(&root, key, dice.below(60), dice.below(12) == 0);
        let answer = format!("{key} {epoch} {token}");
        let name = format!("{:032x}", SystemMachine.random());
        SystemStorage
            .write_file(&root.join("answers").join(name), answer.as_bytes())
            .ok();
    }
}

/// Does one key; a build is two files of which the second names the first one's content.
fn do_once(root: &Utf8Path, key: u64, work_ms: u64, is_to_die: bool) -> (u32, String) {
    let dir = root.join(format!("key{key}"));
    let storage = Arc::new(SystemStorage);
    let mut once = CallOnce::new(
        storage,
        Arc::new(SystemClock),
        dir,
        "step",
        options("storm"),
    );
    let mut step = callbacks(
        |published| {
            let made = SystemStorage
                .read_file(&published.dir.join("out"))
                .unwrap_or_default();
            let is_whole = String::from_utf8_lossy(&made) == published.token.repeat(100);
            assert!(is_whole, "a torn result was published in {}", published.dir);
            Acceptance::Use
        },
        |leader: &Leader| -> Result<_, Failure<String>> {
            SystemClock.sleep(Duration::from_millis(work_ms));
            let content = leader.token().repeat(100);
            SystemStorage
                .write_file(&leader.dir().join("out"), content.as_bytes())
                .expect("the attempt's directory is ours");
            if is_to_die {
                kill(Pid::this(), Signal::SIGKILL).expect("it is me");
            }
            Ok(serde_json::json!({ "key": key }))
        },
        |_| ControlFlow::Continue(()),
    );
    let ended = once.ensure_done(&mut step, Some(PATIENCE));
    let result = ended.expect("nobody waits forever").published();
    (result.epoch, result.token)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the storm needs processes it can kill"
)]
fn spawn(root: &Utf8Path) -> Child {
    Command::new(std::env::current_exe().expect("this test has a path"))
        .args(["tests::storm::storm_child", "--exact", "--nocapture"])
        .env(DIR_VARIABLE, root)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child starts")
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a PID"));
    kill(pid, signal).expect("it is our child");
}

/// Ends a child; one that ended by itself, and not by a signal, had something to complain about.
fn reap(mut child: Child) {
    child.kill().ok();
    let output = child.wait_with_output().expect("it is our child");
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "a child gave up: {words}");
}

#[test]
fn every_key_has_one_result_no_matter_who_is_killed_or_frozen() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let root = Utf8PathBuf::try_from(temp.path().to_path_buf()).expect("a UTF-8 path");
    SystemStorage
        .create_dir(&root.join("answers"))
        .expect("a directory");
    let seed = u64::try_from(SystemMachine.random() >> 65).expect("63 bits") | 1;
    println_seed(seed);
    let mut dice = Dice(seed);
    let mut children: Vec<Child> = (0..CHILDREN).map(|_| spawn(&root)).collect();
    let mut frozen: Vec<(usize, usize)> = Vec::new();
    for round in 0..ROUNDS_MAX {
        if round >= ROUNDS && round.is_multiple_of(20) && has_come_to_something(&root) {
            break;
        }
        SystemClock.sleep(Duration::from_millis(30));
        for (index, child) in children.iter_mut().enumerate() {
            if child.try_wait().expect("it is our child").is_some() {
                reap(std::mem::replace(child, spawn(&root)));
                frozen.retain(|(_, frozen)| *frozen != index);
            }
        }
        let victim = usize::try_from(dice.below(CHILDREN)).expect("small");
        if dice.below(3) == 0 {
            let child = std::mem::replace(&mut children[victim], spawn(&root));
            frozen.retain(|(_, index)| *index != victim);
            reap(child);
        } else if dice.below(4) == 0 {
            send(&children[victim], Signal::SIGSTOP);
            frozen.push((round + 40, victim));
        }
        for (_, thawed) in frozen.iter().filter(|(until, _)| *until <= round) {
            send(&children[*thawed], Signal::SIGCONT);
        }
        frozen.retain(|(until, _)| *until > round);
    }
    children.into_iter().for_each(reap);
    check(&root);
}

/// Whether the storm has lasted long enough to prove something.
fn has_come_to_something(root: &Utf8Path) -> bool {
    let (count, answers) = answers(root);
    let is_somebody_replaced = || {
        let mut keys = answers.keys();
        keys.any(|key| states(root, *key).contains(&Some(Commit::Revoked)))
    };
    count >= ANSWERS_MIN && answers.len() >= KEYS_MIN && is_somebody_replaced()
}

/// Reads how the epochs of a key ended.
fn states(root: &Utf8Path, key: u64) -> Vec<Option<Commit>> {
    let once = CallOnce::new(
        Arc::new(SystemStorage),
        Arc::new(SystemClock),
        root.join(format!("key{key}")),
        "step",
        options("check"),
    );
    let states = fake::states(&once).into_iter();
    states.map(|(commit, _)| commit).collect()
}

/// Reads all answers: how many there are, and for each key which ones.
fn answers(root: &Utf8Path) -> (usize, BTreeMap<u64, BTreeSet<String>>) {
    let mut answers: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut count = 0;
    for name in SystemStorage
        .list(&root.join("answers"))
        .expect("the answers")
    {
        let text = SystemStorage
            .read_file(&root.join("answers").join(name))
            .expect("an answer");
        let text = String::from_utf8(text).expect("ASCII");
        // A child may die while it writes its answer.
        let mut words = text.split(' ');
        let (Some(key), Some(epoch), Some(token)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        if token.len() == 32 {
            let key = key.parse().expect("a key");
            answers
                .entry(key)
                .or_default()
                .insert(format!("{epoch} {token}"));
            count += 1;
        }
    }
    (count, answers)
}

/// Checks the answers against the ledgers.
fn check(root: &Utf8Path) {
    let (count, answers) = answers(root);
    let mut counted: BTreeMap<&str, u32> = BTreeMap::new();
    let keys = answers.len();
    for (key, given) in answers {
        assert_eq!(
            given.len(),
            1,
            "callers of key {key} got different results: {given:?}"
        );
        let (epoch, token) = do_once(root, key, 0, false);
        assert!(
            given.contains(&format!("{epoch} {token}")),
            "key {key} was done again"
        );
        for commit in states(root, key) {
            let state = match commit {
                None => "running",
                Some(Commit::Done { .. }) => "done",
                Some(Commit::Failed { .. }) => "failed",
                Some(Commit::Revoked) => "revoked",
                Some(Commit::Released | Commit::Unknown) => "released",
            };
            *counted.entry(state).or_default() += 1;
        }
    }
    println_stats(count, keys, &counted);
    assert!(
        count >= ANSWERS_MIN && keys >= KEYS_MIN,
        "the storm came to too little to prove anything"
    );
    assert_eq!(
        counted.get("done").copied(),
        u32::try_from(keys).ok(),
        "one result per key"
    );
    assert!(
        counted.contains_key("revoked"),
        "nobody was killed at work: this proves nothing"
    );
}

#[expect(clippy::print_stderr, reason = "a seed that is not printed is lost")]
fn println_seed(seed: u64) {
    eprintln!("storm seed {seed}");
}

#[expect(clippy::print_stderr, reason = "reports how hard the storm was")]
fn println_stats(answers: usize, keys: usize, states: &BTreeMap<&str, u32>) {
    eprintln!("{answers} answers for {keys} keys: {states:?}");
}
