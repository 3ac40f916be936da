"""The first event of every process: who speaks."""

from __future__ import annotations

import os
import sys
from typing import Any

from cocorun_agent import channel, events, output
from cocorun_agent.reporter import Reporter

_facts = ""
"""What is the same in every copy of this process: the event up to `pid`."""


def greet(reporter: Reporter) -> int:
    """Reports versions and process; returns cocotb's major version."""
    import cocotb

    global _facts
    if not _facts:
        from cocotb import simulator

        event = events.hello(
            cocotb=cocotb.__version__,
            simulator=_asked(simulator, "get_simulator_product"),
            simulator_version=_asked(simulator, "get_simulator_version"),
            python=".".join(str(part) for part in sys.version_info[:3]),
            pid=0,
            log_offset=None,
        )
        _facts = channel.line_of(event).partition(',"pid":')[0]
    log_offset = output.log_offset()
    offset = "null" if log_offset is None else log_offset
    reporter.send_line(f'{_facts},"pid":{os.getpid()},"log_offset":{offset}}}')
    return int(cocotb.__version__.partition(".")[0])


def _asked(simulator: Any, function: str) -> str | None:
    try:
        return str(getattr(simulator, function)()).strip()
    except Exception:
        return None
