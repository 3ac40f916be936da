"""The testcase raises KeyboardInterrupt.

Right: test_trap errored; with cocotb 2.0 errored or failed.
Today: As trap_sys_exit_0.
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    raise KeyboardInterrupt


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
