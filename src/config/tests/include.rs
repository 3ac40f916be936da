//! Several files in one session, and every mistake in how they are put together.

use super::*;

use crate::model::test::Isolation;

use std::time::Duration;

/// A block whose folder has all that it needs.
const BLOCK: &str = "[build.top]\nsources = ['top.sv']\nhdl_toplevel = 'top'\n\
                     [[test]]\ntest_module = 'test_top'\n";

/// Creates blocks in these folders.
fn blocks(folders: &[&str]) -> Project {
    let project = Project::fifo();
    for folder in folders {
        project.put(&format!("{folder}/top.sv"), "");
        project.put(&format!("{folder}/test_top.py"), "");
        project.put(&format!("{folder}/runner.toml"), BLOCK);
    }
    project
}

fn build_names(config: &RunnerConfig) -> Vec<&str> {
    config.builds.iter().map(|it| it.name.as_str()).collect()
}

/// The builds of each `[[test]]`.
fn selections(config: &RunnerConfig) -> Vec<Vec<&str>> {
    let of = |test: &TestTable| {
        let selection = test.build_selection();
        let all = config.builds.iter().flat_map(|table| &table.variants);
        let names = all
            .map(|it| it.build.name.clone())
            .filter(|it| selection.covers(it));
        names.map(|it| it.0).collect::<Vec<_>>()
    };
    let names = config.tests.iter().map(of).collect::<Vec<_>>();
    let known: Vec<&str> = build_names(config);
    let find = |name: &String| *known.iter().find(|it| *it == name).expect("no variants");
    names
        .iter()
        .map(|it| it.iter().map(find).collect())
        .collect()
}

#[test]
fn every_file_keeps_its_folder_and_its_builds_get_a_prefix() {
    let project = blocks(&["blocks/ram", "blocks/uart", "ip/dma/sim"]);
    let text = format!(
        "include = ['blocks/*/runner.toml', {{ file = 'ip/dma/sim/runner.toml', prefix = 'ip/dma' }}]\n\
         {BUILD}[[test]]\ntest_module = 'tests.test_fifo'\n\
         [[test]]\ntest_module = 'tests.test_ram'\nbuild = ['uart', '*dma*']\n"
    );
    let config = project.fine(&text);
    let names = ["fifo", "ram/top", "uart/top", "ip/dma/top"];
    assert_eq!(build_names(&config), names);
    let places = config.tests.iter().map(|it| it.place.file_and_line());
    let places: Vec<String> = places.skip(1).collect();
    let expected = [
        "runner.toml:7",
        "blocks/ram/runner.toml:4",
        "blocks/uart/runner.toml:4",
        "ip/dma/sim/runner.toml:4",
    ];
    assert_eq!(places, expected);
    let expected: [&[&str]; 5] = [
        &["fifo"],
        &["uart/top", "ip/dma/top"],
        &["ram/top"],
        &["uart/top"],
        &["ip/dma/top"],
    ];
    assert_eq!(selections(&config), expected);
    let folders = ["", "blocks/ram", "blocks/uart", "ip/dma/sim"];
    let of_builds: Vec<Utf8PathBuf> = config
        .builds
        .iter()
        .map(|it| it.variants[0].build.project_dir.clone())
        .collect();
    assert_eq!(project.names(&of_builds), folders);
    let last = &config.tests[4].settings;
    assert_eq!(project.names(&last.import_path.folders), ["ip/dma/sim"]);
    assert_eq!(last.project_dir, project.root.join("ip/dma/sim"));
    let sources = project.source_names(&config.builds[1].variants[0].build.sources);
    assert_eq!(sources, ["blocks/ram/top.sv"]);
    assert_eq!(config.builds[1].variants[0].build.table, "top");
    assert_eq!(config.project_dir, project.root);
}

#[test]
fn settings_of_the_root_are_defaults_and_those_of_the_session_are_its_own() {
    let project = blocks(&["a", "b", "b/c"]);
    project.put(
        "b/runner.toml",
        format!(
            "include = ['*/runner.toml']\ntimeout_s = 7\nbuild_dir = 'own'\njobs = 2\n\
             build_timeout_s = 9\nsimulator = 'icarus'\nsession_timeout_s = 5\n{BLOCK}"
        ),
    );
    project.put("b/own/generated.sv", "");
    let config = project.fine(
        "include = ['?/runner.toml']\ntimeout_s = 3\nisolation = 'module'\nfork = false\njobs = 1\n\
         simulator = 'verilator'\n",
    );
    assert_eq!(build_names(&config), ["a/top", "b/top", "b/c/top"]);
    let timeouts: Vec<Duration> = config.tests.iter().map(|it| it.settings.timeout).collect();
    assert_eq!(timeouts, [3, 7, 7].map(Duration::from_secs));
    for test in &config.tests {
        assert_eq!(test.settings.isolation, Isolation::Module);
        assert!(!test.settings.fork);
    }
    let simulators: Vec<&str> = config
        .builds
        .iter()
        .map(|it| it.variants[0].build.simulator.as_str())
        .collect();
    assert_eq!(simulators, ["verilator", "icarus", "icarus"]);
    assert_eq!(config.build_dir, project.root.join("sim_build"));
    assert_eq!((config.jobs, config.session_timeout), (Some(1), None));
    assert_eq!(config.build_timeout, Duration::from_secs(3600));
}

#[test]
fn settings_of_an_included_file_that_have_no_effect_are_one_warning_each() {
    let project = blocks(&["a", "b"]);
    for (folder, keys) in [
        ("a", "jobs = 1\nbuild_dir = '../sim_build'"),
        (
            "b",
            "jobs = 1\nlock_timeout_s = 9999\nbuild_dir = 'own'\nsession_timeout_s = 60",
        ),
    ] {
        project.put(&format!("{folder}/runner.toml"), format!("{keys}\n{BLOCK}"));
    }
    let config = project.fine("include = ['?/runner.toml']\n");
    let warnings = config.build_problems.of(&[]).expect("only warnings");
    let texts: Vec<String> = warnings.iter().map(|it| to_text(it, false)).collect();
    let expected = [
        "warning[config::include]: `jobs` of an included file has no effect\n \
         --> a/runner.toml:1:8\n  |\n1 | jobs = 1\n  |        ^ used only if the session is \
         started with this file\n  1 more like this: b/runner.toml:1\n\
         help: set it in `runner.toml`, for the whole session\n",
        "warning[config::include]: `lock_timeout_s` of an included file has no effect\n \
         --> b/runner.toml:2:18\n  |\n2 | lock_timeout_s = 9999\n  |                  ^^^^ used only \
         if the session is started with this file\n\
         help: set it in `runner.toml`, for the whole session\n",
        "warning[config::include]: `build_dir` of an included file has no effect\n \
         --> b/runner.toml:3:13\n  |\n3 | build_dir = 'own'\n  |             ^^^^^ used only \
         if the session is started with this file\n\
         help: set it in `runner.toml`, for the whole session\n",
        "warning[config::include]: `session_timeout_s` of an included file has no effect\n \
         --> b/runner.toml:4:21\n  |\n4 | session_timeout_s = 60\n  |                     ^^ used only \
         if the session is started with this file\n\
         help: set it in `runner.toml`, for the whole session\n",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn a_file_gets_the_session_s_python_or_is_refused() {
    let project = blocks(&["a", "b"]);
    project.put(".venv/bin/python", "");
    let python = |interpreter: &str, requirements: &str| {
        format!("[python]\ninterpreter = '{interpreter}'\nrequirements = [{requirements}]\n")
    };
    let put = |folder: &str, python: &str| {
        project.put(&format!("{folder}/runner.toml"), format!("{python}{BLOCK}"));
    };
    put("a", &python("../.venv/bin/python", "'cocotb'"));
    put("b", "[python]\npaths = ['../tests', '.']\n");
    let root = "include = ['?/runner.toml']\n";
    let session = python(".venv/bin/python", "'cocotb', 'numpy'");
    let config = project.fine(&format!("{root}{session}"));
    let folders = &config.tests[1].settings.import_path.folders;
    assert_eq!(project.names(folders), ["b/../tests", "b"]);
    put("b", &python("python3", "'cocotb==2'"));
    let help = |key: &str| {
        format!(
            " (help: a session has one Python environment: set `{key}` in `[python]` of \
             `runner.toml`, or run this file alone)"
        )
    };
    let expected = [
        format!(
            "b/runner.toml:2 include: `interpreter` is not that of `runner.toml`{}",
            help("interpreter")
        ),
        format!(
            "b/runner.toml:3 include: `cocotb==2` is not in `requirements` of `runner.toml`{}",
            help("requirements")
        ),
    ];
    assert_eq!(project.brief(&format!("{root}{session}")), expected);
    assert_eq!(project.brief(root).len(), 3, "nothing is set there");
}

#[test]
fn problems_of_all_files_are_reported_at_once_and_cause_no_others() {
    let project = blocks(&["a", "b", "c", "d"]);
    project.put("a/runner.toml", BLOCK.replace("top.sv", "topp.sv"));
    project.put("b/runner.toml", format!("{BLOCK}build = 'tpo'\nsed = 1\n"));
    project.put("c/runner.toml", BLOCK.replace("sources = [", "sources = "));
    project.put("d/runner.toml", b"\xff");
    let text = format!(
        "include = ['?/runner.toml']\njbos = 1\n{BUILD}[[test]]\nbuild = 'd/top'\ntest_module = 'x'\n"
    );
    let expected = [
        "1 unreadable: cannot read `d/runner.toml`: line 1 is not UTF-8",
        "2 unknown-key: unknown key `jbos` at the top level (help: did you mean `jobs`?)",
        "a/runner.toml:2 missing-file: `topp.sv` does not exist (help: did you mean `top.sv`?)",
        "b/runner.toml:6 unknown-build: no build is called `tpo` (help: did you mean `top`?)",
        "b/runner.toml:7 unknown-key: unknown key `sed` in `[[test]]` (help: did you mean `seed`?)",
        "c/runner.toml:2 syntax: cannot read this as TOML: extra `]`",
    ];
    assert_eq!(project.brief(&text)[..5], expected[..5]);
}

/// The value of `include`, and what is reported; `[ROOT]` is the project.
const MISTAKES: [(&str, &str); 21] = [
    (
        "['blcks/*/runner.toml']",
        "1 empty-glob: `blcks/*/runner.toml` matches no file",
    ),
    (
        "['a/runer.toml']",
        "1 missing-file: `a/runer.toml` does not exist (help: did you mean `a/runner.toml`?)",
    ),
    (
        "['a']",
        "1 bad-value: `a` is a directory, not a file (help: write `a/runner.toml`)",
    ),
    ("['']", "1 bad-value: `include` is empty"),
    (
        "['$NOPE/runner.toml']",
        "1 bad-value: the environment variable `NOPE` is unset or empty",
    ),
    (
        "[1]",
        "1 wrong-type: `include` takes files: strings, or tables with `file` and `prefix`, not an integer",
    ),
    (
        "true",
        "1 wrong-type: `include` takes a list of files, not a boolean",
    ),
    (
        "'a/runner.toml'",
        "1 wrong-type: `include` takes a list of files, not a string (help: write `include = [\"a/runner.toml\"]`)",
    ),
    (
        "[{ prefix = 'x' }]",
        "1 missing-key: `include` is missing `file`",
    ),
    (
        "[{ flie = 'a/runner.toml' }]",
        "1 unknown-key: unknown key `flie` in `include` (help: did you mean `file`?)",
    ),
    (
        "[{ file = 'a/runner.toml', prefix = 'x y' }]",
        "1 bad-value: `x y` is not a valid prefix",
    ),
    (
        "[{ file = 'a/runner.toml', prefix = '../x' }]",
        "1 bad-value: `../x` is not a valid prefix",
    ),
    (
        "['runner.toml']",
        "1 include: `runner.toml` includes itself",
    ),
    (
        "[{ file = 'runner.toml', prefix = 'x' }]",
        "1 include: `runner.toml` includes itself",
    ),
    (
        "['circle/runner.toml']",
        "circle/runner.toml:1 include: `runner.toml` includes itself",
    ),
    (
        "['a/runner.toml', 'x/a/runner.toml']",
        "1 include: two files have the prefix `a` (help: give one of them another prefix: `{ file = \"…\", prefix = \"…\" }`)",
    ),
    (
        "['x/**/runner.toml']",
        "1 include: the prefix `a/b` begins with that of another file, `a` (help: put `{ file = \"x/a/runner.toml\", prefix = \"…\" }` before the pattern)",
    ),
    (
        "['fifo/runner.toml']",
        "1 include: the prefix `fifo` and build `fifo` of this file have one name (help: give one of them another prefix: `{ file = \"…\", prefix = \"…\" }`)",
    ),
    (
        "['a/runner.toml', 'nested/runner.toml']",
        "nested/runner.toml:1 include: `a/runner.toml` is included twice (help: include it in one of the two files only)",
    ),
    (
        "['empty/runner.toml']",
        "empty/runner.toml:1 missing-key: `runner.toml` defines no build (help: add a `[build.NAME]` with `sources` and `hdl_toplevel`)",
    ),
    (
        "['*/nothing.toml']",
        "1 empty-glob: `*/nothing.toml` matches no file",
    ),
];

#[test]
fn every_mistake_with_include_is_one_problem_in_its_place() {
    let project = blocks(&["a", "fifo", "x/a", "x/a/b"]);
    project.put(
        "circle/runner.toml",
        "include = [{ file = '../runner.toml', prefix = 'x' }]\n",
    );
    project.put("nested/runner.toml", "include = ['../a/runner.toml']\n");
    project.put("empty/runner.toml", "");
    for (include, expected) in MISTAKES {
        let text =
            format!("include = {include}\n{BUILD}[[test]]\nbuild = 'a'\ntest_module = 'x'\n");
        assert_eq!(project.brief(&text), [expected], "{include}");
    }
    // The way out that a message names.
    let apart = "include = [{ file = 'x/a/runner.toml', prefix = 'other' }, 'x/**/runner.toml']\n";
    assert_eq!(build_names(&project.fine(apart)), ["other/top", "a/b/top"]);
    let reported = project.reported(&format!("include = ['circle/runner.toml']\n{BUILD}"));
    let way = "`runner.toml` includes `circle/runner.toml` includes `runner.toml`";
    assert!(reported.contains(way), "{reported}");
}

#[test]
fn a_file_named_twice_in_one_list_is_included_once_and_a_pattern_leaves_out_its_own() {
    let project = blocks(&["a", "b"]);
    let link = project.root.join("linked");
    fs::link(Utf8Path::new("a"), &link).expect("linked");
    let config = project.fine(
        "include = [{ file = 'b/runner.toml', prefix = 'first' }, '**/runner.toml', './a/runner.toml']\n",
    );
    assert_eq!(build_names(&config), ["first/top", "a/top"]);
    let again = "include = ['[ab]/runner.toml', { file = 'b/runner.toml', prefix = 'second' }]\n";
    let expected = "1 include: a file is named twice, with the prefixes `b` and `second` (help: remove one of \
                    the two, or put this one before the pattern that also names it)";
    assert_eq!(project.brief(again), [expected]);
    let twice = project.brief("include = ['a/runner.toml', 'linked/runner.toml']\n");
    let expected = "1 include: a file is named twice, with the prefixes `a` and `linked` (help: remove one of \
                    the two, or put this one before the pattern that also names it)";
    assert_eq!(twice, [expected]);
    // A pattern stands for what is not named before, also by a link to its folder.
    assert_eq!(
        build_names(&project.fine("include = ['*/runner.toml']\n")),
        ["a/top", "b/top"]
    );
    let itself = project.brief("include = ['./runner.toml']\n");
    assert_eq!(itself, ["1 include: `runner.toml` includes itself"]);
}

#[test]
fn a_test_without_builds_of_its_own_file_has_to_name_some() {
    let project = blocks(&["a"]);
    let text = "include = ['a/runner.toml']\n[[test]]\ntest_module = 'tests.test_ram'\n";
    let expected = "2 missing-key: this `[[test]]` names no build, and its file defines none (help: \
                    name builds of included files with their prefixes: `build = \"fifo/top\"`)";
    assert_eq!(project.brief(text), [expected]);
    let config = project.fine(&format!("{text}build = '*'\n"));
    assert_eq!(selections(&config), [["a/top"], ["a/top"]]);
    // Its own names only: a build of the root is out of reach.
    project.put("a/runner.toml", format!("{BLOCK}build = 'fifo'\n"));
    let expected = "a/runner.toml:6 unknown-build: no build is called `fifo`";
    let text = format!("include = ['a/runner.toml']\n{BUILD}");
    assert_eq!(project.brief(&text), [expected]);
}
