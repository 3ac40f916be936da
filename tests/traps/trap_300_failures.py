"""Three hundred testcases that fail: an exit status has eight bits only.

Right: test_000 to test_299 failed.
Today: Status 0. cocotb's runner ends with the number of failures as its
    status: 44.
"""

import cocotb
from hdl_commands import check_inverter


def make(number):
    async def test(dut):
        await check_inverter(dut)
        assert number < 0, f"number {number}"

    test.__name__ = test.__qualname__ = f"test_{number:03}"
    return cocotb.test()(test)


for _number in range(300):
    globals()[f"test_{_number:03}"] = make(_number)
