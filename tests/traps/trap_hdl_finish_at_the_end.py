"""The HDL calls $finish with one time step of the testcase to go.

Right: test_trap failed on Icarus Verilog, and on Verilator with cocotb 1.9;
    passed or failed on Verilator with 2.x.
Today: Verilator goes on for one more time step, in which cocotb 2.x calls
    test_trap passed. 2.0 then calls test_after failed; 2.1 ends with status 0
    and without a results file. Else as trap_hdl_finish.
"""

import cocotb
from cocotb.triggers import Timer
from hdl_commands import FINISH, check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    dut.command.value = FINISH
    await Timer(10, "ns")


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
