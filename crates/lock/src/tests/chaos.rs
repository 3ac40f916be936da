//! Random schedules: several processes take turns at every single call, under faults, and the
//! server checks the invariants at every change.
//!
//! `shuttle` chooses who runs next and throws the dice, so that a failure can be repeated with the
//! seed it prints. Time jumps with every pause of any process, so that any process may be taken for
//! dead at any moment: safety must not depend on time.

use crate::ledger::record::Commit;
use crate::ledger::record::FailureKind;
use crate::once::call_once::CallOnce;
use crate::once::call_once::EnterOutcome;
use crate::once::leader::Leader;
use crate::once::leader::PublishOutcome;
use crate::options::Options;
use crate::outcome::Acceptance;
use crate::outcome::Published;
use crate::tests::client::Client;
use crate::tests::client::Weather;
use crate::tests::fake::FakeClock;
use crate::tests::fake::FakeMachine;
use crate::tests::server::Server;

use cocorun_edge::env::Environment;
use shuttle::rand::Rng;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

const LEDGER: &str = "/nfs/key/.locks/step.ledger";
/// Attempts of one process before it counts as stuck.
const ROUNDS_MAX: usize = 300;

fn below(limit: u64) -> u64 {
    shuttle::rand::thread_rng().gen_range(0..limit)
}

/// What the processes of one schedule do.
#[derive(Clone, Copy)]
struct Play {
    processes: u64,
    weather: Weather,
    /// How many different discovered inputs there are.
    contents: u64,
    /// Percent of builds that fail, of each kind.
    failures: u64,
    /// Whether one process cleans at some time.
    has_clean: bool,
}

struct Stage {
    play: Play,
    server: Arc<Server>,
    clock: Arc<FakeClock>,
    answers: Mutex<BTreeMap<u64, BTreeSet<String>>>,
}

impl Stage {
    fn once(&self, number: u64) -> (CallOnce, Arc<Client>) {
        let turn = Box::new(shuttle::thread::yield_now);
        let client = Client::in_weather(&self.server, self.play.weather, Box::new(below), turn);
        let options = Options {
            heartbeat: Duration::ZERO,
            machine: FakeMachine::on(&format!("node{number}"), number),
            stall: Duration::from_secs(2),
            ..Options::new(&format!("run{number}"))
        };
        let storage = Arc::clone(&client);
        let dir = "/nfs/key".into();
        (
            CallOnce::new(storage, self.clock.clone(), dir, "step", options),
            client,
        )
    }

    /// Checks I5 and I9: the leader holds its claim, and everything before it is closed.
    fn check_lead(&self, leader: &Leader) {
        let registers = self.server.registers(LEDGER);
        let claim = registers[&leader.epoch()]
            .claim
            .as_ref()
            .expect("a leader has claimed");
        assert_eq!(claim.token, leader.token(), "I9: leads on another's claim");
        for epoch in 1..leader.epoch() {
            let commit = registers
                .get(&epoch)
                .and_then(|registers| registers.commit.as_ref());
            assert!(
                commit.is_some(),
                "I5: epoch {epoch} is open below {}",
                leader.epoch()
            );
        }
    }

    /// Does the step; `true` if the process finished.
    fn act(&self, number: u64) -> bool {
        let content = number % self.play.contents;
        let (mut once, client) = self.once(number);
        let mut accept = |it: &Published| {
            if it.record == serde_json::json!(content) {
                Acceptance::Use
            } else {
                Acceptance::Foreign
            }
        };
        for _ in 0..ROUNDS_MAX {
            if client.is_dead() {
                return true;
            }
            match once.enter(&mut accept) {
                Ok(EnterOutcome::Done(published)) => {
                    self.answer(content, &published);
                    return true;
                }
                Ok(EnterOutcome::Lead(leader)) => {
                    self.check_lead(&leader);
                    if self.work(leader, content) {
                        return true;
                    }
                }
                Ok(EnterOutcome::Wait { retry_in, .. }) => {
                    self.clock.advance(retry_in);
                    shuttle::thread::yield_now();
                }
                Ok(EnterOutcome::Failed(failure)) => {
                    assert_eq!(failure.kind, FailureKind::Deterministic);
                    return true;
                }
                Err(_) => shuttle::thread::yield_now(),
            }
        }
        false
    }

    /// Builds; `true` if the process is done with it.
    fn work(&self, leader: Leader, content: u64) -> bool {
        for _ in 0..below(4) {
            leader.beat();
        }
        if below(100) < self.play.failures {
            return leader.fail(FailureKind::Deterministic, "bad").is_ok();
        }
        if below(100) < self.play.failures {
            leader.fail(FailureKind::Transient, "unlucky").ok();
            return false;
        }
        match leader.publish(serde_json::json!(content)) {
            Ok(PublishOutcome::Published(published)) => {
                self.answer(content, &published);
                true
            }
            Ok(PublishOutcome::Superseded) | Err(_) => false,
        }
    }

    fn answer(&self, content: u64, published: &Published) {
        assert_eq!(
            published.record,
            serde_json::json!(content),
            "another content was given"
        );
        let mut answers = self.answers.lock().expect("no test failed");
        answers
            .entry(content)
            .or_default()
            .insert(published.token.clone());
    }
}

fn perform(play: Play) {
    let clock = FakeClock::new();
    let server = Server::new(Arc::clone(&clock));
    let stage = Arc::new(Stage {
        play,
        server,
        clock,
        answers: Mutex::default(),
    });
    let mut threads = Vec::new();
    for number in 1..=play.processes {
        let stage = Arc::clone(&stage);
        threads.push(shuttle::thread::spawn(move || {
            assert!(stage.act(number), "I7: process {number} is stuck");
        }));
    }
    if play.has_clean {
        let stage = Arc::clone(&stage);
        threads.push(shuttle::thread::spawn(move || {
            for _ in 0..below(60) {
                shuttle::thread::yield_now();
            }
            stage.once(99).0.clean().ok();
        }));
    }
    for thread in threads {
        thread.join().expect("no process panics");
    }
    let answers = stage.answers.lock().expect("no test failed");
    for (content, given) in &*answers {
        assert!(
            given.len() == 1 || play.has_clean,
            "I3: content {content}: {given:?}"
        );
    }
    for (epoch, registers) in stage.server.registers(LEDGER) {
        let (Some(claim), Some(Commit::Done { token, .. })) = (registers.claim, registers.commit)
        else {
            continue;
        };
        assert_eq!(claim.token, token, "epoch {epoch} was published by another");
    }
}

const CALM: Weather = Weather {
    lost_replies: 0,
    failures: 0,
    deaths: 0,
    negative_entries: 0,
    stale_lists: 0,
    lacks_symlinks: false,
};
const STORM: Weather = Weather {
    lost_replies: 6,
    failures: 4,
    deaths: 1,
    negative_entries: 50,
    stale_lists: 40,
    lacks_symlinks: false,
};

/// Runs some schedules, multiplied by `COCORUN_SOAK`.
fn check(schedules: usize, play: Play) {
    let environment = Environment::of_this_process();
    let times: usize = environment
        .get("COCORUN_SOAK")
        .map_or(1, |n| n.parse().expect("a number"));
    shuttle::check_random(move || perform(play), schedules * times);
}

#[test]
fn three_callers_agree_without_faults() {
    let play = Play {
        processes: 3,
        weather: CALM,
        contents: 1,
        failures: 0,
        has_clean: false,
    };
    check(300, play);
}

#[test]
fn callers_agree_although_replies_are_lost_names_hidden_and_processes_die() {
    let play = Play {
        processes: 4,
        weather: STORM,
        contents: 1,
        failures: 10,
        has_clean: false,
    };
    check(600, play);
}

#[test]
fn callers_with_two_contents_get_one_result_each() {
    let play = Play {
        processes: 4,
        weather: STORM,
        contents: 2,
        failures: 5,
        has_clean: false,
    };
    check(300, play);
}

#[test]
fn a_clean_in_between_never_leaves_two_valid_results() {
    let play = Play {
        processes: 3,
        weather: STORM,
        contents: 1,
        failures: 5,
        has_clean: true,
    };
    check(300, play);
}

#[test]
fn hard_links_suffice_without_symbolic_links() {
    let weather = Weather {
        lacks_symlinks: true,
        ..STORM
    };
    check(
        200,
        Play {
            processes: 3,
            weather,
            contents: 1,
            failures: 5,
            has_clean: false,
        },
    );
}
