"""A module without a single testcase: the decorator was forgotten.

Right: (module) errored.
Today: The simulator ends with status 0 and without a results file; cocotb 1.9
    writes one without a testcase in it.
"""

from hdl_commands import check_inverter


async def test_trap(dut):
    await check_inverter(dut)
