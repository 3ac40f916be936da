//! What a run imports comes from the folders of its own `[[test]]`.

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;

const RUNNER: &str = "
[python]
paths = [\"a\", \"b\"]

[build.top]
sources = [\"top.sv\"]
hdl_toplevel = \"top\"

[build.other]
sources = [\"top.sv\"]
hdl_toplevel = \"top\"
defines = { OTHER = 1 }

[[test]]
build = \"top\"
test_module = [\"checks\", \"test_a\"]
paths = [\"a\"]
preload = [\"testbench\"]

[[test]]
build = \"other\"
test_module = \"checks\"
paths = [\"b\"]

[[test]]
build = \"top\"
test_module = \"test_b\"
paths = [\"b\"]
preload = [\"testbench\"]

[[test]]
build = \"top\"
test_module = [\"late\", \"early\"]

[[test]]
build = \"top\"
test_module = [\"tests.hidden\", \"b.checks\", \"stat\", \"hidden_helper\", \"part\"]
paths = [\"b\", \".\"]
";

/// A project in which every folder has a `checks.py` and a `testbench.py`, as blocks of a design do.
fn project(cocotb: &str, top: &str) -> Project {
    let project = Project::with_cocotb(cocotb, "\n");
    let toml = std::fs::read_to_string(project.path("runner.toml")).unwrap();
    let interpreter = toml.lines().find(|it| it.starts_with("interpreter"));
    let runner = RUNNER.replace("[python]", &format!("[python]\n{}", interpreter.unwrap()));
    project.file("runner.toml", &format!("{top}{runner}"));
    project.file(
        "top.sv",
        "module top(input logic d, output logic q); assign q = d; endmodule\n",
    );
    for (folder, fine) in [("a", "True"), ("b", "False")] {
        let checks = format!(
            "import cocotb\n@cocotb.test()\nasync def only_in_{folder}(dut): assert {fine}\n"
        );
        project.file(&format!("{folder}/checks.py"), &checks);
        let name = format!("NAME = '{folder}'\n");
        for helper in ["testbench", "conftest", "lazy"] {
            project.file(&format!("{folder}/{helper}.py"), &name);
        }
        let uses = format!(
            "import cocotb, conftest, testbench\n@cocotb.test()\nasync def own_helpers(dut):\n\
             \x20   import lazy\n\
             \x20   for it in (conftest, testbench, lazy): assert it.NAME == '{folder}', it\n"
        );
        project.file(&format!("{folder}/test_{folder}.py"), &uses);
    }
    let imports = "    try: import testbench\n    except ImportError: pass\n";
    let late = format!("import cocotb\n@cocotb.test()\nasync def imports(dut):\n{imports}");
    project.file("a/late.py", &late);
    project.file("a/early.py", &format!("import testbench\n{late}"));
    // pytest imports it, and from then on searches the project's folder first.
    project
        .file("conftest.py", "NAME = 'top'\n")
        .file("pytest.ini", "");
    project.file("testbench.py", "NAME = 'top'\n");
    // An installed package hides a folder of that name that has no `__init__.py`.
    let passes = "import cocotb\n@cocotb.test()\nasync def passes(dut): pass\n";
    project.file("tests/hidden.py", passes);
    project.file("site/tests/__init__.py", "");
    project.file("site/tests/hidden.py", passes);
    project.file("site/testbench.py", "NAME = 'site'\n");
    // The interpreter has imported its own when it starts.
    project.file("b/stat.py", passes);
    // A helper can be hidden as well, but not in a package that has parts in both places.
    for (module, package) in [("hidden_helper", "common"), ("part", "shared")] {
        let imports = format!("    from {package} import drives\n    assert drives.NAME == 'b'\n");
        let test = format!("import cocotb\n@cocotb.test()\nasync def imports(dut):\n{imports}");
        project.file(&format!("b/{module}.py"), &test);
        project.file(&format!("b/{package}/drives.py"), "NAME = 'b'\n");
        project.file(&format!("site/{package}/other.py"), "");
    }
    project.file("site/common/__init__.py", "");
    project.file("site/common/drives.py", "NAME = 'b'\n");
    project
}

#[test]
fn each_table_imports_from_its_own_folders_and_nothing_ambiguous() {
    for (cocotb, top) in [
        (COCOTB, ""),
        ("1.9.2", "fork = false\nisolation = \"build\"\n"),
    ] {
        let project = project(cocotb, top);
        let mut command = project.command(&["test"]);
        command.env("PYTHONPATH", "site");
        let said = Ran::from(command.output().unwrap()).expect_code(1).text;
        for (outcome, testcase, why) in [
            ("PASS", "top::checks::only_in_a", ""),
            ("FAIL", "other::checks::only_in_b", "assert False"),
            ("FAIL", "top::b.checks::only_in_b", "assert False"),
            ("PASS", "top::test_a::own_helpers", ""),
            ("PASS", "top::test_b::own_helpers", ""),
            (
                "FAIL",
                "top::late::imports",
                "AmbiguousImport: `testbench` could be ",
            ),
            (
                "ERROR",
                "top::early::(module)",
                "AmbiguousImport: `testbench` could be ",
            ),
            (
                "ERROR",
                "top::tests.hidden::(module)",
                " tests/hidden.py is hidden by the package in ",
            ),
            ("ERROR", "top::stat::(module)", "and not from "),
            (
                "FAIL",
                "top::hidden_helper::imports",
                "b/common/drives.py is hidden by the package in ",
            ),
            ("PASS", "top::part::imports", ""),
        ] {
            let is_it = |line: &&str| {
                let line = line.trim_start();
                line.starts_with(outcome) && line.contains(testcase) && line.contains(why)
            };
            assert!(
                said.lines().any(|line| is_it(&line)),
                "{testcase} with {cocotb} {top}: {said}"
            );
        }
        assert!(
            said.contains("4 passed, 4 failed, 3 modules could not run"),
            "{said}"
        );
    }
}
