"""What hdl/fifo.sv does when it is misused: nothing at all.

The core reports misuse with $error, which makes a testcase bad, unless the
plusarg +fifo_allow_misuse is given. Works with cocotb 1.9, 2.0 and 2.1.
"""

import cocotb
from bench import step
from test_fifo import LIMIT, bring_up, drain, random_word, write


async def bring_up_for_misuse(dut):
    assert "fifo_allow_misuse" in cocotb.plusargs, "run this module with +fifo_allow_misuse"
    return await bring_up(dut)


@cocotb.test(**LIMIT)
async def a_write_while_full_changes_nothing(dut):
    scoreboard = await bring_up_for_misuse(dut)
    for _ in range(scoreboard.depth):
        await write(dut, random_word(dut))
    dut.wr_en.value = 1
    for _ in range(2 * scoreboard.depth):
        dut.wr_data.value = random_word(dut)
        await step(dut)
    dut.wr_en.value = 0
    await drain(dut)
    assert scoreboard.read == scoreboard.written == scoreboard.depth


@cocotb.test(**LIMIT)
async def a_write_while_full_is_ignored_even_if_a_word_is_read(dut):
    scoreboard = await bring_up_for_misuse(dut)
    for _ in range(scoreboard.depth):
        await write(dut, random_word(dut))
    dut.wr_en.value = 1
    dut.wr_data.value = random_word(dut)
    dut.rd_en.value = 1
    await step(dut)
    dut.wr_en.value = 0
    dut.rd_en.value = 0
    assert int(dut.level.value) == scoreboard.depth - 1
    await drain(dut)
    assert scoreboard.read == scoreboard.depth


@cocotb.test(**LIMIT)
async def a_read_while_empty_changes_nothing(dut):
    scoreboard = await bring_up_for_misuse(dut)
    dut.rd_en.value = 1
    await step(dut, scoreboard.depth + 1)
    dut.rd_en.value = 0
    assert int(dut.level.value) == 0
    word = random_word(dut)
    await write(dut, word)
    assert int(dut.rd_data.value) == word
    await drain(dut)
    assert scoreboard.read == 1
