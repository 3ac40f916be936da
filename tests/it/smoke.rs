//! The shortest path through the whole program.

use crate::support::COCOTB_VERSIONS;
use crate::support::Project;

const COUNTER: &str = "\
module counter(input logic clk, output logic [7:0] q);
  initial q = 0;
  always_ff @(posedge clk) q <= q + 1;
endmodule
";

const TEST_COUNTER: &str = "\
import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def counts(dut):
    for _ in range(3):
        dut.clk.value = 0
        await Timer(1, 'ns')
        dut.clk.value = 1
        await Timer(1, 'ns')
    assert dut.q.value == 3


@cocotb.test()
async def is_wrong(dut):
    await Timer(1, 'ns')
    assert dut.q.value == 200
";

#[test]
fn a_pass_and_a_failure_are_distinguished_on_every_cocotb_and_simulator() {
    for cocotb in COCOTB_VERSIONS {
        let project = Project::with_cocotb(
            cocotb,
            "simulator = [\"icarus\", \"verilator\"]\n\
             [build.counter]\nsources = [\"counter.sv\"]\nhdl_toplevel = \"counter\"\n\
             [[test]]\ntest_module = \"test_counter\"\n",
        );
        project
            .share_runtime()
            .file("counter.sv", COUNTER)
            .file("test_counter.py", TEST_COUNTER);
        let ran = project.run(&["test", "--format", "json"]).expect_code(1);
        let outcomes: Vec<String> = ran
            .events()
            .iter()
            .filter(|event| event["event"] == "testcase-finished")
            .map(|event| {
                format!(
                    "{} {}",
                    event["testcase"]["id"].as_str().unwrap(),
                    event["outcome"]
                )
            })
            .collect();
        assert_eq!(outcomes.len(), 4, "{cocotb}: {outcomes:?}");
        for simulator in ["icarus", "verilator"] {
            for (testcase, outcome) in [("counts", "passed"), ("is_wrong", "failed")] {
                let wanted = format!("counter@{simulator}::test_counter::{testcase} \"{outcome}\"");
                assert!(
                    outcomes.contains(&wanted),
                    "{cocotb}: {wanted} not in {outcomes:?}"
                );
            }
        }
    }
}
