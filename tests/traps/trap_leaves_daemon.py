"""The testcase leaves a process behind that has left its session and process group.

The process keeps standard output open, so whoever reads that to its end waits
for it. Its command line is `cocorun_trap_daemon 300`; it must not outlive the
session.

Right: test_trap passed; no process named cocorun_trap_daemon is left.
Today: Passes and leaves the process behind.
"""

import os

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv("/bin/sleep", ["cocorun_trap_daemon", "300"])
        os._exit(0)
    os.waitpid(child, 0)
