"""The process's own output: order of its lines, and where a testcase's part begins.

Python and the simulator write to the same descriptor through two buffers. Both are made
line-buffered, so that the log shows what happened in the order it happened and a crash loses at
most one unfinished line. Invariant: a failure here is silent and harmless; the log is less tidy.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import Any

from cocorun_agent import waiting

_IOLBF = 1

_libc: Any = None


def prepare() -> None:
    """Makes the C library's and Python's standard output line-buffered.

    C's `stdout` is switched with `setvbuf` and without a buffer, which the GNU and musl libraries
    allow at any time.
    """
    global _libc
    with contextlib.suppress(Exception):
        import ctypes

        _libc = ctypes.CDLL(None)
        stdout = ctypes.c_void_p.in_dll(_libc, "stdout")
        _libc.setvbuf(stdout, None, _IOLBF, ctypes.c_size_t(0))
    with contextlib.suppress(Exception):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def explain_crashes(dump_signal: int | None, wait_signal: int | None) -> None:
    """Makes Python write its stack to descriptor 2 when the process crashes or is asked to.

    The handler of `dump_signal` runs even in a loop that never returns to Python, writes where
    every thread is, and lets the process continue. Then comes where the testcase waits, as text
    and as an event.
    """
    with contextlib.suppress(Exception):
        import faulthandler

        faulthandler.enable(file=2, all_threads=False)
        if dump_signal is None:
            return
        is_answered = False
        with contextlib.suppress(Exception):
            waiting.answer(dump_signal)
            is_answered = True
        faulthandler.register(dump_signal, file=2, all_threads=True, chain=is_answered)
        if wait_signal is not None:
            waiting.answer_at_once(_libc, wait_signal)


def libc() -> Any:
    """Returns the C library through `ctypes`, or nothing if that is not available."""
    return _libc


def flush() -> None:
    """Flushes what Python and the C library have buffered."""
    # Each run does this often: `contextlib.suppress` would touch pages that a server shares.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S110
            pass
    if _libc is not None:
        try:
            _libc.fflush(None)
        except Exception:  # noqa: S110
            pass


def log_offset() -> int | None:
    """Returns the size in bytes of the log behind descriptor 1, or nothing if it is not a file."""
    flush()
    try:
        status = os.fstat(1)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
