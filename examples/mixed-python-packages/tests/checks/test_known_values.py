"""Checksums that can be looked up."""

import cocotb

from .driver import Driver


@cocotb.test()
@cocotb.parametrize(
    (("text", "checksum"), [("", 0x00), ("\0", 0x00), ("a", 0x20), ("123456789", 0xF4)])
)
async def has_the_known_checksum(dut, text, checksum):
    driver = Driver(dut)
    await driver.start()
    await driver.send(text.encode())
    assert driver.crc == checksum
