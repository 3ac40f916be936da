"""The testcase raises cocotb's SimTimeoutError itself.

Right: test_trap failed.
Today: Right; status 0.
"""

import cocotb
from hdl_commands import check_inverter

try:
    from cocotb.triggers import SimTimeoutError
except ImportError:
    from cocotb.result import SimTimeoutError


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    raise SimTimeoutError("no answer")


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
