"""The testcase waits for ever while the design's own clock keeps simulated time going.

Runs on the design `clocked`.

Right: test_trap timed out.
Today: Never ends. SIGTERM ends vvp -n with a results file, and Verilator's
    program without one.
"""

import cocotb
from cocotb.triggers import Event, Timer


@cocotb.test()
async def test_before(dut):
    await Timer(100, "ns")
    assert int(dut.count.value) > 0


@cocotb.test()
async def test_trap(dut):
    await Event().wait()


@cocotb.test()
async def test_after(dut):
    await Timer(100, "ns")
    assert int(dut.count.value) > 0
