"""Tests of hdl/uart.sv: transmitter, receiver, and both together. Needs cocotb 2.0."""

import random

import cocotb
from bench import PERIOD_NS, now_ps, reset, settled, start_clock, step
from cocotb.triggers import ReadOnly, Timer

LIMIT = {"timeout_time": 2, "timeout_unit": "ms"}


class Line:
    """The serial side: sends frames to ``rxd`` and decodes those on ``txd``."""

    def __init__(self, dut):
        self.dut = dut
        self.data_bits = int(dut.DATA_BITS.value)
        self.clks_per_bit = int(dut.CLKS_PER_BIT.value)
        self.bit_ps = self.clks_per_bit * PERIOD_NS * 1000
        self.words = []

    async def bits(self, count, scale=1.0):
        """Wait for so many bit times, of a clock that is slower by ``scale``."""
        await Timer(round(count * scale * self.bit_ps), "ps")

    async def send(self, word, scale=1.0, stop=1):
        bits = [0] + [word >> place & 1 for place in range(self.data_bits)] + [stop]
        for bit in bits:
            self.dut.rxd.value = bit
            await self.bits(1, scale)
        self.dut.rxd.value = 1

    async def decode(self):
        txd = self.dut.txd
        while True:
            await txd.falling_edge
            await self.bits(0.5)
            assert txd.value == 0, "the start bit is too short"
            word = 0
            for place in range(self.data_bits):
                await self.bits(1)
                word |= int(txd.value) << place
            await self.bits(1)
            assert txd.value == 1, "the stop bit is low"
            self.words.append(word)

    def random_words(self, count):
        return [random.getrandbits(self.data_bits) for _ in range(count)]


class Receiver:
    """The parallel side of the receiver: what it reports, in order."""

    def __init__(self, dut):
        self.dut = dut
        self.words = []
        self.frame_errors = 0

    async def watch(self):
        while True:
            await settled(self.dut)
            if self.dut.rx_valid.value:
                self.words.append(int(self.dut.rx_data.value))
            if self.dut.rx_frame_error.value:
                self.frame_errors += 1


async def bring_up(dut, loopback=False):
    dut.tx_valid.value = 0
    dut.tx_data.value = 0
    dut.rxd.value = 1
    dut.loopback.value = loopback
    start_clock(dut)
    await reset(dut)
    await step(dut, 3)
    line, receiver = Line(dut), Receiver(dut)
    cocotb.start_soon(line.decode())
    cocotb.start_soon(receiver.watch())
    await step(dut)
    return line, receiver


async def transmit(dut, word):
    """Hand one word to the transmitter."""
    while not dut.tx_ready.value:
        await step(dut)
    dut.tx_valid.value = 1
    dut.tx_data.value = word
    await step(dut)
    dut.tx_valid.value = 0


async def transmitter_idle(dut):
    while not dut.tx_ready.value:
        await step(dut)


@cocotb.test(**LIMIT)
@cocotb.parametrize(pattern=["zeros", "ones", "lowest", "highest", "alternating"])
async def transmits(dut, pattern):
    line, _ = await bring_up(dut)
    ones = 2**line.data_bits - 1
    word = {
        "zeros": 0,
        "ones": ones,
        "lowest": 1,
        "highest": 1 << line.data_bits - 1,
        "alternating": 0x5555 & ones,
    }[pattern]
    await transmit(dut, word)
    await transmitter_idle(dut)
    assert line.words == [word]


@cocotb.test(**LIMIT)
async def transmits_random_words_back_to_back(dut):
    line, _ = await bring_up(dut)
    words = line.random_words(20)
    begin = now_ps()
    for word in words:
        await transmit(dut, word)
    await transmitter_idle(dut)
    frame_ps = (line.data_bits + 2) * line.bit_ps
    gap_ps = 1000 * PERIOD_NS
    assert line.words == words
    assert now_ps() - begin == len(words) * (frame_ps + gap_ps)


@cocotb.test(**LIMIT)
async def every_transmitted_bit_has_the_same_length(dut):
    line, _ = await bring_up(dut)
    alternating = sum(1 << place for place in range(0, line.data_bits, 2))
    changes = []

    async def watch():
        while True:
            await dut.txd.value_change
            changes.append(now_ps())

    cocotb.start_soon(watch())
    await transmit(dut, alternating)
    await transmitter_idle(dut)
    lengths = [after - before for before, after in zip(changes, changes[1:])]
    # The start bit and all data bits differ from the next one; but of an odd
    # number of data bits the last is high, and the stop bit does not show.
    assert lengths == [line.bit_ps] * (line.data_bits + 1 - line.data_bits % 2)


@cocotb.test(**LIMIT)
async def holds_the_word_from_the_moment_it_is_accepted(dut):
    line, _ = await bring_up(dut)
    (word,) = line.random_words(1)
    await transmit(dut, word)
    while not dut.tx_ready.value:
        (dut.tx_data.value,) = line.random_words(1)
        await step(dut)
    assert line.words == [word]


@cocotb.test(**LIMIT)
@cocotb.parametrize(of_tolerance=[-0.9, -0.5, 0.0, 0.5, 0.9])
async def receives_from_a_clock_that_is_off(dut, of_tolerance):
    """The stop bit is sampled last, so it sets the limits for slow and fast senders.

    ``middle`` is where in a bit the sample is taken; it is late by up to one
    clock, because the start bit is noticed by a clock.
    """
    line, receiver = await bring_up(dut)
    middle = line.clks_per_bit // 2 / line.clks_per_bit
    slow = middle / (line.data_bits + 1)
    fast = (1 - middle - 1 / line.clks_per_bit) / (line.data_bits + 2)
    scale = 1 + of_tolerance * (slow if of_tolerance > 0 else fast)
    words = [*line.random_words(12), 0]
    for word in words:
        await Timer(random.randrange(20_000), "ps")
        await line.send(word, scale)
    await line.bits(1)
    assert receiver.words == words
    assert receiver.frame_errors == 0


@cocotb.test(**LIMIT)
async def reports_a_low_stop_bit_and_recovers(dut):
    line, receiver = await bring_up(dut)
    before, broken, after = line.random_words(3)
    await line.send(before)
    await line.send(broken, stop=0)
    await line.bits(1)
    await line.send(after)
    await line.bits(1)
    assert receiver.frame_errors == 1
    assert receiver.words == [before, after]


@cocotb.test(**LIMIT)
async def reports_a_break_once(dut):
    line, receiver = await bring_up(dut)
    dut.rxd.value = 0
    await line.bits(5 * (line.data_bits + 2))
    assert receiver.frame_errors == 1
    dut.rxd.value = 1
    await line.bits(1)
    (word,) = line.random_words(1)
    await line.send(word)
    await line.bits(1)
    assert receiver.frame_errors == 1
    assert receiver.words == [word]


@cocotb.test(**LIMIT)
async def ignores_glitches_shorter_than_half_a_bit(dut):
    line, receiver = await bring_up(dut)
    for _ in range(5):
        dut.rxd.value = 0
        await Timer(line.clks_per_bit // 2 * PERIOD_NS - 1, "ns")
        dut.rxd.value = 1
        await line.bits(line.data_bits + 3)
        await Timer(random.randrange(1000 * PERIOD_NS), "ps")
    assert receiver.frame_errors == 0
    assert receiver.words == []
    (word,) = line.random_words(1)
    await line.send(word)
    await line.bits(1)
    assert receiver.words == [word]


@cocotb.test(**LIMIT)
async def loops_back_and_ignores_the_line(dut):
    line, receiver = await bring_up(dut, loopback=True)
    words = line.random_words(10)

    async def noise():
        while True:
            dut.rxd.value = random.getrandbits(1)
            await line.bits(random.random())

    cocotb.start_soon(noise())
    for word in words:
        await transmit(dut, word)
    await transmitter_idle(dut)
    await step(dut, 4)
    assert line.words == words
    assert receiver.words == words
    assert receiver.frame_errors == 0


@cocotb.test(**LIMIT)
async def sends_and_receives_at_the_same_time(dut):
    line, receiver = await bring_up(dut)
    outgoing, incoming = line.random_words(10), line.random_words(10)

    async def send_all():
        for word in incoming:
            await Timer(random.randrange(50_000), "ps")
            await line.send(word)

    sender = cocotb.start_soon(send_all())
    for word in outgoing:
        await transmit(dut, word)
    await transmitter_idle(dut)
    await sender
    await line.bits(1)
    assert line.words == outgoing
    assert receiver.words == incoming
    assert receiver.frame_errors == 0


@cocotb.test(**LIMIT)
async def reset_abandons_frames_in_progress(dut):
    line, receiver = await bring_up(dut, loopback=True)
    await transmit(dut, 0)
    await line.bits(2.5)
    await step(dut)
    await reset(dut, clocks=1)
    await ReadOnly()
    assert dut.txd.value == 1
    assert dut.tx_ready.value == 1
    # Long enough for a bit counter that was not reset to come round.
    await line.bits(4 * (line.data_bits + 2))
    assert receiver.words == []
    assert receiver.frame_errors == 0
