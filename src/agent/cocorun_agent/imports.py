"""What a run imports comes from its own folders, or not at all.

Python takes the first of several files with one name and does not mention the others, so a folder
could run the testbench of its neighbour. cocorun finds such names in the folders before anything
runs; here they are refused when something imports them, also from within a testcase. And a module
that lies in one of the folders must come from there: a package that is installed, or was imported
before, can hide it.

Invariant: a module is refused or it is what Python itself imports; nothing is replaced.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Callable

_folders: list[str] = []
_are_first = False
_dirs: set[str] | None = None
"""Names of folders in these folders, once they have been looked for."""

_ambiguous: dict[str, list[str]] = {}
_followers: dict[str, Callable[[Any], None]] = {}


class AmbiguousImport(Exception):
    """Several files have the name; not an `ImportError`, which user code may expect and ignore."""


class WrongModule(Exception):
    """A module would not be the file that its folders have."""


class _First:
    """The finder before all others: pytest's own answers for every module."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Refuses ambiguous names, and finds only modules whose import is followed."""
        files = _ambiguous.get(name)
        if files:
            shown = " and ".join(files[:2])
            more = f" and {len(files) - 2} more" if len(files) > 2 else ""
            raise AmbiguousImport(
                f"`{name}` could be {shown}{more}; "
                "say with `paths` in the `[[test]]` which folder is meant, or rename one"
            )
        _refuse_hidden_part(name, path)
        if name not in _followers:
            return None
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find is not None else None
            if spec is not None:
                with contextlib.suppress(Exception):
                    _follow(spec.loader, _followers[name])
                return spec
        return None


_first = _First()


def set_path(folders: list[str], ambiguous: dict[str, list[str]]) -> None:
    """Sets where the user's modules come from."""
    global _are_first, _dirs
    _are_first = False
    if folders != _folders:
        _dirs = None
    _folders[:] = folders
    _ambiguous.clear()
    _ambiguous.update(ambiguous)


def folders() -> list[str]:
    """Returns where the user's modules come from."""
    return list(_folders)


def after(name: str, call: Callable[[Any], None]) -> None:
    """Calls with a module as soon as it has been imported."""
    _followers[name] = call


def take_the_lead() -> None:
    """Puts the finder, and once the folders, before those that have been added since.

    To be called before a module of the user's is imported. pytest, where it finds a `conftest.py`
    around the working directory, imports it, and searches its folder first from then on.
    """
    global _are_first
    if _first not in sys.meta_path[:1]:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(_first)  # type: ignore[arg-type]
        sys.meta_path.insert(0, _first)  # type: ignore[arg-type]
    if not _are_first:
        _are_first = True
        sys.path[:] = _folders + [entry for entry in sys.path if entry not in _folders]
        loaded = sys.modules.get("conftest")
        if loaded is not None and _hidden_file("conftest", loaded) is not None:
            # pytest does the same before it imports the next one.
            del sys.modules["conftest"]


def check(name: str) -> None:
    """Raises if an imported test module is not the one in the folders, if they have it."""
    file = _hidden_file(name, sys.modules.get(name))
    if file is not None:
        origin = getattr(sys.modules.get(name), "__file__", None) or "something that is no file"
        raise WrongModule(f"`{name}` was imported from {origin}, and not from {file}")


def _hidden_file(name: str, module: Any) -> str | None:
    """Returns the file in the folders that has the name, if the module is another one."""
    wanted = None
    for folder in _folders:
        base = os.path.join(folder, *name.split("."))
        files = (base + ".py", os.path.join(base, "__init__.py"))
        wanted = next((file for file in files if os.path.exists(file)), None)
        if wanted is not None:
            break
    origin = getattr(module, "__file__", None)
    if wanted is None or origin is None:
        return wanted
    # A compiled module lies next to its source.
    for here, there in ((wanted, origin), (os.path.dirname(wanted), os.path.dirname(origin))):
        with contextlib.suppress(OSError):
            if os.path.samefile(here, there):
                return None
    return wanted


def look_around() -> None:
    """Looks for folders that may be parts of packages; a server does it for its children."""
    global _dirs
    if _dirs is None:
        _dirs = set()
        for folder in _folders:
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                _dirs.update(entry.name for entry in entries if entry.is_dir())


def _refuse_hidden_part(name: str, package_path: Any) -> None:
    """Raises if the folders have the module, and a package of that name elsewhere hides it.

    A folder without `__init__.py` is a part of a package only if no package of that name, such as an
    installed one, has an `__init__.py`.
    """
    package, _, last = name.rpartition(".")
    if not package or package_path is None:
        return
    look_around()
    if package.partition(".")[0] not in (_dirs or ()):
        return
    parts = [os.path.realpath(part) for part in package_path]
    for folder in _folders:
        here = os.path.join(folder, *package.split("."))
        files = (os.path.join(here, last + ".py"), os.path.join(here, last, "__init__.py"))
        file = next((file for file in files if os.path.exists(file)), None)
        if file is not None:
            if os.path.realpath(here) not in parts:
                raise WrongModule(
                    f"`{name}` in {file} is hidden by the package in {parts[0]}; "
                    f"put an `__init__.py` into {here}"
                )
            return


def _follow(loader: Any, call: Callable[[Any], None]) -> None:
    execute = loader.exec_module

    def exec_module(module: Any) -> None:
        # One loader may have been found for several modules.
        vars(loader).pop("exec_module", None)
        execute(module)
        with contextlib.suppress(Exception):
            call(module)

    loader.exec_module = exec_module
