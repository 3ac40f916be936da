"""No trap at all: the control of the table, and what the toplevel traps run.

Right: test_passes passed, test_fails failed.
Today: Right; the simulator's status is 0 all the same.
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_passes(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_fails(dut):
    await check_inverter(dut)
    assert False, "on purpose"
