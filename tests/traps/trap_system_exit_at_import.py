"""The module ends Python with status 0 while it is imported.

Right: (module) errored.
Today: The simulator ends with status 0 and without a results file.
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)


raise SystemExit(0)
