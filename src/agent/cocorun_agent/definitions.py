"""Testcases that a module defines and cocotb never finds.

cocotb looks only at what a module's names stand for once it has been imported. A testcase whose name
is given to something else, or that is in a class, never runs, and nothing else says so.

Invariant: nothing is changed; a testcase that some name of its module stands for is not reported.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable, Iterable

from cocorun_agent import listing

_made: list[Any] = []
_is_importing = False


def watch(kinds: Iterable[type], owner: Any, name: str) -> None:
    """Notices which testcases each import of a module makes.

    `kinds` are the classes of which cocotb makes them; `owner.name` is its function that imports a
    test module.
    """
    for kind in kinds:
        _watch(kind)
    original = getattr(owner, name)

    @functools.wraps(original)
    def importing(*args: Any, **kwargs: Any) -> Any:
        global _is_importing
        _made.clear()
        _is_importing = True
        try:
            return original(*args, **kwargs)
        finally:
            _is_importing = False

    setattr(owner, name, importing)


def unreachable(module: str, found: list[listing.Found]) -> list[dict[str, Any]]:
    """Returns what cocotb did not find of a module that has just been imported."""
    names = vars(sys.modules[module])
    bound = {id(value) for value in names.values()}
    codes = {id(listing.code_of(testcase.function)) for testcase in found}
    lost = []
    # A parametrised one of cocotb 2.0 has a template, which is not a testcase; `cocotb.test`
    # replaces the one that it was made with.
    templates = {id(getattr(test, "test_template", None)) for test in _made}
    for test in _made:
        function = _function_of(test)
        qualified = getattr(function, "__qualname__", "")
        if id(test) in bound | templates or function.__module__ != module or "<locals>" in qualified:
            continue
        outer, _, name = qualified.rpartition(".")
        if outer:
            if id(listing.code_of(function)) not in codes and isinstance(names.get(outer), type):
                lost.append(_described(function, None, is_in_class=True))
        elif name in names:
            lost.append(_described(function, names[name], is_in_class=False))
    return lost


def _watch(kind: type) -> None:
    original: Callable[..., None] = kind.__init__  # type: ignore[misc]

    @functools.wraps(original)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if _is_importing:
            template = getattr(self, "test_template", None)
            _made[:] = [test for test in _made if test is not template]
            _made.append(self)

    kind.__init__ = made  # type: ignore[misc]


def _function_of(test: Any) -> Any:
    test = getattr(test, "test_template", test)
    return getattr(test, "func", None) or getattr(test, "_func", None)


def _described(function: Any, instead: Any, is_in_class: bool) -> dict[str, Any]:
    file, line = listing.source_of(function)
    again_file, again_line = None, None
    if instead is not None:
        successor = _function_of(instead) or instead
        if callable(successor):
            again_file, again_line = listing.source_of(successor)
    return {
        "testcase": function.__qualname__,
        "file": file,
        "line": line,
        "again_file": again_file,
        "again_line": again_line,
        "is_in_class": is_in_class,
    }
