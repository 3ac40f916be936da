"""The testcase loops in Python for ever.

Right: test_trap timed out.
Today: Never ends. vvp ignores SIGTERM here, Verilator's program dies of it; no
    results file.
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    while True:
        pass


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
