"""The testcase writes a results file in which all have passed, and ends the process.

Right: test_trap errored, test_after_fails failed.
Today: Status 0 and a results file in which all passed, a silent pass.
"""

import os

import cocotb
from hdl_commands import check_inverter

NAMES = ("test_before", "test_trap", "test_after_fails")


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    cases = "".join(
        f'<testcase name="{name}" classname="{__name__}" time="0.1" sim_time_ns="30"/>'
        for name in NAMES
    )
    text = f'<testsuites name="results"><testsuite name="all">{cases}</testsuite></testsuites>'
    with open(os.environ.get("COCOTB_RESULTS_FILE", "results.xml"), "w") as results:
        results.write(text)
    os._exit(0)


@cocotb.test()
async def test_after_fails(dut):
    await check_inverter(dut)
    assert False, "the results file lied about this"
