"""Testcases that are expected to fail: by an assertion, by another exception, and not at all.

Right: test_fails_as_expected passed, test_raises_instead failed,
    test_passes_instead failed.
Today: Right; status 0.
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test(expect_fail=True)
async def test_fails_as_expected(dut):
    await check_inverter(dut)
    assert False, "as expected"


@cocotb.test(expect_fail=True)
async def test_raises_instead(dut):
    await check_inverter(dut)
    raise ValueError("not an assertion")


@cocotb.test(expect_fail=True)
async def test_passes_instead(dut):
    await check_inverter(dut)
