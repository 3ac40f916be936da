"""Tests of hdl/axis_register_slice.sv. Needs cocotb 2.0."""

import random
from collections import deque
from dataclasses import dataclass

import cocotb
from bench import reset, settled, start_clock, step
from cocotb.triggers import ReadOnly

LIMIT = {"timeout_time": 200, "timeout_unit": "us"}


@dataclass(frozen=True)
class Transfer:
    """One beat of the stream."""

    data: int
    keep: int
    last: bool


class Source:
    """Offers transfers at the input, after idle clocks at random."""

    def __init__(self, dut, idle_chance=0.0):
        self.dut = dut
        self.idle_chance = idle_chance
        self.queue = deque()

    def set(self, transfer):
        dut = self.dut
        dut.s_axis_tvalid.value = transfer is not None
        if transfer is None:
            # What is not valid must not matter.
            transfer = random_transfer(dut)
        dut.s_axis_tdata.value = transfer.data
        dut.s_axis_tkeep.value = transfer.keep
        dut.s_axis_tlast.value = transfer.last

    async def drive(self):
        offered = None
        while True:
            if offered is None and self.queue and random.random() >= self.idle_chance:
                offered = self.queue.popleft()
            self.set(offered)
            if self.dut.s_axis_tready.value:
                offered = None
            await step(self.dut)


class Sink:
    """Takes transfers at the output, stalling at random."""

    def __init__(self, dut, stall_chance=0.0):
        self.dut = dut
        self.stall_chance = stall_chance

    async def drive(self):
        while True:
            self.dut.m_axis_tready.value = random.random() >= self.stall_chance
            await step(self.dut)


class Monitor:
    """Records the transfers of one side and checks the rules of the handshake."""

    def __init__(self, dut, side):
        self.dut = dut
        self.name = side
        self.valid, self.ready, self.data, self.keep, self.last = (
            getattr(dut, f"{side}_axis_{signal}")
            for signal in ("tvalid", "tready", "tdata", "tkeep", "tlast")
        )
        self.transfers = []
        self.stalls = 0

    async def watch(self):
        waiting = None
        while True:
            await settled(self.dut)
            if self.dut.rst.value:
                waiting = None
                continue
            offered = None
            if self.valid.value:
                offered = Transfer(
                    int(self.data.value), int(self.keep.value), bool(self.last.value)
                )
            if waiting is not None:
                assert offered == waiting, f"{self.name}: {waiting} became {offered}"
            waiting = None
            if offered is not None and self.ready.value:
                self.transfers.append(offered)
            elif offered is not None:
                waiting = offered
                self.stalls += 1


def random_transfer(dut):
    width = len(dut.s_axis_tdata)
    return Transfer(
        random.getrandbits(width), random.getrandbits(width // 8), random.random() < 0.2
    )


class Bench:
    """Everything around the slice; drivers run only where a test starts them."""

    def __init__(self, dut, idle_chance=0.0, stall_chance=0.0):
        self.dut = dut
        self.source = Source(dut, idle_chance)
        self.sink = Sink(dut, stall_chance)
        self.input = Monitor(dut, "s")
        self.output = Monitor(dut, "m")

    async def bring_up(self):
        self.source.set(None)
        self.dut.m_axis_tready.value = 0
        start_clock(self.dut)
        await reset(self.dut)
        await step(self.dut)
        cocotb.start_soon(self.input.watch())
        cocotb.start_soon(self.output.watch())
        await step(self.dut)

    def queue(self, count):
        transfers = [random_transfer(self.dut) for _ in range(count)]
        self.source.queue.extend(transfers)
        return transfers

    async def arrived(self, count):
        while len(self.output.transfers) < count:
            await step(self.dut)


@cocotb.test(**LIMIT)
@cocotb.parametrize(idle_chance=[0.0, 0.3, 0.8], stall_chance=[0.0, 0.3, 0.8])
async def carries_every_transfer_in_order(dut, idle_chance, stall_chance):
    bench = Bench(dut, idle_chance, stall_chance)
    await bench.bring_up()
    transfers = bench.queue(100)
    cocotb.start_soon(bench.source.drive())
    cocotb.start_soon(bench.sink.drive())
    await bench.arrived(len(transfers))
    await step(dut, 5)
    assert bench.input.transfers == transfers
    assert bench.output.transfers == transfers


@cocotb.test(**LIMIT)
async def carries_one_transfer_per_clock_with_a_latency_of_one(dut):
    bench = Bench(dut)
    await bench.bring_up()
    transfers = bench.queue(50)
    cocotb.start_soon(bench.sink.drive())
    await step(dut, 2)
    cocotb.start_soon(bench.source.drive())
    await step(dut, len(transfers))
    assert bench.output.transfers == transfers[:-1]
    await step(dut)
    assert bench.output.transfers == transfers
    assert bench.input.stalls == 0


@cocotb.test(**LIMIT)
async def a_single_stall_costs_a_single_clock(dut):
    bench = Bench(dut)
    await bench.bring_up()
    transfers = bench.queue(40)
    cocotb.start_soon(bench.source.drive())
    clocks = 0
    while len(bench.output.transfers) < len(transfers):
        dut.m_axis_tready.value = clocks % 10 != 5
        clocks += 1
        await step(dut)
    stalls = sum(1 for clock in range(clocks) if clock % 10 == 5)
    assert clocks <= len(transfers) + stalls + 2


@cocotb.test(**LIMIT)
async def holds_two_transfers_while_the_output_stalls(dut):
    bench = Bench(dut)
    await bench.bring_up()
    transfers = bench.queue(5)
    cocotb.start_soon(bench.source.drive())
    await step(dut, 10)
    assert bench.input.transfers == transfers[:2]
    assert dut.s_axis_tready.value == 0
    assert bench.output.transfers == []
    cocotb.start_soon(bench.sink.drive())
    await bench.arrived(5)
    assert bench.output.transfers == transfers


@cocotb.test(**LIMIT)
@cocotb.parametrize(held=[0, 1, 2])
async def no_input_reaches_an_output_within_a_clock(dut, held):
    bench = Bench(dut)
    await bench.bring_up()
    bench.queue(held)
    cocotb.start_soon(bench.source.drive())
    await step(dut, 6)
    before = (int(dut.s_axis_tready.value), int(dut.m_axis_tvalid.value))
    assert before == (held < 2, held > 0)
    dut.m_axis_tready.value = 1
    dut.s_axis_tvalid.value = 1
    await ReadOnly()
    assert (int(dut.s_axis_tready.value), int(dut.m_axis_tvalid.value)) == before


@cocotb.test(**LIMIT)
async def reset_drops_what_it_holds(dut):
    bench = Bench(dut)
    await bench.bring_up()
    bench.queue(2)
    driver = cocotb.start_soon(bench.source.drive())
    await step(dut, 4)
    assert dut.s_axis_tready.value == 0
    driver.cancel()
    bench.source.set(None)
    dut.rst.value = 1
    await step(dut)
    assert dut.s_axis_tready.value == 0
    assert dut.m_axis_tvalid.value == 0
    dut.rst.value = 0
    await step(dut)
    assert dut.s_axis_tready.value == 1
    assert dut.m_axis_tvalid.value == 0
    transfers = bench.queue(10)
    cocotb.start_soon(bench.source.drive())
    cocotb.start_soon(bench.sink.drive())
    await bench.arrived(10)
    assert bench.output.transfers == transfers
