//! Which folders a `[[test]]` imports from, and names that several files have.

use super::*;

use crate::model::test::ImportPath;

fn project() -> Project {
    let project = Project::new(&[
        "top.sv",
        "a/checks.py",
        "b/checks.py",
        "a/testbench.py",
        "b/testbench.py",
        "a/pkg/__init__.py",
        "b/pkg/__init__.py",
        "a/parts/one.py",
        "a/parts/both.py",
        "b/parts/two.py",
        "b/parts/both.py",
        "a/mixed/inner.py",
        "b/mixed/__init__.py",
        "b/mixed/inner.py",
        "a/compiled.py",
        "a/compiled.cpython-311-x86_64-linux-gnu.so",
        "a/hdl/x.sv",
        "b/hdl/x.sv",
        "a/notes.txt",
        "b/notes.txt",
        "a/only_a.py",
        "b/only_b.py",
        "c/twice.py",
        "c/twice/__init__.py",
        "a/bytecode.py",
        "b/bytecode.pyc",
        "a/sealed/__init__.pyc",
        "b/sealed.py",
    ]);
    for (target, link) in [("a/only_a.py", "b/only_a.py"), ("a/pkg", "c/pkg")] {
        let (target, link) = (project.root.join(target), project.root.join(link));
        fs::link(&target, &link).expect("linked");
    }
    project
}

/// Returns a file with one table, from its keys.
fn text(paths: &str, keys: &str) -> String {
    format!(
        "[python]\npaths = {paths}\n[build.b]\nsources = ['top.sv']\nhdl_toplevel = 'b'\n\
         [[test]]\n{keys}\n"
    )
}

/// Folders, a module, what is ambiguous, its files, and the folder that is suggested.
const AMBIGUOUS: [(&str, &str, &str, &str, &str); 11] = [
    (
        "['a', 'b']",
        "checks",
        "checks",
        "a/checks.py b/checks.py",
        "a",
    ),
    (
        "['b', 'a']",
        "checks",
        "checks",
        "b/checks.py a/checks.py",
        "b",
    ),
    ("['?']", "chec*", "checks", "a/checks.py b/checks.py", "a"),
    (
        "['a', 'b']",
        "pkg",
        "pkg",
        "a/pkg/__init__.py b/pkg/__init__.py",
        "a",
    ),
    (
        "['a', 'b']",
        "pkg.x",
        "pkg",
        "a/pkg/__init__.py b/pkg/__init__.py",
        "a",
    ),
    (
        "['a', 'b']",
        "parts.both",
        "parts.both",
        "a/parts/both.py b/parts/both.py",
        "a",
    ),
    (
        "['a', 'b']",
        "mixed.inner",
        "mixed.inner",
        "a/mixed/inner.py b/mixed/inner.py",
        "a",
    ),
    (
        "['.']",
        "c.twice",
        "c.twice",
        "c/twice/__init__.py c/twice.py",
        "",
    ),
    (
        "['b', 'a']",
        "bytecode",
        "bytecode",
        "b/bytecode.pyc a/bytecode.py",
        "b",
    ),
    (
        "['a', 'b']",
        "sealed",
        "sealed",
        "a/sealed/__init__.pyc b/sealed.py",
        "a",
    ),
    (
        "['c']",
        "twice",
        "twice",
        "c/twice/__init__.py c/twice.py",
        "",
    ),
];

#[test]
fn a_module_that_several_files_have_is_an_error_that_names_them() {
    let project = project();
    for (paths, module, name, files, help) in AMBIGUOUS {
        let keys = format!("test_module = '{module}'");
        let reported = project.reported(&text(paths, &keys));
        let message = format!("module `{name}` is ambiguous: 2 files have this name");
        assert!(
            reported.contains(&message),
            "{module} in {paths}: {reported}"
        );
        let facts = format!("\n  {}\n", files.replace(' ', "\n  "));
        assert!(reported.contains(&facts), "{module} in {paths}: {reported}");
        let help = match help {
            "" => "help: rename one of them\n".to_owned(),
            folder => format!("which folder it means: `paths = [\"{folder}\"]`\n"),
        };
        assert!(reported.ends_with(&help), "{module} in {paths}: {reported}");
    }
}

#[test]
fn the_paths_of_a_test_replace_those_of_python_and_make_its_modules_clear() {
    let project = project();
    let import_path = |keys: &str| -> ImportPath {
        let config = project.fine(&text("['a', 'b']", keys));
        config.tests[0].settings.import_path.clone()
    };
    let own = import_path("test_module = 'checks'\npaths = ['b']");
    assert_eq!(project.names(&own.folders), ["b"]);
    assert!(own.ambiguous.is_empty());
    // What no test module is called may be there, and is an error only where it is imported.
    for module in [
        "only_a",
        "only_b",
        "parts.one",
        "parts.two",
        "compiled",
        "installed",
    ] {
        let shared = import_path(&format!("test_module = '{module}'"));
        assert_eq!(project.names(&shared.folders), ["a", "b"]);
        let names: Vec<&str> = shared.ambiguous.keys().map(String::as_str).collect();
        let expected = [
            "bytecode",
            "checks",
            "mixed.inner",
            "parts.both",
            "pkg",
            "sealed",
            "testbench",
        ];
        assert_eq!(names, expected, "{module}");
    }
    // A link to a module is that module.
    assert!(
        import_path("test_module = 'pkg'\npaths = ['a', 'c']")
            .ambiguous
            .len()
            == 1
    );
    let config = project.fine(&text("['a', 'b']", "test_module = 'chec*'\npaths = ['b']"));
    assert_eq!(config.tests[0].modules[0].0, "checks");
}

#[test]
fn what_would_not_decide_about_imports_is_refused() {
    let project = project();
    project.put("x:y/z.py", "");
    let brief = |keys: &str| project.brief(&text("['a']", keys));
    let expected = "7 bad-value: `PYTHONPATH` is set by cocorun itself (help: use `paths` in this \
                    `[[test]]`)";
    let keys = "env = { PYTHONPATH = 'b' }\ntest_module = 'checks'";
    assert_eq!(brief(keys), [expected]);
    let expected = "8 bad-value: `[ROOT]/x:y` contains `:`, which separates the folders of \
                    `PYTHONPATH` (help: rename the folder, or make a link to it with another name)";
    assert_eq!(brief("test_module = 'z'\npaths = ['x:y']"), [expected]);
}

#[test]
fn tables_that_mean_different_modules_by_one_name_on_one_build_are_reported() {
    let project = project();
    let keys = |paths: &str| format!("test_module = 'checks'\npaths = ['{paths}']");
    let both = format!("{}\n[[test]]\n{}", keys("a"), keys("b"));
    let reported = project.reported(&text("['.']", &both));
    for words in [
        "module `checks` is planned twice on build `b`, by tables with different settings",
        "different: `paths`",
        "help: give each table a `name` of its own if both are to run; or name the modules by their \
         folders, as in `test_module = \"a.test_x\"` with `paths = [\"a\", \".\"]`; or narrow \
         `build`",
    ] {
        assert!(reported.contains(words), "{reported}");
    }
    // The advice works.
    let keys = |name: &str| format!("test_module = '{name}.checks'\npaths = ['{name}', '.']");
    project.fine(&text(
        "['.']",
        &format!("{}\n[[test]]\n{}", keys("a"), keys("b")),
    ));
}

#[test]
fn a_path_as_module_gets_a_name_that_works() {
    let project = Project::fifo();
    project.put("tests/unit/test_a.py", "");
    let help = |paths: &str, module: &str| {
        let text =
            format!("[python]\npaths = [{paths}]\n{BUILD}[[test]]\ntest_module = '{module}'\n");
        let brief = project.brief(&text).join("\n");
        let (_, help) = brief.split_once("(help: ").unwrap_or_default();
        help.trim_end_matches(')').to_owned()
    };
    let own = "write `test_fifo`, and `paths = [\"tests\"]` in this `[[test]]`";
    for (paths, module, expected) in [
        ("'tests'", "tests/test_fifo", "write `test_fifo`"),
        ("'tests'", "./tests/test_fifo.py", "write `test_fifo`"),
        (
            "'.', 'tests'",
            "tests/unit/test_a.py",
            "write `unit.test_a`",
        ),
        ("'tests'", "unit/test_a.py", "write `unit.test_a`"),
        ("'tests'", "test_fifo.py", "write `test_fifo`"),
        ("'.'", "tests/test_fifo", "write `tests.test_fifo`"),
        ("'hdl'", "tests/test_fifo", own),
        ("'tests'", "tests/test_*.py", "write `test_*`"),
    ] {
        assert_eq!(help(paths, module), expected, "{paths} {module}");
    }
}
