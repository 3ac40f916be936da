"""The testcase switches all logging off and then fails.

Right: test_trap failed.
Today: Right; status 0. Nothing in the log says so.
"""

import logging

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    logging.disable(logging.CRITICAL)
    assert False, "nobody logs this"


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
