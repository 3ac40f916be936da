"""Testcases that expect that the simulation ends under them.

Right: test_fatal and test_finish passed, as test_after and test_own did; test_fatal_is_no_failure,
    test_status_after_own and test_status_after_finish failed or errored; test_error failed on
    Icarus Verilog, where `$error` ends nothing, and passed on Verilator. On Verilator with cocotb 1.9, which hears
    nothing of `$fatal` and `$error`, those testcases errored.
Today: Status 1 after `$fatal`, with a results file in which test_fatal passed; there is none on
    Verilator with cocotb 1.9.
"""

import atexit
import os

import cocotb
from hdl_commands import ERROR, FATAL, FINISH, check_inverter, command

try:
    from cocotb.regression import SimFailure
except ImportError:
    from cocotb.result import SimFailure


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


@cocotb.test(expect_error=SimFailure)
async def test_fatal(dut):
    await command(dut, FATAL)


@cocotb.test(expect_error=SimFailure)
async def test_finish(dut):
    await command(dut, FINISH)


@cocotb.test(expect_error=SimFailure)
async def test_error(dut):
    await command(dut, ERROR)


@cocotb.test(expect_fail=True)
async def test_fatal_is_no_failure(dut):
    await command(dut, FATAL)


@cocotb.test(expect_error=SimFailure)
async def test_own(dut):
    await check_inverter(dut)
    raise SimFailure("the simulation has not ended")


@cocotb.test(expect_error=SimFailure)
async def test_status_after_own(dut):
    await check_inverter(dut)
    atexit.register(os._exit, 1)
    raise SimFailure("the simulation has not ended")


@cocotb.test(expect_error=SimFailure)
async def test_status_after_finish(dut):
    atexit.register(os._exit, 1)
    await command(dut, FINISH)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
