"""The HDL loops for ever without taking simulated time.

Right: test_trap timed out.
Today: Never ends. SIGTERM ends vvp -n with a results file, and Verilator's
    program without one.
"""

import cocotb
from hdl_commands import SPIN, check_inverter, command


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await command(dut, SPIN)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
