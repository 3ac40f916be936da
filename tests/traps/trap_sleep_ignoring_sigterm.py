"""The testcase sleeps for an hour and ignores the polite signals.

Right: test_trap timed out.
Today: Never ends; only SIGKILL helps.
"""

import signal
import time

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(3600)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
