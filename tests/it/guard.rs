//! The guard of builds as users see it: switched off, assumed built, and what it costs.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Instant;

use crate::rebuilds::Counted;
use crate::support::Ran;

#[test]
fn with_assume_built_nothing_is_compiled_and_a_stale_build_is_an_error() {
    let counted = Counted::new();
    let ran = counted.run(&["build", "--assume-built"]).expect_code(3);
    assert!(ran.text.contains("never built here"), "{}", ran.text);
    counted.build(1);
    counted.build_with(&["--assume-built"], 0);
    counted.run(&["test", "--assume-built"]).expect_code(0);
    counted.edit_runner("WIDTH = 4", "WIDTH = 8");
    let ran = counted.run(&["test", "--assume-built"]).expect_code(3);
    assert!(ran.text.contains("`WIDTH` changed"), "{}", ran.text);
    assert_eq!(counted.compiles(), 1);
}

#[test]
fn with_no_lock_nobody_is_waited_for() {
    let counted = Counted::new();
    counted.build(1);
    // As if a process on another node had the next attempt and were still working on it.
    let dirs = fs::read_dir(counted.project.path("sim_build")).unwrap();
    let ledger = dirs
        .map(|dir| dir.unwrap().path().join(".locks/hdl_compile.ledger"))
        .find(|ledger| ledger.exists())
        .unwrap();
    let claim = "c1;t=00000000000000000000000000000001;h=elsewhere;p=7;l=600";
    symlink(claim, ledger.join("00000002.claim")).unwrap();
    let started = Instant::now();
    counted.build_with(&["--no-lock", "--force"], 1);
    assert!(started.elapsed().as_secs() < 120, "it waited for the lease");
    counted.build(0);
}

#[test]
fn the_guard_of_an_up_to_date_build_costs_two_calls_besides_reading_the_record() {
    let counted = Counted::new();
    counted.build(1);
    counted.build(0);
    let trace = counted.project.path("trace.txt");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-e", "trace=file", "-o"])
        .arg(&trace)
        .arg(crate::support::binary())
        .arg("build")
        .current_dir(counted.project.path("."))
        .env(
            "PATH",
            counted
                .command(&[])
                .get_envs()
                .find_map(|(name, value)| (name == "PATH").then(|| value.unwrap().to_owned()))
                .unwrap(),
        )
        .env("COMPILES", counted.project.path("compiles.txt"));
    Ran::from(command.output().unwrap()).expect_code(0);
    let text = fs::read_to_string(trace).unwrap();
    let calls: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(".ledger") || line.contains("record.json"))
        .collect();
    assert_eq!(calls.len(), 3, "{calls:#?}");
    assert!(calls[0].contains("readlink") && calls[0].contains(".commit"));
    assert!(calls[1].contains("statx") && calls[1].contains("record.json"));
    assert!(calls[2].contains("open") && calls[2].contains("record.json"));
}
