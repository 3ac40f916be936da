"""Testcases that are expected to raise: the right exception, another one, and none.

Right: test_raises_as_expected passed, test_raises_another failed,
    test_passes_instead failed.
Today: Right; status 0.
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test(expect_error=ValueError)
async def test_raises_as_expected(dut):
    await check_inverter(dut)
    raise ValueError("as expected")


@cocotb.test(expect_error=ValueError)
async def test_raises_another(dut):
    await check_inverter(dut)
    raise KeyError("unexpected")


@cocotb.test(expect_error=ValueError)
async def test_passes_instead(dut):
    await check_inverter(dut)
