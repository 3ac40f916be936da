"""Ends the interpreter of a forked child without taking it apart.

`Py_Finalize` touches every type, every interned string and every module, which in a forked child
copies some 1 600 pages: half of the price of a short testcase. What people can see of it is little:
threads are joined, exit functions run, streams and files are flushed, and the user's modules are
emptied, whereby objects with a finaliser are finalised and suspended coroutines closed. So the call
of `Py_Finalize` in cocotb's library is led here, where just that is done, the last only if there is
such an object. The simulator then goes on to its own end.

The call is led here through the table of addresses (GOT) that the dynamic linker has filled in for
the library. Invariant: where that table is not found, or cannot be written, nothing is changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import inspect
import os
import struct
import sys
import traceback
import types
import weakref
from typing import Any, Iterator

from cocorun_agent import interpreter

_FUNCTIONS = (b"Py_Finalize", b"Py_FinalizeEx")
_LIBRARIES = ("libcocotb.so", "simulator.")
"""What the names of cocotb's libraries begin with that end the interpreter: 1.9 and 2.0, 2.1."""

_PT_DYNAMIC = 2
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_JMPREL = 2, 5, 6, 7, 8, 23
_SYMBOL_BYTES = 24

_OPENSSL_INIT_NO_ATEXIT = 0x80000

_TASK = "cocotb.task.Task.__del__"
"""cocotb 2.1: complains about a task that was never started."""

_HARMLESS = ("cocotb.triggers.Trigger.__del__",)
"""cocotb 1.9: takes a callback back, of a simulation that is over."""

_kept: list[Any] = []
"""What C calls."""

_has_finalisers = False
_has_ended = False


def prepare() -> bool:
    """Leads the interpreter's end here, in this process and its copies; says whether it worked."""
    if struct.calcsize("P") != 8 or sys.byteorder != "little":
        return False
    slots = list(_slots())
    if not slots:
        return False
    function = ctypes.CFUNCTYPE(ctypes.c_int)(_end)
    _kept.append(function)
    address = ctypes.cast(function, ctypes.c_void_p).value
    for slot in slots:
        ctypes.c_uint64.from_address(slot).value = address or 0
    return True


def keep_openssl() -> None:
    """Keeps OpenSSL from taking its tables apart at exit; to be called before it is imported.

    OPENSSL_init_crypto(3): without its exit handler, the memory is left to the kernel.
    """
    if "_hashlib" in sys.modules:
        return
    with contextlib.suppress(Exception):
        spec = importlib.util.find_spec("_hashlib")
        if spec is not None and spec.origin is not None:
            library = ctypes.CDLL(spec.origin)
            library.OPENSSL_init_crypto(ctypes.c_uint64(_OPENSSL_INIT_NO_ATEXIT), None)


def note_finalisers() -> None:
    """Looks for finalisers among what exists now and is about to be frozen."""
    global _has_finalisers
    _has_finalisers = _has_finalisers or _suspended() != []


def _end() -> int:
    """Stands in for `Py_Finalize`; the interpreter still works when it returns."""
    global _has_ended
    if _has_ended:
        return 0
    _has_ended = True
    for step in (_join_threads, _call_exit_functions, _finalise):
        with contextlib.suppress(BaseException):
            step()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(Exception):
        interpreter.flush_open_files()
    return 0


def _join_threads() -> None:
    import threading

    threading._shutdown()  # type: ignore[attr-defined]


def _call_exit_functions() -> None:
    import atexit

    atexit._run_exitfuncs()


def _finalise() -> None:
    """Empties the user's modules, as the interpreter does, if anything would come of it.

    Where that is only the end of coroutines that wait, these are closed: there are many of them in
    a testbench, and emptying the modules costs as much as all else.
    """
    suspended = None if _has_finalisers else _suspended()
    if suspended is None:
        gc.unfreeze()
        _empty(interpreter.forget_user_modules())
        return
    for item in suspended:
        try:
            item.close()
        except BaseException:
            print(f"Exception ignored in: {item!r}", file=sys.stderr)
            traceback.print_exc()


def _empty(modules: list[weakref.ref[Any]]) -> None:
    gc.collect()
    for reference in reversed(modules):
        module = reference()
        if module is not None:
            names = vars(module)
            for name in sorted(names, key=lambda name: not name.startswith("_")):
                if name != "__builtins__":
                    names[name] = None
    gc.collect()


def _suspended() -> list[Any] | None:
    """Returns what is suspended among the objects that are not frozen.

    Nothing if one of them has a finaliser.
    """
    finaliser_by_type: dict[type, Any] = {}
    suspended = []
    for item in gc.get_objects():
        kind = type(item)
        if kind not in finaliser_by_type:
            finaliser_by_type[kind] = _finaliser_of(kind)
        finaliser = finaliser_by_type[kind]
        if finaliser is not None and (finaliser != _TASK or _is_unstarted(item)):
            return None
        # Its instances need not be objects that the collector knows.
        if issubclass(kind, type) and isinstance(vars(item).get("__del__"), types.FunctionType):
            return None
        if kind is types.AsyncGeneratorType and item.ag_frame is not None:
            return None
        if _is_suspended(item, kind):
            suspended.append(item)
    return suspended


def _finaliser_of(kind: type) -> str | None:
    """Returns the name of the finaliser that a class has in Python, or nothing.

    Those in C close descriptors, which the kernel does, and write buffers, which `_end` does.
    """
    for base in kind.__mro__:
        function = vars(base).get("__del__")
        if isinstance(function, types.FunctionType):
            name = f"{function.__module__}.{function.__qualname__}"
            return None if name in _HARMLESS else name
    return None


def _is_unstarted(task: Any) -> bool:
    """Says whether a task of cocotb's would complain that it was never started."""
    return getattr(getattr(task, "_state", None), "name", "UNSTARTED") == "UNSTARTED"


def _is_suspended(item: Any, kind: type) -> bool:
    if kind is types.CoroutineType:
        return inspect.getcoroutinestate(item) == inspect.CORO_SUSPENDED
    if kind is types.GeneratorType:
        return inspect.getgeneratorstate(item) == inspect.GEN_SUSPENDED
    return False


def _slots() -> Iterator[int]:
    """Yields the addresses of the table's entries for the functions, where they can be written."""
    regions: dict[str, list[tuple[int, int, int, bool]]] = {}
    with open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and os.path.basename(fields[5].strip()).startswith(_LIBRARIES):
                start, end = (int(number, 16) for number in fields[0].split("-"))
                is_writable = fields[1].startswith("rw")
                region = (start, end, int(fields[2], 16), is_writable)
                regions.setdefault(fields[5].strip(), []).append(region)
    for mapped in regions.values():
        base = next((start for start, _, offset, _ in mapped if offset == 0), None)
        if base is None:
            continue
        for slot in _slots_of(base):
            if any(start <= slot < end and writable for start, end, _, writable in mapped):
                yield slot


def _slots_of(base: int) -> Iterator[int]:
    """Reads the dynamic section of the library that is loaded at an address."""
    if ctypes.string_at(base, 5) != b"\x7fELF\x02":
        return
    headers_at, size, count = (
        struct.unpack_from(form, ctypes.string_at(base, 64), at)[0]
        for form, at in (("<Q", 32), ("<H", 54), ("<H", 56))
    )
    dynamic: dict[int, int] = {}
    for index in range(count):
        header = ctypes.string_at(base + headers_at + index * size, size)
        kind, _, _, address, _, _, length, _ = struct.unpack_from("<IIQQQQQQ", header)
        if kind == _PT_DYNAMIC:
            table = ctypes.string_at(base + address, length)
            dynamic.update(struct.iter_unpack("<qQ", table[: length - length % 16]))

    def pointer(tag: int) -> int:
        # The linker has made addresses of these offsets, but not everywhere.
        value = dynamic.get(tag, 0)
        return value if value >= base else base + value

    for table, length in ((_DT_JMPREL, _DT_PLTRELSZ), (_DT_RELA, _DT_RELASZ)):
        if table not in dynamic:
            continue
        entries = ctypes.string_at(pointer(table), dynamic.get(length, 0))
        for offset, info, _ in struct.iter_unpack("<QQq", entries):
            symbol = info >> 32
            if not symbol:
                continue
            name_at = struct.unpack(
                "<I", ctypes.string_at(pointer(_DT_SYMTAB) + symbol * _SYMBOL_BYTES, 4)
            )[0]
            name = ctypes.string_at(pointer(_DT_STRTAB) + name_at)
            if name in _FUNCTIONS:
                yield base + offset
