"""All is green, but the process ends with status 3 once its results are written.

Right: test_before and test_trap passed or errored.
Today: Status 3 with a results file in which all passed.
"""

import atexit
import os

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    atexit.register(os._exit, 3)
