"""The HDL calls $finish under a running testcase.

Right: test_trap failed.
Today: Status 0; test_trap and test_after, which never ran, failed.
"""

import cocotb
from hdl_commands import FINISH, check_inverter, command


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await command(dut, FINISH)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
