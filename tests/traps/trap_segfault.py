"""The testcase reads address zero.

Right: test_trap errored.
Today: Ends by signal 11 without a results file.
"""

import ctypes

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    ctypes.string_at(0)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
