"""Holds the measured ratios against what cocorun promises.

Each ratio is one round's, whose two contenders were measured side by side; what counts is the median.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from contenders import SLOTS
from sections import BY_BUILD, CHECKPOINT, COLD, COLDEST, FEW, MANY, OWN, RUNNER, SOME, of

PYTEST = f"`pytest -n {SLOTS}`, cocotb's runner"
FOR_MODULES = f"`xargs -P {SLOTS}`, one simulator for each module"
FOR_BUILDS = f"`xargs -P {SLOTS}`, one simulator for each build"
AXI_PYTEST = f"`pytest -n {SLOTS}`, cocotb-test"

Measured = dict[str, dict]
"""What was measured of the contenders of a section, by name: lists of `wall_s`, `cpu_s`, `faults`."""


def ratio(measured: Measured, name: str, other: str, what: str = "wall_s") -> float:
    """Returns the median of the rounds' ratios."""
    pairs = zip(measured[name][what], measured[other][what])
    return statistics.median(one / two for one, two in pairs)


def one_more(measured: Measured, what: str, is_spawned: bool = False) -> list[float]:
    """Returns what one more testcase costs, round by round."""
    larger = SOME if is_spawned else MANY
    pairs = zip(measured[of(larger, is_spawned)][what], measured[of(FEW, is_spawned)][what])
    return [(more - few) / (larger - FEW) for more, few in pairs]


class Promises:
    """The table of promises; those whose section was not measured are left out."""

    def __init__(self, sections: dict[str, Measured]) -> None:
        self._sections = sections
        self._lines: list[str] = []

    def table(self) -> str:
        for key, measured in self._sections.items():
            name, _, rest = key.partition(" ")
            claims: Callable[[str, Measured], None] | None = getattr(self, f"_{name}", None)
            if claims is not None:
                claims(rest, measured)
        head = ["## What is promised\n", "| claim | promised | measured | |\n|---|---|---|---|"]
        return "\n".join([*head, *self._lines]) + "\n"

    def _claim(self, text: str, at_most: float, measured: float, unit: str = "") -> None:
        verdict = "kept" if measured <= at_most else "**missed**"
        self._lines.append(f"| {text} | at most {at_most:.4g}{unit} | {measured:.3f}{unit} | {verdict} |")

    def _headline(self, simulator: str, it: Measured) -> None:
        what = f"72 testcases on four builds, {simulator}"
        self._claim(f"{what}: part of `pytest -n {SLOTS}`", 1 / 5, ratio(it, OWN, PYTEST))
        self._claim(f"{what}: part of one simulator for each module", 1 / 4, ratio(it, OWN, FOR_MODULES))
        self._claim(f"{what}: multiple of one simulator for each build", 1.3, ratio(it, OWN, FOR_BUILDS))
        memory = it[OWN]["memory_mib"] / it[PYTEST]["memory_mib"]
        self._claim(f"{what}: memory, multiple of `pytest -n {SLOTS}`", 2, memory)

    def _modules(self, simulator: str, it: Measured) -> None:
        what = f"24 trivial modules, {simulator}"
        self._claim(f"{what}: part of `pytest -n {SLOTS}`", 1 / 5, ratio(it, OWN, PYTEST))
        self._claim(f"{what}: part of one simulator for each module", 1 / 3, ratio(it, OWN, FOR_MODULES))

    def _more(self, which: str, it: Measured) -> None:
        what = f"one more testcase, {which.replace(' ', ', cocotb ')}"
        own, spawned = one_more(it, "cpu_s"), one_more(it, "cpu_s", is_spawned=True)
        self._claim(f"{what}: processor time", 5, 1e3 * statistics.median(own), " ms")
        shares = (one / two for one, two in zip(own, spawned))
        self._claim(f"{what}: part of a spawned one's", 0.025, statistics.median(shares))
        self._claim(f"{what}: minor page faults", 1200, statistics.median(one_more(it, "faults")))

    def _tiny(self, simulator: str, it: Measured) -> None:
        what = f"440 testcases like cocotb's own, {simulator}: processor time"
        self._claim(f"{what}, multiple of one simulator for all", 2, ratio(it, OWN, FOR_BUILDS, "cpu_s"))

    def _bringup(self, simulator: str, it: Measured) -> None:
        wall = statistics.median(it[CHECKPOINT]["wall_s"])
        self._claim(f"bring-up of 2 s before 40 testcases, {simulator}", 3.5, wall, " s")

    def _check(self, simulator: str, it: Measured) -> None:
        what = f"check of four builds, {simulator}"
        self._claim(f"{what}: part of the runner's", 0.1, ratio(it, OWN, RUNNER))
        self._claim(what, 0.05, statistics.median(it[OWN]["wall_s"]), " s")

    def _cold(self, _: str, it: Measured) -> None:
        self._claim("first build, runtime there: part of the runner's", 1 / 5, ratio(it, COLD, RUNNER))
        self._claim("first build, nothing there: part of the runner's", 1, ratio(it, COLDEST, RUNNER))

    def _four(self, _: str, it: Measured) -> None:
        self._claim("four first builds, runtime there: part of the runner's", 1 / 6, ratio(it, COLD, RUNNER))
        self._claim("four first builds, nothing there: part of the runner's", 0.4, ratio(it, COLDEST, RUNNER))

    def _axi(self, _: str, it: Measured) -> None:
        what = "cocotbext-axi, builds there"
        cpu = ratio(it, OWN, BY_BUILD, "cpu_s")
        self._claim(f'{what}: processor time, multiple of `isolation = "build"`', 1.15, cpu)
        cpu = ratio(it, OWN, AXI_PYTEST, "cpu_s")
        self._claim(f"{what}: processor time, part of `pytest -n {SLOTS}`", 1, cpu)
        self._claim(f"{what}: part of `pytest -n {SLOTS}`", 1, ratio(it, OWN, AXI_PYTEST))
