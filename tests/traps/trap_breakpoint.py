"""A forgotten breakpoint() asks for a debugger where nobody types.

Right: test_trap errored; with cocotb 1.9 and 2.0 errored or failed.
Today: Waits for ever if standard input is open. If it is at its end, it failed
    and test_after runs (1.9), it failed and test_after with it (2.0), or there
    is no results file and status 0 (2.1).
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    breakpoint()
    await check_inverter(dut)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
