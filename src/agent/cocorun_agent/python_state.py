"""Notices changes in what the user's modules hold, which functions of theirs may depend on.

A testcase may set a global variable before it calls a function that reads it. Only what is reachable
from modules in the user's own folders is looked at, and the environment: containers, instances and
classes of these modules. Invariant: nothing is changed, and no code of the user's runs.
"""

from __future__ import annotations

import os
import sys
import types
from collections import deque
from typing import Any, Deque, List, Tuple

_OBJECTS_MAX = 20_000

_SEQUENCES = (list, tuple, set, frozenset, deque)
_ATOMS = (bool, bytes, float, int, str, type(None))

_OWN_VARIABLES = ("COCORUN_", "COCOTB_", "MODULE", "RANDOM_SEED", "TESTCASE", "TOPLEVEL")
"""What begins like this is set for each process."""

State = List[Tuple[str, Any, Any]]
"""Labels and objects, each with what it consists of."""


def take(folders: List[str]) -> State:
    """Returns what is reachable now from modules in these folders."""
    prefixes = tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)
    modules = [module for module in list(sys.modules.values()) if _is_in(module, prefixes)]
    names = {module.__name__ for module in modules}
    state: State = [("os.environ", None, _environment())]
    waiting: Deque[Tuple[str, Any]] = deque((module.__name__, module) for module in modules)
    cocotb = sys.modules.get("cocotb")
    if cocotb is not None:
        state.append(("cocotb", cocotb, _parts_of(cocotb)))
    seen = set()
    while waiting and len(state) < _OBJECTS_MAX:
        label, item = waiting.popleft()
        if id(item) in seen:
            continue
        seen.add(id(item))
        members = _members(item, names)
        if members is None:
            continue
        state.append((label, item, _parts_of(item)))
        for name, value in members:
            if not isinstance(value, _ATOMS):
                waiting.append((f"{label}{name}", value))
    return state


def changed(state: State) -> str | None:
    """Returns the label of something that has changed since, or nothing."""
    for label, item, parts in state:
        now = _environment() if item is None else _parts_of(item)
        if now != parts:
            return label
    return None


def _is_in(module: Any, prefixes: Tuple[str, ...]) -> bool:
    file = getattr(module, "__file__", None)
    return (
        isinstance(module, types.ModuleType)
        and isinstance(file, str)
        and os.path.realpath(file).startswith(prefixes)
        and "site-packages" not in file
    )


def _members(item: Any, names: set[str]) -> List[Tuple[str, Any]] | None:
    """Returns what can be reached from an object of the user's; nothing for other objects."""
    kind = type(item)
    if kind is dict:
        return [(f"[{key!r}]" if isinstance(key, _ATOMS) else "[…]", it) for key, it in item.items()]
    if kind in _SEQUENCES:
        return [(f"[{index}]", it) for index, it in enumerate(item)]
    is_of_user = kind.__module__ in names
    if isinstance(item, types.ModuleType) or is_of_user or getattr(item, "__module__", "") in names:
        return [(f".{name}", it) for name, it in _names_of(item)]
    return None


def _names_of(item: Any) -> List[Tuple[str, Any]]:
    try:
        names = object.__getattribute__(item, "__dict__")
    except AttributeError:
        return []
    if isinstance(item, type):
        names = type.__getattribute__(item, "__dict__")
    return [
        (str(name), value)
        for name, value in list(names.items())
        if not str(name).startswith("__") and not isinstance(value, types.ModuleType)
    ]


def _parts_of(item: Any) -> Any:
    kind = type(item)
    if kind is dict:
        return [(_token(key), _token(value)) for key, value in item.items()]
    if kind in _SEQUENCES:
        return [_token(value) for value in item]
    ignored = ("RANDOM_SEED",) if getattr(item, "__name__", "") == "cocotb" else ()
    return [(name, _token(value)) for name, value in _names_of(item) if name not in ignored]


def _token(value: Any) -> Any:
    return (type(value), value) if type(value) in _ATOMS else id(value)


def _environment() -> Any:
    return {
        name: value
        for name, value in list(os.environ.items())
        if not name.startswith(_OWN_VARIABLES)
    }
