"""Testcases whose names end in one another; all but `test_a` fail.

Right: test_a passed, my_test_a failed, test_a_b failed; test_a selected alone:
    test_a passed and nothing else runs.
Today: Right. But COCOTB_TESTCASE=test_a also runs my_test_a with cocotb 2.0
    and 2.1.
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_a(dut):
    await check_inverter(dut)


@cocotb.test()
async def my_test_a(dut):
    await check_inverter(dut)
    assert False, "this is my_test_a"


@cocotb.test()
async def test_a_b(dut):
    await check_inverter(dut)
    assert False, "this is test_a_b"
