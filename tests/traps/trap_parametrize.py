"""Parametrised testcases; the one for -2 fails. Needs cocotb 2.0.

Right: test_trap/number=1/text=0 and /text=1 passed, test_trap/number=-2/text=0
    and /text=1 failed; with cocotb 1.9 (module) errored.
Today: Right; status 0.
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
@cocotb.parametrize(number=[1, -2], text=["short", "not an identifier: / . * +"])
async def test_trap(dut, number, text):
    await check_inverter(dut)
    assert number > 0, text
