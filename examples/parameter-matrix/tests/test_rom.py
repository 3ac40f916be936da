"""The ROM holds what is in its file, whatever its parameters and its latency."""

import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

LATENCY = int(os.environ["ROM_LATENCY"])


def contents(dut):
    """Return the words by address. The file is found where the simulator finds it."""
    words = [int(line, 16) for line in Path("contents.hex").read_text().split()]
    if int(dut.REVERSED.value):
        return [words[int(f"{address:06b}"[::-1], 2)] for address in range(64)]
    return words


async def start(dut):
    dut.address.value = 0
    Clock(dut.clk, 10, "ns").start(start_high=False)
    await FallingEdge(dut.clk)


async def read(dut, address):
    dut.address.value = address
    await FallingEdge(dut.clk)
    return int(dut.data.value)


@cocotb.test()
async def every_word_is_there(dut):
    await start(dut)
    for address, word in enumerate(contents(dut)):
        assert await read(dut, address) == word


@cocotb.test()
async def any_order_will_do(dut):
    await start(dut)
    words = contents(dut)
    for _ in range(int(cocotb.plusargs["reads"])):
        address = random.randrange(64)
        assert await read(dut, address) == words[address]


@cocotb.test()
async def latency_is_as_promised(dut):
    await start(dut)
    words = contents(dut)
    before = await read(dut, 0)
    address = next(address for address in range(64) if words[address] != before)
    dut.address.value = address
    # The next rising edge is 5 ns away.
    await Timer(2, "ns")
    assert int(dut.data.value) == (words[address] if LATENCY == 0 else before)
