//! `vpi_libraries` and `pygpi_users`.

use super::*;

#[test]
fn libraries_are_files_of_the_project_in_their_order() {
    let project = Project::fifo();
    project.put("lib/b.vpi", "");
    project.put("lib/a.vpi", "");
    let config = project.fine(&format!(
        "{BUILD}[[test]]\ntest_module = 'test_fifo'\nvpi_libraries = ['lib/b.vpi', 'lib/*.vpi']\n\
         pygpi_users = ['hooks:start', 'a.b:C.start']\n"
    ));
    let settings = &config.tests[0].settings;
    assert_eq!(
        project.names(&settings.vpi_libraries),
        ["lib/b.vpi", "lib/a.vpi"]
    );
    assert_eq!(settings.pygpi_users, ["hooks:start", "a.b:C.start"]);
}

#[test]
fn libraries_that_cannot_be_loaded_and_names_of_no_function_are_refused() {
    let project = Project::fifo();
    project.put("lib/mine.vpi", "");
    let on_both = format!("{BUILD}simulator = ['icarus', 'verilator']\n");
    let test = "[[test]]\ntest_module = 'test_fifo'\n";
    let verilator = "`vpi_libraries` cannot be loaded: a model of Verilator loads no VPI libraries, \
                     and knows no system tasks of users (help: use DPI: list the C++ file in \
                     `sources` and declare its functions with `import \"DPI-C\"`; or name only \
                     builds of other simulators in `build`)";
    let function = "does not name a Python function (help: write `\"package.module:function\"`)";
    check(
        &project,
        &[
            (
                &format!(
                    "BUILD{test}vpi_libraries = ['lib/mine.vpo', 'lib', '', 'lib/*.so', 3]\n\
                     vpi_library = 'lib/mine.vpi'\n"
                ),
                &[
                    "6 missing-file: `lib/mine.vpo` does not exist (help: did you mean `lib/mine.vpi`?)",
                    "6 bad-value: `lib` is a directory, not a file",
                    "6 bad-value: a path is empty",
                    "6 empty-glob: `lib/*.so` matches no file",
                    "6 wrong-type: `vpi_libraries` takes a list of strings, not an integer",
                    "7 unknown-key: unknown key `vpi_library` in `[[test]]` (help: did you mean \
                     `vpi_libraries`?)",
                ],
            ),
            (
                &format!(
                    "BUILD{test}pygpi_users = ['hooks', 'a:b:c', '3a:b', 'cocotb._init:x', 'a:b', 'a:b']\n"
                ),
                &[
                    &format!("6 bad-value: `hooks` {function}"),
                    &format!("6 bad-value: `a:b:c` {function}"),
                    &format!("6 bad-value: `3a:b` {function}"),
                    "6 bad-value: `cocotb._init:x` is an entry point of cocotb itself (help: remove it: \
                     those of `pygpi_users` are called in addition to cocotb's own)",
                    "6 duplicate-name: `a:b` is in `pygpi_users` twice",
                ],
            ),
            (
                &format!("{on_both}{test}vpi_libraries = ['lib/mine.vpi']\n"),
                &[&format!("7 bad-value: {verilator}")],
            ),
        ],
    );
    project.fine(&format!(
        "{on_both}{test}build = '*@icarus'\nvpi_libraries = ['lib/mine.vpi']\n"
    ));
}

#[test]
fn tables_that_differ_in_their_code_are_different() {
    let project = Project::fifo();
    project.put("lib/mine.vpi", "");
    let test = "[[test]]\ntest_module = 'test_fifo'\n";
    let said = project.reported(&format!(
        "{BUILD}{test}{test}vpi_libraries = ['lib/mine.vpi']\npygpi_users = ['a:b']\n"
    ));
    let different = "different: `vpi_libraries`, `pygpi_users`";
    assert!(said.contains(different), "{said}");
}
