"""What is compared with what: each section is one piece of work and those who do it.

Names of contenders are those of the tables; `promises.py` refers to them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import workload
from contenders import SLOTS, Bench, Contender

OWN = "cocorun"
BY_MODULE = "cocorun, `isolation = \"module\"`"
BY_BUILD = "cocorun, `isolation = \"build\"`"
SPAWNED = "cocorun, `fork = false`"
CHECKPOINT = "cocorun, `checkpoint`"
RUNNER = "cocotb's runner"
COLD = "cocorun, runtime there"
COLDEST = "cocorun, nothing there"
FEW, SOME, MANY = workload.MORE_COUNTS

AXI = ("cocotbext-axi", "0.1.28")
AXI_SUITES = (
    ("apb", "DATA_W", 32), ("axi", "DATA_WIDTH", 8), ("axil", "DATA_WIDTH", 32), ("axis", "DATA_WIDTH", 8),
)  # fmt: skip
AXI_TOML = Path(__file__).parents[1] / "tests/foreign/cocotbext-axi.toml"


def of(count: int, is_spawned: bool = False) -> str:
    """Returns the name of a run of the module with this many testcases."""
    return f"{SPAWNED if is_spawned else OWN}, {count} testcases"


@dataclass
class Section:
    """Contenders for one piece of work; the first one is what the others are divided by."""

    key: str
    title: str
    about: str
    contenders: list[Contender]


class Maker:
    """Writes the work and returns the sections; what is to be up to date is built, untimed."""

    def __init__(self, bench: Bench, root: Path) -> None:
        self._bench, self._root = bench, root
        self._python = Path(bench.python)

    def _project(self, name: str, simulator: str, *users: str) -> workload.Project:
        """Writes a project for one simulator, and builds it for those who run on it."""
        write: Callable[[Path, Path], workload.Project] = getattr(workload, name)
        bench, project = self._bench, write(self._root / f"{name}_{simulator}", self._python)
        if "runner" in users:
            bench.once([bench.python, "drive.py", simulator, "build"], project.root)
        bench.once([bench.cocorun, "build", "--quiet", "--config", f"{simulator}.toml"], project.root)
        if "make" in users:
            bench.build_with_makefiles([project], simulator)
        return project

    def headline(self, simulator: str) -> Section:
        bench, project = self._bench, self._project("short", simulator, "runner")
        config = f"{simulator}.toml"
        return Section(
            f"headline {simulator}",
            f"72 testcases in 24 modules on four builds, {simulator}",
            "Three short testcases in each module; the builds are there. cocorun runs each testcase in "
            "a process of its own, except where `isolation` is named.",
            [
                bench.cocorun_test(project, config, name=OWN),
                bench.cocorun_test(project, config, "--isolation", "module", name=BY_MODULE),
                bench.cocorun_test(project, config, "--isolation", "build", name=BY_BUILD),
                bench.bare(project, simulator, "build"),
                bench.bare(project, simulator, "module"),
                bench.pytest(project, simulator),
            ],
        )

    def modules(self, simulator: str) -> Section:
        bench, project = self._bench, self._project("modules", simulator, "runner", "make")
        config = f"{simulator}.toml"
        return Section(
            f"modules {simulator}",
            f"24 trivial modules, {simulator}",
            "One design that is built already, 24 modules of one testcase that lasts a nanosecond.",
            [
                bench.cocorun_test(project, config, name=OWN),
                bench.cocorun_test(project, config, "--no-fork", name=SPAWNED),
                bench.bare(project, simulator),
                bench.pytest(project, simulator),
                bench.runner(project, simulator, "test", f"{RUNNER} in a loop"),
                bench.makefiles(project, simulator),
            ],
        )

    def more(self, simulator: str) -> Section:
        return self._more(simulator, self._bench.facts["cocotb"], self._python, f"more {simulator}")

    def more_with(self, simulator: str, version: str, python: Path) -> Section:
        """The same with another version of cocotb."""
        return self._more(simulator, version, python, f"more {simulator} {version}")

    def _more(self, simulator: str, version: str, python: Path, key: str) -> Section:
        bench = self._bench
        project = workload.more(self._root / key.replace(" ", "_"), python)
        config = f"{simulator}.toml"
        bench.once([bench.cocorun, "build", "--quiet", "--config", config], project.root)

        def run(count: int, is_spawned: bool) -> Contender:
            flags = ["--module", f"test_{count}", *(["--no-fork"] if is_spawned else [])]
            name = of(count, is_spawned)
            return bench.cocorun_test(project, config, *flags, name=name, is_warmed=not is_spawned)

        return Section(
            key,
            f"One more trivial testcase, {simulator}, cocotb {version}",
            "A module of so many testcases that last a nanosecond, each in a process of its own.",
            [run(FEW, False), run(MANY, False), run(FEW, True), run(SOME, True)],
        )

    def tiny(self, simulator: str) -> Section:
        bench, project = self._bench, self._project("tiny", simulator, "runner")
        config = f"{simulator}.toml"
        return Section(
            f"tiny {simulator}",
            f"{project.testcases} testcases in {workload.TINY_MODULES} modules shaped like cocotb's own, {simulator}",
            "One build, which is there; in one simulator all testcases together need two seconds, "
            "three quarters of it in one testcase of each module.",
            [
                bench.cocorun_test(project, config, name=OWN),
                bench.cocorun_test(project, config, "--isolation", "module", name=BY_MODULE),
                bench.bare(project, simulator, "build"),
                bench.bare(project, simulator, "module"),
                bench.pytest(project, simulator),
            ],
        )

    def bringup(self, simulator: str) -> Section:
        bench, project = self._bench, self._project("bringup", simulator, "runner")
        with_key = f"{simulator}_checkpoint.toml"
        slow = {"is_warmed": False, "rounds_max": 1}
        return Section(
            f"bringup {simulator}",
            f"A bring-up of two seconds before each of {project.testcases} testcases, {simulator}",
            f"{workload.BRINGUP_MODULES} modules of {workload.BRINGUP_TESTCASES} testcases of some "
            "10 ms; those who pay the bring-up for each testcase are measured once.",
            [
                bench.cocorun_test(project, with_key, name=CHECKPOINT),
                bench.cocorun_test(project, f"{simulator}.toml", name=OWN, **slow),
                bench.pytest(project, simulator, **slow),
            ],
        )

    def mixed(self, simulator: str) -> Section:
        bench, project = self._bench, self._project("mixed", simulator, "runner", "make")
        return Section(
            f"mixed {simulator}",
            f"Short and long testcases on four builds, {simulator}",
            "24 modules of three short testcases over four parameterised builds, which are there, and "
            f"a module of {workload.LONG_TESTCASES} long testcases.",
            [
                # It runs once before, to know how long each testcase takes; the others learn nothing,
                # and have read their tools for other sections.
                bench.cocorun_test(project, f"{simulator}.toml", name=OWN),
                bench.bare(project, simulator, is_warmed=False),
                bench.pytest(project, simulator, is_warmed=False),
                bench.makefiles(project, simulator),
            ],
        )

    def check(self, simulator: str) -> Section:
        bench, project = self._bench, self._project("sources", simulator, "runner", "make")
        return Section(
            f"check {simulator}",
            f"Four builds of 100 sources that are up to date, {simulator}",
            "Finding out that there is nothing to build.",
            [
                bench.cocorun_build(project, simulator, OWN),
                bench.runner(project, simulator, "build", RUNNER),
                bench.makefiles(project, simulator, "built"),
            ],
        )

    def cold(self, write: str, key: str, title: str) -> Section:
        """Small Verilator builds in an empty folder, with and without the shared runtime."""
        bench = self._bench
        project = getattr(workload, write)(self._root / key, self._python)
        store = project.root / "cocorun_verilator"

        def forget_all() -> None:
            shutil.rmtree(store, ignore_errors=True)

        def forget_designs() -> None:
            for folder in store.glob("counter-*"):
                shutil.rmtree(folder)

        def forget_runner() -> None:
            shutil.rmtree(project.root / "cold_runner", ignore_errors=True)

        return Section(
            key,
            f"{title} built for the first time, verilator",
            "The same flags for all, none with `ccache`. `runtime there`: such designs were built in this "
            "`build_dir` before; `nothing there`: the folder was empty.",
            [
                bench.cocorun_build(project, "verilator", COLDEST, prepare=forget_all),
                bench.cocorun_build(project, "verilator", COLD, prepare=forget_designs),
                bench.runner(
                    project, "verilator", "build", RUNNER, folder="cold_runner", prepare=forget_runner
                ),
            ],
        )

    def axi(self, python: Path, rounds_max: int) -> Section:
        """The suites of cocotbext-axi from PyPI, by cocorun and by their own pytest files."""
        bench, root = self._bench, self._root / "axi"
        root.mkdir(parents=True)
        name, version = AXI
        download = [str(python), "-m", "pip", "download", "--quiet", "--no-binary", ":all:"]
        bench.once([*download, "--no-deps", "--dest", ".", f"{name}=={version}"], root)
        folder = f"{name.replace('-', '_')}-{version}"
        bench.once(["tar", "xzf", f"{folder}.tar.gz", "--strip-components", "1"], root)
        before, after = AXI_TOML.read_text().split("requirements = [", 1)
        after = after.split("]\n", 1)[1]
        toml = f'simulator = "icarus"\n{before}interpreter = "{python}"\n{after}'
        (root / "icarus.toml").write_text(toml)
        project = workload.Project(root, "", [], {})
        env = {"PATH": f"{python.parent}:{bench.env['PATH']}", "RANDOM_SEED": "1", "SIM": "icarus"}
        builds = [f"--build={suite}/{parameter}={width}" for suite, parameter, width in AXI_SUITES]
        theirs = [f"tests/{suite}/test_{suite}.py::test_{suite}[{width}]" for suite, _, width in AXI_SUITES]
        command = [str(python), "-m", "pytest", "-q", "-n", str(SLOTS), "-p", "no:cacheprovider"]
        more = {"env": env, "is_warmed": True, "rounds_max": rounds_max}

        def own(name: str, *flags: str) -> Contender:
            return bench.cocorun_test(project, "icarus.toml", *builds, *flags, name=name, **more)

        return Section(
            "axi",
            f"The suites of {name} {version}, icarus, cocotb 1.9",
            "The testbenches of its source distribution, one width each of apb, axi, axil and axis, whose "
            "builds are there; their own method is pytest with cocotb-test.",
            [
                own(OWN),
                own(BY_BUILD, "--isolation", "build"),
                Contender(f"`pytest -n {SLOTS}`, cocotb-test", [*command, *theirs], root, {**bench.env, **env},
                          is_warmed=True, rounds_max=rounds_max),
            ],
        )  # fmt: skip
