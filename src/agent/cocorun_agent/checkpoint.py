"""Checkpoints: coroutine functions that run once, and from whose end testcases are forked.

A testcase calls such a function itself, first thing. In a copy of a process in which it has run, that
call returns at once what it returned. This is right only as long as the testcase cannot know: until
the call it must have neither looked at the design nor changed it, and no task may have run. All it
does in this window is therefore observed, through Python's profiling hook.

Invariants: outside of a window the functions are what the user wrote; a testcase that does anything
in its window that could differ is not judged in this process.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import inspect
import os
import sys
import types
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from cocorun_agent import import_effects, imports, python_state, seeds, text

_SIMULATOR = "cocotb.simulator"

_getpid = os.getpid
"""The real one, while what an import does is watched."""

_LOOKS_UP = frozenset(
    (
        "__eq__",
        "__hash__",
        "__ne__",
        "get_const",
        "get_definition_file",
        "get_definition_name",
        "get_handle_by_index",
        "get_handle_by_name",
        "get_indexable",
        "get_name_string",
        "get_num_elems",
        "get_precision",
        "get_range",
        "get_root_handle",
        "get_signed",
        "get_simulator_args",
        "get_simulator_product",
        "get_simulator_version",
        "get_type",
        "get_type_string",
        "is_running",
        "iterate",
        "package_iterate",
        "root_iterate",
    )
)
"""What the simulator answers alike at any time."""

_READS = "get_signal_val_"
_WRITES = "set_signal_val_"
_REGISTERS = "register_"

_THREADS = frozenset(("start_new_thread", "start_new", "start_joinable_thread"))

_TASKS: Dict[str, frozenset[str]] = {
    "cocotb": frozenset(("create_task", "fork", "start", "start_soon")),
    "cocotb._base_triggers": frozenset(("_prime", "_react", "_register", "clear", "release", "set")),
    "cocotb._event_loop": frozenset(("run", "schedule", "schedule_left")),
    "cocotb._gpi_triggers": frozenset(("_prime", "_register")),
    "cocotb._test": frozenset(("add_task", "create_task", "start", "start_soon")),
    "cocotb._test_manager": frozenset(("add_task", "create_task", "start", "start_soon")),
    "cocotb.queue": frozenset(("get", "get_nowait", "put", "put_nowait")),
    "cocotb.task": frozenset(("__init__", "_start_soon", "cancel", "kill")),
    "cocotb.triggers": frozenset(("_prime", "clear", "prime", "release", "set")),
}
"""Functions of cocotb, by module, by which tasks are made, started and woken."""

_SCHEDULERS = frozenset(("cocotb._scheduler", "cocotb.scheduler"))
"""Modules of which every function counts."""

_HANDLES = "cocotb.handle"
_WRITE_FUNCTIONS = frozenset(("_schedule_write", "_set_value", "set", "setimmediatevalue"))


_NAMES = _WRITE_FUNCTIONS.union(("clear", "set"), *_TASKS.values())
"""Of functions that may count, outside of schedulers."""


class Unfit(Exception):
    """A function cannot be a checkpoint."""


_originals: Dict[str, Any] = {}
"""The user's functions, by `MODULE:FUNCTION`, once they have been replaced."""

_results: List[Any] = []
"""What the checkpoints of this process returned, in order."""

_watched: List[str] = []

_state: python_state.State = []
"""What the user's modules held when the checkpoints ran, or would have begun."""

_window: Any = None

_is_listening = False


def watch(functions: Sequence[str]) -> None:
    """Replaces functions as soon as their modules have been imported, or now if they have."""
    _watched[:] = functions
    for name in {_split(function)[0] for function in functions}:
        if name in sys.modules:
            _replace(sys.modules[name])
        else:
            imports.after(name, _replace)


def load(function: str) -> None:
    """Imports the module of a function that is watched.

    Raises `Unfit` if it cannot be imported or has no such coroutine function.
    """
    name, attribute = _split(function)
    try:
        imports.take_the_lead()
        with seeds.importing(name):
            module = importlib.import_module(name)
        imports.check(name)
    except Exception as error:
        words = f"{type(error).__name__}: {text.message_of(error)}"
        raise Unfit(f"module `{name}` of checkpoint `{function}` cannot be imported: {words}") from error
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, vars(module), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise Unfit(f"module `{name}` has no function `{attribute}`{hint}")
    _replace(module)
    if function not in _originals:
        raise Unfit(
            f"`{attribute}` of module `{name}` is not a coroutine function: define it with `async def`"
        )


async def run(function: str, dut: Any) -> None:
    """Runs a function, and remembers what it returns."""
    _results.append(await _originals[function](dut))


def remember() -> None:
    """Remembers what the user's modules hold: a testcase that changes it is none for a checkpoint."""
    _state[:] = python_state.take(imports.folders())


def changed() -> str | None:
    """Returns what the user's modules hold otherwise than was remembered, or nothing."""
    return python_state.changed(_state)


def _split(function: str) -> Tuple[str, str]:
    module, _, attribute = function.partition(":")
    return module, attribute


def _replace(module: Any) -> None:
    for function in _watched:
        name, attribute = _split(function)
        if name != module.__name__:
            continue
        original = getattr(module, attribute, None)
        if function not in _originals and inspect.iscoroutinefunction(original):
            _originals[function] = original
            setattr(module, attribute, _replacement(function, original))
    remember()


def _replacement(function: str, original: Any) -> Any:
    @functools.wraps(original)
    async def checkpoint(*args: Any, **kwargs: Any) -> Any:
        window = _window
        if window is not None and window.is_answered(function, args, kwargs):
            return window.result()
        return await original(*args, **kwargs)

    return checkpoint


class Window:
    """Observes a testcase until it has called the functions from whose end it was forked.

    `reached` are those functions, in the order in which it is to call them. `ends` has what ends the
    process: `missed(reason, levels)` where the testcase cannot be judged in it, with how many of
    them it had called; `failed(function)` where it has called the one that is known to fail. `fits`
    is called once it is certain that the testcase goes on in this process.
    """

    def __init__(self, reached: Sequence[str], ends: Any, fits: Callable[[], None]) -> None:
        self._functions = list(reached)
        self._reached = len(reached)
        self._ends = ends
        self._fits = fits
        self._called = 0
        self._is_in_body = False
        self._is_over = False
        self._pid = _getpid()

    def expect_failing(self, function: str) -> None:
        """Also waits for the call of a function that fails, after the others."""
        self._functions.append(function)

    @contextlib.contextmanager
    def observing(self, time: Any) -> Iterator[None]:
        """Observes what is done meanwhile; for it the simulated time is `time`, if that is given.

        Ends early when the testcase has made its calls.
        """
        global _window
        from cocotb import simulator

        if self._is_over:
            yield
            return
        if sys.getprofile() is not None:
            self.miss("something profiles it")
        real = simulator.get_sim_time

        def end() -> None:
            global _window
            sys.setprofile(None)
            simulator.get_sim_time = real
            _window = None

        self._end = end
        _listen()
        if time is not None:
            # A module whose import keeps this gets the real time later.
            simulator.get_sim_time = lambda: time if _window is self else real()
        _window = self
        sys.setprofile(self._observe)
        try:
            yield
        finally:
            if _window is self:
                end()

    def is_answered(self, function: str, args: Any, kwargs: Any) -> bool:
        """Says whether a call returns at once; ends the process if that is not the testcase's."""
        import cocotb

        expected = self._functions[self._called]
        if not self._is_in_body:
            self.miss(f"while its module is imported, it calls `{function}`")
        elif function != expected:
            self.miss(f"it calls `{function}`")
        elif sys.getprofile() != self._observe:
            self.miss("something else profiles it, or has ended the observation")
        elif kwargs or len(args) != 1 or args[0] is not cocotb.top:
            self.miss(f"it has other arguments than the toplevel for `{function}`")
        elif self._has_changed_state():
            # Said already.
            return False
        else:
            if self._called >= self._reached:
                self._close()
                self._ends.failed(function)
            self._called += 1
            if self._called == len(self._functions):
                self._close()
                self._fits()
            return True
        return False

    def _has_changed_state(self) -> bool:
        what = changed()
        if what is not None:
            self.miss(f"it or its module changes `{what}`")
        return what is not None

    def result(self) -> Any:
        """Returns what the function returned that was called last; from then on it is the caller's."""
        value, _results[self._called - 1] = _results[self._called - 1], None
        return value

    def body_begins(self) -> None:
        """Notes that the testcase itself runs from now on."""
        self._is_in_body = True

    def miss(self, reason: str) -> None:
        """Ends the process, unless the testcase has made its calls, or there is nothing left to do."""
        if self._is_over:
            return
        self._close()
        if self._called < self._reached:
            function = self._functions[self._called]
            self._ends.missed(f"{reason} and has not called `{function}`", self._called)
        self._fits()

    def hear(self, event: str, args: Tuple[Any, ...]) -> None:
        """Takes one of Python's audit events."""
        if _getpid() != self._pid:
            return
        does = import_effects.effect_of(event, args)
        if does is None and self._is_in_body and event.startswith("ctypes."):
            does = "calls C code"
        if does is not None:
            self.miss(f"it {does}" if self._is_in_body else f"while its module is imported, it {does}")

    def _close(self) -> None:
        self._is_over = True
        # It would keep alive what the testcase gives up.
        _state.clear()
        if _window is self:
            self._end()

    def _observe(self, frame: Any, event: str, arg: Any) -> None:
        # Every call of an import comes here: the cheapest questions first.
        if event == "call":
            reason = _reason_of_function(frame)
        elif event == "c_call":
            reason = _reason_of_c_function(arg)
        else:
            return
        if reason is not None and frame.f_globals is not globals() and _getpid() == self._pid:
            self.miss(reason if self._is_in_body else f"while its module is imported, {reason}")


def _listen() -> None:
    global _is_listening
    # There is no way to remove such a hook.
    if not _is_listening:
        _is_listening = True
        sys.addaudithook(_audit)


def _audit(event: str, args: Tuple[Any, ...]) -> None:
    window = _window
    if window is not None:
        window.hear(event, args)


def _reason_of_c_function(function: Any) -> str | None:
    name = function.__name__
    owner = getattr(function, "__self__", None)
    if function.__module__ == _SIMULATOR or type(owner).__module__ == _SIMULATOR:
        if name in _LOOKS_UP:
            return None
        if name.startswith(_READS):
            # A parameter has its value from the start.
            return None if owner.get_const() else "it reads a value of the design"
        if name.startswith(_WRITES):
            return "it writes a value of the design"
        if name.startswith(_REGISTERS):
            return "it registers a callback"
        if name == "get_sim_time":
            return "it asks for the simulated time"
        return f"it calls `{_SIMULATOR}.{name}`"
    if name in _THREADS:
        return "it starts a thread"
    if name == "setprofile" and function.__module__ == "sys":
        return "it profiles itself"
    return None


def _module_of(frame: Any) -> str:
    return str(frame.f_globals.get("__name__")) if frame is not None else ""


def _reason_of_function(frame: Any) -> str | None:
    name = frame.f_code.co_name
    if name not in _NAMES and frame.f_globals.get("__name__") not in _SCHEDULERS:
        return None
    module = _module_of(frame)
    if module == _HANDLES and name in _WRITE_FUNCTIONS:
        return "it writes a value of the design"
    if name in ("clear", "set") and _module_of(frame.f_back).startswith("cocotb."):
        # A queue sets an event of its own when it is made.
        return None
    if name in _TASKS.get(module, ()) or (module in _SCHEDULERS and name != "<module>"):
        return "it starts or wakes a task"
    return None


@types.coroutine
def _wait(trigger: Any) -> Any:
    return (yield trigger)


async def drive(
    window: Window,
    time: Any,
    make: Callable[[], Any],
    go_on: Callable[[Any], None],
) -> Any:
    """Runs a testcase's coroutine to its first trigger, where `go_on` makes it the task's own.

    Until it has made its calls it finds the simulated time `time`.
    """
    try:
        with window.observing(time):
            window.body_begins()
            coroutine = make()
            if not inspect.iscoroutine(coroutine):
                raise TypeError("it is not a coroutine")
            trigger = coroutine.send(None)
    except StopIteration as end:
        window.miss("it ends")
        return end.value
    except BaseException:
        window.miss("it raises an exception")
        raise
    window.miss("it waits for a trigger")
    go_on(coroutine)
    await _wait(trigger)
    raise AssertionError("the task has another coroutine now")
