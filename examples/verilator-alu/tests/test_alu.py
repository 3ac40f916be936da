"""The ALU against a model in Python."""

import enum
import random

import cocotb
from cocotb.triggers import Timer


class Operation(enum.Enum):
    """The numbers of hdl/alu_pkg.sv."""

    ADD = 0
    SUB = 1
    AND = 2
    OR = 3
    XOR = 4
    SLL = 5
    SRL = 6
    SLT = 7


def signed(value, width):
    return value - (1 << width) if value >> (width - 1) else value


def model(operation, a, b, width):
    """Return what the ALU should make of ``a`` and ``b``."""
    result = {
        Operation.ADD: a + b,
        Operation.SUB: a - b,
        Operation.AND: a & b,
        Operation.OR: a | b,
        Operation.XOR: a ^ b,
        Operation.SLL: a << b % width,
        Operation.SRL: a >> b % width,
        Operation.SLT: signed(a, width) < signed(b, width),
    }[operation]
    return int(result) % (1 << width)


async def check(dut, operation, a, b):
    dut.operation.value = operation.value
    dut.a.value = a
    dut.b.value = b
    await Timer(1, "ns")
    result, expected = int(dut.result.value), model(operation, a, b, len(dut.a))
    assert result == expected, f"{operation.name} {a:#x} {b:#x}: {result:#x}, not {expected:#x}"
    assert dut.zero.value == (expected == 0)


@cocotb.test()
@cocotb.parametrize(operation=list(Operation))
async def agrees_at_the_corners(dut, operation):
    width = len(dut.a)
    top = 1 << (width - 1)
    corners = [0, 1, top - 1, top, top + 1, 2 * top - 1]
    for a in corners:
        for b in corners + list(range(width)):
            await check(dut, operation, a, b)


@cocotb.test()
@cocotb.parametrize(operation=list(Operation))
async def agrees_on_random_operands(dut, operation):
    width = len(dut.a)
    for _ in range(200):
        await check(dut, operation, random.getrandbits(width), random.getrandbits(width))
