"""Forks by the C library's `fork`, without the reset of locks and threads that `os.fork` does in a child.

`os.fork` gives locks that nobody holds, and lists of threads, a new state, and has libraries do the
same. In a server's child that copies some 200 pages, a seventh of what a short testcase takes. A
server has one thread, so that leaves everything as it was, but for two things: the number that the
kernel has given the main thread, which is set here, and the state of `random`, which is that of the
server and not drawn from the system.

Invariant: if a library has registered anything else for forks, or the interpreter is not known, a
fork is `os.fork`.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import sys
import threading
import types
from typing import Any, Callable

_KNOWN = {
    ("asyncio.events", "on_fork"),
    ("logging", "_acquireLock"),
    ("logging", "_afterFork"),
    ("logging", "_after_at_fork_child_reinit_locks"),
    ("logging", "_prepareFork"),
    ("logging", "_releaseLock"),
    ("threading", "_after_fork"),
}
"""Functions for forks that change nothing in a process with one thread that holds no lock."""

_PYTHONS = ((3, 8), (3, 13))

_LISTS = 3

_registered: list[list[Any]] = []
"""What is called before a fork, and after it in both processes: the interpreter's own lists."""

_fork: Callable[[], int] = os.fork


def find_registered() -> None:
    """Finds what is called at a fork; for a server, before anything is frozen."""
    if len(_registered) == _LISTS:
        # By the process that has forked this one, which has frozen them since.
        return
    examples = [
        threading._after_fork,  # type: ignore[attr-defined]
        *(getattr(logging, name, None) for name in ("_acquireLock", "_prepareFork")),
        *(getattr(logging, name, None) for name in ("_releaseLock", "_afterFork")),
    ]
    examples = [example for example in examples if example is not None]
    _registered[:] = [
        found
        for found in gc.get_referrers(*examples)
        if type(found) is list and found is not examples
    ]


def prepare() -> None:
    """Chooses how to fork; for a server, before it does."""
    global _fork
    _fork = os.fork
    with contextlib.suppress(Exception):
        if _is_known_python() and len(_registered) == _LISTS and all(map(_is_known, sum(_registered, []))):
            import ctypes

            # As `PyDLL`, it is called without releasing the interpreter's lock.
            _fork = ctypes.PyDLL(None).fork


def fork() -> int:
    """Forks as `os.fork` does."""
    pid = _fork()
    if pid > 0:
        return pid
    if pid < 0:
        # It says why.
        return os.fork()
    try:
        threading._main_thread._set_native_id()  # type: ignore[attr-defined]
    except BaseException:
        # There must never be a second server.
        os._exit(1)
    return 0


def _is_known_python() -> bool:
    is_traced = getattr(sys, "is_stack_trampoline_active", bool)()
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    first, last = _PYTHONS
    is_between = first <= sys.version_info[:2] <= last
    return sys.implementation.name == "cpython" and is_between and has_lock and not is_traced


def _is_known(function: Any) -> bool:
    if type(function) is types.BuiltinFunctionType:
        # A lock is taken before a fork, and released after it.
        return type(function.__self__).__module__ == "_thread"
    if type(function) is types.MethodType:
        return function.__self__ is random._inst  # type: ignore[attr-defined]
    name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return name in _KNOWN
