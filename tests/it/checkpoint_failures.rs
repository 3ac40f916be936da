//! A bring-up that goes wrong fails the testcases that need it once, or each testcase runs it itself.

use std::env;

use serde_json::Value;

use crate::checkpoints::HEAD;
use crate::checkpoints::LEVELS;
use crate::checkpoints::counted;
use crate::checkpoints::events;
use crate::checkpoints::of_levels;
use crate::checkpoints::project;
use crate::checkpoints::toml;
use crate::checkpoints::verdicts;
use crate::support::COCOTB;
use crate::support::COCOTB_VERSIONS;

/// What a bring-up does wrong: whether testcases that call it fail, and words of the message.
const WRONGS: &[(&str, bool, &str)] = &[
    ("raises", true, "checkpoint `common:train` failed: no link"),
    ("exits", true, "checkpoint `common:train` failed: 3"),
    ("leaves", true, "exited with status 0 before it finished"),
    ("crashes", true, "was killed by SIGABRT"),
    (
        "waits",
        true,
        "exceeded its limit of 3 s; waits at common.py",
    ),
    (
        "loops",
        true,
        "exceeded its limit of 3 s; Python code was running at common.py",
    ),
    ("opens", false, "leaves files or sockets open: "),
    (
        "writes",
        false,
        "writes files into the run's own folder: written.txt",
    ),
    (
        "changes",
        false,
        "changes `common`, where a testcase can see it",
    ),
    ("removes", false, "makes what is removed at exit"),
    ("registers", false, "registers an exit function"),
    ("starts", false, "leaves a process running"),
    ("forks", false, "leaves a process running"),
    ("thread", false, "leaves a thread running"),
];

#[test]
fn a_bring_up_that_goes_wrong_fails_its_testcases_once_or_is_run_by_each() {
    let all = env::var_os("COCORUN_TEST_ALL").is_some();
    let versions = if all { &COCOTB_VERSIONS[..] } else { &[COCOTB] };
    for cocotb in versions {
        let project = project(cocotb, &toml(LEVELS, "timeout_s = 3"));
        project.file("test_x.py", &of_levels(8));
        for (wrong, fails, words) in WRONGS {
            let mut command = project.command(&["test", "--seed", "5"]);
            command.arg("*::t?").env("HOW", wrong).env("WRONG", wrong);
            let ran = crate::support::Ran::from(command.output().unwrap());
            let ran = ran.expect_code(i32::from(*fails));
            // The third level is what two of the testcases call.
            let summary = if *fails {
                "8 testcases on 1 build: 6 passed, 2 "
            } else {
                "8 testcases on 1 build: 8 passed"
            };
            assert!(
                ran.text.contains(summary),
                "{cocotb}: {wrong}: {}",
                ran.text
            );
            assert!(ran.text.contains(words), "{cocotb}: {wrong}: {}", ran.text);
            let calls = counted(&project);
            let trains = if *fails { 1 } else { 3 };
            assert_eq!(
                calls.matches('t').count(),
                trains,
                "{cocotb}: {wrong}: {calls}"
            );
            assert_eq!(calls.matches('b').count(), 1, "{cocotb}: {wrong}: {calls}");
            if *fails {
                assert!(
                    ran.text.contains("the same in 1 more testcase"),
                    "{}",
                    ran.text
                );
                assert!(
                    ran.text.contains("checkpoint-common.train-"),
                    "{}",
                    ran.text
                );
            }
        }
    }
}

#[test]
fn a_design_that_ends_or_reports_errors_while_it_is_brought_up_fails_as_without() {
    let settings = [
        ("finish", 1, "simulation ended"),
        ("error", 1, "HDL error"),
        ("opens", 0, "leaves files or sockets open: "),
    ];
    for (plusarg, code, words) in settings {
        let more = format!("plusargs = [\"{plusarg}\"]");
        let project = project(COCOTB, &toml(LEVELS, &more));
        project.file("test_x.py", &of_levels(4));
        for args in [&[][..], &["--no-fork"]] {
            let mut command = project.command(&["test", "--seed", "5"]);
            command.args(args).env("HOW", "x");
            let ran = crate::support::Ran::from(command.output().unwrap());
            let ran = ran.expect_code(code);
            let summary = ran.text.lines().find(|line| line.contains("Summary"));
            let summary = summary.unwrap().to_owned();
            let expected = if code == 0 {
                "5 passed"
            } else {
                "4 passed, 1 failed"
            };
            assert!(
                summary.contains(expected),
                "{plusarg} {args:?}: {}",
                ran.text
            );
            if args.is_empty() {
                assert!(ran.text.contains(words), "{plusarg}: {}", ran.text);
            }
        }
    }
}

/// Testcases of which one kills what has forked it.
const KILLERS: &str = "
@cocotb.test()
async def kills(dut):
    await common.reset(dut)
    with open(f'/proc/{os.getppid()}/comm') as file:
        if file.read().strip() == 'vvp':
            os.kill(os.getppid(), 9)
    await ClockCycles(dut.clk, 2)

@cocotb.test()
async def other(dut):
    await common.reset(dut)
    await ClockCycles(dut.clk, 2)
    note('other', get_sim_time('ns'))
";

#[test]
fn a_checkpoint_that_is_killed_runs_once_more_and_then_in_each_testcase() {
    let project = project(COCOTB, &toml("\"common:reset\"", ""));
    let mut text = HEAD.to_owned();
    for name in ["a", "b", "c"] {
        let named = KILLERS.replace("kills", &format!("{name}_kills"));
        text.push_str(&named.replace("other", &format!("{name}_other")));
    }
    project.file("test_x.py", &text);
    let ran = events(&project, "x", &["--jobs", "1"], 0);
    let reached = ran.iter().filter(|it| it["event"] == "checkpoint-reached");
    assert_eq!(reached.count(), 2);
    let unused =
        |it: &&Value| it["checkpoint_unused_because"] == "the checkpoint's server was lost twice";
    assert!(ran.iter().any(|it| unused(&it)), "{ran:#?}");
    assert_eq!(verdicts(&ran).len(), 6);
}

#[test]
fn a_checkpoint_that_does_not_exist_is_one_mistake_with_a_near_name() {
    let cases = [
        (
            "common:bring_upp",
            "module `common` has no function `bring_upp`; did you mean `bring_up`?",
        ),
        (
            "common:not_a_coroutine",
            "is not a coroutine function: define it with `async def`",
        ),
        (
            "comon:bring_up",
            "cannot be imported: ModuleNotFoundError: No module named 'comon'",
        ),
    ];
    for cocotb in COCOTB_VERSIONS {
        for (checkpoint, words) in &cases[..if cocotb == COCOTB { 3 } else { 1 }] {
            let project = project(cocotb, &toml(&format!("\"{checkpoint}\""), ""));
            project.file("test_x.py", &of_levels(3));
            let ran = project.run(&["test"]).expect_code(1);
            assert!(ran.text.contains(words), "{cocotb}: {}", ran.text);
            assert!(
                ran.text.contains("4 testcases on 1 build: 4 errored"),
                "{}",
                ran.text
            );
            assert!(
                ran.text.contains("the same in 3 more testcases"),
                "{}",
                ran.text
            );
        }
    }
}

#[test]
fn a_checkpoint_of_no_use_is_reported_and_a_module_that_crashes_fails_only_testcases_that_import_it()
 {
    let calls_late = "
@cocotb.test()
async def waits_first(dut):
    await Timer(1, 'ns')

@cocotb.test()
async def waits_too(dut):
    await Timer(1, 'ns')
";
    let project = project(COCOTB, &toml("\"common:bring_up\"", ""));
    project.file("test_x.py", &format!("{HEAD}{calls_late}"));
    let ran = project.run(&["test"]).expect_code(0);
    for words in [
        "no testcase was forked from `common:bring_up`",
        "it waits for a trigger and has not called `common:bring_up`",
    ] {
        assert!(ran.text.contains(words), "{}", ran.text);
    }

    let project = crate::checkpoints::project(COCOTB, &toml("\"crashing:bring_up\"", ""));
    project.file("crashing.py", "import os\nos.abort()\n").file(
        "test_x.py",
        "import cocotb\n\n@cocotb.test()\nasync def fine(dut):\n    pass\n\n@cocotb.test()\n\
             async def imports(dut):\n    import crashing\n",
    );
    let ran = project.run(&["test"]).expect_code(1);
    for words in [
        "testcases run `crashing:bring_up` themselves: ",
        "2 testcases on 1 build: 1 passed, 1 errored",
    ] {
        assert!(ran.text.contains(words), "{}", ran.text);
    }
}
