"""A simulator that has started Python and read no design: the servers of builds are forked from it.

Some simulators load cocotb's library, which starts Python, before they read the compiled design. So
Python, cocotb and pytest are loaded once for all builds, by a `sitecustomize` module that calls
`start`; a child goes on with the design of its build, and becomes that build's first server.

Invariant: a child is like a simulator that was started for its build, except for its process's
command line, which names the design by a descriptor.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import os
import sys
from typing import Any

from cocorun_agent import interpreter  # isort: skip  # noqa: F401  (first: it works at exit)

from cocorun_agent import child, events, mapped_code, output, quick_end, request, serve
from cocorun_agent.channel import Channel
from cocorun_agent.reporter import Reporter

_design: str | None = None
_design_fd: int | None = None


def start(site: str) -> None:
    """Serves; returns only in a child. `site` is the file of the module that calls it."""
    reason = _hide(site)
    wanted = request.Request.from_environment()
    if wanted is None:
        return
    reporter = Reporter(Channel(wanted.event_fd, wanted.event_file))
    try:
        output.prepare()
        quick_end.keep_openssl()
        serve.warm()
        reason = reason or serve.obstacle(wanted)
        if reason is not None:
            reporter.send(events.cannot_serve(message=reason))
            output.flush()
            os._exit(0)
        wanted = _Server(reporter, wanted).run()
        _become(wanted)
    except BaseException as error:
        reporter.startup_error(error)
        output.flush()
        os._exit(1)


def as_started(arguments: Any) -> Any:
    """Returns the arguments of cocotb's entry point as they are in a simulator of its own."""
    global _design_fd
    if _design_fd is None:
        return arguments
    os.close(_design_fd)
    path, _design_fd = _path_of(_design_fd), None

    def named(words: Any) -> Any:
        is_list = isinstance(words, list)
        return [_design if word == path else word for word in words] if is_list else words

    from cocotb import simulator

    # cocotb 2.1 asks for them.
    original = getattr(simulator, "get_simulator_args", None)
    if original is not None:
        simulator.get_simulator_args = functools.wraps(original)(lambda: named(original()))
    return tuple(named(argument) for argument in arguments)


class _Server(serve.Server):
    """Forks the servers of builds."""

    def _prepare(self) -> None:
        child.forget_user_paths()
        gc.collect()
        gc.freeze()
        mapped_code.keep_for_children()

    def _check(self, wanted: request.Request) -> None:
        if wanted.mode != "serve" or wanted.design is None or wanted.design_fd is None:
            raise ValueError("it forks servers of builds only")


def _become(wanted: request.Request) -> None:
    """Makes a child a simulator that starts with a design."""
    global _design, _design_fd
    child.settle(wanted, None)
    os.environ[request.EVENT_FD_VARIABLE] = str(wanted.event_fd)
    os.environ[request.REQUEST_FD_VARIABLE] = str(wanted.request_fd)
    opened = os.open(wanted.design or "", os.O_RDONLY)
    _design, _design_fd = wanted.design, wanted.design_fd
    if opened != _design_fd:
        os.dup2(opened, _design_fd or 0, inheritable=False)
        os.close(opened)


def _path_of(fd: int) -> str:
    return f"/proc/self/fd/{fd}"


def _hide(site: str) -> str | None:
    """Removes what led Python here; returns why it cannot be done without a trace, or nothing.

    Python's own module of that name is run, as Debian has one; another one may do anything.
    """
    folder = os.path.dirname(os.path.abspath(site))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != folder]
    sys.path_importer_cache.pop(folder, None)
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in inherited if entry != folder)
    ours = sys.modules.pop("sitecustomize")
    try:
        spec = importlib.util.find_spec("sitecustomize")
        if spec is None:
            return None
        if os.path.dirname(spec.origin or "") != os.path.dirname(os.__file__):
            return f"there is a module `sitecustomize` in {spec.origin}"
        importlib.import_module("sitecustomize")
        return None
    finally:
        # The import that leads here still needs it.
        sys.modules.setdefault("sitecustomize", ours)
