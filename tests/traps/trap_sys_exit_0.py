"""The testcase raises SystemExit with status 0.

Right: test_trap errored; with cocotb 2.0 errored or failed.
Today: The simulator ends with status 0 and without a results file (1.9, 2.1),
    or test_trap and test_after, which never ran, failed (2.0).
"""

import sys

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    sys.exit(0)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
