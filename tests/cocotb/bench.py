"""What every testbench here needs: a clock, a reset, and one rule about time.

The rule: the design acts on rising edges of the clock, testbenches on falling
ones. A driver wakes up at a falling edge, reads registered outputs and changes
inputs there. A monitor wakes up in the read-only phase of the same edge, when
all inputs have changed and all combinational logic has settled: it sees what
the next rising edge will act on. Simulators differ in what Python sees at a
rising edge (Icarus Verilog: the values before it, Verilator: those after it);
nothing here depends on that.

A coroutine that drives begins and ends right after a falling edge, so that they
can be strung together without losing a clock.

Everything in this file works with cocotb 1.9, 2.0 and 2.1.
"""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge
from cocotb.utils import get_sim_time

PERIOD_NS = 10


def start_clock(dut):
    """Start a clock of PERIOD_NS on ``dut.clk``.

    It starts low: a rising edge at the very time at which a test sets its first
    inputs would be a race.
    """
    cocotb.start_soon(Clock(dut.clk, PERIOD_NS, "ns").start(start_high=False))


async def step(dut, clocks=1):
    """Go on to the next falling edge, or so many: the time to drive."""
    for _ in range(clocks):
        await FallingEdge(dut.clk)


async def settled(dut):
    """Go on to the end of the next falling edge: the time to monitor, not to drive."""
    await FallingEdge(dut.clk)
    await ReadOnly()


async def reset(dut, clocks=2):
    """Hold ``dut.rst`` high over so many rising edges."""
    dut.rst.value = 1
    # Not counted in falling edges: the clock's first step from X to 0 is one.
    for _ in range(clocks):
        await RisingEdge(dut.clk)
    await step(dut)
    dut.rst.value = 0


def now_ps():
    """Return the simulated time in whole picoseconds."""
    return round(get_sim_time("ps"))
