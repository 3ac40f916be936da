"""Ends the interpreter of a forked child without taking it apart.

`Py_Finalize` touches every type, every interned string and every module, which in a forked child
copies some 1 600 pages: half of the price of a short testcase. What people can see of it is little:
threads are joined, exit functions run, streams and files are flushed, coroutines that wait are
closed, and objects with a finaliser are finalised. If none of the last exist once the regression is
over, the call of `Py_Finalize` in cocotb's library is redirected here, where the others are done.
The simulator then goes on to its own end.

The call is redirected through the table of addresses (GOT) that the dynamic linker has filled in
for the library. Invariant: where that table is not found, or cannot be written, or where an object
has a finaliser, the interpreter ends as usual.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import inspect
import io
import sys
import traceback
import types
import weakref
from typing import Any

from cocorun_agent import interpreter, linker, quick_exit

_FUNCTIONS = (b"Py_Finalize", b"Py_FinalizeEx")
_LIBRARIES = ("libcocotb.so", "simulator.")
"""What the names of cocotb's libraries begin with that end the interpreter: 1.9 and 2.0, 2.1."""

_OPENSSL_INIT_NO_ATEXIT = 0x80000

_SUSPENDABLE = (types.CoroutineType, types.GeneratorType)

_KNOWS_STDLIB = hasattr(sys, "stdlib_module_names")
"""Python 3.10 and later."""

_STREAM = io.IOBase.__mro__[1]
"""What every stream is derived from, those in C too."""

_HARMLESS = ("cocotb.triggers.Trigger.__del__",)
"""cocotb 1.9: takes a callback back, of a simulation that is over."""

_OF_C = ("_destroy", "_localdummy_destroyed")
"""Callbacks of the cache of an abstract class, and of `threading.local`; they name no module."""

_slots: list[Any] = []
"""The entries in the tables of cocotb's libraries."""

_kept: list[Any] = []
"""What C calls, and its address."""

_has_finalisers = False
"""Whether there is one among what is frozen."""

_has_finaliser_by_type: dict[type, bool] = {}
"""Those seen so far. A server fills it: where a child only reads, no page is copied."""

_waiting: list[Any] = []
"""Weak references to coroutines and generators that waited when they were frozen."""

_is_frozen = False
"""Whether a server has frozen what the user's code made."""

_has_ended = False


def prepare() -> None:
    """Finds where the interpreter's end is called; for a server."""
    # Whatever is odd about a library, it is only slower then.
    with contextlib.suppress(Exception):
        import ctypes

        _kept.append(ctypes.CFUNCTYPE(ctypes.c_int)(_end))
        _kept.append(ctypes.cast(_kept[0], ctypes.c_void_p).value)
        _slots[:] = linker.slots(_LIBRARIES, _FUNCTIONS)


def keep_openssl() -> None:
    """Keeps OpenSSL from taking its tables apart at exit; to be called before it is imported.

    OPENSSL_init_crypto(3): without its exit handler, the memory is left to the kernel.
    """
    if "_hashlib" in sys.modules:
        return
    with contextlib.suppress(Exception):
        import ctypes

        spec = importlib.util.find_spec("_hashlib")
        if spec is not None and spec.origin is not None:
            library = ctypes.CDLL(spec.origin)
            library.OPENSSL_init_crypto(ctypes.c_uint64(_OPENSSL_INIT_NO_ATEXIT), None)


def note_finalisers() -> None:
    """Looks for finalisers among what exists now and is about to be frozen."""
    global _has_finalisers
    if not _has_finalisers:
        _has_finalisers = _finds_finaliser(is_frozen_next=True)


def freeze_waiting() -> None:
    """Freezes what exists, and remembers the coroutines that wait, for the end of a child."""
    global _has_finalisers
    if not _has_finalisers:
        _has_finalisers = _finds_finaliser(is_frozen_next=False)
    for item in gc.get_objects():
        if _is_suspended(item) and not _is_ours(item):
            _waiting.append(weakref.ref(item))
    freeze()


def freeze() -> None:
    """Freezes what exists, until a child collects everything; for a server that has run user code.

    A testcase that calls `gc.collect` expects garbage from the import of its module to be collected.
    """
    global _is_frozen
    if not _is_frozen:
        gc.callbacks.append(_unfreeze)
    _is_frozen = True
    gc.freeze()


def _unfreeze(phase: str, info: dict[str, int]) -> None:
    if phase == "start" and info["generation"] == 2:
        gc.unfreeze()


def lead() -> None:
    """Leads the interpreter's end here if nothing exists that it would finalise.

    To be called in a child once its regression is over.
    """
    if not _slots or _has_finalisers or _finds_finaliser(is_frozen_next=False):
        if _is_frozen:
            # Python finalises only what its collector finds.
            gc.unfreeze()
        return
    for slot in _slots:
        slot.value = _kept[1]


def _end() -> int:
    """Stands in for `Py_Finalize`; the interpreter still works when it returns."""
    global _has_ended
    if _has_ended:
        return 0
    _has_ended = True
    for step in (_join_threads, _call_exit_functions, _close_suspended):
        with contextlib.suppress(BaseException):
            step()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(Exception):
        interpreter.flush_open_files()
    with contextlib.suppress(Exception):
        quick_exit.lead()
    return 0


def _join_threads() -> None:
    import threading

    threading._shutdown()  # type: ignore[attr-defined]


def _call_exit_functions() -> None:
    import atexit

    atexit._run_exitfuncs()


def _close_suspended() -> None:
    """Closes coroutines that wait, as their finaliser does: testbenches leave many."""
    waiting = [reference() for reference in _waiting]
    for item in waiting + gc.get_objects():
        if _is_suspended(item):
            try:
                item.close()
            except BaseException:
                print(f"Exception ignored in: {item!r}", file=sys.stderr)
                traceback.print_exc()


def _finds_finaliser(is_frozen_next: bool) -> bool:
    """Says whether an object that is not frozen would do something when it is finalised.

    Coroutines and generators can be closed at the end, but not found then if they are frozen.
    """
    has_finaliser_by_type = _has_finaliser_by_type
    for item in gc.get_objects():
        kind = type(item)
        if kind not in has_finaliser_by_type:
            has_finaliser_by_type[kind] = _has_finaliser(kind)
        if has_finaliser_by_type[kind] and not _is_started_task(item, kind):
            return True
        if kind in (weakref.ref, weakref.KeyedRef) and item.__callback__ is not None:
            if not _is_of_library(item.__callback__):
                return True
        if kind is types.AsyncGeneratorType and item.ag_frame is not None:
            return True
        if is_frozen_next and kind in _SUSPENDABLE and not _is_closed(item) and not _is_ours(item):
            return True
    return False


def _has_finaliser(kind: type) -> bool:
    """Says whether a class has a finaliser in Python, or one in C that calls Python.

    Other ones in C close descriptors, which the kernel does, and write buffers, which `_end` does.
    """
    # `issubclass` would ask Python's abstract classes, for each of their registered subclasses too.
    if _STREAM in kind.__mro__ and kind.__module__ not in ("_io", "io"):
        return True
    for base in kind.__mro__:
        function = vars(base).get("__del__")
        if function is not None and not isinstance(function, types.WrapperDescriptorType):
            name = getattr(function, "__qualname__", "")
            return f"{base.__module__}.{name}" not in _HARMLESS
    return False


def _is_started_task(item: Any, kind: type) -> bool:
    """Says whether an object is a task of cocotb's, whose finaliser has nothing to complain of."""
    if not kind.__module__.startswith("cocotb."):
        return False
    return getattr(getattr(item, "_state", None), "name", "UNSTARTED") != "UNSTARTED"


def _is_of_library(function: Any) -> bool:
    """Says whether a callback is of Python's own, as those of caches and of `WeakSet` are."""
    if type(function) is types.BuiltinFunctionType and function.__name__ in _OF_C:
        return type(function.__self__) is weakref.ref
    module = getattr(function, "__module__", None) or ""
    return module.partition(".")[0] in sys.stdlib_module_names if _KNOWS_STDLIB else False


def _is_closed(item: Any) -> bool:
    return getattr(item, "cr_frame", None) is None and getattr(item, "gi_frame", None) is None


def _is_ours(item: Any) -> bool:
    """Says whether a generator is the agent's: with cocotb 1.9 the server runs in one."""
    code = getattr(item, "gi_code", None)
    return code is not None and code.co_filename.startswith("<cocorun_agent.")


def _is_suspended(item: Any) -> bool:
    kind = type(item)
    if kind is types.CoroutineType:
        return inspect.getcoroutinestate(item) == inspect.CORO_SUSPENDED
    if kind is types.GeneratorType:
        return inspect.getgeneratorstate(item) == inspect.GEN_SUSPENDED
    return False
