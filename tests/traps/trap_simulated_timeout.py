"""The testcase runs into cocotb's own limit of simulated time.

Right: test_trap failed.
Today: Right; status 0.
"""

import cocotb
from cocotb.triggers import Timer
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test(timeout_time=100, timeout_unit="ns")
async def test_trap(dut):
    await Timer(1, "us")


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
