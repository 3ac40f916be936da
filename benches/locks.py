"""Times what a lock costs for each object: `cocorun lock --target`, compiletools' helper, no lock.

    benches/locks.py --cocorun target/release/cocorun --compiletools VENV

VENV is a virtual environment for compiletools; it is made there if there is none. The compiler is a
shell script that writes one line, so that the lock is what is measured. The objects are divided over
the rounds; each round makes its share anew by every contender in turn, one object after the other in
one shell, as `compare.py` does with its contenders. Nobody else wants an object meanwhile. The table
shows medians of the rounds, per object; the lock's part is what remains without that of no lock.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare import machine, timed
from contenders import STRAY, Contender

HELPER = "ct-lock-helper"
PLAIN = "no lock"
COMPILER = """\
#!/bin/sh
for out; do :; done
echo object > "$out"
"""


def helper_in(venv: Path) -> tuple[Path, str]:
    """Returns compiletools' helper, installed if it is missing, and its version."""
    helper = venv / "bin" / HELPER
    if not helper.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        install = [venv / "bin/python", "-m", "pip", "install", "--quiet", "compiletools"]
        subprocess.run(install, check=True)
    ask = "from importlib.metadata import version; print(version('compiletools'))"
    said = subprocess.run([venv / "bin/python", "-c", ask], check=True, capture_output=True, text=True)
    return helper, said.stdout.strip()


def contender(name: str, words: str, root: Path, count: int, *, names_output: bool = True) -> Contender:
    """Makes `count` objects in a folder of their own, each by a command that starts with `words`."""
    folder = root / name.translate({ord(c): "_" for c in " `=-,"})
    objects = [f"o{number}.o" for number in range(count)]
    lines = []
    for target in objects:
        # compiletools' helper appends the output to the command itself.
        output = f" -o {target}" if names_output else ""
        lines.append(f"{words.format(target=target)} ./cc -c source.c{output}\n")

    def prepare() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        compiler = folder / "cc"
        compiler.write_text(COMPILER)
        compiler.chmod(0o755)
        (folder / "make.sh").write_text("set -e\n" + "".join(lines))

    def check() -> None:
        for target in objects:
            if (folder / target).read_text() != "object\n":
                sys.exit(f"{name} did not make {target}")

    env = {key: value for key, value in os.environ.items() if key not in STRAY}
    return Contender(name, ["sh", "make.sh"], folder, env, True, prepare, check)


def contenders(cocorun: Path, helper: Path, root: Path, count: int) -> list[Contender]:
    own = f"{cocorun} lock --target={{target}}"
    theirs = f"{helper} compile --target={{target}}"
    found = [contender(PLAIN, "", root, count)]
    for strategy in ("flock", "ledger"):
        words = f"{own} --strategy={strategy} --"
        found.append(contender(f"`cocorun lock --strategy={strategy}`", words, root, count))
    for strategy in ("flock", "lockdir"):
        words = f"{theirs} --strategy={strategy} --"
        name = f"`{HELPER} --strategy={strategy}`"
        found.append(contender(name, words, root, count, names_output=False))
    return found


def table(times: dict[str, list[float]]) -> str:
    """Formats milliseconds per object as a Markdown table."""
    lines = ["| one object, by | ms | range | ms of the lock |", "|---|---|---|---|"]
    for name, taken in times.items():
        middle = statistics.median(taken)
        # The two of each round were measured one right after the other.
        beyond = statistics.median(one - other for one, other in zip(taken, times[PLAIN], strict=True))
        cost = "" if name == PLAIN else f"{beyond:.1f}"
        lines.append(f"| {name} | {middle:.1f} | {min(taken):.1f} to {max(taken):.1f} | {cost} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cocorun", type=Path, required=True)
    parser.add_argument("--compiletools", type=Path, required=True, metavar="VENV")
    parser.add_argument("--objects", type=int, default=500, help="of each contender, in all rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=70, help="start no round after this many seconds")
    parser.add_argument("--dir", type=Path, help="measure on the file system of this directory")
    args = parser.parse_args()
    helper, version = helper_in(args.compiletools.absolute())
    count = max(1, args.objects // args.rounds)
    where, began, rounds = machine(), time.perf_counter(), 0
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        # One uncounted round: the first run reads programs and modules from disk.
        for one in contenders(args.cocorun.resolve(), helper, Path(folder), 1):
            timed(one)
        everyone = contenders(args.cocorun.resolve(), helper, Path(folder), count)
        while rounds < args.rounds and time.perf_counter() < began + args.seconds:
            rounds += 1
            for one in everyone:
                each_ms = 1000 * timed(one)[0] / count
                times.setdefault(one.name, []).append(each_ms)
                print(f"{rounds}/{args.rounds} {one.name}: {each_ms:.1f} ms", file=sys.stderr)
    where += f" and {os.getloadavg()[0]:.1f} at the end"
    print(
        f"{count * rounds} objects in {rounds} rounds, {time.perf_counter() - began:.0f} s in all; "
        f"compiletools {version}; {where}.\n\n{table(times)}"
    )


if __name__ == "__main__":
    main()
