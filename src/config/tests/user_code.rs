//! `vpi_libraries`, `gpi_users` and `pygpi_users`.

use super::*;

use crate::model::tool::CocotbVersion;

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
fn gpi_users_are_libraries_with_or_without_a_function() {
    let project = Project::fifo();
    project.put("lib/mine.so", "");
    project.put("lib/a,b.so", "");
    let test = "[[test]]\ntest_module = 'test_fifo'\n";
    let config = project.fine(&format!(
        "{BUILD}{test}gpi_users = ['lib/m*.so,start', 'lib/mine.so']\n"
    ));
    let users = &config.tests[0].settings.gpi_users;
    let functions: Vec<Option<&str>> = users.iter().map(|it| it.function.as_deref()).collect();
    assert_eq!(functions, [Some("start"), None]);
    for user in users {
        assert_eq!(
            project.names(std::slice::from_ref(&user.library)),
            ["lib/mine.so"]
        );
    }
    let (old, new) = (CocotbVersion::parse("2.0.1"), CocotbVersion::parse("2.1.0"));
    let refused = |cocotb: Option<CocotbVersion>| {
        refused_gpi_user(&config.tests[0], &cocotb?).map(|it| to_text(&it, false))
    };
    let said = refused(old).unwrap_or_default();
    let words = "cocotb 2.0.1 cannot load `mine.so` of `gpi_users` without a function\n --> runner.toml:4:1";
    assert!(said.contains(words), "{said}");
    assert_eq!(refused(new), None);
    let no_function = "(help: write `\"FILE,FUNCTION\"`, or `\"FILE\"` for a library without one)";
    check(
        &project,
        &[(
            &format!(
                "BUILD{test}gpi_users = ['lib/mine.so:start', 'lib/mine.so,a b', 'lib/mine.so,', \
                 'lib/mine.so,f', 'lib/mine.so, f', 'lib/a*.so,f', 'lib/mien.so,f']\n"
            ),
            &[
                "6 bad-value: `lib/mine.so:start` does not name a library (help: write \
                 `\"lib/mine.so,start\"`)",
                &format!("6 bad-value: `a b` is not the name of a C function {no_function}"),
                &format!("6 bad-value: `` is not the name of a C function {no_function}"),
                "6 duplicate-name: `lib/mine.so, f` is in `gpi_users` twice",
                "6 bad-value: `[ROOT]/lib/a,b.so` contains `,` or `;` (help: rename the file or \
                 folder, or make a link to it with another name)",
                "6 missing-file: `lib/mien.so` does not exist (help: did you mean `lib/mine.so`?)",
            ],
        )],
    );
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
