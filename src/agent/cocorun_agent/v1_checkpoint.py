"""Checkpoints with cocotb 1.x: how its running testcase becomes another one.

Written against cocotb 1.9.2. Invariant: as in `v2_checkpoint`.
"""

from __future__ import annotations

import random
import time
from typing import Any, Iterator

from cocorun_agent import checkpoint_server, output, seeds
from cocorun_agent.request import Request


def placeholders(adapter: Any, manager: Any) -> Iterator[Any]:
    """Yields what cocotb runs instead of testcases: the checkpoint of the adapter's request."""
    setup = getattr(manager, "_setup_pytest_assertion_rewriting", None)
    if setup is not None:
        setup(adapter.request.modules)
    regression = _Regression(adapter)
    yield checkpoint_server.CheckpointServer(adapter.reporter, adapter.request, regression).begin()


def probe(adapter: Any, task: Any, test: Any) -> None:
    """Has a testcase that is about to start observed until it calls a checkpoint that fails."""
    if not test.expect_fail and not test.expect_error:

        def go_on(coroutine: Any) -> None:
            task._coro = coroutine

        reporter, wanted = adapter.reporter, adapter.request
        task._coro = checkpoint_server.probe(reporter, wanted, task._coro, go_on)


class _Regression(checkpoint_server.Regression):
    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter
        self._placeholders: list[Any] = []
        self._discovered: list[Any] = []

    @property
    def log_offset(self) -> int | None:
        return self._adapter.log_offset  # type: ignore[no-any-return]

    def placeholder(self, function: str, coroutine_function: Any) -> Any:
        import cocotb

        placeholder = checkpoint_server.named(function, coroutine_function)
        test = cocotb.test()(placeholder)
        self._placeholders.append(test)
        return test

    def start(self, placeholder: Any) -> None:
        self._adapter.manager._test = placeholder
        self._announce(placeholder)
        key = self._adapter.key_of(placeholder)
        self._adapter.reporter.started(key, None, output.log_offset())

    def discover(self, wanted: Request) -> None:
        from cocotb import regression
        from cocotb.decorators import test as test_class

        [module] = wanted.modules
        self._adapter.begin_again(wanted)
        found = regression._my_import(module)
        self._discovered = [it for it in vars(found).values() if isinstance(it, test_class)]

    def choose(self, wanted: Request) -> Any:
        self._adapter.request = wanted
        [test] = self._adapter.select(iter(self._discovered))
        return test

    def become(self, test: Any, wanted: Request, log_offset: int | None) -> None:
        from cocorun_agent import v1

        if test.timeout_time is not None:
            # cocotb 1.9 runs its body in a task that must start with it.
            raise RuntimeError("it has a `timeout_time`")
        manager = self._adapter.manager
        manager.xunit.filename = wanted.results_file
        manager._test = test
        task = manager._test_task
        task.funcname = test._func.__name__
        task.__name__ = task.__qualname__ = f"Test {task.funcname}"
        self._announce(test)
        seed = v1.seed_of(test)
        random.seed(seed)
        key = self._adapter.key_of(test)
        self._adapter.reporter.started(key, seed, log_offset)
        seeds.testcase_begins(key.module, seed)
        manager.start_time = manager._test_start_time = time.time()

    def coroutine(self, test: Any) -> Any:
        import cocotb

        return test._func(cocotb.top)

    def go_on(self, coroutine: Any) -> None:
        self._adapter.manager._test_task._coro = coroutine

    def limit(self, test: Any) -> None:
        pass

    def _announce(self, test: Any) -> None:
        """Logs that a testcase runs, as cocotb does where it also starts it."""
        manager = self._adapter.manager
        manager.log.info(f"running {test.__qualname__} ({manager.count}/{manager.ntests})")
