//! What callers of [`CallOnce`] may rely on: a real directory, a fake clock, simulated machines.

use crate::error::LockError;
use crate::ledger::record::Commit;
use crate::ledger::record::FailureKind;
use crate::once::call_once::CallOnce;
use crate::once::call_once::EnterOutcome;
use crate::once::leader::Leader;
use crate::once::leader::PublishOutcome;
use crate::once::step::Done;
use crate::once::step::Failure;
use crate::once::step::StepError;
use crate::options::Options;
use crate::outcome::Acceptance;
use crate::outcome::Published;
use crate::tests::fake::FakeClock;
use crate::tests::fake::FakeMachine;
use crate::tests::fake::callbacks;
use crate::tests::fake::never;
use crate::tests::fake::states;

use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::clock::SystemClock;
use cocorun_edge::storage::Storage;
use cocorun_edge::storage::SystemStorage;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// One shared directory and the time in it.
struct World {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
    clock: Arc<FakeClock>,
    seed: u64,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = Utf8PathBuf::try_from(temp.path().join("key")).expect("a UTF-8 path");
        Self {
            _temp: temp,
            dir,
            clock: FakeClock::new(),
            seed: 0,
        }
    }

    /// Makes a caller on a node of its own.
    fn caller(&mut self, run_id: &str) -> CallOnce {
        self.seed += 1;
        let options = Options {
            heartbeat: Duration::ZERO,
            machine: FakeMachine::on(&format!("node{}", self.seed), self.seed),
            ..Options::new(run_id)
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
}

fn enter(once: &mut CallOnce) -> EnterOutcome {
    once.enter(&mut |_| Acceptance::Use)
        .expect("a local directory works")
}

fn lead(once: &mut CallOnce) -> Leader {
    match enter(once) {
        EnterOutcome::Lead(leader) => leader,
        other => panic!("expected to lead, came to {other:?}"),
    }
}

fn done(once: &mut CallOnce) -> Published {
    match enter(once) {
        EnterOutcome::Done(published) => published,
        other => panic!("expected a result, came to {other:?}"),
    }
}

fn wait(once: &mut CallOnce) -> Duration {
    match enter(once) {
        EnterOutcome::Wait { retry_in, .. } => retry_in,
        other => panic!("expected to wait, came to {other:?}"),
    }
}

fn publish(leader: Leader, text: &str) -> Published {
    match leader
        .publish(serde_json::json!(text))
        .expect("a local directory works")
    {
        PublishOutcome::Published(published) => published,
        PublishOutcome::Superseded => panic!("nobody else was there"),
    }
}

/// Lets a caller wait until it leads; nobody gives a sign of life meanwhile.
fn lead_after_silence(world: &World, once: &mut CallOnce) -> (Leader, Duration) {
    let start = world.clock.elapsed();
    loop {
        match enter(once) {
            EnterOutcome::Wait { retry_in, .. } => world.clock.advance(retry_in),
            EnterOutcome::Lead(leader) => {
                return (leader, world.clock.elapsed().saturating_sub(start));
            }
            other => panic!("expected to wait or lead, came to {other:?}"),
        }
    }
}

#[test]
fn second_caller_reuses_the_result_of_the_first() {
    let mut world = World::new();
    let leader = lead(&mut world.caller("a"));
    SystemStorage
        .write_file(&leader.dir().join("out"), b"made")
        .expect("a private directory");
    let first = publish(leader, "hello");
    let second = done(&mut world.caller("b"));
    assert_eq!(first, second);
    assert_eq!(second.record, serde_json::json!("hello"));
    assert_eq!(
        SystemStorage
            .read_file(&second.dir.join("out"))
            .expect("published"),
        b"made"
    );
}

#[test]
fn a_waiting_caller_sees_the_holder_and_what_it_does() {
    let mut world = World::new();
    let leader = lead(&mut world.caller("a"));
    leader.note("verilator, 3 of 8\nsecond line");
    leader.beat();
    let EnterOutcome::Wait { holder, retry_in } = enter(&mut world.caller("b")) else {
        panic!("two leaders at once");
    };
    assert_eq!(holder.host, "node1");
    assert_eq!(holder.doing.as_deref(), Some("verilator, 3 of 8"));
    assert!(
        holder
            .path
            .as_str()
            .ends_with(".locks/step.ledger/00000001.claim")
    );
    assert!(retry_in > Duration::ZERO && retry_in < Duration::from_secs(1));
    drop(leader);
}

#[test]
fn a_dropped_leader_makes_way_at_once() {
    let mut world = World::new();
    drop(lead(&mut world.caller("a")));
    let leader = lead(&mut world.caller("b"));
    assert_eq!(leader.epoch(), 2);
}

#[test]
fn a_silent_holder_on_another_node_is_replaced_after_its_lease() {
    let mut world = World::new();
    let silent = lead(&mut world.caller("a"));
    let mut waiting = world.caller("b");
    let (leader, after) = lead_after_silence(&world, &mut waiting);
    assert!(after >= Duration::from_secs(30), "replaced after {after:?}");
    assert!(after <= Duration::from_secs(41), "only after {after:?}");
    assert_eq!(leader.epoch(), 2);
    assert!(!silent.is_lost());
    silent.beat();
    assert!(silent.is_lost());
    let outcome = silent
        .publish(serde_json::json!("late"))
        .expect("a local directory works");
    assert_eq!(outcome, PublishOutcome::Superseded);
    let second = publish(leader, "in time");
    assert_eq!(done(&mut world.caller("c")), second);
}

#[test]
fn a_replaced_holder_that_noticed_nothing_cannot_publish() {
    let mut world = World::new();
    let silent = lead(&mut world.caller("a"));
    let mut waiting = world.caller("b");
    let (leader, _) = lead_after_silence(&world, &mut waiting);
    let outcome = silent
        .publish(serde_json::json!("late"))
        .expect("a local directory works");
    assert_eq!(outcome, PublishOutcome::Superseded);
    assert_eq!(done_after(leader, &mut world), serde_json::json!("in time"));
}

fn done_after(leader: Leader, world: &mut World) -> serde_json::Value {
    publish(leader, "in time");
    done(&mut world.caller("late")).record
}

#[test]
fn a_holder_that_publishes_before_the_fence_wins_over_its_successor() {
    let mut world = World::new();
    let mut successor = world.caller("b");
    let holder = lead(&mut world.caller("a"));
    wait(&mut successor);
    // The successor read that the epoch is open; before its fence the result appears.
    let mut leader = Some(holder);
    let entry = successor.claim_for_tests(2, &mut || {
        publish(leader.take().expect("once"), "just in time");
    });
    let EnterOutcome::Done(published) = entry else {
        panic!("made twice: {entry:?}")
    };
    assert_eq!(published.epoch, 1);
    let (commit, _) = &states(&world.caller("c"))[1];
    assert_eq!(*commit, Some(Commit::Released));
}

#[test]
fn a_vanished_process_of_this_node_is_replaced_after_a_second() {
    let mut world = World::new();
    let holder = lead(&mut world.caller("a"));
    let mut waiting = world.caller("b");
    waiting.options_for_tests().machine = FakeMachine::knowing_dead("node2", 7, "node1");
    let (leader, after) = lead_after_silence(&world, &mut waiting);
    assert_eq!(leader.epoch(), 2);
    assert!(
        after >= Duration::from_secs(1) && after < Duration::from_secs(3),
        "{after:?}"
    );
    drop(holder);
}

#[test]
fn a_result_foreign_to_one_caller_stays_valid_for_the_other() {
    let mut world = World::new();
    let first = publish(lead(&mut world.caller("a")), "content x");
    let mut wants_y = |it: &Published| {
        if it.record == serde_json::json!("content y") {
            Acceptance::Use
        } else {
            Acceptance::Foreign
        }
    };
    let Ok(EnterOutcome::Lead(leader)) = world.caller("b").enter(&mut wants_y) else {
        panic!("a foreign result must be built again");
    };
    let second = publish(leader, "content y");
    assert_eq!(second.epoch, 2);
    let mut wants_x = |it: &Published| {
        if it.record == serde_json::json!("content x") {
            Acceptance::Use
        } else {
            Acceptance::Foreign
        }
    };
    let Ok(EnterOutcome::Done(again)) = world.caller("c").enter(&mut wants_x) else {
        panic!("the older result is as good as it was");
    };
    assert_eq!(again, first);
    let Ok(EnterOutcome::Done(newer)) = world.caller("d").enter(&mut wants_y) else {
        panic!("the newer result is there");
    };
    assert_eq!(newer, second);
}

#[test]
fn an_acceptable_result_is_used_while_another_content_is_being_built() {
    let mut world = World::new();
    let first = publish(lead(&mut world.caller("a")), "content x");
    let Ok(EnterOutcome::Lead(leader)) = world.caller("b").enter(&mut |_| Acceptance::Foreign)
    else {
        panic!("a foreign result must be built again");
    };
    assert_eq!(done(&mut world.caller("c")), first);
    drop(leader);
}

#[test]
fn a_foreign_result_is_judged_again_after_winning() {
    let mut world = World::new();
    let first = publish(lead(&mut world.caller("a")), "content x");
    let mut judged = 0;
    let entry = world.caller("b").enter(&mut |_| {
        judged += 1;
        if judged == 1 {
            Acceptance::Foreign
        } else {
            Acceptance::Use
        }
    });
    assert!(
        matches!(&entry, Ok(EnterOutcome::Done(it)) if *it == first),
        "{entry:?}"
    );
}

#[test]
fn a_damaged_result_is_retired_and_made_again() {
    let mut world = World::new();
    let first = publish(lead(&mut world.caller("a")), "first");
    SystemStorage
        .write_file(&first.dir.join("record.json"), b"\"other\"")
        .expect("writable");
    let second = publish(lead(&mut world.caller("b")), "second");
    assert_eq!(second.epoch, 2);
    let mut broken = world.caller("c");
    let Ok(EnterOutcome::Lead(third)) =
        broken.enter(&mut |_| Acceptance::Broken("a hole".to_owned()))
    else {
        panic!("a broken result must be built again");
    };
    assert_eq!(third.epoch(), 3);
    drop(third);
    let states = states(&world.caller("d"));
    let retired: Vec<bool> = states.iter().map(|(_, is_retired)| *is_retired).collect();
    assert_eq!(retired, [true, true, false]);
}

#[test]
fn a_deterministic_failure_is_reported_only_to_those_who_waited() {
    let mut world = World::new();
    let leader = lead(&mut world.caller("run 1"));
    let mut watcher = world.caller("run 2");
    wait(&mut watcher);
    let text = "x.sv:1: syntax error\n".repeat(100);
    leader
        .fail(FailureKind::Deterministic, &text)
        .expect("a local directory works");
    let EnterOutcome::Failed(seen) = enter(&mut watcher) else {
        panic!("a watcher builds again")
    };
    assert_eq!((seen.epoch, seen.text.as_str()), (1, text.as_str()));
    let EnterOutcome::Failed(_) = enter(&mut world.caller("run 1")) else {
        panic!("same run, again")
    };
    assert_eq!(lead(&mut world.caller("run 3")).epoch(), 2);
}

#[test]
fn a_transient_failure_is_not_passed_on() {
    let mut world = World::new();
    let leader = lead(&mut world.caller("run 1"));
    let mut watcher = world.caller("run 2");
    wait(&mut watcher);
    leader
        .fail(FailureKind::Transient, "disk full")
        .expect("a local directory works");
    drop(lead(&mut watcher));
    drop(lead(&mut world.caller("run 1")));
}

#[test]
fn clean_retires_results_and_failures_but_not_the_running_attempt() {
    let mut world = World::new();
    publish(lead(&mut world.caller("a")), "first");
    let Ok(EnterOutcome::Lead(running)) = world.caller("b").enter(&mut |_| Acceptance::Foreign)
    else {
        panic!("a foreign result must be built again");
    };
    assert_eq!(
        world.caller("c").clean().expect("a local directory works"),
        1
    );
    assert_eq!(
        world.caller("c").clean().expect("a local directory works"),
        0
    );
    wait(&mut world.caller("d"));
    let second = publish(running, "second");
    assert_eq!(done(&mut world.caller("e")), second);
    world.caller("c").clean().expect("a local directory works");
    let failing = lead(&mut world.caller("f"));
    failing
        .fail(FailureKind::Deterministic, "bad")
        .expect("a local directory works");
    world.caller("c").clean().expect("a local directory works");
    assert_eq!(lead(&mut world.caller("f")).epoch(), 4);
}

#[test]
fn a_timeout_names_the_holder_and_never_builds() {
    let mut world = World::new();
    let leader = lead(&mut world.caller("a"));
    let mut asked = 0;
    let mut step = callbacks(
        |_| Acceptance::Use,
        never,
        |_| {
            asked += 1;
            leader.beat();
            ControlFlow::Continue(())
        },
    );
    let limit = Some(Duration::from_secs(3));
    let result = world.caller("b").ensure_done(&mut step, limit);
    let Err(StepError::Lock(error @ LockError::Timeout { holder, .. })) = &result else {
        panic!("{result:?}")
    };
    assert_eq!(error.to_string(), "gave up waiting for `step` after 3 s");
    let holder = holder.to_string();
    assert!(holder.starts_with("pid 1 on node1"), "{holder}");
    assert!(asked >= 15, "asked {asked} times only");
}

#[test]
fn an_impatient_caller_leaves_at_once() {
    let mut world = World::new();
    let leader = lead(&mut world.caller("a"));
    let start = world.clock.elapsed();
    let mut step = callbacks(|_| Acceptance::Use, never, |_| ControlFlow::Break(()));
    let result = world.caller("b").ensure_done(&mut step, None);
    assert!(matches!(result, Err(StepError::Interrupted)), "{result:?}");
    assert_eq!(world.clock.elapsed(), start);
    drop(leader);
}

#[test]
fn a_step_is_done_once_and_its_error_passes_through_as_it_is() {
    let mut world = World::new();
    let mut ensure = |run: &str, result: Result<&str, FailureKind>| {
        let mut build = |_: &Leader| {
            result
                .map(|text| serde_json::json!(text))
                .map_err(|kind| Failure {
                    kind,
                    text: "for the others".to_owned(),
                    error: io::ErrorKind::TimedOut,
                })
        };
        world.caller(run).ensure_done(&mut build, None)
    };
    let failed = ensure("a", Err(FailureKind::Deterministic));
    assert!(
        matches!(failed, Err(StepError::Step(io::ErrorKind::TimedOut))),
        "{failed:?}"
    );
    let built = ensure("b", Ok("first"));
    assert!(matches!(built, Ok(Done::Here(_))), "{built:?}");
    let found = ensure("c", Ok("second"));
    assert!(matches!(found, Ok(Done::Elsewhere(it)) if it.record == serde_json::json!("first")));
}

#[test]
fn a_leader_whose_directory_was_removed_writes_nothing_into_the_new_one() {
    type End = fn(Leader) -> bool;
    let ends: [End; 3] = [
        |old| old.publish(serde_json::json!(1)).ok() == Some(PublishOutcome::Superseded),
        |old| old.fail(FailureKind::Deterministic, "stray").is_ok(),
        |old| old.release().is_ok(),
    ];
    for end in ends {
        let mut world = World::new();
        let old = lead(&mut world.caller("a"));
        let unaware = old.dir().to_owned();
        std_remove(&world.dir);
        let new = lead(&mut world.caller("b"));
        SystemStorage
            .create_dir(&unaware)
            .expect("somebody restores the attempt");
        assert!(end(old));
        new.beat();
        assert!(!new.is_lost(), "the register belongs to another attempt");
        publish(new, "new");
    }
}

#[test]
fn a_beating_leader_notices_that_its_directory_was_removed() {
    let mut world = World::new();
    let leader = lead(&mut world.caller("a"));
    leader.beat();
    assert!(!leader.is_lost());
    std_remove(&world.dir);
    leader.beat();
    assert!(leader.is_lost());
}

#[expect(
    clippy::disallowed_methods,
    reason = "plays a user who removes the build directory"
)]
fn std_remove(dir: &Utf8PathBuf) {
    std::fs::remove_dir_all(dir).expect("it is there");
}

#[test]
fn no_sign_of_life_is_given_after_the_end() {
    for round in 0..40 {
        let mut world = World::new();
        let mut once = world.caller("a");
        once.options_for_tests().heartbeat = Duration::from_micros(100);
        let leader = lead(&mut once);
        let claim = world.dir.join(".locks/step.ledger/00000001.claim");
        SystemClock.sleep(Duration::from_micros(300));
        match round % 3 {
            0 => drop(publish(leader, "done")),
            1 => drop(leader.fail(FailureKind::Transient, "bad")),
            _ => drop(leader),
        }
        for _ in 0..3 {
            let stamp = SystemStorage.stamp(&claim).expect("it is there");
            assert!(
                stamp.is_ended(),
                "a beat came after the end in round {round}"
            );
            SystemClock.sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn the_heartbeat_thread_notices_that_a_leader_is_lost() {
    let mut world = World::new();
    let mut once = world.caller("a");
    once.options_for_tests().heartbeat = Duration::from_millis(1);
    let leader = lead(&mut once);
    let mut successor = world.caller("b");
    let EnterOutcome::Lead(_successor) = successor.claim_for_tests(2, &mut || {}) else {
        panic!("a successor gets through");
    };
    let until = SystemClock.now() + Duration::from_secs(20);
    while !leader.is_lost() && SystemClock.now() < until {
        SystemClock.sleep(Duration::from_millis(1));
    }
    assert!(leader.is_lost());
}

#[test]
fn a_caller_that_remembers_a_removed_directory_closes_epochs_in_the_new_one() {
    let mut world = World::new();
    let mut waiting = world.caller("a");
    drop(lead(&mut world.caller("b")));
    let second = lead(&mut world.caller("c"));
    wait(&mut waiting);
    std_remove(&world.dir);
    let unaware = lead(&mut world.caller("d"));
    assert_eq!(unaware.epoch(), 1);
    let leader = lead(&mut waiting);
    unaware.beat();
    assert!(
        unaware.is_lost(),
        "two leaders, and the earlier one may publish"
    );
    publish(leader, "once");
    drop(second);
}

#[test]
fn work_that_was_stopped_because_somebody_took_over_is_not_a_failure() {
    let mut world = World::new();
    let mut successor = world.caller("b");
    let mut attempts = 0;
    let ended = world.caller("a").ensure_done(
        &mut |leader: &Leader| {
            attempts += 1;
            let EnterOutcome::Lead(other) = successor.claim_for_tests(2, &mut || {}) else {
                panic!("a successor gets through");
            };
            publish(other, "by the successor");
            leader.beat();
            Err(Failure::new(FailureKind::Transient, "killed"))
        },
        None,
    );
    assert!(
        matches!(&ended, Ok(Done::Elsewhere(it)) if it.epoch == 2),
        "{ended:?}"
    );
    assert_eq!(attempts, 1);
}
