"""The fork server of one test module: it has imported the module, and forks its testcases.

A child of the first server, which lets cocotb initialise itself and discover the testcases, reports
them as a listing does, and then forks a child for each request at the last moment that all of them
have in common: cocotb's regression is about to start. A testcase finds what an import of its own
would have left: the same state of `random`, the same output above its own, the same handlers.

Invariant: a module whose import does anything that copies of this process would share is not served
(`cannot_serve`, after its listing); its testcases are forked before the import.
"""

from __future__ import annotations

import os
import random
import signal
from typing import Any

from cocorun_agent import (
    child,
    events,
    hello,
    mapped_code,
    output,
    processes,
    quick_end,
    quick_exit,
    serve,
)
from cocorun_agent.channel import Channel
from cocorun_agent.import_effects import Watch
from cocorun_agent.reporter import Reporter
from cocorun_agent.request import Request, apply_to_copy


class ModuleServer:
    """Serves the one module of a request; the calls come in the order in which they stand here."""

    def __init__(self, reporter: Reporter, wanted: Request) -> None:
        self._reporter = reporter
        self._wanted = wanted
        self._watch = Watch()
        self._is_watching = False

    def user_code_begins(self) -> None:
        """Begins to watch what imports do."""
        processes.adopt_orphans()
        with self._reporter.guard("import_effects"):
            self._watch.begin()
            self._is_watching = True

    def user_code_ends(self) -> None:
        """Ends the watch: the module has been imported."""
        if self._is_watching:
            self._is_watching = False
            with self._reporter.guard("import_effects"):
                self._watch.end()
                self._is_watching = True

    def serve(self) -> Request:
        """Serves until the socket closes; returns only in a child, settled, with its request.

        The reporter is the child's from then on.
        """
        reason = self._obstacle()
        if reason is not None:
            self._reporter.send(events.cannot_serve(message=reason))
            output.flush()
            os._exit(0)
        output.flush()
        preamble = _content(self._wanted.log)
        state = random.getstate()
        on_child = signal.getsignal(signal.SIGCHLD)
        wanted = self._server().run()
        self._reporter.restart(Channel(wanted.event_fd, wanted.event_file))
        try:
            # `random` seeds itself again after a fork.
            random.setstate(state)
            if on_child not in (None, signal.SIG_DFL):
                signal.signal(signal.SIGCHLD, on_child)
            child.settle(wanted, None, preamble)
            self._apply(wanted, hello.greet(self._reporter))
        except BaseException as error:
            self._reporter.startup_error(error)
            os._exit(1)
        return wanted

    def _apply(self, wanted: Request, cocotb_major: int) -> None:
        apply_to_copy(wanted)

    def _server(self) -> serve.Server:
        quick_end.note_finalisers()
        return _Server(self._reporter, self._wanted)

    def _obstacle(self) -> str | None:
        """Returns why the module's testcases cannot be forked from here, or nothing."""
        if not self._is_watching:
            return "what its import does could not be watched"
        return self._watch.findings()


class _Server(serve.Server):
    """Forks runs of its own module."""

    def _prepare(self) -> None:
        child.forget_user_paths()
        # Nothing is collected: what the user's code has left would be finalised early.
        quick_end.freeze()
        quick_exit.prepare(output.libc(), self._served.has_foreign_code)
        mapped_code.keep_for_children()

    def _check(self, wanted: Request) -> None:
        if wanted.mode != "run":
            raise ValueError(f"a module's server cannot {wanted.mode}")
        self._expect_same(wanted, ("modules", "seed", "paths", "ambiguous"), "module's")


def _content(log: Any) -> bytes:
    if log is None:
        return b""
    with open(log, "rb") as file:
        return file.read()
