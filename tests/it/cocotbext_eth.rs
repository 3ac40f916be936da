//! Test suites that are not ours: those of `cocotbext-eth`, under cocorun, under their own pytest
//! functions with the runner of cocotb, and under one of their Makefiles, testcase by testcase.
//!
//! Nothing is changed but one testcase of `ptp_clock_sim_time`, which is made to fail.
//! `COCORUN_TEST_ALL=1` runs all fifteen parametrisations, which takes a quarter of an hour.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::foreign::Outcomes;
use crate::foreign::cache;
use crate::foreign::environment;
use crate::foreign::foreign_project;
use crate::foreign::outcomes_by_build;
use crate::foreign::outcomes_of;
use crate::foreign::runs_all;
use crate::foreign::succeed;
use crate::seen::Session;
use crate::support::Project;

/// Builds of cocorun, and the folders that the pytest functions give their own.
const FLAVOURS: [(&str, &str); 15] = [
    ("eth_mac/w64", "test_eth_mac-64"),
    ("eth_mac/w512", "test_eth_mac-512"),
    ("ptp_clock", "test_ptp_clock"),
    ("ptp_clock_sim_time", "test_ptp_clock"),
    // From here on only with `COCORUN_TEST_ALL`.
    ("eth_mac/w8", "test_eth_mac-8"),
    ("eth_mac/w32", "test_eth_mac-32"),
    ("gmii/DATA_W=8", "test_gmii-8"),
    ("gmii/DATA_W=16", "test_gmii-16"),
    ("gmii_phy", "test_gmii_phy"),
    ("mii", "test_mii"),
    ("mii_phy", "test_mii_phy"),
    ("rgmii", "test_rgmii"),
    ("rgmii_phy", "test_rgmii_phy"),
    ("xgmii/CTRL_W=4/DATA_W=32", "test_xgmii-32"),
    ("xgmii/CTRL_W=8/DATA_W=64", "test_xgmii-64"),
];
const USUAL: usize = 4;
/// The parametrisation of its Makefile.
const OF_MAKEFILE: &str = "eth_mac/w64";

fn suite(build: &str) -> &str {
    build.split('/').next().unwrap()
}

fn plant(project: &Project) {
    let file = project.path("tests/ptp_clock_sim_time/test_ptp_clock_sim_time.py");
    let text = fs::read_to_string(&file).unwrap();
    let head = "async def run_test(dut):\n";
    assert!(text.contains(head), "the suite is not the one we know");
    let planted = format!("{head}    assert dut is None, 'planted'\n");
    fs::write(&file, text.replace(head, &planted)).unwrap();
}

/// Runs a program of the environment in a folder. It fails where a testcase does; the results count.
fn run_in(dir: &Path, environment: &Path, program: &str, args: &[&str]) {
    let bin = environment.join("bin");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let command = Command::new(program)
        .args(args)
        .env("PATH", path)
        .env("COCOTB_RANDOM_SEED", "1")
        .current_dir(dir)
        .output();
    command.unwrap();
}

fn results(file: &Path) -> Outcomes {
    let text = fs::read_to_string(file);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    outcomes_of(&text)
}

#[test]
fn foreign_suites_end_as_under_their_own_pytest_functions() {
    let count = if runs_all() { FLAVOURS.len() } else { USUAL };
    let flavours = &FLAVOURS[..count];
    let project = foreign_project("cocotbext-eth", "0.1.28", "2.1.0", "");
    plant(&project);
    succeed(
        Command::new("cp")
            .args(["-r", "tests", "make"])
            .current_dir(project.path(".")),
    );
    let selected: Vec<&str> = flavours
        .iter()
        .flat_map(|(build, _)| ["--build", build])
        .collect();
    let session = Session::on_terminal(&project, &selected);
    assert_eq!(session.code, 1, "{}", session.stderr);
    let ours = outcomes_by_build(&session);

    let environment = environment(&cache("cocotbext-eth").join("sim_build"));
    let pytest = environment.join("bin/pytest");
    let mut theirs: BTreeMap<String, Outcomes> = BTreeMap::new();
    for (build, folder) in flavours {
        let suite = suite(build);
        let dir = project.path(&format!("tests/{suite}"));
        // `test_eth_mac-64` is the function's `test_eth_mac[64]`.
        let function = match folder.split_once('-') {
            Some((name, value)) => format!("{name}[{value}]"),
            None => (*folder).to_owned(),
        };
        let test = format!("test_{suite}.py::{function}");
        run_in(&dir, &environment, pytest.to_str().unwrap(), &[&test]);
        // cocotb's runner names the file after the function.
        let file = format!("sim_build/{folder}/{function}.result.xml");
        let outcomes = results(&dir.join(file));
        assert!(!outcomes.is_empty(), "{build}");
        theirs.insert((*build).to_owned(), outcomes);
    }
    assert_eq!(ours, theirs);
    let failed = theirs.values().flatten();
    let failed: Vec<&String> = failed
        .filter(|(_, outcome)| *outcome != "passed")
        .map(|(name, _)| name)
        .collect();
    assert_eq!(failed, ["run_test"], "only what was planted");

    let dir = project.path("make/eth_mac");
    run_in(&dir, &environment, "make", &[]);
    assert_eq!(ours[OF_MAKEFILE], results(&dir.join("results.xml")));
}
