"""NumPy's global generator, which a fork would copy into every child in the same state.

A spawned process gets a different state each time NumPy is imported, or the seed that the user's
module sets. Invariant: a child draws from a fresh seed if nothing has touched the generator since
it was created, and else from the state in which the preloaded modules left it.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Iterator

_MODULE = "numpy.random"

_made: Any = None
"""The state in which the import left it."""


class _Watch:
    """Comes before all other finders, so that it notices when the module has been imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Finds what the others find, and records the import of this one module."""
        if name != _MODULE:
            return None
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find is not None else None
            if spec is not None:
                with contextlib.suppress(Exception):
                    _note_after(spec.loader)
                return spec
        return None


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Records the generator's initial state if it is created meanwhile; for the server."""
    watch = _Watch()
    sys.meta_path.insert(0, watch)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.remove(watch)  # type: ignore[arg-type]
        _note()


def refresh() -> None:
    """Seeds the generator in a child as an import there would have, if it is in its initial state.

    `random` needs nothing: it draws a seed after a fork by itself, and cocotb seeds it for each
    testcase.
    """
    with contextlib.suppress(Exception):
        if _made is not None and _state() == _made:
            sys.modules[_MODULE].seed()


def _note_after(loader: Any) -> None:
    execute = loader.exec_module

    def exec_module(module: Any) -> None:
        # One loader may have been found for several modules.
        vars(loader).pop("exec_module", None)
        execute(module)
        _note()

    loader.exec_module = exec_module


def _note() -> None:
    global _made
    if _made is None:
        with contextlib.suppress(Exception):
            _made = _state()


def _state() -> Any:
    kind, key, *rest = sys.modules[_MODULE].get_state()
    return kind, bytes(key), rest
