//! One module that runs several times on one build, or in parts: each run has its own name in every
//! report.

use crate::support::COCOTB;
use crate::support::COCOTB_VERSIONS;
use crate::support::Project;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;

/// Reports what it was run with, in its message if that is bad.
const MODULE: &str = "\
import os
import cocotb


@cocotb.test()
async def knows(dut):
    period, size = os.environ['PERIOD'], cocotb.plusargs.get('size')
    print(f'period {period}, size {size}')
    assert period != '13', f'unlucky with size {size}'
";

fn project(tests: &str) -> Project {
    project_with(COCOTB, tests)
}

fn project_with(cocotb: &str, tests: &str) -> Project {
    let project = Project::with_cocotb(
        cocotb,
        &format!("\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n{tests}"),
    );
    project
        .file("top.sv", "module top;\nendmodule\n")
        .file("test_env.py", MODULE);
    project
}

/// Returns a field of each `testcase-finished`, by the testcase's id.
fn finished(events: &[serde_json::Value]) -> BTreeMap<String, &serde_json::Value> {
    let finished = events
        .iter()
        .filter(|event| event["event"] == "testcase-finished");
    finished
        .map(|event| (event["testcase"]["id"].as_str().unwrap().to_owned(), event))
        .collect()
}

/// Checks what each was run with, and that no two share a folder.
fn check_runs(results: &BTreeMap<String, &serde_json::Value>) {
    let mut folders = BTreeSet::new();
    for (id, result) in results {
        let path = result["log"]["path"].as_str().unwrap();
        let log = fs::read_to_string(path).unwrap();
        let is_bad = id.contains("/b:") || id.contains("=13");
        assert_eq!(
            result["outcome"],
            if is_bad { "failed" } else { "passed" },
            "{id}"
        );
        assert!(folders.insert(result["run_dir"].as_str().unwrap()), "{id}");
        if let Some((_, values)) = id.split_once("PERIOD=") {
            let words = format!("period {}, size 3\n", &values[..2]);
            assert!(log.contains(&words), "{id}: {log}");
            let seed = &values.split_once("seed=").unwrap().1[..1];
            assert_eq!(result["seed"].to_string(), seed, "{id}");
            let words = format!("Seeding Python random module with {seed}\n");
            assert!(log.contains(&words), "{id}: {log}");
        }
    }
}

/// Runs the commands of a report that repeat failures; returns what they ran, one testcase each.
fn repeat_failures(project: &Project, report: &str) -> BTreeSet<String> {
    let commands = report.match_indices("help: rerun it alone: `cocorun ");
    let mut repeated = BTreeSet::new();
    for (at, before) in commands {
        let command = report[at + before.len()..].split('`').next().unwrap();
        let args = shell_words::split(command).unwrap();
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(["--format", "json"]);
        let ran = project.run(&args).expect_code(1);
        let events = ran.events();
        let again: Vec<String> = finished(&events).into_keys().collect();
        assert_eq!(again.len(), 1, "{command}: {again:?}");
        repeated.extend(again);
        assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    }
    repeated
}

#[test]
fn two_tables_with_different_environments_are_two_tests_of_one_module() {
    let table = |key: &str, period: u32| {
        format!("[[test]]\n{key}test_module = \"test_env\"\nenv = {{ PERIOD = {period} }}\n")
    };
    let unnamed = project(&[table("", 10), table("", 13)].concat());
    let ran = unnamed.run(&["test"]).expect_code(2);
    assert!(
        ran.text.contains("help: give each table a `name`"),
        "{}",
        ran.text
    );

    // A matrix, as well as a name for one of them and for both.
    let matrix = "[[test]]\nname = \"m\"\ntest_module = \"test_env\"\n\
                  matrix = { env = { PERIOD = [12, 13] }, plusargs.size = [3], seed = [1, 2] }\n";
    let tables = [
        table("", 10),
        table("name = \"a\"\n", 11),
        table("name = \"b\"\n", 13),
    ];
    let project = project(&format!("{}{matrix}", tables.concat()));
    let args = ["test", "--format", "json", "--junit", "junit.xml"];
    let ran = project.run(&args).expect_code(1);
    let events = ran.events();
    let results = finished(&events);
    let ids: Vec<&str> = results.keys().map(String::as_str).collect();
    let expected = [
        "top::test_env/a::knows",
        "top::test_env/b::knows",
        "top::test_env/m/PERIOD=12/size=3/seed=1::knows",
        "top::test_env/m/PERIOD=12/size=3/seed=2::knows",
        "top::test_env/m/PERIOD=13/size=3/seed=1::knows",
        "top::test_env/m/PERIOD=13/size=3/seed=2::knows",
        "top::test_env::knows",
    ];
    assert_eq!(ids, expected);
    check_runs(&results);
    let variant = |id: &str| &results[id]["testcase"]["variant"];
    assert_eq!(*variant(expected[0]), "a");
    assert_eq!(*variant(expected[2]), "m/PERIOD=12/size=3/seed=1");
    assert!(variant(expected[6]).is_null());

    // Two of three failures are equal.
    let report = &ran.stderr;
    assert_eq!(report.matches("error[test::failed]").count(), 2, "{report}");
    assert!(report.contains("the same in 1 more testcase"), "{report}");
    let repeated = repeat_failures(&project, report);
    assert_eq!(repeated.len(), 2);
    assert!(
        repeated.iter().all(|id| results[id]["outcome"] == "failed"),
        "{repeated:?}"
    );

    let xml = fs::read_to_string(project.path("junit.xml")).unwrap();
    for id in expected {
        let suite = id.strip_suffix("::knows").unwrap();
        assert_eq!(
            xml.matches(&format!("<testsuite name=\"{suite}\"")).count(),
            1,
            "{xml}"
        );
    }
    let listed = project
        .run(&["list", "--module", "test_env/m/PERIOD=12"])
        .expect_code(0);
    assert_eq!(listed.stdout.lines().collect::<Vec<_>>(), expected[2..4]);
    let exact = project
        .run(&["list", "--module", "test_env"])
        .expect_code(0);
    assert_eq!(exact.stdout, "top::test_env::knows\n");
}

const MARKED: &str = "\
import cocotb


@cocotb.test()
async def fast(dut):
    pass


@cocotb.test()
async def slow(dut):
    pass


@cocotb.test(skip=True)
async def marked(dut):
    assert False, 'it runs'


@cocotb.test(skip=True)
async def marked_too(dut):
    pass
";

/// Returns the outcomes of a session by the names of testcases.
fn outcomes(events: &[serde_json::Value]) -> Vec<(String, String)> {
    let results = finished(events);
    let outcome = |(id, event): (String, &serde_json::Value)| {
        let outcome = event["outcome"].as_str().unwrap().to_owned();
        (id.rsplit("::").next().unwrap().to_owned(), outcome)
    };
    results.into_iter().map(outcome).collect()
}

#[test]
fn tables_select_testcases_of_one_module_and_what_they_name_runs_though_it_is_marked() {
    let tables = "[[test]]\ntest_module = \"marked\"\ntestcase = [\"fast\", \"m*d\"]\n\
                  [[test]]\ntest_module = \"marked\"\nskip_testcase = [\"fast\", \"marked\"]\n\
                  timeout_s = 300\n";
    for cocotb in COCOTB_VERSIONS {
        let project = project_with(cocotb, tables);
        project.file("marked.py", MARKED);
        let ran = project.run(&["test", "--format", "json"]).expect_code(1);
        let expected = [
            ("fast", "passed"),
            ("marked", "failed"),
            ("marked_too", "skipped"),
            ("slow", "passed"),
        ];
        let expected = expected.map(|(name, outcome)| (name.to_owned(), outcome.to_owned()));
        assert_eq!(outcomes(&ran.events()), expected, "{cocotb}");
    }

    let project = project(
        "[[test]]\ntest_module = \"marked\"\ntestcase = [\"fats\", \"slow\"]\n\
         [[test]]\ntest_module = \"marked\"\ntestcase = \"s*\"\ntimeout_s = 300\n\
         [[test]]\ntest_module = \"marked\"\npaths = [\"other\"]\ntestcase = \"fast\"\n",
    );
    project
        .file("marked.py", MARKED)
        .file("other/marked.py", &MARKED.replace("fast", "other"));
    let args = ["test", "--format", "json", "--junit", "junit.xml"];
    let ran = project.run(&args).expect_code(2);
    let passed = ("slow".to_owned(), "passed".to_owned());
    assert_eq!(outcomes(&ran.events()), [passed], "once, and nothing else");
    let xml = fs::read_to_string(project.path("junit.xml")).unwrap();
    for code in ["config::unknown-testcase", "config::testcase-twice"] {
        assert!(
            ran.stderr.contains(&format!("error[{code}]")),
            "{}",
            ran.stderr
        );
        assert!(xml.contains(&format!("<testcase name=\"{code}\"")), "{xml}");
    }
    for words in [
        "help: did you mean `fast`?",
        "`fast` matches no testcase of the modules of its table",
        "first at runner.toml:8, whose settings apply",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
}

const READS: &str = "\
import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def reads(dut):
    await Timer(5, 'ns')
    assert open('data.txt').read() == 'here'
    open('left.txt', 'w').close()


@cocotb.test()
async def writes_elsewhere(dut):
    await Timer(5, 'ns')
";

#[test]
fn runs_start_in_the_folder_that_cwd_names_and_leave_only_what_they_write_themselves() {
    let table = |cwd: &str, keys: &str| {
        format!(
            "[[test]]\ntest_module = \"reads\"\npaths = [\"tb\"]\ncwd = \"{cwd}\"\n\
             name = \"{cwd}{}\"\nwaves = true\n{keys}",
            keys.len()
        )
    };
    let spawned = "fork = false\n";
    let tables = [
        table("module", ""),
        table("module", spawned),
        table("project", ""),
        table("project", spawned),
        table("run", ""),
    ];
    let project = project(&tables.concat());
    project
        .file(
            "top.sv",
            "module top;\n  reg q = 0;\n  always #1 q = !q;\nendmodule\n",
        )
        .file("tb/reads.py", READS)
        .file("tb/data.txt", "here")
        .file("data.txt", "here");
    let before = |folder: &str| -> BTreeSet<String> {
        let names = fs::read_dir(project.path(folder)).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let (root, module) = (before("."), before("tb"));
    let ran = project.run(&["test", "--format", "json"]).expect_code(1);
    for (id, result) in finished(&ran.events()) {
        let is_bad = id.contains("/run0::reads");
        assert_eq!(
            result["outcome"],
            if is_bad { "failed" } else { "passed" },
            "{id}"
        );
        let dir = std::path::Path::new(result["run_dir"].as_str().unwrap());
        for file in ["results.xml", "sim.log", "waves.fst"] {
            assert!(dir.join(file).exists(), "{id}: {file}");
        }
    }
    let new = |folder: &str, known: &BTreeSet<String>| -> Vec<String> {
        before(folder).difference(known).cloned().collect()
    };
    assert_eq!(new(".", &root), ["left.txt", "sim_build"]);
    assert_eq!(new("tb", &module), ["left.txt"]);
    let warnings = ran
        .stderr
        .matches("warning[test::shared-folder]: files appeared");
    assert_eq!(warnings.count(), 2, "{}", ran.stderr);
    assert_eq!(
        ran.stderr.matches(" runs: `left.txt`").count(),
        2,
        "{}",
        ran.stderr
    );
}
