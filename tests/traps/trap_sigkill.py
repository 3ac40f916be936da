"""The testcase kills its own process.

Right: test_trap errored.
Today: Ends by signal 9 without a results file.
"""

import os
import signal

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    os.kill(os.getpid(), signal.SIGKILL)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
