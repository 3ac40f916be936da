"""The fork server: one elaborated simulator, one forked child for each module or run.

The server waits at time 0 of the simulation, before cocotb is initialised, with everything imported
that a run imports, except the user's modules. Each message on the request socket creates one child,
which returns from here and continues into cocotb as a separate process.

Invariants: the first server never runs user code; none ever advances the simulation; every child is
reported when it starts and, exactly once, when it ends; nothing a child started outlives it for
longer than the runs at the same time, and nothing at all outlives the server's orderly end.
"""

from __future__ import annotations

import _socket
import array
import contextlib
import gc
import importlib
import io
import json
import logging
import os
import pathlib
import select
import signal
import socket
from typing import Any, Iterable, NoReturn

from cocorun_agent import (
    child,
    events,
    forks,
    imports,
    interpreter,
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
_SOCKET = int(socket.SOL_SOCKET)
_RIGHTS = int(socket.SCM_RIGHTS)
"""Numbers, since each operation on an enumeration touches pages that a child shares."""
SERVING = ("serve_module", "serve_checkpoint")
"""Modes of children that serve."""

_EVENTS_MAX = 16

_FIRST_KEY = b'{"run":'
"""What a message begins with whose first line has only what differs between a module's runs."""

_scan = json.JSONDecoder().scan_once
"""Reads an object; `json.loads` would touch more pages."""

_LOOK_AGAIN_S = 0.02
"""Interval of checks for ended children, if the kernel has no descriptors for processes."""


def warm() -> None:
    """Imports what cocotb and pytest import in a run, and none of the user's modules."""
    for name in _WARM:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    if os.environ.get("COCOTB_REWRITE_ASSERTION_FILES", "*.py").strip():
        pytest_config.prepare()
    for make in (_hash, _generic_type, _log_record, _report):
        with contextlib.suppress(Exception):
            make()
    forks.find_registered()


# What follows is made at its first use, or remembered from it: here once for all children.


def _hash() -> None:
    """OpenSSL's tables of the hash from which cocotb makes seeds."""
    import hashlib

    hashlib.sha1(b"").hexdigest()


def _generic_type() -> None:
    from cocotb.task import Task

    Task[None]


def _log_record() -> None:
    """The patterns of cocotb 2.x's log, and that a number is no mapping of arguments."""
    import cocotb.logging

    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(cocotb.logging.SimLogFormatter())
    for value in (0, 0.0, ""):
        record = logging.LogRecord("cocotb", logging.INFO, "", 0, "%s", (value,), None, "")
        record.created_sim_time = None
        handler.format(record)


def _report() -> None:
    """The writer of `results.xml`."""
    from xml.etree import ElementTree

    suites = ElementTree.Element("testsuites", {"name": "results"})
    ElementTree.SubElement(suites, "property", {"name": "seed", "value": "0"})
    ElementTree.ElementTree(suites).write(os.devnull, encoding="UTF-8")
    pathlib.Path(os.devnull).parent.mkdir(parents=True, exist_ok=True)


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
    """Waits for requests and forks.

    After each fork, every page that it writes to is copied. So it does little for each run: what can be
    left to the child is.
    """

    def __init__(self, reporter: Reporter, wanted: Request) -> None:
        self._reporter = reporter
        self._pid = os.getpid()
        self._served = wanted
        self._fd: int = wanted.request_fd or 0
        self._socket = _socket.socket(fileno=self._fd)
        if self._socket.type != socket.SOCK_SEQPACKET:
            raise ValueError("the request socket does not keep messages apart")
        os.set_inheritable(self._fd, False)
        self._run_by_pid: dict[int, Any] = {}
        self._pid_by_pidfd: dict[int, int] = {}
        self._unwatched: set[int] = set()
        """Children of which the kernel has no descriptor."""
        self._servers: set[int] = set()
        self._runs_by_orphan: dict[int, set[int]] = {}
        self._children = processes.Children()
        self._poll = select.epoll()
        self._poll.register(self._fd, select.EPOLLIN)
        self._common: bytes | None = None
        """The second line of the last request for a run that was read here."""
        self._wanted: Any = None
        """That request."""

    def run(self) -> Request:
        """Serves until the socket closes; returns only in a child, with its request."""
        # If inherited as ignored, it would make the kernel reap the children and lose their status.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        processes.adopt_orphans()
        forks.prepare()
        self._prepare()
        self._reporter.send(events.serving(pid=self._pid))
        output.flush()
        while True:
            is_requested = False
            for fd, _ in self._poll.poll(_LOOK_AGAIN_S if self._unwatched else -1, _EVENTS_MAX):
                if fd == self._fd:
                    is_requested = True
                else:
                    # A copy of this process may still have the descriptor.
                    self._poll.unregister(fd)
                    os.close(fd)
                    self._reap(self._pid_by_pidfd.pop(fd))
            if self._unwatched:
                for pid in list(self._unwatched):
                    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                        self._reap(pid)
            if is_requested:
                wanted = self._answer()
                if wanted is not None:
                    return wanted

    def _prepare(self) -> None:
        child.forget_user_paths()
        interpreter.hide_what_is_imported()
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
        data, ancillary, flags, _ = self._socket.recvmsg(MESSAGE_BYTES_MAX, _ROOM)
        if not data:
            self._end()
        fds = _descriptors(ancillary)
        own, _, common = data.partition(b"\n")
        if common and common == self._common and own.startswith(_FIRST_KEY):
            # The rest of it is up to the child.
            run = int(own[len(_FIRST_KEY) : own.index(b",")])
            is_server = False
        else:
            own = b""
            wanted = self._read(data, len(fds), bool(flags & _TRUNCATED))
            if wanted is None:
                for fd in fds:
                    os.close(fd)
                return None
            run = wanted.run
            is_server = wanted.mode != "run"
            self._wanted = wanted
            self._common = None if is_server else common
            output.flush()
        try:
            alive = threads.obstacle()
            if alive is not None:
                raise ValueError(alive)
            pid = forks.fork()
        except Exception as error:
            self._refuse(run, error)
        else:
            if pid == 0:
                return self._go_on(own, fds)
            self._started(pid, run)
            if is_server:
                self._servers.add(pid)
        for fd in fds:
            os.close(fd)
        return None

    def _read(self, data: bytes, fds: int, is_truncated: bool) -> Request | None:
        """Reads and checks a whole request; refuses it and returns nothing if it is not served."""
        run: int | None = None
        try:
            if is_truncated:
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
            if wanted.mode in SERVING and fds < 2:
                raise ValueError("a server needs a socket")
            _expect_in_time(wanted)
        except Exception as error:
            self._refuse(run, error)
            return None
        return wanted

    def _refuse(self, run: int | None, error: Exception) -> None:
        message = f"{type(error).__name__}: {error}"
        self._reporter.send(events.refused(run=run, message=message))

    def _started(self, pid: int, run: int) -> None:
        # The child does it too, so that the group exists whichever process is first.
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass
        self._run_by_pid[pid] = run
        fd = processes.descriptor_of(pid)
        if fd is None:
            self._unwatched.add(pid)
        else:
            self._watch(pid, fd)
        self._reporter.send_of_server(events.child_started(run=run, pid=pid))

    def _watch(self, pid: int, fd: int) -> None:
        try:
            self._poll.register(fd, select.EPOLLIN)
        except OSError:
            # The user has too many of them, epoll_ctl(2).
            os.close(fd)
            self._unwatched.add(pid)
        else:
            self._pid_by_pidfd[fd] = pid

    def _reap(self, pid: int) -> None:
        """Reports a child that has ended, after ending what it left in its group."""
        # While the leader is unreaped, no other group can have its number.
        try:
            os.killpg(pid, _KILL)
        except OSError:
            pass
        _, status, usage = os.wait4(pid, 0)
        run = self._run_by_pid.pop(pid)
        self._servers.discard(pid)
        self._unwatched.discard(pid)
        if self._runs_by_orphan or self._children.are_others_than(len(self._run_by_pid)):
            self._end_orphans(pid)
        self._reporter.send_of_server(
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
        for pid in list(self._run_by_pid):
            with contextlib.suppress(Exception):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                self._reap(pid)
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

    def _go_on(self, own: bytes, fds: list[int]) -> Request:
        """Turns the copy into a child, or ends it: there must never be a second server."""
        try:
            self._leave()
            wanted = self._wanted
            if own:
                fields, _ = _scan(f"{own.rstrip(b',').decode()}}}", 0)
                wanted.take(fields)
                _expect_in_time(wanted)
            wanted.event_fd = fds[0] if fds else None
            wanted.request_fd = fds[1] if len(fds) > 1 else None
            return wanted
        except BaseException:
            os._exit(1)

    def _leave(self) -> None:
        """Separates from the server: own group, none of its descriptors."""
        os.setpgid(0, 0)
        processes.die_with_parent()
        if os.getppid() != self._pid:
            # The server died before the line above could take effect.
            os._exit(1)
        os.close(self._socket.detach())
        self._poll.close()
        self._children.close()
        self._reporter.abandon()
        for fd in self._pid_by_pidfd:
            os.close(fd)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """Returns the descriptors that came with a message."""
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == _SOCKET and kind == _RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return fds.tolist()


def _expect_in_time(wanted: Request) -> None:
    """Raises if a child cannot have the environment of its request any more."""
    late = child.too_late(wanted)
    if late:
        raise ValueError(f"{', '.join(late)} took effect before the fork")
