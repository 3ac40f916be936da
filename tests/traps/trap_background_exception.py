"""A task in the background raises while the testcase itself is content.

Right: test_trap failed.
Today: Right; status 0.
"""

import cocotb
from cocotb.triggers import Timer
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


async def watch(dut):
    await Timer(15, "ns")
    raise ValueError("seen in the background")


@cocotb.test()
async def test_trap(dut):
    cocotb.start_soon(watch(dut))
    await check_inverter(dut)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
