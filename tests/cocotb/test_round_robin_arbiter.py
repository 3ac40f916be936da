"""Tests of hdl/round_robin_arbiter.sv for any number of ports. Needs cocotb 2.0."""

import random

import cocotb
from bench import reset, settled, start_clock, step

LIMIT = {"timeout_time": 200, "timeout_unit": "us"}


class Scoreboard:
    """A reference arbiter, compared with the real one on every clock."""

    def __init__(self, dut):
        self.dut = dut
        self.ports = int(dut.PORTS.value)
        self.first = 0
        self.winners = []
        # Accepted grants that each port has seen go to others since it asked.
        self.waited = [0] * self.ports

    async def watch(self):
        while True:
            await settled(self.dut)
            self._compare()

    def expected(self, request):
        order = [(self.first + offset) % self.ports for offset in range(self.ports)]
        return next((port for port in order if request >> port & 1), None)

    def _compare(self):
        dut = self.dut
        request = int(dut.request.value)
        winner = self.expected(request)
        assert int(dut.grant_valid.value) == (winner is not None)
        assert int(dut.grant.value) == (0 if winner is None else 1 << winner), (
            f"request {request:0{self.ports}b}, first {self.first}: "
            f"grant {dut.grant.value}, expected port {winner}"
        )
        assert int(dut.grant_index.value) == (winner or 0)
        if dut.rst.value:
            self.first = 0
            self.waited = [0] * self.ports
        elif winner is not None and dut.accept.value:
            self.winners.append(winner)
            self.first = (winner + 1) % self.ports
            self._check_fairness(request, winner)

    def _check_fairness(self, request, winner):
        for port in range(self.ports):
            asks = request >> port & 1 and port != winner
            self.waited[port] = self.waited[port] + 1 if asks else 0
            assert self.waited[port] < self.ports, f"port {port} starves"


async def bring_up(dut):
    dut.request.value = 0
    dut.accept.value = 0
    start_clock(dut)
    await reset(dut)
    scoreboard = Scoreboard(dut)
    cocotb.start_soon(scoreboard.watch())
    await step(dut)
    return scoreboard


def everyone(scoreboard):
    return 2**scoreboard.ports - 1


@cocotb.test(**LIMIT)
async def grants_nobody_when_nobody_asks(dut):
    scoreboard = await bring_up(dut)
    dut.accept.value = 1
    await step(dut, 5)
    assert scoreboard.winners == []
    dut.request.value = everyone(scoreboard)
    await step(dut)
    assert scoreboard.winners == [0], "accept without a grant moved the priority"


@cocotb.test(**LIMIT)
async def grants_a_lone_requester_at_once_and_again(dut):
    scoreboard = await bring_up(dut)
    dut.accept.value = 1
    for port in range(scoreboard.ports):
        dut.request.value = 1 << port
        await step(dut, 3)
    assert scoreboard.winners == [port for port in range(scoreboard.ports) for _ in range(3)]


@cocotb.test(**LIMIT)
async def takes_turns_when_everyone_asks(dut):
    scoreboard = await bring_up(dut)
    dut.request.value = everyone(scoreboard)
    dut.accept.value = 1
    rounds = 4
    await step(dut, rounds * scoreboard.ports)
    assert scoreboard.winners == list(range(scoreboard.ports)) * rounds


@cocotb.test(**LIMIT)
async def keeps_its_grant_until_it_is_accepted(dut):
    scoreboard = await bring_up(dut)
    dut.request.value = everyone(scoreboard)
    for port in range(scoreboard.ports):
        dut.accept.value = 0
        for _ in range(3):
            await step(dut)
            assert int(dut.grant_index.value) == port
        dut.accept.value = 1
        await step(dut)


@cocotb.test(**LIMIT)
async def every_pair_of_requesters_alternates(dut):
    scoreboard = await bring_up(dut)
    dut.accept.value = 1
    for low in range(scoreboard.ports):
        for high in range(low + 1, scoreboard.ports):
            dut.request.value = 1 << low | 1 << high
            scoreboard.winners.clear()
            await step(dut, 6)
            assert sorted(scoreboard.winners[:2]) == [low, high]
            assert scoreboard.winners == scoreboard.winners[:2] * 3


@cocotb.test(**LIMIT)
@cocotb.parametrize(ask_chance=[0.2, 0.5, 0.9], accept_chance=[0.5, 1.0])
async def agrees_with_the_reference_on_random_requests(dut, ask_chance, accept_chance):
    scoreboard = await bring_up(dut)
    for _ in range(200):
        asking = [random.random() < ask_chance for _ in range(scoreboard.ports)]
        dut.request.value = sum(1 << port for port, asks in enumerate(asking) if asks)
        dut.accept.value = random.random() < accept_chance
        await step(dut)
    assert len(scoreboard.winners) > 5


@cocotb.test(**LIMIT)
async def nobody_starves_among_impatient_requesters(dut):
    """Whoever has asked keeps asking until it is granted, and new ones join at random."""
    scoreboard = await bring_up(dut)
    asking = everyone(scoreboard)
    dut.accept.value = 1
    for _ in range(200):
        dut.request.value = asking
        await step(dut)
        asking &= ~(1 << scoreboard.winners[-1])
        asking |= random.getrandbits(scoreboard.ports)
    counts = [scoreboard.winners.count(port) for port in range(scoreboard.ports)]
    assert min(counts) > 0


@cocotb.test(**LIMIT)
async def reset_puts_requester_zero_first(dut):
    scoreboard = await bring_up(dut)
    dut.request.value = everyone(scoreboard)
    dut.accept.value = 1
    await step(dut)
    await reset(dut, clocks=1)
    scoreboard.winners.clear()
    await step(dut)
    assert scoreboard.winners == [0]
