"""Saves the interpreter work on modules that are not the user's, at its start and at its end.

Some four hundred modules are imported before the user's first one, and `Py_FinalizeEx` takes all
of them apart again, object by object: together a fifth of a short spawned run's processor time, and
more of a forked one's, where every touch copies a memory page. So the garbage collector is off
until user code begins, and the modules loaded by then are hidden from the interpreter at the very
end. Everything else is as usual: threads are joined, exit functions run, the user's own modules are
emptied and its objects finalised by the interpreter itself, and the simulator goes on to its own
end (final blocks, waves, coverage, C buffers). An object that a testcase stored in a hidden module
is not finalised; if it is an open file, it is flushed.

Invariant: unless `user_code_begins` is called, the interpreter ends as usual.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import itertools
import sys
from typing import Any, Iterator

_hidden: dict[str, Any] = {}

_kept: list[Any] = []
"""The interpreter's last flush uses `sys.stderr` without a reference of its own."""

_collecting = gc.isenabled()

# This module is imported first of all, which also makes its exit function the last to run.
gc.disable()


def last_modules() -> Iterator[tuple[str, Any]]:
    """Returns what is imported, the last one first. A list of all would copy a page for each."""
    items = sys.modules.items()
    # Python 3.7 cannot go backwards.
    return reversed(items if sys.version_info >= (3, 8) else list(items))  # type: ignore[call-overload]


def hide_what_is_imported() -> None:
    """Notes what exists now; a server does so for its children, which add what is new."""
    new = len(sys.modules) - len(_hidden)
    _hidden.update(itertools.islice(last_modules(), max(new, 0)))


def user_code_begins() -> None:
    """Ends the start-up: what exists now is neither collected nor finalised."""
    hide_what_is_imported()
    gc.freeze()
    resume_collection()


def resume_collection() -> None:
    """Turns the garbage collector on again, if it was on."""
    if _collecting:
        gc.enable()


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
        """Flushes the stream and, once the interpreter ends, hides the modules."""
        with contextlib.suppress(Exception):
            self._stream.flush()
        if sys.is_finalizing():
            sys.stderr = self._stream
            with contextlib.suppress(Exception):
                flush_open_files()
            with contextlib.suppress(Exception):
                _hide()


def _hide() -> None:
    """Hides the modules, with everything they hold, from the interpreter for good."""
    import ctypes

    # One reference that is never released keeps them.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_hidden))
    modules = sys.modules
    for name, module in _hidden.items():
        if modules.get(name) is module:
            del modules[name]


def flush_open_files() -> None:
    """Flushes the user's open files; older ones are not among these objects."""
    files = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    for item in gc.get_objects():
        # `isinstance` would ask a proxy object for its `__class__`, and run user code.
        if issubclass(type(item), files):
            with contextlib.suppress(Exception):
                if not item.closed:
                    item.flush()


@atexit.register
def _at_exit() -> None:
    """Runs after every exit function that was registered later, so nearly as the last."""
    if _hidden:
        _kept.append(_LastFlush(sys.stderr))
        sys.stderr = _kept[0]
