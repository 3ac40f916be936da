"""Ends a forked child's interpreter without taking the inherited one apart.

`Py_FinalizeEx` empties every module, object by object. In a child of the fork server nearly all of
them were made before the fork, nobody needs them emptied, and every touch copies a memory page. So
the inherited modules are hidden from it at the last moment. All else is as always: threads are
joined, exit functions run, the testcase's own modules are emptied and its objects finalised by the
interpreter itself, and the simulator then goes on to its own end (final blocks, waves, coverage, C
buffers). An object that the testcase stored in an inherited module is not finalised; if it is an
open file, it is flushed.

Invariant: without `arm` nothing changes at all.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import sys
from typing import Any

_inherited: dict[str, Any] = {}
_armed = False


def arm() -> None:
    """Remembers the modules of now as inherited; to be called in the child, right after `fork`."""
    global _armed
    _armed = True
    _inherited.update(sys.modules)


class _LastFlush:
    """Stands in for `sys.stderr` while exit functions registered before ours still run.

    The interpreter flushes its streams once after the last exit function and before it looks at
    any module: this is where the modules are hidden.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def flush(self) -> None:
        """Flushes the stream and, once the interpreter ends, hides the inherited modules."""
        with contextlib.suppress(Exception):
            self._stream.flush()
        if sys.is_finalizing():
            sys.stderr = self._stream
            with contextlib.suppress(Exception):
                _flush_open_files()
                _hide_inherited()


def _hide_inherited() -> None:
    """Takes the inherited modules out of the interpreter's sight, with all they hold, for good."""
    import ctypes

    # One reference that is never given back keeps them.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_inherited))
    modules = sys.modules
    for name, module in _inherited.items():
        if modules.get(name) is module:
            del modules[name]


def _flush_open_files() -> None:
    """Flushes the testcase's open files; those of the server are not among these objects."""
    for item in gc.get_objects():
        if isinstance(item, (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)):
            with contextlib.suppress(Exception):
                if not item.closed:
                    item.flush()


@atexit.register
def _at_exit() -> None:
    """Runs after every exit function that was registered later, so nearly as the last."""
    if _armed:
        sys.stderr = _LastFlush(sys.stderr)
