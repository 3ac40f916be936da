"""Whether this process can be forked although it has threads.

A copy of a process has only the thread that forked. Some libraries allow for that: OpenBLAS, and with
it NumPy, ends its threads before each fork (pthread_atfork(3)) and starts them again when it needs
them. Whether a library does so cannot be looked up, so it is tried: a copy of the process is made that
ends at once, and the threads are counted in both. Only threads that Python does not know may be
treated like that: nobody can end those of `threading`.

Invariant: if `obstacle` returns nothing, this process has one thread, and a copy of it would have one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Iterator

from cocorun_agent import processes

_LIMIT_S = 10
"""How long a copy may take to start and to end; it takes a millisecond."""

_STRAGGLER_LIMIT_S = 0.5
"""How long a thread that has been joined may still be listed by the kernel."""

_LOOK_AGAIN_S = 0.0005


def obstacle() -> str | None:
    """Returns why this process cannot be forked because of its threads, or nothing if it can."""
    count = processes.threads()
    if count == 1:
        return None
    words = f"the process has {count} threads, and only one survives a fork"
    if _knows_other_threads():
        return words
    copies_end = _try_fork()
    if copies_end is None:
        return f"the process has {count} threads, and a copy of it hangs"
    return None if copies_end and _is_alone_soon() else words


def _knows_other_threads() -> bool:
    # Threads that C code starts have a Python frame while they run Python code.
    return len(threading.enumerate()) > 1 or len(sys._current_frames()) > 1


def _try_fork() -> bool | None:
    """Says whether a copy has one thread; nothing if it does not end.

    A library that hangs before the fork, in this process, cannot be left in any other way than by a
    signal that kills it: so this server ends, and whatever it would have forked is started otherwise.
    """
    with _own_signals() as are_own:
        if not are_own:
            return False
        signal.setitimer(signal.ITIMER_REAL, _LIMIT_S)
        try:
            pid = _fork()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return _status_of(pid)


def _fork() -> int:
    """Makes a copy that ends at once, with status 0 if it has one thread."""
    import ctypes

    # Not by `os.fork`, which also calls functions of Python's and, from 3.12 on, warns of threads.
    pid: int = ctypes.PyDLL(None).fork()
    if pid < 0:
        raise OSError("fork failed")
    if pid == 0:
        status = 1
        try:
            status = 0 if processes.threads() == 1 else 1
        finally:
            os._exit(status)
    return pid


def _status_of(pid: int) -> bool | None:
    """Waits for a copy, and kills it if it does not end."""
    until = time.monotonic() + _LIMIT_S
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status == 0
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(_LOOK_AGAIN_S)


def _is_alone_soon() -> bool:
    """Says whether the threads are gone in this process, too."""
    until = time.monotonic() + _STRAGGLER_LIMIT_S
    while processes.threads() > 1:
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True


@contextlib.contextmanager
def _own_signals() -> Iterator[bool]:
    """Gives the signals that are used here their default actions; says whether that is possible."""
    used = (signal.SIGALRM, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in used]
    if None in before or signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0):
        # A handler in C could not be put back, and somebody else's timer not either.
        yield False
        return
    for number in used:
        signal.signal(number, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    try:
        yield True
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, action in zip(used, before):
            signal.signal(number, action)
