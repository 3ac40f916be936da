"""The event channel: one JSON object per line to the caller.

Invariants: an event is written completely, or the next one starts on a new line; only the process
that opened the channel writes to it; nothing is ever written to a descriptor that has been reused.
"""

from __future__ import annotations

import errno
import json
import os
import select

from cocorun_agent import text
from cocorun_agent.events import Event

_encode = json.JSONEncoder(separators=(",", ":")).encode

_DOUBTFUL = ("\\ud", "NaN", "Infinity")
"""What is in every line that strict readers may reject."""

WRITABLE_WAIT_MS = 60_000
"""How long to wait for a full non-blocking pipe before using the event file."""


def line_of(event: Event) -> str:
    """Returns an event as a line of JSON that strict readers accept, without its end."""
    line = _encode(event)
    if any(doubtful in line for doubtful in _DOUBTFUL):
        line = _encode(text.plain(event))
    return line


class Channel:
    """Writes events to an inherited pipe, or to a file if the pipe is unusable."""

    def __init__(self, fd: int | None, path: str | None) -> None:
        self._fd = fd
        self._path = path
        self._pid = os.getpid()
        self._identity: tuple[int, int] | None = None
        self._torn = False
        if fd is not None:
            try:
                os.set_inheritable(fd, False)
                self._identity = _identity_of(fd)
            except OSError:
                self._fd = None

    def send(self, event: Event) -> None:
        """Sends one event; blocks while the pipe is full.

        A process forked by a testcase has a copy of this object; it sends nothing, or the caller
        would receive every event twice.
        """
        self.send_line(line_of(event))

    def send_line(self, line: str) -> None:
        """Sends an event that is a line of JSON already, as `send` does."""
        if os.getpid() == self._pid:
            self._send(f"{line}\n".encode("ascii"))

    def _send(self, data: bytes) -> None:
        if self._fd is None or not self._write_pipe(data):
            self._append(data)

    def send_of_server(self, line: str) -> None:
        """Sends a line from a server, where nobody else can close the pipe."""
        data = f"{line}\n".encode("ascii")
        if self._fd is None or self._torn:
            self._send(data)
            return
        try:
            written = os.write(self._fd, data)
        except OSError:
            written = 0
        if written < len(data):
            self._torn = written > 0
            self._send(data)

    def abandon(self) -> None:
        """Closes the pipe of a server in a copy of it."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
        self._path = None

    def _is_ours(self, fd: int) -> bool:
        """Says whether `fd` is still the pipe that the caller passed.

        A testcase may close every descriptor, and the number may then be one of its own files.
        """
        try:
            return self._identity is not None and _identity_of(fd) == self._identity
        except OSError:
            return False

    def _write_pipe(self, data: bytes) -> bool:
        """Writes all of `data` to the pipe; returns false if it has to go elsewhere."""
        fd = self._fd
        if fd is None or not self._is_ours(fd):
            self._fd = None
            return False
        if self._torn:
            data = b"\n" + data
        view = memoryview(data)
        self._torn = True
        while view:
            try:
                view = view[os.write(fd, view) :]
            except OSError as error:
                if error.errno == errno.EAGAIN and _wait_writable(fd):
                    continue
                # Nobody reads the pipe any more. The file may still be read.
                self._fd = None
                return False
        self._torn = False
        return True

    def _append(self, data: bytes) -> None:
        if self._path is None:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o666)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)


def _identity_of(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _wait_writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(WRITABLE_WAIT_MS))
