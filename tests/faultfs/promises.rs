//! Single wrong answers of a client that once broke a promise of the lock.

use crate::client::Client;
use crate::mount::Mount;
use crate::mount::Shore;
use crate::weather::Effect;
use crate::weather::Fault;
use crate::weather::Moment;
use crate::weather::Op;

use camino::Utf8PathBuf;
use cocorun::edge::clock::SystemClock;
use cocorun::edge::storage::SystemStorage;
use cocorun::lock::Acceptance;
use cocorun::lock::CallOnce;
use cocorun::lock::EnterOutcome;
use cocorun::lock::Options;
use cocorun::lock::PublishOutcome;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// Caches what it saw, or found missing, for as long as the test lasts.
fn forgetful_of_nothing() -> Client {
    let long = Duration::from_secs(600);
    Client {
        attributes_ttl: long,
        entries_ttl: long,
        negative_ttl: long,
        ..Client::default()
    }
}

fn once(mount: &Mount) -> CallOnce {
    let dir = Utf8PathBuf::try_from(mount.path().join("key")).unwrap();
    let options = Options {
        pytest_cocotb: false,
        ..Options::new("run")
    };
    let storage = Arc::new(SystemStorage);
    CallOnce::new(storage, Arc::new(SystemClock), dir, "step", options)
}

fn enter(once: &mut CallOnce) -> EnterOutcome {
    once.enter(&mut |_| Acceptance::Use).unwrap()
}

#[test]
fn a_result_is_found_by_a_client_that_missed_it_before_it_was_made() {
    let Some(shore) = Shore::new() else { return };
    let maker = shore.mount("maker", Client::default());
    let other = shore.mount("other", forgetful_of_nothing());
    let EnterOutcome::Lead(leader) = enter(&mut once(&maker)) else {
        panic!("nobody else is there");
    };
    let attempt = leader.dir().strip_prefix(maker.path()).unwrap().to_owned();
    assert!(fs::read(other.path().join(&attempt).join("record.json")).is_err());
    leader.publish(serde_json::json!("made")).unwrap();
    assert!(
        fs::read(other.path().join(&attempt).join("record.json")).is_err(),
        "it still misses it"
    );
    let entry = enter(&mut once(&other));
    assert!(
        matches!(&entry, EnterOutcome::Done(it) if it.epoch == 1),
        "{entry:?}"
    );
}

#[test]
fn a_result_whose_files_somebody_removed_is_built_again() {
    let Some(shore) = Shore::new() else { return };
    let maker = shore.mount("maker", Client::default());
    let EnterOutcome::Lead(leader) = enter(&mut once(&maker)) else {
        panic!("nobody else is there");
    };
    leader.publish(serde_json::json!("made")).unwrap();
    fs::remove_dir_all(maker.path().join("key/attempts")).unwrap();
    let entry = enter(&mut once(&maker));
    assert!(
        matches!(&entry, EnterOutcome::Lead(it) if it.epoch() == 2),
        "{entry:?}"
    );
    let left = fs::read_dir(shore.backing().join("key/attempts")).unwrap();
    assert_eq!(left.count(), 1, "only the new attempt");
}

#[test]
fn a_commit_counts_that_was_answered_with_enoent_and_believed_absent() {
    let Some(shore) = Shore::new() else { return };
    let mount = shore.mount("node", forgetful_of_nothing());
    let EnterOutcome::Lead(leader) = enter(&mut once(&mount)) else {
        panic!("nobody else is there");
    };
    let registers = mount.path().join("key/.locks/step.ledger");
    assert!(fs::read_link(registers.join("00000001.commit")).is_err());
    let lost = Effect::Fail(libc::ENOENT);
    let lost = Fault {
        times: 1,
        ..Fault::always(Op::Symlink, ".commit", Moment::After, lost)
    };
    mount.weather.set(vec![lost]);
    let outcome = leader.publish(serde_json::json!("made")).unwrap();
    assert!(
        matches!(outcome, PublishOutcome::Published(_)),
        "{outcome:?}"
    );
    assert_eq!(mount.weather.struck(), 1);
}

#[test]
fn a_commit_counts_although_its_directory_seems_missing_as_well_for_a_moment() {
    let Some(shore) = Shore::new() else { return };
    let mount = shore.mount("node", Client::default());
    let EnterOutcome::Lead(leader) = enter(&mut once(&mount)) else {
        panic!("nobody else is there");
    };
    let missing = |op, suffix: &'static str, times| Fault {
        times,
        ..Fault::always(op, suffix, Moment::Before, Effect::Fail(libc::ENOENT))
    };
    let faults = vec![
        missing(Op::Symlink, ".commit", 1),
        // Both ways by which a client may ask about the directory.
        missing(Op::Getattr, "step.ledger", 2),
        missing(Op::Lookup, "step.ledger", 1),
    ];
    mount.weather.set(faults);
    let outcome = leader.publish(serde_json::json!("made")).unwrap();
    assert!(
        matches!(outcome, PublishOutcome::Published(_)),
        "{outcome:?}"
    );
    assert!(mount.weather.struck() >= 3);
}
