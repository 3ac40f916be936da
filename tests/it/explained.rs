//! `cocorun explain` says what happens: each code is provoked, and its exit code compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::lock_commands::await_file;
use crate::lock_commands::end;
use crate::lock_commands::start;
use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::python;

/// Codes that no small test can provoke, and why.
const NOT_PROVOKED: [(&str, &str); 10] = [
    (
        "build::unsupported",
        "needs a `TMPDIR` with a blank, and Verilator",
    ),
    ("disk::full", "needs a mount; `bad_input` has one"),
    ("disk::unreadable", "root may read everything"),
    ("lock::lost", "needs two holders; see `lock_breaking`"),
    (
        "lock::storage",
        "needs a disk that fails; see `tests/faultfs`",
    ),
    (
        "lock::strategy",
        "needs a file system without such locks; see `tests/faultfs`",
    ),
    (
        "python::no-libpython",
        "needs a Python that is linked statically",
    ),
    ("python::unsupported-cocotb", "needs an old cocotb"),
    ("report::unreadable", "no command reads recordings yet"),
    (
        "test::agent",
        "needs a testcase that breaks the channel; see `hostile`",
    ),
];

const BUILD: &str = "[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n";
const TEST: &str = "[[test]]\ntest_module = \"test_top\"\n";
const TOP: &str = "module top;\n  parameter W = 1;\nendmodule\n";
const TEST_TOP: &str = "\
import atexit
import os
import signal
import sys
import time

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def hidden(dut):
    pass


@cocotb.test()
async def hidden(dut):
    pass


@cocotb.test()
async def fine(dut):
    open('written', 'w').close()
    return 7


@cocotb.test()
async def fails(dut):
    assert False


@cocotb.test()
async def crashes(dut):
    os.kill(os.getpid(), signal.SIGSEGV)


@cocotb.test()
async def leaves(dut):
    os._exit(0)


@cocotb.test()
async def leaves_late(dut):
    atexit.register(os._exit, 3)


@cocotb.test()
async def hangs(dut):
    open(os.environ['COCORUN_PROJECT_DIR'] + '/hanging', 'w').close()
    while True:
        await Timer(1, 'us')
";
/// An `iverilog` that does what its name says once it is asked to compile.
const STUB: &str = "#!/bin/sh
case \"$1\" in -V) exec /usr/bin/env -u PATH PATH=\"$REAL_PATH\" iverilog -V ;; esac
";

struct Provoked {
    codes: BTreeMap<String, i32>,
    project: Project,
}

impl Provoked {
    fn new() -> Self {
        let project = Project::new();
        project.file("top.sv", TOP).file("test_top.py", TEST_TOP);
        Self {
            codes: BTreeMap::new(),
            project,
        }
    }

    /// Writes `runner.toml`: keys of the top level, and tables.
    fn configure(&self, keys: &str, tables: &str) {
        let interpreter = python(COCOTB);
        let interpreter = interpreter.display();
        let text = format!("{keys}\n[python]\ninterpreter = \"{interpreter}\"\n{tables}");
        self.project.file("runner.toml", &text);
    }

    /// Notes that a run with these codes ended so.
    #[track_caller]
    fn note(&mut self, codes: &[&str], ran: &Ran) {
        for code in codes {
            let is_said = ran.text.contains(&format!("[{code}]"));
            assert!(is_said, "no {code} in:\n{}", ran.text);
            let known = self.codes.insert((*code).to_owned(), ran.code);
            assert_eq!(known, None, "{code} is provoked twice");
        }
    }

    #[track_caller]
    fn run(&mut self, codes: &[&str], args: &[&str]) {
        let ran = self.project.run(args);
        self.note(codes, &ran);
    }

    #[track_caller]
    fn run_with(&mut self, codes: &[&str], args: &[&str], name: &str, value: &OsStr) {
        let mut command = self.project.command(args);
        command.env("REAL_PATH", std::env::var_os("PATH").unwrap());
        let ran = Ran::from(command.env(name, value).output().unwrap());
        self.note(codes, &ran);
    }

    /// Puts a program of this name before all others, and returns that PATH.
    fn stub(&self, name: &str, text: &str) -> std::ffi::OsString {
        let path = self.project.path("stubs").join(name);
        self.project.file(&format!("stubs/{name}"), text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut path: Vec<PathBuf> = vec![self.project.path("stubs")];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        std::env::join_paths(path).unwrap()
    }
}

fn provoke_by_configuration(all: &mut Provoked) {
    let test = &["test"][..];
    all.run(&["config::not-found"], test);
    fs::create_dir(all.project.path("runner.toml")).unwrap();
    all.run(&["config::unreadable"], test);
    fs::remove_dir(all.project.path("runner.toml")).unwrap();
    let odd = all.project.path("").join(OsStr::from_bytes(b"odd\xff.sv"));
    fs::write(&odd, "").unwrap();
    let twice = format!("{TEST}timeout_s = 1\n");
    for (code, keys, tables) in [
        ("config::syntax", "x = ", ""),
        ("config::unknown-key", "bogus = 1", ""),
        ("config::wrong-type", "timeout_s = \"x\"", ""),
        ("config::bad-value", "timeout_s = 0", ""),
        ("config::unknown-simulator", "simulator = \"verilater\"", ""),
        (
            "config::missing-key",
            "",
            "[build.other]\nsources = [\"top.sv\"]\n",
        ),
        ("config::duplicate-name", "", &twice),
        (
            "config::unknown-build",
            "",
            "[[test]]\nbuild = \"x\"\ntest_module = \"test_top\"\n",
        ),
        (
            "config::empty-glob",
            "",
            "[build.o]\nsources = [\"*.no\"]\nhdl_toplevel = \"o\"\n",
        ),
        (
            "config::missing-file",
            "",
            "[build.o]\nsources = [\"o.sv\"]\nhdl_toplevel = \"o\"\n",
        ),
        (
            "config::non-utf8-path",
            "",
            "[build.o]\nsources = [\"odd*.sv\"]\nhdl_toplevel = \"o\"\n",
        ),
        (
            "config::include",
            "include = [{ file = \"runner.toml\", prefix = \"own\" }]\n",
            "",
        ),
        (
            "config::template",
            "",
            "[build.o]\nsources = [\"top.sv\"]\nhdl_toplevel = \"{WIDHT}\"\n",
        ),
        (
            "config::file-list",
            "",
            "[build.o]\nsources = [\"o.f\"]\nhdl_toplevel = \"o\"\n",
        ),
    ] {
        all.project.file("o.f", "--bogus\n");
        all.configure(keys, &format!("{BUILD}{TEST}{tables}"));
        all.run(&[code], test);
    }
    fs::remove_file(odd).unwrap();
    all.project.file("test_top/__init__.py", "");
    all.configure("", &format!("{BUILD}{TEST}"));
    all.run(&["config::ambiguous-module"], test);
    fs::remove_dir_all(all.project.path("test_top")).unwrap();
}

/// Returns a step that makes `o.sv`, with more keys.
fn step(keys: &str) -> String {
    format!("[step.o]\ncommand = [\"sh\", \"-c\", \"$RUN\"]\noutputs = [\"o.sv\"]\n{keys}")
}

fn provoke_by_steps(all: &mut Provoked) {
    for index in 0..=1000 {
        all.project.file(&format!("many/{index}"), "");
    }
    let build = "[build.o]\nneeds = [\"o\"]\nsources = [\"{OUT}/o.sv\"]\nhdl_toplevel = \"o\"\n";
    for (code, tables) in [
        (
            "config::unknown-step",
            "[build.o]\nneeds = [\"o\"]\nsources = [\"top.sv\"]\nhdl_toplevel = \"o\"\n".to_owned(),
        ),
        ("config::step-circle", step("needs = [\"o\"]\n")),
        (
            "config::step-output",
            format!("{}{}", step(""), build.replace("o.sv", "p.sv")),
        ),
        (
            "config::step-inputs",
            format!("{}{build}", step("").replace("$RUN", "ls many")),
        ),
    ] {
        all.configure("", &format!("{BUILD}{TEST}{tables}"));
        all.run(&[code], &["test"]);
    }
    for (code, run, keys) in [
        ("step::failed", "false", ""),
        ("step::timeout", "sleep 60", "timeout_s = 0.2\n"),
        ("step::output", "true", ""),
    ] {
        let step = step(keys).replace("$RUN", run);
        all.configure("", &format!("{step}{build}"));
        all.run(&[code], &["build"]);
    }
}

fn provoke_by_environment(all: &mut Provoked) {
    let test = &["test", "fine"][..];
    let both = format!("{BUILD}{TEST}");
    for (code, interpreter) in [
        ("python::not-found", "/nonexistent/python"),
        ("python::no-cocotb", "stubs/python"),
    ] {
        all.stub("python", "#!/bin/sh\nexec /usr/bin/python3 -S \"$@\"\n");
        let python = format!("[python]\ninterpreter = \"{interpreter}\"\n{both}");
        all.project.file("runner.toml", &python);
        all.run(&[code], test);
    }
    let python = format!("[python]\nrequirements = [\"./nonexistent\"]\n{both}");
    all.project.file("runner.toml", &python);
    all.run(&["python::provision"], test);
    all.configure("build_dir = \"top.sv/x\"", &both);
    all.run(&["disk::unwritable"], test);
    all.configure(&format!("build_dir = \"{}\"", "x".repeat(300)), &both);
    all.run(&["disk::io"], test);
    all.configure("", &both);
    let nowhere = OsStr::new("/nonexistent");
    all.run_with(&["tool::not-found"], test, "PATH", nowhere);
    let path = all.stub("iverilog", "#!/bin/sh\nexit 1\n");
    all.run_with(&["tool::broken"], test, "PATH", &path);
    all.run(&["report::unwritable"], &["test", "--junit", "top.sv/x"]);
    all.run(&["usage::bad-argument"], &["explain", "no::code"]);
    all.run(&["select::nothing"], &["test", "absent"]);
}

fn provoke_by_builds(all: &mut Provoked) {
    let both = format!("{BUILD}{TEST}");
    let other = format!("{BUILD}parameters = {{ W = 7 }}\n{TEST}");
    all.configure("", &other);
    all.run(&["build::not-built"], &["build", "--assume-built"]);
    all.configure("", &other.replace("W =", "NOPE ="));
    all.run(&["build::unknown-parameter"], &["build"]);
    all.configure("", &both);
    all.project
        .file("top.sv", "module top;\n  wire a = ;\nendmodule\n");
    all.run(&["build::compile"], &["build"]);
    all.project.file("top.sv", TOP);
    all.configure(
        "",
        &format!("{BUILD}build_args = [\"-t\", \"null\"]\n{TEST}"),
    );
    all.run(&["build::no-artifact"], &["build"]);
    all.configure("build_timeout_s = 0.2", &both);
    let path = all.stub("iverilog", &format!("{STUB}sleep 60\n"));
    all.run_with(&["build::timeout"], &["build"], "PATH", &path);
    all.configure("", &both);
    let changes = "echo >>$COCORUN_TOP\nPATH=\"$REAL_PATH\" exec iverilog \"$@\"\n";
    let top = all.project.path("top.sv");
    let changes = changes.replace("$COCORUN_TOP", &top.display().to_string());
    let path = all.stub("iverilog", &format!("{STUB}{changes}"));
    all.run_with(&["build::sources-changed"], &["build"], "PATH", &path);
}

fn provoke_by_testcases(all: &mut Provoked) {
    let names = "testcase = [\"fine\", \"nope\"]\n";
    let again = "testcase = \"fine\"\ntimeout_s = 5\n";
    all.configure("", &format!("{BUILD}{TEST}{names}{TEST}{again}"));
    let codes = ["config::unknown-testcase", "config::testcase-twice"];
    all.run(&codes, &["list"]);

    all.configure(
        "",
        &format!(
            "{BUILD}{TEST}preload = [\"no_such_module\"]\ncheckpoint = \"opens:opens\"\nmatrix.seed = [1]\ncwd = \"project\"\n"
        ),
    );
    all.project.file(
        "opens.py",
        "KEPT = []\nasync def opens(dut):\n    KEPT.append(open(__file__))\n",
    );
    let name = ("COCOTB_TESTCASE", OsStr::new("x"));
    let warnings = [
        "select::variable",
        "select::variant",
        "test::preload",
        "test::checkpoint",
        "test::shared-folder",
        "test::never-runs",
        "test::returned-value",
    ];
    all.run_with(&warnings, &["test", "fine", "--seed", "7"], name.0, name.1);
    all.project
        .file("test_import.py", "import no_such_module\n")
        .file("test_empty.py", "")
        .file(
            "ends.sv",
            "module ends;\n  initial $no_such_task;\nendmodule\n",
        );
    let more = "[build.ends]\nsources = [\"ends.sv\"]\nhdl_toplevel = \"ends\"\n\
        [[test]]\nbuild = \"top\"\ntest_module = [\"test_top\", \"test_import\", \"test_empty\"]\n\
        [[test]]\nbuild = \"ends\"\ntest_module = \"test_top\"\n";
    all.configure("", &format!("{BUILD}{more}"));
    let codes = [
        "test::import",
        "test::no-testcases",
        "test::startup",
        "test::failed",
        "test::crashed",
        "test::no-result",
        "test::exit-status",
        "test::timeout",
    ];
    all.run(&codes, &["test", "--timeout", "1"]);
}

fn provoke_by_stops(all: &mut Provoked) {
    all.configure("session_timeout_s = 1", &format!("{BUILD}{TEST}"));
    let args = &["test", "--testcase", "hangs"];
    let ran = all.project.run(args);
    let report = all
        .project
        .run(&[&args[..], &["--junit", "report.xml"]].concat());
    assert_eq!(report.code, ran.code);
    let xml = fs::read_to_string(all.project.path("report.xml")).unwrap();
    assert!(xml.contains("session::timeout"), "{xml}");
    all.codes.insert("session::timeout".to_owned(), ran.code);

    all.configure("", &format!("{BUILD}{TEST}"));
    fs::remove_file(all.project.path("hanging")).unwrap();
    let child = start(
        &all.project,
        &[&args[..], &["--junit", "report.xml"]].concat(),
    );
    await_file(&all.project, "hanging");
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let ran = end(child);
    let xml = fs::read_to_string(all.project.path("report.xml")).unwrap();
    assert!(xml.contains("session::interrupted"), "{xml}");
    all.codes
        .insert("session::interrupted".to_owned(), ran.code);
}

fn provoke_by_locks(all: &mut Provoked) {
    all.run(&["lock::target"], &["lock", "--target=a", "--", "true"]);
    all.run(
        &["lock::no-output"],
        &["lock", "--target=a", "--", "true", "a"],
    );
    let held = start(
        &all.project,
        &["lock", "l", "--", "sh", "-c", "touch held; sleep 3"],
    );
    await_file(&all.project, "held");
    all.run(
        &["lock::timeout"],
        &["lock", "--timeout=0.1", "l", "--", "true"],
    );
    end(held).expect_code(0);
}

#[test]
fn the_exit_code_that_explain_names_is_the_one_that_the_problem_leads_to() {
    let mut all = Provoked::new();
    provoke_by_configuration(&mut all);
    provoke_by_environment(&mut all);
    provoke_by_builds(&mut all);
    provoke_by_steps(&mut all);
    provoke_by_testcases(&mut all);
    provoke_by_stops(&mut all);
    provoke_by_locks(&mut all);

    let list = all.project.run(&["explain"]).expect_code(0).stdout;
    for code in list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
    {
        let reason = NOT_PROVOKED.iter().find(|(name, _)| *name == code);
        let Some(happened) = all.codes.get(code) else {
            assert!(reason.is_some(), "{code} is not provoked");
            continue;
        };
        assert_eq!(reason, None, "{code} is provoked");
        let text = all.project.run(&["explain", code]).expect_code(0).stdout;
        let (_, said) = text.trim_end().rsplit_once("\nExit code: ").unwrap();
        let is_true = match *happened {
            0 => said.starts_with("unchanged"),
            // From `cocorun lock`.
            125 => said.contains("125"),
            129.. => said.starts_with("128 plus"),
            other => said.split([',', ';', '.', ' ']).next() == Some(&other.to_string()),
        };
        assert!(is_true, "{code} led to {happened}; explain says: {said}");
    }
}
