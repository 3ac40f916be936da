//! The messages for every mistake.

use super::*;

#[test]
fn all_problems_are_reported_at_once_in_their_places() {
    let text = r#"simulator = verilater
jbos = 4
build_dir = "$NOPE/sim"

[build.fifo]
sources = ["hdl/fifoo.sv", "hdl/*.vhd", 4]
hdl_toplevel = "fifo"
timescale = "1ps/1ns"

[[test]]
test_module = "test_nothing_*"
timeout_s = 0
"#;
    let expected = r#"error[config::syntax]: `verilater` is not a value
 --> runner.toml:1:13
  |
1 | simulator = verilater
  |             ^^^^^^^^^ strings need quotes
help: write `"verilater"`
error[config::unknown-key]: unknown key `jbos` at the top level
 --> runner.toml:2:1
  |
2 | jbos = 4
  | ^^^^
help: did you mean `jobs`?
error[config::bad-value]: the environment variable `NOPE` is unset or empty
 --> runner.toml:3:13
  |
3 | build_dir = "$NOPE/sim"
  |             ^^^^^^^^^^^
error[config::missing-file]: `hdl/fifoo.sv` does not exist
 --> runner.toml:6:12
  |
6 | sources = ["hdl/fifoo.sv", "hdl/*.vhd", 4]
  |            ^^^^^^^^^^^^^^
help: did you mean `hdl/fifo.sv`?
error[config::empty-glob]: `hdl/*.vhd` matches no file
 --> runner.toml:6:28
  |
6 | sources = ["hdl/fifoo.sv", "hdl/*.vhd", 4]
  |                            ^^^^^^^^^^^
  looked in `[ROOT]/hdl`
error[config::wrong-type]: `sources` takes a list of strings, not an integer
 --> runner.toml:6:41
  |
6 | sources = ["hdl/fifoo.sv", "hdl/*.vhd", 4]
  |                                         ^ an integer
error[config::bad-value]: the precision `1ns` is coarser than the unit `1ps`
 --> runner.toml:8:13
  |
8 | timescale = "1ps/1ns"
  |             ^^^^^^^^^
help: write it as `"1ns/1ps"`
error[config::empty-glob]: `test_nothing_*` matches no Python module
  --> runner.toml:11:15
   |
11 | test_module = "test_nothing_*"
   |               ^^^^^^^^^^^^^^^^
  looked in `[ROOT]` (`paths`)
error[config::bad-value]: `timeout_s` takes seconds, from 0.001 to 1000000000
  --> runner.toml:12:13
   |
12 | timeout_s = 0
   |             ^
"#;
    assert_eq!(Project::fifo().reported(text), expected);
}

#[test]
fn tables_that_plan_a_module_differently_are_reported_with_both_lines() {
    let text = format!(
        "{BUILD}[[test]]\ntest_module = ['a', 'b']\n\
         [[test]]\ntest_module = ['b', 'a']\nseed = 1\n"
    );
    let expected = "\
error[config::duplicate-name]: module `b` is planned twice on build `fifo`, by tables with different settings
 --> runner.toml:6:1
  |
6 | [[test]]
  | ^^^^^^^^ planned again here
  first at runner.toml:4
  different: `seed`
  1 more like this
help: give each table a `name` of its own if both are to run, or narrow `build`, `test_module` or the testcases of both (`testcase`, `skip_testcase`)
";
    assert_eq!(Project::fifo().reported(&text), expected);
}

#[test]
fn a_build_that_is_defined_twice_is_one_problem() {
    let expected = "\
error[config::duplicate-name]: build `fifo` is defined twice
 --> runner.toml:4:8
  |
4 | [build.fifo]
  |        ^^^^ again here
  first at runner.toml:1
";
    assert_eq!(Project::fifo().reported(&BUILD.repeat(2)), expected);
}

#[test]
fn keys_of_a_repeated_table_are_not_problems_but_those_after_it_are() {
    let text = format!("{}[python]\npaths = []\npaths = []\n", BUILD.repeat(2));
    let reported = Project::fifo().brief(&text);
    let expected = [
        "4 duplicate-name: build `fifo` is defined twice",
        "9 syntax: `paths` is defined twice",
    ];
    assert_eq!(reported, expected);
}

#[test]
fn a_list_that_is_never_closed_is_one_problem() {
    let text = "[build.b]\nsources = [\"hdl/fifo.sv\"\nhdl_toplevel = \"x\"\n[[test]]\nbuild=1\n";
    let expected = "\
error[config::syntax]: the value of `sources` is never closed
 --> runner.toml:2:11
  |
2 | sources = [\"hdl/fifo.sv\"
  |           ^ opened here
";
    assert_eq!(Project::fifo().reported(text), expected);
}

#[test]
fn syntax_errors_are_reported_without_their_consequences() {
    check(
        &Project::fifo(),
        &[
            (
                "simulator = yes\njobs: 4\na b = 1\n[build.b]\nwaves = True\n",
                &[
                    "1 syntax: `yes` is not a value (help: write `true`)",
                    "2 syntax: a key has no value",
                    "5 syntax: `True` is not a value (help: write `true`)",
                ],
            ),
            (
                "simulator\nsources: [\n 'a',\n 'b',\n]\njbos = 1\n",
                &[
                    "1 syntax: a key has no value",
                    "6 unknown-key: unknown key `jbos` at the top level (help: did you mean `jobs`?)",
                ],
            ),
            (
                "simulator = 'icarus\njbos = 1\n",
                &[
                    "1 syntax: a string is never closed",
                    "2 unknown-key: unknown key `jbos` at the top level (help: did you mean `jobs`?)",
                ],
            ),
            (
                "jobs = 1\njobs = 2\n",
                &["2 syntax: `jobs` is defined twice"],
            ),
            (
                "[build.b\nsources = 4\n",
                &["1 syntax: cannot read this as TOML: unclosed table, expected `]`"],
            ),
            (
                "[build.b]\nsources = [hdl/a.sv,\n b.sv]\n",
                &[
                    "2 syntax: `hdl/a.sv` is not a value (help: write `\"hdl/a.sv\"`)",
                    "3 syntax: `b.sv` is not a value (help: write `\"b.sv\"`)",
                ],
            ),
            (
                "[build.b.matrix]\nA = [1, x]\n[build.b]\nenv = { B = y }\nsources = 4\n",
                &[
                    "2 syntax: `x` is not a value (help: write `\"x\"`)",
                    "4 syntax: `y` is not a value (help: write `\"y\"`)",
                    "5 wrong-type: `sources` takes a list of strings, not an integer",
                ],
            ),
            (
                "[[test]]\n[test]\n",
                &["2 syntax: `test` is defined twice (help: write `[[test]]`, with two brackets)"],
            ),
        ],
    );
}

#[test]
fn tables_of_the_wrong_shape_are_reported_with_the_right_one() {
    check(
        &Project::fifo(),
        &[
            (
                "",
                &[
                    "1 missing-key: `runner.toml` defines no build (help: add a `[build.NAME]` with \
             `sources` and `hdl_toplevel`)",
                ],
            ),
            (
                "[[build]]\n[test]\n",
                &[
                    "1 wrong-type: `build` takes tables, one for each build, not a list (help: give each \
             build a name: `[build.NAME]`)",
                    "2 wrong-type: `test` takes a list of tables, not a table (help: write `[[test]]`, \
             with two brackets)",
                ],
            ),
            (
                "[build]\nsources = ['a']\n",
                &[
                    "2 wrong-type: `build.sources` takes a table, not a list (help: give each build a name: \
             `[build.NAME]`)",
                ],
            ),
            (
                "[build]\n",
                &[
                    "1 missing-key: `[build]` defines no build (help: give each build a name: \
             `[build.NAME]`)",
                ],
            ),
            (
                "build.b = 4\ntest = ['x']\npython = 'python3'\n",
                &[
                    "1 wrong-type: `build.b` takes a table, not an integer (help: write `[build.b]`)",
                    "2 wrong-type: `test` takes a table, not a string",
                    "3 wrong-type: `python` takes a table, not a string",
                ],
            ),
            (
                "[build.'a b']\n",
                &[
                    "1 missing-key: `[build.a b]` is missing `sources`",
                    "1 missing-key: `[build.a b]` is missing `hdl_toplevel`",
                    "1 bad-value: `a b` is not a valid build name (help: a name consists of letters, digits, \
             `_`, `-` and `.`)",
                ],
            ),
        ],
    );
}

#[test]
fn unknown_keys_are_reported_with_a_suggestion() {
    check(
        &Project::fifo(),
        &[
            (
                "BUILD[build.fifo.icarus]\nbuild_arg = []\n[build.b]\ncolour = 1\n",
                &[
                    "5 unknown-key: unknown key `build_arg` in `[build.fifo.icarus]` (help: did you mean \
             `build_args`?)",
                    "6 missing-key: `[build.b]` is missing `sources`",
                    "6 missing-key: `[build.b]` is missing `hdl_toplevel`",
                    "7 unknown-key: unknown key `colour` in `[build.b]` (help: known keys: `build_args`, \
             `defines`, `env`, `exclude`, `extra_toplevels`, `hdl_toplevel`, `icarus`, `include`, \
             `includes`, `matrix`, `needs`, `parameters`, `prepare`, `prepare_inputs`, `simulator`, \
             `sources`, `timescale`, \
             `unknown_parameters`, `variables`, `variants`, `verilator` and `waves`)",
                ],
            ),
            (
                "sources = ['a']\ntimeout = 4\nBUILD",
                &[
                    "1 unknown-key: unknown key `sources` at the top level (help: `sources` belongs in \
             `[build.NAME]`)",
                    "2 unknown-key: unknown key `timeout` at the top level (help: did you mean \
             `timeout_s`?)",
                ],
            ),
        ],
    );
}

#[test]
fn bad_values_of_the_top_level_and_python_are_reported() {
    check(
        &Project::fifo(),
        &[
            (
                "jobs = 0\ntimeout_s = 'x'\nlock_timeout_s = inf\nbuild_timeout_s = 1e10\n\
          isolation = 'none'\nsession_timeout_s = nan\nBUILD",
                &[
                    "1 bad-value: `jobs` takes an integer from 1 to 4096",
                    "2 wrong-type: `timeout_s` takes a number of seconds, not a string",
                    "3 bad-value: `lock_timeout_s` takes seconds, from 0.001 to 1000000000",
                    "4 bad-value: `build_timeout_s` takes seconds, from 0.001 to 1000000000",
                    "5 bad-value: invalid isolation `none`",
                    "6 bad-value: `session_timeout_s` takes seconds, from 0.001 to 1000000000",
                ],
            ),
            (
                "simulator = ['icarus', 'iverilog', 'vcs', 'icarus']\nBUILD",
                &[
                    "1 unknown-simulator: unknown simulator `iverilog` (help: did you mean `icarus`?)",
                    "1 unknown-simulator: unknown simulator `vcs`",
                    "1 bad-value: `simulator` names `icarus` twice",
                ],
            ),
            (
                "simulator = []\nbuild_dir = 'hdl/..'\nBUILD",
                &[
                    "1 bad-value: `simulator` is an empty list",
                    "2 bad-value: `build_dir` is the project's own folder or one above it, \
             `[ROOT]/hdl/..`",
                ],
            ),
            (
                "build_dir = '${A'\nBUILD",
                &["1 bad-value: `${A` opens a bracket that is never closed"],
            ),
            (
                "build_dir = ' '\nBUILD",
                &["1 bad-value: `build_dir` is empty"],
            ),
            (
                "[python]\ninterpreter = ''\npaths = ['test', 'hdl/fifo.sv']\n\
          requirements = ['-r x', '']\nBUILD",
                &[
                    "2 bad-value: a path is empty",
                    "3 missing-file: `test` does not exist (help: did you mean `tests`?)",
                    "3 bad-value: `hdl/fifo.sv` is a file, not a directory",
                    "4 bad-value: invalid requirement `-r x` (help: write one package each, such as \
             `\"cocotb==2.1.0\"`)",
                    "4 bad-value: invalid requirement `` (help: write one package each, such as \
             `\"cocotb==2.1.0\"`)",
                ],
            ),
        ],
    );
}

#[test]
fn bad_values_of_a_build_are_reported() {
    check(
        &Project::fifo(),
        &[
            (
                "[build.b]\nsources = []\nhdl_toplevel = ''\nbuild_args = '-Wall'\n\
          includes = ['inc']\n",
                &[
                    "2 bad-value: `sources` of `[build.b]` is empty",
                    "3 bad-value: `hdl_toplevel` is empty",
                    "4 wrong-type: `build_args` takes a list of strings, not a string (help: write \
             `[\"-Wall\"]`)",
                    "5 missing-file: the include folder `inc` does not exist",
                ],
            ),
            (
                "BUILDdefines = { '1A' = 1, B = inf, C = [1] }\n\
          parameters = { D = 9223372036854775808 }\nwaves = 1\n\
          build_args = ['a', 1, \"\\u0000\"]\n",
                &[
                    "4 bad-value: `1A` is not an HDL identifier",
                    "4 bad-value: `defines.B` is not a finite number",
                    "4 wrong-type: `defines.C` takes a number, a boolean, a string or `{ sv = \"…\" }`, not \
             a list",
                    "5 bad-value: `parameters.D` takes an integer from -9223372036854775808 to \
             9223372036854775807",
                    "6 wrong-type: `waves` takes `true` or `false`, not an integer",
                    "7 wrong-type: `build_args` takes a list of strings, not an integer",
                    "7 bad-value: `build_args` contains a NUL character",
                ],
            ),
            (
                "BUILDparameters = { A = 1 }\n[build.fifo.matrix]\nA = [1]\nB = 2\nC = []\n\
          D = [1, '1']\nE = ['a b', 'a/b']\nF = [2, 2.0, 2.00]\n",
                &[
                    "6 bad-value: `A` is in both `matrix` and `parameters` (help: keep one of the two)",
                    "7 wrong-type: `matrix.B` takes a list of values, not an integer",
                    "8 bad-value: `matrix.C` is an empty list",
                    "9 duplicate-name: two values of `matrix.D` give builds the same name, `fifo/D=1`",
                    "9 bad-value: `matrix.D` is the string `1`, not a number (help: write `1` without \
             quotes; or `{ sv = '\"1\"' }` if it is a string)",
                    "10 duplicate-name: two values of `matrix.E` give builds the same name, `fifo/E=a-b`",
                    "11 duplicate-name: two values of `matrix.F` give builds the same name, `fifo/F=2.0`",
                ],
            ),
        ],
    );
}

#[test]
fn bad_timescales_variables_and_paths_are_reported() {
    check(
        &Project::fifo(),
        &[
            (
                "BUILDtimescale = '1ns'\n[build.b]\nsources = ['hdl/fifo.sv']\nhdl_toplevel = 'b c'\n\
          timescale = '1ns/5ps'\n[build.c]\nsources = ['hdl/fifo.sv']\nhdl_toplevel = '-c'\n\
          timescale = '1ns/10ns'\n",
                &[
                    "4 bad-value: invalid timescale `1ns`: it has no `/` (help: write it as `\"1ns/1ps\"`)",
                    "7 bad-value: `b c` is not a module name",
                    "8 bad-value: invalid timescale unit `5ps`: expected 1, 10 or 100, then s, ms, us, ns, ps or \
             fs (help: write it as `\"1ns/1ps\"`)",
                    "11 bad-value: `-c` is not a module name",
                    "12 bad-value: the precision `10ns` is coarser than the unit `1ns` (help: write it as \
             `\"1ns/1ps\"`)",
                ],
            ),
            (
                "BUILDenv = { 'A=B' = 'x', C = true, D = 1.0 }\n",
                &[
                    "4 bad-value: `A=B` is not a variable name",
                    "4 wrong-type: `env.C` takes a string or an integer, not a boolean",
                    "4 wrong-type: `env.D` takes a string or an integer, not a float",
                ],
            ),
            (
                "[build.b]\nsources = ['hdl/[', '$NOPE/a.sv', '', 'hdl', 'x/y.sv', 'ram.sv']\n\
          hdl_toplevel = 'b'\n",
                &[
                    "2 bad-value: invalid pattern `hdl/[`: unclosed character class; missing ']'",
                    "2 bad-value: the environment variable `NOPE` is unset or empty",
                    "2 bad-value: a path is empty",
                    "2 bad-value: `hdl` is a directory, not a file",
                    "2 missing-file: `x/y.sv` does not exist",
                    "2 missing-file: `ram.sv` does not exist",
                ],
            ),
        ],
    );
}

#[test]
fn a_matrix_with_too_many_builds_is_rejected_and_not_expanded() {
    let values: Vec<String> = (0..100).map(|value| value.to_string()).collect();
    let values = values.join(",");
    let lists: Vec<String> = (0..40)
        .map(|key| format!("K{key} = [{values}]\n"))
        .collect();
    let text = format!("{BUILD}[build.fifo.matrix]\n{}", lists.concat());
    let reported = Project::fifo().brief(&text);
    let expected = "4 bad-value: the matrix of `[build.fifo]` makes more than 10000 builds";
    assert_eq!(reported, [expected]);
}

#[test]
fn bad_values_of_a_test_are_reported() {
    let project = Project::fifo();
    project.put("copy/fifo.sv", "");
    check(
        &project,
        &[
            (
                "BUILD[[test]]\nbuild = ['fifi', 'ram*', 'fifo/DEPTH=4', 'x[']\ntest_module = 'a'\n",
                &[
                    "5 unknown-build: no build is called `fifi` (help: did you mean `fifo`?)",
                    "5 unknown-build: no build matches `ram*`",
                    "5 unknown-build: no build is called `fifo/DEPTH=4`",
                    "5 bad-value: invalid pattern `x[`: a `[` is never closed",
                ],
            ),
            (
                "BUILD[[test]]\nbuild = []\n",
                &[
                    "4 missing-key: `[[test]]` is missing `test_module`",
                    "5 bad-value: `build` is an empty list",
                ],
            ),
            (
                "BUILD[[test]]\ntest_module = ['tests/test_fifo.py', 'tests/test_*', 'a..b', 'a b', '', \
          'a.*.', 4]\n",
                &[
                    "5 bad-value: `tests/test_fifo.py` is not a module name that `import` accepts (help: \
             write `tests.test_fifo`)",
                    "5 bad-value: `tests/test_*` is a path, not a module pattern (help: write \
             `tests.test_*`)",
                    "5 bad-value: `a..b` is not a module name that `import` accepts",
                    "5 bad-value: `a b` is not a module name that `import` accepts",
                    "5 bad-value: `test_module` is empty",
                    "5 bad-value: `a.*.` has an empty part between its dots",
                    "5 wrong-type: `test_module` takes a string, not an integer",
                ],
            ),
            (
                "BUILD[[test]]\ntest_module = 'a'\nseed = -1\nplusargs = ['+', '', '++a']\n\
          test_args = 4\nrun_files = ['hdl/fifo.sv', 'copy/fifo.sv']\n\
          fail_on_hdl_error = 'no'\n",
                &[
                    "6 bad-value: `seed` takes an integer from 0 to 4294967295",
                    "7 bad-value: invalid plusarg `+` (help: write `\"name\"` or `\"name=value\"`)",
                    "7 bad-value: invalid plusarg `` (help: write `\"name\"` or `\"name=value\"`)",
                    "7 bad-value: invalid plusarg `++a` (help: write `\"name\"` or `\"name=value\"`)",
                    "8 wrong-type: `test_args` takes a list of strings, not an integer",
                    "9 duplicate-name: two `run_files` have the same name, `fifo.sv`",
                    "10 wrong-type: `fail_on_hdl_error` takes `true` or `false`, not a string",
                ],
            ),
        ],
    );
}

#[test]
fn mistakes_in_file_lists_are_reported_with_the_line_of_the_list() {
    let project = Project::fifo();
    let bad = "hdl/fifo.sv\n-override_timescale=1ns/1ps\nhdl/fifoo.sv\n+define+A=\"x\"\n$NOPE/a.sv\n\
               -f missing.f\n-D 9?\n-f\n";
    project.put("bad.f", bad);
    project.put(
        "open.f",
        "{OUT}/a.sv\n+incdir+{OUT:x}\nhdl/fifo.sv /* for ever\n",
    );
    project.put("loop.f", "-F loop.f\n");
    project.put("own.f", "inner.sv\n-f hdl/own.f\n");
    project.put("hdl/own.f", "fifo.sv\n");
    project.put("latin.f", b"hdl/\xe9.sv\n");
    check(
        &project,
        &[
            (
                "[build.b]\nsources = ['bad.f', 'open.f']\nhdl_toplevel = 'b'\n",
                &[
                    "bad.f:2 file-list: unknown option `-override_timescale=1ns/1ps` in a file list (help: remove \
             it here, and give it in `build_args` if the simulator supports it)",
                    "bad.f:3 missing-file: `hdl/fifoo.sv` does not exist (help: did you mean \
             `hdl/fifo.sv`?)",
                    "bad.f:4 file-list: simulators disagree about the quotes in `A=\"x\"` \
             (help: give it in `defines` of the build)",
                    "bad.f:5 file-list: the environment variable `NOPE` is unset or empty",
                    "bad.f:6 file-list: `missing.f` does not exist",
                    "bad.f:7 file-list: `9?` defines no macro (help: give it in `defines` of the build)",
                    "bad.f:8 file-list: `-f` is missing its argument",
                    "open.f:3 file-list: a quote or comment is never closed",
                    "open.f:1 file-list: `{OUT}/a.sv` is in a file list, which is read before steps run \
             (help: name it in `sources` or `includes` of the build)",
                    "open.f:2 file-list: `{OUT:x}` is in a file list, which is read before steps run \
             (help: name it in `sources` or `includes` of the build)",
                ],
            ),
            (
                "[build.b]\nsources = ['loop.f', 'latin.f', 'none.f', 'own.f']\nhdl_toplevel = 'b'\n",
                &[
                    "loop.f:1 file-list: file list `[ROOT]/loop.f` includes itself",
                    "2 file-list: file list `[ROOT]/latin.f` is not UTF-8 text",
                    "2 missing-file: `none.f` does not exist",
                    "own.f:1 missing-file: `inner.sv` does not exist",
                    "hdl/own.f:1 missing-file: `fifo.sv` does not exist (help: name the list with `-F`, \
             or write its paths relative to the folder of `runner.toml`)",
                ],
            ),
        ],
    );
}

#[test]
fn variables_that_cocorun_sets_itself_are_rejected_with_what_to_write_instead() {
    let text = format!(
        "{BUILD}[[test]]\ntest_module = 'test_fifo'\n\
         env = {{ MODULE = 'x', GPI_USERS = 'x', MINE = 'x' }}\n"
    );
    let said = Project::fifo().reported(&text);
    assert!(said.contains("`MODULE` is set by cocorun itself"), "{said}");
    assert!(said.contains("help: use `test_module`"), "{said}");
    assert!(
        said.contains("`GPI_USERS` is set by cocorun itself"),
        "{said}"
    );
    assert!(!said.contains("`MINE`"), "{said}");
}
