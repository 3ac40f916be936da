"""Adapter for cocotb 1.x: hooks into its regression manager.

Written against cocotb 1.9.2. Invariant: as in `v2`, a hook calls cocotb's own method exactly once
and returns or raises what that did.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import time
from typing import Any, Iterator

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

_NEEDED = (
    "_discover_tests",
    "from_discovery",
    "_start_test",
    "_record_result",
    "_score_test",
    "_tear_down",
)


class Adapter:
    """Hooks one process's regression manager."""

    def __init__(self, reporter: Reporter, request: Request) -> None:
        self.reporter = reporter
        self.request = request
        """What it was asked for; a child of a server has a request of its own."""
        self._importing: str | None = None
        self._key_by_id: dict[int, Key] = {}
        self._kept: list[Any] = []
        self._times: tuple[float, float] = (0.0, 0.0)
        self._end_of_simulation: Any = None
        self.manager: Any = None
        """cocotb's regression manager, once it exists."""
        self.log_offset: int | None = None
        """Where the log of the testcase begins that started last."""

    def begin_again(self, request: Request) -> None:
        """Selects for another request from now on."""
        self.request = request

    def install(self) -> None:
        """Installs the hooks; cocotb must be importable and its regression not yet started."""
        from cocotb import regression

        manager = regression.RegressionManager
        absent = [name for name in _NEEDED if not hasattr(manager, name)]
        if not hasattr(regression, "_my_import"):
            absent.append("_my_import")
        if absent:
            raise RuntimeError(f"cocotb.regression has no {', '.join(absent)}")
        self._hook_discovery(regression, manager)
        if self.request.mode != "list":
            self._hook_start(manager)
            self._hook_judgement(manager)
            self._hook_end(manager)
            self._hook_end_of_simulation()

    # Discovery and selection.

    def _hook_discovery(self, regression: Any, manager: Any) -> None:
        reporter = self.reporter
        my_import = regression._my_import

        @functools.wraps(my_import)
        def importing(name: str) -> Any:
            self._importing = name
            try:
                imports.take_the_lead()
                with seeds.importing(name):
                    found = my_import(name)
                imports.check(name)
                return found
            except BaseException as error:
                with reporter.guard("import"):
                    reporter.module_error(name, error)
                raise

        regression._my_import = importing
        discover = manager._discover_tests.__func__
        from_discovery = manager.from_discovery.__func__

        def discovered(cls: Any) -> Any:
            with reporter.guard("discovery"):
                interpreter.user_code_begins()
                seeds.modules_begin()
            if self.request.mode == "list":
                return self._list(cls, regression)
            if self.request.mode == "serve_module":
                return self.select(discover(cls), self._module_server(regression))
            if self.request.mode == "serve_checkpoint":
                from cocorun_agent import v1_checkpoint

                return self.select(v1_checkpoint.placeholders(self, cls))
            return self.select(discover(cls))

        @functools.wraps(from_discovery)
        def made(cls: Any, *args: Any, **kwargs: Any) -> Any:
            # cocotb logs errors here and ends the simulation with exit status 0.
            try:
                return from_discovery(cls, *args, **kwargs)
            except BaseException as error:
                with reporter.guard("from_discovery"):
                    reporter.startup_error(error)
                raise

        def initialised(this: Any, *args: Any, **kwargs: Any) -> None:
            self.manager = this
            initialise(this, *args, **kwargs)

        initialise = manager.__init__
        manager.__init__ = functools.wraps(initialise)(initialised)
        manager._discover_tests = classmethod(discovered)
        manager.from_discovery = classmethod(made)

    def select(self, tests: Iterator[Any], server: Any = None) -> Iterator[Any]:
        """Yields the requested ones of the testcases that cocotb discovers.

        If there is a module's server, it lists them all, and this goes on only in its children.

        Nothing is imported before the first one is needed: cocotb starts to measure coverage
        between creating this generator and using it.
        """
        found: list[Any] = []
        origins: list[str] = []
        for test in tests if server is None else self._listed(tests, server):
            found.append(test)
            origins.append(self._importing or test.__module__)
        chosen = found
        names = selection.Names(list(zip(origins, [test.__qualname__ for test in found])))
        if server is not None:
            self.request = server.serve()
            self.manager.xunit.filename = self.request.results_file
            self.manager.start_time = time.time()
        with self.reporter.guard("select"):
            choice = names.choose(self.request.testcases)
            taken: set[int] = set()
            picked = []
            for index, number in choice.occurrence_by_index.items():
                test = found[index]
                # One object under two names is two testcases to cocotb; each needs its identity.
                if id(test) in taken:
                    test = copy.copy(test)
                taken.add(id(test))
                if self.request.testcases is not None:
                    test.skip = False
                self._key_by_id[id(test)] = Key(*names[index], number, test.__module__)
                picked.append(test)
            self._kept = chosen = picked
            self.reporter.missing(choice.missing)
        yield from chosen

    def _list(self, manager: Any, regression: Any) -> Any:
        from cocotb.decorators import test as test_class

        setup = getattr(manager, "_setup_pytest_assertion_rewriting", None)
        if setup is not None:
            setup(self.request.modules)

        regression._my_import = regression._my_import.__wrapped__
        definitions.watch([test_class], regression, "_my_import")

        def discover(module: str) -> list[listing.Found]:
            imports.take_the_lead()
            found = regression._my_import(module)
            imports.check(module)
            tests = [item for item in vars(found).values() if isinstance(item, test_class)]
            return [_found(test) for test in tests]

        modules = self.request.modules
        listing.list_and_exit(self.reporter, modules, discover, definitions.unreachable)

    def _module_server(self, regression: Any) -> Any:
        from cocotb.decorators import test as test_class

        # It needs `ctypes`, which a fork server has and a run need not have.
        from cocorun_agent import module_server

        definitions.watch([test_class], regression, "_my_import")
        return module_server.ModuleServer(self.reporter, self.request)

    def _listed(self, tests: Iterator[Any], server: Any) -> list[Any]:
        """Lists the module's testcases while what its import does is watched."""
        [module] = self.request.modules
        found: list[Any] = []

        def discover(_module: str) -> list[listing.Found]:
            found.extend(tests)
            return [_found(test) for test in found]

        server.user_code_begins()
        has_any = listing.list_module(self.reporter, module, discover, definitions.unreachable)
        server.user_code_ends()
        if not has_any:
            listing.finish(self.reporter)
        return found

    # What happens to a testcase.

    def _hook_start(self, manager: Any) -> None:
        original = manager._start_test

        @functools.wraps(original)
        def started(this: Any) -> Any:
            with self.reporter.guard("_start_test"):
                test = this._test
                self.log_offset = output.log_offset()
                self.reporter.started(self.key_of(test), seed_of(test), self.log_offset)
            with self.reporter.guard("seed"):
                seeds.testcase_begins(self.key_of(this._test).module, seed_of(this._test))
            if self.request.probes_checkpoint:
                from cocorun_agent import v1_checkpoint

                with self.reporter.guard("probe"):
                    v1_checkpoint.probe(self, this._test_task, this._test)
            return original(this)

        manager._start_test = started

    def _hook_judgement(self, manager: Any) -> None:
        record_result = manager._record_result
        score_test = manager._score_test

        @functools.wraps(record_result)
        def recorded(
            this: Any, test: Any, outcome: Any, wall_time_s: float, sim_time_ns: float
        ) -> Any:
            # A simulation that has ended is torn down within the call, and other testcases pass
            # through here meanwhile: what belongs to this one must be reported by `_score_test`.
            self._times = (wall_time_s, sim_time_ns)
            try:
                result = record_result(this, test, outcome, wall_time_s, sim_time_ns)
            except BaseException as error:
                with self.reporter.guard("_record_result"):
                    self.reporter.regression_error(error)
                raise
            if outcome is None:
                with self.reporter.guard("_record_result"):
                    self.reporter.skipped(self.key_of(test), None, None)
            return result

        @functools.wraps(score_test)
        def scored(this: Any, test: Any, outcome: Any) -> Any:
            times = self._times
            try:
                passed, sim_failed = score_test(this, test, outcome)
            except EXITS as error:
                # cocotb passes these through to the simulator, without a verdict.
                with self.reporter.guard("_score_test"):
                    self.reporter.exits(self.key_of(test), error, *times)
                raise
            with self.reporter.guard("_score_test"):
                self._judge(this, test, outcome, passed, times)
            return passed, sim_failed

        manager._record_result = recorded
        manager._score_test = scored

    def _judge(
        self, manager: Any, test: Any, outcome: Any, passed: bool, times: tuple[float, float]
    ) -> None:
        from cocotb.result import SimFailure, TestSuccess

        key = self.key_of(test)
        error = getattr(outcome, "error", None)
        # While tearing down, cocotb passes the class itself for testcases that never ran.
        failed = error is SimFailure or isinstance(error, SimFailure)
        if isinstance(error, TestSuccess):
            error = None
        if not self.reporter.is_running(key):
            if failed:
                self.reporter.not_run(key, "simulation-ended", None)
            else:
                self.reporter.init_failed(key, error)
            return
        note = None
        if not passed and error is None:
            wanted = "an error" if test.expect_error else "a failure"
            note = f"passed but {wanted} was expected"
        # A testcase can raise a `SimFailure` of its own while the simulation goes on.
        ended = failed and error is self._end_of_simulation
        returned = text.type_of_value(getattr(outcome, "value", None)) if passed else None
        self.reporter.judged(key, Judgement(passed, error, note, *times, ended, returned))

    def _hook_end(self, manager: Any) -> None:
        original = manager._tear_down

        @functools.wraps(original)
        def ended(this: Any) -> Any:
            again = this._tearing_down
            try:
                result = original(this)
            except BaseException as error:
                with self.reporter.guard("_tear_down"):
                    self.reporter.regression_error(error)
                raise
            if not again:
                with self.reporter.guard("_tear_down"):
                    self.reporter.regression_finished()
                    quick_end.lead()
            return result

        manager._tear_down = ended

    def _hook_end_of_simulation(self) -> None:
        """Keeps the exception that cocotb creates when the simulator ends."""
        from cocotb.scheduler import Scheduler

        original = getattr(Scheduler, "_finish_scheduler", None)
        if original is None:
            self.reporter.cannot("know why a simulation ends", "Scheduler has changed")
            return

        @functools.wraps(original)
        def finishing(this: Any, exc: Any) -> Any:
            self._end_of_simulation = exc
            return original(this, exc)

        Scheduler._finish_scheduler = finishing

    def key_of(self, test: Any) -> Key:
        """Returns the name of a testcase."""
        key = self._key_by_id.get(id(test))
        return key or Key(test.__module__, test.__qualname__, 0, test.__module__)


def seed_of(test: Any) -> int:
    """Returns the seed that cocotb 1.9 gives the random module for one testcase."""
    import cocotb

    digest = hashlib.sha1(test.__qualname__.encode() + test.__module__.encode())
    return int(cocotb.RANDOM_SEED) + int(digest.hexdigest(), 16)


def _found(test: Any) -> listing.Found:
    return listing.Found(
        name=test.__qualname__,
        defined_in=test.__module__,
        function=test._func,
        doc=test.__doc__,
        skip=test.skip,
        stage=test.stage,
        order=test._id,
        expect_fail=test.expect_fail,
        expect_error=bool(test.expect_error),
    )
