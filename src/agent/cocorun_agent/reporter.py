"""Turns cocotb's verdicts into events, at most one for each testcase.

The version adapters report what they observe here. Invariants: a started testcase gets at most
one `testcase_finished`; a testcase whose body never ran because the simulation was over gets
`not_run` and never a verdict, whatever cocotb writes into its results file; an exception of the
agent itself becomes an `agent_error` event and goes no further.
"""

from __future__ import annotations

import contextlib
from bdb import BdbQuit
from typing import Any, Callable, NamedTuple, Sequence

from cocorun_agent import events, output, text
from cocorun_agent.channel import Channel
from cocorun_agent.events import Event
from cocorun_agent.request import Wanted

EXITS = (KeyboardInterrupt, SystemExit, BdbQuit)
"""Exceptions with which a testcase ends not only itself but the process."""


class Key(NamedTuple):
    """Names one testcase in this process."""

    module: str
    """The module the caller asked for, where cocotb found the testcase."""
    testcase: str
    occurrence: int
    """Index among equal names in that module, from 0, in cocotb's order of discovery."""
    defined_in: str
    """The module cocotb itself names in its results; differs for imported testcases."""


class Judgement(NamedTuple):
    """cocotb's verdict on one testcase."""

    passed: bool
    error: Any
    """The exception, or nothing."""
    note: str | None
    """cocotb's own message about the verdict, or nothing."""
    duration_s: float
    sim_time_ns: float
    simulation_ended: bool = False
    """Whether the simulator has said that the simulation ends, which is what is judged here."""
    returned: str | None = None
    """The type of what the testcase returned, if it passed and that is not `None`."""


class _Guard:
    """What `Reporter.guard` returns; a generator would touch more pages that a server shares."""

    def __init__(self, reporter: Reporter, where: str) -> None:
        self._reporter = reporter
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        with contextlib.suppress(Exception):
            self._reporter.send(events.agent_error(where=self._where, **_fields_of(error)))
        return True


class Reporter:
    """Sends the events of one process."""

    def __init__(self, channel: Channel) -> None:
        self.restart(channel)

    def restart(self, channel: Channel) -> None:
        """Begins again for a copy of the process, with a channel of its own."""
        self._channel = channel
        self._running: Key | None = None
        self._seed: str | None = None
        self._finished: set[Key] = set()
        self._closed = False
        self._reported: Any = None

    def guard(self, where: str) -> _Guard:
        """Keeps an exception of the agent itself away from cocotb and reports it instead."""
        return _Guard(self, where)

    def send(self, event: Event) -> None:
        """Sends an event that needs no bookkeeping."""
        self._channel.send(event)

    def send_line(self, line: str) -> None:
        """Sends an event that is a line of JSON already."""
        self._channel.send_line(line)

    def send_of_server(self, line: str) -> None:
        """Sends an event of a server that is a line of JSON already."""
        self._channel.send_of_server(line)

    def abandon(self) -> None:
        """Closes the server's channel in a copy of the server."""
        self._channel.abandon()

    def missing(self, wanted: Sequence[Wanted]) -> None:
        """Reports which requested testcases do not exist."""
        for want in wanted:
            occurrence = want.occurrence or 0
            self._channel.send(
                events.missing(module=want.module, testcase=want.testcase, occurrence=occurrence)
            )

    def cannot(self, what: str, because: str) -> None:
        """Reports that this cocotb does not offer what the agent needs for `what`."""
        self._channel.send(
            events.agent_error(
                where=what,
                error_type="Unsupported",
                message=f"cannot {what} because {because}",
                traceback="",
            )
        )

    def module_error(self, module: str, error: BaseException) -> None:
        """Reports that a test module could not be imported or searched for testcases."""
        self._report(events.module_error, error, is_import=True, module=module)

    def preload_error(self, module: str, error: BaseException) -> None:
        """Reports that a module cannot be imported, or is not safe to have, before the fork."""
        self._report(events.preload_error, error, module=module)

    def startup_error(self, error: BaseException) -> None:
        """Reports that cocotb gave up before, or outside of, any testcase."""
        self._report(events.startup_error, error)

    def regression_error(self, error: BaseException) -> None:
        """Reports that cocotb's internal bookkeeping failed, after which it runs nothing more."""
        self._report(events.regression_error, error)

    def _report(
        self,
        event: Callable[..., Event],
        error: BaseException,
        is_import: bool = False,
        **fields: Any,
    ) -> None:
        """Reports an exception in flight once, however many hooks it passes."""
        if error is self._reported:
            return
        self._reported = error
        self._channel.send(event(**fields, **_fields_of(error, is_import)))

    def started(self, key: Key, seed: int | None, log_offset: int | None) -> None:
        """Reports that the body of a testcase is about to run.

        The derived seed has some 160 bits, too many for a JSON number: it is sent as text.
        """
        self._running = key
        self._seed = None if seed is None else str(seed)
        self._channel.send(events.testcase_started(**_name(key), log_offset=log_offset))

    def is_running(self, key: Key) -> bool:
        """Says whether `key` is the testcase whose body runs now."""
        return self._running == key

    def judged(self, key: Key, judgement: Judgement) -> None:
        """Reports cocotb's verdict on the running testcase."""
        error = judgement.error
        cause: str | None
        if judgement.passed:
            outcome, cause = "passed", None
        elif judgement.simulation_ended:
            outcome, cause = "failed", "simulation-ended"
        elif error is None:
            outcome, cause = "failed", "unexpected-pass"
        elif isinstance(error, EXITS):
            outcome, cause = "errored", "exit"
            self._reported = error
        else:
            outcome, cause = "failed", "test"
        expected = judgement.passed and (error is not None or judgement.note is not None)
        self._finish(key, outcome, cause, expected, judgement)

    def skipped(self, key: Key, reason: str | None, judgement: Judgement | None) -> None:
        """Reports that cocotb skipped a testcase, before it ran or because it skipped itself."""
        judgement = judgement or Judgement(True, None, reason, 0.0, 0.0)
        self._finish(key, "skipped", "skip", False, judgement._replace(note=reason))

    def init_failed(self, key: Key, error: Any) -> None:
        """Reports that cocotb could not even create the testcase's coroutine."""
        note = "test initialization failed"
        words = text.safe_str(error).lower()
        if isinstance(error, TypeError) and ("awaitable" in words or "coroutine" in words):
            note = "is it a coroutine? Write `async def`"
        judgement = Judgement(False, error, note, 0.0, 0.0)
        self._finish(key, "errored", "init", False, judgement)

    def not_run(self, key: Key, cause: str, error: Any) -> None:
        """Reports that a testcase of the queue can no longer run in this process."""
        if key in self._finished:
            return
        message = None if error is None else text.message_of(error)
        self._channel.send(events.not_run(**_name(key), cause=cause, message=message))

    def exits(self, key: Key, error: BaseException, duration_s: float, sim_time_ns: float) -> None:
        """Reports that the running testcase ends the process, so that cocotb judges no other."""
        self._reported = error
        if self.is_running(key):
            judgement = Judgement(False, error, None, duration_s, sim_time_ns)
            self._finish(key, "errored", "exit", False, judgement)

    def regression_finished(self) -> None:
        """Reports that cocotb has written its results file and stops the simulator."""
        if not self._closed:
            self._closed = True
            self._channel.send(events.regression_finished(log_offset=output.log_offset()))

    def _finish(
        self,
        key: Key,
        outcome: str,
        cause: str | None,
        expected: bool,
        judgement: Judgement,
    ) -> None:
        if key in self._finished:
            return
        self._finished.add(key)
        seed = self._seed if self._running == key else None
        self._running = None
        error = judgement.error
        message, note = None, judgement.note
        if error is not None:
            message = text.lines_of(error)
            if note and outcome != "passed":
                first, *more = message.split("\n")
                message = "\n".join([f"{first} ({text.one_line(note)})", *more])
        elif note:
            message = text.one_line(note)
        self._channel.send(
            events.testcase_finished(
                **_name(key),
                outcome=outcome,
                expected_failure=expected,
                simulation_ended=judgement.simulation_ended,
                cause=cause,
                message=message,
                error_type=None if error is None else text.error_type(error),
                traceback=None if error is None else text.traceback_of(error),
                duration_s=float(judgement.duration_s),
                sim_time_ns=float(judgement.sim_time_ns),
                seed=seed,
                returned=judgement.returned,
                log_offset=output.log_offset(),
            )
        )


def _name(key: Key) -> dict[str, Any]:
    return {
        "module": key.module,
        "testcase": key.testcase,
        "occurrence": key.occurrence,
        "defined_in": key.defined_in if key.defined_in != key.module else None,
    }


def _fields_of(error: object, is_import: bool = False) -> dict[str, Any]:
    return {
        "error_type": text.error_type(error),
        "message": text.message_of(error),
        "traceback": text.traceback_of(error, is_import),
    }
