"""Writes the work that the contenders of `compare.py` do; run alone, it only writes it.

    benches/workload.py FOLDER --python VENV/bin/python

Each project is below a folder of its own and described four times: in `runner.toml` for cocorun, in
`drive.py` for cocotb's Python runner (in a loop) and `test_drive.py` (under pytest), in one Makefile
per module for cocotb's Makefiles, and in `jobs` and `build_jobs` for the bare simulator.

- `short`: 24 modules of three short testcases spread over four parameterised builds.
- `modules`: 24 modules of one trivial testcase on one small design.
- `mixed`: the modules of `short`, and one with four testcases of about a second, the last one in
  every order of names.
- `tiny`: 20 modules with 440 testcases that are shaped like those of cocotb itself.
- `more`: modules of many trivial testcases, to find out what one more costs.
- `bringup`: two modules of twenty testcases of about 10 ms, each after the same two seconds.
- `sources`: a design of 100 files in four parameterised builds; nothing to run.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path

SIMULATORS = ("icarus", "verilator")
MODULES = 24
WIDTHS = (8, 16, 24, 32)
LEAVES = 99
LONG_TESTCASES = 4
LONG_CYCLES = 12_000
"""So many take about a second where these figures were first taken."""
TINY_MODULES = 20
TINY_TESTCASES = 22
TINY_CYCLES = 2000
"""What the longest of these 22 waits for: all 440 together need two seconds in one simulator, as
cocotb's own do."""
MORE_COUNTS = (8, 18, 108)
"""How many testcases the modules of `more` have."""
BRINGUP_MODULES = 2
BRINGUP_TESTCASES = 20
BRINGUP_CYCLES = 57_000
BRINGUP_OWN_CYCLES = 140

COUNTER = """\
module counter #(parameter int WIDTH = 8)(
    input logic clk, input logic rst, input logic enable,
    input logic [WIDTH-1:0] a, input logic [WIDTH-1:0] b,
    output logic [WIDTH-1:0] count, output logic [WIDTH:0] sum);
  assign sum = {1'b0, a} + {1'b0, b};
  always_ff @(posedge clk)
    if (rst) count <= '0;
    else if (enable) count <= count + 1'b1;
endmodule
"""

TRIVIAL = """\
import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def adds(dut):
    dut.a.value = {number}
    dut.b.value = 3
    await Timer(1, "ns")
    assert dut.sum.value == {number} + 3
"""

MORE_HEAD = """\
import cocotb
from cocotb.triggers import Timer


async def add(dut, number):
    dut.a.value = number
    dut.b.value = 3
    await Timer(1, "ns")
    assert dut.sum.value == number + 3
"""

MORE_ONE = """

@cocotb.test()
async def adds_{number}(dut):
    await add(dut, {number})
"""

START = """\
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer


async def start(dut):
    dut.enable.value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    return len(dut.count)
"""

SHORT = (
    START
    + """

@cocotb.test()
async def adds(dut):
    width = await start(dut)
    for number in range(20):
        dut.a.value = number + {number}
        dut.b.value = 2**width - 1
        await Timer(1, "ns")
        assert dut.sum.value == number + {number} + 2**width - 1


@cocotb.test()
async def counts(dut):
    width = await start(dut)
    dut.enable.value = 1
    for number in range(60):
        assert dut.count.value == number % 2**width
        await FallingEdge(dut.clk)


@cocotb.test()
async def rests(dut):
    await start(dut)
    for _ in range(40):
        await FallingEdge(dut.clk)
    assert dut.count.value == 0
"""
)

LONG = (
    START
    + """

@cocotb.test()
@cocotb.parametrize(part=list(range({count})))
async def counts_for_long(dut, part):
    width = await start(dut)
    dut.enable.value = 1
    for number in range({cycles}):
        assert dut.count.value == number % 2**width
        await FallingEdge(dut.clk)
"""
)

TINY = (
    """\
import logging
import random

from cocotb.triggers import Combine, Event, First, ReadOnly, RisingEdge, Timer, with_timeout
"""
    + START
    + """

log = logging.getLogger("test_tiny_{number}")


async def wait_ns(time_ns):
    await Timer(time_ns, "ns")
    return time_ns


@cocotb.test()
@cocotb.parametrize(time_ns=[1, 2, 5, 10, 20])
async def waits(dut, time_ns):
    before = cocotb.utils.get_sim_time("step")
    await Timer(time_ns, "ns")
    assert cocotb.utils.get_sim_time("step") == before + 1000 * time_ns


@cocotb.test()
@cocotb.parametrize(value=[0, 1, 85, 170, 255])
async def adds(dut, value):
    dut.a.value = value
    dut.b.value = {number}
    await Timer(1, "ns")
    assert dut.sum.value == value + {number}


@cocotb.test()
async def a_task_returns(dut):
    assert await cocotb.start_soon(wait_ns(5)) == 5


@cocotb.test()
async def tasks_are_combined(dut):
    await Combine(*(cocotb.start_soon(wait_ns(time_ns)) for time_ns in (1, 3, 2)))


@cocotb.test()
async def the_first_of_two_ends(dut):
    first = await First(Timer(1, "ns"), Timer(2, "ns"))
    assert isinstance(first, Timer)


@cocotb.test()
async def an_event_wakes_a_task(dut):
    event = Event()

    async def wake():
        await Timer(2, "ns")
        event.set()

    cocotb.start_soon(wake())
    await event.wait()


@cocotb.test(expect_fail=True)
async def fails_as_expected(dut):
    assert len(dut.count) == 0


@cocotb.test(expect_error=cocotb.triggers.SimTimeoutError)
async def runs_into_its_limit(dut):
    await with_timeout(Timer(100, "ns"), 10, "ns")


@cocotb.test()
async def counts_three_edges(dut):
    await start(dut)
    dut.enable.value = 1
    for _ in range(3):
        await RisingEdge(dut.clk)
    await ReadOnly()
    assert dut.count.value == 3


@cocotb.test()
async def rests_without_enable(dut):
    await start(dut)
    for _ in range({cycles}):
        await RisingEdge(dut.clk)
    await ReadOnly()
    assert dut.count.value == 0


@cocotb.test()
async def draws_random_numbers(dut):
    for _ in range(10):
        dut.a.value = random.getrandbits(8)
        await Timer(1, "ns")


@cocotb.test()
async def writes_to_the_log(dut):
    for number in range(5):
        log.info("line %d", number)
    dut._log.info("and one of the toplevel")


@cocotb.test()
async def finds_handles(dut):
    assert {{handle._name for handle in dut}} >= {{"clk", "rst", "a", "b"}}
    assert dut.a._path.endswith("a")


@cocotb.test(skip=True)
async def is_skipped(dut):
    raise AssertionError("it ran")
"""
)

BRINGUP_COMMON = (
    START
    + """

async def bring_up(dut):
    await start(dut)
    dut.enable.value = 1
    for _ in range({cycles}):
        await FallingEdge(dut.clk)
"""
)

BRINGUP = """\
import cocotb
from cocotb.triggers import FallingEdge

from bringup_common import bring_up


@cocotb.test()
@cocotb.parametrize(part=list(range({count})))
async def goes_on(dut, part):
    await bring_up(dut)
    before = dut.count.value.to_unsigned()
    for number in range({cycles}):
        assert dut.count.value == (before + number) % 256
        await FallingEdge(dut.clk)
"""

DRIVER = """\
import sys
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

HERE = Path(__file__).parent
SOURCES = {sources!r}
BUILDS = {builds!r}
BUILD_ARGS = {{"icarus": [], "verilator": {verilator_args!r}}}
JOBS = {jobs!r}
sys.path.insert(0, str(HERE / "tests"))


def build(simulator, name, folder):
    runner = get_runner(simulator)
    runner.build(
        sources=[HERE / source for source in SOURCES], hdl_toplevel={toplevel!r},
        parameters=BUILDS[name], build_dir=HERE / folder / simulator / name,
        timescale=("1ns", "1ps"), build_args=BUILD_ARGS[simulator],
    )
    return runner


def run(runner, simulator, name, module, folder):
    results = runner.test(
        hdl_toplevel={toplevel!r}, test_module=module, test_dir=HERE / folder / simulator / module,
        build_dir=HERE / "runner_build" / simulator / name, hdl_toplevel_lang="verilog",
    )
    ran, failed = get_results(results)
    assert ran and not failed


if __name__ == "__main__":
    simulator, what = sys.argv[1:3]
    folder = sys.argv[3] if len(sys.argv) > 3 else "runner_build"
    runners = {{name: build(simulator, name, folder) for name in BUILDS}}
    if what == "test":
        for name, module in JOBS:
            run(runners[name], simulator, name, module, "runner_runs")
"""

PYTEST = """\
import os

import pytest

import drive

SIMULATOR = os.environ["BENCH_SIMULATOR"]


@pytest.fixture(scope="session")
def runners():
    return {name: drive.build(SIMULATOR, name, "runner_build") for name in drive.BUILDS}


@pytest.mark.parametrize("name,module", drive.JOBS)
def test_module(runners, name, module):
    drive.run(runners[name], SIMULATOR, name, module, "pytest_runs")
"""

MAKEFILE = """\
SIM ?= icarus
TOPLEVEL_LANG = verilog
COCOTB_HDL_TIMEUNIT = 1ns
COCOTB_HDL_TIMEPRECISION = 1ps
COCOTB_TOPLEVEL = {toplevel}
COCOTB_TEST_MODULES = {module}
VERILOG_SOURCES = {sources}
SIM_BUILD = {build}/$(SIM)/{name}
export PYTHONPATH := {tests}
ifeq ($(SIM),icarus)
COMPILE_ARGS += {icarus}
else
COMPILE_ARGS += {verilator}
endif
include $(shell cocotb-config --makefiles)/Makefile.sim
.PHONY: built
built: $(SIM_BUILD)/$(if $(filter icarus,$(SIM)),sim.vvp,Vtop)
"""


@dataclass
class Project:
    """One piece of work: a design in some builds, and which modules run on which."""

    root: Path
    toplevel: str
    sources: list[str]
    builds: dict[str, dict[str, int]]
    jobs: list[tuple[str, str]] = field(default_factory=list)
    testcases: int = 0
    """How many the modules have together."""
    verilator_args: list[str] = field(default_factory=list)

    def write(self, python: Path) -> None:
        """Writes what every contender reads; the design and the modules are there already."""
        for simulator in SIMULATORS:
            (self.root / f"{simulator}.toml").write_text(self._toml(python, simulator))
        (self.root / "drive.py").write_text(
            DRIVER.format(
                sources=self.sources, builds=self.builds, jobs=self.jobs, toplevel=self.toplevel,
                verilator_args=self.verilator_args,
            )
        )
        (self.root / "test_drive.py").write_text(PYTEST)
        jobs = self.jobs or [(name, "none") for name in self.builds]
        for name, module in jobs:
            folder = self.root / "make" / f"{name}-{module}"
            folder.mkdir(parents=True)
            (folder / "Makefile").write_text(self._makefile(name, module))
        folders = (f"{self.root}/make/{name}-{module}\n" for name, module in jobs)
        (self.root / "make_folders").write_text("".join(folders))
        (self.root / "jobs").write_text(
            "".join(f"{name} {module}\n" for name, module in self.jobs)
        )
        by_build = {name: [] for name in self.builds}
        for name, module in self.jobs:
            by_build[name].append(module)
        (self.root / "build_jobs").write_text(
            "".join(f"{name} {','.join(modules)}\n" for name, modules in by_build.items())
        )

    def _toml(self, python: Path, simulator: str) -> str:
        lines = [
            f'build_dir = "cocorun_{simulator}"',
            f'simulator = "{simulator}"',
            "[python]",
            f'interpreter = "{python}"',
            'paths = ["tests"]',
        ]
        for name, parameters in self.builds.items():
            values = ", ".join(f"{key} = {value}" for key, value in parameters.items())
            lines += [
                f"[build.{name}]",
                f"sources = {self.sources}".replace("'", '"'),
                f'hdl_toplevel = "{self.toplevel}"',
                f"parameters = {{ {values} }}",
            ]
            if simulator == "verilator":
                lines += [f"build_args = {self.verilator_args}".replace("'", '"')]
            modules = [module for build, module in self.jobs if build == name]
            if modules:
                lines += ["[[test]]", f'build = "{name}"']
                lines += [f"test_module = {modules}".replace("'", '"')]
        return "\n".join(lines) + "\n"

    def _makefile(self, name: str, module: str) -> str:
        values = self.builds[name].items()
        return MAKEFILE.format(
            toplevel=self.toplevel,
            module=module,
            name=name,
            build=self.root / "make_build",
            sources=" ".join(str(self.root / source) for source in self.sources),
            tests=self.root / "tests",
            icarus=" ".join(f"-P{self.toplevel}.{key}={value}" for key, value in values),
            verilator=" ".join(
                [*(f"-G{key}={value}" for key, value in values), *self.verilator_args]
            ),
        )


def begin(root: Path) -> None:
    """Makes the folders of a project on the counter."""
    (root / "tests").mkdir(parents=True)
    (root / "counter.sv").write_text(COUNTER)


def on_counter(root: Path, python: Path, modules: dict[str, str], testcases: int) -> Project:
    """Writes a project whose modules run on one build of the counter."""
    begin(root)
    for module, text in modules.items():
        (root / f"tests/{module}.py").write_text(text)
    jobs = [("counter", module) for module in modules]
    project = Project(root, "counter", ["counter.sv"], {"counter": {"WIDTH": 8}}, jobs, testcases)
    project.write(python)
    return project


def modules(root: Path, python: Path) -> Project:
    """24 trivial modules on one build."""
    texts = {f"test_work_{number:02}": TRIVIAL.format(number=number) for number in range(MODULES)}
    return on_counter(root, python, texts, MODULES)


def more(root: Path, python: Path) -> Project:
    """Modules that differ in how many trivial testcases they have."""
    texts = {}
    for count in MORE_COUNTS:
        testcases = (MORE_ONE.format(number=number) for number in range(count))
        texts[f"test_{count}"] = MORE_HEAD + "".join(testcases)
    return on_counter(root, python, texts, sum(MORE_COUNTS))


def tiny(root: Path, python: Path) -> Project:
    """Many testcases of a few nanoseconds, shaped like cocotb's own."""
    texts = {
        f"test_tiny_{number:02}": TINY.format(number=number, cycles=TINY_CYCLES)
        for number in range(TINY_MODULES)
    }
    return on_counter(root, python, texts, TINY_MODULES * TINY_TESTCASES)


def bringup(root: Path, python: Path) -> Project:
    """Testcases that each need the same two seconds of simulation before they begin."""
    text = BRINGUP.format(count=BRINGUP_TESTCASES, cycles=BRINGUP_OWN_CYCLES)
    texts = {f"test_bringup_{number}": text for number in range(BRINGUP_MODULES)}
    project = on_counter(root, python, texts, BRINGUP_MODULES * BRINGUP_TESTCASES)
    common = BRINGUP_COMMON.format(cycles=BRINGUP_CYCLES)
    (root / "tests/bringup_common.py").write_text(common)
    for simulator in SIMULATORS:
        text = (root / f"{simulator}.toml").read_text()
        text += 'checkpoint = "bringup_common:bring_up"\n'
        (root / f"{simulator}_checkpoint.toml").write_text(text)
    return project


def short(root: Path, python: Path, with_long: bool = False) -> Project:
    """Short modules over four builds; `with_long`, one of long testcases comes last."""
    begin(root)
    names = [f"w{width}" for width in WIDTHS]
    jobs, testcases = [], 3 * MODULES
    for number in range(MODULES):
        (root / f"tests/test_short_{number:02}.py").write_text(SHORT.format(number=number))
        jobs.append((names[number % len(names)], f"test_short_{number:02}"))
    if with_long:
        long = LONG.format(count=LONG_TESTCASES, cycles=LONG_CYCLES)
        (root / "tests/test_zz_long.py").write_text(long)
        jobs.append((names[-1], "test_zz_long"))
        testcases += LONG_TESTCASES
    builds = {f"w{width}": {"WIDTH": width} for width in WIDTHS}
    project = Project(root, "counter", ["counter.sv"], builds, jobs, testcases)
    project.write(python)
    return project


def mixed(root: Path, python: Path) -> Project:
    """Short modules over four builds, and one of long testcases that comes last."""
    return short(root, python, with_long=True)


def sources(root: Path, python: Path) -> Project:
    """A chain of 99 leaves below a toplevel, in four widths."""
    (root / "rtl").mkdir(parents=True)
    (root / "tests").mkdir()
    files = []
    remarks = "".join(f"  // Remark {line} makes this file as long as a real one.\n" for line in range(80))
    for number in range(LEAVES):
        (root / f"rtl/leaf_{number:02}.sv").write_text(
            f"module leaf_{number:02} #(parameter int WIDTH = 8)(\n"
            "    input logic [WIDTH-1:0] a, output logic [WIDTH-1:0] y);\n"
            f"{remarks}  assign y = a + WIDTH'({number});\nendmodule\n"
        )
        files.append(f"rtl/leaf_{number:02}.sv")
    wires = "".join(f"  logic [WIDTH-1:0] w{number};\n" for number in range(LEAVES + 1))
    leaves = "".join(
        f"  leaf_{number:02} #(.WIDTH(WIDTH)) u{number}(.a(w{number}), .y(w{number + 1}));\n"
        for number in range(LEAVES)
    )
    (root / "rtl/chain.sv").write_text(
        "module chain #(parameter int WIDTH = 8)(\n"
        "    input logic [WIDTH-1:0] a, output logic [WIDTH-1:0] y);\n"
        f"{wires}  assign w0 = a;\n{leaves}  assign y = w{LEAVES};\nendmodule\n"
    )
    builds = {f"w{width}": {"WIDTH": width} for width in WIDTHS}
    # Nothing is simulated, so what is found up to date need not have been optimised.
    args = ["-CFLAGS", "-O0"]
    project = Project(root, "chain", [*files, "rtl/chain.sv"], builds, verilator_args=args)
    project.write(python)
    return project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", type=Path, required=True)
    args = parser.parse_args()
    # Not resolved: a virtual environment is found by the name of its link.
    python = Path(os.path.abspath(args.python))
    for write in (short, modules, mixed, tiny, more, bringup, sources):
        write(args.folder.resolve() / write.__name__, python)


if __name__ == "__main__":
    main()
