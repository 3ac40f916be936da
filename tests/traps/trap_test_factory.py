"""Testcases made by TestFactory, which cocotb 2.0 replaced by parametrize; the third fails.

Right: run_001 and run_002 passed, run_003 failed.
Today: Right in all three versions; cocotb 2.x warns that TestFactory is
    deprecated.
"""

from cocotb.regression import TestFactory
from hdl_commands import check_inverter


async def run(dut, number):
    await check_inverter(dut)
    assert number != 3, "the third"


factory = TestFactory(run)
factory.add_option("number", [1, 2, 3])
factory.generate_tests()
