"""The kernel's side of the fork server: parent death, orphans, descriptors of processes.

Linux only, through `ctypes`, since Python has no functions for these. Invariant: each function
reports whether it worked; nothing in here raises because a kernel does not support it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from typing import Any

from cocorun_agent import output

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CHILDREN_BYTES_MAX = 4096

_SHARED_MAPPING = re.compile(rb"^\S+ rw.s .*", re.MULTILINE)
"""A line of `/proc/PID/maps`."""

_SYS_PIDFD_OPEN = 434
"""The same on every architecture; Python 3.8 has no name for it."""


def die_with_parent() -> bool:
    """Makes the kernel kill this process when the one that forked it ends."""
    return _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def adopt_orphans() -> bool:
    """Makes this process the parent of every descendant whose own parent ends."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def descriptor_of(pid: int) -> int | None:
    """Returns a descriptor that becomes readable when process `pid` ends, if supported."""
    with contextlib.suppress(Exception):
        if hasattr(os, "pidfd_open"):
            return os.pidfd_open(pid)
        fd = output.libc().syscall(_SYS_PIDFD_OPEN, pid, 0)
        return fd if fd >= 0 else None
    return None


def children_of(pid: int) -> set[int]:
    """Returns the children of a process, including zombies."""
    children: set[int] = set()
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                children.update(int(child) for child in file.read().split())
    return children


class Children:
    """The children of this process, which has one thread, looked up again and again."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._fd: int | None = None
        with contextlib.suppress(OSError):
            path = f"/proc/self/task/{self._pid}/children"
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def now(self) -> set[int]:
        """Returns those there are, including zombies."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                data = os.pread(self._fd, _CHILDREN_BYTES_MAX, 0)
                if len(data) < _CHILDREN_BYTES_MAX:
                    return set(map(int, data.split()))
        return children_of(self._pid)

    def are_others_than(self, count: int) -> bool:
        """Says whether there are more or fewer than so many, or that cannot be said at once."""
        if self._fd is None:
            return True
        try:
            data = os.pread(self._fd, _CHILDREN_BYTES_MAX, 0)
        except OSError:
            return True
        return data.count(b" ") != count or len(data) == _CHILDREN_BYTES_MAX

    def close(self) -> None:
        """Closes what a copy of this process must not have."""
        if self._fd is not None:
            os.close(self._fd)


def kill_tree(pid: int) -> None:
    """Kills a process and its descendants."""
    for child in children_of(pid):
        kill_tree(child)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def threads() -> int:
    """Returns how many threads this process has."""
    return len(os.listdir("/proc/self/task"))


def open_for_writing(known: set[int]) -> list[str]:
    """Returns the names of regular files this process writes to, `known` descriptors left out."""
    import fcntl
    import stat

    names = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        with contextlib.suppress(OSError):
            flags = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
            is_file = stat.S_ISREG(os.fstat(fd).st_mode)
            if fd not in known and is_file and flags != os.O_RDONLY:
                names.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(names)


def shared_mappings() -> set[bytes]:
    """Returns the memory that this process would share with its copies, and may write."""
    with contextlib.suppress(OSError), open("/proc/self/maps", "rb", buffering=0) as file:
        return set(_SHARED_MAPPING.findall(file.readall()))
    return set()


def _prctl(option: int, value: int) -> bool:
    libc: Any = output.libc()
    return libc is not None and libc.prctl(option, value, 0, 0, 0) == 0
