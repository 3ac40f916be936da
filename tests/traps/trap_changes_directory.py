"""The testcase changes to another directory and removes that.

Right: test_trap passed.
Today: No results file if its name is relative, which is cocotb's default;
    status 0.
"""

import os
import tempfile

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    away = tempfile.mkdtemp()
    os.chdir(away)
    os.rmdir(away)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
