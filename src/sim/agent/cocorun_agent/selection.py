"""Picks exactly the testcases that the caller asked for.

cocotb's own filters match by regular expression or suffix and change how `skip=True` is treated,
so none of them is used. Invariant: the chosen testcases keep cocotb's order, and every request
that matches nothing is handed back.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from cocorun_agent.request import Wanted


class Choice(NamedTuple):
    """What was asked for and is there, and what is not."""

    chosen: set[int]
    """Indices into the testcases that were found."""
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

    A name asked for twice means its first two occurrences, unless the occurrence is given.
    """
    if wanted is None:
        return Choice(set(range(len(names))), [])
    index_by_name: dict[tuple[str, str, int], int] = {
        (module, testcase, number): index
        for index, ((module, testcase), number) in enumerate(zip(names, occurrences(names)))
    }
    chosen: set[int] = set()
    missing: list[Wanted] = []
    for want in wanted:
        number = want.occurrence
        if number is None:
            number = 0
            while index_by_name.get((want.module, want.testcase, number)) in chosen:
                number += 1
        index = index_by_name.get((want.module, want.testcase, number))
        if index is None:
            missing.append(want._replace(occurrence=number))
        else:
            chosen.add(index)
    return Choice(chosen, missing)
