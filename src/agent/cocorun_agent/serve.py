"""The fork server: one elaborated simulator, one forked child for each module or run.

The server waits at time 0 of the simulation, before cocotb is initialised, with everything imported
that a run imports, except the user's modules. Each message on the request socket creates one child,
which returns from here and continues into cocotb as a separate process.

Invariants: the first server never runs user code; none ever advances the simulation; every child is
reported when it starts and, exactly once, when it ends; nothing a child started outlives it for
longer than the runs at the same time, and nothing at all outlives the server's orderly end.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
from typing import Any, Iterable, NoReturn

from cocorun_agent import (
    child,
    events,
    imports,
    mapped_code,
    output,
    processes,
    pytest_config,
    quick_end,
    quick_exit,
    seeds,
    threads,
)
from cocorun_agent.reporter import Reporter
from cocorun_agent.request import Request

MESSAGE_BYTES_MAX = 256 * 1024
"""More than a socket buffer takes by default; longer requests go into a `request_file`."""

_PROVEN_COCOTB = ("1.9.", "2.0.", "2.1.")

_WARM = (
    "cocotb_tools._coverage",
    "cocotb.logging",
    "cocotb._init",
    "cocotb.handle",
    "cocotb.regression",
    "cocotb.clock",
    "cocotb.queue",
    "cocotb.triggers",
    "cocotb.types",
    "cocotb.utils",
    "difflib",
    "unittest.main",
    "xml.etree.ElementTree",
    "cocorun_agent.v1",
    "cocorun_agent.v1_checkpoint",
    "cocorun_agent.v2",
    "cocorun_agent.v2_checkpoint",
)
"""In the order of cocotb 2.x's own entry points; those that a version does not have are skipped."""

_COVERAGE = ("COCOTB_USER_COVERAGE", "COVERAGE")
"""Coverage of the user's code, which cocotb begins to measure before it imports a test module."""

_TRUNCATED = int(socket.MSG_TRUNC)
_ROOM = socket.CMSG_SPACE(2 * array.array("i", [0]).itemsize)
_KILL = int(signal.SIGKILL)
"""Numbers, since each operation on an enumeration touches pages that a child shares."""
SERVING = ("serve_module", "serve_checkpoint")
"""Modes of children that serve."""

_LOOK_AGAIN_MS = 20
"""Interval of checks for ended children, if the kernel has no descriptors for processes."""


def warm() -> None:
    """Imports what cocotb and pytest import in a run, and none of the user's modules."""
    for name in _WARM:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    if os.environ.get("COCOTB_REWRITE_ASSERTION_FILES", "*.py").strip():
        pytest_config.prepare()
    # What is made at its first use: OpenSSL's tables of the hash from which cocotb makes seeds, and
    # a generic type.
    with contextlib.suppress(Exception):
        import hashlib

        hashlib.sha1(b"").hexdigest()
    with contextlib.suppress(Exception):
        from cocotb.task import Task

        Task[None]


def preload(reporter: Reporter, modules: list[str]) -> None:
    """Imports modules that the user wants in every child, with assertions rewritten.

    They see no `cocotb.top` and no plusargs. Modules that cannot be preloaded are reported, and
    imported by the children.
    """
    with pytest_config.rewriting():
        imports.take_the_lead()
        imports.look_around()
        seeds.preload()
        for name in modules:
            before = processes.threads()
            try:
                importlib.import_module(name)
            except BaseException as error:
                reporter.preload_error(name, error)
            else:
                if processes.threads() > before and threads.obstacle() is not None:
                    words = "importing it starts threads that do not end before a fork"
                    reporter.preload_error(name, RuntimeError(words))


def obstacle(wanted: Request) -> str | None:
    """Returns why this process cannot be forked safely, or nothing if it can."""
    import cocotb

    if not cocotb.__version__.startswith(_PROVEN_COCOTB):
        return f"forking is not proven with cocotb {cocotb.__version__}"
    if output.libc() is None:
        return "this Python has no working ctypes"
    if os.environ.get("COCOTB_LIBRARY_COVERAGE"):
        return "COCOTB_LIBRARY_COVERAGE measures from the very start"
    alive = threads.obstacle()
    if alive is not None:
        return alive
    known = {0, 1, 2, wanted.event_fd or 0, wanted.request_fd or 0}
    files = processes.open_for_writing(known)
    if files:
        return f"the simulator already writes to {', '.join(files)}"
    return None


class Server:
    """Waits for requests and forks."""

    def __init__(self, reporter: Reporter, wanted: Request) -> None:
        self._reporter = reporter
        self._pid = os.getpid()
        self._served = wanted
        self._socket = socket.socket(fileno=wanted.request_fd)
        if self._socket.type != socket.SOCK_SEQPACKET:
            raise ValueError("the request socket does not keep messages apart")
        self._socket.set_inheritable(False)
        self._run_by_pid: dict[int, Any] = {}
        self._pidfd_by_pid: dict[int, int] = {}
        self._servers: set[int] = set()
        self._runs_by_orphan: dict[int, set[int]] = {}
        self._children = processes.Children()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def run(self) -> Request:
        """Serves until the socket closes; returns only in a child, with its request."""
        # If inherited as ignored, it would make the kernel reap the children and lose their status.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        processes.adopt_orphans()
        self._prepare()
        self._reporter.send(events.serving(pid=self._pid))
        while True:
            all_watched = len(self._pidfd_by_pid) == len(self._run_by_pid)
            ready = [fd for fd, _ in self._poll.poll(None if all_watched else _LOOK_AGAIN_MS)]
            self._reap()
            if self._socket.fileno() in ready:
                wanted = self._answer()
                if wanted is not None:
                    return wanted

    def _prepare(self) -> None:
        child.forget_user_paths()
        gc.collect()
        gc.freeze()
        quick_end.prepare()
        quick_exit.prepare(output.libc(), self._served.has_foreign_code)
        mapped_code.keep_for_children()

    def _check(self, wanted: Request) -> None:
        """Raises if this server cannot serve a request."""
        if wanted.mode == "serve":
            raise ValueError("a child cannot serve")
        if wanted.mode in SERVING:
            for name in _COVERAGE:
                if wanted.env_set.get(name, os.environ.get(name)):
                    raise ValueError(f"{name} writes one file for each process")

    def _expect_same(self, wanted: Request, names: Iterable[str], whose: str) -> None:
        """Raises if a request differs from this server's own in what has been used already."""
        for name in names:
            if getattr(wanted, name) != getattr(self._served, name):
                raise ValueError(f"it has other {name} than the {whose} server")

    def _answer(self) -> Request | None:
        """Takes one message; returns a value only in a child: its request."""
        data, fds, flags = self._receive()
        if not data:
            self._end()
        run: int | None = None
        try:
            if flags & _TRUNCATED:
                raise ValueError(f"a message is longer than {MESSAGE_BYTES_MAX} bytes")
            fields = json.loads(data.decode())
            run = fields.get("run")
            if "request_file" in fields:
                with open(fields["request_file"], encoding="utf-8") as file:
                    fields = {**json.load(file), **fields}
            wanted = Request(fields)
            if not isinstance(wanted.run, int):
                raise ValueError("the request names no run")
            self._check(wanted)
            if wanted.mode in SERVING and len(fds) < 2:
                raise ValueError("a server needs a socket")
            late = child.too_late(wanted)
            if late:
                raise ValueError(f"{', '.join(late)} took effect before the fork")
            alive = threads.obstacle()
            if alive is not None:
                raise ValueError(alive)
            output.flush()
            pid = os.fork()
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            self._reporter.send(events.refused(run=run, message=message))
        else:
            if pid == 0:
                self._leave_or_end()
                wanted.event_fd = fds[0] if fds else None
                wanted.request_fd = fds[1] if len(fds) > 1 else None
                return wanted
            if wanted.mode != "run":
                self._servers.add(pid)
            self._started(pid, run)
        for fd in fds:
            os.close(fd)
        return None

    def _receive(self) -> tuple[bytes, list[int], int]:
        data, ancillary, flags, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX, _ROOM)
        fds = array.array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        return data, list(fds), flags

    def _started(self, pid: int, run: Any) -> None:
        # The child does it too, so that the group exists whichever process is first.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._run_by_pid[pid] = run
        fd = processes.descriptor_of(pid)
        if fd is not None:
            self._pidfd_by_pid[pid] = fd
            self._poll.register(fd, select.POLLIN)
        self._reporter.send_line(events.child_started(run=run, pid=pid))

    def _reap(self) -> None:
        """Reports every child that has ended, after ending what it left in its group."""
        for pid in list(self._run_by_pid):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            # While the leader is unreaped, no other group can have its number.
            with contextlib.suppress(OSError):
                os.killpg(pid, _KILL)
            _, status, usage = os.wait4(pid, 0)
            run = self._run_by_pid.pop(pid)
            self._servers.discard(pid)
            fd = self._pidfd_by_pid.pop(pid, None)
            if fd is not None:
                self._poll.unregister(fd)
                os.close(fd)
            self._end_orphans(pid)
            self._reporter.send_line(
                events.child_exited(
                    run=run,
                    pid=pid,
                    status=status,
                    user_s=usage.ru_utime,
                    system_s=usage.ru_stime,
                    rss_kib_max=usage.ru_maxrss,
                )
            )

    def _end_orphans(self, ended: int) -> None:
        """Kills processes that left their run's group and whose run is over.

        Which run an orphan belongs to cannot be found out once its parent is gone, but it is one of
        those that were running when it was first seen. It may be a helper of a run that is still
        going on, so it is killed only once all of those have ended.
        """
        children = set(self._run_by_pid)
        orphans = self._children.now() - children
        if not orphans and not self._runs_by_orphan:
            return
        # While another server lives, it is the one that adopts the orphans of its runs.
        alive = children - self._servers
        for pid in orphans:
            self._runs_by_orphan.setdefault(pid, alive | {ended})
        for pid, runs in list(self._runs_by_orphan.items()):
            if not runs & alive:
                processes.kill_tree(pid)
        for pid in list(self._runs_by_orphan):
            with contextlib.suppress(OSError):
                if not self._runs_by_orphan[pid] & alive:
                    os.waitpid(pid, 0)
                elif os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            del self._runs_by_orphan[pid]

    def _end(self) -> NoReturn:
        """Ends all children and the server; the caller is gone or has no more requests."""
        for pid in self._run_by_pid:
            with contextlib.suppress(OSError):
                os.killpg(pid, _KILL)
        for pid in self._run_by_pid:
            with contextlib.suppress(OSError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(Exception):
            self._reap()
        # Processes adopted only now, because their parent has just been killed.
        while True:
            orphans = processes.children_of(self._pid)
            if not orphans:
                break
            for pid in orphans:
                processes.kill_tree(pid)
                with contextlib.suppress(OSError):
                    os.waitpid(pid, 0)
        output.flush()
        os._exit(0)

    def _leave_or_end(self) -> None:
        """Turns the copy into a child, or ends it: there must never be a second server."""
        try:
            self._leave()
        except BaseException:
            os._exit(1)

    def _leave(self) -> None:
        """Separates from the server: own group, none of its descriptors."""
        os.setpgid(0, 0)
        processes.die_with_parent()
        if os.getppid() != self._pid:
            # The server died before the line above could take effect.
            os._exit(1)
        self._socket.close()
        self._children.close()
        self._reporter.close()
        for fd in self._pidfd_by_pid.values():
            os.close(fd)
