//! What makes a build anew, what does not, and whether `--explain` says why.
//!
//! Compiles are counted by a wrapper named `iverilog` on PATH, not by what cocorun says of itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::python;

const TOP: &str = "\
`include \"step.svh\"
module top #(parameter WIDTH = 2, parameter NAME = \"none\") (
    input logic clk, output logic [WIDTH-1:0] q
);
  initial q = 0;
  always_ff @(posedge clk) q <= q + `STEP;
  extra u_extra ();
endmodule
";

const RUNNER: &str = "\
[build.top]
sources = [\"hdl/top.sv\", \"hdl/extra.sv\"]
includes = [\"inc/first\", \"inc/second\"]
hdl_toplevel = \"top\"
defines = { MODE = 1 }
parameters = { WIDTH = 4 }
[[test]]
test_module = \"test_top\"
";

const TEST_TOP: &str = "\
import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def counts(dut):
    dut.clk.value = 0
    await Timer(1, 'ns')
    dut.clk.value = 1
    await Timer(1, 'ns')
    print('Q IS', int(dut.q.value))
";

/// Counts, then does what the real compiler does. `before` and `after` are shell lines.
fn wrapper(before: &str, after: &str) -> String {
    format!(
        "#!/bin/sh\ncase \"$1\" in -V) exec {IVERILOG} -V ;; esac\n\
         echo compile >> \"$COMPILES\"\n{before}\n{IVERILOG} \"$@\" || exit\n{after}\n"
    )
}

const IVERILOG: &str = "/usr/bin/iverilog";

/// A project with a counting compiler on its PATH.
pub(crate) struct Counted {
    pub(crate) project: Project,
}

impl Counted {
    pub(crate) fn new() -> Self {
        Self::with_runner(RUNNER)
    }

    fn with_runner(runner_toml: &str) -> Self {
        let project = Project::with_cocotb(COCOTB, runner_toml);
        project
            .file("hdl/top.sv", TOP)
            .file("hdl/extra.sv", "module extra (); endmodule\n")
            .file("inc/second/step.svh", "`define STEP 1\n")
            .file("test_top.py", TEST_TOP);
        fs::create_dir_all(project.path("inc/first")).unwrap();
        let counted = Self { project };
        counted.wrap("", "");
        counted
    }

    /// Puts a compiler on PATH that runs `before` and `after` around the real one.
    fn wrap(&self, before: &str, after: &str) {
        self.project.file("bin/iverilog", &wrapper(before, after));
        let path = self.project.path("bin/iverilog");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.project.command(args);
        let bin = self.project.path("bin");
        command
            .env(
                "PATH",
                format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()),
            )
            .env("COMPILES", self.project.path("compiles.txt"));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    pub(crate) fn compiles(&self) -> usize {
        let text = fs::read_to_string(self.project.path("compiles.txt")).unwrap_or_default();
        text.lines().count()
    }

    /// Builds, checks that the compiler ran `compiles` times, and returns what was explained.
    #[track_caller]
    pub(crate) fn build(&self, compiles: usize) -> String {
        self.build_with(&[], compiles)
    }

    #[track_caller]
    pub(crate) fn build_with(&self, args: &[&str], compiles: usize) -> String {
        let before = self.compiles();
        let args: Vec<&str> = [&["build", "--explain"], args].concat();
        let ran = self.run(&args).expect_code(0);
        let made = self.compiles() - before;
        assert_eq!(made, compiles, "compiles; {}", ran.text);
        let word = if compiles == 0 {
            "UP TO DATE ["
        } else {
            "BUILD ["
        };
        assert!(ran.text.contains(word), "{}", ran.text);
        ran.text
    }

    fn replace(&self, file: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.project.path(file)).unwrap();
        assert!(text.contains(old), "{old} in {file}");
        self.project.file(file, &text.replace(old, new));
    }

    pub(crate) fn edit_runner(&self, old: &str, new: &str) {
        self.replace("runner.toml", old, new);
    }

    /// Checks one change: it compiles once and says why, is up to date then, and the old result
    /// is still there when the change is taken back.
    #[track_caller]
    fn check(&self, file: &str, old: &str, new: &str, reason: &str) {
        self.build(1);
        self.build(0);
        self.replace(file, old, new);
        let said = self.build(1);
        assert!(said.contains(reason), "`{reason}` is not in:\n{said}");
        assert_eq!(
            said.matches("changed").count(),
            reason.matches("changed").count()
        );
        self.build(0);
        self.replace(file, new, old);
        self.build(0);
    }
}

#[test]
fn the_first_build_says_that_it_is_the_first() {
    let said = Counted::new().build(1);
    assert!(said.contains("it was never built here"), "{said}");
}

#[test]
fn a_changed_parameter_rebuilds_and_its_return_reuses() {
    let reason = "parameter `WIDTH` changed: 4 -> 8";
    Counted::new().check("runner.toml", "WIDTH = 4", "WIDTH = 8", reason);
}

#[test]
fn a_changed_define_rebuilds_and_its_return_reuses() {
    let reason = "define `MODE` changed: 1 -> 2";
    Counted::new().check("runner.toml", "MODE = 1", "MODE = 2", reason);
}

#[test]
fn a_number_that_becomes_a_string_rebuilds() {
    let counted = Counted::with_runner(&RUNNER.replace("WIDTH = 4", "NAME = 4"));
    counted.build(1);
    counted.edit_runner("NAME = 4", "NAME = \"4\"");
    counted.build(1);
}

#[test]
fn an_included_file_that_only_the_compiler_knows_rebuilds_and_its_return_reuses() {
    let reason = "content of `inc/second/step.svh` changed";
    Counted::new().check("inc/second/step.svh", "STEP 1", "STEP 3", reason);
}

#[test]
fn a_changed_source_rebuilds_and_its_return_reuses() {
    let reason = "content of `hdl/extra.sv` changed";
    Counted::new().check("hdl/extra.sv", "extra ()", "extra (  )", reason);
}

#[test]
fn the_order_of_sources_is_part_of_the_build() {
    let counted = Counted::new();
    counted.build(1);
    counted.edit_runner(
        "\"hdl/top.sv\", \"hdl/extra.sv\"",
        "\"hdl/extra.sv\", \"hdl/top.sv\"",
    );
    let said = counted.build(1);
    let reason = "sources[0] changed: hdl/top.sv -> hdl/extra.sv";
    assert!(said.contains(reason), "{said}");
    counted.build(0);
}

#[test]
fn another_cocotb_rebuilds_and_the_first_is_still_there() {
    let counted = Counted::new();
    let (new, old) = (python("2.0.1"), python(COCOTB));
    let (new, old) = (new.to_str().unwrap(), old.to_str().unwrap());
    counted.build(1);
    counted.edit_runner(old, new);
    let said = counted.build(1);
    let reason = "cocotb version changed: 2.1.0 -> 2.0.1";
    assert!(said.contains(reason), "{said}");
    counted.build(0);
    counted.edit_runner(new, old);
    counted.build(0);
}

#[test]
fn another_simulator_rebuilds_and_says_so() {
    let counted = Counted::with_runner(&format!("simulator = \"icarus\"\n{RUNNER}"));
    counted.project.share_runtime();
    counted.build(1);
    counted.edit_runner("\"icarus\"", "\"verilator\"");
    let ran = counted.run(&["build", "--explain"]).expect_code(0);
    let reason = "simulator changed: icarus -> verilator";
    assert!(ran.text.contains(reason), "{}", ran.text);
    counted.build(0);
    counted.edit_runner("\"verilator\"", "\"icarus\"");
    counted.build(0);
}

#[test]
fn verilator_rebuilds_for_an_included_file_and_reuses_the_old_program() {
    let counted = Counted::with_runner(&format!("simulator = \"verilator\"\n{RUNNER}"));
    counted.project.share_runtime();
    counted.run(&["build"]).expect_code(0);
    counted.build(0);
    counted.replace("inc/second/step.svh", "STEP 1", "STEP 3");
    let ran = counted.run(&["build", "--explain"]).expect_code(0);
    let reason = "content of `inc/second/step.svh` changed";
    assert!(ran.text.contains(reason), "{}", ran.text);
    assert_eq!(value_of_q(&counted), "Q IS 3");
    counted.replace("inc/second/step.svh", "STEP 3", "STEP 1");
    counted.build(0);
    assert_eq!(value_of_q(&counted), "Q IS 1");
    counted
        .project
        .file("inc/first/step.svh", "`define STEP 5\n");
    counted.run(&["build", "--explain"]).expect_code(0);
    assert_eq!(value_of_q(&counted), "Q IS 5");
}

/// Runs the testcase and returns what it printed of the design.
#[track_caller]
fn value_of_q(counted: &Counted) -> String {
    let ran = counted.run(&["test", "--format", "json"]).expect_code(0);
    let events = ran.events();
    let finished = events
        .iter()
        .find(|event| event["event"] == "testcase-finished")
        .unwrap();
    let log = fs::read_to_string(finished["log"]["path"].as_str().unwrap()).unwrap();
    let line = log.lines().find(|line| line.contains("Q IS"));
    line.unwrap().to_owned()
}

#[test]
fn a_touched_file_rebuilds_nothing() {
    let counted = Counted::new();
    counted.build(1);
    for file in ["hdl/top.sv", "inc/second/step.svh", "runner.toml"] {
        let text = fs::read_to_string(counted.project.path(file)).unwrap();
        counted.project.file(file, &text);
        counted.build(0);
    }
}

#[test]
fn a_changed_test_rebuilds_nothing() {
    let counted = Counted::new();
    counted.build(1);
    counted.replace("test_top.py", "'Q IS'", "'Q IS NOW'");
    counted.edit_runner("[[test]]", "[[test]]\nseed = 7\nplusargs = [\"x=1\"]");
    counted.build(0);
}

#[test]
fn force_compiles_what_is_up_to_date() {
    let counted = Counted::new();
    counted.build(1);
    let said = counted.build_with(&["--force"], 1);
    assert!(said.contains("--force was given"), "{said}");
    counted.build(0);
}

#[test]
fn a_file_list_counts_by_what_it_says() {
    let runner = RUNNER.replace("\"hdl/top.sv\", \"hdl/extra.sv\"", "\"rtl.f\"");
    let counted = Counted::with_runner(&runner);
    counted.project.file("rtl.f", "hdl/top.sv\nhdl/extra.sv\n");
    counted.build(1);
    let list = "// The design.\nhdl/top.sv\n\nhdl/extra.sv\n";
    counted.project.file("rtl.f", list);
    counted.build(0);
    counted
        .project
        .file("rtl.f", &format!("+define+FAST=2\n{list}"));
    let said = counted.build(1);
    assert!(said.contains("define `FAST` is new: 2"), "{said}");
    counted.project.file("rtl.f", "hdl/extra.sv\nhdl/top.sv\n");
    let said = counted.build(1);
    assert!(said.contains("sources[0] changed"), "{said}");
}

#[test]
fn two_builds_of_equal_content_are_compiled_once() {
    let second = RUNNER.replace("[build.top]", "[build.twin]");
    let second = second.split("[[test]]").next().unwrap();
    let counted = Counted::with_runner(&format!("{RUNNER}\n{second}"));
    let ran = counted.run(&["build", "--jobs", "2"]).expect_code(0);
    assert_eq!(counted.compiles(), 1, "{}", ran.text);
    assert_eq!(value_of_q(&counted), "Q IS 1");
}

#[test]
fn two_sessions_at_once_compile_once() {
    let counted = Counted::new();
    counted.wrap("sleep 1", "");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| counted.run(&["build"]).expect_code(0));
        }
    });
    assert_eq!(counted.compiles(), 1);
}

#[test]
fn a_new_file_that_hides_an_included_one_rebuilds() {
    let counted = Counted::new();
    counted.build(1);
    counted
        .project
        .file("inc/first/step.svh", "`define STEP 5\n");
    let said = counted.build(1);
    assert!(said.contains("`inc/first/step.svh` is new"), "{said}");
    assert_eq!(value_of_q(&counted), "Q IS 5");
    counted.build(0);
    fs::remove_file(counted.project.path("inc/first/step.svh")).unwrap();
    counted.build(0);
    assert_eq!(value_of_q(&counted), "Q IS 1");
    // The working directory comes before every include directory.
    counted.project.file("step.svh", "`define STEP 7\n");
    counted.build(1);
    assert_eq!(value_of_q(&counted), "Q IS 7");
}

#[test]
fn a_source_that_changes_while_it_is_compiled_is_compiled_again() {
    let counted = Counted::new();
    // Once, after the compiler has read it.
    let change = "[ -e once ] || { : > once; sed -i 's/STEP;/STEP + 4;/' hdl/top.sv; }";
    counted.wrap("", change);
    counted.build(2);
    counted.build(0);
    assert_eq!(value_of_q(&counted), "Q IS 5");
}

#[test]
fn an_included_file_that_changes_while_it_is_compiled_is_compiled_again() {
    for change in [
        "sed -i 's/STEP 1/STEP 6/' inc/second/step.svh",
        // In place of the old one comes a file that has not been written today.
        "echo '`define STEP 6' > new.svh; touch -d 2020-01-01 new.svh; mv new.svh inc/second/step.svh",
    ] {
        let counted = Counted::new();
        counted.wrap("", &format!("[ -e once ] || {{ : > once; {change}; }}"));
        counted.build(2);
        counted.build(0);
        assert_eq!(value_of_q(&counted), "Q IS 6");
    }
}

#[test]
fn sources_that_never_come_to_rest_are_no_build() {
    let counted = Counted::new();
    counted.wrap("", "echo '// more' >> hdl/top.sv");
    let ran = counted.run(&["build"]).expect_code(3);
    assert!(
        ran.text.contains("error[build::sources-changed]"),
        "{}",
        ran.text
    );
    counted.wrap("", "");
    counted.build(1);
}

#[test]
fn a_moved_build_directory_still_serves() {
    let counted = Counted::with_runner(&format!("build_dir = \"one\"\n{RUNNER}"));
    counted.build(1);
    fs::rename(counted.project.path("one"), counted.project.path("two")).unwrap();
    counted.edit_runner("\"one\"", "\"two\"");
    counted.build(0);
    assert_eq!(value_of_q(&counted), "Q IS 1");
}

#[test]
fn a_copied_build_directory_serves_without_the_original() {
    let counted = Counted::with_runner(&format!("build_dir = \"one\"\n{RUNNER}"));
    counted.build(1);
    let copied = Command::new("cp")
        .args(["-a", "one", "two"])
        .current_dir(counted.project.path("."))
        .status();
    assert!(copied.unwrap().success());
    fs::remove_dir_all(counted.project.path("one")).unwrap();
    counted.edit_runner("\"one\"", "\"two\"");
    counted.build(0);
    assert_eq!(value_of_q(&counted), "Q IS 1");
}

#[test]
fn a_result_that_was_damaged_is_made_again() {
    for damage in ["rm", "truncate -s 0"] {
        let counted = Counted::new();
        counted.build(1);
        let line = format!("find sim_build -name sim.vvp -exec {damage} {{}} +");
        let status = Command::new("sh")
            .args(["-c", &line])
            .current_dir(counted.project.path("."))
            .status();
        assert!(status.unwrap().success());
        let said = counted.build(1);
        assert!(said.contains("`sim.vvp`"), "{said}");
        assert_eq!(value_of_q(&counted), "Q IS 1");
    }
}

#[test]
fn an_up_to_date_check_starts_no_process() {
    let counted = Counted::new();
    counted.build(1);
    let trace = counted.project.path("trace.txt");
    let cocorun = counted.command(&["build"]);
    let ran = Command::new("strace")
        .args(["-f", "-e", "trace=execve", "-o"])
        .arg(&trace)
        .arg(cocorun.get_program())
        .args(cocorun.get_args())
        .current_dir(counted.project.path("."))
        .envs(
            cocorun
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .output();
    Ran::from(ran.unwrap()).expect_code(0);
    assert_eq!(started_programs(&trace), 1, "only cocorun itself");
}

fn started_programs(trace: &Path) -> usize {
    let text = fs::read_to_string(trace).unwrap();
    let is_start = |line: &&str| line.contains("execve(") && line.ends_with("= 0");
    text.lines().filter(is_start).count()
}

#[test]
fn a_command_file_named_in_build_args_is_part_of_the_build() {
    let counted = Counted::with_runner(&RUNNER.replace(
        "defines = { MODE = 1 }",
        "defines = { MODE = 1 }\nbuild_args = [\"-f\", \"more.f\"]",
    ));
    counted.project.file("more.f", "+define+MORE=1\n");
    let reason = "content of `more.f` changed";
    counted.check("more.f", "MORE=1", "MORE=2", reason);
}

#[test]
fn a_variable_that_compilers_read_is_part_of_the_build() {
    let counted = Counted::new();
    counted.build(1);
    for variable in ["IVL_ROOT", "IVERILOG_VPI_MODULE_PATH"] {
        let before = counted.compiles();
        let output = counted
            .command(&["build", "--explain"])
            .env(variable, "/nowhere")
            .output()
            .unwrap();
        let said = Ran::from(output).expect_code(0).text;
        assert_eq!(counted.compiles() - before, 1, "{said}");
        let reason = format!("environment `{variable}` is new: /nowhere");
        assert!(said.contains(&reason), "{said}");
    }
    counted.build(0);
}

#[test]
fn a_parameter_that_the_toplevel_lacks_is_refused_on_icarus_too() {
    let counted = Counted::with_runner(&RUNNER.replace("WIDTH = 4", "WIDHT = 4"));
    let ran = counted.run(&["build"]).expect_code(3);
    assert!(ran.text.contains("WIDHT"), "{}", ran.text);
}

#[test]
fn a_source_with_a_time_of_the_future_is_built() {
    let counted = Counted::new();
    let touched = Command::new("touch")
        .args(["-d", "+1 day"])
        .arg(counted.project.path("hdl/top.sv"))
        .status()
        .unwrap();
    assert!(touched.success());
    counted.build(1);
    counted.build(0);
}

#[test]
fn the_users_own_c_is_part_of_a_verilator_build_however_it_is_named() {
    let runner = format!("simulator = \"verilator\"\n{RUNNER}")
        .replace("\"hdl/extra.sv\"]", "\"hdl/extra.sv\", \"dpi.cpp\"]")
        .replace(
            "[[test]]",
            "build_args = [\"hdl/named.cpp\", \"-F\", \"sub/list.f\"]\n[[test]]",
        );
    let counted = Counted::with_runner(&runner);
    let project = counted.project.share_runtime();
    let source = |name: &str| format!("#include \"{name}.h\"\nint {name}() {{ return N; }}\n");
    project
        .file("dpi.cpp", &source("dpi"))
        .file("hdl/named.cpp", &source("named"))
        .file("sub/list.f", "listed.cpp\n")
        .file("sub/listed.cpp", "int listed() { return 2; }\n");
    for header in ["dpi.h", "hdl/named.h"] {
        project.file(header, "#define N 2\n");
    }
    let expect = |ran: Ran, reasons: &[&str]| {
        for reason in reasons {
            assert!(
                ran.text.contains(reason),
                "`{reason}` is not in:\n{}",
                ran.text
            );
        }
    };
    let build = ["build", "--explain"];
    expect(counted.run(&build).expect_code(0), &["BUILD ["]);
    for header in ["dpi.h", "hdl/named.h"] {
        project.file(header, "#define N 3\n");
    }
    let reasons = [
        "BUILD [",
        "content of `dpi.h` changed",
        "content of `hdl/named.h` changed",
    ];
    expect(counted.run(&build).expect_code(0), &reasons);
    project.file("sub/listed.cpp", "int listed() { return 3; }\n");
    let mut stale = counted.command(&["build", "--assume-built"]);
    stale.env("OPT", "-DQ").env("USER_LDFLAGS", "-g");
    let reasons = [
        "content of `sub/listed.cpp` changed",
        "environment `OPT` is new: -DQ",
        "environment `USER_LDFLAGS` is new: -g",
    ];
    expect(Ran::from(stale.output().unwrap()).expect_code(3), &reasons);
}
