"""All events that the agent sends, one function for each kind.

The caller reads these with its own types (`src/agent/event.rs`), field by field: a name or a field
that only one side knows is reported there. Invariant: nothing else in this package creates an
event.
"""

from __future__ import annotations

from typing import Any, Dict, List, NewType

from cocorun_agent import PROTOCOL

Event = NewType("Event", Dict[str, Any])
"""What a channel sends."""


def _event(name: str, **fields: Any) -> Event:
    return Event({"event": name, **fields})


# About a run or a listing.


def hello(
    *,
    cocotb: str,
    simulator: str | None,
    simulator_version: str | None,
    python: str,
    pid: int,
    log_offset: int | None,
) -> Event:
    """cocotb can be imported."""
    return _event(
        "hello",
        protocol=PROTOCOL,
        cocotb=cocotb,
        simulator=simulator,
        simulator_version=simulator_version,
        python=python,
        pid=pid,
        log_offset=log_offset,
    )


def listing(*, module: str, log_offset: int | None) -> Event:
    """A module is about to be imported for listing."""
    return _event("listing", module=module, log_offset=log_offset)


def listed(
    *, module: str, testcases: List[Dict[str, Any]], unreachable: List[Dict[str, Any]]
) -> Event:
    """The testcases of a module, as `listing.describe` and `definitions.unreachable` make them."""
    return _event("listed", module=module, testcases=testcases, unreachable=unreachable)


def listing_finished(*, log_offset: int | None) -> Event:
    """Every module was listed, or has an error."""
    return _event("listing_finished", log_offset=log_offset)


def module_error(*, module: str, error_type: str, message: str, traceback: str) -> Event:
    """A test module cannot be imported or searched for testcases."""
    return _event(
        "module_error",
        module=module,
        error_type=error_type,
        message=message,
        traceback=traceback,
    )


def missing(*, module: str, testcase: str, occurrence: int) -> Event:
    """A requested testcase does not exist."""
    return _event("missing", module=module, testcase=testcase, occurrence=occurrence)


def testcase_started(
    *,
    module: str,
    testcase: str,
    occurrence: int,
    defined_in: str | None,
    log_offset: int | None,
) -> Event:
    """The body of a testcase is about to run."""
    return _event(
        "testcase_started",
        module=module,
        testcase=testcase,
        occurrence=occurrence,
        defined_in=defined_in,
        log_offset=log_offset,
    )


def testcase_finished(
    *,
    module: str,
    testcase: str,
    occurrence: int,
    defined_in: str | None,
    outcome: str,
    expected_failure: bool,
    simulation_ended: bool,
    cause: str | None,
    message: str | None,
    error_type: str | None,
    traceback: str | None,
    duration_s: float,
    sim_time_ns: float,
    seed: str | None,
    returned: str | None,
    log_offset: int | None,
) -> Event:
    """cocotb has judged a testcase."""
    return _event(
        "testcase_finished",
        module=module,
        testcase=testcase,
        occurrence=occurrence,
        defined_in=defined_in,
        outcome=outcome,
        expected_failure=expected_failure,
        simulation_ended=simulation_ended,
        cause=cause,
        message=message,
        error_type=error_type,
        traceback=traceback,
        duration_s=duration_s,
        sim_time_ns=sim_time_ns,
        seed=seed,
        returned=returned,
        log_offset=log_offset,
    )


def not_run(
    *,
    module: str,
    testcase: str,
    occurrence: int,
    defined_in: str | None,
    cause: str,
    message: str | None,
) -> Event:
    """A testcase of the queue can no longer run in this process."""
    return _event(
        "not_run",
        module=module,
        testcase=testcase,
        occurrence=occurrence,
        defined_in=defined_in,
        cause=cause,
        message=message,
    )


def startup_error(*, error_type: str, message: str, traceback: str) -> Event:
    """cocotb gave up before, or outside of, any testcase."""
    return _event("startup_error", error_type=error_type, message=message, traceback=traceback)


def regression_error(*, error_type: str, message: str, traceback: str) -> Event:
    """cocotb's internal bookkeeping failed, after which it runs nothing more."""
    return _event("regression_error", error_type=error_type, message=message, traceback=traceback)


def regression_finished(*, log_offset: int | None) -> Event:
    """cocotb has written its results file and stops the simulator."""
    return _event("regression_finished", log_offset=log_offset)


def agent_error(*, where: str, error_type: str, message: str, traceback: str) -> Event:
    """An error in the agent itself, or something it needs that this cocotb does not offer."""
    return _event(
        "agent_error",
        where=where,
        error_type=error_type,
        message=message,
        traceback=traceback,
    )


def waiting(
    *,
    trigger: str | None,
    path: str | None,
    line: int | None,
    function: str | None,
    sim_time_ns: float | None,
    text: str,
) -> Event:
    """Where the testcase is, in answer to a signal; no trigger if it does not wait.

    The text is the same for people, with more frames and the other tasks.
    """
    return _event(
        "waiting",
        trigger=trigger,
        path=path,
        line=line,
        function=function,
        sim_time_ns=sim_time_ns,
        text=text,
    )


# About a checkpoint.


def checkpoint_reached(*, sim_time_ns: float, log_offset: int | None) -> Event:
    """A checkpoint function has returned."""
    return _event("checkpoint_reached", sim_time_ns=sim_time_ns, log_offset=log_offset)


def checkpoint_missed(*, reason: str, levels: int) -> Event:
    """The testcase cannot be judged in this process; it had called so many of the functions."""
    return _event("checkpoint_missed", reason=reason, levels=levels)


def checkpoint_used() -> Event:
    """The testcase was forked from a checkpoint and has called what it must: it is judged here."""
    return _event("checkpoint_used")


def checkpoint_called(*, function: str) -> Event:
    """The testcase has called a function that fails."""
    return _event("checkpoint_called", function=function)


def checkpoint_unfit(*, message: str, traceback: str | None) -> Event:
    """There is no such checkpoint function; the traceback is that of its module's import."""
    return _event("checkpoint_unfit", message=message, traceback=traceback)


# Of a fork server.


def serving(*, pid: int) -> Event:
    """Requests are accepted from now on."""
    return _event("serving", pid=pid)


def cannot_serve(*, message: str) -> Event:
    """This process cannot fork safely, and ends."""
    return _event("cannot_serve", message=message)


def preload_error(*, module: str, error_type: str, message: str, traceback: str) -> Event:
    """A module cannot be imported, or is not safe to have imported, before the fork."""
    return _event(
        "preload_error",
        module=module,
        error_type=error_type,
        message=message,
        traceback=traceback,
    )


def child_started(*, run: int, pid: int) -> str:
    """A child was forked. As a line, since a server pays for each step once for each child."""
    return f'{{"event":"child_started","run":{run},"pid":{pid}}}'


def child_exited(
    *, run: int, pid: int, status: int, user_s: float, system_s: float, rss_kib_max: int
) -> str:
    """A child has ended and was reaped; its status is as `waitpid` returns it. As a line, too."""
    return (
        f'{{"event":"child_exited","run":{run},"pid":{pid},"status":{status},'
        f'"user_s":{user_s:.6f},"system_s":{system_s:.6f},"rss_kib_max":{rss_kib_max}}}'
    )


def refused(*, run: int | None, message: str) -> Event:
    """No child was created."""
    return _event("refused", run=run, message=message)
