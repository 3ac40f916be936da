"""What makes a Gray counter one."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge


async def codes(dut):
    """Reset the counter and return the codes of two full rounds."""
    dut.rst.value = 1
    Clock(dut.clk, 10, "ns").start(start_high=False)
    await RisingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    seen = []
    for _ in range(2 * 2 ** len(dut.gray)):
        seen.append(int(dut.gray.value))
        await FallingEdge(dut.clk)
    return seen


@cocotb.test()
async def every_step_changes_one_bit(dut):
    seen = await codes(dut)
    for before, after in zip(seen, seen[1:]):
        assert (before ^ after).bit_count() == 1, f"{before:b} to {after:b}"


@cocotb.test()
async def every_code_comes_once_a_round(dut):
    seen = await codes(dut)
    size = 2 ** len(dut.gray)
    assert sorted(seen[:size]) == list(range(size))
    assert seen[size:] == seen[:size]
