"""Describes testcases without running them.

Invariant: if importing a module fails in any way, only that module is lost; each module is
announced before it is imported, so that even a crash can be attributed.
"""

from __future__ import annotations

import inspect
import os
from typing import Any, Callable, Iterable, NamedTuple, NoReturn

from cocorun_agent import events, output
from cocorun_agent.reporter import Reporter
from cocorun_agent.selection import occurrences

_LAYERS_MAX = 32
"""A function wrapped more often than this is not unwrapped."""


class Found(NamedTuple):
    """One testcase as cocotb discovered it."""

    name: str
    defined_in: str
    function: Any
    doc: str | None
    skip: bool
    stage: int
    order: int
    """cocotb's own order within a stage; equal if that is the order of discovery."""
    expect_fail: bool
    expect_error: bool


def list_and_exit(
    reporter: Reporter,
    modules: Iterable[str],
    discover: Callable[[str], list[Found]],
    unreachable: Callable[[str, list[Found]], list[dict[str, Any]]],
) -> NoReturn:
    """Lists each module, then ends the process at once.

    The process ends here because a design with a free-running clock would simulate for ever, and
    the simulation has not begun: there is nothing to finalise.
    """
    for module in modules:
        list_module(reporter, module, discover, unreachable)
    finish(reporter)


def finish(reporter: Reporter) -> NoReturn:
    """Reports that nothing more is listed, and ends the process."""
    reporter.send(events.listing_finished(log_offset=output.log_offset()))
    os._exit(0)


def list_module(
    reporter: Reporter,
    module: str,
    discover: Callable[[str], list[Found]],
    unreachable: Callable[[str, list[Found]], list[dict[str, Any]]],
) -> bool:
    """Sends `listed` or `module_error` for a module; says whether it has testcases.

    `discover` imports the module and returns its testcases in the order cocotb registers them;
    `unreachable` then returns those that cocotb did not find.
    """
    own_pid = os.getpid()
    reporter.send(events.listing(module=module, log_offset=output.log_offset()))
    try:
        found = discover(module)
        described = describe(module, found)
    except BaseException as error:
        if os.getpid() != own_pid:
            os._exit(1)
        reporter.module_error(module, error)
        return False
    lost: list[dict[str, Any]] = []
    with reporter.guard("definitions"):
        lost = unreachable(module, found)
    reporter.send(events.listed(module=module, testcases=described, unreachable=lost))
    return bool(found)


def describe(module: str, found: list[Found]) -> list[dict[str, Any]]:
    """Returns the content of the `listed` event for one module's testcases, sorted by stage.

    Equal names are numbered in the order of discovery, as the selection of a run does.
    """
    numbers = occurrences([(module, testcase.name) for testcase in found])
    described = []
    in_order = sorted(zip(found, numbers), key=lambda pair: (pair[0].stage, pair[0].order))
    for testcase, occurrence in in_order:
        file, line = source_of(testcase.function)
        fields: dict[str, Any] = {
            "testcase": testcase.name,
            "occurrence": occurrence,
            "defined_in": testcase.defined_in if testcase.defined_in != module else None,
            "file": file,
            "line": line,
            "doc": _first_line(testcase.doc),
            "skip": bool(testcase.skip),
            "stage": testcase.stage,
            "expect_fail": bool(testcase.expect_fail),
            "expect_error": bool(testcase.expect_error),
        }
        described.append(fields)
    return described


def source_of(function: Any) -> tuple[str | None, int | None]:
    """Returns the absolute file and the line, from 1, where the user wrote a testcase."""
    code = code_of(function)
    if code is None:
        return None, None
    return os.path.abspath(code.co_filename), code.co_firstlineno


def code_of(function: Any) -> Any:
    """Returns the code object the user wrote, below cocotb's and other wrappers."""
    import cocotb

    own = os.path.dirname(os.path.abspath(cocotb.__file__)) + os.sep
    code: Any = None
    for _ in range(_LAYERS_MAX):
        function = _unwrapped(function)
        code = getattr(function, "__code__", None)
        if code is None or not os.path.abspath(code.co_filename).startswith(own):
            return code
        # cocotb 1.9's TestFactory keeps the user's function only in a closure.
        inner = _closed_over(function)
        if inner is None:
            return code
        function = inner
    return code


def _unwrapped(function: Any) -> Any:
    """Unwraps what `functools.wraps`, methods, partials and callable objects add."""
    for _ in range(_LAYERS_MAX):
        if hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif hasattr(function, "__func__"):
            function = function.__func__
        elif hasattr(function, "__code__"):
            return function
        elif hasattr(function, "func"):
            function = function.func
        else:
            return inspect.getattr_static(type(function), "__call__", function)
    return function


def _closed_over(function: Any) -> Any:
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or ()):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        if name in ("function", "func", "f", "test_function") and callable(value):
            return value
    return None


def _first_line(doc: str | None) -> str | None:
    for line in (doc or "").splitlines():
        if line.strip():
            return line.strip()
    return None
