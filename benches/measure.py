"""Runs a contender's command and finds out what it costs.

Wall-clock time, processor time and minor page faults are those of the whole process tree. Memory is
measured by a run of its own, since looking at it costs time: the peak of what the tree occupies,
with pages that several processes share counted once (PSS).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contenders import Contender

SAMPLED_EACH_S = 0.02


@dataclass
class Cost:
    """What one run of a contender cost."""

    wall_s: float
    cpu_s: float
    faults: int


def timed(contender: Contender) -> Cost:
    """Runs a contender; ends the program if its work fails."""
    contender.prepare()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        contender.command, cwd=contender.cwd, env=contender.env, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    _expect_success(contender, done.returncode, f"{done.stdout}\n{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, after.ru_minflt - before.ru_minflt)


def peak_memory_mib(contender: Contender) -> float:
    """Runs a contender and returns the peak of its process tree's memory."""
    contender.prepare()
    log = contender.cwd / "memory.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            contender.command, cwd=contender.cwd, env=contender.env, stdout=out, stderr=out
        )
        peak_kib = 0
        while process.poll() is None:
            peak_kib = max(peak_kib, sum(map(_pss_kib, _tree(process.pid))))
            time.sleep(SAMPLED_EACH_S)
    _expect_success(contender, process.returncode, log.read_text())
    return peak_kib / 1024


def _expect_success(contender: Contender, status: int, said: str) -> None:
    if status != 0:
        sys.exit(f"{contender.name} failed: {contender.command}\n{said}")
    contender.check()


def _tree(root: int) -> Iterator[int]:
    """Returns a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{name}/stat").read_text()
        except OSError:
            continue
        parent = int(stat.rsplit(")", 1)[1].split()[1])
        children.setdefault(parent, []).append(int(name))
    found = [root]
    while found:
        pid = found.pop()
        yield pid
        found += children.get(pid, [])


def _pss_kib(pid: int) -> int:
    """Returns a process's memory, of shared pages its share; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
