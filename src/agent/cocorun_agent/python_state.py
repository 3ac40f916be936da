"""Notices changes in what the user's modules hold, which functions of theirs may depend on.

A testcase may set a global variable before it calls a function that reads it. What is reachable from
modules in the user's own folders is looked at, and the environment: containers, also of derived
classes, simple namespaces, instances and classes of these modules. Of other objects only which ones
they are is known. Invariant: nothing is changed, and no code of the user's runs.
"""

from __future__ import annotations

import argparse
import array
import os
import random
import sys
import types
from collections import deque
from typing import Any, Deque, List, Tuple

_OBJECTS_MAX = 20_000

_SEQUENCES = (list, tuple, set, frozenset, deque)
_NAMESPACES = (types.SimpleNamespace, argparse.Namespace)
_BUFFERS = (bytearray, array.array)
_IS_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: a class that was made in Python."""

_ATOMS = (bool, bytes, float, int, str, type(None))

_OWN_PREFIXES = ("COCORUN_", "COCOTB_")
_OWN_VARIABLES = ("MODULE", "RANDOM_SEED", "TESTCASE", "TOPLEVEL", "TOPLEVEL_LANG")
"""Variables that are set for each process."""

State = List[Tuple[str, Any, Any, Any]]
"""Labels and objects, each with what it consists of, and what keeps that from being replaced."""


def take(folders: List[str]) -> State:
    """Returns what is reachable now from modules in these folders."""
    prefixes = tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)
    modules = [module for module in list(sys.modules.values()) if _is_in(module, prefixes)]
    names = {module.__name__ for module in modules}
    state: State = [("os.environ", None, _environment(), None)]
    waiting: Deque[Tuple[str, Any]] = deque((module.__name__, module) for module in modules)
    cocotb = sys.modules.get("cocotb")
    if cocotb is not None:
        state.append(("cocotb", cocotb, _parts_of(cocotb), None))
    seen = set()
    while waiting and len(state) < _OBJECTS_MAX:
        label, item = waiting.popleft()
        if id(item) in seen:
            continue
        seen.add(id(item))
        members = _members(item, names)
        if members is None:
            continue
        state.append((label, item, _parts_of(item), members))
        for name, value in members:
            if not isinstance(value, _ATOMS):
                waiting.append((f"{label}{name}", value))
    if waiting:
        # Nobody could say what has changed.
        state.append((f"one of more than {_OBJECTS_MAX} objects", state, "unknown", None))
    return state


def changed(state: State) -> str | None:
    """Returns the label of something that has changed since, or nothing."""
    for label, item, parts, _ in state:
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
    members: List[Tuple[str, Any]] | None = None
    if issubclass(kind, dict):
        pairs = list(dict.items(item))
        members = [(f"[{key!r}]" if type(key) in _ATOMS else "[…]", it) for key, it in pairs]
    elif issubclass(kind, _SEQUENCES):
        members = [(f"[{index}]", it) for index, it in enumerate(_elements(item))]
    elif issubclass(kind, _BUFFERS) or kind is random.Random:
        members = []
    is_of_user = kind.__module__ in names or issubclass(kind, _NAMESPACES)
    if isinstance(item, types.ModuleType) or is_of_user or getattr(item, "__module__", "") in names:
        members = (members or []) + [(f".{name}", it) for name, it in _names_of(item)]
    return members


def _elements(item: Any) -> List[Any]:
    kind = next(base for base in _SEQUENCES if issubclass(type(item), base))
    return list(kind.__iter__(item))


def _names_of(item: Any) -> List[Tuple[str, Any]]:
    found: List[Tuple[str, Any]] = []
    try:
        names = object.__getattribute__(item, "__dict__")
    except AttributeError:
        names = {}
    if isinstance(item, type):
        names = type.__getattribute__(item, "__dict__")
    else:
        for base in type(item).__mro__:
            for name, slot in list(vars(base).items()):
                if type(slot) is types.MemberDescriptorType and base.__flags__ & _IS_HEAP_TYPE:
                    try:
                        found.append((name, slot.__get__(item)))
                    except AttributeError:
                        found.append((name, None))
    return found + [
        (str(name), value)
        for name, value in list(names.items())
        if not str(name).startswith("__") and not isinstance(value, types.ModuleType)
    ]


def _parts_of(item: Any) -> Any:
    kind = type(item)
    if issubclass(kind, _BUFFERS):
        return bytes(item)
    if kind is random.Random:
        return item.getstate()
    parts: List[Any] = []
    if issubclass(kind, dict):
        parts = [(_token(key), _token(value)) for key, value in dict.items(item)]
    elif issubclass(kind, _SEQUENCES):
        parts = [_token(value) for value in _elements(item)]
    ignored = ("RANDOM_SEED",) if getattr(item, "__name__", "") == "cocotb" else ()
    names = _names_of(item)
    return parts + [(name, _token(value)) for name, value in names if name not in ignored]


def _token(value: Any) -> Any:
    return (type(value), value) if type(value) in _ATOMS else id(value)


def _environment() -> Any:
    # Not through its methods, which may be watched.
    data = os.environ._data  # type: ignore[attr-defined]
    variables = ((os.fsdecode(name), value) for name, value in list(dict.items(data)))
    return {
        name: value
        for name, value in variables
        if not name.startswith(_OWN_PREFIXES) and name not in _OWN_VARIABLES
    }
