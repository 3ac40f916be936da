"""The fork server of a checkpoint: it has run a checkpoint function, and forks testcases at its end.

A child of the first server, or of the checkpoint before it. cocotb initialises itself and runs one
testcase of the agent's own, named after the function, whose coroutine calls it and then serves, in
the middle of the simulation. A child goes on in the same task, and that testcase becomes the
requested one: clocks, monitors and drivers that the function has started belong to it. A child may
also import a test module first, and serve in its turn.

Invariant: what copies of the process would share (descriptors, threads, processes, shared memory)
must not exist when it serves; else it does not serve (`cannot_serve`).
"""

from __future__ import annotations

import atexit
import os
import signal
import weakref
from typing import Any, Callable, List, NoReturn, Tuple

from cocorun_agent import (
    checkpoint,
    child,
    events,
    import_effects,
    mapped_code,
    module_server,
    output,
    processes,
    quick_end,
    quick_exit,
    seeds,
    serve,
    text,
    threads,
)
from cocorun_agent.reporter import Reporter
from cocorun_agent.request import Request, apply_to_environment

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Regression:
    """What a version of cocotb does for the server."""

    began_steps = 0
    """When the testcase that becomes others began."""

    @property
    def log_offset(self) -> int | None:
        """Where the log of the running testcase begins."""
        raise NotImplementedError

    def placeholder(self, function: str, coroutine_function: Any) -> Any:
        """Makes a testcase of the name of a checkpoint."""
        raise NotImplementedError

    def start(self, placeholder: Any) -> None:
        """Makes a placeholder the running testcase, and reports that it has started."""
        raise NotImplementedError

    def discover(self, wanted: Request) -> None:
        """Imports the module of a request as cocotb does, and keeps its testcases for `choose`."""
        raise NotImplementedError

    def choose(self, wanted: Request) -> Any:
        """Returns the requested testcase."""
        raise NotImplementedError

    def become(self, test: Any, wanted: Request, log_offset: int | None) -> None:
        """Makes a testcase the running one, and reports that it has started."""
        raise NotImplementedError

    def coroutine(self, test: Any) -> Any:
        """Returns a testcase's coroutine."""
        raise NotImplementedError

    def go_on(self, coroutine: Any) -> None:
        """Makes a coroutine the running testcase's own, from its next step."""
        raise NotImplementedError

    def limit(self, test: Any) -> None:
        """Sets what is left of the testcase's own limit on simulated time."""
        raise NotImplementedError

    def expects_failure(self, test: Any) -> bool:
        """Says whether a testcase may pass by failing."""
        return bool(test.expect_fail or test.expect_error)


def named(function: str, coroutine_function: Any) -> Any:
    """Returns a coroutine function under the name and in the module of a checkpoint."""
    module, _, name = function.partition(":")

    async def placeholder(dut: Any) -> Any:
        return await coroutine_function(dut)

    placeholder.__module__ = module
    placeholder.__name__ = placeholder.__qualname__ = name
    placeholder.__doc__ = "checkpoint"
    return placeholder


class CheckpointServer(module_server.ModuleServer):
    """Runs the checkpoint of a request and serves."""

    def __init__(self, reporter: Reporter, wanted: Request, regression: Regression) -> None:
        super().__init__(reporter, wanted)
        self._regression = regression
        self._fds: set[str] = set()
        self._shared_memory: set[str] = set()
        self._cwd = ""
        self._files: set[str] = set()
        self._changed: str | None = None
        self._finalisers = 0
        self._exit_functions = 0
        self._seeds: Any = None
        self._began: Any = None
        self._log_offset: int | None = None

    def begin(self) -> Any:
        """Imports the modules of all checkpoints and returns what cocotb is to run."""
        processes.adopt_orphans()
        self._fds = import_effects.open_descriptors()
        self._shared_memory = processes.shared_mappings()
        self._cwd = os.getcwd()
        self._files = set(os.listdir(self._cwd))
        self._finalisers = _finalisers_at_exit()
        checkpoint.watch(self._wanted.checkpoints)
        self.user_code_begins()
        try:
            for function in self._wanted.checkpoints:
                checkpoint.load(function)
        except checkpoint.Unfit as error:
            self._end_unfit(error)
        finally:
            self.user_code_ends()
        # Libraries register some when they are imported.
        self._exit_functions = atexit._ncallbacks()
        self._seeds = seeds.state()
        return self._regression.placeholder(self._function(), self._run)

    def _end_unfit(self, error: checkpoint.Unfit) -> NoReturn:
        cause = error.__cause__
        traceback = None if cause is None else text.traceback_of(cause, is_import=True)
        message = text.message_of(error)
        self._reporter.send(events.checkpoint_unfit(message=message, traceback=traceback))
        output.flush()
        os._exit(0)

    def _function(self) -> str:
        return self._wanted.checkpoints[self._wanted.checkpoint_level - 1]

    async def _run(self, dut: Any) -> Any:
        """Runs checkpoints; continues as a testcase in a child."""
        self._log_offset = self._regression.log_offset
        self._began = _raw_sim_time()
        self._regression.began_steps = self._began[0] << 32 | self._began[1]
        while True:
            checkpoint.remember()
            await checkpoint.run(self._function(), dut)
            self._changed = checkpoint.changed()
            level = self._wanted.checkpoint_level
            self._reporter.send(
                events.checkpoint_reached(
                    sim_time_ns=_sim_time_ns(), log_offset=output.log_offset()
                )
            )
            checkpoint.remember()
            self._wanted = self.serve()
            if self._wanted.mode == "run":
                seeds.return_to(self._seeds)
                return await self._continue(level, is_imported=False)
            if self._wanted.mode == "serve_module":
                self._serve_module(level)
                return await self._continue(level, is_imported=True)
            self._cwd = os.getcwd()
            self._files = set(os.listdir(self._cwd))
            self._fds = import_effects.open_descriptors()
            function = self._function()
            self._regression.start(self._regression.placeholder(function, self._run))

    def _serve_module(self, level: int) -> None:
        """Imports a module and serves it; returns only in a child, whose request it then has."""
        wanted = self._wanted
        server = _ModuleServer(self._reporter, wanted)
        window = checkpoint.Window(
            wanted.checkpoints[:level], _CannotServe(self._reporter), lambda: None
        )
        seeds.return_to(self._seeds)
        server.user_code_begins()
        try:
            with window.observing(self._began):
                self._regression.discover(wanted)
        except BaseException as error:
            window.miss(text.message_of(error))
        server.user_code_ends()
        self._wanted = server.serve()

    async def _continue(self, level: int, is_imported: bool) -> Any:
        """Continues as the requested testcase."""
        wanted, regression = self._wanted, self._regression
        found: List[Any] = []
        window = checkpoint.Window(
            wanted.checkpoints[:level], _Ends(self._reporter), lambda: self._fits(found[0])
        )
        try:
            with window.observing(self._began):
                if not is_imported:
                    regression.discover(wanted)
                found.append(regression.choose(wanted))
            regression.become(found[0], wanted, self._log_offset)
        except BaseException as error:
            window.miss(text.message_of(error))
        if wanted.checkpoint_failed and not regression.expects_failure(found[0]):
            window.expect_failing(wanted.checkpoints[level])
        return await checkpoint.drive(
            window, self._began, lambda: regression.coroutine(found[0]), regression.go_on
        )

    def _fits(self, test: Any) -> None:
        """Does what is left to do once it is certain that the testcase goes on in this process."""
        self._reporter.send(events.checkpoint_used())
        self._regression.limit(test)

    def _apply(self, wanted: Request, cocotb_major: int) -> None:
        # Its modules are not the server's.
        apply_to_environment(wanted, cocotb_major)

    def _server(self) -> serve.Server:
        return _Server(self._reporter, self._wanted)

    def _obstacle(self) -> str | None:
        """Returns what copies of this process would share, or nothing."""
        function = self._function()
        # What an import of its own would have given each testcase.
        found = super()._obstacle()
        if found is not None:
            return f"the module of `{function}` cannot be shared: {found}"
        count = processes.threads()
        if threads.obstacle() is not None:
            return f"`{function}` leaves {'a thread' if count == 2 else 'threads'} running"
        if processes.children_of(os.getpid()):
            return f"`{function}` leaves a process running"
        opened = sorted(import_effects.open_descriptors() - self._fds)
        if opened:
            return f"`{function}` leaves files or sockets open: {_shown(opened)}"
        if processes.shared_mappings() - self._shared_memory:
            return f"`{function}` makes shared memory"
        if any(os_timer != (0.0, 0.0) for os_timer in map(signal.getitimer, _TIMERS)):
            return f"`{function}` starts a timer"
        if _finalisers_at_exit() > self._finalisers:
            return f"`{function}` or its module makes what is removed at exit, as a temporary directory"
        if atexit._ncallbacks() > self._exit_functions:
            return f"`{function}` registers an exit function"
        if os.getcwd() != self._cwd:
            return f"`{function}` changes the working directory"
        written = sorted(set(os.listdir(self._cwd)) - self._files)
        if written and self._wanted.cwd == os.path.dirname(self._wanted.log or ""):
            return f"`{function}` writes files into the run's own folder: {', '.join(written[:3])}"
        if self._changed is not None:
            return (
                f"`{function}` changes `{self._changed}`, where a testcase can see it before its call; "
                "let it return that instead"
            )
        return None


class _Server(serve.Server):
    """Forks testcases, and the servers of further checkpoints."""

    def _prepare(self) -> None:
        child.forget_user_paths()
        quick_end.freeze_waiting()
        quick_exit.prepare(output.libc(), self._served.has_foreign_code)
        mapped_code.keep_for_children()

    def _check(self, wanted: Request) -> None:
        super()._check(wanted)
        level = self._served.checkpoint_level
        if wanted.mode not in ("run", "serve_module", "serve_checkpoint"):
            raise ValueError(f"a checkpoint's server cannot {wanted.mode}")
        if wanted.mode == "serve_checkpoint" and wanted.checkpoint_level != level + 1:
            raise ValueError(f"the checkpoint after {level} is not {wanted.checkpoint_level}")
        self._expect_same(wanted, ("checkpoints", "seed", "paths", "ambiguous"), "checkpoint's")


class _ModuleServer(module_server.ModuleServer):
    """Serves a module that was imported after the checkpoints."""

    def _server(self) -> serve.Server:
        return _ServerOfModule(self._reporter, self._wanted)


class _ServerOfModule(_Server):
    """Forks testcases of one module."""

    def _check(self, wanted: Request) -> None:
        if wanted.mode != "run":
            raise ValueError(f"a module's server cannot {wanted.mode}")
        same = ("modules", "checkpoints", "checkpoint_level", "seed", "paths", "ambiguous")
        self._expect_same(wanted, same, "module's")


def probe(
    reporter: Reporter, wanted: Request, coroutine: Any, go_on: Callable[[Any], None]
) -> Any:
    """Returns a coroutine that runs a testcase's until it calls the checkpoint that fails.

    If the testcase does anything else first, it goes on as usual.
    """
    window = checkpoint.Window([], _Ends(reporter), lambda: None)
    window.expect_failing(wanted.checkpoints[0])
    return checkpoint.drive(window, None, lambda: coroutine, go_on)


class _Ends:
    """Ends the process where its testcase is not judged in it."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def missed(self, reason: str, levels: int) -> NoReturn:
        self._end(events.checkpoint_missed(reason=reason, levels=levels))

    def failed(self, function: str) -> NoReturn:
        self._end(events.checkpoint_called(function=function))

    def _end(self, event: events.Event) -> NoReturn:
        try:
            self._reporter.send(event)
            output.flush()
        finally:
            os._exit(0)


class _CannotServe:
    """Ends a process whose import does what a testcase may not do before its calls."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def missed(self, reason: str, levels: int) -> NoReturn:
        try:
            self._reporter.send(events.cannot_serve(message=reason))
            output.flush()
        finally:
            os._exit(0)


def _finalisers_at_exit() -> int:
    """Returns how many objects are finalised when the interpreter ends."""
    registry = getattr(weakref.finalize, "_registry", {})
    return sum(1 for info in list(registry.values()) if info.atexit)


def _raw_sim_time() -> Tuple[int, int]:
    from cocotb import simulator

    return simulator.get_sim_time()


def _sim_time_ns() -> float:
    from cocotb.utils import get_sim_time

    return float(get_sim_time("ns"))


def _shown(descriptors: List[str]) -> str:
    return ", ".join(descriptor.split(" ", 1)[1] for descriptor in descriptors[:3])
