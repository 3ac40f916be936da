"""Adapter for cocotb 2.x: hooks into its regression manager.

Written against cocotb 2.0.1 and 2.1.0. All names used here are private to cocotb, so each hook is
installed only if the name exists; what is lost without it is reported in an `agent_error`. Without
selection hooks the public `COCOTB_TEST_FILTER` takes over.

Invariant: a hook calls cocotb's own method exactly once, with the arguments it got, and returns or
raises what that did.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import operator
import os
import re
import sys
import time
from typing import Any, Callable

from cocorun_agent import (
    definitions,
    imports,
    interpreter,
    listing,
    output,
    quick_end,
    seeds,
    selection,
    text,
)
from cocorun_agent.reporter import EXITS, Judgement, Key, Reporter
from cocorun_agent.request import Request

_JUDGING = (
    "_record_test_passed",
    "_record_test_failed",
    "_record_test_skipped",
    "_record_test_init_failed",
)


class Adapter:
    """Hooks one process's regression manager."""

    def __init__(self, reporter: Reporter, request: Request) -> None:
        self.reporter = reporter
        self.request = request
        """What it was asked for; a child of a server has a request of its own."""
        self._importing: str | None = None
        self._registered: list[Any] = []
        self._origins: list[str] = []
        self._key_by_id: dict[int, Key] = {}
        self._kept: list[Any] = []
        self._names = selection.Names([])
        self._queue: list[Any] | None = None
        self._manager: Any = None
        self.log_offset: int | None = None
        """Where the log of the testcase begins that cocotb announced last."""
        self._error: Any = None

    def begin_again(self, request: Request) -> None:
        """Forgets what was discovered, for another request."""
        self.request = request
        self._registered.clear()
        self._origins.clear()
        self._kept.clear()

    def install(self) -> None:
        """Installs the hooks; cocotb must be importable and its regression not yet started."""
        # cocotb 2.0 cannot import these the other way round.
        import cocotb.handle  # noqa: F401
        from cocotb import regression

        manager = regression.RegressionManager
        if self.request.mode == "list":
            if not hasattr(manager, "discover_tests"):
                raise RuntimeError("cannot list testcases: no RegressionManager.discover_tests")
            self._hook_listing(manager)
            return
        discover_tests = getattr(manager, "discover_tests", None)
        self._hook_discovery(regression, manager)
        self._hook_selection(manager)
        self._hook_start(manager)
        self._hook_judgement(manager)
        self._hook_end(manager)
        if self.request.mode == "serve_module":
            self._hook_module_server(regression, manager, discover_tests)
        if self.request.mode == "serve_checkpoint":
            from cocorun_agent import v2_checkpoint

            v2_checkpoint.install(self, regression, manager, discover_tests)

    # Discovery and selection.

    def _hook_discovery(self, regression: Any, manager: Any) -> None:
        """Finds out which requested module each testcase comes from."""
        reporter = self.reporter
        import_module = getattr(regression, "import_module", None)
        if import_module is None or not hasattr(manager, "register_test"):
            reporter.cannot("know where testcases come from", "cocotb.regression has changed")
            return

        @functools.wraps(import_module)
        def importing(name: str, *args: Any, **kwargs: Any) -> Any:
            self._importing = name
            try:
                imports.take_the_lead()
                with seeds.importing(name):
                    found = import_module(name, *args, **kwargs)
                imports.check(name)
                return found
            except BaseException as error:
                with reporter.guard("import"):
                    reporter.module_error(name, error)
                raise

        regression.import_module = importing

        register_test = manager.register_test

        @functools.wraps(register_test)
        def registered(this: Any, *args: Any, **kwargs: Any) -> Any:
            result = register_test(this, *args, **kwargs)
            # No context manager here: a child registers every testcase of its module to run one.
            try:
                test = args[0] if args else kwargs["test"]
                origin = self._importing or test.module
                self._registered.append(test)
                self._origins.append(origin)
            except Exception:
                with reporter.guard("register_test"):
                    raise
            return result

        manager.register_test = registered

        def discovering(original: Callable[..., Any], this: Any, *modules: str) -> Any:
            with reporter.guard("discover_tests"):
                interpreter.user_code_begins()
                seeds.modules_begin()
            try:
                return original(this, *modules)
            except RuntimeError as error:
                # Modules without any testcase: cocotb gives up before a selection is made.
                with reporter.guard("discover_tests"):
                    if _is_raised_in(original, error):
                        nothing = selection.Names([])
                        reporter.missing(nothing.choose(self.request.testcases).missing)
                raise

        _hook(manager, "discover_tests", discovering)

    def _hook_selection(self, manager: Any) -> None:
        if not hasattr(manager, "start_regression"):
            self.reporter.cannot("select testcases exactly", "RegressionManager has changed")
            self._filter_publicly()
            return

        def starting(original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
            with self.reporter.guard("select"):
                self.select(this)
            return original(this, *args, **kwargs)

        _hook(manager, "start_regression", starting)

    def select(self, manager: Any) -> None:
        """Reduces the queue to the requested testcases, before cocotb sorts and counts it."""
        queue = manager._test_queue
        if self._queue is not queue:
            self._look_through(queue)
        names = self._names
        choice = names.choose(self.request.testcases)
        taken: set[int] = set()
        for index, number in choice.occurrence_by_index.items():
            test = queue[index]
            # One object under two names is two testcases to cocotb; each needs an identity here.
            if id(test) in taken:
                test = copy.copy(test)
            taken.add(id(test))
            if self.request.testcases is not None:
                test.skip = False
            self._key_by_id[id(test)] = Key(*names[index], number, test.module)
            self._kept.append(test)
        manager._test_queue = list(self._kept)
        self.reporter.missing(choice.missing)

    def _look_through(self, queue: list[Any]) -> None:
        """Finds out what the testcases in the queue are called; a module's server does it once."""
        known = len(queue) == len(self._registered) and all(
            map(operator.is_, queue, self._registered)
        )
        origins = self._origins if known else [test.module for test in queue]
        self._names = selection.Names(list(zip(origins, [test.name for test in queue])))
        self._queue = queue

    def _filter_publicly(self) -> None:
        """Falls back to cocotb's public filter, under which `skip=True` testcases are run."""
        if self.request.testcases is None:
            return
        names = (re.escape(f"{want.module}.{want.testcase}") for want in self.request.testcases)
        os.environ["COCOTB_TEST_FILTER"] = rf"^(?:{'|'.join(names)})\Z"

    # What happens to a testcase.

    def _hook_start(self, manager: Any) -> None:
        """A testcase has started when its body is about to run.

        cocotb announces it one simulator step earlier; if the simulation ends in that step, the
        body never ran.
        """
        if not hasattr(manager, "_log_test_start"):
            self.reporter.cannot("know when testcases start", "RegressionManager has changed")
            return
        running = _running_test_class()

        def announced(original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
            with self.reporter.guard("_log_test_start"):
                self._manager = this
                self._error = None
                self.log_offset = output.log_offset()
                if running is None:
                    self.reporter.started(self._key(this), None, self.log_offset)
            return original(this, *args, **kwargs)

        _hook(manager, "_log_test_start", announced)
        if running is None:
            return

        def started(original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
            with self.reporter.guard("start"):
                if self._manager is not None and self._manager._running_test is this:
                    import cocotb

                    key = self._key(self._manager)
                    self.reporter.started(key, cocotb.RANDOM_SEED, self.log_offset)
                    seeds.testcase_begins(key.module, cocotb.RANDOM_SEED)
                    self._probe(this)
            return original(this, *args, **kwargs)

        _hook(running, "start", started)
        for name in ("_abort", "abort"):
            if hasattr(running, name):
                _hook(running, name, self._aborted)

    def _probe(self, running: Any) -> None:
        """Observes a testcase that may call a checkpoint which fails."""
        if self.request.probes_checkpoint:
            from cocorun_agent import v2_checkpoint

            v2_checkpoint.probe(self, running, self._manager._test)

    def _aborted(self, original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
        """Notices an exception that cocotb 2.1 passes through to the simulator, without a verdict.

        cocotb 2.0 judges such a testcase within the call, so its verdict comes first.
        """
        try:
            return original(this, *args, **kwargs)
        finally:
            with self.reporter.guard("abort"):
                error = args[0] if args else None
                error = getattr(error, "error", error)
                manager = self._manager
                if (
                    isinstance(error, EXITS)
                    and manager is not None
                    and manager._running_test is this
                ):
                    duration_s, sim_time_ns = self._times(manager)
                    self.reporter.exits(self._key(manager), error, duration_s, sim_time_ns)

    def _hook_judgement(self, manager: Any) -> None:
        absent = [name for name in _JUDGING if not hasattr(manager, name)]
        if absent:
            self.reporter.cannot("know verdicts", f"RegressionManager has no {absent[0]}")

        def scoring(original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
            with self.reporter.guard("_score_test"):
                error = args[0] if args else kwargs.get("exc", kwargs.get("outcome"))
                # cocotb 2.0 passes an outcome object, 2.1 the exception itself.
                self._error = error if isinstance(error, BaseException) else None
                if self._error is None:
                    self._error = getattr(error, "error", None)
            return original(this, *args, **kwargs)

        _hook(manager, "_score_test", scoring)
        _hook(manager, "_record_test_passed", self._recorder(self._passed))
        _hook(manager, "_record_test_xfail", self._recorder(self._passed))
        _hook(manager, "_record_test_failed", self._recorder(self._failed))
        _hook(manager, "_record_test_skipped", self._recorder(self._skipped))
        _hook(manager, "_record_test_init_failed", self._recorder(self._init_failed))

    def _recorder(self, report: Callable[[Any, Key, dict[str, Any]], None]) -> Callable[..., Any]:
        """Makes a hook that reports a verdict after cocotb has logged it, even if it then fails."""

        def record(original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                result = original(this, *args, **kwargs)
            except BaseException as error:
                # First, so that the testcase's verdict can mention the consequence.
                with self.reporter.guard(original.__name__):
                    self.reporter.regression_error(error)
                with self.reporter.guard(original.__name__):
                    report(this, self._key(this), kwargs)
                raise
            with self.reporter.guard(original.__name__):
                report(this, self._key(this), kwargs)
            # An exception holds its testcase's frames, and with them what the testcase created.
            self._error = None
            return result

        return record

    def _passed(self, manager: Any, key: Key, seen: dict[str, Any]) -> None:
        error = self._error
        # `pass_test()` passes with an exception that is not a failure.
        if _is_of_cocotb(error, "TestSuccess"):
            error = None
        judgement = Judgement(True, error, seen.get("msg"), *_durations(seen))
        if self._error is None:
            judgement = judgement._replace(returned=_returned(manager._running_test))
        self._judge(manager, key, judgement)

    def _failed(self, manager: Any, key: Key, seen: dict[str, Any]) -> None:
        error = seen.get("result")
        self._judge(manager, key, Judgement(False, error, seen.get("msg"), *_durations(seen)))

    def _judge(self, manager: Any, key: Key, judgement: Judgement) -> None:
        failed = _is_of_cocotb(self._error, "SimFailure")
        limited = _is_of_cocotb(self._error, "RegressionTerminated")
        if (failed or limited) and not self.reporter.is_running(key):
            cause = "simulation-ended" if failed else "max-failures"
            self.reporter.not_run(key, cause, self._error)
        else:
            # A testcase can raise a `SimFailure` of its own while the simulation goes on.
            ended = failed and self._error is _end_of_simulation(manager)
            self.reporter.judged(key, judgement._replace(simulation_ended=ended))

    def _skipped(self, manager: Any, key: Key, seen: dict[str, Any]) -> None:
        judgement = Judgement(True, None, None, *_durations(seen))
        self.reporter.skipped(key, seen.get("msg"), judgement)

    def _init_failed(self, manager: Any, key: Key, seen: dict[str, Any]) -> None:
        self.reporter.init_failed(key, sys.exc_info()[1])

    def _hook_end(self, manager: Any) -> None:
        if not hasattr(manager, "_tear_down"):
            self.reporter.cannot("know the end", "RegressionManager has no _tear_down")
            return

        def ending(original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
            again = getattr(this, "_tearing_down", False)
            try:
                result = original(this, *args, **kwargs)
            except BaseException as error:
                with self.reporter.guard("_tear_down"):
                    self.reporter.regression_error(error)
                raise
            if not again:
                with self.reporter.guard("_tear_down"):
                    self.reporter.regression_finished()
                    quick_end.lead()
            return result

        _hook(manager, "_tear_down", ending)

        def ended(original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(this, *args, **kwargs)
            with self.reporter.guard("_on_sim_end"):
                self._report_stranded(this)
            return result

        _hook(manager, "_on_sim_end", ended)

    def _report_stranded(self, manager: Any) -> None:
        """Reports what cocotb 2.1 leaves out if the simulation ends between two testcases.

        It waits for the announced testcase, which never began, to end, and writes no results.
        """
        if manager._tearing_down or self.reporter.is_running(self._key(manager)):
            return
        for test in [manager._test, *manager._test_queue]:
            self.reporter.not_run(self.key_of(test), "simulation-ended", None)

    def _key(self, manager: Any) -> Key:
        return self.key_of(manager._test)

    def key_of(self, test: Any) -> Key:
        """Returns the name of a testcase."""
        key = self._key_by_id.get(id(test))
        return key or Key(test.module, test.name, 0, test.module)

    def _times(self, manager: Any) -> tuple[float, float]:
        """Returns wall-clock seconds and simulated nanoseconds since the testcase began."""
        from cocotb.simtime import get_sim_time

        clock = time.monotonic if hasattr(manager, "_random_x_resolver_state") else time.time
        return clock() - manager._start_time, get_sim_time("ns") - manager._start_sim_time

    # Listing.

    def _hook_listing(self, manager: Any) -> None:
        """Replaces discovery: cocotb calls it after everything a test module may rely on."""

        def discovering(original: Callable[..., Any], this: Any, *modules: str) -> Any:
            interpreter.user_code_begins()
            seeds.modules_begin()
            with self.reporter.guard("definitions"):
                from cocotb import regression

                definitions.watch(_testcase_classes(), regression, "import_module")

            def discover(module: str) -> list[listing.Found]:
                this._test_queue = []
                imports.take_the_lead()
                try:
                    original(this, module)
                except RuntimeError as error:
                    if not _is_raised_in(original, error):
                        raise
                imports.check(module)
                return [_found(test) for test in this._test_queue]

            listing.list_and_exit(self.reporter, modules, discover, definitions.unreachable)

        _hook(manager, "discover_tests", discovering)

    # Serving a module.

    def _hook_module_server(self, regression: Any, manager: Any, discover_tests: Any) -> None:
        """Lists the module once cocotb has discovered it, and forks where the regression starts."""
        if discover_tests is None or not hasattr(manager, "start_regression"):
            raise RuntimeError("cannot serve a module: RegressionManager has changed")
        # It needs `ctypes`, which a fork server has and a run need not have.
        from cocorun_agent import module_server

        server = module_server.ModuleServer(self.reporter, self.request)
        definitions.watch(_testcase_classes(), regression, "import_module")

        def initialising(original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(this, *args, **kwargs)
            server.user_code_begins()
            return result

        _hook(manager, "__init__", initialising)

        def discovering(original: Callable[..., Any], this: Any, module: str) -> None:
            def discover(module: str) -> list[listing.Found]:
                try:
                    original(this, module)
                except RuntimeError as error:
                    if not _is_raised_in(discover_tests, error):
                        raise
                return [_found(test) for test in this._test_queue]

            unreachable = definitions.unreachable
            has_any = listing.list_module(self.reporter, module, discover, unreachable)
            server.user_code_ends()
            if not has_any:
                listing.finish(self.reporter)

        _hook(manager, "discover_tests", discovering)

        def starting(original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
            with self.reporter.guard("select"):
                self._look_through(this._test_queue)
            self.request = server.serve()
            # cocotb 2.1 reads the environment when it writes the file, 2.0 has done so by now.
            if hasattr(this.xunit, "filename"):
                this.xunit.filename = self.request.results_file
            return original(this, *args, **kwargs)

        _hook(manager, "start_regression", starting)


def _hook(owner: Any, name: str, hook: Callable[..., Any]) -> None:
    """Wraps a method in `hook(original, self, …)`, if the class has it."""
    original = getattr(owner, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        return hook(original, self, *args, **kwargs)

    setattr(owner, name, hooked)


def _running_test_class() -> Any:
    """Returns the class whose `start` runs a testcase's body, or nothing."""
    # The first is cocotb 2.1's, the second 2.0's.
    for module, name in (("_test_manager", "TestManager"), ("_test", "RunningTest")):
        try:
            running = getattr(importlib.import_module(f"cocotb.{module}"), name, None)
        except ImportError:
            continue
        if hasattr(running, "start"):
            return running
    return None


def _returned(running: Any) -> str | None:
    """Returns the type of what a testcase's coroutine returned, if that is not `None`."""
    with contextlib.suppress(BaseException):
        return text.type_of_value(running._main_task.result())
    return None


def _testcase_classes() -> list[type]:
    """Returns the classes that decorators make testcases of."""
    from cocotb import _decorators

    # The first is cocotb 2.1's, the others are 2.0's, where the first is absent.
    known = getattr(_decorators, "TestGenerator", None)
    if known is not None:
        return [known]
    return [_decorators.Test, _decorators.Parameterized]


def _is_of_cocotb(error: Any, name: str) -> bool:
    """Says whether an exception is of cocotb's class `name`, wherever this version defines it."""
    kind = type(error)
    return kind.__name__ == name and kind.__module__.split(".")[0] == "cocotb"


def _end_of_simulation(manager: Any) -> Any:
    """Returns the exception that cocotb created when the simulator ended, or nothing."""
    # The first is cocotb 2.1's, the second 2.0's, which wraps it in an outcome.
    error = getattr(manager, "_regression_terminated", None)
    return error or getattr(getattr(manager, "_sim_failure", None), "error", None)


def _durations(seen: dict[str, Any]) -> tuple[float, float]:
    """Returns wall-clock seconds and simulated nanoseconds from a record call's arguments."""
    sim_time_ns = seen.get("sim_time_ns")
    if sim_time_ns is None:
        sim_time_ns = seen.get("sim_time_stop", 0) - seen.get("sim_time_start", 0)
    return float(seen.get("wall_time_s", 0)), float(sim_time_ns)


def _is_raised_in(function: Callable[..., Any], error: BaseException) -> bool:
    """Says whether `error` was raised by `function` itself and not by something it called.

    cocotb raises a plain RuntimeError if no module has a testcase; user code may do so as well.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is function.__code__


def _found(test: Any) -> listing.Found:
    return listing.Found(
        name=test.name,
        defined_in=test.module,
        function=test.func,
        doc=test.doc,
        skip=test.skip,
        stage=test.stage,
        order=0,
        expect_fail=test.expect_fail,
        expect_error=bool(test.expect_error),
    )
