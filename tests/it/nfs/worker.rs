//! What runs in the nodes: this test binary, started again for [`nfs_worker`] alone.
//!
//! The worker speaks in lines `@key value`; times are seconds of the node's clock.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::ops::ControlFlow;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun::edge::clock::SystemClock;
use cocorun::edge::machine::Machine;
use cocorun::edge::machine::SystemMachine;
use cocorun::edge::storage::Storage as _;
use cocorun::edge::storage::SystemStorage;
use cocorun::lock::Acceptance;
use cocorun::lock::CallOnce;
use cocorun::lock::Done;
use cocorun::lock::Failure;
use cocorun::lock::Leader;
use cocorun::lock::OnceStep;
use cocorun::lock::Options;
use cocorun::lock::Published;
use cocorun::lock::WaitProgress;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;
use serde_json::json;

use crate::nfs::program;
use crate::nfs::rivals;

/// Tells the worker what to do.
pub(crate) const VARIABLE: &str = "COCORUN_NFS_WORKER";

/// What stands in a result many times over, so that a torn one shows.
const REPEATS: usize = 2000;
/// Of so many keys, the first attempt at one dies.
const DEADLY_KEYS: u64 = 8;

#[test]
fn nfs_worker() {
    let Ok(text) = std::env::var(VARIABLE) else {
        return;
    };
    let words: Vec<&str> = text.split(' ').collect();
    let at = |index: usize| words[index].parse::<u64>().unwrap();
    match words[0] {
        "hold" => hold(words[1], at(2), at(3), at(4)),
        "wait" => wait(words[1], at(2), at(3)),
        "take" => take(words[1], at(2), at(3)),
        "storm" => storm(&words),
        "walk" => walk(words[1], words[2], at(3), at(4), at(5), at(6)),
        "mutex" => rivals::mutex(words[1], words[2], at(3), words[4]),
        "enter" => rivals::enter(words[1], words[2]),
        "entries" => rivals::entries(words[1]),
        "crowd" => rivals::crowd(words[1], at(2), at(3), words[4]),
        "rounds" => rivals::rounds(words[1], at(2)),
        "program-storm" => program::storm_in_node(&words),
        "program-check" => program::check_in_node(words[1], u32::try_from(at(2)).unwrap()),
        "check" => check(words[1], at(2), at(3)),
        other => panic!("`{other}` is no work"),
    }
}

pub(crate) fn say(key: &str, value: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{key} {value}").unwrap();
    out.flush().unwrap();
}

pub(crate) fn now_s() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

/// A caller whose times are scaled to the lease as the usual ones are to 30 s.
pub(crate) fn caller(dir: &str, lease_ms: u64, poll_max_ms: u64) -> CallOnce {
    let options = Options {
        lease: Duration::from_millis(lease_ms),
        heartbeat: Duration::from_millis(lease_ms / 6),
        poll_max: Duration::from_millis(poll_max_ms),
        stall: Duration::from_secs(300),
        pytest_cocotb: false,
        ..Options::new("lab")
    };
    CallOnce::new(
        Arc::new(SystemStorage),
        Arc::new(SystemClock),
        Utf8PathBuf::from(dir),
        "step",
        options,
    )
}

/// Does the step, or finds it done; a result is checked for being whole. `work` is given the number
/// of the epoch, and `waits` is called again and again while another one holds the step.
pub(crate) fn ensure(
    once: &mut CallOnce,
    work: &mut dyn FnMut(u32),
    waits: &mut dyn FnMut(),
) -> (bool, u32, String) {
    let ended = once.ensure_done(&mut Job { work, waits }, Some(Duration::from_secs(600)));
    match ended.expect("nobody waits for ever") {
        Done::Here(it) => (true, it.epoch, it.token),
        Done::Elsewhere(it) => (false, it.epoch, it.token),
    }
}

/// A step that never fails.
struct Job<'a> {
    work: &'a mut dyn FnMut(u32),
    waits: &'a mut dyn FnMut(),
}

impl OnceStep for Job<'_> {
    type Error = String;

    fn run(&mut self, leader: &Leader) -> Result<Value, Failure<String>> {
        (self.work)(leader.epoch());
        let mut out = File::create(leader.dir().join("out")).unwrap();
        out.write_all(leader.token().repeat(REPEATS).as_bytes())
            .unwrap();
        out.sync_all().unwrap();
        Ok(json!({}))
    }

    fn accept(&mut self, published: &Published) -> Acceptance {
        let made = fs::read_to_string(published.dir.join("out")).unwrap_or_default();
        assert!(
            made == published.token.repeat(REPEATS),
            "a torn result is visible in {}",
            published.dir
        );
        Acceptance::Use
    }

    fn on_wait(&mut self, _: &WaitProgress) -> ControlFlow<()> {
        (self.waits)();
        ControlFlow::Continue(())
    }
}

fn hold(dir: &str, seconds: u64, lease_ms: u64, poll_max_ms: u64) {
    let mut once = caller(dir, lease_ms, poll_max_ms);
    let mut hold = |_| {
        // The other node waits for this before it comes.
        fs::write(format!("{dir}.held"), "").unwrap();
        thread::sleep(Duration::from_secs(seconds));
    };
    let (built, epoch, _) = ensure(&mut once, &mut hold, &mut || {});
    say("ended", now_s());
    say("built", built);
    say("epoch", epoch);
}

fn wait(dir: &str, lease_ms: u64, poll_max_ms: u64) {
    let mut once = caller(dir, lease_ms, poll_max_ms);
    let (built, epoch, _) = ensure(&mut once, &mut |_| say("leads", now_s()), &mut || {});
    say("ended", now_s());
    say("built", built);
    say("epoch", epoch);
}

/// Waits until the holder is dead, and says that it waits by a file; says for how long at most this
/// node, the server or the machine below them was too slow for the holder's death to be seen.
fn take(dir: &str, lease_ms: u64, poll_max_ms: u64) {
    let mut once = caller(dir, lease_ms, poll_max_ms);
    let sign = format!("{dir}.awaited");
    let is_over = AtomicBool::new(false);
    let slow = thread::scope(|scope| {
        let slow = scope.spawn(|| time_lost(dir, Duration::from_millis(lease_ms), &is_over));
        let mut is_told = false;
        let mut tell = || {
            if !is_told {
                fs::write(&sign, "").unwrap();
                is_told = true;
            }
        };
        let (_, epoch, _) = ensure(&mut once, &mut |_| say("leads", now_s()), &mut tell);
        say("epoch", epoch);
        is_over.store(true, Ordering::SeqCst);
        slow.join().unwrap()
    });
    say("slow", slow.as_secs_f64());
}

/// Asks the server again and again about a directory, and adds up the answers that took long. One
/// that takes more than a quarter of the lease proves nothing of a holder: a watch begins anew.
fn time_lost(dir: &str, lease: Duration, is_over: &AtomicBool) -> Duration {
    const STEP: Duration = Duration::from_millis(250);
    let mut lost = Duration::ZERO;
    while !is_over.load(Ordering::SeqCst) {
        let begun = Instant::now();
        thread::sleep(STEP);
        SystemStorage.stamp(Utf8Path::new(dir)).unwrap();
        let late = begun.elapsed().saturating_sub(STEP * 2);
        lost += late;
        if late > lease / 4 {
            lost += lease;
        }
    }
    lost
}

/// Lets several workers of this node walk over all keys, and kills and freezes them meanwhile.
///
/// `storm ROOT NODE SLOTS KEYS LEASE_MS SECONDS`: mischief ends after so many seconds.
fn storm(words: &[&str]) {
    let (root, node) = (words[1], words[2]);
    let at = |index: usize| words[index].parse::<u64>().unwrap();
    let (slots, keys, lease_ms) = (at(3), at(4), at(5));
    let quiet_after = Instant::now() + Duration::from_secs(at(6));
    let reached: Vec<Arc<AtomicU64>> = (0..slots)
        .map(|slot| Arc::new(AtomicU64::new(answered(root, node, slot))))
        .collect();
    let mut children: Vec<Option<Child>> = (0..slots).map(|_| None).collect();
    let mut frozen: Vec<(Instant, usize)> = Vec::new();
    let (mut kills, mut freezes) = (0, 0);
    loop {
        for (slot, child) in children.iter_mut().enumerate() {
            if let Some(running) = child
                && let Some(status) = running.try_wait().unwrap()
            {
                assert!(
                    status.code().is_none_or(|code| code == 0),
                    "a worker gave up"
                );
                *child = None;
            }
            if child.is_none() && reached[slot].load(Ordering::SeqCst) < keys {
                *child = Some(start(root, node, slot, keys, lease_ms, &reached[slot]));
                frozen.retain(|(_, other)| *other != slot);
            }
        }
        if children.iter().all(Option::is_none) {
            break;
        }
        thread::sleep(Duration::from_millis(250));
        let now = Instant::now();
        let is_over = now >= quiet_after;
        frozen.retain(|(until, slot)| {
            let is_due = is_over || *until <= now;
            if is_due && let Some(child) = &children[*slot] {
                send(child, Signal::SIGCONT);
            }
            !is_due
        });
        let dice = u64::try_from(SystemMachine.random() & 0xffff).unwrap();
        let victim = usize::try_from((dice / 16) % slots).unwrap();
        if is_over || children[victim].is_none() {
            continue;
        }
        let child = children[victim].as_ref().unwrap();
        if dice % 16 < 3 {
            send(child, Signal::SIGKILL);
            kills += 1;
        } else if dice % 16 < 5 {
            send(child, Signal::SIGSTOP);
            frozen.push((now + Duration::from_millis(lease_ms * 2), victim));
            freezes += 1;
        }
    }
    say("kills", kills);
    say("freezes", freezes);
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, signal).ok();
}

/// Starts a worker, and a thread that learns how far it has come.
fn start(
    root: &str,
    node: &str,
    slot: usize,
    keys: u64,
    lease_ms: u64,
    reached: &Arc<AtomicU64>,
) -> Child {
    let from = reached.load(Ordering::SeqCst);
    let words = format!("walk {root} {node} {slot} {from} {keys} {lease_ms}");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "nfs::worker::nfs_worker",
            "--exact",
            "--nocapture",
            "--quiet",
        ])
        .env(VARIABLE, words)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reached = Arc::clone(reached);
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some((_, count)) = line.split_once("@walked ") {
                reached.store(count.parse().unwrap(), Ordering::SeqCst);
            }
        }
    });
    child
}

/// How many keys a slot of this node has walked over, also before a reboot.
fn answered(root: &str, node: &str, slot: u64) -> u64 {
    let prefix = format!("{node}.{slot}.");
    let mut steps = 0;
    for entry in fs::read_dir(format!("{root}/answers")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let text = fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&text).into_owned();
            let last = text.lines().rfind(|line| line.ends_with('.'));
            let step = last.and_then(|line| line.split(' ').next()?.parse::<u64>().ok());
            steps = steps.max(step.map_or(0, |step| step + 1));
        }
    }
    steps
}

/// Goes over all keys, a quarter of the slots from each quarter of them.
fn walk(root: &str, node: &str, slot: u64, from: u64, keys: u64, lease_ms: u64) {
    let name = format!(
        "{root}/answers/{node}.{slot}.{:08x}",
        SystemMachine.random()
    );
    let mut answers = OpenOptions::new()
        .create(true)
        .append(true)
        .open(name)
        .unwrap();
    for step in from..keys {
        let key = (step + (slot % 4) * keys / 4) % keys;
        let mut once = caller(&format!("{root}/key{key}"), lease_ms, 500);
        let mut work = |epoch| {
            let dice = u64::try_from(SystemMachine.random() & 0xffff).unwrap();
            thread::sleep(Duration::from_millis(dice % 150));
            // Chance alone can spare everybody.
            let is_marked = epoch == 1 && key.is_multiple_of(DEADLY_KEYS);
            if is_marked || dice.is_multiple_of(16) {
                kill(Pid::this(), Signal::SIGKILL).unwrap();
            }
        };
        let (_, epoch, token) = ensure(&mut once, &mut work, &mut || {});
        answers
            .write_all(format!("{step} {key} {epoch} {token}.\n").as_bytes())
            .unwrap();
        say("walked", step + 1);
    }
    answers.sync_all().unwrap();
}

/// Holds all answers against the ledgers.
fn check(root: &str, keys: u64, lease_ms: u64) {
    let mut answers: BTreeMap<u64, BTreeMap<String, u32>> = BTreeMap::new();
    let mut count = 0;
    for entry in fs::read_dir(format!("{root}/answers")).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        for line in text.lines() {
            // The last line of a node that lost its power may be torn.
            let words: Vec<&str> = line.trim_end_matches('.').split(' ').collect();
            if let [_, key, epoch, token] = words[..]
                && line.ends_with('.')
                && token.len() == 32
            {
                let given = answers.entry(key.parse().unwrap()).or_default();
                *given.entry(format!("{epoch} {token}")).or_default() += 1;
                count += 1;
            }
        }
    }
    let mut states: BTreeMap<String, u32> = BTreeMap::new();
    for key in 0..keys {
        let given = answers.get(&key).cloned().unwrap_or_default();
        assert_eq!(given.len(), 1, "key {key} has the results {given:?}");
        let mut once = caller(&format!("{root}/key{key}"), lease_ms, 500);
        let (built, epoch, token) = ensure(&mut once, &mut |_| {}, &mut || {});
        assert!(!built, "key {key} was done again");
        assert!(given.contains_key(&format!("{epoch} {token}")), "key {key}");
        for end in ends(&format!("{root}/key{key}/.locks/step.ledger")) {
            *states.entry(end).or_default() += 1;
        }
    }
    assert_eq!(states["done"], u32::try_from(keys).unwrap(), "{states:?}");
    say("answers", count);
    say("states", format!("{states:?}"));
    say("replaced", states.get("revoked").copied().unwrap_or(0));
}

/// Reads how the epochs of a ledger ended: the first words of its registers `commit`.
fn ends(ledger: &str) -> Vec<String> {
    let names = fs::read_dir(ledger)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    names
        .filter(|path| path.extension().is_some_and(|it| it == "commit"))
        .map(|path| {
            let text = fs::read_link(path).unwrap();
            let text = text.to_str().unwrap();
            text.split(';').next().unwrap_or_default().to_owned()
        })
        .collect()
}
