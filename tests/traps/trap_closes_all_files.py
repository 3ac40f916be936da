"""The testcase closes every file descriptor of the process, as a daemon would.

Right: test_trap passed or errored.
Today: Passes; the log ends in the middle.
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
    os.closerange(0, 4096)
