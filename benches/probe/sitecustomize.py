"""Marks where the agent is, for `phases.py`, which puts this folder on PYTHONPATH.

Python imports this module as it starts. With COCORUN_PHASES in the environment, functions of the agent
are wrapped as soon as they are imported: what the process has used by then is written into a file
that all processes map, a part for each. An open file would keep the server from forking.

Invariant: without that variable, and in processes without the agent, nothing happens.
"""

from __future__ import annotations

import functools
import importlib.machinery
import mmap
import os
import resource
import struct
import sys
from typing import Any

FILE = os.environ.get("COCORUN_PHASES")
RECORD = struct.Struct("<23sBqdd")
"""Name, whether it is an amount and not a state, minor page faults, user and system seconds."""
RECORDS_MAX = 42
PART = RECORD.size * RECORDS_MAX
PARTS = 4096
RESERVED = 2
"""What the parent writes into a child's part: what the fork cost it, and what the child has used."""

_usage = resource.getrusage
_getpid = os.getpid
_place: dict[int, int] = {}
_memory: Any = None


def put(pid: int, place: int, name: str, is_amount: bool, faults: int, user: float, system: float) -> None:
    RECORD.pack_into(
        _memory, pid % PARTS * PART + place * RECORD.size, name.encode(), is_amount, faults, user, system
    )


def mark(name: str) -> None:
    """Notes what this process has used until now."""
    it = _usage(resource.RUSAGE_SELF)
    pid = _getpid()
    place = _place.get(pid, RESERVED)
    if place < RECORDS_MAX:
        _place[pid] = place + 1
        put(pid, place, name, False, it.ru_minflt, it.ru_utime, it.ru_stime)


def _before(name: str, function: Any) -> Any:
    @functools.wraps(function)
    def wrapped(*args: Any, **more: Any) -> Any:
        mark(name)
        return function(*args, **more)

    return wrapped


def _after(name: str, function: Any) -> Any:
    @functools.wraps(function)
    def wrapped(*args: Any, **more: Any) -> Any:
        result = function(*args, **more)
        mark(name)
        return result

    return wrapped


def _counting_fork(name: str, fork: Any) -> Any:
    def wrapped() -> int:
        before = _usage(resource.RUSAGE_SELF)
        pid = fork()
        if pid:
            it = _usage(resource.RUSAGE_SELF)
            faults, user = it.ru_minflt - before.ru_minflt, it.ru_utime - before.ru_utime
            put(pid, 0, name, True, faults, user, it.ru_stime - before.ru_stime)
        return pid

    return wrapped


def _counting_wait(wait: Any) -> Any:
    def wrapped(pid: int, options: int) -> Any:
        found, status, it = wait(pid, options)
        if found:
            put(found, 1, "exited", False, it.ru_minflt, it.ru_utime, it.ru_stime)
        return found, status, it

    return wrapped


WRAPPED = {
    "cocorun_agent.boot": [
        (_before, "agent loaded", "start"),
        (_after, "hooked", "_prepare"),
    ],
    "cocorun_agent.serve": [
        (_before, "cocotb imported", "warm"),
        (_after, "warm", "warm"),
        (_after, "serving", "Server._prepare"),
        (_before, "forked", "Server._leave"),
        (_before, "ended", "Server._end"),
    ],
    "cocorun_agent.forks": [(_counting_fork, "fork", "fork")],
    "cocorun_agent.child": [(_after, "settled", "settle")],
    "cocorun_agent.module_server": [
        (_before, "cocotb initialised", "ModuleServer.user_code_begins"),
        (_after, "module imported", "ModuleServer.user_code_ends"),
        (_before, "listed", "ModuleServer.serve"),
        (_after, "serving", "_Server._prepare"),
    ],
    "cocorun_agent.selection": [(_after, "selected", "Names.choose")],
    "cocorun_agent.seeds": [(_before, "begins", "testcase_begins")],
    "cocorun_agent.reporter": [(_after, "finished", "Reporter.regression_finished")],
}
"""What is wrapped in each module of the agent; a function that is not there ends the process."""


class Finder:
    """Wraps functions of the agent's modules once these have been imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in WRAPPED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def execute_and_wrap(module: Any) -> None:
            execute(module)
            for wrap, mark_name, function in WRAPPED[name]:
                *owners, last = function.split(".")
                owner = module
                for part in owners:
                    owner = getattr(owner, part)
                setattr(owner, last, wrap(mark_name, getattr(owner, last)))

        spec.loader.exec_module = execute_and_wrap
        return spec


def begin() -> None:
    global _memory
    with open(FILE, "r+b") as file:
        _memory = mmap.mmap(file.fileno(), PART * PARTS)
    # `mmap` keeps a copy of the descriptor open.
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.path.samestat(os.stat(FILE), os.fstat(fd)):
                os.close(fd)
        except OSError:
            pass
    mark("Python started")
    os.wait4 = _counting_wait(os.wait4)
    sys.meta_path.insert(0, Finder())


if FILE and "COCORUN_AGENT_REQUEST" in os.environ:
    begin()
