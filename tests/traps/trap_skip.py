"""A testcase that is marked skipped and would kill the process if it ran.

Right: test_trap skipped.
Today: Right. But cocotb runs it if it is selected by name (TESTCASE,
    COCOTB_TESTCASE, COCOTB_TEST_FILTER).
"""

import os

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test(skip=True)
async def test_trap(dut):
    os._exit(3)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
