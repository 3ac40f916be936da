"""What an import does that the forked copies of one process would share, or have in common.

A module server imports a test module once, and each testcase runs in a copy of it. Almost all that
an import does is in the process's memory and is copied. What is not: descriptors and their offsets,
threads, other processes, shared memory, timers, files written. And what should differ from process
to process would be the same in all copies: the time, random numbers from the system, the process
id, the working directory, the run's own variables.

All of this is noticed here, while the import goes on and right after it; a module that does any of
it is imported by each testcase's own process. Where there is doubt it is counted as done.

Invariant: once `end` has returned, modules and their attributes are what they would be without the
watch; only the audit hook remains, which Python cannot remove, and which does nothing then.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import resource
import signal
import sys
import sysconfig
import time
import types
from typing import Any, Callable

from cocorun_agent import interpreter, processes

_FINDINGS_MAX = 3

_CLOCKS = (
    "clock_gettime",
    "clock_gettime_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "process_time",
    "process_time_ns",
    "thread_time",
    "thread_time_ns",
    "time",
    "time_ns",
)

_CLOCKS_WITHOUT_ARGUMENT = ("ctime", "gmtime", "localtime")
"""They read the clock only if they are given no time."""

_OWN_VARIABLES = (b"COCORUN_RUN_ID", b"COCORUN_SLOT", b"COCOTB_RESULTS_FILE")
"""They differ from run to run."""

_HARMLESS = (
    "cocorun_agent.",
    "cocotb.",
    "concurrent.futures.thread",
    "inspect",
    "logging",
    "multiprocessing.process",
    "pluggy.",
    "_pytest.",
)
"""Modules, or with a dot packages, that read clocks, folders and ids and keep nothing that matters."""

_BETWEEN = ("pathlib", "posixpath")
"""They ask for the working directory on behalf of their own callers."""

_SEEDED = "numpy.random"
"""What it draws while it is imported does not count: the agent seeds it right after."""

_EVENTS = {
    "_thread.start_new_thread": "starts a thread",
    "fcntl.flock": "locks a file",
    "fcntl.lockf": "locks a file",
    "mmap.__new__": "maps memory",
    "os.chdir": "changes the working directory",
    "os.chmod": "writes files",
    "os.chown": "writes files",
    "os.exec": "starts a process",
    "os.fchdir": "changes the working directory",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.kill": "sends a signal",
    "os.killpg": "sends a signal",
    "os.link": "writes files",
    "os.posix_spawn": "starts a process",
    "os.remove": "removes files",
    "os.rmdir": "removes files",
    "os.spawn": "starts a process",
    "os.symlink": "writes files",
    "os.system": "starts a process",
    "os.truncate": "writes files",
    "os.utime": "writes files",
    "pty.spawn": "starts a process",
    "socket.__new__": "opens a socket",
    "sqlite3.connect": "opens a database",
    "subprocess.Popen": "starts a process",
    "tempfile.mkdtemp": "makes temporary files",
    "tempfile.mkstemp": "makes temporary files",
}
"""Audit events that count whatever their arguments; see Python's table of them."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_ASKS_FOR_NOW = re.compile(
    rb"[.'\"]\s*(?:now|utcnow|today)\b|\b(?:uuid1|localtime|get_native_id)\b"
)
"""`datetime`'s classes are C and cannot be watched: that the user's own source names these counts."""

_INSTALLED = tuple(
    os.path.join(path, "")
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def effect_of(event: str, args: tuple[Any, ...]) -> str | None:
    """Returns what an audit event does outside of this process, or to the process, in words."""
    if event == "open":
        path, _, flags = args
        is_writing = isinstance(flags, int) and flags & _WRITING
        return "opens a file for writing" if is_writing and not _is_byte_code(path) else None
    if event in ("os.mkdir", "os.rename"):
        return None if _is_byte_code(args[-3]) else "writes files"
    if event.startswith("shutil."):
        return "writes files"
    return _EVENTS.get(event)


class _Variables(dict):  # type: ignore[type-arg]
    """The data of `os.environ`, which notices that a run's own variable is read."""

    note: Callable[[], None]

    def __getitem__(self, name: Any) -> Any:
        if name in _OWN_VARIABLES:
            self.note()
        return super().__getitem__(name)

    def items(self) -> Any:
        self.note()
        return super().items()

    def values(self) -> Any:
        self.note()
        return super().values()

    def copy(self) -> Any:
        self.note()
        return super().copy()


class _Noticing:
    """Stands in for a function; like a builtin one, it does not become a method in a class."""

    def __init__(
        self, original: Any, called: Callable[[tuple[Any, ...], dict[str, Any]], None]
    ) -> None:
        functools.update_wrapper(self, original)
        self.original = original
        self._called = called

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._called(args, kwargs)
        return self.original(*args, **kwargs)


class Watch:
    """Watches one import."""

    def __init__(self) -> None:
        self._findings: list[str] = []
        self._is_on = False
        self._undo: list[Callable[[], None]] = []
        self._noticing: list[_Noticing] = []
        self._last: Any = None
        self._fds: set[str] = set()
        self._shared_memory: set[str] = set()

    def begin(self) -> None:
        """Begins to watch."""
        self._last = next(interpreter.last_modules())
        self._fds = open_descriptors()
        self._shared_memory = processes.shared_mappings()
        sys.addaudithook(self._audit)
        for name in _CLOCKS:
            self._notice(time, name, "reads the clock")
        for name in _CLOCKS_WITHOUT_ARGUMENT:
            self._notice(time, name, "reads the clock", lambda args, _: args[:1] in ((), (None,)))
        self._notice(time, "strftime", "reads the clock", lambda args, _: len(args) < 2)
        self._notice(os, "times", "reads the clock")
        self._notice(resource, "getrusage", "reads the clock")
        for name in ("getpgid", "getpgrp", "getpid", "getppid", "getsid"):
            self._notice(os, name, "reads its process id")
        for name in ("mkfifo", "mknod"):
            self._notice(os, name, "writes files")
        self._notice(os, "readlink", "reads `/proc`", lambda args, _: _is_of_proc(args[0]))
        for name in ("getcwd", "getcwdb"):
            self._notice(os, name, "reads its working directory")
        for name in ("getrandom", "urandom"):
            self._notice(os, name, "draws random numbers from the system")
        self._notice(os, "register_at_fork", "prepares for a fork")
        self._notice(random, "_urandom", "draws random numbers from the system")
        self._notice(random, "seed", "draws random numbers from the system", _is_fresh)
        self._watch_generators()
        self._watch_variables()
        self._is_on = True

    def end(self) -> None:
        """Ends the watch, and looks for what the import has left behind."""
        self._is_on = False
        for undo in self._undo:
            undo()
        self._undo.clear()
        new = self._new_modules()
        seen: set[int] = set()
        for module in new:
            _restore(module, seen)
        for noticing in self._noticing:
            # The list, the name in this loop, and the argument of the call.
            if sys.getrefcount(noticing) > 3:
                self._found(f"it keeps `{noticing.__name__}`")
        threads = processes.threads()
        if threads > 1:
            self._found(f"the process has {threads} threads")
        if processes.children_of(os.getpid()):
            self._found("it leaves a process running")
        if open_descriptors() - self._fds:
            self._found("it leaves files or sockets open")
        if processes.shared_mappings() - self._shared_memory:
            self._found("it makes shared memory")
        timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
        if any(signal.getitimer(timer) != (0.0, 0.0) for timer in timers):
            self._found("it starts a timer")
        for module in new:
            if _may_ask_for_now(module):
                self._found(f"`{module.__name__}` may read the clock")

    def _new_modules(self) -> list[Any]:
        """Returns the modules that stand after what was the last one at the beginning."""
        new: list[Any] = []
        name, last = self._last
        try:
            for other, module in interpreter.last_modules():
                if other == name and module is last:
                    break
                new.append(module)
        except RuntimeError:
            # A thread that the import has left goes on importing.
            return list(sys.modules.values())
        return new[::-1]

    def findings(self) -> str | None:
        """Returns what was noticed, in words, or nothing."""
        return "; ".join(self._findings) or None

    def _found(self, words: str) -> None:
        if words not in self._findings and len(self._findings) < _FINDINGS_MAX:
            self._findings.append(words)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._is_on:
            return
        words = effect_of(event, args)
        if words is not None:
            self._found(f"it {words}")
        elif event == "open" and _is_of_proc(args[0]):
            self._found("it reads `/proc`")

    def _notice(
        self,
        owner: Any,
        name: str,
        words: str,
        counts: Callable[[tuple[Any, ...], dict[str, Any]], bool] = lambda args, kwargs: True,
    ) -> None:
        """Notices calls of a function of a module."""
        original = getattr(owner, name, None)
        if original is None:
            return

        def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._is_on and counts(args, kwargs) and not _is_harmless(sys._getframe(2)):
                self._found(f"it {words}")

        noticing = _Noticing(original, called)
        self._noticing.append(noticing)
        setattr(owner, name, noticing)

        def undo() -> None:
            if getattr(owner, name, None) is noticing:
                setattr(owner, name, original)
            else:
                self._found(f"it replaces `{owner.__name__}.{name}`")

        self._undo.append(undo)

    def _watch_generators(self) -> None:
        """Notices that a generator is made that the system seeds."""
        original = random.Random.seed

        @functools.wraps(original)
        def seed(this: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_on and _is_fresh(args, kwargs) and not _is_harmless(sys._getframe(1)):
                self._found("it draws random numbers from the system")
            return original(this, *args, **kwargs)

        random.Random.seed = seed  # type: ignore[method-assign]

        def undo() -> None:
            if random.Random.seed is seed:
                random.Random.seed = original  # type: ignore[method-assign]
            else:
                self._found("it replaces `random.Random.seed`")

        self._undo.append(undo)

    def _watch_variables(self) -> None:
        data = os.environ._data  # type: ignore[attr-defined]
        if type(data) is not dict:
            self._found("something else watches the environment")
            return
        watched = _Variables(data)
        watched.note = self._note_variable

        def share(data: Any) -> None:
            os.environ._data = data  # type: ignore[attr-defined]
            os.environb._data = data  # type: ignore[attr-defined]

        share(watched)

        def undo() -> None:
            if os.environ._data is watched:  # type: ignore[attr-defined]
                share(dict(watched))
            else:
                self._found("it replaces the environment")

        self._undo.append(undo)

    def _note_variable(self) -> None:
        if self._is_on:
            self._found("it reads variables of its own run")


def _restore(owner: Any, seen: set[int]) -> None:
    """Undoes `from time import time`, `clock = time.time` in a class, `def f(clock=time.time)`."""
    names = getattr(owner, "__dict__", None)
    if id(owner) in seen or not isinstance(names, (dict, types.MappingProxyType)):
        return
    seen.add(id(owner))
    module = owner.__name__ if isinstance(owner, types.ModuleType) else vars(owner).get("__module__")
    for name, value in list(names.items()):
        if type(value) is _Noticing:
            setattr(owner, name, value.original)
        elif type(value) is types.FunctionType:
            if value.__defaults__:
                value.__defaults__ = tuple(map(_original, value.__defaults__))
            for keyword, default in (value.__kwdefaults__ or {}).items():
                value.__kwdefaults__[keyword] = _original(default)
        elif isinstance(value, type) and value.__module__ == module:
            _restore(value, seen)


def _original(value: Any) -> Any:
    return value.original if type(value) is _Noticing else value


def _is_of_proc(path: Any) -> bool:
    try:
        return os.fsdecode(path).startswith("/proc/")
    except TypeError:
        return False


def _is_fresh(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Says whether a generator is given no seed."""
    return (args[0] if args else kwargs.get("a")) is None


def _is_byte_code(path: Any) -> bool:
    """Says whether a path is one of those that the import system itself writes."""
    try:
        path = os.fspath(path)
    except TypeError:
        # A descriptor: opening it opens no file.
        return True
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    name = os.path.basename(path)
    prefix = sys.pycache_prefix
    is_below = prefix is not None and path.startswith(os.path.join(prefix, ""))
    return is_below or ".pyc" in name or name == "__pycache__" or path == os.devnull


def _is_harmless(frame: Any) -> bool:
    name = _module_of(frame)
    while frame.f_back is not None and name.partition(".")[0] in _BETWEEN:
        frame = frame.f_back
        name = _module_of(frame)
    if any(name == known or (known[-1] == "." and name.startswith(known)) for known in _HARMLESS):
        return True
    seeded = sys.modules.get(_SEEDED)
    spec = getattr(seeded, "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _module_of(frame: Any) -> str:
    return str(frame.f_globals.get("__name__") or "")


def open_descriptors() -> set[str]:
    """Returns the open descriptors, each with what it stands for."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        # The folder itself is open while it is read.
        with contextlib.suppress(OSError):
            os.stat(int(fd))
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
    return found


def _may_ask_for_now(module: Any) -> bool:
    """Says whether a module that is not installed names a function that reads the date."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return False
    if file.startswith(_INSTALLED):
        return False
    try:
        with open(file, "rb") as source:
            return _ASKS_FOR_NOW.search(source.read()) is not None
    except OSError:
        return True
