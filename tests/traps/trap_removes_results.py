"""The results file is gone when the process ends.

Right: test_trap passed or errored.
Today: The simulator ends with status 0 and without a results file.
"""

import atexit
import contextlib
import os

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


def remove():
    for name in ("results.xml", os.environ.get("COCOTB_RESULTS_FILE", "results.xml")):
        with contextlib.suppress(OSError):
            os.remove(name)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    atexit.register(remove)
