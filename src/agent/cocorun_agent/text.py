"""Turns exceptions and other user-defined objects into text that always fits into an event.

Invariant: nothing in here raises because of what a user's object does in `__str__`.
"""

from __future__ import annotations

import math
import traceback

MESSAGE_CHARS_MAX = 1000
"""A message is for a terminal; the traceback has the rest."""

TRACEBACK_CHARS_MAX = 256 * 1024
"""An assertion over a big list can print megabytes; head and tail are what people read."""


def safe_str(value: object) -> str:
    """Returns `str(value)`, or a replacement if that raises."""
    try:
        # A subclass of `str` may still misbehave; joining turns it into a plain one.
        return "".join((str(value),))
    except Exception as error:
        return f"<{type(value).__name__} whose str() raised {type(error).__name__}>"


def error_type(error: object) -> str:
    """Returns the name of an exception's type; cocotb 1.9 passes some as bare classes."""
    return error.__name__ if isinstance(error, type) else type(error).__name__


def type_of_value(value: object) -> str | None:
    """Returns the name of a value's type, or nothing for `None`."""
    return None if value is None else type(value).__name__


def message_of(error: object) -> str:
    """Returns an exception's message as one line, or its type's name if it has none."""
    return one_line(_message(error)) or error_type(error)


def lines_of(error: object) -> str:
    """Returns an exception's message with its lines, or its type's name if it has none.

    The first line that is not blank comes first.
    """
    lines = [line.rstrip() for line in _message(error).splitlines()]
    return _shortened("\n".join(lines).strip()) or error_type(error)


def _message(error: object) -> str:
    if isinstance(error, type):
        return error.__name__
    parts = [safe_str(error)]
    if error_type(error) in ("ExceptionGroup", "BaseExceptionGroup"):
        # A group's own text does not name the exceptions in it.
        inner = getattr(error, "exceptions", ())
        parts.extend(f"{error_type(one)}: {safe_str(one)}" for one in inner)
    return "; ".join(part for part in parts if part)


def one_line(text: str) -> str:
    """Returns `text` with all white space collapsed and a limited length."""
    return _shortened(" ".join(text.split()))


def _shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def traceback_of(error: object, is_import: bool = False) -> str:
    """Returns the traceback as Python prints it, the message included.

    For an import it begins with the user's code, without the frames of the agent, cocotb, the
    import system and pytest's rewriting above it.
    """
    if not isinstance(error, BaseException):
        return error_type(error)
    try:
        trace = error.__traceback__
        while is_import and trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
            trace = trace.tb_next
        text = "".join(traceback.format_exception(type(error), error, trace))
    except Exception as problem:
        text = f"{error_type(error)}: {safe_str(error)} (no traceback: {safe_str(problem)})\n"
    if len(text) > TRACEBACK_CHARS_MAX:
        half = TRACEBACK_CHARS_MAX // 2
        left_out = len(text) - 2 * half
        text = f"{text[:half]}\n… {left_out} characters left out …\n{text[-half:]}"
    return text


def _is_machinery(path: str) -> bool:
    ends = ("importlib/__init__.py", "_pytest/assertion/rewrite.py", "cocotb/regression.py")
    return path.startswith("<") or path.endswith(ends)


def plain(value: object) -> object:
    """Returns `value` as something every JSON reader accepts.

    Python's encoder writes `NaN` and lone surrogates (undecodable bytes of file names), which
    strict readers reject.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
