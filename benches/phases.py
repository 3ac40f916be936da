"""Finds out where the time of a forked testcase and of a server's start goes, and writes the tables.

    benches/phases.py --cocorun target/release/cocorun --python VENV/bin/python [--python …]

One session of cocorun for each Python (each with another cocotb) and simulator runs a module of
trivial testcases with one job. `probe/sitecustomize.py` wraps functions of the agent and notes what
each process has used when it comes by: means over the testcases of user and system time, medians of
minor page faults. A build's server is shown as it starts by itself: the probe keeps it from being forked
from another one's Python. The marks themselves cost some 0.05 ms and 20 page faults of a testcase. `--write FILE`
replaces what is between the lines `<!-- phases -->` and `<!-- /phases -->` of FILE.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import workload
from compare import machine, version_of
from contenders import Bench

PROBE = Path(__file__).parent / "probe"
sys.path.insert(0, str(PROBE))
from sitecustomize import PART, PARTS, RECORD, RECORDS_MAX  # noqa: E402

MARKS = ("<!-- phases -->", "<!-- /phases -->")
FEW, COUNT = min(workload.MORE_COUNTS), max(workload.MORE_COUNTS)
PHASES_OF_SERVER = {
    "Python started": "loader, elaboration, Python's start",
    "agent loaded": "cocotb's loader and the agent",
    "cocotb imported": "import of cocotb, and of pytest, which it needs",
    "warm": "import of what runs import later, pytest's configuration",
    "serving": "`gc.freeze`, preparation of the end",
}
PHASES_OF_MODULE = {
    "fork": "`fork`, in the server",
    "forked": "after the fork",
    "settled": "surroundings: folder, log, environment",
    "hooked": "pytest's configuration, hooks",
    "cocotb initialised": "cocotb's initialisation",
    "module imported": "import of the module",
    "listed": "discovery and listing",
    "serving": "`gc.freeze`",
}
PHASES_OF_TESTCASE = {
    "fork": "`fork`, in the module's server",
    "forked": "after the fork",
    "settled": "surroundings: folder, log, environment",
    "selected": "`hello`, selection",
    "begins": "cocotb's regression until the testcase begins",
    "finished": "the testcase, its report, `results.xml`",
    "exited": "end of Python and of the simulator",
}


@dataclass
class Used:
    """What a process has used: milliseconds and minor page faults."""

    user_ms: float
    system_ms: float
    faults: float

    def minus(self, other: Used) -> Used:
        return Used(
            self.user_ms - other.user_ms, self.system_ms - other.system_ms, self.faults - other.faults
        )


NOTHING = Used(0, 0, 0)
Marks = list[tuple[str, Used]]
"""The marks of one process in their order, those of its parent at both ends."""


def read_marks(data: bytes) -> list[Marks]:
    """Returns the marks of each process."""
    processes = []
    for part in range(PARTS):
        marks: Marks = []
        first = last = None
        for place in range(RECORDS_MAX):
            name, is_amount, faults, user, system = RECORD.unpack_from(data, part * PART + place * RECORD.size)
            text = name.rstrip(b"\0").decode()
            used = Used(1e3 * user, 1e3 * system, faults)
            if not text:
                continue
            if is_amount:
                first = (text, used)
            elif place == 1:
                last = (text, used)
            else:
                marks.append((text, used))
        if marks:
            processes.append([*([first] if first else []), *marks, *([last] if last else [])])
    return processes


def phases(marks: Marks) -> dict[str, Used]:
    """Returns what each phase has used: the differences of the marks; a phase may come by twice."""
    found: dict[str, Used] = {}
    before = NOTHING
    for name, used in marks:
        if name == "fork":
            found[name] = used
        else:
            found.setdefault(name, used.minus(before))
            before = used
    return found


def shared(used: Used, count: int) -> Used:
    """Returns the part of one among so many."""
    return Used(used.user_ms / count, used.system_ms / count, used.faults / count)


def typical(all_used: list[Used]) -> Used:
    """Returns means of times, whose parts the kernel only estimates, and the median of page faults."""
    user, system = (statistics.fmean(getattr(it, name) for it in all_used) for name in ("user_ms", "system_ms"))
    return Used(user, system, statistics.median(it.faults for it in all_used))


def used_by_cocorun(command: list[str], project: workload.Project, bench: Bench) -> Used:
    """Runs a session and returns what its own process has used, without its children."""
    process = subprocess.Popen(command, cwd=project.root, env=bench.env, stdout=subprocess.DEVNULL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    if process.wait() != 0:
        sys.exit(f"{command} failed")
    tick_ms = 1000 / os.sysconf("SC_CLK_TCK")
    return Used(int(fields[11]) * tick_ms, int(fields[12]) * tick_ms, int(fields[7]))


@dataclass
class Session:
    """What one session has shown."""

    title: str
    server: dict[str, Used]
    module: dict[str, Used]
    testcase: dict[str, Used]
    loop: Used
    """What a module's server has used for a testcase besides the fork."""
    cocorun: Used
    """What cocorun's own process has used for a testcase."""

    def tables(self) -> str:
        parts = [
            f"### {self.title}\n",
            _table("start of a build's server", self.server, PHASES_OF_SERVER, {}),
            _table("start of a module's server", self.module, PHASES_OF_MODULE, {}),
            _table("one testcase", self.testcase, PHASES_OF_TESTCASE,
                   {"request and reaping, in the module's server": self.loop,
                    "folder, request, log and report, in cocorun itself": self.cocorun}),
        ]  # fmt: skip
        return "\n".join(parts)


def _table(title: str, found: dict[str, Used], names: dict[str, str], more: dict[str, Used]) -> str:
    rows = {words: found[name] for name, words in names.items() if name in found} | more
    rows["**sum**"] = Used(
        *(sum(getattr(it, name) for it in rows.values()) for name in ("user_ms", "system_ms", "faults"))
    )
    lines = [f"| {title} | user ms | system ms | page faults |\n|---|---|---|---|"]
    for words, it in rows.items():
        lines.append(f"| {words} | {it.user_ms:.2f} | {it.system_ms:.2f} | {it.faults:.0f} |")
    return "\n".join(lines) + "\n"


def watch(bench: Bench, root: Path, simulator: str, python: Path) -> Session:
    """Runs one session under the probe."""
    project = workload.more(root, python)
    config = ["--config", f"{simulator}.toml"]
    bench.once([bench.cocorun, "build", "--quiet", *config], project.root)
    command = [bench.cocorun, "test", "--quiet", "--jobs", "1", *config, "--module"]
    many, few = (
        used_by_cocorun([*command, f"test_{count}"], project, bench) for count in (COUNT, FEW)
    )
    own = shared(many.minus(few), COUNT - FEW)
    command.append(f"test_{COUNT}")
    marks = root / "marks"
    marks.write_bytes(bytes(PART * PARTS))
    env = {**bench.env, "COCORUN_PHASES": str(marks), "PYTHONPATH": str(PROBE)}
    done = subprocess.run(command, cwd=project.root, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    processes = read_marks(marks.read_bytes())
    has = lambda name: [marks for marks in processes if any(it[0] == name for it in marks)]  # noqa: E731
    servers, modules, testcases = has("cocotb imported"), has("listed"), has("begins")
    if (len(servers), len(modules), len(testcases)) != (1, 1, COUNT):
        found = [[name for name, _ in marks] for marks in processes[:4]]
        sys.exit(f"{simulator}, {python}: {len(processes)} processes, such as {found}")
    spread = [phases(marks) for marks in testcases]
    known = [name for name in PHASES_OF_TESTCASE if all(name in it for it in spread)]
    testcase = {name: typical([it[name] for it in spread]) for name in known}
    ends = dict(modules[0])
    loop = shared(ends["ended"].minus(ends["serving"]), COUNT).minus(testcase["fork"])
    title = f"{simulator}, cocotb {version_of(python)}"
    return Session(title, phases(servers[0]), phases(modules[0]), testcase, loop, own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cocorun", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True, action="append")
    parser.add_argument("--simulator", choices=workload.SIMULATORS, action="append")
    parser.add_argument("--write", type=Path, metavar="FILE")
    args = parser.parse_args()
    sessions = []
    with tempfile.TemporaryDirectory() as folder:
        for number, python in enumerate(map(Path, map(os.path.abspath, args.python))):
            below = Path(folder) / str(number)
            below.mkdir()
            bench = Bench(args.cocorun.resolve(), python, below)
            for simulator in args.simulator or workload.SIMULATORS:
                sessions.append(watch(bench, below / simulator, simulator, python))
                print(sessions[-1].tables(), file=sys.stderr)
    about = (
        f"Means over {COUNT} trivial testcases (page faults: medians), one job; {machine()}, load {os.getloadavg()[0]:.1f} at "
        "the end. `benches/phases.py` writes this.\n"
    )
    text = "\n".join([about, *(it.tables() for it in sessions)])
    if args.write:
        head, rest = args.write.read_text().split(MARKS[0])
        tail = rest.split(MARKS[1])[1]
        args.write.write_text(f"{head}{MARKS[0]}\n\n{text}\n{MARKS[1]}{tail}")
    print(text)


if __name__ == "__main__":
    main()
