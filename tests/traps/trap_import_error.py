"""The module cannot be imported.

Right: (module) errored.
Today: The simulator ends with status 0 and without a results file.
"""

import cocotb
import no_such_package_anywhere  # noqa: F401
from hdl_commands import check_inverter


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
