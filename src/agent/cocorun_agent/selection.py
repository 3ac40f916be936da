"""Picks exactly the requested testcases.

cocotb's own filters match by regular expression or suffix and change how `skip=True` is treated,
so none of them is used. A requested testcase runs even if it is marked `skip=True`: whether the mark
counts is the caller's decision. Invariant: the chosen testcases keep cocotb's order, and every request
that matches nothing is returned.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from cocorun_agent.request import Wanted


class Choice(NamedTuple):
    """The requested testcases that exist, and those that do not."""

    occurrence_by_index: dict[int, int]
    """The chosen ones by their index among the testcases that were found, in that order."""
    missing: list[Wanted]


def occurrences(names: Sequence[tuple[str, str]]) -> list[int]:
    """Numbers equal `(module, testcase)` names from 0, in order."""
    seen: dict[tuple[str, str], int] = {}
    numbers = []
    for name in names:
        numbers.append(seen.get(name, 0))
        seen[name] = numbers[-1] + 1
    return numbers


def choose(names: Sequence[tuple[str, str]], wanted: Sequence[Wanted] | None) -> Choice:
    """Finds each wanted testcase among `names`, `(module, testcase)` in cocotb's order.

    A name requested twice means its first two occurrences, unless the occurrence is given.
    """
    if wanted is None:
        return Choice(dict(enumerate(occurrences(names))), [])
    # A child picks one of all the testcases of its module: work done for each of those is repeated
    # for each testcase of each session.
    places: dict[tuple[str, str], list[int]] = {
        (want.module, want.testcase): [] for want in wanted
    }
    for index, name in enumerate(names):
        if name in places:
            places[name].append(index)
    chosen: dict[int, int] = {}
    missing: list[Wanted] = []
    for want in wanted:
        found = places[want.module, want.testcase]
        number = want.occurrence
        if number is None:
            number = 0
            while number < len(found) and found[number] in chosen:
                number += 1
        if 0 <= number < len(found):
            chosen[found[number]] = number
        else:
            missing.append(want._replace(occurrence=number))
    return Choice(dict(sorted(chosen.items())), missing)
