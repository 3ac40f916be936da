//! What teams meet every day: a hang that must be found, habits from cocotb's Makefiles.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;

fn project(module: &str, settings: &str) -> Project {
    project_with(COCOTB, module, settings)
}

fn project_with(cocotb: &str, module: &str, settings: &str) -> Project {
    let project = Project::with_cocotb(
        cocotb,
        &format!(
            "\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\n\
             [[test]]\ntest_module = \"it_is\"\n{settings}\n"
        ),
    );
    project.file("it_is.py", module);
    project.file(
        "top.sv",
        "module top(input logic d, output logic q); assign q = d; endmodule\n",
    );
    project
}

/// Limits of what hangs: a machine may be too slow for the first ones, and the last one decides.
const LIMITS_S: [u32; 3] = [4, 30, 120];

const HANGS: &str = "\
import cocotb, time

def waits_for_nobody():
    time.sleep(1000)

@cocotb.test()
async def hangs(dut):
    waits_for_nobody()
";

/// Runs a session of what hangs, under longer limits until `frames` are shown, and returns what it
/// said. `session` says so for one limit.
#[track_caller]
fn expect_frames(frames: &[&str], session: impl Fn(u32) -> String) -> String {
    let mut said = String::new();
    let mut missing = Vec::new();
    for limit_s in LIMITS_S {
        said = session(limit_s);
        missing = frames.to_vec();
        missing.retain(|frame| !said.contains(frame));
        if missing.is_empty() {
            break;
        }
    }
    assert!(missing.is_empty(), "no {missing:?} in\n{said}");
    said
}

#[test]
fn a_hang_in_python_is_shown_with_the_line_it_hangs_in() {
    let frames = [
        "it_is.py\", line 4, in waits_for_nobody",
        "it_is.py\", line 8, in hangs",
        "spawned.py\", line 4, in waits_for_nobody",
        "spawned.py\", line 8, in hangs",
        "at_import.py\", line 4, in waits_for_nobody",
    ];
    let said = expect_frames(&frames, |limit_s| {
        // The three reach it side by side.
        let project = project(
            HANGS,
            &format!(
                "timeout_s = {limit_s}\n\n[[test]]\ntest_module = \"spawned\"\n\
                 timeout_s = {limit_s}\nfork = false\n\n\
                 [[test]]\ntest_module = \"at_import\"\ntimeout_s = {limit_s}\n"
            ),
        );
        let at_import = HANGS.replace("@cocotb", "waits_for_nobody()\n@cocotb");
        project.file("spawned.py", HANGS);
        project.file("at_import.py", &at_import);
        let said = project.run(&["test", "--jobs", "3"]).expect_code(1).text;
        assert!(
            said.contains("2 timed out, 1 module could not run"),
            "{said}"
        );
        said
    });
    assert!(!said.contains("cocorun_agent"), "{said}");
}

/// Stands for the simulator and waits for it, which takes another process than with `exec`.
const SCRIPT_AROUND_VVP: &str = "\
#!/bin/sh
trap 'touch \"$COCORUN_PROJECT_DIR/asked\"' USR2
PATH=${PATH#*:}
vvp \"$@\" &
wait $!
";

#[test]
fn a_script_around_the_simulator_is_not_asked_where_python_hangs() {
    let frames = ["it_is.py\", line 4, in waits_for_nobody"];
    expect_frames(&frames, |limit_s| {
        let project = project(
            HANGS,
            &format!(
                "timeout_s = {limit_s}\n\n[[test]]\ntest_module = \"spawned\"\n\
                 timeout_s = {limit_s}\nfork = false\n"
            ),
        );
        project.file("spawned.py", HANGS);
        project.file("bin/vvp", SCRIPT_AROUND_VVP);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(project.path("bin/vvp"), executable).unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = project.command(&["test", "--jobs", "2"]);
        command.env("PATH", format!("{}:{path}", project.path("bin").display()));
        let said = Ran::from(command.output().unwrap()).expect_code(1).text;
        assert!(said.contains("2 timed out"), "{said}");
        assert!(!project.path("asked").exists(), "{said}");
        said
    });
}

#[test]
fn variables_of_cocotbs_makefiles_that_select_are_reported_to_have_no_effect() {
    let module = "import cocotb\n@cocotb.test()\nasync def a(dut): pass\n\
        @cocotb.test()\nasync def b(dut): pass\n";
    let project = project(module, "");
    let mut command = project.command(&["test"]);
    command.env("COCOTB_TESTCASE", "a").env("RANDOM_SEED", "7");
    let said = Ran::from(command.output().unwrap()).expect_code(0).text;
    assert!(said.contains("2 passed"), "{said}");
    for (name, instead) in [("COCOTB_TESTCASE", "--testcase"), ("RANDOM_SEED", "--seed")] {
        let warning = format!("warning[select::variable]: `{name}` is set");
        assert!(said.contains(&warning), "{said}");
        assert!(said.contains(&format!("help: give `{instead}`")), "{said}");
    }
    let mut quiet = project.command(&["test", "-q"]);
    quiet.env("COCOTB_TESTCASE", "a");
    let said = Ran::from(quiet.output().unwrap()).expect_code(0).text;
    assert!(said.contains("select::variable"), "{said}");
    let said = project.run(&["test"]).expect_code(0).text;
    assert!(!said.contains("select::variable"), "{said}");
}

/// Stands for the package of that name, which cocotb 1.9 and 2.x start themselves.
const COVERAGE: &str = "\
import os, sys

class coverage:
    def __init__(self, *args, **kwargs): pass

    def start(self):
        with open(os.environ['COCORUN_PROJECT_DIR'] + '/started', 'a') as file:
            print('late' if 'it_is' in sys.modules else 'in time', file=file)

    def __getattr__(self, name):
        return lambda *args, **kwargs: None
";

#[test]
fn cocotb_1_9_measures_the_coverage_of_a_module_from_its_import_on() {
    let module = "import cocotb\n@cocotb.test()\nasync def a(dut): pass\n";
    let project = project_with("1.9.2", module, "env = { COVERAGE = 1 }");
    project.file("coverage.py", COVERAGE);
    for how in [&["test"][..], &["test", "--no-fork"]] {
        project.run(how).expect_code(0);
        let started = fs::read_to_string(project.path("started")).unwrap();
        assert_eq!(started, "in time\n");
        fs::remove_file(project.path("started")).unwrap();
    }
}

#[test]
fn an_interpreter_that_is_there_and_out_of_reach_is_not_called_absent() {
    let project = project("import cocotb\n", "");
    // What a user without rights meets, made so that root meets it too.
    std::os::unix::fs::symlink("loop", project.path("loop")).unwrap();
    let toml = fs::read_to_string(project.path("runner.toml")).unwrap();
    let reached = toml.lines().find(|line| line.starts_with("interpreter"));
    let toml = toml.replace(reached.unwrap(), "interpreter = \"./loop\"");
    project.file("runner.toml", &toml);
    let said = project.run(&["test"]).expect_code(5).text;
    assert!(said.contains("cannot look at"), "{said}");
    assert!(!said.contains("does not exist"), "{said}");
}

#[test]
fn equal_builds_of_a_session_are_built_once_and_nobody_waits() {
    let table = |name: &str, period: u32| {
        format!(
            "[build.{name}]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\n[[test]]\n\
             build = \"{name}\"\ntest_module = \"test_env\"\nenv = {{ PERIOD = {period} }}\n\n"
        )
    };
    let tables = format!("\n{}{}{}", table("a", 10), table("b", 11), table("c", 12));
    let project = Project::with_cocotb(COCOTB, &tables);
    project.file(
        "test_env.py",
        "import cocotb, os\n@cocotb.test()\nasync def knows(dut):\n    \
         assert os.environ['PERIOD'] in ('10', '11')\n",
    );
    project.file("top.sv", "module top(input logic a); endmodule\n");
    let outcomes = |args: &[&str], code: i32| {
        let args = [&["test", "--jobs", "3", "--format", "json"], args].concat();
        let ran = project.run(&args).expect_code(code);
        assert!(!ran.text.contains("WAITING") && !ran.stdout.contains("build-waiting"));
        let events = ran.events().into_iter();
        let builds = events.filter(|event| event["event"] == "build-finished");
        let words = builds.map(|it| format!("{} {}", it["build"], it["outcome"]));
        let words: Vec<String> = words.map(|it| it.replace('"', "")).collect();
        (words.join(", "), ran.text)
    };
    for args in [&[][..], &["--force"]] {
        let (words, said) = outcomes(args, 1);
        assert_eq!(words, "a built, b up-to-date, c up-to-date");
        assert!(said.contains("2 passed, 1 failed"), "{said}");
    }
    project.file("top.sv", "module top(input logic a) endmodule\n");
    let (words, said) = outcomes(&[], 3);
    assert_eq!(words, "a failed, b failed, c failed");
    assert!(
        said.contains("it is the same design as build `a`"),
        "{said}"
    );
}

/// The interpreter flushes it once more when it ends.
const CANNOT_FLUSH: &str = "\
import cocotb, io, sys
class Closed(io.TextIOBase):
    def write(self, text): return len(text)
    def flush(self): raise OSError('closed')
@cocotb.test()
async def replaces_output(dut): sys.stdout = Closed()
";

#[test]
fn output_that_cannot_be_flushed_at_the_end_kills_no_simulator() {
    let project = project(CANNOT_FLUSH, "");
    for how in [&["test"][..], &["test", "--no-fork"]] {
        project.run(how).expect_code(0);
    }
}
