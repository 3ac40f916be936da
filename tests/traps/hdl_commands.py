"""The numbers that commands.sv understands, and what most testcases here begin with."""

from cocotb.triggers import Timer

FINISH = 1
FATAL = 2
STOP = 3
ERROR = 4
SPIN = 5


async def check_inverter(dut):
    """Do some honest work, and fail where the design is not there or not alive."""
    dut.command.value = 0
    for value in (0x00, 0x5A, 0xFF):
        dut.value.value = value
        await Timer(10, "ns")
        assert int(dut.inverted.value) == value ^ 0xFF


async def command(dut, number):
    """Have the HDL do something, and give it plenty of time to."""
    dut.command.value = number
    for _ in range(10):
        await Timer(10, "ns")
