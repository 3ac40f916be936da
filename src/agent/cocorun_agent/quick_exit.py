"""Ends a forked child, once the simulator has ended, without taking its libraries apart.

At exit the dynamic linker runs the end of each loaded library, and copies or maps two or three
pages for each. Python's, the simulator's and their own are some eighty, and nearly all of these
ends do nothing. So a child ends right after the C library's files were flushed, by exit functions
that are registered last and therefore run first.

Invariant: that happens only if no file is open for writing, and everything that is loaded is known
to have nothing to do at its end: the simulator, the C and C++ libraries and others of the system,
Python and cocotb. Any other library, preloaded ones too, may write a file there (coverage,
profiles), and so may the user's own C++ in a compiled design.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from cocorun_agent import linker, processes

_HARMLESS = frozenset(
    """
    ld-linux-x86-64 ld-linux-aarch64 libatomic libbz2 libc libcrypt libcrypto libdb libdl libexpat
    libffi libgcc_s libgdbm libgdbm_compat liblzma libm libmpdec libncurses libncursesw libnsl
    libpthread libreadline librt libsqlite3 libssl libstdc++ libtinfo libtirpc libutil libuuid libz
    libzstd
    """.split()
)
"""Libraries of the system that Python, its modules and the simulators use."""

_STANDARD = {0, 1, 2}

_libc: Any = None
_addresses: list[Any] = []
"""Of `_exit` and `fflush`."""

_next_library: Any = None
"""Where the dynamic linker would note a library that is loaded from now on."""

_held: dict[str, Any] = {}
"""The libraries by their paths: the simulator closes its modules, which then costs nothing."""


def prepare(libc: Any, has_foreign_code: bool) -> None:
    """Looks at what is loaded; for a server, before it forks."""
    global _libc, _next_library
    _next_library = None
    with contextlib.suppress(Exception):
        import ctypes

        if not linker.IS_KNOWN or has_foreign_code or os.environ.get("LD_PRELOAD"):
            return
        folders = _folders()
        libraries = list(linker.loaded())
        for path, _ in libraries:
            if not _is_known(path, folders):
                return
            if "/" in path and path not in _held:
                with contextlib.suppress(OSError):
                    _held[path] = ctypes.CDLL(path, os.RTLD_LAZY | os.RTLD_NOLOAD)
        libc.on_exit.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        libc.__cxa_atexit.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        functions = (libc._exit, libc.fflush)
        _addresses[:] = [ctypes.cast(function, ctypes.c_void_p) for function in functions]
        _libc, _next_library = libc, libraries[-1][1]


def lead() -> None:
    """Makes the process end as soon as its exit functions begin to run, after a flush."""
    if _next_library is None or _next_library.value:
        return
    # Some writers of waves close their files in an exit function.
    if processes.open_for_writing(_STANDARD):
        return
    leave, flush = _addresses
    # The last one registered runs first. `_exit` gets the exit status as its first argument,
    # on_exit(3); `fflush` gets NULL, for all files.
    if _libc.on_exit(leave, None) == 0:
        _libc.__cxa_atexit(flush, None, None)


def _folders() -> tuple[str, ...]:
    """Returns the folders, each with `/` at its end, of cocotb and of Python's own modules."""
    import cocotb

    folders = (
        os.path.dirname(cocotb.__file__),
        os.path.join(os.path.dirname(os.__file__), "lib-dynload"),
    )
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)


def _is_known(path: str, folders: tuple[str, ...]) -> bool:
    # The program itself and the kernel's page have no path.
    if "/" not in path or os.path.realpath(path).startswith(folders):
        return True
    folder, name = os.path.split(path)
    # The simulator's own modules; the user's make the whole process one with foreign code.
    if os.path.basename(folder) == "ivl" and name.endswith(".vpi"):
        return True
    return name.startswith("libpython") or name.partition(".so")[0] in _HARMLESS
