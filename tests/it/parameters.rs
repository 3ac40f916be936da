//! Values of parameters arrive in the HDL as they are written, as do those of C functions, and paths
//! may contain blanks.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::python;

const TOP: &str = "\
`timescale 1ns/1ps
`include \"scale.svh\"
module top #(
    parameter real GAIN = 1.0, parameter real TINY = 1.0, parameter REAL = 1.0,
    parameter NAME = \"x\", parameter `STRING LONG = \"y\",
    parameter LINES = 0, parameter SLASH = 0, parameter QUOTE = 0, parameter BOTH = 0,
    parameter FIRST = 0, parameter LAST = 0
) (
    output logic [31:0] milli, output logic [31:0] pico, output logic [31:0] quarter, output logic same
);
`ifdef VERILATOR
  import \"DPI-C\" function int same_number(int number);
`else
  function integer same_number(input integer number); same_number = number; endfunction
`endif
  initial milli = $rtoi(GAIN * `SCALE);
  initial pico = $rtoi(TINY * 1.0e12);
  initial quarter = $rtoi(REAL / 4 * `SCALE);
  initial same = NAME == \"a\\\"b\" && LONG == \"say \\\"hi\\\"\"
      && {16'h1, LINES, 16'h2, SLASH, 16'h3, QUOTE, 16'h4, BOTH, 16'h5, FIRST, 16'h6, LAST}
      == 184'h0001_610a62_0002_5c_0003_22_0004_5c22_0005_220a_0006_615c
      && same_number(42) == 42;
endmodule
";
const TEST_TOP: &str = "\
import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def arrive(dut):
    await Timer(1, 'ns')
    values = [dut.milli, dut.pico, dut.quarter]
    print('VALUES', [value.value.to_signed() for value in values], dut.same.value)
    assert dut.same.value == 1
";

/// Verilator gets a function by DPI, which it has in place of VPI libraries.
///
/// The project's folder, those of its sources and of Python, and a source have names with blanks.
fn project() -> Project {
    let project = Project::new();
    let toml = "simulator = [\"icarus\", \"verilator\"]\n[python]\ninterpreter = \"my env/bin/python\"\n\
         [build.top]\nsources = [\"my hdl/my top.sv\"]\nincludes = [\"my inc\"]\n\
         hdl_toplevel = \"top\"\n\
         parameters = { TINY = 1e-9, REAL = 2.0, NAME = 'a\"b', LONG = 'say \"hi\"', \
         LINES = \"a\\nb\", SLASH = '\\', QUOTE = '\"', BOTH = '\\\"', FIRST = \"\\\"\\n\", \
         LAST = 'a\\' }\n\
         matrix = { GAIN = [2.5, -0.5] }\n\
         [build.top.icarus]\nbuild_args = [\"-DSTRING=\"]\n\
         [build.top.verilator]\nsources = [\"my hdl/my dpi.cpp\"]\nbuild_args = [\"-DSTRING=string\"]\n\
         [[test]]\ntest_module = \"test_top\"\n";
    for (name, text) in [
        ("runner.toml", toml),
        ("my hdl/my top.sv", TOP),
        ("my inc/scale.svh", "`define SCALE 1000.0\n"),
        (
            "my hdl/my dpi.cpp",
            "extern \"C\" int same_number(int number) { return number; }\n",
        ),
        ("test_top.py", TEST_TOP),
    ] {
        project.file(&format!("my project/{name}"), text);
    }
    let python = python(COCOTB);
    let environment = python.ancestors().nth(2).unwrap();
    symlink(environment, project.path("my project/my env")).unwrap();
    project
}

fn run(project: &Project, args: &[&str]) -> Ran {
    let mut command = project.command(args);
    command.current_dir(project.path("my project"));
    Ran::from(command.output().unwrap())
}

#[test]
fn reals_and_odd_strings_arrive_in_paths_with_blanks_on_both_simulators() {
    let project = project();
    let test = ["test", "--format", "json", "--explain"];
    let ran = run(&project, &[&test[..], &["--simulator", "icarus"]].concat()).expect_code(0);
    let verilator = run(
        &project,
        &[&test[..], &["--build", "top/GAIN=2.5@verilator"]].concat(),
    );
    let verilator = verilator.expect_code(0);
    for (ran, build, milli) in [
        (&ran, "top/GAIN=2.5@icarus", 2500),
        (&ran, "top/GAIN=-0.5@icarus", -500),
        (&verilator, "top/GAIN=2.5@verilator", 2500),
    ] {
        let finished = ran.events().into_iter().find(|event| {
            event["event"] == "testcase-finished" && event["testcase"]["build"] == build
        });
        let finished = finished.unwrap_or_else(|| panic!("{build}: {}", ran.stdout));
        let log = fs::read_to_string(finished["log"]["path"].as_str().unwrap()).unwrap();
        let values = format!("VALUES [{milli}, 1000, 500]");
        assert!(log.contains(&values), "{build}: {log}");
    }
    // What the compiler read is known by its own name, not by that of a link.
    let again = run(&project, &["build", "--assume-built", "top/GAIN=2.5"]).expect_code(0);
    assert!(again.stdout.contains("UP TO DATE"), "{}", again.stdout);
    project.file("my project/my inc/scale.svh", "`define SCALE 2000.0\n");
    let stale = run(&project, &["build", "--assume-built", "top/GAIN=2.5"]).expect_code(3);
    let why = "`top/GAIN=2.5@verilator` is not up to date: content of `my inc/scale.svh` changed";
    assert!(stale.stdout.contains(why), "{}", stale.stdout);
}

/// Parameters of several kinds, a module next to the toplevel, and one that a list of another tool
/// names.
const SV_TOP: &str = "\
package pkg;
  typedef enum logic [1:0] {MODE_A = 2'd1, MODE_B = 2'd2} mode_e;
endpackage
module top #(
    parameter logic [31:0] WORD = 0, parameter logic BIT = 0, parameter logic [1:0] MODE = pkg::MODE_B,
    parameter UNTYPED = 5, parameter logic [3:0] STATES = 0, parameter int NUMBER = 1
) (
    output logic [31:0] word, output logic single, output logic [1:0] mode, output logic [31:0] width,
    output logic [3:0] states, output logic [31:0] number
);
  assign word = WORD;
  assign single = BIT;
  assign mode = MODE;
  assign width = $bits(UNTYPED);
  assign states = STATES;
  assign number = NUMBER;
endmodule
module glbl;
  initial $display(\"GLBL\");
endmodule
";
const SV_TEST: &str = "\
import os
import cocotb
from cocotb.triggers import Timer

AT_IMPORT = os.environ['PARAM_NUMBER']


@cocotb.test()
async def arrive(dut):
    await Timer(1, 'ns')
    names = ['word', 'single', 'mode', 'width', 'number']
    print('VALUES', [int(getattr(dut, name).value) for name in names])
    print('STATES', dut.states.value, 'IMPORTED', AT_IMPORT)
    print('PLUSARGS', cocotb.plusargs['word'], cocotb.plusargs['raw'])
    print('ENV', os.environ['JSON'], os.environ['RAW'])
";

#[test]
fn systemverilog_values_variants_and_toplevels_arrive_on_the_simulators_that_take_them() {
    let literals = "parameters = { WORD = { sv = \"32'hDEAD_BEEF\" }, BIT = { sv = \"1'b1\" }, \
                    MODE = { sv = \"2'd1\" }, UNTYPED = { sv = \"48'hFFFF\" }, NUMBER = { sv = \"-5\" }, \
                    STATES = { sv = \"4'b1001\" } }\n";
    let expressions = "parameters = { MODE = { sv = \"pkg::MODE_A\" }, STATES = { sv = \"{2'b10, 2'bxz}\" }, \
                       NUMBER = \"{max(WORD, 3) ** 2}\" }\n\
                       [build.other.variants]\nsmall = { WORD = 1, UNTYPED = { sv = \"8'd1\" } }\n\
                       large = { WORD = 4, UNTYPED = { sv = \"$clog2(9)\" } }\n";
    let table = "sources = [\"top.f\"]\nhdl_toplevel = \"top\"\n";
    let project = Project::with_cocotb(
        COCOTB,
        &format!(
            "param_env = \"PARAM_{{NAME}}\"\n[build.both]\n{table}\
             simulator = [\"icarus\", \"verilator\"]\n{literals}\
             [build.other]\n{table}extra_toplevels = [\"glbl\"]\nwaves = true\n{expressions}\
             [[test]]\ntest_module = \"test_top\"\nplusargs = [\"word={{WORD}}\"]\n\
             env = {{ JSON = '{{{{\"word\": \"{{WORD}}\"}}}}' }}\n"
        ),
    );
    project
        .share_runtime()
        .file("top.f", "-sverilog +lint=all -timescale=1ns/1ps top.sv\n")
        .file("top.sv", SV_TOP)
        .file("test_top.py", SV_TEST);
    let literal = ["--plusarg", "raw={WORD}", "--env", "RAW={WORD}"];
    let args = [&["test", "--format", "json"] as &[&str], &literal].concat();
    let ran = project.run(&args).expect_code(0);
    let both = "VALUES [3735928559, 1, 1, 48, 4294967291]\nSTATES 1001 IMPORTED -5\n";
    for (build, word, values) in [
        ("both@icarus", "32'hDEAD_BEEF", both),
        ("both@verilator", "32'hDEAD_BEEF", both),
        (
            "other/small",
            "1",
            "VALUES [1, 0, 1, 8, 9]\nSTATES 10XZ IMPORTED 9\n",
        ),
        (
            "other/large",
            "4",
            "VALUES [4, 0, 1, 32, 16]\nSTATES 10XZ IMPORTED 16\n",
        ),
    ] {
        let finished = ran.events().into_iter().find(|event| {
            event["event"] == "testcase-finished" && event["testcase"]["build"] == build
        });
        let finished = finished.unwrap_or_else(|| panic!("{build}: {}", ran.text));
        let log = fs::read_to_string(finished["log"]["path"].as_str().unwrap()).unwrap();
        assert!(log.contains(values), "{build}: {log}");
        let of_test = format!("PLUSARGS {word} {{WORD}}\nENV {{\"word\": \"{word}\"}} {{WORD}}\n");
        assert!(log.contains(&of_test), "{build}: {log}");
    }
    for kind in ["-sverilog", "+lint"] {
        let warning = format!("the option `{kind}` in a file list is skipped");
        assert_eq!(ran.stderr.matches(&warning).count(), 1, "{}", ran.stderr);
    }
}
