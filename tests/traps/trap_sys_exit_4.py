"""The testcase raises SystemExit with status 4.

Right: test_trap errored; with cocotb 2.0 errored or failed.
Today: Status 4 and no results file with cocotb 1.9; else as trap_sys_exit_0.
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
    sys.exit(4)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
