//! Many callers on one machine: one of them asks the server for all, and none waits for long.

use crate::error::LockError;
use crate::once::call_once::CallOnce;
use crate::once::call_once::EnterOutcome;
use crate::once::step::Done;
use crate::once::step::StepError;
use crate::options::Options;
use crate::outcome::Acceptance;
use crate::tests::client::Client;
use crate::tests::fake::FakeClock;
use crate::tests::fake::callbacks;
use crate::tests::fake::never;
use crate::tests::server::Server;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::SystemClock;
use cocorun_edge::machine::Machine;
use cocorun_edge::machine::SystemMachine;
use cocorun_edge::storage::SystemStorage;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const CALLERS: usize = 8;
/// Half of the time after which callers that were not notified look for themselves. A notified one
/// needs seconds: a pause of the one that looks for all.
const PATIENCE: Duration = Duration::from_secs(60);

fn caller(dir: &Utf8Path) -> CallOnce {
    CallOnce::new(
        Arc::new(SystemStorage),
        Arc::new(SystemClock),
        dir.to_owned(),
        "step",
        Options {
            pytest_cocotb: false,
            ..Options::new("run")
        },
    )
}

#[test]
fn the_watcher_role_has_one_owner_and_ends_with_it() {
    let name = format!("test-{:x}", SystemMachine.random());
    let first = SystemMachine.local_watcher(&name);
    assert!(first.is_some());
    assert!(SystemMachine.local_watcher(&name).is_none());
    assert!(
        SystemMachine
            .local_watcher(&format!("{name}-other"))
            .is_some()
    );
    drop(first);
    assert!(SystemMachine.local_watcher(&name).is_some());
}

#[test]
fn callers_of_one_machine_all_see_the_result_within_seconds() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let dir = Utf8PathBuf::try_from(temp.path().to_path_buf()).expect("a UTF-8 path");
    let mut first = caller(&dir);
    let Ok(EnterOutcome::Lead(leader)) = first.enter(&mut |_| Acceptance::Use) else {
        panic!("nobody else is there");
    };
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        for number in 0..CALLERS {
            let (tell, dir) = (tell.clone(), &dir);
            scope.spawn(move || {
                let mut step = callbacks(
                    |_| Acceptance::Use,
                    never,
                    |_| {
                        tell.send(number).ok();
                        ControlFlow::Continue(())
                    },
                );
                let done = caller(dir).ensure_done(&mut step, Some(PATIENCE));
                assert!(matches!(done, Ok(Done::Elsewhere(_))), "{done:?}");
            });
        }
        let mut waiting = BTreeSet::new();
        while waiting.len() < CALLERS {
            waiting.insert(told.recv_timeout(PATIENCE).expect("all come to wait"));
        }
        leader
            .publish(serde_json::json!("result"))
            .expect("a local directory works");
    });
}

#[test]
fn a_caller_that_is_not_the_watcher_leaves_the_server_alone_until_its_limit() {
    const LIMIT: Duration = Duration::from_secs(60);
    let calls_before_limit = |has_turn: bool| {
        let clock = FakeClock::new();
        let server = Server::new(Arc::clone(&clock));
        let key = format!("/nfs/{:x}", SystemMachine.random());
        let once = |client: &Arc<Client>| {
            let options = Options {
                pytest_cocotb: false,
                heartbeat: Duration::ZERO,
                ..Options::new("run")
            };
            CallOnce::new(
                client.clone(),
                clock.clone(),
                key.clone().into(),
                "step",
                options,
            )
        };
        let mut holding = once(&Client::with_fault(&server, None));
        let Ok(EnterOutcome::Lead(leader)) = holding.enter(&mut |_| Acceptance::Use) else {
            panic!("nobody else is there");
        };
        let registers = format!("{key}/.locks/step.ledger");
        let name = blake3::hash(registers.as_bytes()).to_hex();
        let taken = (!has_turn).then(|| SystemMachine.local_watcher(&name[..32]));
        let client = Client::with_fault(&server, None);
        let mut calls_at_first = None;
        let mut calls_at_last = 0;
        let mut step = callbacks(
            |_| Acceptance::Use,
            never,
            |progress| {
                calls_at_first.get_or_insert(client.calls());
                if progress.waited < LIMIT {
                    calls_at_last = client.calls();
                }
                leader.beat();
                ControlFlow::Continue(())
            },
        );
        let done = once(&client).ensure_done(&mut step, Some(LIMIT));
        assert!(
            matches!(done, Err(StepError::Lock(LockError::Timeout { .. }))),
            "{done:?}"
        );
        drop(taken);
        calls_at_last - calls_at_first.unwrap_or_default()
    };
    assert_eq!(calls_before_limit(false), 0);
    assert!(calls_before_limit(true) >= 10);
}
