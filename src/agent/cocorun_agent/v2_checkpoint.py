"""Checkpoints with cocotb 2.x: how its running testcase becomes another one.

Written against cocotb 2.0.1 and 2.1.0. Invariant: what cocotb has for a testcase that runs is set as
its own regression manager sets it for the requested one, except for what the checkpoint has used up:
simulated time, and the time limit.
"""

from __future__ import annotations

import hashlib
import random
import time
from typing import Any

from cocorun_agent import checkpoint_server, interpreter, output, seeds
from cocorun_agent.request import Request


def install(adapter: Any, regression: Any, manager: Any, discover_tests: Any) -> None:
    """Has cocotb run the checkpoint of the adapter's request instead of testcases."""
    if discover_tests is None or not hasattr(manager, "_log_test_start"):
        raise RuntimeError("cannot serve a checkpoint: RegressionManager has changed")
    running = _Regression(adapter, discover_tests)
    server = checkpoint_server.CheckpointServer(adapter.reporter, adapter.request, running)

    def discovering(this: Any, *_modules: str) -> None:
        running.manager = this
        interpreter.user_code_begins()
        seeds.modules_begin()
        this.register_test(server.begin())

    manager.discover_tests = discovering


def probe(adapter: Any, running: Any, test: Any) -> None:
    """Has a testcase that is about to start observed until it calls a checkpoint that fails."""
    if not test.expect_fail and not test.expect_error:
        task = running._main_task

        def go_on(coroutine: Any) -> None:
            task._coro = coroutine

        reporter, wanted = adapter.reporter, adapter.request
        task._coro = checkpoint_server.probe(reporter, wanted, task._coro, go_on)


class _Regression(checkpoint_server.Regression):
    def __init__(self, adapter: Any, discover_tests: Any) -> None:
        self._adapter = adapter
        self._discover_tests = discover_tests
        self._placeholders: list[Any] = []
        self._discovered: list[Any] = []
        self.manager: Any = None

    @property
    def log_offset(self) -> int | None:
        return self._adapter.log_offset  # type: ignore[no-any-return]

    def placeholder(self, function: str, coroutine_function: Any) -> Any:
        import cocotb

        placeholder = checkpoint_server.named(function, coroutine_function)
        made = cocotb.test()(placeholder)
        [test] = made.generate_tests() if hasattr(made, "generate_tests") else [made]
        self._placeholders.append(test)
        return test

    def start(self, placeholder: Any) -> None:
        manager = self.manager
        manager._test = placeholder
        manager._log_test_start()
        self._adapter.reporter.started(self._adapter.key_of(placeholder), None, output.log_offset())

    def discover(self, wanted: Request) -> None:
        import cocotb

        manager = self.manager
        cocotb.RANDOM_SEED = manager._regression_seed
        [module] = wanted.modules
        manager._test_queue = []
        self._adapter.begin_again(wanted)
        self._discover_tests(manager, module)
        self._discovered = manager._test_queue

    def choose(self, wanted: Request) -> Any:
        manager = self.manager
        self._adapter.request = wanted
        manager._test_queue = self._discovered
        self._adapter.select(manager)
        [test] = manager._test_queue
        manager._test_queue = []
        return test

    def become(self, test: Any, wanted: Request, log_offset: int | None) -> None:
        import cocotb

        manager = self.manager
        if getattr(test, "timeout_time", None) is not None:
            # cocotb 2.0 runs its body in a task that must start with it.
            raise RuntimeError("it has a `timeout_time`")
        if getattr(test, "timeout", None) is not None and self._steps_left(test) <= 0:
            raise RuntimeError("its `timeout_time` is over")
        if hasattr(manager.xunit, "filename"):
            manager.xunit.filename = wanted.results_file
        manager._test = test
        manager._running_test._main_task.set_name(f"Test {test.name}")
        manager._log_test_start()
        digest = hashlib.sha1(test.fullname.encode()).hexdigest()
        seed = manager._regression_seed + int(digest, 16)
        cocotb.RANDOM_SEED = seed
        random.seed(seed)
        is_2_1 = hasattr(manager, "_random_x_resolver_state")
        if is_2_1:
            cocotb.types._resolve._randomResolveRng.seed(seed)
        key = self._adapter.key_of(test)
        self._adapter.reporter.started(key, seed, log_offset)
        seeds.testcase_begins(key.module, seed)
        now = time.monotonic() if is_2_1 else time.time()
        manager._start_time = manager._regression_start_time = now

    def coroutine(self, test: Any) -> Any:
        import cocotb

        return test.func(cocotb.top, *getattr(test, "args", ()), **getattr(test, "kwargs", {}))

    def go_on(self, coroutine: Any) -> None:
        self.manager._running_test._main_task._coro = coroutine

    def limit(self, test: Any) -> None:
        if getattr(test, "timeout", None) is not None:
            from cocotb.triggers import Timer

            running = self.manager._running_test
            left = Timer(self._steps_left(test), "step")
            running._timeout_cb = left._register(running._on_timeout)

    def _steps_left(self, test: Any) -> int:
        from cocotb.triggers import Timer
        from cocotb.utils import get_sim_time

        return int(Timer(*test.timeout)._sim_steps + self.began_steps - get_sim_time("step"))
