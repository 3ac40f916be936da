"""Seeds the random sources that cocotb does not: NumPy's global generator, and Hypothesis.

The operating system seeds both in each process, so a failure could not be repeated. Here they follow
the run's seed as `random` does, which cocotb seeds: with the run's own number while modules are
imported, and with the testcase's when it begins.

Invariants: if a test module sets NumPy's state while it is imported, each of its testcases begins
with that state; what a testcase sets lasts until its end. What is drawn depends neither on how a
process was started nor on which testcases were run before.
"""

from __future__ import annotations

import contextlib
import random
import sys
from typing import Any, Iterator

from cocorun_agent import imports

_NUMPY = "numpy.random"
_HYPOTHESIS = "hypothesis.core"

_DRAWN_BYTES_MAX = 1 << 18
"""A module that draws more than this while it is imported counts as one that sets the state."""

_seed: int | None = None

_made: Any = None
"""NumPy's state after it was seeded here."""

_kept: dict[str | None, Any] = {}
"""NumPy's state after the import of each test module that has set it, and of those preloaded."""

_forced: int | None = None
"""What Hypothesis was given here."""


def begin(seed: int | None) -> None:
    """Seeds for the import of modules; a child continues from what its server has preloaded."""
    global _seed
    is_same = seed == _seed
    _seed = seed
    imports.after(_NUMPY, _seed_numpy)
    imports.after(_HYPOTHESIS, _seed_hypothesis)
    if _made is not None and _is_set_since(_made):
        _kept[None] = _state()
    elif _made is not None and not is_same:
        _seed_numpy(sys.modules[_NUMPY])


def state() -> Any:
    """Returns the state of all sources, for `return_to`."""
    return random.getstate(), _state(), _seed


def return_to(state: Any) -> None:
    """Continues where the sources were before; those imported since begin with the seed of then."""
    global _seed
    of_random, of_numpy, _seed = state
    random.setstate(of_random)
    numpy = sys.modules.get(_NUMPY)
    if numpy is not None and of_numpy is not None:
        with contextlib.suppress(Exception):
            numpy.set_state(of_numpy)
    elif numpy is not None:
        _seed_numpy(numpy)
    if _HYPOTHESIS in sys.modules:
        _seed_hypothesis(sys.modules[_HYPOTHESIS])


def preload() -> None:
    """Seeds `random` as cocotb does, which has not yet been initialised."""
    random.seed(_seed)


def modules_begin() -> None:
    """Seeds what has been imported without notice, by a plugin of pytest's for example."""
    if _made is None and _NUMPY in sys.modules:
        _seed_numpy(sys.modules[_NUMPY])
    if _forced is None and _HYPOTHESIS in sys.modules:
        _seed_hypothesis(sys.modules[_HYPOTHESIS])


@contextlib.contextmanager
def importing(module: str) -> Iterator[None]:
    """Notices whether a test module that is imported meanwhile sets the state."""
    before = _state()
    yield
    before = before or _made
    if before is not None and _is_set_since(before):
        _kept[module] = _state()


def testcase_begins(module: str, seed: int) -> None:
    """Seeds with the testcase's own number."""
    global _seed
    _seed = seed
    numpy = sys.modules.get(_NUMPY)
    kept = _kept.get(module) or _kept.get(None)
    if numpy is not None and kept is not None:
        # It may have another kind of generator by now.
        with contextlib.suppress(Exception):
            numpy.set_state(kept)
    elif numpy is not None:
        _seed_numpy(numpy)
    if _HYPOTHESIS in sys.modules:
        _seed_hypothesis(sys.modules[_HYPOTHESIS])


def _seed_numpy(numpy: Any) -> None:
    global _made
    if _seed is not None:
        with contextlib.suppress(Exception):
            numpy.seed(_seed % 2**32)
            _made = numpy.get_state()


def _seed_hypothesis(core: Any) -> None:
    """Does what its option `--hypothesis-seed` does for pytest, unless somebody else has."""
    global _forced
    if _seed is not None and getattr(core, "global_force_seed", 0) in (None, _forced):
        core.global_force_seed = _forced = _seed


def _state() -> Any:
    with contextlib.suppress(Exception):
        return sys.modules[_NUMPY].get_state()
    return None


def _is_set_since(before: Any) -> bool:
    """Says whether somebody has set NumPy's state, and not only drawn numbers, since it was this.

    If they only drew, what comes next is somewhere in what came after it then.
    """
    try:
        following = _drawn(_state(), 16)
        return _drawn(before, 16) != following and following not in _drawn(before, _DRAWN_BYTES_MAX)
    except Exception:
        return True


def _drawn(state: Any, count: int) -> bytes:
    """Returns the next bytes after a state, without drawing them from the global generator."""
    module = sys.modules[_NUMPY]
    # `RandomState(0)` would ask the system for random numbers first, as if the user's module did.
    generator = module.RandomState(module.MT19937(0))
    generator.set_state(state)
    return generator.bytes(count)
