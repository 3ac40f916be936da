"""The testcase computes its reference in a forked child, as models in Python often do.

Right: test_trap passed, test_fails failed.
Today: Right; status 0.
"""

import multiprocessing

import cocotb
from hdl_commands import check_inverter


def model(queue):
    print("in the child")
    queue.put(6 * 7)


@cocotb.test()
async def test_trap(dut):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=model, args=(queue,))
    child.start()
    assert queue.get(timeout=5) == 42
    child.join()
    await check_inverter(dut)


@cocotb.test()
async def test_fails(dut):
    await check_inverter(dut)
    assert False, "on purpose"
