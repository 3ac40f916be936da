//! The process dies before and after every single call of the protocol, and every call fails or
//! loses its reply once: the next caller succeeds, and all agree.

use crate::ledger::record::Commit;
use crate::once::call_once::CallOnce;
use crate::once::call_once::EnterOutcome;
use crate::once::leader::Leader;
use crate::once::step::Done;
use crate::once::step::StepError;
use crate::options::Options;
use crate::outcome::Acceptance;
use crate::tests::client::Client;
use crate::tests::client::DEAD;
use crate::tests::client::Fault;
use crate::tests::client::Moment;
use crate::tests::client::Weather;
use crate::tests::fake::FakeClock;
use crate::tests::fake::FakeMachine;
use crate::tests::server::Server;

use std::sync::Arc;
use std::time::Duration;

const LEDGER: &str = "/nfs/key/.locks/step.ledger";
const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];

struct World {
    server: Arc<Server>,
    clock: Arc<FakeClock>,
    /// Name prefix of the nodes whose processes are known to be gone.
    dead: &'static str,
}

impl World {
    fn new() -> Self {
        let clock = FakeClock::new();
        Self {
            server: Server::new(Arc::clone(&clock)),
            clock,
            dead: "",
        }
    }

    /// Makes a world in which everybody knows at once that the others are gone.
    fn of_one_node() -> Self {
        Self {
            dead: "node",
            ..Self::new()
        }
    }

    fn once(&self, number: u64, client: Arc<Client>) -> CallOnce {
        let options = Options {
            heartbeat: Duration::ZERO,
            machine: FakeMachine::knowing_dead(&format!("node{number}"), number, self.dead),
            ..Options::new("run")
        };
        CallOnce::new(
            client,
            self.clock.clone(),
            "/nfs/key".into(),
            "step",
            options,
        )
    }

    /// Lets one process do the step; returns the outcome and how many calls that took.
    fn run(
        &self,
        number: u64,
        fault: Option<Fault>,
    ) -> (Result<Done, StepError<String>>, u64, bool) {
        let client = Client::with_fault(&self.server, fault);
        let ended = self.once(number, Arc::clone(&client)).ensure_done(
            &mut |leader: &Leader| {
                leader.note("working");
                leader.beat();
                Ok(serde_json::json!("result"))
            },
            Some(Duration::from_secs(600)),
        );
        (ended, client.calls(), client.is_dead())
    }

    /// Lets a healthy process do the step; it must not wait long.
    fn ends_well(&self, number: u64) -> String {
        let before = self.clock.elapsed();
        let token = match self.run(number, None).0 {
            Ok(done) => done.published().token,
            other => panic!("came to {other:?}"),
        };
        let took = self.clock.elapsed().saturating_sub(before);
        assert!(took < Duration::from_secs(45), "took {took:?}");
        token
    }

    /// Checks the answers of several healthy processes and the ledger against one another.
    fn agrees(&self, given: Option<&str>) {
        let first = self.ends_well(8);
        assert_eq!(first, self.ends_well(9));
        if let Some(given) = given {
            assert_eq!(first, given, "an answer was taken back");
        }
        let registers = self.server.registers(LEDGER);
        let is_done = |commit: &Option<Commit>| matches!(commit, Some(Commit::Done { .. }));
        let done = registers
            .values()
            .filter(|registers| is_done(&registers.commit))
            .count();
        assert_eq!(done, 1, "{registers:?}");
    }
}

fn token_of(ended: &Result<Done, StepError<String>>) -> Option<&str> {
    match ended {
        Ok(Done::Here(it) | Done::Elsewhere(it)) => Some(&it.token),
        _ => None,
    }
}

#[test]
fn a_death_at_any_call_leaves_a_directory_in_which_the_next_succeeds() {
    let calls = World::new().run(1, None).1;
    assert!(calls > 15, "only {calls} calls: the protocol is not run");
    for call in 0..calls {
        for moment in MOMENTS {
            let world = World::new();
            let fault = Fault {
                call,
                moment,
                errno: DEAD,
            };
            let (ended, _, is_dead) = world.run(1, Some(fault));
            assert!(is_dead, "{fault:?}");
            world.agrees(token_of(&ended));
        }
    }
}

#[test]
fn two_deaths_at_any_two_calls_leave_a_directory_in_which_the_next_succeeds() {
    let calls = World::new().run(1, None).1;
    let mut deaths = 0;
    for first in 0..calls {
        for moment in MOMENTS {
            for second in 0.. {
                let world = World::of_one_node();
                let fault = Fault {
                    call: first,
                    moment,
                    errno: DEAD,
                };
                assert!(world.run(1, Some(fault)).2, "{fault:?}");
                let fault = Fault {
                    call: second,
                    moment,
                    errno: DEAD,
                };
                let (ended, _, is_dead) = world.run(2, Some(fault));
                world.agrees(token_of(&ended));
                if !is_dead {
                    break;
                }
                deaths += 1;
            }
        }
    }
    assert!(deaths > 1000, "only {deaths} pairs of deaths");
}

#[test]
fn a_lost_reply_to_any_call_changes_nothing() {
    let calls = World::new().run(1, None).1;
    for call in 0..calls {
        for errno in [
            libc::EEXIST,
            libc::ENOENT,
            libc::EIO,
            libc::ESTALE,
            libc::ETIMEDOUT,
        ] {
            let world = World::new();
            let fault = Fault {
                call,
                moment: Moment::After,
                errno,
            };
            let (ended, ..) = world.run(1, Some(fault));
            assert!(
                world.clock.elapsed() < Duration::from_secs(5),
                "{fault:?} was waited for"
            );
            // Reading `ENOENT` or `EEXIST` may end one attempt; no other mishap does.
            let is_plain = !matches!(errno, libc::EEXIST | libc::ENOENT);
            assert!(!is_plain || ended.is_ok(), "{fault:?}: {ended:?}");
            world.agrees(token_of(&ended));
        }
    }
}

#[test]
fn a_call_that_fails_for_a_while_changes_nothing_and_a_full_disk_is_an_error() {
    let calls = World::new().run(1, None).1;
    for call in 0..calls {
        for errno in [
            libc::EIO,
            libc::ESTALE,
            libc::EINTR,
            libc::ENOSPC,
            libc::EDQUOT,
        ] {
            let world = World::new();
            let fault = Fault {
                call,
                moment: Moment::Before,
                errno,
            };
            let (ended, ..) = world.run(1, Some(fault));
            let is_full = matches!(errno, libc::ENOSPC | libc::EDQUOT);
            assert!(is_full || ended.is_ok(), "{fault:?}: {ended:?}");
            world.agrees(token_of(&ended));
        }
    }
}

#[test]
fn a_death_at_any_call_of_clean_leaves_it_done_or_not_done() {
    let calls = {
        let world = World::new();
        world.ends_well(1);
        let client = Client::with_fault(&world.server, None);
        assert_eq!(
            world
                .once(2, Arc::clone(&client))
                .clean()
                .expect("a healthy server"),
            1
        );
        client.calls()
    };
    for call in 0..calls {
        for moment in MOMENTS {
            let world = World::new();
            let first = world.ends_well(1);
            let client = Client::with_fault(
                &world.server,
                Some(Fault {
                    call,
                    moment,
                    errno: DEAD,
                }),
            );
            world.once(2, client).clean().ok();
            let second = world.ends_well(3);
            let is_retired = world.server.registers(LEDGER)[&1].is_retired;
            assert_eq!(first != second, is_retired);
            assert_eq!(world.ends_well(4), second);
        }
    }
}

#[test]
fn a_holder_that_beats_through_18_000_periods_never_loses_its_lock() {
    let world = World::new();
    let mut holding = world.once(1, Client::with_fault(&world.server, None));
    let mut waiting = world.once(2, Client::with_fault(&world.server, None));
    let Ok(EnterOutcome::Lead(leader)) = holding.enter(&mut |_| Acceptance::Use) else {
        panic!("nobody else is there");
    };
    for period in 0..18_000 {
        let entry = waiting.enter(&mut |_| Acceptance::Use);
        assert!(
            matches!(entry, Ok(EnterOutcome::Wait { .. })),
            "in period {period}: {entry:?}"
        );
        world.clock.advance(Duration::from_secs(5));
        leader.beat();
    }
    assert!(!leader.is_lost());
    let before = world.clock.elapsed();
    while matches!(
        waiting.enter(&mut |_| Acceptance::Use),
        Ok(EnterOutcome::Wait { .. })
    ) {
        world.clock.advance(Duration::from_secs(5));
    }
    let after = world.clock.elapsed().saturating_sub(before);
    let expected = Duration::from_secs(30)..Duration::from_secs(41);
    assert!(
        expected.contains(&after),
        "a silent one is replaced after {after:?}"
    );
}

#[test]
fn an_end_is_seen_although_its_name_is_hidden_forever() {
    let world = World::new();
    let mut holding = world.once(1, Client::with_fault(&world.server, None));
    let weather = Weather {
        negative_entries: 100,
        ..Weather::default()
    };
    let client = Client::in_weather(&world.server, weather, Box::new(|_| 0), Box::new(|| {}));
    let mut waiting = world.once(2, client);
    let Ok(EnterOutcome::Lead(leader)) = holding.enter(&mut |_| Acceptance::Use) else {
        panic!("nobody else is there");
    };
    assert!(matches!(
        waiting.enter(&mut |_| Acceptance::Use),
        Ok(EnterOutcome::Wait { .. })
    ));
    leader
        .publish(serde_json::json!("result"))
        .expect("a healthy server");
    let entry = waiting.enter(&mut |_| Acceptance::Use);
    assert!(
        matches!(&entry, Ok(EnterOutcome::Done(it)) if it.epoch == 1),
        "{entry:?}"
    );
}

#[test]
fn a_waiting_caller_asks_the_server_once_per_look() {
    let world = World::new();
    let mut holding = world.once(1, Client::with_fault(&world.server, None));
    let client = Client::with_fault(&world.server, None);
    let mut waiting = world.once(2, Arc::clone(&client));
    let Ok(EnterOutcome::Lead(leader)) = holding.enter(&mut |_| Acceptance::Use) else {
        panic!("nobody else is there");
    };
    let mut calls = Vec::new();
    while world.clock.elapsed() < Duration::from_secs(300) {
        let before = client.calls();
        let entry = waiting.enter(&mut |_| Acceptance::Use);
        let Ok(EnterOutcome::Wait { retry_in, .. }) = entry else {
            panic!("{entry:?}")
        };
        calls.push(client.calls() - before);
        world.clock.advance(retry_in);
        leader.beat();
    }
    let quiet = calls.iter().filter(|calls| **calls == 1).count();
    assert!(quiet * 4 >= calls.len() * 2, "{calls:?}");
    let total: u64 = calls.iter().sum();
    assert!(total <= 300 * 4 / 10, "{total} calls in 300 s");
}

#[test]
fn a_result_that_was_cleaned_is_not_taken_on_the_short_way() {
    for negative_entries in [0, 100] {
        let world = World::new();
        let first = world.ends_well(1);
        let cleaner = Client::with_fault(&world.server, None);
        let mut cleaning = world.once(2, cleaner);
        cleaning.options_for_tests().pytest_cocotb = false;
        assert_eq!(cleaning.clean().ok(), Some(1));
        let weather = Weather {
            negative_entries,
            ..Weather::default()
        };
        let client = Client::in_weather(&world.server, weather, Box::new(|_| 0), Box::new(|| {}));
        let mut looking = world.once(3, client);
        // Together with pytest-cocotb there is no short way.
        looking.options_for_tests().pytest_cocotb = false;
        let entry = looking.enter(&mut |_| Acceptance::Use);
        assert!(
            matches!(&entry, Ok(EnterOutcome::Lead(leader)) if leader.token() != first),
            "{entry:?}"
        );
    }
}

#[test]
fn a_caller_without_lock_takes_over_at_once_and_needs_no_links() {
    let world = World::new();
    let mut holding = world.once(1, Client::with_fault(&world.server, None));
    let Ok(EnterOutcome::Lead(_held)) = holding.enter(&mut |_| Acceptance::Use) else {
        panic!("nobody else is there");
    };
    let mut once = world.once(2, Client::with_fault(&world.server, None));
    once.options_for_tests().alone = true;
    let entry = once.enter(&mut |_| Acceptance::Use);
    assert!(matches!(&entry, Ok(EnterOutcome::Lead(it)) if it.epoch() == 2));
}

#[test]
fn a_step_that_is_done_costs_few_requests() {
    for (pytest_cocotb, limit) in [(false, 4), (true, 10)] {
        let world = World::new();
        world.ends_well(1);
        let client = Client::with_fault(&world.server, None);
        let mut once = world.once(2, Arc::clone(&client));
        once.options_for_tests().pytest_cocotb = pytest_cocotb;
        let entry = once.enter(&mut |_| Acceptance::Use);
        assert!(matches!(entry, Ok(EnterOutcome::Done(_))), "{entry:?}");
        assert!(
            client.calls() <= limit,
            "{} calls, pytest_cocotb {pytest_cocotb}",
            client.calls()
        );
    }
}
