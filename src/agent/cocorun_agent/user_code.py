"""Code of the user's own that runs besides the tests: VPI libraries and entry points."""

from __future__ import annotations

import functools
import importlib
import operator
import os
from typing import Any

from cocorun_agent import imports, interpreter


class LibraryNotLoaded(RuntimeError):
    """The simulator has not loaded a VPI library."""


def check_vpi_libraries(paths: list[str]) -> None:
    """Raises `LibraryNotLoaded` unless this process has loaded all of these."""
    if not paths:
        return
    import ctypes

    for path in paths:
        try:
            ctypes.CDLL(path, mode=os.RTLD_LAZY | os.RTLD_NOLOAD)
        except OSError:
            raise LibraryNotLoaded(
                f"the simulator has not loaded the VPI library {path}: {_why_not(ctypes, path)}; "
                "build it for this machine and this simulator, "
                "or remove it from `vpi_libraries`"
            ) from None


def _why_not(ctypes: Any, path: str) -> str:
    try:
        library = ctypes.CDLL(path, mode=os.RTLD_LAZY)
    except OSError as error:
        return str(error)
    if not hasattr(library, "vlog_startup_routines"):
        return "it has no `vlog_startup_routines`"
    return "its log says why"


def add_pygpi_users(users: list[str], cocotb_major: int) -> None:
    """Has these functions called as soon as cocotb is initialised, with what its loader passes.

    What they raise ends the simulation, as with cocotb's own entry points.
    """
    if not users:
        return
    if cocotb_major < 2:
        raise RuntimeError(
            "cocotb 1.x has no `pygpi_users`: remove the key, or install cocotb 2.0 or newer"
        )
    import cocotb._init

    initialise = cocotb._init.init_package_from_simulation

    @functools.wraps(initialise)
    def initialising(*args: Any) -> None:
        initialise(*args)
        interpreter.user_code_begins()
        imports.take_the_lead()
        for user in users:
            module, _, function = user.partition(":")
            operator.attrgetter(function)(importlib.import_module(module))(*args)

    cocotb._init.init_package_from_simulation = initialising
