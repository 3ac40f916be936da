"""Streams with pauses, against the model in lib."""

import random

import cocotb
from models.crc8 import crc8

from .driver import Driver


@cocotb.test()
async def agrees_with_the_model(dut):
    driver = Driver(dut)
    for _ in range(20):
        await driver.start()
        data = random.randbytes(random.randrange(1, 30))
        await driver.send(data)
        assert driver.crc == crc8(data)


@cocotb.test()
async def pauses_do_not_matter(dut):
    driver = Driver(dut)
    await driver.start()
    data = random.randbytes(40)
    for byte in data:
        await driver.send(bytes([byte]))
        await driver.idle(random.randrange(3))
    assert driver.crc == crc8(data)


@cocotb.test()
async def a_message_with_its_checksum_gives_zero(dut):
    driver = Driver(dut)
    await driver.start()
    data = random.randbytes(16)
    await driver.send(data)
    await driver.send([driver.crc])
    assert driver.crc == 0
