//! Common first mistakes: the message shows where, and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::python;

const FIFO: &str = "\
module fifo #(parameter int WIDTH = 4) (input logic clk, output logic [WIDTH-1:0] q);
  assign q = 1;
endmodule
";
const TEST_FIFO: &str = "\
import cocotb


@cocotb.test()
async def fine(dut):
    pass
";

fn project(runner_toml: &str) -> Project {
    let project = Project::with_cocotb(COCOTB, runner_toml);
    project
        .file("fifo.sv", FIFO)
        .file("test_fifo.py", TEST_FIFO);
    project
}

/// Makes a `runner.toml` of one build with some further keys.
fn runner(keys: &str) -> String {
    format!(
        "\n[build.fifo]\nsources = [\"fifo.sv\"]\nhdl_toplevel = \"fifo\"\n{keys}\n\
         [[test]]\ntest_module = \"test_fifo\"\n"
    )
}

/// Checks that the messages contain these words.
#[track_caller]
fn expect_words(ran: &Ran, words: &[&str]) {
    for word in words {
        let said = &ran.text;
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
}

#[test]
fn a_misspelt_toplevel_is_shown_where_it_is_written() {
    let text = runner("simulator = [\"icarus\", \"verilator\"]");
    let project = project(&text.replace("hdl_toplevel = \"fifo\"", "hdl_toplevel = \"fiffo\""));
    let ran = project.run(&["build"]).expect_code(3);
    let words = [
        "hdl_toplevel = \"fiffo\"",
        "^^^^^",
        "help: did you mean `fifo`?",
    ];
    expect_words(&ran, &words);
    let said = &ran.text;
    assert_eq!(said.matches("did you mean `fifo`?").count(), 2, "{said}");
}

#[test]
fn a_misspelt_parameter_is_shown_where_it_is_written() {
    let both = "simulator = [\"icarus\", \"verilator\"]\n";
    for keys in [
        "parameters = { WIDHT = 8 }",
        "[build.fifo.matrix]\nWIDHT = [8]",
    ] {
        let project = project(&runner(&format!("{both}{keys}")));
        let ran = project.run(&["build"]).expect_code(3);
        let text = fs::read_to_string(project.path("runner.toml")).unwrap();
        let line = text.lines().position(|line| line.contains("WIDHT"));
        let place = format!("runner.toml:{}:", line.unwrap() + 1);
        expect_words(
            &ran,
            &["`fifo` has no parameter `WIDHT`", "did you mean `WIDTH`?"],
        );
        for word in [&place, "help: did you mean"] {
            assert_eq!(ran.text.matches(word).count(), 2, "{}", ran.text);
        }
    }
}

#[test]
fn a_verilator_warning_fails_the_build_and_the_help_says_how_to_allow_it() {
    let keys = "simulator = \"verilator\"\n";
    let first = project(&runner(keys));
    let wide = FIFO.replace("= 1;", "= 8'd3;");
    first.file("fifo.sv", &wide);
    let ran = first.run(&["build"]).expect_code(3);
    let args = "build_args = [\"-Wno-WIDTHTRUNC\"]";
    expect_words(
        &ran,
        &[
            "help: Verilator treats warnings as errors",
            "lint_off WIDTHTRUNC`",
            &format!("`{args}` in `[build.fifo.verilator]`"),
            "`-Wno-fatal`",
        ],
    );
    // The advice works.
    let second = project(&runner(&format!("{keys}[build.fifo.verilator]\n{args}")));
    second.share_runtime();
    second.file("fifo.sv", &wide).run(&["build"]).expect_code(0);
    // If the design has an error as well, the warning is not the reason.
    first.file("fifo.sv", &wide.replace("endmodule", "nonsense endmodule"));
    let ran = first.run(&["build"]).expect_code(3);
    assert!(!ran.text.contains("help: Verilator"), "{}", ran.text);
}

#[test]
fn a_failed_build_gets_the_remedy_for_its_own_mistake_and_no_near_name_from_a_comment() {
    let build = |name: &str, rest: &str| {
        format!("[build.{name}]\nsources = [\"{name}.sv\"]\nhdl_toplevel = \"fifo\"\n{rest}\n")
    };
    let project = project(&format!(
        "simulator = \"verilator\"\n\n{}{}{}{}",
        build("timing", ""),
        build("words", "build_args = [\"--error-limit 1000\"]"),
        build("hint", "parameters = { COUNT = 2 }"),
        build("slow", "includes = [\"absent\"]"),
    ));
    project
        .file(
            "timing.sv",
            &FIFO.replace("assign q = 1;", "initial #5 q = 1;"),
        )
        .file("words.sv", FIFO)
        .file(
            "hint.sv",
            &format!("// parameter COUNT = 1, how many;\n{FIFO}"),
        )
        .file("slow.sv", &FIFO.replace("assign", "nonsense"));
    let ran = project.run(&["build"]).expect_code(3);
    expect_words(
        &ran,
        &[
            "help: the HDL has delays or event controls (NEEDTIMINGOPT): write \
             `build_args = [\"--timing\"]` in `[build.timing.verilator]`",
            "write two elements, `\"--error-limit\", \"1000\"`",
            "error[build::unknown-parameter]: build `hint` could not be compiled: its toplevel `fifo` \
             has no parameter `COUNT`",
            "help: name a parameter of `module fifo`",
            "warning[config::missing-file]: the include folder `absent` does not exist",
        ],
    );
    assert!(!ran.text.contains("did you mean"), "{}", ran.text);
    // What is missing from one build stops only those who need it.
    fs::remove_file(project.path("slow.sv")).unwrap();
    let ran = project.run(&["build", "hint"]).expect_code(3);
    assert!(!ran.text.contains("slow.sv"), "{}", ran.text);
    let ran = project.run(&["build", "hint", "slow"]).expect_code(2);
    expect_words(&ran, &["`slow.sv` does not exist"]);
}

#[test]
fn parameters_that_the_toplevel_lacks_are_left_out_only_where_that_is_asked_for() {
    let both = "simulator = [\"icarus\", \"verilator\"]\n";
    let keys = "parameters = { WIDTH = 8, DEPTH = 2, EXTRA = 1.5 }\n";
    let lenient = format!("{both}{keys}unknown_parameters = \"warn\"");
    let project = project(&runner(&lenient));
    let test = TEST_FIFO.replace("pass", "assert len(dut.q) == 8");
    project.share_runtime().file("test_fifo.py", &test);
    let ran = project.run(&["test"]).expect_code(0);
    let warning = |simulator: &str| {
        format!(
            "warning[build::unknown-parameter]: build `fifo@{simulator}` was made without `DEPTH`, \
             `EXTRA`: its toplevel `fifo` has no such parameter"
        )
    };
    expect_words(&ran, &[&warning("icarus"), &warning("verilator")]);
    // What was made without them is not used where they are an error.
    let config = fs::read_to_string(project.path("runner.toml")).unwrap();
    project.file("runner.toml", &config.replace("\"warn\"", "\"error\""));
    let ran = project.run(&["test"]).expect_code(3);
    let error = "error[build::unknown-parameter]: build `fifo@";
    assert_eq!(ran.text.matches(error).count(), 2, "{}", ran.text);
}

#[test]
fn pip_is_not_suggested_for_an_externally_managed_python() {
    let find = "import sys; print(sys._base_executable)";
    let output = Command::new(python(COCOTB)).args(["-c", find]).output();
    let real = String::from_utf8(output.unwrap().stdout).unwrap();
    // The Python at hand imitates Debian's own without any package installed.
    let project = Project::new();
    let imitation = "import os, sys, sysconfig\n\
                    sys.path[:] = [it for it in sys.path if not it.endswith('-packages')]\n\
                    real = sysconfig.get_path\n\
                    def get_path(name, *rest, **more):\n\
                    \x20   return os.path.dirname(__file__) if name == 'stdlib' else real(name, *rest, **more)\n\
                    sysconfig.get_path = get_path\n";
    project.file("as-debian/sitecustomize.py", imitation);
    project.file("as-debian/EXTERNALLY-MANAGED", "");
    let places = project.path("as-debian");
    let script = format!(
        "#!/bin/sh\nPYTHONPATH='{}' exec '{}' \"$@\"\n",
        places.display(),
        real.trim()
    );
    project.file("python", &script);
    let system = project.path("python");
    fs::set_permissions(&system, fs::Permissions::from_mode(0o755)).unwrap();
    let system = system.display();
    let named = format!("[python]\ninterpreter = \"{system}\"\n{}", runner(""));
    project.file("runner.toml", &named).file("fifo.sv", FIFO);
    project.file("test_fifo.py", TEST_FIFO);
    let ran = project.run(&["test"]).expect_code(5);
    let first = "help: let cocorun create an environment: `requirements = ";
    expect_words(&ran, &["runner.toml:2:", first, "-m venv .venv"]);
    let bad = format!("{system} -m pip");
    assert!(!ran.text.contains(&bad), "{}", ran.text);
}

#[test]
fn builds_are_selected_by_simulator_and_by_pattern_everywhere() {
    let matrix = "simulator = [\"icarus\", \"verilator\"]\nmatrix = { WIDTH = [4, 8] }";
    let project = project(&runner(matrix));
    let built = |args: &[&str]| {
        let ran = project
            .run(&[&["build"], args, &["--format", "json"]].concat())
            .expect_code(0);
        let events = ran.events();
        let mut names: Vec<String> = events
            .iter()
            .filter(|event| event["event"] == "build-finished")
            .map(|event| event["build"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let icarus = ["fifo/WIDTH=4@icarus", "fifo/WIDTH=8@icarus"];
    assert_eq!(built(&["--simulator", "icarus"]), icarus);
    assert_eq!(built(&["*@icarus"]), icarus);
    let listed = project.run(&["list", "--build", "fifo/WIDTH=[58]@i*"]);
    let listed = listed.expect_code(0).stdout;
    assert_eq!(listed, "fifo/WIDTH=8@icarus::test_fifo::fine\n");
    let ran = project.run(&["list", "--build", "fifo/DEPTH=*"]);
    expect_words(&ran.expect_code(2), &["no build matches `fifo/DEPTH=*`"]);
    let ran = project.run(&["list", "--build", "fifo/[x"]);
    expect_words(&ran.expect_code(2), &["`fifo/[x`", "never closed"]);
    project.file(
        "runner.toml",
        "[build.fifo]\nsources = [\"fifo.sv\"]\nhdl_toplevel = \"fifo\"\n",
    );
    let ran = project.run(&["build", "--simulator", "verilator"]);
    let only = "`runner.toml` has builds for `icarus` only";
    expect_words(&ran.expect_code(4), &["no build is selected", only]);
}

#[test]
fn quiet_prints_nothing_if_no_test_runs_and_nothing_is_wrong() {
    let project = project(&runner(""));
    for (args, stdout) in [
        (["-q", "build"], ""),
        (["-q", "list"], "fifo::test_fifo::fine\n"),
    ] {
        let ran = project.run(&args).expect_code(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (stdout, ""));
    }
    project.file("fifo.sv", "module fifo endmodule\n");
    for command in ["build", "list"] {
        let ran = project.run(&["-q", command]).expect_code(3);
        expect_words(&ran, &["could not be compiled", " Summary ["]);
    }
}
