//! `name`, `variants` and `matrix` of a `[[test]]`.

use super::*;

use crate::model::test::Seed;

fn tests(keys: &str) -> String {
    format!("{BUILD}[[test]]\ntest_module = 'm'\n{keys}")
}

/// Returns each variant as `NAME: ENV PLUSARGS SEED`.
fn variants(keys: &str) -> Vec<String> {
    let config = Project::fifo().fine(&tests(keys));
    let in_words = |table: &TestTable| {
        let settings = &table.settings;
        let name = table.variant.as_ref().map_or("-", |variant| &variant.0);
        let env = settings.env.iter();
        let env: Vec<String> = env
            .map(|(name, value)| format!(" {name}={value}"))
            .collect();
        let plusargs = settings.plusargs.iter();
        let plusargs: Vec<String> = plusargs.map(|it| format!(" {it}")).collect();
        let seed = settings.seed.map(|Seed(seed)| format!(" {seed}"));
        let seed = seed.unwrap_or_default();
        format!("{name}:{}{}{seed}", env.concat(), plusargs.concat())
    };
    config.tests.iter().map(in_words).collect()
}

#[test]
fn a_matrix_multiplies_environment_plusargs_and_seeds() {
    let expected = ["-: K=1 +a +size=3 5"];
    let keys = "env = { K = 1 }\nplusargs = ['a', 'size=3']\nseed = 5\n";
    assert_eq!(variants(keys), expected);
    let expected = [
        "MODE=fast/size=1/seed=1: K=1 MODE=fast +a +size=1 1",
        "MODE=fast/size=1/seed=2: K=1 MODE=fast +a +size=1 2",
        "MODE=slow/size=1/seed=1: K=1 MODE=slow +a +size=1 1",
        "MODE=slow/size=1/seed=2: K=1 MODE=slow +a +size=1 2",
    ];
    let rest = "env = { K = 1 }\nplusargs = ['a']\n";
    let inline = "matrix = { env = { MODE = ['fast', 'slow'] }, plusargs = { size = [1] }, \
                  seed = [1, 2] }\n";
    let dotted = "matrix.env.MODE = ['fast', 'slow']\nmatrix.plusargs.size = [1]\n\
                  matrix.seed = [1, 2]\n";
    let headers = "[test.matrix]\nseed = [1, 2]\n[test.matrix.env]\nMODE = ['fast', 'slow']\n\
                   [test.matrix.plusargs]\nsize = [1]\n";
    for matrix in [inline, dotted, headers] {
        assert_eq!(variants(&format!("{rest}{matrix}")), expected, "{matrix}");
    }
}

#[test]
fn variants_are_named_by_their_values_or_by_their_keys() {
    let list = "name = 'n'\nvariants = [{ env = { M = 'a b' }, plusargs = ['p', '+q=1'] }, \
                { plusargs = { q = 2, p = '' }, env = { M = 'c' } }]\n";
    let expected = ["n/M=a-b/p/q=1: M=a b +p +q=1", "n/M=c/q=2/p: M=c +q=2 +p"];
    assert_eq!(variants(list), expected);
    let named = "seed = 3\n[test.variants.fast]\nenv.M = 1\n[test.variants.slow]\nseed = 4\n\
                 plusargs = ['slow']\n[test.variants.plain]\n";
    let expected = ["fast: M=1 3", "slow: +slow 4", "plain: 3"];
    assert_eq!(variants(named), expected);
    let both = "variants.x.seed = 1\nvariants.y.seed = 2\nmatrix.env.M = [1, 2]\n";
    let expected = [
        "x/M=1: M=1 1",
        "x/M=2: M=2 1",
        "y/M=1: M=1 2",
        "y/M=2: M=2 2",
    ];
    assert_eq!(variants(both), expected);
    assert_eq!(variants("name = 'only'\n"), ["only:"]);
}

#[test]
fn tables_with_different_variants_may_plan_one_module() {
    let two = "[[test]]\ntest_module = 'm'\nseed = 2\n";
    let project = Project::fifo();
    let text = |one: &str, other: &str| format!("{}{two}{other}", tests(one));
    for (one, other) in [
        ("name = 'a'\n", "name = 'b'\n"),
        ("", "name = 'b'\n"),
        ("name = 'a'\n", ""),
        ("matrix.env.M = [1, 2]\n", "matrix.env.M = [3]\n"),
    ] {
        project.fine(&text(one, other));
    }
    for (one, other, module) in [
        ("name = 'a'\n", "name = 'a'\n", "m/a"),
        (
            "matrix.env.M = [1, 2]\n",
            "matrix.env.M = [3, 2]\n",
            "m/M=2",
        ),
    ] {
        let words = format!(
            "7 duplicate-name: module `{module}` is planned twice on build `fifo`, by tables with \
             different settings (help: give each table a `name` of its own if both are to run, or \
             narrow `build`, `test_module` or the testcases of both (`testcase`, `skip_testcase`))"
        );
        assert_eq!(project.brief(&text(one, other)), [words]);
    }
}

#[track_caller]
fn check(keys: &str, expected: &[&str]) {
    assert_eq!(Project::fifo().brief(&tests(keys)), expected, "{keys}");
}

#[test]
fn mistakes_in_names_and_types_of_variants_are_reported_at_once() {
    check(
        "name = ''\nvariants = []\nmatrix = {}\n",
        &[
            "6 bad-value: `name` is empty",
            "7 bad-value: `variants` is an empty list",
            "8 bad-value: `matrix` is empty",
        ],
    );
    let long = "n".repeat(41);
    let help = "(help: a name consists of letters, digits, `_`, `-` and `.`, at most 40)";
    check(
        &format!("name = '{long}'\n[test.variants.'a/b']\n[test.variants.c]\nseeds = 1\n"),
        &[
            &format!("6 bad-value: `{long}` is not a valid name of a test {help}"),
            &format!("7 bad-value: `a/b` is not a valid name of a test {help}"),
            "9 unknown-key: unknown key `seeds` in `variants.c` (help: did you mean `seed`?)",
        ],
    );
    check(
        "variants = 3\nmatrix = [1]\nname = ['a']\n",
        &[
            "6 wrong-type: `variants` takes a list of tables, or tables with names, not an integer",
            "7 wrong-type: `matrix` takes a table, not a list",
            "8 wrong-type: `name` takes a string, not a list",
        ],
    );
}

#[test]
fn mistakes_in_values_of_variants_are_reported_at_once() {
    check(
        "seed = 1\nenv = { M = 1 }\nplusargs = ['p']\n[test.matrix]\nseed = [2]\nWIDTH = [1]\n\
         env = { M = [1], N = 2, O = [], MODULE = ['x'], 'A=' = [1] }\n\
         plusargs = { p = [1], 'q=1' = [1], r = [true] }\n",
        &[
            "10 bad-value: `seed` is both in `matrix` and outside of it (help: keep one of the two)",
            "11 unknown-key: unknown key `WIDTH` in `matrix` (help: known keys: `env`, `plusargs` and \
             `seed`)",
            "12 bad-value: `env.M` is both in `matrix` and outside of it (help: keep one of the two)",
            "12 wrong-type: `env.N` takes a list of values, not an integer",
            "12 bad-value: `env.O` is an empty list",
            "12 bad-value: `MODULE` is set by cocorun itself (help: use `test_module`, or `--module` on the command line)",
            "12 bad-value: `A=` is not a variable name",
            "13 bad-value: `plusargs.p` is both in `matrix` and outside of it (help: keep one of the \
             two)",
            "13 bad-value: invalid name of a plusarg, `q=1`",
            "13 wrong-type: `plusargs.r` takes a string or an integer, not a boolean",
        ],
    );
    check(
        "variants = [{ seed = 1, env.M = 1 }, { seed = 2, plusargs = ['=x', 'p'] }, {}, 4]\n\
         matrix.seed = [-1, 4294967296]\n",
        &[
            "6 bad-value: this variant has other keys than the first one (help: give all of them the \
             same keys, or each a name: `[test.variants.NAME]`)",
            "6 bad-value: invalid plusarg `=x` (help: write `\"name\"` or `\"name=value\"`)",
            "6 bad-value: this variant sets nothing",
            "6 wrong-type: `variants` takes a table, not an integer",
            // For both values: equal problems are reported once.
            "7 bad-value: `seed` takes an integer from 0 to 4294967295",
        ],
    );
    check(
        "variants = [{ seed = 1 }]\nmatrix = { seed = [2], env.M = ['a b', 'a-b'] }\n",
        &[
            "7 duplicate-name: two variants of this `[[test]]` have the same name, \
             `seed=1/M=a-b/seed=2` (help: give each variant a name: `[test.variants.NAME]`)",
            "7 bad-value: `seed` is in both `matrix` and `variants` (help: keep one of the two)",
        ],
    );
    let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    let many = many.join(", ");
    check(
        &format!("matrix = {{ env.M = [{many}], seed = [{many}] }}\n"),
        &["6 bad-value: this `[[test]]` has more than 10000 variants"],
    );
    let seeds = |count: usize| {
        let seeds: Vec<String> = (0..count).map(|it| format!("{{ seed = {it} }}")).collect();
        format!("variants = [{}]\n", seeds.join(", "))
    };
    check(
        &seeds(10_001),
        &["6 bad-value: this `[[test]]` has more than 10000 variants"],
    );
    let modules: Vec<String> = (0..101).map(|it| format!("'m{it}'")).collect();
    let modules = format!("test_module = [{}]\n", modules.join(", "));
    let text = format!("{BUILD}[[test]]\n{modules}{}", seeds(10_000));
    let expected = "4 bad-value: this `[[test]]` plans more than 1000000 modules";
    assert_eq!(Project::fifo().brief(&text), [expected]);
    let reported = Project::fifo().reported(&tests(
        "variants = [{ seed = 1, env.M = 1 }, { seed = 2, plusargs = ['p'] }]\n",
    ));
    assert!(
        reported.contains("\n  missing: `env.M`\n  only here: `plusargs.p`\n"),
        "{reported}"
    );
}

#[test]
fn tables_that_differ_only_in_what_their_variants_set_are_said_to_differ_in_that() {
    let text = tests("name = 'fast'\nenv = { A = '1' }\n");
    let other = "[[test]]\ntest_module = 'm'\n[test.variants.fast]\nenv = { A = '1' }\n";
    let reported = Project::fifo().reported(&format!("{text}{other}"));
    let words = "\n  different: what `variants` or `matrix` sets\n";
    assert!(reported.contains(words), "{reported}");
}

#[test]
fn testcases_are_selected_by_names_their_beginnings_and_patterns() {
    let text = tests("testcase = ['grants', 'r?m_*']\nskip_testcase = 'grants/x=2'\n");
    let config = Project::fifo().fine(&text);
    let names = &config.tests[0].testcases;
    for (testcase, is_selected) in [
        ("grants", true),
        ("grants/x=1", true),
        ("grants/x=2", false),
        ("grants/x=2/y=1", false),
        ("grants/x=20", true),
        ("grants_all", false),
        ("ram_1", true),
        ("a_ram_1", false),
    ] {
        assert_eq!(names.selects(testcase), is_selected, "{testcase}");
    }
}

#[test]
fn mistakes_in_names_of_testcases_are_reported_at_once() {
    check(
        "testcase = []\nskip_testcase = ['', 'b::m::t', 'a[b', 3]\ntestcases = ['a']\n",
        &[
            "6 bad-value: `testcase` is an empty list",
            "7 bad-value: `skip_testcase` is empty",
            "7 bad-value: `b::m::t` is not the name of a testcase (help: write only what follows the \
             last `::`)",
            "7 bad-value: invalid pattern `a[b`: a `[` is never closed (help: `*` is any text, `?` one \
             character, `[…]` one of several)",
            "7 wrong-type: `skip_testcase` takes a string, not an integer",
            "8 unknown-key: unknown key `testcases` in `[[test]]` (help: did you mean `testcase`?)",
        ],
    );
    let two = "[[test]]\ntest_module = 'm'\nseed = 2\n";
    let project = Project::fifo();
    let both = |one: &str, other: &str| format!("{}{two}{other}", tests(one));
    project.fine(&both("testcase = 'a'\n", "skip_testcase = 'a'\n"));
    let reported = project.brief(&both("testcase = 'a'\n", ""));
    assert_eq!(reported.len(), 1, "{reported:?}");
    assert!(reported[0].contains("planned twice"), "{reported:?}");
}

#[test]
fn a_working_directory_is_that_of_the_run_the_project_or_each_module() {
    let project = Project::fifo();
    project.put("tests/sub/__init__.py", "");
    let folders = |cwd: &str| -> Vec<String> {
        let text = format!(
            "{BUILD}[[test]]\ntest_module = ['test_ram', 'sub', 'test_fifo']\npaths = ['tests']\n\
             cwd = '{cwd}'\n"
        );
        let tests = project.fine(&text).tests;
        let cwd = tests.iter().map(|table| table.settings.cwd.clone());
        let cwd: Vec<Utf8PathBuf> = cwd.map(Option::unwrap_or_default).collect();
        project.names(&cwd)
    };
    assert_eq!(folders("run"), [""]);
    assert_eq!(folders("project"), [""]);
    assert_eq!(folders("module"), ["tests", "tests/sub"]);
    let config = project.fine(&tests("cwd = 'project'\n"));
    assert_eq!(config.tests[0].settings.cwd.as_ref(), Some(&project.root));
    check(
        "cwd = 'tests'\n",
        &[
            "6 bad-value: invalid working directory `tests` (help: write `\"run\"`, `\"project\"` or \
         `\"module\"`)",
        ],
    );
    check(
        "cwd = 'module'\nrun_files = ['hdl/fifo.sv']\n",
        &[
            "6 bad-value: `cwd = \"module\"`: there is no file of module `m` in `paths` (help: add its \
         folder to `paths`, or write `cwd = \"project\"`)",
            "7 bad-value: `run_files` has no use with `cwd = \"module\"` (help: they are linked into each \
         run's own directory, where the design does not look then)",
        ],
    );
}
