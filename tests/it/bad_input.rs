//! Mistakes of users and missing parts of machines: one clear error, the right exit code, nothing
//! half-written.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use tempfile::TempDir;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::binary;
use crate::support::python;
use crate::support::skip;

const TOP: &str = "\
module top(input logic clk, output logic q);
  assign q = clk;
endmodule
";
const TEST_TOP: &str = "\
import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def waits(dut):
    await Timer(1, 'ns')
";
const RUNNER: &str = "\
[build.top]
sources = [\"top.sv\"]
hdl_toplevel = \"top\"
[[test]]
test_module = \"test_top\"
";

fn project(runner_toml: &str) -> Project {
    let project = Project::with_cocotb(COCOTB, runner_toml);
    project.file("top.sv", TOP).file("test_top.py", TEST_TOP);
    project
}

/// Checks the exit code, that this error and no other is reported, once, and that it says these words.
#[track_caller]
fn expect_error(ran: Ran, exit: i32, code: &str, words: &[&str]) -> Ran {
    let ran = ran.expect_code(exit);
    let all = format!("{}{}", ran.stdout, ran.text);
    let head = format!("error[{code}]");
    assert_eq!(ran.text.matches(&head).count(), 1, "{head} in:\n{all}");
    assert_eq!(ran.text.matches("error[").count(), 1, "one error:\n{all}");
    for word in words {
        assert!(ran.text.contains(word), "`{word}` is not in:\n{all}");
    }
    for slip in ["panicked", "RUST_BACKTRACE", "stack backtrace", "src/"] {
        assert!(!all.contains(slip), "{all}");
    }
    ran
}

/// Checks that nothing was written: neither a build directory nor a report.
#[track_caller]
fn expect_nothing_written(project: &Project) {
    for name in ["sim_build", "report.xml"] {
        assert!(!project.path(name).exists(), "{name} was written");
    }
}

/// A change to a valid `runner.toml`, the code it leads to, and words that say what to do.
const BAD_CONFIGS: [(&str, &str, &str, &[&str]); 15] = [
    (
        "sources =",
        "sources = [\"top.sv\"]\nsorces =",
        "config::unknown-key",
        &["`sorces`", "did you mean `sources`?", "runner.toml:"],
    ),
    (
        "hdl_toplevel = \"top\"\n",
        "",
        "config::missing-key",
        &["`hdl_toplevel`", "[build.top]"],
    ),
    (
        "hdl_toplevel = \"top\"",
        "hdl_toplevel = 3",
        "config::wrong-type",
        &["`hdl_toplevel`"],
    ),
    (
        "hdl_toplevel = \"top\"",
        "hdl_toplevel = \"\"",
        "config::bad-value",
        &["`hdl_toplevel`"],
    ),
    (
        "hdl_toplevel = \"top\"",
        "hdl_toplevel = top",
        "config::syntax",
        &["runner.toml:"],
    ),
    (
        "hdl_toplevel",
        "simulator = \"verilater\"\nhdl_toplevel",
        "config::unknown-simulator",
        &["`verilater`", "did you mean `verilator`?"],
    ),
    (
        "[[test]]",
        "[build.top.icarus]\n[build.top.icarus]\n[[test]]",
        "config::syntax",
        &["`icarus` is defined twice"],
    ),
    (
        "[[test]]",
        "[[test]]\nbuild = \"tpo\"",
        "config::unknown-build",
        &["`tpo`", "did you mean `top`?"],
    ),
    (
        "top.sv",
        "rtl/*.sv",
        "config::empty-glob",
        &["`rtl/*.sv`", "there is no folder"],
    ),
    (
        "top.sv",
        "tip.sv",
        "config::missing-file",
        &["`tip.sv`", "did you mean `top.sv`?"],
    ),
    ("top.sv", "rtl.f", "config::missing-file", &["`rtl.f`"]),
    (
        "[[test]]",
        "[[test]]\ntimeout_s = 0",
        "config::bad-value",
        &["timeout_s"],
    ),
    (
        "[[test]]",
        "[[test]]\nseed = -1",
        "config::bad-value",
        &["seed"],
    ),
    ("test_top", "test top", "config::bad-value", &["`test top`"]),
    (
        "\"test_top\"",
        "\"test_tip*\"",
        "config::empty-glob",
        &["`test_tip*`"],
    ),
];

#[test]
fn a_mistake_in_runner_toml_is_one_error_that_names_its_place() {
    for (old, new, code, words) in BAD_CONFIGS {
        assert!(RUNNER.contains(old), "{old}");
        let project = project(&RUNNER.replacen(old, new, 1));
        let ran = project.run(&["test", "--junit", "report.xml"]);
        let ran = expect_error(ran, 2, code, words);
        assert!(ran.text.contains("--> runner.toml:"), "{}", ran.text);
        let report = fs::read_to_string(project.path("report.xml")).unwrap();
        assert!(report.contains(code), "{report}");
        assert!(!project.path("sim_build").exists());
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let runner = RUNNER
        .replace("top.sv", "tip.sv")
        .replace("[[test]]", "colour = 1\n[[test]]\nbuild = \"tpo\"");
    let ran = project(&runner).run(&["test"]).expect_code(2);
    for code in [
        "config::missing-file",
        "config::unknown-key",
        "config::unknown-build",
    ] {
        assert!(ran.text.contains(&format!("error[{code}]")), "{}", ran.text);
    }
}

/// A command line, the exit code and error code it leads to, and words that say what to do.
const BAD_ARGUMENTS: [(&[&str], i32, &str, &[&str]); 8] = [
    (
        &["test", "--config", "none.toml"],
        2,
        "config::not-found",
        &["`none.toml`"],
    ),
    (
        &["test", "--build", "tpo"],
        2,
        "config::unknown-build",
        &["`tpo`", "did you mean `top`?"],
    ),
    (
        &["build", "tpo"],
        2,
        "config::unknown-build",
        &["`tpo`", "`top`"],
    ),
    (
        &["test", "[x"],
        2,
        "usage::bad-argument",
        &["`[x`", "never closed"],
    ),
    (
        &["test", "--jobs", "0"],
        2,
        "usage::bad-argument",
        &["`--jobs`", "at least 1"],
    ),
    (
        &["explain", "test::timeot"],
        2,
        "usage::bad-argument",
        &["did you mean `test::timeout`?"],
    ),
    (
        &["test", "nothing_like_it"],
        4,
        "select::nothing",
        &["cocorun list"],
    ),
    (
        &["list", "--module", "test_tip"],
        2,
        "usage::bad-argument",
        &["`test_tip`", "did you mean `test_top`?"],
    ),
];

#[test]
fn a_mistake_on_the_command_line_is_one_error() {
    let project = project(RUNNER);
    for (args, exit, code, words) in BAD_ARGUMENTS {
        expect_error(project.run(args), exit, code, words);
    }
}

#[test]
fn arguments_that_do_not_parse_exit_with_2() {
    let project = project(RUNNER);
    for args in [
        &["test", "--jobs", "two"] as &[&str],
        &["test", "--timeout", "0"],
        &["test", "--seed", "-1"],
        &["test", "--simulator", "modelsim"],
        &["tset"],
        &["test", "--quiet", "--verbose"],
        &[],
    ] {
        let ran = project.run(args).expect_code(2);
        assert!(!ran.text.contains("panicked"), "{}", ran.text);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
        expect_nothing_written(&project);
    }
}

#[test]
fn a_missing_runner_toml_is_reported_with_the_places_searched() {
    let empty = Project::new();
    let help = "--config FILE";
    expect_error(
        empty.run(&["test"]),
        2,
        "config::not-found",
        &["runner.toml", help],
    );
}

#[test]
fn a_runner_toml_that_cannot_be_read_says_why() {
    let project = project(RUNNER);
    let path = project.path("runner.toml");
    fs::write(&path, b"simulator = \"icarus\"\n# \xff\n").unwrap();
    let words = ["line 2 is not UTF-8"];
    expect_error(project.run(&["test"]), 2, "config::unreadable", &words);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let words = ["it is a directory"];
    expect_error(project.run(&["test"]), 2, "config::unreadable", &words);
    expect_nothing_written(&project);
}

#[test]
fn a_simulator_that_is_not_installed_is_reported_with_the_places_searched() {
    let project = project(RUNNER);
    let output = project.command(&["test"]).env("PATH", "/nowhere").output();
    let ran = Ran::from(output.unwrap());
    let words = [
        "`iverilog` was not found",
        "PATH (/nowhere)",
        "apt install iverilog",
    ];
    expect_error(ran, 5, "tool::not-found", &words);
    expect_nothing_written(&project);
}

/// Makes a Python environment without any package.
fn bare_environment(dir: &Path) -> PathBuf {
    let made = Command::new(python(COCOTB))
        .args(["-m", "venv", "--without-pip"])
        .arg(dir)
        .status();
    assert!(made.unwrap().success());
    dir.join("bin/python")
}

#[test]
fn an_unusable_interpreter_is_reported_with_what_it_is_missing() {
    let project = project(RUNNER);
    let bare = bare_environment(&project.path("bare"));
    let text = fs::read_to_string(project.path("runner.toml")).unwrap();
    let use_interpreter = |path: &Path| {
        let own = python(COCOTB);
        let text = text.replace(own.to_str().unwrap(), path.to_str().unwrap());
        project.file("runner.toml", &text);
    };
    use_interpreter(&bare);
    let words = ["has no cocotb", "-m pip install cocotb", "requirements"];
    expect_error(project.run(&["test"]), 5, "python::no-cocotb", &words);
    use_interpreter(&project.path("nowhere/python"));
    let words = ["nowhere/python", "`interpreter`", "runner.toml:"];
    expect_error(project.run(&["test"]), 5, "python::not-found", &words);
    project.file("script", "#!/bin/sh\nexit 3\n");
    make_executable(&project.path("script"));
    use_interpreter(&project.path("script"));
    expect_error(
        project.run(&["test"]),
        5,
        "python::not-found",
        &["script", "runner.toml:"],
    );
    expect_nothing_written(&project);
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_missing_libpython_is_reported_with_the_package_that_has_it() {
    let project = project(RUNNER);
    // An interpreter like ours, except that it cannot find its libpython.
    project.file(
        "lost/find_libpython.py",
        "def find_libpython():\n    return None\n",
    );
    let lost = project.path("lost");
    let script = format!(
        "#!/bin/sh\nPYTHONPATH={} exec {} \"$@\"\n",
        lost.display(),
        python(COCOTB).display()
    );
    project.file("static-python", &script);
    make_executable(&project.path("static-python"));
    let text = fs::read_to_string(project.path("runner.toml")).unwrap();
    let own = python(COCOTB);
    project.file(
        "runner.toml",
        &text.replace(own.to_str().unwrap(), "./static-python"),
    );
    let ran = project.run(&["test"]);
    let words = ["static-python", "`libpython3.", "--enable-shared"];
    expect_error(ran, 5, "python::no-libpython", &words);
    expect_nothing_written(&project);
}

#[test]
fn a_name_that_is_not_utf8_is_reported_wherever_it_is_used() {
    let name = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let globbed = project(&RUNNER.replace("top.sv", "*.sv"));
    fs::write(globbed.path("x").with_file_name(name(b"\xff.sv")), "").unwrap();
    let words = ["not UTF-8", "rename it", "runner.toml:"];
    expect_error(globbed.run(&["test"]), 2, "config::non-utf8-path", &words);
    let modules = project(&RUNNER.replace("test_top", "test_*"));
    fs::write(modules.path("x").with_file_name(name(b"test_\xff.py")), "").unwrap();
    expect_error(modules.run(&["test"]), 2, "config::non-utf8-path", &words);
    let folder = project(RUNNER);
    let inner = folder.path("x").with_file_name(name(b"\xff"));
    fs::create_dir(&inner).unwrap();
    let output = folder.command(&["test"]).current_dir(&inner).output();
    let words = ["the current folder", "not UTF-8"];
    expect_error(
        Ran::from(output.unwrap()),
        2,
        "config::non-utf8-path",
        &words,
    );
    // One that is not used does not matter.
    let bystander = project(RUNNER);
    fs::write(bystander.path("x").with_file_name(name(b"\xff.sv")), "").unwrap();
    bystander.run(&["test"]).expect_code(0);
}

#[test]
fn a_file_in_place_of_the_build_directory_is_reported() {
    let project = project(RUNNER);
    project.file("sim_build", "");
    let ran = project.run(&["test"]);
    expect_error(
        ran,
        5,
        "disk::unwritable",
        &["sim_build", "not a directory"],
    );
    assert_eq!(fs::read_to_string(project.path("sim_build")).unwrap(), "");
}

/// A small file system that is unmounted at the end.
struct Mounted(TempDir);

impl Mounted {
    fn new(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .status();
        assert!(mounted.unwrap().success(), "mounting a tmpfs needs root");
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self, kilobytes: usize) {
        let block = vec![0; kilobytes * 1024];
        fs::write(self.path().join("ballast"), block).ok();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        drop(unmounted);
    }
}

fn project_on(disk: &Mounted) -> Project {
    project(&format!(
        "build_dir = \"{}/b\"\n{RUNNER}",
        disk.path().display()
    ))
}

/// Returns whether this process may mount; a container usually may not.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "true"]).status();
    let may = nix::unistd::getuid().is_root() && tried.is_ok_and(|status| status.success());
    if !may {
        skip("mounting is not allowed");
    }
    may
}

#[test]
fn a_read_only_build_directory_is_reported() {
    if !may_mount() {
        return;
    }
    let disk = Mounted::new("ro,size=64k");
    let ran = project_on(&disk).run(&["test"]);
    expect_error(ran, 5, "disk::unwritable", &["read-only file system"]);
}

#[test]
fn a_full_disk_is_reported_once_and_leaves_no_partial_build() {
    if !may_mount() {
        return;
    }
    let disk = Mounted::new("size=128k");
    let project = project_on(&disk);
    disk.fill(124);
    let ran = project.run(&["test"]);
    expect_error(ran, 5, "disk::full", &["no space left on device"]);
    fs::remove_file(disk.path().join("ballast")).unwrap();
    project.run(&["test"]).expect_code(0);
    // The design is built; now there is no room for the run.
    disk.fill(128);
    let ran = project.run(&["test"]).expect_code(5);
    assert!(ran.text.contains("error[disk::full]"), "{}", ran.text);
    assert!(ran.text.contains("no space left on device"), "{}", ran.text);
    assert!(!ran.text.contains("PASS"), "{}", ran.text);
    fs::remove_file(disk.path().join("ballast")).unwrap();
    project.run(&["test"]).expect_code(0);
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let project = project(RUNNER);
    let ran = project.run(&["test", "--junit", "top.sv/report.xml"]);
    assert_ne!(ran.code, 0, "{}", ran.text);
    project.file("occupied", "");
    let ran = project.run(&["test", "--junit", "occupied/report.xml"]);
    expect_error(ran, 5, "report::unwritable", &["occupied/report.xml"]);
}

#[test]
fn a_design_that_does_not_compile_is_shown_with_file_and_line() {
    for simulator in ["icarus", "verilator"] {
        let runner = format!("simulator = \"{simulator}\"\n{RUNNER}");
        let project = project(&runner);
        project.share_runtime();
        project.file("top.sv", &TOP.replace("= clk", "= clkk"));
        let ran = project.run(&["test"]);
        let words = ["top.sv:2", "clkk", "build.log", "1 module could not run"];
        let ran = expect_error(ran, 3, "build::compile", &words);
        assert!(!ran.text.contains("PASS"), "{}", ran.text);
        // A second attempt reports the same.
        expect_error(project.run(&["build"]), 3, "build::compile", &["top.sv:2"]);
        project.file("top.sv", TOP);
        project.run(&["build"]).expect_code(0);
    }
}

#[test]
fn a_closed_output_changes_no_verdict() {
    let project = project(RUNNER);
    project.run(&["build"]).expect_code(0);
    let bin = binary();
    for (args, redirection) in [
        ("test --format json", "| head -n 1 >/dev/null"),
        ("list", "| true"),
        ("list --format json", "| true"),
        ("explain", "| true"),
        ("--help", "| true"),
        ("test", "2>&1 >/dev/null | true"),
        ("test", ">&- 2>&-"),
        ("test --format json", "2>/dev/full >/dev/null"),
        ("test", "<&- 2>/dev/full >/dev/null"),
    ] {
        let bin = bin.display();
        let line = format!("{{ {bin} {args}; echo $? >code; }} {redirection}");
        let mut command = Command::new("bash");
        command.args(["-c", &line]).current_dir(project.path("."));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let output = command.output().unwrap();
        let code = fs::read_to_string(project.path("code")).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code.trim(), "0", "{args} {redirection}: {stderr}");
        assert!(!stderr.contains("panicked"), "{args}: {stderr}");
    }
}

#[test]
fn two_builds_of_one_name_are_an_error() {
    let runner = RUNNER.replace(
        "[[test]]",
        "[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n[[test]]",
    );
    let ran = project(&runner).run(&["test"]).expect_code(2);
    let head = "error[config::duplicate-name]: build `top` is defined twice";
    assert!(ran.text.contains(head), "{}", ran.text);
    assert!(ran.text.contains("first at runner.toml:"), "{}", ran.text);
}
