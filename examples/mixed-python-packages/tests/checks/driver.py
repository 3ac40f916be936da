"""Drives the byte stream of crc8_stream."""

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge


class Driver:
    """Sends bytes and reads the checksum, always on falling edges."""

    def __init__(self, dut):
        self.dut = dut

    async def start(self):
        self.dut.valid.value = 0
        self.dut.rst.value = 1
        Clock(self.dut.clk, 10, "ns").start(start_high=False)
        await RisingEdge(self.dut.clk)
        await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0

    async def send(self, data):
        self.dut.valid.value = 1
        for byte in data:
            self.dut.data.value = byte
            await FallingEdge(self.dut.clk)
        self.dut.valid.value = 0

    async def idle(self, clocks):
        for _ in range(clocks):
            await FallingEdge(self.dut.clk)

    @property
    def crc(self):
        return int(self.dut.crc.value)
