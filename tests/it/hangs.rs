//! A testcase that awaits what never comes: where it waits is shown, though it is on no stack.

use crate::support::COCOTB_VERSIONS;
use crate::support::Project;

const WAITS: &str = "\
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer

async def response(dut):
    await RisingEdge(dut.never)

async def monitor(dut):
    await Timer(1, 'sec')

@cocotb.test()
async def asks(dut):
    if 'driven' in cocotb.plusargs:
        cocotb.start_soon(Clock(dut.clk, 10, 'ns').start())
    cocotb.start_soon(monitor(dut))
    await response(dut)
";

/// Its own clock runs where no other does: then nothing comes to Python.
const HDL: &str = "\
module top #(parameter OWN = 0) (input logic clk, output logic never);
  logic own;
  initial begin never = 0; own = 0; end
  generate if (OWN) always #5 own = ~own; endgenerate
endmodule
";

/// Runs it forked and spawned, with a clock of cocotb's and one of the HDL's, and expects that all
/// are shown; under longer limits until they are, for a machine may be slow.
#[track_caller]
fn expect_awaits(cocotb: &str, simulator: &str) {
    let mut said = String::new();
    for limit_s in [3, 30, 120] {
        let project = Project::with_cocotb(
            cocotb,
            &format!(
                "\nsimulator = \"{simulator}\"\ntimeout_s = {limit_s}\n\n\
                 [build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\
                 matrix = {{ OWN = [0, 1] }}\n\n\
                 [build.top.verilator]\nbuild_args = [\"--timing\"]\n\n\
                 [[test]]\nbuild = \"top/OWN=0\"\ntest_module = \"waits\"\n\
                 plusargs = [\"driven\"]\n\n\
                 [[test]]\nbuild = \"top/OWN=1\"\ntest_module = \"waits\"\n\n\
                 [[test]]\nbuild = \"top/OWN=0\"\ntest_module = \"spawned\"\n\
                 plusargs = [\"driven\"]\nfork = false\n\n\
                 [[test]]\nbuild = \"top/OWN=1\"\ntest_module = \"spawned\"\nfork = false\n"
            ),
        );
        project.share_runtime();
        project.file("waits.py", WAITS).file("spawned.py", WAITS);
        project.file("top.sv", HDL);
        let args = ["test", "--jobs", "4", "--junit", "junit.xml"];
        said = project.run(&args).expect_code(1).text;
        // A module that a busy machine could not list in time is not a testcase.
        assert!(said.contains(" timed out"), "{said}");
        assert!(!said.contains("PASS"), "{said}");
        if are_shown(&said) {
            let junit = std::fs::read_to_string(project.path("junit.xml")).unwrap();
            assert_eq!(junit.matches("; waits at ").count() % 4, 0, "{junit}");
            assert!(junit.contains("; waits at "), "{junit}");
            return;
        }
    }
    panic!("not all awaits in\n{said}");
}

fn are_shown(said: &str) -> bool {
    ["waits", "spawned"].iter().all(|module| {
        let frame = |line: u32, name: &str| format!("{module}.py\", line {line}, in {name}\n");
        let place = format!("{module}.py:6 for RisingEdge(");
        let headlines = said.lines().filter(|line| line.contains("TIMEOUT"));
        headlines.filter(|line| line.contains(&place)).count() == 2
            // On both builds it is the same, so it is one block.
            && said.contains(&format!("at {module}.py:6: await RisingEdge(dut.never)\n"))
            && said.contains(&frame(6, "response"))
            && said.contains(&frame(16, "asks"))
            && said.contains(&frame(9, "monitor"))
            && said.contains("ns of simulated time")
    })
}

#[test]
fn what_a_testcase_awaits_is_shown_by_every_cocotb_on_icarus() {
    for cocotb in COCOTB_VERSIONS {
        expect_awaits(cocotb, "icarus");
    }
}

#[test]
fn what_a_testcase_awaits_is_shown_on_verilator() {
    // Two models for each version take half a minute; `COCORUN_TEST_ALL=1` runs all.
    let is_all = std::env::var_os("COCORUN_TEST_ALL").is_some();
    let last = COCOTB_VERSIONS.len() - 1;
    for cocotb in &COCOTB_VERSIONS[if is_all { 0 } else { last }..] {
        expect_awaits(cocotb, "verilator");
    }
}

#[test]
fn a_hang_in_python_took_the_time_it_took_and_names_its_limit_and_its_place() {
    let project = Project::with_cocotb(
        crate::support::COCOTB,
        "\ntimeout_s = 2\n\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\n\
         [[test]]\ntest_module = [\"sleeps\", \"spins\"]\n",
    );
    project.file(
        "spins.py",
        "import cocotb\n\n\ndef helper():\n    while True:\n        pass\n\n\n\
         @cocotb.test()\nasync def spins(dut):\n    print('hello')\n    helper()\n",
    );
    project.file("top.sv", "module top(input logic d); endmodule\n");
    project.file("sleeps.py", "import time\ntime.sleep(1000)\n");
    let args = ["test", "--junit", "junit.xml"];
    let said = project.run(&args).expect_code(1).text;
    let junit = std::fs::read_to_string(project.path("junit.xml")).unwrap();
    let place = "; Python code was running at spins.py:";
    let line = said.lines().find(|line| line.contains(place)).unwrap();
    assert!(line.contains("exceeded its limit of 2 s"), "{said}");
    assert!(junit.contains("; Python code was running at /"), "{junit}");
    let own = "in spins\n      … ";
    assert!(said.contains(own), "{said}");
    assert!(
        said.contains("\n  its output:\n    hello\n  seed "),
        "{said}"
    );
    let sleeps = |line: &&str| line.contains("TIMEOUT") && line.contains("sleeps");
    let line = said.lines().find(sleeps).unwrap();
    let words = "importing it exceeded its limit of 2 s; Python code was running at sleeps.py:2";
    assert!(line.contains(words), "{said}");
    assert!(
        !line.contains("[   0.") && !line.contains("[   1."),
        "{said}"
    );
}
