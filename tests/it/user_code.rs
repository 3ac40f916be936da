//! Code of the user's own that a simulator runs besides the tests: VPI libraries and entry points.

use std::process::Command;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;

/// Registers `$mine`, which returns `ANSWER`.
const MINE: &str = "
#include <stddef.h>
#include <vpi_user.h>
static PLI_INT32 mine(PLI_BYTE8 *data) {
  s_vpi_value value = { vpiIntVal, { 0 } };
  value.value.integer = ANSWER;
  vpi_put_value(vpi_handle(vpiSysTfCall, NULL), &value, NULL, vpiNoDelay);
  return 0;
}
static void register_mine(void) {
  s_vpi_systf_data data = { vpiSysFunc, vpiIntFunc, \"$mine\", mine, NULL, NULL, NULL };
  vpi_register_systf(&data);
}
void (*vlog_startup_routines[])(void) = { register_mine, 0 };
";
const UNRESOLVED: &str = "
extern int nowhere;
int *pointer = &nowhere;
void (*vlog_startup_routines[])(void) = { 0 };
";
/// A library for `gpi_users`.
const WATCH: &str = "
int watches;
void start_watching(void) { ++watches; }
";
const TEST: &str = "
import ctypes
import cocotb
import hooks
from cocotb.triggers import Timer

@cocotb.test()
async def answers(dut):
    await Timer(1, 'ns')
    assert int(dut.answer.value) == 42

@cocotb.test()
async def was_prepared(dut):
    await Timer(1, 'ns')
    assert hooks.calls == ['first, initialised: True', 'second']

@cocotb.test()
async def is_watched(dut):
    await Timer(1, 'ns')
    assert ctypes.c_int.in_dll(ctypes.CDLL(None), 'watches').value == 1
";
const HOOKS: &str = "
import cocotb

calls = []

class Second:
    @staticmethod
    def start(*args):
        calls.append('second')

def start(*args):
    calls.append(f'first, initialised: {cocotb.is_simulation}')

def refuse(*args):
    raise ValueError('no licence')
";

/// Compiles a library; a simulator that has the old one loaded keeps it.
fn compile(project: &Project, library: &str, source: &str, define: &str) {
    project.file("mine.c", source);
    let status = Command::new("gcc")
        .args(["-shared", "-fPIC", "-I/usr/include/iverilog", define, "-o"])
        .args([project.path(library), project.path("mine.c")])
        .status()
        .unwrap();
    assert!(status.success());
}

fn expect_error(ran: Ran, words: &str) {
    let ran = ran.expect_code(1);
    assert!(ran.text.contains(words), "no `{words}` in {}", ran.text);
    assert!(!ran.text.contains(" 3 passed"), "{}", ran.text);
}

#[test]
fn a_vpi_library_is_loaded_or_nothing_passes_and_users_entry_points_are_called() {
    let toml = "
[build.dut]
sources = [\"dut.sv\"]
hdl_toplevel = \"dut\"

[[test]]
test_module = \"test_mine\"
vpi_libraries = [\"lib/mine.vpi\"]
gpi_users = [\"lib/watch.so,start_watching\"]
pygpi_users = [\"hooks:start\", \"hooks:Second.start\"]
";
    let project = Project::with_cocotb(COCOTB, toml);
    project
        .file(
            "dut.sv",
            "module dut; integer answer; initial answer = $mine; endmodule\n",
        )
        .file("test_mine.py", TEST)
        .file("hooks.py", HOOKS)
        .file("lib/keep", "");
    compile(&project, "lib/mine.vpi", MINE, "-DANSWER=42");
    compile(&project, "lib/watch.so", WATCH, "-DX");
    project.run(&["test"]).expect_code(0);
    project.run(&["test", "--no-fork"]).expect_code(0);
    let old = Project::with_cocotb("2.0.1", toml);
    for file in ["dut.sv", "test_mine.py", "hooks.py"] {
        let text = std::fs::read_to_string(project.path(file)).unwrap();
        old.file(file, &text);
    }
    old.file("lib/keep", "");
    for library in ["lib/mine.vpi", "lib/watch.so"] {
        std::fs::copy(project.path(library), old.path(library)).unwrap();
    }
    old.run(&["test"]).expect_code(0);

    // The library is no input of the build, and is not compiled into it.
    compile(&project, "lib/mine.vpi", MINE, "-DANSWER=41");
    let ran = project.run(&["test"]);
    assert!(ran.text.contains("UP TO DATE"), "{}", ran.text);
    expect_error(ran, "2 passed, 1 failed");

    // vvp goes on without a library that it cannot load, if the design does.
    project.file("dut.sv", "module dut; integer answer = 42; endmodule\n");
    compile(&project, "lib/mine.vpi", UNRESOLVED, "-DX");
    for args in ["test", "list"] {
        expect_error(project.run(&[args]), "undefined symbol: nowhere");
    }
    compile(&project, "lib/mine.vpi", "int x;", "-DX");
    let ran = project.run(&["test", "--no-fork"]);
    expect_error(ran, "it has no `vlog_startup_routines`");

    // The same for an entry library of cocotb.
    let text = std::fs::read_to_string(project.path("runner.toml")).unwrap();
    project.file("runner.toml", &text.replace("start_watching", "nowhere"));
    compile(&project, "lib/mine.vpi", MINE, "-DANSWER=42");
    expect_error(project.run(&["test"]), "undefined symbol: nowhere");

    // What an entry point raises is red, and cocotb 1.9 has none.
    let text = text.replace("vpi_libraries", "run_files");
    let refusing = text.replace("hooks:Second.start", "hooks:refuse");
    project.file("runner.toml", &refusing);
    expect_error(project.run(&["test"]), "ValueError: no licence");
    project.file("runner.toml", &text.replace(COCOTB, "1.9.2"));
    expect_error(project.run(&["test"]), "cocotb 1.x has no `pygpi_users`");

    // cocotb 1.9 loads entry libraries, but only with a function.
    let lines = text.lines().filter(|line| !line.starts_with("pygpi_users"));
    let text = lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace(COCOTB, "1.9.2");
    project.file("runner.toml", &text);
    let args = ["test", "--testcase", "is_watched"];
    project.run(&args).expect_code(0);
    project.file("runner.toml", &text.replace(",start_watching", ""));
    let ran = project.run(&args).expect_code(2);
    let words = "cocotb 1.9.2 cannot load `watch.so` of `gpi_users` without a function";
    assert!(ran.text.contains(words), "{}", ran.text);
}
