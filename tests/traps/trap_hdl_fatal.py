"""The HDL calls $fatal under a running testcase.

Right: test_trap failed; on Verilator with cocotb 1.9 failed or errored.
Today: Status 1; test_trap and test_after failed. On Verilator with cocotb 1.9
    there is no results file.
"""

import cocotb
from hdl_commands import FATAL, check_inverter, command


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await command(dut, FATAL)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
