//! `cocorun locks clean` in a loop, alongside callers that live and callers that are killed.

use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::program_storm;
use crate::program_storm::Storm;
use crate::program_storm::clean_in_a_loop;
use crate::program_storm::compiles;
use crate::program_storm::end;
use crate::program_storm::in_project;
use crate::support::COCOTB;
use crate::support::Project;
use crate::support::binary;
use crate::support::python;

/// Number of steps, of targets and of builds.
const KEYS: u32 = 4;

/// Starts a call that holds on until the file `over` exists.
fn holder(project: &Project, name: &str, args: &[&str]) -> Child {
    let script = "touch $0; while ! test -e over; do sleep 0.05; done";
    let mut command = project.command(&[args, &["--", "sh", "-c", script, name]].concat());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let begun = Instant::now();
    while !project.path(name).exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{name}");
        thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Runs a storm with cleaners alongside; returns how many calls were killed.
fn storm_and_clean(project: &Project, mischief: Duration) -> u32 {
    let root = project.path("");
    program_storm::project(&root, KEYS, &python(COCOTB));
    let living = [
        holder(project, "l1", &["once", "--dir=held", "--name=n"]),
        holder(project, "l2", &["lock", "--strategy=ledger", "held.lock"]),
        holder(project, "l3", &["lock", "--strategy=flock", "other.lock"]),
    ];
    let storm = Storm {
        binary: binary(),
        root: root.clone(),
        node: "here".to_owned(),
        slots: 4,
        keys: KEYS,
        kills_in_16: 5,
        kill_within_ms: 120,
        mischief,
        actions: &["once", "lock", "target", "build"],
    };
    let is_over = AtomicBool::new(false);
    let kills = thread::scope(|scope| {
        let cleaners: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| clean_in_a_loop(&binary(), &root, &is_over)))
            .collect();
        let storm = scope.spawn(|| storm.run());
        let kills = storm.join();
        is_over.store(true, Ordering::SeqCst);
        for cleaner in cleaners {
            let actions = cleaner.join().unwrap();
            assert!(!actions.contains_key("failed"), "{actions:?}");
            // The three holders are seen, and stay, in each round.
            assert!(actions["kept"] > 0, "{actions:?}");
        }
        kills.unwrap()
    });
    project.file("over", "");
    for child in living {
        let (code, err) = end(child, None).unwrap();
        assert_eq!(code, Some(0), "a live holder lost its lock: {err}");
    }
    kills
}

#[test]
fn cleaning_alongside_callers_that_are_killed_takes_nothing_from_live_ones() {
    let project = Project::new();
    let kills = storm_and_clean(&project, Duration::from_secs(2));
    assert!(kills > 0, "nobody was killed: this proves nothing");
    program_storm::check(&project.path(""), KEYS);
    let before = compiles(&project.path(""));
    let all = in_project(&binary(), &project.path(""), &["build"]).output();
    assert!(all.unwrap().status.success());
    assert_eq!(compiles(&project.path("")), before, "a build was lost");
    // One more round removes what is left when all are gone.
    let mut last = Command::new(binary());
    last.args(["locks", "clean"]).arg(project.path(""));
    assert!(last.output().unwrap().status.success());
    let mut again = Command::new(binary());
    again.args(["locks", "clean"]).arg(project.path(""));
    let report = String::from_utf8(again.output().unwrap().stdout).unwrap();
    let sum = "ended 0, removed 0 attempt directories, 0 pytest-cocotb locks and 0 files; 0 kept, 0 failed";
    assert!(report.contains(sum), "{report}");
}
