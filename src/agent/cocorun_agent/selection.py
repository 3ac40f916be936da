"""Picks exactly the requested testcases.

cocotb's own filters match by regular expression or suffix and change how `skip=True` is treated,
so none of them is used. A requested testcase runs even if it is marked `skip=True`: whether the
mark counts is the caller's decision. Invariant: the chosen testcases keep cocotb's order, and every
request that matches nothing is returned.
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


class Names:
    """The testcases that were found, `(module, testcase)` in cocotb's order.

    A module's server prepares it, so that a child, which picks one of them, does no work for the
    others.
    """

    def __init__(self, names: Sequence[tuple[str, str]]) -> None:
        self._names = names
        self._places: dict[tuple[str, str], list[int]] = {}
        for index, name in enumerate(names):
            self._places.setdefault(name, []).append(index)

    def __getitem__(self, index: int) -> tuple[str, str]:
        return self._names[index]

    def choose(self, wanted: Sequence[Wanted] | None) -> Choice:
        """Finds each wanted testcase.

        A name requested twice means its first two occurrences, unless the occurrence is given.
        """
        if wanted is None:
            return Choice(dict(enumerate(occurrences(self._names))), [])
        chosen: dict[int, int] = {}
        missing: list[Wanted] = []
        for want in wanted:
            found = self._places.get((want.module, want.testcase), [])
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
