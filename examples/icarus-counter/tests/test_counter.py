"""Three ways to look at a counter. Inputs change and outputs are read on falling edges."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge


async def start(dut):
    """Start the clock, reset the counter, and return its limit."""
    dut.rst.value = 1
    dut.enable.value = 0
    Clock(dut.clk, 10, "ns").start(start_high=False)
    await RisingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    return int(dut.LIMIT.value)


@cocotb.test()
async def counts_up_and_wraps(dut):
    limit = await start(dut)
    dut.enable.value = 1
    for clock in range(3 * limit):
        assert int(dut.value.value) == clock % limit
        assert dut.wraps.value == (clock % limit == limit - 1)
        await FallingEdge(dut.clk)


@cocotb.test()
async def stands_still_without_enable(dut):
    limit = await start(dut)
    expected = 0
    for _ in range(200):
        enable = random.random() < 0.5
        dut.enable.value = enable
        await FallingEdge(dut.clk)
        expected = (expected + enable) % limit
        assert int(dut.value.value) == expected


@cocotb.test()
@cocotb.parametrize(clocks=[1, 5, 9])
async def reset_wins_over_enable(dut, clocks):
    await start(dut)
    dut.enable.value = 1
    for _ in range(clocks):
        await FallingEdge(dut.clk)
    assert int(dut.value.value) == clocks
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    assert int(dut.value.value) == 0
