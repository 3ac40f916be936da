"""Tests of hdl/spi_master.sv in all four modes. Needs cocotb 2.0."""

import random

import cocotb
from bench import PERIOD_NS, now_ps, reset, settled, start_clock, step
from cocotb.triggers import First

LIMIT = {"timeout_time": 1, "timeout_unit": "ms"}
MODES = [0, 1, 2, 3]


class Peripheral:
    """An SPI peripheral: answers each word with the next of ``answers``.

    It takes its clock from ``sclk`` alone, like a real one. ``mode`` may change
    while it is not selected.
    """

    def __init__(self, dut, mode):
        self.dut = dut
        self.width = int(dut.WIDTH.value)
        self.mode = mode
        self.answers = []
        self.words = []
        # Times in ps of all changes of sclk in the last word.
        self.edges = []
        # Whether the word is meant to end too early.
        self.cut_off = False

    async def serve(self):
        while True:
            await self.dut.cs_n.falling_edge
            await self._serve_word()

    async def _serve_word(self):
        dut, cpol, cpha = self.dut, self.mode >> 1, self.mode & 1
        answer = self.answers.pop(0)
        to_send = [answer >> place & 1 for place in reversed(range(self.width))]
        received = []
        self.edges = []
        assert int(dut.sclk.value) == cpol, "sclk is not idle when the word begins"
        if cpha == 0:
            dut.miso.value = to_send.pop(0)
        while True:
            await First(dut.sclk.value_change, dut.cs_n.rising_edge)
            # A reset moves both at once; only one of the two edges wakes us.
            if dut.cs_n.value:
                break
            self.edges.append(now_ps())
            leading = int(dut.sclk.value) != cpol
            if leading == (cpha == 0):
                received.append(int(dut.mosi.value))
            elif to_send:
                dut.miso.value = to_send.pop(0)
        if self.cut_off:
            return
        assert len(self.edges) == 2 * self.width, f"{len(self.edges)} edges of sclk"
        assert int(dut.sclk.value) == cpol, "sclk is not idle when the word ends"
        self.words.append(int("".join(map(str, received)), 2))


async def bring_up(dut, mode):
    dut.tx_valid.value = 0
    dut.tx_data.value = 0
    dut.miso.value = 0
    set_mode(dut, mode)
    start_clock(dut)
    await reset(dut)
    await step(dut, 2)
    peripheral = Peripheral(dut, mode)
    cocotb.start_soon(peripheral.serve())
    await step(dut)
    return peripheral


def set_mode(dut, mode):
    dut.cpol.value = mode >> 1
    dut.cpha.value = mode & 1


async def start_word(dut, word):
    while not dut.tx_ready.value:
        await step(dut)
    dut.tx_valid.value = 1
    dut.tx_data.value = word
    await step(dut)
    dut.tx_valid.value = 0


async def exchange(dut, word):
    """Send one word and return the one that came back."""
    await start_word(dut, word)
    while not dut.rx_valid.value:
        await step(dut)
    return int(dut.rx_data.value)


def random_words(dut, count):
    return [random.getrandbits(len(dut.tx_data)) for _ in range(count)]


@cocotb.test(**LIMIT)
@cocotb.parametrize(mode=MODES)
async def exchanges_words(dut, mode):
    peripheral = await bring_up(dut, mode)
    ones = 2**peripheral.width - 1
    ends = [0, ones, 1, 1 << peripheral.width - 1]
    sent = ends + random_words(dut, 12)
    answers = list(reversed(ends)) + random_words(dut, 12)
    peripheral.answers = list(answers)
    received = [await exchange(dut, word) for word in sent]
    assert peripheral.words == sent
    assert received == answers


@cocotb.test(**LIMIT)
@cocotb.parametrize(mode=MODES)
async def clock_and_select_keep_their_times(dut, mode):
    peripheral = await bring_up(dut, mode)
    half_bit = int(dut.CLKS_PER_HALF_BIT.value) * PERIOD_NS * 1000
    peripheral.answers = random_words(dut, 1)
    selects = []

    async def watch_select():
        while True:
            await dut.cs_n.value_change
            selects.append(now_ps())

    cocotb.start_soon(watch_select())
    (word,) = random_words(dut, 1)
    await exchange(dut, word)
    await step(dut)
    times = [selects[0], *peripheral.edges, selects[1]]
    gaps = [after - before for before, after in zip(times, times[1:])]
    assert gaps == [half_bit] * (2 * peripheral.width + 1)


@cocotb.test(**LIMIT)
@cocotb.parametrize(mode=MODES)
async def holds_word_and_mode_from_the_moment_they_are_accepted(dut, mode):
    peripheral = await bring_up(dut, mode)
    peripheral.answers = random_words(dut, 1)
    (answer,) = peripheral.answers
    (word,) = random_words(dut, 1)
    await start_word(dut, word)
    while not dut.tx_ready.value:
        set_mode(dut, random.choice(MODES))
        (dut.tx_data.value,) = random_words(dut, 1)
        # Back before the word ends: an idle sclk follows cpol.
        if len(peripheral.edges) == 2 * peripheral.width:
            set_mode(dut, mode)
        await step(dut)
    assert peripheral.words == [word]
    assert int(dut.rx_data.value) == answer


@cocotb.test(**LIMIT)
async def changes_mode_between_words(dut):
    peripheral = await bring_up(dut, mode=0)
    for mode in [3, 0, 1, 2] + [random.choice(MODES) for _ in range(12)]:
        set_mode(dut, mode)
        peripheral.mode = mode
        await step(dut, 2)
        word, answer = random_words(dut, 2)
        peripheral.answers = [answer]
        assert await exchange(dut, word) == answer
        assert peripheral.words[-1] == word


@cocotb.test(**LIMIT)
async def deselects_between_words_that_follow_at_once(dut):
    peripheral = await bring_up(dut, mode=0)
    words = random_words(dut, 8)
    peripheral.answers = random_words(dut, 8)
    dut.tx_valid.value = 1
    for word in words:
        dut.tx_data.value = word
        while not dut.tx_ready.value:
            await step(dut)
        await step(dut)
    dut.tx_valid.value = 0
    while not dut.tx_ready.value:
        await step(dut)
    assert peripheral.words == words
    assert peripheral.answers == []


@cocotb.test(**LIMIT)
async def reports_each_word_once_and_keeps_it(dut):
    peripheral = await bring_up(dut, mode=0)
    answers = random_words(dut, 5)
    peripheral.answers = list(answers)
    reported = []

    async def watch():
        while True:
            await settled(dut)
            if dut.rx_valid.value:
                reported.append(int(dut.rx_data.value))

    cocotb.start_soon(watch())
    for word, answer in zip(random_words(dut, 5), answers):
        await exchange(dut, word)
        await step(dut, random.randrange(1, 20))
        assert int(dut.rx_data.value) == answer
    assert reported == answers


@cocotb.test(**LIMIT)
async def reset_abandons_a_word(dut):
    peripheral = await bring_up(dut, mode=0)
    half_bit = int(dut.CLKS_PER_HALF_BIT.value)
    peripheral.answers = random_words(dut, 2)
    await start_word(dut, 1)
    await step(dut, 3 * half_bit)
    assert dut.cs_n.value == 0
    peripheral.cut_off = True
    await reset(dut, clocks=1)
    assert dut.cs_n.value == 1
    assert dut.tx_ready.value == 1
    assert dut.rx_valid.value == 0
    await step(dut)
    peripheral.cut_off = False
    (answer,) = peripheral.answers
    (word,) = random_words(dut, 1)
    assert await exchange(dut, word) == answer
    assert peripheral.words == [word]
