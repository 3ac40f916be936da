//! Together with pytest-cocotb in one directory: its lock is respected and held, its markers are
//! made and noticed.
//!
//! Its part is played by hand here, and by the unmodified package in `interop_storm.rs`.

use crate::ledger::record::FailureKind;
use crate::once::call_once::CallOnce;
use crate::once::call_once::EnterOutcome;
use crate::once::leader::Leader;
use crate::options::Options;
use crate::outcome::Acceptance;
use crate::pytest_cocotb::lock::Info;
use crate::pytest_cocotb::lock::PytestLock;
use crate::pytest_cocotb::lock::PytestLockEntry;
use crate::pytest_cocotb::lock::PytestLockWatch;
use crate::tests::fake::FakeClock;
use crate::tests::fake::FakeMachine;

use camino::Utf8PathBuf;
use cocorun_edge::storage::Storage;
use cocorun_edge::storage::SystemStorage;
use std::sync::Arc;
use std::time::Duration;

struct World {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
    clock: Arc<FakeClock>,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = Utf8PathBuf::try_from(temp.path().join("key")).expect("a UTF-8 path");
        SystemStorage.create_dir(&dir).expect("a directory");
        SystemStorage
            .create_dir(&dir.join(".locks"))
            .expect("a directory");
        let clock = FakeClock::new();
        Self {
            _temp: temp,
            dir,
            clock,
        }
    }

    fn caller(&self, number: u64) -> CallOnce {
        let options = Options {
            heartbeat: Duration::ZERO,
            machine: FakeMachine::on("vm", number),
            ..Options::new("run")
        };
        let storage = Arc::new(SystemStorage);
        CallOnce::new(
            storage,
            self.clock.clone(),
            self.dir.clone(),
            "step",
            options,
        )
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.dir.join(".locks").join(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        let bytes = SystemStorage.read_file(&self.path(name)).ok()?;
        Some(String::from_utf8(bytes).expect("UTF-8"))
    }

    /// Locks as Python does.
    fn python_locks(&self, info: &str) {
        SystemStorage
            .create_dir(&self.path("step.lock"))
            .expect("a free lock");
        if !info.is_empty() {
            let path = self.path("step.lock/holder.info");
            SystemStorage
                .write_file(&path, info.as_bytes())
                .expect("writable");
        }
    }

    /// Releases, or breaks, as Python does; says whether the directory is gone.
    fn python_releases(&self) -> bool {
        SystemStorage
            .remove_file(&self.path("step.lock/holder.info"))
            .ok();
        SystemStorage.remove_dir(&self.path("step.lock")).is_ok()
    }

    /// Lets a caller wait until it leads; returns how long that took.
    fn lead(&self, once: &mut CallOnce) -> (Leader, Duration) {
        let start = self.clock.elapsed();
        loop {
            match once
                .enter(&mut |_| Acceptance::Use)
                .expect("a local directory works")
            {
                EnterOutcome::Wait { retry_in, .. } => self.clock.advance(retry_in),
                EnterOutcome::Lead(leader) => {
                    return (leader, self.clock.elapsed().saturating_sub(start));
                }
                other => panic!("came to {other:?}"),
            }
            assert!(
                self.clock.elapsed() < Duration::from_secs(9000),
                "waits forever"
            );
        }
    }
}

const ALIVE: &str = r#"{"hostname": "vm", "pid": 4711, "timestamp": 1795000000.25}"#;
const DEAD: &str = r#"{"hostname": "vm", "pid": 1004711, "timestamp": 1795000000.25}"#;
const REMOTE: &str = r#"{"hostname": "elsewhere", "pid": 7, "timestamp": 1.5}"#;

#[test]
fn a_live_python_holder_is_waited_for_and_named() {
    let world = World::new();
    world.python_locks(ALIVE);
    let mut once = world.caller(1);
    for _ in 0..10_000 {
        let entry = once.enter(&mut |_| Acceptance::Use);
        let Ok(EnterOutcome::Wait { holder, retry_in }) = entry else {
            panic!("{entry:?}")
        };
        assert_eq!((holder.pid, holder.host.as_str()), (4711, "vm"));
        assert!(holder.path.as_str().ends_with("key/.locks/step.lock"));
        world.clock.advance(retry_in);
    }
    assert_eq!(world.text("step.lock/holder.info").as_deref(), Some(ALIVE));
    assert!(
        world.python_releases(),
        "we left something in a lock that is not ours"
    );
    let (leader, after) = world.lead(&mut once);
    assert_eq!(leader.epoch(), 1);
    assert!(after < Duration::from_secs(1), "{after:?}");
}

#[test]
fn a_python_holder_that_is_gone_is_replaced_in_place() {
    for (info, at_least_s, at_most_s) in [(DEAD, 10, 13), ("", 30, 34), ("{", 30, 34)] {
        let world = World::new();
        world.python_locks(info);
        let (_leader, after) = world.lead(&mut world.caller(1));
        let expected = Duration::from_secs(at_least_s)..Duration::from_secs(at_most_s);
        assert!(expected.contains(&after), "`{info}` after {after:?}");
        assert!(!world.python_releases(), "a breaker got through the guard");
    }
}

#[test]
fn a_python_holder_on_another_host_is_replaced_after_its_own_two_hours() {
    let world = World::new();
    world.python_locks(REMOTE);
    let (_leader, after) = world.lead(&mut world.caller(1));
    assert!(after >= Duration::from_secs(7200), "{after:?}");
}

#[test]
fn while_we_lead_python_finds_the_lock_held_and_cannot_break_it() {
    let world = World::new();
    let (leader, after) = world.lead(&mut world.caller(1));
    assert_eq!(after, Duration::ZERO, "a free lock is not a reason to wait");
    let text = world.text("step.lock/holder.info").expect("a holder");
    assert!(text.starts_with(r#"{"hostname": "vm", "pid": 1, "timestamp": 1795000000.0"#));
    assert!(!world.python_releases());
    assert_eq!(world.text("step.lock/holder.info"), None);
    leader.beat();
    let again = Info::from_bytes(
        world
            .text("step.lock/holder.info")
            .expect("back")
            .as_bytes(),
    );
    assert_eq!(
        again.and_then(|info| info.token).as_deref(),
        Some(leader.token())
    );
    let name = "step.lock/holder.info";
    SystemStorage
        .write_file(&world.path(name), ALIVE.as_bytes())
        .expect("writable");
    leader.beat();
    assert_eq!(
        world.text(name).as_deref(),
        Some(ALIVE),
        "a foreign name is not written over"
    );
}

#[test]
fn the_end_of_an_epoch_frees_the_lock_and_makes_the_markers() {
    let world = World::new();
    let (leader, _) = world.lead(&mut world.caller(1));
    leader
        .fail(FailureKind::Transient, "disk full")
        .expect("a local directory works");
    assert_eq!(world.text("step.failed"), None);
    SystemStorage
        .create_dir(&world.path("step.lock"))
        .expect("the lock is free");
    SystemStorage
        .remove_dir(&world.path("step.lock"))
        .expect("ours");

    let (leader, _) = world.lead(&mut world.caller(2));
    leader
        .fail(FailureKind::Deterministic, "x.sv:1: error\n")
        .expect("a local directory works");
    let text = world.text("step.failed").expect("a marker");
    assert!(text.starts_with("x.sv:1: error\n--cocorun--\n{"), "{text}");

    let mut other = world.caller(3);
    other.clean().expect("a local directory works");
    assert_eq!(world.text("step.failed"), None);
    let (leader, _) = world.lead(&mut other);
    leader
        .publish(serde_json::json!(1))
        .expect("a local directory works");
    assert!(world.text("step.done").is_some());
    SystemStorage
        .create_dir(&world.path("step.lock"))
        .expect("the lock is free");
}

#[test]
fn a_marker_that_python_removed_ends_the_result() {
    let world = World::new();
    let (leader, _) = world.lead(&mut world.caller(1));
    leader
        .publish(serde_json::json!(1))
        .expect("a local directory works");
    let entry = world.caller(2).enter(&mut |_| Acceptance::Use);
    assert!(matches!(entry, Ok(EnterOutcome::Done(_))), "{entry:?}");
    SystemStorage
        .remove_file(&world.path("step.done"))
        .expect("it is there");
    let (leader, _) = world.lead(&mut world.caller(3));
    assert_eq!(leader.epoch(), 2);
    leader
        .publish(serde_json::json!(2))
        .expect("a local directory works");
    let entry = world.caller(4).enter(&mut |_| Acceptance::Use);
    assert!(matches!(entry, Ok(EnterOutcome::Done(it)) if it.epoch == 2));
}

#[test]
fn a_marker_that_its_maker_could_no_longer_write_is_made_by_the_next() {
    let world = World::new();
    let (leader, _) = world.lead(&mut world.caller(1));
    let token = leader.token().to_owned();
    leader
        .publish(serde_json::json!(1))
        .expect("a local directory works");
    // As if the maker had died between its commit and everything that follows.
    SystemStorage
        .remove_file(&world.path("step.done"))
        .expect("it is there");
    SystemStorage
        .remove_file(&world.path("step.ledger/00000001.marked"))
        .expect("it is there");
    SystemStorage
        .create_sticky_dir(&world.path("step.lock"))
        .expect("free");
    let guard = world.path(&format!("step.lock/cocorun.guard.00000001.{token}"));
    SystemStorage.create_file(&guard, b"").expect("free");
    let entry = world.caller(2).enter(&mut |_| Acceptance::Use);
    assert!(matches!(entry, Ok(EnterOutcome::Done(it)) if it.epoch == 1));
    assert!(world.text("step.done").is_some());
    SystemStorage
        .create_dir(&world.path("step.lock"))
        .expect("the dead leader's lock is cleared");
}

#[test]
fn a_replaced_leader_takes_nothing_from_the_pytest_lock_of_its_successor() {
    let world = World::new();
    let (silent, _) = world.lead(&mut world.caller(1));
    let (successor, _) = world.lead(&mut world.caller(2));
    silent.beat();
    assert!(silent.is_lost());
    drop(silent);
    let info = Info::from_bytes(
        world
            .text("step.lock/holder.info")
            .expect("held")
            .as_bytes(),
    );
    assert_eq!(
        info.and_then(|info| info.token).as_deref(),
        Some(successor.token())
    );
    assert!(!world.python_releases());
}

#[test]
fn a_replaced_leader_that_enters_late_leaves_its_successors_guard_alone() {
    let world = World::new();
    let late = world.lead(&mut world.caller(1)).0;
    let (successor, pytest_lock) = world.lead(&mut world.caller(2));
    let guard = world.path(&format!(
        "step.lock/cocorun.guard.00000002.{}",
        successor.token()
    ));
    assert!(SystemStorage.stamp(&guard).is_ok());
    // As if it had been frozen before it entered.
    let host = FakeMachine::on("node1", 1);
    let sleeper = PytestLock::new(&world.caller(1).ledger, host, late.token(), 1);
    let entry = sleeper.enter(&mut PytestLockWatch::default());
    assert!(matches!(entry, Ok(PytestLockEntry::Held)), "{entry:?}");
    sleeper.leave();
    assert!(
        SystemStorage.stamp(&guard).is_ok(),
        "nothing keeps Python out"
    );
    assert!(!world.python_releases());
    drop((pytest_lock, late));
}

#[test]
fn clearing_after_a_leader_that_died_before_it_held_removes_no_lock_of_python() {
    let world = World::new();
    let (leader, _) = world.lead(&mut world.caller(1));
    let token = leader.token().to_owned();
    leader
        .publish(serde_json::json!(1))
        .expect("a local directory works");
    // Python has made its directory and not yet written its name.
    world.python_locks("");
    let guard = world.path(&format!("step.lock/cocorun.guard.00000001.{token}"));
    SystemStorage.create_file(&guard, b"").expect("free");
    let entry = world.caller(2).enter(&mut |_| Acceptance::Use);
    assert!(matches!(entry, Ok(EnterOutcome::Done(_))), "{entry:?}");
    let names = SystemStorage.list(&world.path("step.lock"));
    assert_eq!(names.expect("it is Python's"), Vec::<String>::new());
}

#[test]
fn a_leader_waiting_for_the_pytest_lock_can_be_replaced_and_leaves_nothing_behind() {
    let world = World::new();
    world.python_locks(ALIVE);
    let mut stuck = world.caller(1);
    let entry = stuck.enter(&mut |_| Acceptance::Use);
    assert!(matches!(entry, Ok(EnterOutcome::Wait { .. })), "{entry:?}");
    let mut other = world.caller(2);
    for _ in 0..60 {
        let entry = other.enter(&mut |_| Acceptance::Use);
        assert!(matches!(entry, Ok(EnterOutcome::Wait { .. })), "{entry:?}");
        world.clock.advance(Duration::from_secs(1));
    }
    drop(other);
    drop(stuck);
    assert!(world.python_releases());
    let (leader, _) = world.lead(&mut world.caller(3));
    assert_eq!(leader.epoch(), 3);
}

#[test]
fn a_leader_that_gives_up_waiting_for_the_pytest_lock_leaves_no_guard_in_it() {
    let world = World::new();
    world.python_locks("");
    let mut once = world.caller(1);
    let entry = once.enter(&mut |_| Acceptance::Use);
    assert!(matches!(entry, Ok(EnterOutcome::Wait { .. })), "{entry:?}");
    world.clock.advance(Duration::from_secs(31));
    // The guard is in, and a late writer is waited for.
    let entry = once.enter(&mut |_| Acceptance::Use);
    assert!(matches!(entry, Ok(EnterOutcome::Wait { .. })), "{entry:?}");
    let names = SystemStorage
        .list(&world.path("step.lock"))
        .expect("a directory");
    assert_eq!(names.len(), 1, "{names:?}");
    drop(once);
    let names = SystemStorage
        .list(&world.path("step.lock"))
        .expect("it is not ours to remove");
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn a_late_writer_in_a_nameless_lock_is_left_alone() {
    let world = World::new();
    world.python_locks("");
    let mut once = world.caller(1);
    drop(once.enter(&mut |_| Acceptance::Use));
    world.clock.advance(Duration::from_secs(31));
    drop(once.enter(&mut |_| Acceptance::Use));
    let path = world.path("step.lock/holder.info");
    SystemStorage
        .write_file(&path, ALIVE.as_bytes())
        .expect("Python comes late");
    for _ in 0..100 {
        world.clock.advance(Duration::from_secs(1));
        let entry = once.enter(&mut |_| Acceptance::Use);
        assert!(matches!(entry, Ok(EnterOutcome::Wait { .. })), "{entry:?}");
    }
    assert_eq!(world.text("step.lock/holder.info").as_deref(), Some(ALIVE));
    assert!(world.python_releases(), "our guard stayed in a live lock");
    world.lead(&mut once);
}

#[test]
fn a_damaged_result_takes_no_other_content_with_it() {
    let world = World::new();
    let (leader, _) = world.lead(&mut world.caller(1));
    leader
        .publish(serde_json::json!("x"))
        .expect("a local directory works");
    let Ok(EnterOutcome::Lead(leader)) = world.caller(2).enter(&mut |_| Acceptance::Foreign) else {
        panic!("a foreign result must be built again");
    };
    leader
        .publish(serde_json::json!("y"))
        .expect("a local directory works");
    // The caller of x finds its result damaged; y stays.
    let entry = world.caller(3).enter(&mut |it| {
        if it.record == serde_json::json!("x") {
            Acceptance::Broken("a hole".to_owned())
        } else {
            Acceptance::Foreign
        }
    });
    assert!(matches!(entry, Ok(EnterOutcome::Lead(_))), "{entry:?}");
    let entry = world.caller(4).enter(&mut |_| Acceptance::Use);
    assert!(matches!(entry, Ok(EnterOutcome::Done(it)) if it.epoch == 2));
}
