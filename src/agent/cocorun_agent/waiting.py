"""Reports on request where the testcase waits: which awaits lead to which trigger, and when.

Python's stack does not show it. A coroutine that waits is on no stack, and while the simulation
runs without Python there is no stack at all. Two signals ask. The first sets Python's own flag, so
the answer comes with the next Python code that runs, which disturbs nothing. If none runs (a clock
of cocotb 2.x is driven in C), the second makes the interpreter run an empty piece of code at once,
in the middle of whatever the simulator does, which is when it sees the flag; the caller sends it
only to a process that it kills next.

The answer goes to the caller as an event, and in more detail to people, as text on descriptor 2.

Invariants: nothing here runs before a signal comes, nothing raises, and nothing is changed: the
answer is read from cocotb's tasks, and its text is written in one piece.
"""

from __future__ import annotations

import contextlib
import gc
import linecache
import os
import re
import signal
import sys
import types
from typing import Any, Callable, Iterator

from cocorun_agent import events

_TASKS_MAX = 8
_FRAMES_MAX = 20
_TRIGGER_CHARS_MAX = 200

_OPAQUE = ("coroutine_wrapper", "async_generator_asend", "async_generator_athrow")
"""Types that come between two coroutines and have no attribute that leads to the next."""

_kept: list[Any] = []
"""What C calls when the second signal comes."""

_send: Callable[[events.Event], None] | None = None


def report_to(send: Callable[[events.Event], None]) -> None:
    """Sets where the event goes: a child's channel differs from its server's."""
    global _send
    _send = send


def answer(dump_signal: int) -> None:
    """Answers the first signal, which must not have a handler of `faulthandler` yet."""
    signal.signal(dump_signal, _on_signal)


def answer_at_once(libc: Any, wait_signal: int) -> None:
    """Makes the second signal enter Python, where the first one's answer is pending."""
    import ctypes

    kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
    _kept.append(kind(_nothing))
    libc.signal(wait_signal, _kept[-1])


def _on_signal(_signum: int, _frame: Any) -> None:
    with contextlib.suppress(Exception):
        main, others = _tasks()
        if main is None:
            return
        time_ns = _sim_time_ns()
        text = ""
        with contextlib.suppress(Exception):
            text = _text(main, others, time_ns)
            os.write(2, f"\n{text}\n".encode("utf-8", "backslashreplace"))
        if _send is not None:
            _send(_event(main, time_ns, text))


def _nothing(_signum: int) -> None:
    pass


def _event(main: Any, time_ns: float | None, text: str) -> events.Event:
    path, line, function = next(iter(_places(main, 1)), (None, None, None))
    return events.waiting(
        trigger=_awaited(main),
        path=path,
        line=line,
        function=function,
        sim_time_ns=time_ns,
        text=text,
    )


def _text(main: Any, others: list[Any], time_ns: float | None) -> str:
    when = "" if time_ns is None else f", at {time_ns:.12g} ns of simulated time"
    words = _words("The testcase", main) + when
    lines = _lines(f"{words} (most recent await first)", _places(main, _FRAMES_MAX)) or [words]
    for task in others[:_TASKS_MAX]:
        words = _words(f"Its task {_name(task)}", task)
        lines.extend(_lines(words, _places(task, 1)) or [words])
    if len(others) > _TASKS_MAX:
        lines.append(f"{len(others) - _TASKS_MAX} more of its tasks are not shown.")
    return "\n".join(lines)


def _tasks() -> tuple[Any, list[Any]]:
    """Returns the running testcase's own task, and those that it has started."""
    import cocotb

    if "cocotb._test_manager" in sys.modules:  # cocotb 2.1
        test = sys.modules["cocotb._test_manager"]._current_test
        main, tasks = test._main_task, list(test._tasks)
    elif hasattr(cocotb, "_scheduler_inst"):  # cocotb 2.0
        test = cocotb._regression_manager._running_test
        main, tasks = test._main_task, list(test.tasks)
    else:  # cocotb 1.9
        scheduler: Any = cocotb.scheduler
        main = scheduler._test
        tasks = [task for waiting in scheduler._trigger2coros.values() for task in waiting]
        tasks = [task for task in tasks if task is not scheduler._write_coro_inst]
    return main, [task for task in tasks if task is not main]


def _words(who: str, task: Any) -> str:
    trigger = _awaited(task)
    return f"{who} does not wait" if trigger is None else f"{who} waits for {trigger}"


def _awaited(task: Any) -> str | None:
    """Returns the trigger that a task waits for, or nothing if it does not wait."""
    state = getattr(getattr(task, "_state", None), "name", None)
    trigger = getattr(task, "_trigger", None)
    if state in (None, "PENDING") and trigger is not None and not _is_running(task):
        return _shown(trigger)
    return None


def _is_running(task: Any) -> bool:
    coro = task._coro
    return bool(getattr(coro, "cr_running", False) or getattr(coro, "gi_running", False))


def _shown(trigger: Any) -> str:
    try:
        text = " ".join(repr(trigger).split())
    except Exception:
        text = type(trigger).__name__
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    return text if len(text) <= _TRIGGER_CHARS_MAX else text[: _TRIGGER_CHARS_MAX - 1] + "…"


def _name(task: Any) -> str:
    name = getattr(task, "_name", None) if hasattr(task, "_state") else None
    coro = task._coro
    function = getattr(coro, "__qualname__", None) or type(coro).__qualname__
    return f"`{name or task.__name__}` ({function.replace('<locals>.', '')})"


def _sim_time_ns() -> float | None:
    with contextlib.suppress(Exception):
        if "cocotb.simtime" in sys.modules:
            from cocotb.simtime import get_sim_time
        else:
            from cocotb.utils import get_sim_time
        return float(get_sim_time("ns"))
    return None


def _lines(words: str, places: list[tuple[str, int, str]]) -> list[str]:
    """Returns the words and the places with their sources; nothing if there are no places."""
    lines = [f"{words}:"] if places else []
    for path, line, name in places:
        lines.append(f'  File "{path}", line {line}, in {name}')
        source = linecache.getline(path, line).strip()
        if source:
            lines.append(f"    {source}")
    return lines


def _places(task: Any, frames_max: int) -> list[tuple[str, int, str]]:
    """Returns the frames of a task that are the user's, innermost first."""
    frames = list(_frames(task._coro))[::-1]
    return [frame for frame in frames if not _is_machinery(frame[0])][:frames_max]


def _frames(awaited: Any) -> Iterator[tuple[str, int, str]]:
    for _ in range(1000):
        frame = None
        following = None
        for prefix, leads_to in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
            if hasattr(awaited, f"{prefix}_frame"):
                frame = getattr(awaited, f"{prefix}_frame")
                following = getattr(awaited, f"{prefix}_{leads_to}")
        if type(awaited).__name__ in _OPAQUE:
            following = _behind(awaited)
        if frame is not None:
            yield frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name
        if following is None:
            return
        awaited = following


def _behind(opaque: Any) -> Any:
    kinds = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)
    return next((it for it in gc.get_referents(opaque) if isinstance(it, kinds)), None)


def _is_machinery(path: str) -> bool:
    import cocotb

    return path.startswith(("<", os.path.dirname(cocotb.__file__) + os.sep))
