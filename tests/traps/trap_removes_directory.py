"""The testcase removes the directory that the simulator runs in, with everything in it.

Right: test_trap passed or errored; the session ends in good order.
Today: The simulator ends with status 0 and without a results file.
"""

import shutil
from pathlib import Path

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    here = Path.cwd()
    # Not the project of somebody who starts this by hand.
    assert here not in Path(__file__).resolve().parents
    shutil.rmtree(here)
