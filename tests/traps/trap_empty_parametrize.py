"""A parametrisation over nothing: no testcase is left. Needs cocotb 2.0.

Right: (module) errored.
Today: The simulator ends with status 0 and without a results file. cocotb 1.9
    has no parametrize, so there it is an import error.
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
@cocotb.parametrize(value=[])
async def test_trap(dut, value):
    await check_inverter(dut)
