//! `include`: a suite of blocks as one session, compared with each block run alone.

use std::collections::BTreeMap;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::python;

const BLOCKS: usize = 20;

/// Every block has the same names: its build, its toplevel, its test modules, its helpers.
const TEST_TOP: &str = "
import os
from pathlib import Path

import cocotb
from cocotb.triggers import Timer

import testbench

HERE = Path(__file__).parent


@cocotb.test()
async def finds_its_own_helper_and_folder(dut):
    assert testbench.BLOCK == HERE.name, testbench.__file__
    assert Path(os.environ['COCORUN_PROJECT_DIR']).resolve() == HERE.resolve()


@cocotb.test()
async def drives_its_own_design(dut):
    await Timer(1, 'ns')
    assert int(dut.id.value) == int(HERE.name[1:]), dut.id.value


@cocotb.test(skip=testbench.BLOCK == 'b07')
async def fails_in_some_blocks(dut):
    assert testbench.BLOCK not in ('b03', 'b11'), 'as planned'
";

/// Makes a suite of blocks; one has two builds, one a broken module, one a design that does not
/// compile.
fn suite() -> Project {
    let project = Project::new();
    let interpreter = python(COCOTB);
    let top = format!(
        "include = [\"blocks/*/runner.toml\"]\njobs = 4\n\n[python]\ninterpreter = \"{}\"\n",
        interpreter.display()
    );
    project.file("runner.toml", &top);
    for number in 0..BLOCKS {
        let block = format!("b{number:02}");
        let file = |name: &str, text: &str| {
            project.file(&format!("blocks/{block}/{name}"), text);
        };
        let matrix = if number == 5 {
            "matrix = { W = [1, 2] }\n"
        } else {
            ""
        };
        let runner = format!(
            "build_dir = \"../../sim_build\"\n[python]\ninterpreter = \"{}\"\n\
             [build.top]\nsources = [\"hdl/*.sv\"]\nincludes = [\"inc\"]\nhdl_toplevel = \"top\"\n\
             {matrix}[[test]]\ntest_module = \"test_*\"\n",
            interpreter.display()
        );
        file("runner.toml", &runner);
        file(
            "inc/id.svh",
            &format!("localparam logic [7:0] ID = {number};\n"),
        );
        let broken = if number == 13 { "nonsense" } else { "" };
        let design = format!(
            "module top #(parameter W = 1) (output logic [7:0] id);\n  `include \"id.svh\"\n  \
             initial begin\n    logic [7:0] words [0:0];\n    id = ID;\n  end\n  {broken}\nendmodule\n"
        );
        file("hdl/top.sv", &design);
        file("testbench.py", &format!("BLOCK = '{block}'\n"));
        file("test_top.py", TEST_TOP);
        if number == 9 {
            file("test_more.py", "import missing_package\n");
        }
    }
    project
}

/// Returns outcome, cause and message of each testcase of a block, without the block's prefix.
fn outcomes(ran: &Ran, prefix: &str) -> BTreeMap<String, Vec<String>> {
    let results = ran.events().into_iter();
    let results = results.filter(|event| event["event"] == "testcase-finished");
    results
        .filter_map(|event| {
            let id = event["testcase"]["id"].as_str().unwrap();
            let id = id.strip_prefix(prefix)?.to_owned();
            let keys = ["outcome", "cause", "message", "error_type"];
            let values = keys.map(|key| event[key].to_string().replace(prefix, ""));
            Some((id, values.to_vec()))
        })
        .collect()
}

#[test]
fn a_suite_of_twenty_folders_gives_in_one_session_what_each_gives_alone() {
    let project = suite();
    let joint = project
        .run(&["test", "--format", "json", "--seed", "1"])
        .expect_code(3);
    let mut testcases = 0;
    for number in 0..BLOCKS {
        let block = format!("b{number:02}");
        let mut command = project.command(&["test", "--format", "json", "--seed", "1"]);
        command.current_dir(project.path(&format!("blocks/{block}")));
        let alone = Ran::from(command.output().unwrap());
        let own = outcomes(&alone, "");
        assert_eq!(outcomes(&joint, &format!("{block}/")), own, "{block}");
        testcases += own.len();
        let was_built = |event: &serde_json::Value| event["outcome"] == "built";
        assert!(!alone.events().iter().any(was_built), "{block}: other keys");
    }
    // Three each; one block has twice as many, one a module more, and one cannot be built.
    assert_eq!((outcomes(&joint, "").len(), testcases), (62, 62));
}
