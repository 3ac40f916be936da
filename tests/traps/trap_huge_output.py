"""Fifty megabytes of output, then a testcase that fails and whose last lines matter.

Right: test_trap passed, test_trap_fails failed; memory stays small, the report
    of the failure shows the last line before it.
Today: Right; status 0.
"""

import cocotb
from hdl_commands import check_inverter

LINE = "x" * 1023


def print_25_megabytes():
    for _ in range(25 * 1024):
        print(LINE)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    print_25_megabytes()


@cocotb.test()
async def test_trap_fails(dut):
    await check_inverter(dut)
    print_25_megabytes()
    print("the last line before the failure")
    assert False, "after all that"


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
