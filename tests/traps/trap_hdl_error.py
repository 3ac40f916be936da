"""The HDL calls $error under a testcase that is green otherwise.

Right: test_trap failed; on Verilator with cocotb 1.9 failed or errored.
Today: Icarus Verilog: status 0 and all passed, a silent pass. Verilator: as
    trap_hdl_fatal.
"""

import cocotb
from hdl_commands import ERROR, check_inverter, command


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await command(dut, ERROR)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
