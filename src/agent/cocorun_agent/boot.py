"""Entry points: what the simulator calls in place of cocotb's own list.

`PYGPI_USERS` (cocotb 2.x) or `PYGPI_ENTRY_POINT` (1.x) names `cocorun_agent.boot:start` alone. The
agent installs its hooks, removes that variable and lets cocotb's own loader run the entry points
it would have run anyway, whichever they are in this version. So an exception in any of them passes
through here and can be reported, and a testcase sees the environment it would see without cocorun.

Invariant: without a request in the environment this is exactly cocotb.
"""

from __future__ import annotations

from cocorun_agent import interpreter  # isort: skip  (before anything that works at exit)

import contextlib
import os
import sys
import traceback
from typing import Any

from cocorun_agent import events, hello, imports, output, request, seeds, user_code, waiting
from cocorun_agent.channel import Channel
from cocorun_agent.reporter import Reporter

_USERS_VARIABLES = ("PYGPI_USERS", "PYGPI_ENTRY_POINT")

# cocotb 1.x: the simulator looks up these functions next to the entry function.
_COCOTB_1_CALLBACKS = ("_sim_event", "_log_from_c", "_filter_from_c")

_cocotb_1_entry: Any = None


def __getattr__(name: str) -> Any:
    """Passes cocotb 1.x's own callbacks to the simulator.

    If cocotb cannot be imported, the simulator would continue without it, for ever if the design
    has its own clock.
    """
    if name not in _COCOTB_1_CALLBACKS:
        raise AttributeError(name)
    try:
        return getattr(_load_cocotb_1()[0], name)
    except BaseException:
        traceback.print_exc()
        output.flush()
        os._exit(1)


def start(*args: Any) -> None:
    """Runs cocotb with the agent installed; the simulator calls this once, at time 0."""
    reporter = None
    starter = sys.modules.get("cocorun_agent.starter")
    if starter is not None:
        args = starter.as_started(args)
    try:
        wanted = request.Request.from_environment()
        if wanted is not None:
            reporter = Reporter(Channel(wanted.event_fd, wanted.event_file))
            with reporter.guard("output"):
                output.prepare()
                output.explain_crashes(wanted.dump_signal, wanted.wait_signal)
                waiting.report_to(reporter.send)
            if wanted.mode == "serve":
                wanted, reporter = _serve(reporter, wanted)
            _prepare(reporter, wanted)
        else:
            interpreter.resume_collection()
        _run_cocotb(args)
    except BaseException as error:
        if reporter is not None:
            with reporter.guard("startup"):
                reporter.startup_error(error)
        _stop_simulator()
        raise
    finally:
        interpreter.resume_collection()


def _stop_simulator() -> None:
    """Ends the simulation; cocotb 1.9 would continue with no testcase, 2.x ends it itself."""
    if _cocotb_1_entry is not None:
        with contextlib.suppress(Exception):
            from cocotb import simulator

            simulator.stop_simulator()


def _serve(reporter: Reporter, server: request.Request) -> tuple[request.Request, Reporter]:
    """Serves; returns only in a child, with its request and its own reporter."""
    from cocorun_agent import child, pytest_config, quick_end, serve

    quick_end.keep_openssl()
    hello.greet(reporter)
    user_code.check_vpi_libraries(server.vpi_libraries)
    imports.set_path(server.paths, server.ambiguous)
    serve.warm()
    seeds.begin(server.seed)
    seeds.modules_begin()
    serve.preload(reporter, server.preload)
    reason = serve.obstacle(server)
    if reason is not None:
        reporter.send(events.cannot_serve(message=reason))
        output.flush()
        os._exit(0)
    wanted = serve.Server(reporter, server).run()
    reporter = Reporter(Channel(wanted.event_fd, wanted.event_file))
    waiting.report_to(reporter.send)
    try:
        child.settle(wanted, server.cpus)
        pytest_config.reuse([*wanted.env_set, *wanted.env_unset])
    except BaseException as error:
        reporter.startup_error(error)
        os._exit(1)
    return wanted, reporter


def _prepare(reporter: Reporter, wanted: request.Request) -> None:
    """Sends the hello event and installs the hooks for this cocotb."""
    major = hello.greet(reporter)
    user_code.check_vpi_libraries(wanted.vpi_libraries)
    imports.set_path(wanted.paths, wanted.ambiguous)
    seeds.begin(wanted.seed)
    if wanted.probes_checkpoint:
        from cocorun_agent import checkpoint

        checkpoint.watch(wanted.checkpoints)
    request.apply_to_environment(wanted, major)
    if major < 2:
        from cocorun_agent.v1 import Adapter
    else:
        from cocorun_agent.v2 import Adapter  # type: ignore[assignment]
    adapter = Adapter(reporter, wanted)
    if wanted.mode == "list":
        adapter.install()
    else:
        with reporter.guard("install"):
            adapter.install()
    user_code.add_pygpi_users(wanted.pygpi_users, major)


def _run_cocotb(args: Any) -> None:
    """Runs the entry points that cocotb would have run itself."""
    if "cocotb" in sys.modules and _cocotb_1_entry is not None:
        _cocotb_1_entry[1](*args)
        return
    for name in _USERS_VARIABLES:
        os.environ.pop(name, None)
    from pygpi import entry

    entry.load_entry(*args)


def _load_cocotb_1() -> Any:
    """Returns cocotb 1.x's entry module and function, loaded once by its own loader."""
    global _cocotb_1_entry
    if _cocotb_1_entry is None:
        for name in _USERS_VARIABLES:
            os.environ.pop(name, None)
        from pygpi import entry

        _cocotb_1_entry = entry.load_entry()
    return _cocotb_1_entry
