//! What `cocorun locks clean` may end and remove, and what it may not: simulated machines, a real
//! directory, a clock moved by hand.

use crate::acquire::AcquireOutcome;
use crate::acquire::NfsLock;
use crate::ledger::record::FailureKind;
use crate::maintenance::Action;
use crate::maintenance::Cleaning;
use crate::maintenance::Survey;
use crate::maintenance::Tree;
use crate::once::call_once::CallOnce;
use crate::once::call_once::EnterOutcome;
use crate::once::leader::Leader;
use crate::once::leader::PublishOutcome;
use crate::options::Options;
use crate::outcome::Acceptance;
use crate::pytest_cocotb::lock::PytestLock;
use crate::pytest_cocotb::lock::PytestLockEntry;
use crate::pytest_cocotb::lock::PytestLockWatch;
use crate::tests::fake::FakeClock;
use crate::tests::fake::FakeMachine;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::clock::SystemClock;
use cocorun_edge::fs;
use cocorun_edge::machine::Machine;
use cocorun_edge::storage::Storage;
use cocorun_edge::storage::SystemStorage;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

type OnSleep = Box<dyn FnMut() + Send>;

/// A clock while others are at work: each sleep lets them take a step.
struct BusyClock {
    clock: Arc<FakeClock>,
    others: Mutex<OnSleep>,
}

impl Clock for BusyClock {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wall(&self) -> SystemTime {
        self.clock.wall()
    }

    fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration);
        (self.others.lock().expect("nobody panics in here"))();
    }
}

struct World {
    _temp: tempfile::TempDir,
    root: Utf8PathBuf,
    dir: Utf8PathBuf,
    clock: Arc<FakeClock>,
    seed: u64,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let root = Utf8PathBuf::try_from(temp.path().to_path_buf()).expect("a UTF-8 path");
        Self {
            _temp: temp,
            dir: root.join("key"),
            root,
            clock: FakeClock::new(),
            seed: 0,
        }
    }

    fn options(&mut self, node: &str) -> Options {
        self.seed += 1;
        Options {
            heartbeat: Duration::ZERO,
            machine: FakeMachine::on(&format!("{node}{}", self.seed), self.seed),
            ..Options::new("run")
        }
    }

    fn caller(&mut self, node: &str) -> CallOnce {
        let options = self.options(node);
        let clock: Arc<dyn Clock> = self.clock.clone();
        CallOnce::new(
            Arc::new(SystemStorage),
            clock,
            self.dir.clone(),
            "step",
            options,
        )
    }

    /// Makes a leader on a node of this name.
    fn leader(&mut self, node: &str) -> Leader {
        match self.caller(node).enter(&mut |_| Acceptance::Use) {
            Ok(EnterOutcome::Lead(leader)) => leader,
            other => panic!("expected to lead, came to {other:?}"),
        }
    }

    /// Lets a leader on this node die at work.
    fn die(&mut self, node: &str) -> Utf8PathBuf {
        let leader = self.leader(node);
        let dir = leader.dir().to_owned();
        fs::write(&dir.join("part"), "half").expect("a local directory");
        std::mem::forget(leader);
        dir
    }

    fn cleaning(&self) -> Cleaning {
        Cleaning {
            storage: Arc::new(SystemStorage),
            clock: self.clock.clone(),
            host: cleaner(),
            is_dry_run: false,
            takes_retired: false,
            lease_max: Duration::from_secs(60),
        }
    }

    /// Cleans; returns what was done and why, in order.
    fn clean(&self, cleaning: &Cleaning) -> Vec<(Action, String)> {
        let tree = Tree::below(&self.root).expect("it can be listed");
        let mut report = Vec::new();
        cleaning.clean(&tree, &mut |action, path, words| {
            report.push((action, format!("{path}: {words}")));
        });
        report
    }

    fn pytest_lock(&self) -> Utf8PathBuf {
        self.dir.join(".locks/step.lock")
    }

    fn survey(&self) -> Survey {
        Survey::of(
            Arc::new(SystemStorage),
            self.clock.clone(),
            cleaner(),
            &self.dir.join(".locks/step.ledger"),
        )
        .expect("it is a ledger")
    }
}

/// A node that knows that processes of nodes named `dead…` are gone.
fn cleaner() -> Arc<dyn Machine> {
    FakeMachine::knowing_dead("here", 99, "dead")
}

fn actions(report: &[(Action, String)]) -> Vec<Action> {
    report.iter().map(|(action, _)| *action).collect()
}

#[test]
fn what_a_dead_leader_left_is_removed_and_the_next_one_leads_at_once() {
    let mut world = World::new();
    let attempt = world.die("dead");
    assert!(fs::exists(&world.pytest_lock()));
    let report = world.clean(&world.cleaning());
    let expected = [
        Action::Ended,
        Action::RemovedPytestLock,
        Action::RemovedAttempt,
    ];
    assert_eq!(actions(&report), expected, "{report:#?}");
    assert!(!fs::exists(&attempt) && !fs::exists(&world.pytest_lock()));
    assert!(world.clock.elapsed() < Duration::from_secs(3));
    let next = world.leader("dead");
    assert_eq!((next.epoch(), next.is_lost()), (2, false));
    next.publish(serde_json::json!("it")).expect("written");
    assert_eq!(actions(&world.clean(&world.cleaning())), []);
}

#[test]
fn a_dry_run_reports_the_same_and_changes_nothing() {
    let mut world = World::new();
    let attempt = world.die("dead");
    let dry = Cleaning {
        is_dry_run: true,
        ..world.cleaning()
    };
    let report = world.clean(&dry);
    assert!(fs::exists(&attempt.join("part")) && fs::exists(&world.pytest_lock()));
    assert_eq!(world.survey().open().expect("readable").len(), 1);
    assert_eq!(report, world.clean(&world.cleaning()));
}

#[test]
fn a_holder_elsewhere_is_dead_after_silence_for_its_whole_lease() {
    let mut world = World::new();
    let attempt = world.die("node");
    // However old it is: only observed silence counts.
    world.clock.advance(Duration::from_secs(1_000_000));
    let start = world.clock.elapsed();
    let report = world.clean(&world.cleaning());
    let watched = world.clock.elapsed().saturating_sub(start);
    let expected = [
        Action::Ended,
        Action::RemovedPytestLock,
        Action::RemovedAttempt,
    ];
    assert_eq!(actions(&report), expected, "{report:#?}");
    assert!(watched >= Duration::from_secs(30), "{watched:?}");
    assert!(watched <= Duration::from_secs(40), "{watched:?}");
    assert!(!fs::exists(&attempt));
}

#[test]
fn a_holder_elsewhere_that_gives_a_sign_of_life_keeps_everything() {
    let mut world = World::new();
    let leader = Arc::new(world.leader("node"));
    let claim = world.dir.join(".locks/step.ledger/00000001.claim");
    let (clock, beating) = (Arc::clone(&world.clock), Arc::clone(&leader));
    let (began, mut next) = (clock.elapsed(), Duration::from_secs(25));
    let others: OnSleep = Box::new(move || {
        if world_time(&clock, began) >= next {
            beat_visibly(&beating, &claim);
            next += Duration::from_secs(25);
        }
    });
    let busy = BusyClock {
        clock: Arc::clone(&world.clock),
        others: Mutex::new(others),
    };
    let cleaning = Cleaning {
        clock: Arc::new(busy),
        ..world.cleaning()
    };
    let report = world.clean(&cleaning);
    assert_eq!(actions(&report), [Action::Kept], "{report:#?}");
    assert!(report[0].1.contains("sign of life"), "{report:#?}");
    assert!(fs::exists(leader.dir()) && fs::exists(&world.pytest_lock()));
    leader.beat();
    assert!(!leader.is_lost());
}

/// Gives a visible sign of life: on many file systems a time stamp advances only with the kernel's
/// tick, every 1 to 10 ms, and on the fake clock 25 s pass in less than that.
fn beat_visibly(leader: &Leader, claim: &Utf8Path) {
    let stamp = || SystemStorage.stamp(claim).expect("it is there").modified;
    let before = stamp();
    for _ in 0..10_000 {
        leader.beat();
        if stamp() != before {
            return;
        }
        SystemClock.sleep(Duration::from_millis(1));
    }
    panic!("no sign of life shows");
}

fn world_time(clock: &FakeClock, since: Duration) -> Duration {
    clock.elapsed().saturating_sub(since)
}

#[test]
fn a_result_that_is_published_while_we_watch_stays() {
    let mut world = World::new();
    let leader = world.leader("node");
    let dir = leader.dir().to_owned();
    let mut leader = Some(leader);
    let others: OnSleep = Box::new(move || {
        if let Some(leader) = leader.take() {
            let outcome = leader.publish(serde_json::json!("it")).expect("written");
            assert!(matches!(outcome, PublishOutcome::Published(_)));
        }
    });
    let busy = BusyClock {
        clock: Arc::clone(&world.clock),
        others: Mutex::new(others),
    };
    let cleaning = Cleaning {
        clock: Arc::new(busy),
        ..world.cleaning()
    };
    assert_eq!(actions(&world.clean(&cleaning)), []);
    assert!(fs::exists(&dir.join("record.json")));
}

#[test]
fn a_holder_with_a_long_lease_is_not_waited_for_and_stays() {
    let mut world = World::new();
    let attempt = world.die("node");
    let cleaning = Cleaning {
        lease_max: Duration::from_secs(29),
        ..world.cleaning()
    };
    let report = world.clean(&cleaning);
    assert_eq!(actions(&report), [Action::Kept], "{report:#?}");
    assert_eq!(world.clock.elapsed(), Duration::ZERO);
    assert!(fs::exists(&attempt));
}

#[test]
fn a_result_is_announced_before_its_pytest_lock_is_removed() {
    let mut world = World::new();
    let mut quiet = world.caller("dead");
    quiet.options_for_tests().pytest_cocotb = false;
    quiet.ledger.pytest_cocotb = false;
    let Ok(EnterOutcome::Lead(leader)) = quiet.enter(&mut |_| Acceptance::Use) else {
        panic!("nobody else is there");
    };
    let (token, dir) = (leader.token().to_owned(), leader.dir().to_owned());
    let pytest_lock = PytestLock::new(&world.survey().ledger, cleaner(), &token, 1);
    let entry = pytest_lock
        .enter(&mut PytestLockWatch::default())
        .expect("local");
    assert!(matches!(entry, PytestLockEntry::Held));
    leader.publish(serde_json::json!("it")).expect("written");
    let done = world.dir.join(".locks/step.done");
    assert!(!fs::exists(&done), "that is what it died before");
    let report = world.clean(&world.cleaning());
    assert_eq!(actions(&report), [Action::RemovedPytestLock], "{report:#?}");
    assert!(fs::exists(&done) && fs::exists(&dir.join("record.json")));
    assert!(!fs::exists(&world.pytest_lock()));
}

#[test]
fn a_pytest_lock_with_guards_of_several_dead_is_cleared_once_and_the_guard_of_the_live_one_stays() {
    let mut world = World::new();
    world.leader("node").release().expect("written");
    let token = world.leader("node").token().to_owned();
    let guard = |number: u32, token: &str| {
        let name = format!("cocorun.guard.{number:08}.{token}");
        world.dir.join(".locks/step.lock").join(name)
    };
    let dead = [
        guard(2, &token),
        guard(1, &world.survey().claims().expect("readable")[0].token),
    ];
    for guard in &dead {
        fs::create_dirs(&world.pytest_lock()).expect("a local directory");
        fs::write(guard, "").expect("a local directory");
    }
    let report = world.clean(&world.cleaning());
    let of_locks: Vec<_> = report
        .iter()
        .filter(|it| it.0 == Action::RemovedPytestLock)
        .collect();
    assert_eq!(of_locks.len(), 1, "{report:#?}");
    let words = &of_locks[0].1;
    assert!(words.ends_with("attempts 1 and 2 have ended"), "{words}");
    // It was made without our sticky bit, so it is left to its maker.
    SystemStorage
        .remove_dir(&world.pytest_lock())
        .expect("it is empty");
    let live = world.leader("node");
    fs::write(&dead[1], "").expect("a local directory");
    let report = world.clean(&Cleaning {
        lease_max: Duration::ZERO,
        ..world.cleaning()
    });
    let is_file = |it: &&(Action, String)| it.0 == Action::RemovedFile;
    assert_eq!(report.iter().filter(is_file).count(), 1, "{report:#?}");
    assert!(
        !actions(&report).contains(&Action::RemovedPytestLock),
        "{report:#?}"
    );
    assert!(!fs::exists(&dead[1]));
    let own = format!("cocorun.guard.{:08}.{}", live.epoch(), live.token());
    assert!(fs::exists(&world.pytest_lock().join(own)));
}

#[test]
fn results_and_the_last_failure_stay_and_earlier_failures_are_removed() {
    let mut world = World::new();
    let fail = |leader: Leader| {
        let failed = leader.fail(FailureKind::Transient, "no licence");
        failed.expect("written").dir
    };
    let first = fail(world.leader("node"));
    let second = fail(world.leader("node"));
    let report = world.clean(&world.cleaning());
    assert_eq!(
        actions(&report),
        [Action::RemovedAttempt, Action::Kept],
        "{report:#?}"
    );
    assert!(!fs::exists(&first) && fs::exists(&second));
    let leader = world.leader("node");
    let result = leader.dir().to_owned();
    leader.publish(serde_json::json!("it")).expect("written");
    assert_eq!(
        actions(&world.clean(&world.cleaning())),
        [Action::RemovedAttempt]
    );
    assert!(fs::exists(&result));
    world.caller("node").clean().expect("a local directory");
    let report = world.clean(&world.cleaning());
    assert_eq!(actions(&report), [Action::Kept], "{report:#?}");
    let all = Cleaning {
        takes_retired: true,
        ..world.cleaning()
    };
    assert_eq!(actions(&world.clean(&all)), [Action::RemovedAttempt]);
    assert!(!fs::exists(&result));
}

#[test]
fn what_nobody_claims_and_what_python_holds_stays() {
    let mut world = World::new();
    world.leader("node").release().expect("written");
    let strange = world.dir.join("attempts/00000001-deadbeef");
    let python = world.dir.join(".locks/other.lock");
    for dir in [&strange, &python] {
        fs::create_dirs(dir).expect("a local directory");
    }
    let info = r#"{"hostname": "here99", "pid": 1000000, "timestamp": 1.0}"#;
    fs::write(&python.join("holder.info"), info).expect("a local directory");
    let report = world.clean(&world.cleaning());
    let mut actions = actions(&report);
    actions.sort_unstable();
    let expected = [Action::RemovedAttempt, Action::Kept, Action::Kept];
    assert_eq!(actions, expected, "{report:#?}");
    assert!(fs::exists(&strange) && fs::exists(&python.join("holder.info")));
}

#[test]
fn a_lock_that_python_has_just_made_stays_without_the_guard_of_the_dead() {
    let mut world = World::new();
    let leader = world.leader("node");
    let token = leader.token().to_owned();
    leader.publish(serde_json::json!(1)).expect("written");
    // It died before it held pytest-cocotb's lock, and Python has not yet written its name.
    fs::create_dirs(&world.pytest_lock()).expect("a local directory");
    let guard = world
        .pytest_lock()
        .join(format!("cocorun.guard.00000001.{token}"));
    fs::write(&guard, "").expect("a local directory");
    world.clean(&world.cleaning());
    assert!(!fs::exists(&guard));
    assert!(fs::exists(&world.pytest_lock()), "it is Python's");
}

#[test]
fn a_tree_of_attempts_that_is_a_link_is_not_followed() {
    let mut world = World::new();
    let attempt = world.die("dead");
    let (attempts, elsewhere) = (world.dir.join("attempts"), world.root.join("elsewhere"));
    let tree = Tree::below(&world.root).expect("it can be listed");
    // Somebody swaps the directory for a link between our look and our action.
    move_dir(&attempts, &elsewhere);
    fs::link(&elsewhere, &attempts).expect("a local directory");
    let mut report = Vec::new();
    let cleaning = world.cleaning();
    cleaning.clean(&tree, &mut |action, _, _| report.push(action));
    assert!(report.contains(&Action::Failed), "{report:?}");
    let name = attempt.file_name().expect("it has one");
    assert!(fs::exists(&elsewhere.join(name).join("part")));
}

#[expect(
    clippy::disallowed_methods,
    reason = "plays a user who moves a directory away"
)]
fn move_dir(from: &Utf8Path, to: &Utf8Path) {
    std::fs::rename(from, to).expect("a local directory");
}

#[test]
fn a_ticket_that_waits_and_is_ended_can_never_be_granted() {
    let mut world = World::new();
    let mut lock = |node: &str| {
        let options = world.options(node);
        let clock: Arc<dyn Clock> = world.clock.clone();
        let dir = world.dir.clone();
        NfsLock::new(Arc::new(SystemStorage), clock, dir, "step", options)
    };
    let mut first = lock("node");
    let Ok(AcquireOutcome::Held(held)) = first.try_acquire() else {
        panic!("it is free");
    };
    let mut second = lock("node");
    let entry = second.try_acquire().expect("a local directory");
    assert!(matches!(entry, AcquireOutcome::Wait { .. }), "{entry:?}");
    let survey = world.survey();
    assert!(survey.revoke(2).expect("a local directory"));
    let grant = survey.ledger.grant(2).expect("readable");
    assert!(grant.is_some_and(|text| text.starts_with("revoked")));
    let open = survey.open().expect("readable");
    let numbers: Vec<u32> = open.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1]);
    drop(held);
}
