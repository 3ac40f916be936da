"""Shows what a testcase and its module see: of random numbers, the HDL, files and surroundings."""

import os
import random
import signal
import sys
import threading

import cocotb
from cocotb.triggers import Timer

AT_IMPORT = random.random()
TOP = cocotb.top
PLUSARGS = dict(cocotb.plusargs)
seen = []


async def clock(dut, edges):
    for _ in range(edges):
        dut.clk.value = 0
        await Timer(random.randint(1, 9), "ns")
        dut.clk.value = 1
        await Timer(1, "ns")


@cocotb.test()
async def draws_numbers(dut):
    seen.append("draws_numbers")
    await clock(dut, 5)
    print("at import", AT_IMPORT, "now", random.random(), "HDL", dut.drawn.value)


@cocotb.test()
async def has_a_fresh_module_and_a_fresh_design(dut):
    seen.append("has_a_fresh_module_and_a_fresh_design")
    await clock(dut, 2)
    print("seen", seen)
    assert int(dut.count.value) == 2


@cocotb.test()
async def sees_its_surroundings(dut):
    await Timer(1, "ns")
    fds = "/proc/self/fd"
    files = [os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds) if os.path.exists(f"{fds}/{fd}")]
    own = ("COCORUN_RUN_ID", "COCORUN_SLOT")
    print("top", TOP._name, type(TOP).__name__, "plusargs", PLUSARGS)
    print("argv", sys.argv, cocotb.argv[:1], "path", sys.path)
    print("processors", sorted(os.sched_getaffinity(0)), "umask", os.umask(0o22))
    print("Python threads", threading.active_count())
    print("environment", {name: os.environ[name] for name in sorted(os.environ) if name not in own})
    print("signals", [str(signal.getsignal(number)) for number in (1, 2, 3, 13, 15, 17)])
    files = [name for name in files if not name.endswith("(deleted)")]
    print("files", sorted("pipe" if name.startswith("pipe:") else name for name in files))
    print("folder", os.getcwd(), sorted(os.listdir(".")), "leads", os.getpgrp() == os.getpid())


@cocotb.test()
async def fails(dut):
    await clock(dut, 1)
    assert dut.drawn.value == 1, "not one"


@cocotb.test()
async def raises_in_the_background(dut):
    async def background():
        await Timer(3, "ns")
        raise ValueError("from behind")

    cocotb.start_soon(background())
    await clock(dut, 9)


@cocotb.test(expect_fail=True)
async def fails_as_expected(dut):
    await clock(dut, 1)
    assert False


@cocotb.test()
async def writes_files_and_half_a_line(dut):
    with open("python.txt", "w") as file:
        file.write(str(random.random()))
    sys.stdout.write("half a line")
    await clock(dut, 4)
    sys.stderr.write("to standard error\n")
