//! What the command line selects and changes: only what can match is built, near names, and options
//! that stay in the command that repeats a testcase.

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;

const TOP: &str = "\
module top #(parameter DEPTH = 4) (input logic clk);
  reg [63:0] word;
  initial if ($value$plusargs(\"word=%s\", word)) $display(\"WORD IS %0s\", word);
endmodule
";
const TEST_TOP: &str = "\
import os

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
@cocotb.parametrize(x=[1, 2])
async def grants(dut, x):
    await Timer(1, 'ns')
    assert os.environ['MODE'] == 'fast', os.environ['MODE']


@cocotb.test()
async def other_than_top(dut):
    pass
";

fn project() -> Project {
    let project = Project::with_cocotb(
        COCOTB,
        "\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\nmatrix = { DEPTH = [4, 16] }\n\
         [build.other]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\
         [[test]]\ntest_module = \"test_top\"\nbuild = \"top\"\n\
         plusargs = [\"word=slow\"]\nenv = { MODE = \"slow\" }\n\
         [[test]]\ntest_module = \"test_other\"\nbuild = \"other\"\nenv = { MODE = \"fast\" }\n",
    );
    project
        .file("top.sv", TOP)
        .file("test_top.py", TEST_TOP)
        .file("test_other.py", TEST_TOP);
    project
}

/// Returns the names of builds that a session needed, and of modules that it listed, sorted.
fn touched(ran: &Ran) -> (Vec<String>, Vec<String>) {
    let named = |event: &str, field: &str| {
        let events = ran.events();
        let events = events.iter().filter(|it| it["event"] == event);
        let mut names: Vec<String> = events
            .map(|it| it[field].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    (
        named("build-finished", "build"),
        named("module-listed", "module"),
    )
}

#[test]
fn only_what_a_filter_can_match_is_built_and_mistyped_names_get_near_ones() {
    let project = project();
    let test = |args: &[&str]| {
        let fixed = ["test", "--format", "json", "--env", "MODE=fast"];
        project.run(&[&fixed[..], args].concat())
    };
    for (args, builds, modules) in [
        (
            &["top/DEPTH=4"][..],
            &["top/DEPTH=4"][..],
            &["test_top"][..],
        ),
        (&["*/DEPTH=16"], &["top/DEPTH=16"], &["test_top"]),
        (&["other"], &["other"], &["test_other"]),
        (
            &["other", "top/DEPTH=4"],
            &["other", "top/DEPTH=4"],
            &["test_other", "test_top"],
        ),
    ] {
        let ran = test(args).expect_code(0);
        let (built, listed) = touched(&ran);
        assert_eq!(
            (built.as_slice(), listed.as_slice()),
            (&*owned(builds), &*owned(modules)),
            "{args:?}"
        );
    }
    // Both variants of a testcase, on one build.
    let ran = test(&["--build", "other", "--testcase", "grants"]).expect_code(0);
    assert!(
        ran.text.contains("2 testcases on 1 build: 2 passed"),
        "{}",
        ran.text
    );
    for (args, near) in [
        (
            &["--build", "other", "grnats"][..],
            "help: did you mean `grants`?",
        ),
        (
            &["--build", "other", "--testcase", "grant"],
            "help: did you mean `grants`?",
        ),
        (
            &["other::test_othre"],
            "help: did you mean `other::test_other`?",
        ),
    ] {
        let ran = test(args).expect_code(4);
        assert!(ran.text.contains(near), "{args:?}: {}", ran.text);
    }
    for (args, problem) in [
        (
            &["--build", "other", "other", "othr_than"][..],
            "error[select::nothing]: `othr_than` selects no testcase\n\
             help: did you mean `other_than_top`?",
        ),
        (
            &["--testcase", "grants", "--testcase", "grnats"],
            "error[select::nothing]: `grnats` selects no testcase\nhelp: did you mean `grants`?",
        ),
    ] {
        let ran = test(args).expect_code(4);
        assert!(ran.text.contains(problem), "{args:?}: {}", ran.text);
        assert!(ran.text.contains("PASS"), "{args:?}: {}", ran.text);
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn plusargs_and_variables_of_the_command_line_win_and_stay_in_the_command_that_repeats() {
    let project = project();
    let ran = project
        .run(&["test", "top/DEPTH=4", "--plusarg", "word=a b"])
        .expect_code(1);
    assert!(ran.text.contains("--plusarg 'word=a b'"), "{}", ran.text);
    let fixed = [
        "test",
        "--format",
        "json",
        "--testcase",
        "grants/x=1",
        "--build",
        "top/DEPTH=4",
    ];
    let ran = project.run(
        &[
            &fixed[..],
            &["--plusarg", "+word=quick", "--env", "MODE=fast"],
        ]
        .concat(),
    );
    let ran = ran.expect_code(0);
    let events = ran.events();
    let prefix = "cocorun test --plusarg '+word=quick' --env 'MODE=fast'";
    assert_eq!(events[0]["rerun_prefix"], prefix);
    let latest = std::fs::read_link(project.path("sim_build/runs/latest")).unwrap();
    assert_eq!(latest.to_str(), events[0]["session_id"].as_str());
    assert!(project.path("sim_build/.gitignore").exists());
    // Neither is part of the build.
    let built = events
        .iter()
        .find(|it| it["event"] == "build-finished")
        .unwrap();
    assert_eq!(built["outcome"], "up-to-date");
    let finished = events
        .iter()
        .find(|it| it["event"] == "testcase-finished")
        .unwrap();
    let log = std::fs::read_to_string(finished["log"]["path"].as_str().unwrap()).unwrap();
    assert!(
        log.contains("WORD IS quick") && !log.contains("slow"),
        "{log}"
    );
}

#[test]
fn bad_plusargs_and_variables_are_refused_and_those_of_makefiles_have_no_effect() {
    let project = project();
    let ran = project
        .run(&[
            "test",
            "--plusarg",
            "=1",
            "--env",
            "MODE",
            "--env",
            "MODULE=x",
            "--env",
            "=x",
        ])
        .expect_code(2);
    for words in [
        "invalid plusarg `=1`",
        "invalid environment variable `MODE`\nhelp: write `--env NAME=VALUE`",
        "`MODULE` is set by cocorun itself\nhelp: use `test_module`",
        "invalid environment variable `=x`",
    ] {
        assert!(ran.text.contains(words), "`{words}`: {}", ran.text);
    }
    let mut command = project.command(&["test", "other", "--quiet"]);
    let names = [
        "WAVES",
        "SIM",
        "PLUSARGS",
        "EXTRA_ARGS",
        "COMPILE_ARGS",
        "SIM_ARGS",
    ];
    command.envs(names.map(|name| (name, "1")));
    let ran = Ran::from(command.output().unwrap()).expect_code(0);
    for name in names {
        let warning = format!("`{name}` is set in the environment and has no effect\nhelp: ");
        assert!(ran.text.contains(&warning), "{name}: {}", ran.text);
    }
}
