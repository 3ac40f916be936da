"""Tests of hdl/fifo.sv for any WIDTH and DEPTH.

Written in the part of cocotb's interface that 1.9, 2.0 and 2.1 share.
"""

import random

import cocotb
from bench import reset, settled, start_clock, step

LIMIT = {"timeout_time": 200, "timeout_unit": "us"}


class Scoreboard:
    """The FIFO as it should be, compared with all ports on every clock.

    It only watches, so it holds for whatever a test does.
    """

    def __init__(self, dut):
        self.dut = dut
        self.depth = int(dut.DEPTH.value)
        self.words = []
        self.written = 0
        self.read = 0
        self.was_full = False
        self.was_drained = False

    async def watch(self):
        while True:
            await settled(self.dut)
            self._compare()
            self._follow()

    def _compare(self):
        dut, level = self.dut, len(self.words)
        assert int(dut.level.value) == level, f"level is {int(dut.level.value)}, expected {level}"
        assert int(dut.full.value) == (level == self.depth), f"full is wrong at level {level}"
        assert int(dut.empty.value) == (level == 0), f"empty is wrong at level {level}"
        if level:
            got, expected = int(dut.rd_data.value), self.words[0]
            assert got == expected, f"word {self.read} is {got:#x}, expected {expected:#x}"
        self.was_full |= level == self.depth
        self.was_drained |= level == 0 and self.read > 0

    def _follow(self):
        """Do what the coming rising edge will do."""
        dut, level = self.dut, len(self.words)
        if int(dut.rst.value):
            self.words.clear()
            return
        if int(dut.rd_en.value) and level > 0:
            self.words.pop(0)
            self.read += 1
        if int(dut.wr_en.value) and level < self.depth:
            self.words.append(int(dut.wr_data.value))
            self.written += 1


async def bring_up(dut):
    dut.wr_en.value = 0
    dut.wr_data.value = 0
    dut.rd_en.value = 0
    start_clock(dut)
    await reset(dut)
    scoreboard = Scoreboard(dut)
    cocotb.start_soon(scoreboard.watch())
    await step(dut)
    return scoreboard


def random_word(dut):
    return random.getrandbits(len(dut.wr_data))


async def write(dut, word):
    """Write one word as soon as there is room."""
    while int(dut.full.value):
        await step(dut)
    dut.wr_en.value = 1
    dut.wr_data.value = word
    await step(dut)
    dut.wr_en.value = 0


async def read(dut):
    """Read one word as soon as there is one."""
    while int(dut.empty.value):
        await step(dut)
    word = int(dut.rd_data.value)
    dut.rd_en.value = 1
    await step(dut)
    dut.rd_en.value = 0
    return word


async def traffic(dut, clocks, write_chance, read_chance):
    """Write and read at random on each clock, without ever misusing the FIFO."""
    for _ in range(clocks):
        dut.wr_en.value = int(not int(dut.full.value) and random.random() < write_chance)
        dut.wr_data.value = random_word(dut)
        dut.rd_en.value = int(not int(dut.empty.value) and random.random() < read_chance)
        await step(dut)
    dut.wr_en.value = 0
    dut.rd_en.value = 0


async def drain(dut):
    while not int(dut.empty.value):
        await read(dut)


@cocotb.test(**LIMIT)
async def reset_leaves_it_empty(dut):
    await bring_up(dut)
    assert int(dut.empty.value) == 1
    assert int(dut.full.value) == 0
    assert int(dut.level.value) == 0


@cocotb.test(**LIMIT)
async def first_word_falls_through_after_one_clock(dut):
    await bring_up(dut)
    word = random_word(dut)
    await write(dut, word)
    assert int(dut.empty.value) == 0
    assert int(dut.rd_data.value) == word


@cocotb.test(**LIMIT)
async def is_full_after_exactly_depth_words(dut):
    scoreboard = await bring_up(dut)
    for count in range(scoreboard.depth):
        assert int(dut.full.value) == 0, f"full with {count} of {scoreboard.depth} words"
        await write(dut, random_word(dut))
    assert int(dut.full.value) == 1
    assert int(dut.level.value) == scoreboard.depth
    await drain(dut)
    assert scoreboard.read == scoreboard.depth


@cocotb.test(**LIMIT)
async def keeps_order_over_many_wraps(dut):
    """Bursts of every length, so that each crosses the end of the memory."""
    scoreboard = await bring_up(dut)
    for burst in range(1, scoreboard.depth + 1):
        words = [random_word(dut) for _ in range(burst)]
        for word in words:
            await write(dut, word)
        assert [await read(dut) for _ in range(burst)] == words
    assert scoreboard.written == scoreboard.depth * (scoreboard.depth + 1) // 2


@cocotb.test(**LIMIT)
async def reading_and_writing_at_one_edge_keeps_the_level(dut):
    scoreboard = await bring_up(dut)
    for level in range(1, scoreboard.depth):
        await write(dut, random_word(dut))
        for _ in range(2 * scoreboard.depth):
            assert int(dut.level.value) == level
            dut.wr_en.value = 1
            dut.wr_data.value = random_word(dut)
            dut.rd_en.value = 1
            await step(dut)
        dut.wr_en.value = 0
        dut.rd_en.value = 0
    await drain(dut)


@cocotb.test(**LIMIT)
async def random_traffic_that_is_mostly_full(dut):
    scoreboard = await bring_up(dut)
    await traffic(dut, 300, write_chance=0.9, read_chance=0.4)
    await drain(dut)
    assert scoreboard.was_full
    assert scoreboard.read == scoreboard.written > 50


@cocotb.test(**LIMIT)
async def random_traffic_that_is_mostly_empty(dut):
    scoreboard = await bring_up(dut)
    await traffic(dut, 300, write_chance=0.4, read_chance=0.9)
    await drain(dut)
    assert scoreboard.was_drained
    assert scoreboard.read == scoreboard.written > 50


@cocotb.test(**LIMIT)
async def random_traffic_between_full_and_empty(dut):
    scoreboard = await bring_up(dut)
    for _ in range(8):
        await traffic(dut, 40, write_chance=random.random(), read_chance=random.random())
    await traffic(dut, scoreboard.depth + 2, write_chance=1, read_chance=0)
    assert scoreboard.was_full
    await traffic(dut, scoreboard.depth + 2, write_chance=0, read_chance=1)
    assert scoreboard.was_drained
    assert scoreboard.read == scoreboard.written


@cocotb.test(**LIMIT)
async def reset_empties_it_in_the_middle_of_traffic(dut):
    scoreboard = await bring_up(dut)
    for clocks in (5, 17, 40):
        await traffic(dut, clocks, write_chance=0.9, read_chance=0.3)
        if not scoreboard.words:
            await write(dut, random_word(dut))
        await reset(dut, clocks=1)
        assert int(dut.empty.value) == 1
    word = random_word(dut)
    await write(dut, word)
    assert await read(dut) == word
