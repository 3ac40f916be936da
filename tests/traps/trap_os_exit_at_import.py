"""The module ends the process with status 0 while it is imported.

Right: (module) errored.
Today: The simulator ends with status 0 and without a results file.
"""

import os

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)


os._exit(0)
