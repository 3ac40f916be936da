//! The threads of one leader in random interleavings: its heartbeat, the thread that ends it, and
//! one that takes over.
//!
//! `shuttle` switches between them at each lock, flag and call to the server.

use crate::ledger::record::Commit;
use crate::ledger::record::FailureKind;
use crate::once::call_once::CallOnce;
use crate::once::call_once::EnterOutcome;
use crate::once::leader::Leader;
use crate::once::leader::PublishOutcome;
use crate::options::Options;
use crate::outcome::Acceptance;
use crate::sync::Flag;
use crate::sync::explored::orders;
use crate::sync::explored::turn;
use crate::tests::client::Client;
use crate::tests::client::Weather;
use crate::tests::fake::FakeClock;
use crate::tests::fake::FakeMachine;
use crate::tests::server::Server;

use cocorun_edge::storage::Stamp;
use cocorun_edge::storage::Storage;
use shuttle::rand::Rng;
use std::sync::Arc;

const LEDGER: &str = "/nfs/key/.locks/step.ledger";
const CLAIM: &str = "/nfs/key/.locks/step.ledger/00000001.claim";
const ORDERS: usize = 1500;

/// One server, and whether it answers.
struct Stage {
    server: Arc<Server>,
    clock: Arc<FakeClock>,
    hangs: Arc<Flag>,
    answers_again: Arc<Flag>,
}

impl Stage {
    fn new() -> Self {
        let clock = FakeClock::new();
        Self {
            server: Server::new(Arc::clone(&clock)),
            clock,
            hangs: Arc::default(),
            answers_again: Arc::default(),
        }
    }

    fn client(&self) -> Arc<Client> {
        let calm = Weather {
            lost_replies: 0,
            failures: 0,
            deaths: 0,
            negative_entries: 0,
            stale_lists: 0,
            lacks_symlinks: false,
        };
        let (hangs, again) = (Arc::clone(&self.hangs), Arc::clone(&self.answers_again));
        let pass = Box::new(move || {
            turn();
            while hangs.is_raised() && !again.is_raised() {
                turn();
            }
        });
        Client::in_weather(&self.server, calm, Box::new(|_| 0), pass)
    }

    fn once(&self, number: u64) -> CallOnce {
        let options = Options {
            pytest_cocotb: false,
            machine: FakeMachine::on(&format!("node{number}"), number),
            ..Options::new("run")
        };
        let clock = self.clock.clone();
        CallOnce::new(self.client(), clock, "/nfs/key".into(), "step", options)
    }

    fn lead(&self) -> Leader {
        let mut once = self.once(1);
        // Other threads run only once the leader exists.
        match once.enter(&mut |_| Acceptance::Use) {
            Ok(EnterOutcome::Lead(leader)) => leader,
            other => panic!("nobody else is there, yet: {other:?}"),
        }
    }

    fn stamp(&self) -> Stamp {
        let stamp = Client::new(&self.server).stamp(CLAIM.into());
        stamp.expect("a claim is never removed")
    }

    fn commit(&self) -> Option<Commit> {
        self.server.registers(LEDGER)[&1].commit.clone()
    }
}

/// Takes over from a live leader, and gives up again.
fn take_over(stage: &Stage) -> shuttle::thread::JoinHandle<()> {
    let mut successor = stage.once(2);
    shuttle::thread::spawn(move || {
        let entry = successor.claim_for_tests(2, &mut || {});
        assert!(
            matches!(entry, EnterOutcome::Lead(_) | EnterOutcome::Done(_)),
            "{entry:?}"
        );
    })
}

fn below(limit: u32) -> u32 {
    shuttle::rand::thread_rng().gen_range(0..limit)
}

#[test]
fn an_epoch_has_one_end_and_no_sign_of_life_after_it_in_any_order() {
    orders(ORDERS, || {
        let stage = Stage::new();
        let leader = stage.lead();
        let token = leader.token().to_owned();
        let successor = (below(2) == 0).then(|| take_over(&stage));
        let is_robbed = successor.is_some();
        leader.note("at work");
        for _ in 0..below(30) {
            turn();
        }
        let ours = match below(4) {
            0 => match leader.publish(serde_json::json!("made")) {
                Ok(PublishOutcome::Published(_)) => true,
                Ok(PublishOutcome::Superseded) => {
                    assert!(is_robbed, "superseded by nobody");
                    false
                }
                Err(error) => panic!("the server works: {error}"),
            },
            1 => {
                leader
                    .fail(FailureKind::Transient, "no")
                    .expect("the server works");
                !is_robbed
            }
            2 => {
                leader.release().expect("the server works");
                !is_robbed
            }
            _ => {
                drop(leader);
                !is_robbed
            }
        };
        let ended = stage.stamp();
        let first = stage.commit();
        if ours {
            let is_done = matches!(&first, Some(Commit::Done { token: it, .. }) if *it == token);
            let is_other = matches!(first, Some(Commit::Failed { .. } | Commit::Released));
            assert!(is_done || is_other, "{first:?}");
            assert!(ended.is_ended(), "the claim does not show the end");
        }
        if let Some(successor) = successor {
            successor.join().expect("it does not panic");
        }
        for _ in 0..20 {
            turn();
        }
        let later = stage.stamp();
        assert!(
            later == ended || later.is_ended(),
            "a sign of life after the end"
        );
        assert!(
            first.is_none() || stage.commit() == first,
            "an end was replaced"
        );
        assert!(stage.commit().is_some(), "the epoch has no end");
    });
}

#[test]
fn a_leader_that_was_replaced_notices_in_any_order() {
    orders(ORDERS, || {
        let stage = Stage::new();
        let leader = stage.lead();
        let successor = take_over(&stage);
        for _ in 0..below(60) {
            turn();
        }
        while !leader.is_lost() {
            turn();
        }
        drop(leader);
        successor.join().expect("it does not panic");
        assert!(
            matches!(stage.commit(), Some(Commit::Revoked)),
            "{:?}",
            stage.commit()
        );
    });
}

#[test]
fn a_hanging_server_blocks_no_caller_and_work_continues_afterwards() {
    orders(ORDERS, || {
        let stage = Stage::new();
        let leader = stage.lead();
        stage.hangs.raise();
        for _ in 0..below(40) {
            turn();
        }
        for _ in 0..5 {
            leader.note("still at it");
            assert!(!leader.is_lost());
        }
        stage.answers_again.raise();
        let outcome = leader.publish(serde_json::json!("made"));
        assert!(
            matches!(outcome, Ok(PublishOutcome::Published(_))),
            "{outcome:?}"
        );
        assert!(stage.stamp().is_ended());
    });
}
