"""What holds in a simulation that has just begun.

With `isolation = "testcase"` each of these has a process of its own. In one
process the second would fail: the first has reset the register.
"""

import cocotb
from cocotb.triggers import Timer

from .driver import Driver


@cocotb.test()
async def checksum_is_zero_after_reset(dut):
    driver = Driver(dut)
    await driver.start()
    assert driver.crc == 0


@cocotb.test()
async def checksum_is_unknown_before_reset(dut):
    await Timer(1, "ns")
    assert not dut.crc.value.is_resolvable
