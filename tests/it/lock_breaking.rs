//! Taking a lock or a step from its holder with `cocorun locks break`, and what both report.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::lock_commands::PATIENCE;
use crate::lock_commands::Waiter;
use crate::lock_commands::await_file;
use crate::lock_commands::end;
use crate::lock_commands::lines_of;
use crate::lock_commands::signal;
use crate::lock_commands::start;
use crate::support::Project;

const LOCK: [&str; 5] = ["lock", "--strategy=ledger", "--stale-timeout=2", "a", "--"];
/// A lease so long that no sign of life is due before the command ends.
const SLOW_LOCK: [&str; 5] = [
    "lock",
    "--strategy=ledger",
    "--stale-timeout=600",
    "a",
    "--",
];
const UNTIL_GO: &str = "touch held; while ! test -e go; do sleep 0.02; done";

/// Waits until `cocorun locks list` says something.
#[track_caller]
fn await_listed(project: &Project, words: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let listed = project.run(&["locks", "list"]).expect_code(0).stdout;
        if listed.contains(words) {
            return;
        }
        assert!(Instant::now() < until, "`{words}` is not in\n{listed}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_holder_can_be_seen_and_the_lock_be_taken_from_it() {
    let project = Project::new();
    let script = "touch held; exec sleep 60";
    let holder = start(&project, &[&LOCK[..], &["sh", "-c", script]].concat());
    await_file(&project, "held");
    let pid = holder.id();
    await_listed(&project, &format!("1 holds, alive on this node: pid {pid}"));
    await_listed(&project, script);
    let broken = project
        .run(&["locks", "break", ".locks/a.ledger"])
        .expect_code(0);
    assert!(
        broken.stdout.contains("next sign of life"),
        "{}",
        broken.stdout
    );
    let lost = end(holder).expect_code(125);
    assert!(lost.stderr.contains("lock::lost"), "{}", lost.stderr);
    project.run(&[&LOCK[..], &["true"]].concat()).expect_code(0);
    await_listed(&project, "a.ledger: free");
}

#[test]
fn a_waiting_process_is_distinguished_from_the_holder() {
    let project = Project::new();
    let holder = start(&project, &[&LOCK[..], &["sh", "-c", UNTIL_GO]].concat());
    await_file(&project, "held");
    let waiter = Waiter::start(&project, &[&LOCK[..], &["true"]].concat());
    let pid = waiter.child.id();
    await_listed(&project, &format!("2 waits, alive on this node: pid {pid}"));
    signal(&waiter.child, Signal::SIGINT);
    let ended = waiter.end().expect_code(130);
    assert!(ended.stderr.contains(UNTIL_GO), "{}", ended.stderr);
    project.file("go", "");
    end(holder).expect_code(0);
}

#[test]
fn a_command_that_ends_before_it_notices_the_break_does_not_count_as_exclusive() {
    let project = Project::new();
    let args = [&SLOW_LOCK[..], &["sh", "-c", UNTIL_GO]].concat();
    let holder = start(&project, &args);
    await_file(&project, "held");
    project.run(&["locks", "break", "a"]).expect_code(0);
    project.file("go", "");
    let lost = end(holder).expect_code(125);
    assert!(lost.stderr.contains("lock::lost"), "{}", lost.stderr);
}

#[test]
fn a_step_that_was_taken_away_is_done_again_and_says_so() {
    let project = Project::new();
    let script = format!("echo run >> log; {UNTIL_GO}");
    let args = [
        "once", "--dir", "d", "--name", "n", "--", "sh", "-c", &script,
    ];
    let first = start(&project, &args);
    await_file(&project, "held");
    await_listed(&project, "1 works, alive on this node");
    let ledger = ["locks", "break", "d/.locks/n.ledger"];
    project.run(&ledger).expect_code(0);
    project.file("go", "");
    let again = end(first).expect_code(0);
    assert!(again.stderr.contains("it runs again"), "{}", again.stderr);
    assert_eq!(lines_of(&project, "log"), 2);
}

#[test]
fn what_cannot_be_broken_or_locked_is_refused_with_what_to_do() {
    let project = Project::new();
    project.run(&["locks", "break", "elsewhere"]).expect_code(2);
    project
        .run(&["lock", "--strategy=flock", "f", "--", "true"])
        .expect_code(0);
    let refused = project.run(&["locks", "break", "f"]).expect_code(2);
    assert!(
        refused.stderr.contains("kernel locks cannot be broken"),
        "{}",
        refused.stderr
    );
    let missing = project
        .run(&["lock", "no/such/f", "--", "true"])
        .expect_code(125);
    assert!(
        missing.stderr.contains("no directory `no/such`"),
        "{}",
        missing.stderr
    );
}
