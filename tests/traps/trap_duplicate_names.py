"""Two testcases of one name in one module: the first passes, the second fails.

Right: two results named test_same, one passed and one failed.
Today: Right; two entries of one name in the results file.
"""

import cocotb
from hdl_commands import check_inverter


def make(passes):
    async def test_same(dut):
        await check_inverter(dut)
        assert passes, "the second of the two"

    test_same.__qualname__ = "test_same"
    return cocotb.test()(test_same)


first = make(True)
second = make(False)
