"""Reads the caller's request.

Invariant: a request of another protocol or of an unknown mode is rejected before anything in the
process has changed.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from cocorun_agent import PROTOCOL

VARIABLE = "COCORUN_AGENT_REQUEST"
"""Environment variable with the path of the request file."""

EVENT_FD_VARIABLE = "COCORUN_AGENT_EVENT_FD"
"""Environment variable with the number of the event pipe, unless the request has it."""

REQUEST_FD_VARIABLE = "COCORUN_AGENT_REQUEST_FD"
"""Environment variable with the number of a server's socket, unless the request has it."""


_SELECTING = ("COCOTB_TESTCASE", "COCOTB_TEST_FILTER", "TESTCASE")

_MODES = ("run", "list", "serve", "serve_module", "serve_checkpoint", "start")

_SERVING_OR_LISTING = ("list", "serve_module", "serve_checkpoint")

_OF_ONE_RUN = frozenset(
    ("cwd", "env", "event_file", "log", "results_file", "run", "testcases")
)
"""What may differ between the runs of one module."""

_KEYS = {
    "ambiguous",
    "checkpoint_failed",
    "checkpoint_level",
    "checkpoints",
    "cpus",
    "cwd",
    "design",
    "design_fd",
    "dump_signal",
    "env",
    "event_fd",
    "event_file",
    "has_foreign_code",
    "log",
    "mode",
    "modules",
    "paths",
    "preload",
    "protocol",
    "pygpi_users",
    "request_fd",
    "request_file",
    "results_file",
    "run",
    "seed",
    "testcases",
    "vpi_libraries",
    "wait_signal",
}


class Wanted(NamedTuple):
    """One requested testcase."""

    module: str
    testcase: str
    occurrence: int | None
    """Index among equal names, from 0; none means the next one not requested yet."""


class Request:
    """What the caller requests from this process."""

    def __init__(self, fields: dict[str, Any]) -> None:
        if fields.get("protocol") != PROTOCOL:
            raise ValueError(
                f"the request has protocol {fields.get('protocol')!r}, this agent speaks {PROTOCOL}"
            )
        self.mode: str = fields["mode"]
        if self.mode not in _MODES:
            raise ValueError(f"unknown mode {self.mode!r}")
        unknown = sorted(set(fields) - _KEYS)
        if unknown:
            raise ValueError(f"unknown keys {', '.join(unknown)}")
        self.event_fd: int | None = fields.get("event_fd")
        self.modules: list[str] = [str(module) for module in fields.get("modules") or ()]
        self.seed: int | None = fields.get("seed")
        self.vpi_libraries: list[str] = [str(path) for path in fields.get("vpi_libraries") or ()]
        self.has_foreign_code: bool = bool(fields.get("has_foreign_code"))
        self.pygpi_users: list[str] = [str(name) for name in fields.get("pygpi_users") or ()]
        self.request_fd: int | None = fields.get("request_fd")
        self.design: str | None = fields.get("design")
        self.design_fd: int | None = fields.get("design_fd")
        self.preload: list[str] = [str(module) for module in fields.get("preload") or ()]
        self.paths: list[str] = [str(folder) for folder in fields.get("paths") or ()]
        self.ambiguous: dict[str, list[str]] = dict(fields.get("ambiguous") or {})
        self.checkpoints: list[str] = [str(name) for name in fields.get("checkpoints") or ()]
        self.checkpoint_level = int(fields.get("checkpoint_level") or 0)
        self.checkpoint_failed = bool(fields.get("checkpoint_failed"))
        self.dump_signal: int | None = fields.get("dump_signal")
        self.wait_signal: int | None = fields.get("wait_signal")
        self.cpus: list[int] | None = fields.get("cpus")
        self._set(fields)

    def _set(self, fields: dict[str, Any]) -> None:
        """Sets what is of one run only."""
        self.run: Any = fields.get("run")
        self.event_file: str | None = fields.get("event_file")
        self.results_file: str | None = fields.get("results_file")
        self.cwd: str | None = fields.get("cwd")
        self.log: str | None = fields.get("log")
        env = fields.get("env") or {}
        self.env_set: dict[str, str] = dict(env.get("set") or {})
        self.env_unset: list[str] = list(env.get("unset") or ())
        testcases = fields.get("testcases")
        self.testcases: list[Wanted] | None = None
        if testcases is not None:
            self.testcases = [
                Wanted(str(item["module"]), str(item["testcase"]), item.get("occurrence"))
                for item in testcases
            ]

    def take(self, fields: dict[str, Any]) -> None:
        """Becomes the request of another run that has all else in common with this one."""
        if not _OF_ONE_RUN.issuperset(fields):
            raise ValueError("the first line of a message has keys that are not of one run")
        self._set(fields)

    @property
    def probes_checkpoint(self) -> bool:
        """Whether its testcase is observed until it calls the first checkpoint, which fails."""
        return self.mode == "run" and self.checkpoint_failed and self.checkpoint_level == 0

    @classmethod
    def from_environment(cls) -> Request | None:
        """Returns the request, or nothing if the environment names none.

        The variable is removed: a simulator that a testcase starts must not find it.
        """
        path = os.environ.pop(VARIABLE, None)
        if not path:
            return None
        with open(path, encoding="utf-8") as file:
            request = cls(json.load(file))
        # These numbers are known only to the process that starts the simulator.
        if request.event_fd is None and os.environ.get(EVENT_FD_VARIABLE):
            request.event_fd = int(os.environ.pop(EVENT_FD_VARIABLE))
        if request.request_fd is None and os.environ.get(REQUEST_FD_VARIABLE):
            request.request_fd = int(os.environ.pop(REQUEST_FD_VARIABLE))
        return request


def apply_to_environment(request: Request, cocotb_major: int) -> None:
    """Sets the variables from which cocotb itself reads modules, seed and results file.

    With an exact selection cocotb must see no filter: any filter switches it to a mode in which
    testcases marked `skip=True` are run.
    """
    env = os.environ
    if request.modules:
        env["MODULE" if cocotb_major < 2 else "COCOTB_TEST_MODULES"] = ",".join(request.modules)
    if request.seed is not None:
        env["RANDOM_SEED" if cocotb_major < 2 else "COCOTB_RANDOM_SEED"] = str(request.seed)
    if request.results_file is not None:
        env["COCOTB_RESULTS_FILE"] = request.results_file
    # cocotb's own listing never ends the simulation.
    env.pop("COCOTB_LIST_TESTS", None)
    if request.testcases is not None or request.mode in _SERVING_OR_LISTING:
        for name in _SELECTING:
            env.pop(name, None)


def apply_to_copy(request: Request) -> None:
    """Sets what differs from the module's server that was copied: it has done the above."""
    if request.results_file is not None:
        os.environ["COCOTB_RESULTS_FILE"] = request.results_file
    for name in _SELECTING:
        if name in request.env_set:
            os.environ.pop(name, None)
