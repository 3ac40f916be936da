"""An assertion message with everything that XML, JSON and terminals dislike.

Right: test_trap failed; all reports are well-formed, the terminal is not
    repainted.
Today: Right; status 0.
"""

import cocotb
from hdl_commands import check_inverter

MESSAGE = "\n".join(
    [
        "first line",
        "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J",
        "control: \x00 \x01 \x08 \x0b \x0c \x1f \x7f \x85 \u2028 \ufffe",
        "markup: ]]> <![CDATA[ </failure> &amp; &#0; \"quoted\" 'quoted'",
        "unpaired surrogate: \udc80, beyond the basic plane: \U0001f600",
        "carriage return: \r overwritten",
        "%s %d {} {0} \\n",
        "long: " + "x" * 5000,
        "last line",
    ]
)


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    raise AssertionError(MESSAGE)


@cocotb.test()
async def test_after(dut):
    await check_inverter(dut)
