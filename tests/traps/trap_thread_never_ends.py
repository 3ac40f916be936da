"""A thread that never ends keeps Python from shutting down.

Right: test_trap passed, errored or timed out; the session ends.
Today: A results file in which all passed, and a process that never ends. vvp
    ignores SIGTERM here.
"""

import threading
import time

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    threading.Thread(target=time.sleep, args=(3600,)).start()
