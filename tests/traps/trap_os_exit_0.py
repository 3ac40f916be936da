"""The testcase ends the process with status 0.

Right: test_trap errored.
Today: The simulator ends with status 0 and without a results file.
"""

import os

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    os._exit(0)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
