//! Files that a user names for output: written to or published whole, and never destroyed.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::binary;

const TOP: &str = "module top;\nendmodule\n";
const TEST_TOP: &str = "\
import cocotb


@cocotb.test()
async def fine(dut):
    pass
";
const RUNNER: &str = "\
[build.top]
sources = [\"top.sv\"]
hdl_toplevel = \"top\"
[[test]]
test_module = \"test_top\"
";

fn project() -> Project {
    let project = Project::with_cocotb(COCOTB, RUNNER);
    project.file("top.sv", TOP).file("test_top.py", TEST_TOP);
    project
}

/// Runs a line in bash, with `cocorun` as `$COCORUN`.
fn bash(project: &Project, line: &str) -> Ran {
    let mut command = project.command(&[]);
    let cocorun = binary();
    let dir = command.get_current_dir().unwrap().to_owned();
    let mut shell = Command::new("bash");
    shell.args(["-c", line]).env_clear().current_dir(dir);
    for (name, value) in std::env::vars_os() {
        shell.env(name, value);
    }
    for (name, value) in command.env_remove("BASH_ENV").get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    Ran::from(shell.env("COCORUN", cocorun).output().unwrap())
}

#[track_caller]
fn expect_report(xml: &str, tests: usize, errors: usize) {
    let report = quick_junit::Report::deserialize_from_str(xml);
    let report = report.unwrap_or_else(|error| panic!("{error} in:\n{xml}"));
    assert_eq!((report.tests, report.errors), (tests, errors), "{xml}");
}

/// What cannot be written, or is no report, is refused before anything runs.
fn refuses_what_it_may_not_replace(project: &Project) {
    let top = fs::read_to_string(project.path("top.sv")).unwrap();
    symlink("runner.toml", project.path("link-to-runner")).unwrap();
    for (path, exit_code, words, code) in [
        ("dir", 2, "is a directory", "usage::bad-argument"),
        ("new/", 2, "is a directory", "usage::bad-argument"),
        (
            "top.sv",
            2,
            "a file that is no report",
            "usage::bad-argument",
        ),
        (
            "link-to-runner",
            2,
            "a file that is no report",
            "usage::bad-argument",
        ),
        (
            "top.sv/report.xml",
            5,
            "not a directory",
            "report::unwritable",
        ),
        ("/dev/fd/98765", 5, "bad file", "report::unwritable"),
    ] {
        let ran = project
            .run(&["test", "--junit", path])
            .expect_code(exit_code);
        let is_said = [path, words, code].map(|it| ran.text.contains(it));
        assert_eq!(is_said, [true; 3], "{}", ran.text);
    }
    assert_eq!(fs::read_to_string(project.path("top.sv")).unwrap(), top);
}

#[test]
fn a_junit_report_destroys_nothing_that_its_path_names() {
    let project = project();
    let fifo = project.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(project.path("dir")).unwrap();
    symlink("reports/real.xml", project.path("link.xml")).unwrap();

    refuses_what_it_may_not_replace(&project);
    let args = ["test", "--format", "json", "--junit", "/dev/stdout"];
    let ran = project.run(&args).expect_code(2);
    assert!(ran.text.contains("standard output"), "{}", ran.text);
    // By its name or not, what the shell has redirected to is not replaced.
    for (line, stream) in [
        (
            "$COCORUN test --format json --junit both >both",
            "standard output",
        ),
        ("$COCORUN test --junit ./both >>both", "standard output"),
        (
            "$COCORUN test --format json --junit /dev/fd/3 >both 3>&1",
            "standard output",
        ),
        ("$COCORUN test --junit both 2>both", "standard error"),
    ] {
        let ran = bash(&project, line).expect_code(2);
        let both = fs::read_to_string(project.path("both")).unwrap();
        assert!((ran.text + &both).contains(stream), "{line}: {both}");
        assert!(!both.contains("<testsuites"), "{line}: {both}");
    }
    assert!(!project.path("sim_build").exists());
    assert!(!project.path("new").exists());

    // Links are followed.
    project.run(&["test", "--junit", "link.xml"]).expect_code(0);
    assert!(project.path("link.xml").is_symlink());
    let xml = fs::read_to_string(project.path("reports/real.xml")).unwrap();
    expect_report(&xml, 1, 0);

    // A FIFO, a process substitution and standard output get one document, at the end.
    let line = "cat fifo >got & $COCORUN test --junit fifo; code=$?; wait; exit $code";
    bash(&project, line).expect_code(0);
    expect_report(&fs::read_to_string(project.path("got")).unwrap(), 1, 0);
    assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
    let line = "$COCORUN test --junit >(cat >got2); code=$?; wait $!; exit $code";
    bash(&project, line).expect_code(0);
    expect_report(&fs::read_to_string(project.path("got2")).unwrap(), 1, 0);
    let ran = project.run(&["test", "--junit", "/dev/stdout"]);
    expect_report(&ran.expect_code(0).stdout, 1, 0);
    let line = "echo before >log; $COCORUN test --junit /dev/fd/3 3>>log";
    bash(&project, line).expect_code(0);
    let log = fs::read_to_string(project.path("log")).unwrap();
    expect_report(log.strip_prefix("before\n").unwrap(), 1, 0);

    // So does what ends a session before it begins.
    let line = "$COCORUN test --build absent --junit >(cat >got3); code=$?; wait $!; exit $code";
    bash(&project, line).expect_code(2);
    expect_report(&fs::read_to_string(project.path("got3")).unwrap(), 1, 1);

    // A reader that leaves early is an error.
    let ran = bash(&project, "$COCORUN test --junit >(exec <&-; sleep 60)");
    let ran = ran.expect_code(5);
    assert!(ran.text.contains("report::unwritable"), "{}", ran.text);
    assert!(ran.text.contains("broken pipe"), "{}", ran.text);
}

#[test]
fn what_a_shell_had_started_before_it_became_cocorun_lives_on() {
    let project = project();
    // One of them ends during the session, and leaves its own child to cocorun.
    project.file(
        "test_top.py",
        "import pathlib\nimport time\nimport cocotb\n\n\n@cocotb.test()\nasync def fine(dut):\n    \
         here = pathlib.Path(__file__).parent\n    (here / 'go').touch()\n    \
         stat = pathlib.Path('/proc', (here / 'ends').read_text().strip(), 'stat')\n    \
         while stat.exists() and ') Z ' not in stat.read_text():\n        time.sleep(0.01)\n",
    );
    // A shell replaces itself with the last command of `bash -c`, too.
    let line = "sleep 600 >&- 2>&- & echo $! >pid
        bash -c 'sleep 600 & echo $! >below; wait' >&- 2>&- &
        bash -c 'sleep 600 & echo $! >left; until [ -e go ]; do sleep 0.1; done' >&- 2>&- &
        echo $! >ends
        until [ -s below ] && [ -s left ]; do sleep 0.1; done
        exec > >(cat >log) 2>&1
        exec $COCORUN test";
    bash(&project, line).expect_code(0);
    let until = Instant::now() + Duration::from_secs(60);
    let log = || fs::read_to_string(project.path("log")).unwrap();
    while !log().contains(" Seed ") && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    let killed = ["pid", "below", "left"].map(|name| {
        let pid = fs::read_to_string(project.path(name)).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap());
        nix::sys::signal::kill(pid, Signal::SIGKILL)
    });
    assert_eq!(killed, [Ok(()); 3]);
    assert!(log().contains(" Seed "), "{}", log());
}

#[test]
fn a_target_under_a_lock_replaces_nothing_but_a_regular_file() {
    let project = Project::new();
    nix::unistd::mkfifo(&project.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(project.path("dir")).unwrap();
    project.file("input", "new").file("real", "former");
    symlink("real", project.path("link")).unwrap();
    for name in ["fifo", "dir"] {
        let target = format!("--target={name}");
        let ran = project.run(&["lock", &target, "--", "cp", "input", name]);
        let ran = ran.expect_code(125);
        assert!(ran.text.contains("not a regular file"), "{}", ran.text);
    }
    let ran = project.run(&["lock", "--target=link", "--", "cp", "input", "link"]);
    ran.expect_code(0);
    assert!(project.path("link").is_symlink());
    assert_eq!(fs::read_to_string(project.path("real")).unwrap(), "new");
}
