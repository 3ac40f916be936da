"""The HDL calls $stop under a running testcase.

Right: test_trap failed; on Verilator with cocotb 1.9 failed or errored.
Today: Icarus Verilog: vvp waits at its prompt, or ignores $stop if standard
    input is at its end; with -n it ends with status 0, test_trap and
    test_after failed. Verilator: as trap_hdl_fatal.
"""

import cocotb
from hdl_commands import STOP, check_inverter, command


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await command(dut, STOP)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
