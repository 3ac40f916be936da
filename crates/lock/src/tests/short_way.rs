//! What a caller may take without a look at the whole ledger, and what it may not.

use crate::once::call_once::CallOnce;
use crate::once::call_once::EnterOutcome;
use crate::once::leader::PublishOutcome;
use crate::options::Options;
use crate::outcome::Acceptance;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::SystemClock;
use cocorun_edge::storage::SystemStorage;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

fn caller(dir: &Utf8Path, is_alone: bool) -> CallOnce {
    let options = Options {
        pytest_cocotb: false,
        alone: is_alone,
        ..Options::new("run")
    };
    let storage = Arc::new(SystemStorage);
    CallOnce::new(
        storage,
        Arc::new(SystemClock),
        dir.to_owned(),
        "step",
        options,
    )
}

fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let dir = Utf8PathBuf::try_from(temp.path().to_path_buf()).expect("a UTF-8 path");
    (temp, dir)
}

/// A process that froze between its last look and its commit, while the ledger was removed and
/// recreated, leaves this: a complete result under another process's claim.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "plays a user who removes a ledger"
)]
fn the_short_way_and_the_long_one_agree_on_a_result_under_anothers_claim() {
    let (_guard, dir) = temp();
    let Ok(EnterOutcome::Lead(leader)) = caller(&dir, false).enter(&mut |_| Acceptance::Use) else {
        panic!("nobody else is there");
    };
    leader
        .publish(serde_json::json!("old"))
        .expect("a local directory works");
    let claim = dir.join(".locks/step.ledger/00000001.claim");
    fs::remove_file(&claim).expect("it is there");
    symlink("c1;t=another", &claim).expect("a local directory works");
    assert_eq!(caller(&dir, false).results().expect("readable").len(), 1);
    let mut long = caller(&dir, false);
    assert_eq!(long.poll().expect("readable"), 1);
    for mut caller in [caller(&dir, false), long] {
        let found = caller.enter(&mut |_| Acceptance::Use);
        assert!(
            matches!(&found, Ok(EnterOutcome::Done(it)) if it.record == "old"),
            "{found:?}"
        );
    }
}

#[test]
fn two_callers_without_lock_do_not_replace_each_other_forever() {
    let (_guard, dir) = temp();
    let (mut first, mut second) = (caller(&dir, true), caller(&dir, true));
    let Ok(EnterOutcome::Lead(replaced)) = first.enter(&mut |_| Acceptance::Use) else {
        panic!("nobody else is there");
    };
    let Ok(EnterOutcome::Lead(leader)) = second.enter(&mut |_| Acceptance::Use) else {
        panic!("it thinks itself alone");
    };
    assert_eq!(
        replaced.publish(serde_json::json!(1)).expect("written"),
        PublishOutcome::Superseded
    );
    let entry = first.enter(&mut |_| Acceptance::Use);
    assert!(matches!(entry, Ok(EnterOutcome::Wait { .. })), "{entry:?}");
    leader.publish(serde_json::json!(2)).expect("written");
    let entry = first.enter(&mut |_| Acceptance::Use);
    assert!(
        matches!(&entry, Ok(EnterOutcome::Done(it)) if it.epoch == 2),
        "{entry:?}"
    );
}
