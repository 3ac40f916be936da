"""The testcase ends itself as passed from within a helper, before a line that would fail.

Right: test_trap passed.
Today: Right.
"""

import cocotb
from hdl_commands import check_inverter


@cocotb.test()
async def test_before(dut):
    await check_inverter(dut)


def end_as_passed():
    if hasattr(cocotb, "pass_test"):
        cocotb.pass_test("enough")
    else:
        from cocotb.result import TestSuccess

        raise TestSuccess("enough")


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    end_as_passed()
    assert False, "never reached"


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
