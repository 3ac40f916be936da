"""Configures pytest once, before the fork, for the assertion rewriting of every child.

cocotb creates a pytest configuration in each simulation, only to install the import hook that
rewrites assertions; that is half the work of a short run (14 ms of processor time even if all
modules are loaded). The hook reads two settings of it, which depend on pytest's own files around
the working directory and on the environment.

Invariant: a child gets the prepared configuration only if its working directory and environment
would lead pytest to exactly the same files; else cocotb's own call is made.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Iterable, Iterator

_ARGUMENTS = ["--capture=no", "-o", "python_files=*.py"]
"""What cocotb 1.9 to 2.1 pass; any other call does not get the prepared configuration."""

_FILES = (
    "conftest.py",
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
    "setup.py",
)

_config: Any = None
_finders: list[Any] = []
_PREFIX = "PYTEST_"
_cwd = ""
_env: dict[str, str] = {}


def prepare() -> None:
    """Configures pytest and otherwise restores the state of the process; for a server."""
    global _config, _cwd, _env
    if _config is not None and _env == _pytest_env() and _leads_to_the_same_files():
        return
    before = list(sys.meta_path)
    with contextlib.suppress(Exception):
        from _pytest.config import Config

        _cwd = os.getcwd()
        _env = _pytest_env()
        _config = Config.fromdictargs({}, list(_ARGUMENTS))
        _finders[:] = [finder for finder in sys.meta_path if finder not in before]
    sys.meta_path[:] = before


@contextlib.contextmanager
def rewriting() -> Iterator[None]:
    """Rewrites modules that are imported meanwhile, as a child would."""
    sys.meta_path[:0] = _finders
    try:
        yield
    finally:
        for finder in _finders:
            sys.meta_path.remove(finder)


def reuse(changed: Iterable[str]) -> None:
    """Returns the prepared configuration on the next call; for a child, once settled.

    `changed` are the variables of the environment that may differ from the server's.
    """
    if _config is None or any(name.startswith(_PREFIX) for name in changed):
        return
    if not _leads_to_the_same_files():
        return
    from _pytest.config import Config

    real = Config.__dict__["fromdictargs"]

    def answer(cls: Any, option_dict: Any, args: Any) -> Any:
        Config.fromdictargs = real
        if option_dict or list(args) != _ARGUMENTS:
            return cls.fromdictargs(option_dict, args)
        sys.meta_path[:0] = _finders
        return _config

    Config.fromdictargs = classmethod(answer)


def _leads_to_the_same_files() -> bool:
    """Compares the child's working directory with the server's.

    pytest walks from the working directory upwards. Once the two walks meet, they see the same
    files; before that, neither may find anything.
    """
    try:
        cwd = os.getcwd()
        common = os.path.commonpath([cwd, _cwd])
        return not (_finds_any(cwd, common) or _finds_any(_cwd, common))
    except (OSError, ValueError):
        return False


def _finds_any(start: str, up_to: str) -> bool:
    if start == up_to:
        return False
    # In the working directory itself, pytest also tries `test*/conftest.py`.
    with os.scandir(start) as entries:
        if any(entry.name.startswith("test") and entry.is_dir() for entry in entries):
            return True
    directory = start
    while directory != up_to:
        if any(os.path.exists(os.path.join(directory, name)) for name in _FILES):
            return True
        directory = os.path.dirname(directory)
    return False


def _pytest_env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_PREFIX)}
