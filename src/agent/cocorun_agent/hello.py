"""The first event of every process: who speaks."""

from __future__ import annotations

import os
import sys
from typing import Any

from cocorun_agent import events, output
from cocorun_agent.reporter import Reporter

_facts: dict[str, Any] = {}
"""What is the same in every copy of this process."""


def greet(reporter: Reporter) -> int:
    """Reports versions and process; returns cocotb's major version."""
    import cocotb

    if not _facts:
        from cocotb import simulator

        _facts.update(
            cocotb=cocotb.__version__,
            simulator=_asked(simulator, "get_simulator_product"),
            simulator_version=_asked(simulator, "get_simulator_version"),
            python=".".join(str(part) for part in sys.version_info[:3]),
        )
    log_offset = output.log_offset()
    reporter.send(events.hello(**_facts, pid=os.getpid(), log_offset=log_offset))
    return int(cocotb.__version__.split(".")[0])


def _asked(simulator: Any, function: str) -> str | None:
    try:
        return str(getattr(simulator, function)()).strip()
    except Exception:
        return None
