"""Makes a forked copy of the server look like a process that was spawned for one run.

Invariant: when `settle` returns, descriptors, working directory, environment and processors are
those of the request; what could not be changed afterwards was rejected before the fork.
"""

from __future__ import annotations

import os
import sys

import cocorun_agent
from cocorun_agent.request import Request

_EARLY_PREFIXES = ("COCOTB_", "GPI_", "LC_", "LD_", "MALLOC_", "PYGPI_", "PYTHON")
_EARLY = ("COVERAGE", "LANG", "LIBPYTHON_LOC", "MEMCHECK", "TOPLEVEL_LANG", "TZ", "VIRTUAL_ENV")
"""Read when the simulator, Python or a module of cocotb starts: too late for a child to change."""

_LATE = (
    "COCOTB_ANSI_OUTPUT",
    "COCOTB_LIST_TESTS",
    "COCOTB_MAX_FAILURES",
    "COCOTB_RANDOM_SEED",
    "COCOTB_RANDOM_TEST_ORDER",
    "COCOTB_RESULTS_ATTACHMENTS",
    "COCOTB_RESULTS_FILE",
    "COCOTB_RESULTS_RELATIVE_TO",
    "COCOTB_RESULT_TESTPACKAGE",
    "COCOTB_RESULT_TESTSUITE",
    "COCOTB_TESTCASE",
    "COCOTB_TEST_FILTER",
    "COCOTB_TEST_MODULES",
    "COCOTB_TOPLEVEL",
    "COCOTB_USER_COVERAGE",
)
"""Read by cocotb 1.9 to 2.1 only when a simulation is initialised, which each child does itself."""


def too_late(wanted: Request) -> list[str]:
    """Returns the variables that cannot differ between a child and its server."""
    early = [name for name in (*wanted.env_set, *wanted.env_unset) if _is_early(name)]
    return sorted(name for name in early if os.environ.get(name) != wanted.env_set.get(name))


def _is_early(name: str) -> bool:
    return name not in _LATE and (name in _EARLY or name.startswith(_EARLY_PREFIXES))


def settle(wanted: Request, cpus: list[int] | None, preamble: bytes = b"") -> None:
    """Gives a child the process environment that a spawned process would have been started with.

    `preamble` is what that process would have written by now.
    """
    _redirect(os.devnull, os.O_RDONLY, 0)
    if wanted.log is not None:
        _redirect(wanted.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 1)
        os.dup2(1, 2)
        while preamble:
            preamble = preamble[os.write(1, preamble) :]
    if wanted.cwd is not None:
        os.chdir(wanted.cwd)
    for name in wanted.env_unset:
        os.environ.pop(name, None)
    for name, value in wanted.env_set.items():
        os.environ[name] = value
    if cpus:
        os.sched_setaffinity(0, cpus)


def _redirect(path: str, flags: int, fd: int) -> None:
    opened = os.open(path, flags, 0o666)
    os.dup2(opened, fd)
    os.close(opened)


def forget_user_paths() -> None:
    """Drops what the import system has cached about directories that may change; for a server."""
    folders = (sys.prefix, sys.base_prefix, *cocorun_agent.__path__)
    kept = tuple(os.path.join(folder, "") for folder in folders)
    for path in list(sys.path_importer_cache):
        if not path.startswith(kept):
            del sys.path_importer_cache[path]
