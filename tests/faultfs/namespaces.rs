//! Holders and waiting processes in namespaces of their own, as in containers.
//!
//! The processes are this test binary, started again for [`namespace_child`] alone.

use crate::support::skip;
use camino::Utf8PathBuf;
use cocorun::edge::clock::SystemClock;
use cocorun::edge::storage::SystemStorage;
use cocorun::lock::Acceptance;
use cocorun::lock::CallOnce;
use cocorun::lock::EnterOutcome;
use cocorun::lock::Options;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

const ROLE: &str = "COCORUN_NAMESPACE_ROLE";
const DIR: &str = "COCORUN_NAMESPACE_DIR";
const LEASE_S: &str = "COCORUN_NAMESPACE_LEASE_S";
const PATIENCE_S: &str = "COCORUN_NAMESPACE_PATIENCE_S";
/// Exit codes of a waiting process that came to lead, or did not.
const LED: i32 = 0;
const WAITED: i32 = 3;
/// Far longer than any test.
const LONG_S: u64 = 600;
/// No process takes this long to start, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn seconds(name: &str) -> Duration {
    Duration::from_secs(variable(name).parse().unwrap())
}

/// Holds until it is killed, or waits until it leads or gives up.
#[test]
#[expect(clippy::exit, reason = "the answer of a child is its exit code")]
fn namespace_child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let dir = Utf8PathBuf::from(variable(DIR));
    let options = Options {
        lease: seconds(LEASE_S),
        heartbeat: Duration::from_millis(300),
        poll_max: Duration::from_millis(500),
        pytest_cocotb: false,
        ..Options::new(&role)
    };
    let storage = Arc::new(SystemStorage);
    let clock = Arc::new(SystemClock);
    let mut once = CallOnce::new(storage, clock, dir.join("key"), "step", options);
    let began = Instant::now();
    loop {
        match once.enter(&mut |_| Acceptance::Use).unwrap() {
            EnterOutcome::Lead(leader) if role == "hold" => {
                fs::write(dir.join("held"), std::process::id().to_string()).unwrap();
                thread::sleep(Duration::from_secs(LONG_S));
                drop(leader);
            }
            EnterOutcome::Lead(_) => std::process::exit(LED),
            EnterOutcome::Wait { retry_in, .. } if began.elapsed() < seconds(PATIENCE_S) => {
                thread::sleep(retry_in);
            }
            EnterOutcome::Wait { .. } => std::process::exit(WAITED),
            other => panic!("{other:?}"),
        }
    }
}

/// A machine of containers, with one lock.
struct Yard {
    temp: tempfile::TempDir,
    lease_s: u64,
}

impl Yard {
    fn new(lease_s: u64) -> Option<Self> {
        let trial = Command::new("unshare").args(CONTAINER).arg("true").output();
        let trial = trial.unwrap();
        if !trial.status.success() {
            let reason = String::from_utf8_lossy(&trial.stderr).into_owned();
            skip(&format!("no namespaces can be made here: {reason}"));
            return None;
        }
        // In memory if possible: a busy disk delays a sign of life for seconds.
        let shared_memory = Path::new("/dev/shm");
        let temp = tempfile::tempdir_in(shared_memory).or_else(|_| tempfile::tempdir());
        let temp = temp.unwrap();
        Some(Self { temp, lease_s })
    }

    /// Starts a shell script in new namespaces; `$CHILD` in it is this program.
    fn start(&self, namespaces: &[&str], script: &str, patience_s: u64) -> Inside {
        let child = Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", script])
            .env("CHILD", std::env::current_exe().unwrap())
            .env("ONLY", "namespaces::namespace_child")
            .env(DIR, self.temp.path())
            .env(LEASE_S, self.lease_s.to_string())
            .env(PATIENCE_S, patience_s.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Inside(child)
    }

    /// Starts a process that holds the lock, and waits until it does.
    fn hold(&self, namespaces: &[&str], host: &str) -> Inside {
        let holder = self.start(namespaces, &script(host, "hold"), 0);
        wait_for(&self.temp.path().join("held"));
        holder
    }

    /// Lets a process wait for the lock; returns whether it came to lead, and when.
    fn comes_to_lead(&self, namespaces: &[&str], host: &str, patience_s: u64) -> (bool, Duration) {
        let began = Instant::now();
        let mut waiting = self.start(namespaces, &script(host, "wait"), patience_s);
        let code = waiting.0.wait().unwrap().code();
        assert!(matches!(code, Some(LED | WAITED)), "{code:?}");
        (code == Some(LED), began.elapsed())
    }
}

fn script(host: &str, role: &str) -> String {
    format!("hostname {host} && {ROLE}={role} exec \"$CHILD\" \"$ONLY\" --exact --nocapture")
}

fn wait_for(file: &Path) {
    let until = Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(Instant::now() < until, "{} never came", file.display());
        thread::sleep(Duration::from_millis(10));
    }
}

/// A process that does not outlive its test.
struct Inside(Child);

impl Inside {
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

const OWN_NAME: [&str; 1] = ["--uts"];
const CONTAINER: [&str; 5] = ["--uts", "--pid", "--fork", "--mount-proc", "--kill-child"];

#[test]
fn two_host_names_on_one_machine_see_one_another_live_and_die() {
    let Some(yard) = Yard::new(LONG_S) else {
        return;
    };
    let holder = yard.hold(&OWN_NAME, "alpha");
    let (leads, _) = yard.comes_to_lead(&OWN_NAME, "beta", 3);
    assert!(!leads, "a living holder was taken for dead");
    holder.kill();
    let (leads, after) = yard.comes_to_lead(&OWN_NAME, "beta", 120);
    assert!(leads, "a dead holder was not found within {after:?}");
}

#[test]
fn containers_with_one_host_name_judge_only_by_signs_of_life() {
    const LEASE: u64 = 4;
    let Some(yard) = Yard::new(LEASE) else { return };
    let holder = yard.hold(&CONTAINER, "box");
    let (leads, _) = yard.comes_to_lead(&CONTAINER, "box", 2 * LEASE);
    assert!(!leads, "a living holder was taken for dead");
    holder.kill();
    let (leads, after) = yard.comes_to_lead(&CONTAINER, "box", 30 * LEASE);
    assert!(leads, "a dead holder was not found within {after:?}");
    assert!(
        after >= Duration::from_secs(LEASE),
        "found dead without proof after {after:?}"
    );
}

#[test]
fn a_holder_whose_pid_another_process_got_is_found_dead() {
    // `ns_last_pid` says which number the next process gets.
    const SCRIPT: &str = "\
hostname box
COCORUN_NAMESPACE_ROLE=hold \"$CHILD\" \"$ONLY\" --exact &
holder=$!
until [ -s \"$COCORUN_NAMESPACE_DIR/held\" ]; do sleep 0.05; done
[ \"$(cat \"$COCORUN_NAMESPACE_DIR/held\")\" = $holder ] || exit 10
[ -w /proc/sys/kernel/ns_last_pid ] || exit 12
kill -9 $holder
wait $holder 2>/dev/null
echo $((holder - 1)) >/proc/sys/kernel/ns_last_pid
sleep 600 &
[ $! = $holder ] || exit 11
COCORUN_NAMESPACE_ROLE=wait exec \"$CHILD\" \"$ONLY\" --exact
";
    let Some(yard) = Yard::new(LONG_S) else {
        return;
    };
    let began = Instant::now();
    let mut inside = yard.start(&CONTAINER, SCRIPT, 120);
    let code = inside.0.wait().unwrap().code();
    let after = began.elapsed();
    if code == Some(12) {
        return skip("this kernel has no `ns_last_pid`");
    }
    assert_eq!(
        code,
        Some(LED),
        "after {after:?}; 10 and 11 mean that the PID was not got again"
    );
}
