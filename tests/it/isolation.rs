//! A testcase has a process of its own by default, whatever that process is made by.

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;

/// The second testcase passes only where nothing of the first one is left.
const MODULE: &str = "\
import cocotb
from cocotb.triggers import Timer

left = []

@cocotb.test()
async def leaves_something(dut):
    left.append(1)
    dut.held.value = 1
    await Timer(3, 'ns')

@cocotb.test()
async def wants_nothing(dut):
    assert not left
    assert cocotb.utils.get_sim_time('ns') == 0
    print('order', hash('a word') % 1000003)
";

fn project() -> Project {
    let project = Project::with_cocotb(
        COCOTB,
        "\n[build.top]\nsources = [\"top.sv\"]\n\
         hdl_toplevel = \"top\"\n\n[[test]]\ntest_module = [\"twins\", \"failing\"]\n",
    );
    project.file("twins.py", MODULE);
    project.file(
        "failing.py",
        "import cocotb\n@cocotb.test()\nasync def bad(dut): assert False\n",
    );
    project.file(
        "top.sv",
        "module top(input logic held, output logic out); assign out = held; endmodule\n",
    );
    project
}

#[test]
fn waves_no_fork_and_a_limit_change_no_verdict_and_are_repeated() {
    let project = project();
    for how in [
        &["test"][..],
        &["test", "--no-fork"],
        &["test", "--waves"],
        &["test", "--timeout", "300"],
    ] {
        let ran = project.run(how).expect_code(1);
        assert!(ran.text.contains("2 passed, 1 failed"), "{}", ran.text);
        let repeated = format!("`cocorun {} --build top --module failing", how.join(" "));
        assert!(ran.text.contains(&repeated), "{}", ran.text);
    }
}

#[test]
fn the_seed_decides_the_order_of_sets() {
    let project = project();
    let order_with = |inherited: Option<&str>, args: &[&str]| {
        let args = [&["test", "wants", "-v"], args].concat();
        let mut command = project.command(&args);
        command.env_remove("PYTHONHASHSEED");
        command.envs(inherited.map(|seed| ("PYTHONHASHSEED", seed)));
        Ran::from(command.output().unwrap()).expect_code(0);
        let runs = std::fs::read_dir(project.path("sim_build/runs")).unwrap();
        let mut sessions: Vec<_> = runs.map(|it| it.unwrap().path()).collect();
        sessions.sort();
        let newest = sessions.pop().unwrap();
        let logs = walk(&newest);
        let line = logs
            .lines()
            .find(|line| line.starts_with("order "))
            .map(ToOwned::to_owned);
        std::fs::remove_dir_all(newest).unwrap();
        line.expect("it was printed")
    };
    let order = |args: &[&str]| order_with(None, args);
    let first = order(&["--seed", "5"]);
    assert_eq!(order(&["--seed", "5", "--no-fork"]), first);
    assert_ne!(order(&["--seed", "6"]), first);
    assert_eq!(order_with(Some("5"), &["--seed", "6"]), first);
}

#[test]
fn what_is_preloaded_is_imported_once_and_what_cannot_be_is_told() {
    let project = project();
    project.file(
        "heavy.py",
        "import os\nprint('x', file=open(os.environ['COCORUN_PROJECT_DIR'] + '/imports', 'a'))\n",
    );
    project.file("twins.py", &format!("import heavy\n{MODULE}"));
    let toml = std::fs::read_to_string(project.path("runner.toml")).unwrap();
    let count_with = |preload: &str| {
        project.file("runner.toml", &format!("{toml}preload = [{preload}]\n"));
        let ran = project.run(&["test", "twins"]).expect_code(0);
        let imports = std::fs::read_to_string(project.path("imports")).unwrap();
        std::fs::remove_file(project.path("imports")).unwrap();
        (imports.lines().count(), ran.text)
    };
    // The listing and two testcases.
    assert_eq!(count_with("").0, 3);
    let (count, said) = count_with("\"heavy\", \"nosuch\"");
    assert_eq!(count, 1);
    assert!(
        said.contains("warning[test::preload]: `nosuch` cannot"),
        "{said}"
    );
}

/// Returns the text of all logs below a folder.
fn walk(dir: &std::path::Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&walk(&path));
        } else if path.extension().is_some_and(|it| it == "log") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
    text
}

#[test]
fn what_expects_the_simulation_to_end_passes_and_the_rest_of_its_module_runs() {
    let project = Project::with_cocotb(
        COCOTB,
        "isolation = \"module\"\n\n[build.top]\nsources = [\"top.sv\"]\n\
         hdl_toplevel = \"top\"\n\n[[test]]\ntest_module = \"ends\"\n",
    );
    project.file(
        "top.sv",
        "`timescale 1ns/1ps\nmodule top; initial #5 $fatal(1, \"as planned\"); endmodule\n",
    );
    let expects = "@cocotb.test(expect_error=SimFailure)\n";
    let waits = |name: &str, ns: u32| format!("async def {name}(dut): await Timer({ns}, 'ns')\n");
    let module = [
        "import cocotb\nfrom cocotb.regression import SimFailure\n\
         from cocotb.triggers import Timer\n@cocotb.test()\n",
        &waits("before", 1),
        expects,
        &waits("ends", 100),
        "@cocotb.test()\n",
        &waits("after", 1),
        "@cocotb.test()\n",
        &waits("too_long", 100),
        expects,
        &waits("last", 100),
    ];
    project.file("ends.py", &module.concat());
    let ran = project.run(&["test"]).expect_code(1);
    assert!(ran.text.contains("4 passed, 1 failed"), "{}", ran.text);
    assert!(
        ran.text
            .contains("::too_long: an HDL error in the log: FATAL")
    );
}

#[test]
fn what_fails_alone_and_passes_after_others_is_red_and_says_so() {
    let project = Project::with_cocotb(
        COCOTB,
        "\n[build.top]\nsources = [\"top.sv\"]\n\
         hdl_toplevel = \"top\"\n\n[[test]]\ntest_module = [\"ordered\", \"bad\", \"single\"]\n",
    );
    project.file(
        "top.sv",
        "module top(input logic set, output logic q);\n\
         initial q = 0;\nalways @(posedge set) q = 1;\nendmodule\n",
    );
    let testcase = |name: &str, body: &str| {
        format!("@cocotb.test()\nasync def {name}(dut):\n    await Timer(1, 'ns')\n{body}")
    };
    let sets = "    dut.set.value = 0\n    await Timer(1, 'ns')\n    dut.set.value = 1\n\
                \x20   await Timer(1, 'ns')\n";
    let relies = "    assert dut.q.value == 1\n";
    let write = |module: &str, testcases: &[String]| {
        let head = "import cocotb\nfrom cocotb.triggers import Timer\n".to_owned();
        project.file(&format!("{module}.py"), &(head + &testcases.concat()));
    };
    let ordered = [
        testcase("fails_first", relies),
        testcase("sets", sets),
        testcase("relies", relies),
        testcase("never", "    assert dut.q.value == 2\n"),
    ];
    write("ordered", &ordered);
    let bad = "    assert False\n";
    write("bad", &[testcase("good", ""), testcase("bad", bad)]);
    write("single", &[testcase("alone", relies)]);

    let ran = project.run(&["test", "--format", "json", "--junit", "j.xml"]);
    let ran = ran.expect_code(1);
    let words = "passes after `sets` and 1 other in the same simulation: it depends on state left \
                 behind; `isolation = \"module\"` accepts that";
    assert_eq!(ran.text.matches("left behind").count(), 1);
    assert!(ran.text.contains(words), "{}", ran.text);
    assert!(ran.text.contains("2 passed, 5 failed"), "{}", ran.text);
    let junit = std::fs::read_to_string(project.path("j.xml")).unwrap();
    assert_eq!(junit.matches("passes after `sets`").count(), 1);
    assert!(junit.contains("tests=\"7\""), "{junit}");
    let events = ran.events();
    let named = |name: &str| events.iter().filter(|it| it["event"] == name).count();
    let counts = ["testcase-finished", "run-finished", "order-dependence"].map(named);
    assert_eq!(counts, [7, 7, 1]);

    let shared = project.run(&["test", "ordered", "--isolation", "module"]);
    let shared = shared.expect_code(1);
    let shared = shared.text;
    assert!(shared.contains("2 passed, 2 failed"), "{shared}");
    assert!(!shared.contains("left behind"), "{shared}");
    let again = "`cocorun test --isolation module --build";
    assert!(shared.contains(again), "{shared}");
    project.run(&["test", "ordered::relies"]).expect_code(1);
}
