//! One mistake is one problem, at the place where it was made.

use super::*;

#[test]
fn the_bracket_that_is_not_closed_is_shown_even_within_others() {
    for (value, expected) in [
        ("{ D = [4, 16 }", "{ D = ^"),
        ("{ D = [4, 16", "{ D = ^"),
        ("{ D = [4, 16]", "^"),
        ("[\"a]\", 'b[', [1, 2]", "^"),
        ("[[1], # [\n [2, 3 }", "[[1], # [\n ^"),
    ] {
        let text = format!("{BUILD}matrix = {value}\n");
        let problems = Project::fifo().load(&text).expect_err("unclosed").0;
        let [problem] = problems.as_slice() else {
            panic!("{value}: {problems:?}");
        };
        let place = problem.snippet.as_ref().expect("a place").range.start;
        let before = text.find(value).expect("the value") + expected.len() - 1;
        assert_eq!(place, before, "{value}: {}", problem.message);
        assert!(problem.message.ends_with("is never closed"), "{value}");
    }
}

#[test]
fn one_mistyped_folder_or_key_is_one_problem() {
    let project = Project::fifo();
    check(
        &project,
        &[
            (
                "BUILD[python]\npaths = ['tset']\n[[test]]\ntest_module = 'test_*'\n",
                &["5 missing-file: `tset` does not exist (help: did you mean `tests`?)"],
            ),
            (
                "BUILD[[test]]\npaths = ['tset', 'hdl']\ntest_module = ['test_*', 'x.*.py']\n",
                &[
                    "5 missing-file: `tset` does not exist (help: did you mean `tests`?)",
                    "6 bad-value: `x.*.py` is a path, not a module pattern (help: write `x.*`)",
                ],
            ),
            (
                "BUILD[[test]]\ntest_modul = 'test_fifo'\n",
                &[
                    "5 unknown-key: unknown key `test_modul` in `[[test]]` (help: did you mean `test_module`?)",
                ],
            ),
            (
                "BUILD[[test]]\npaths = ['tests']\ntest_module = ['tset_*', 'test_fif[op]', 'tst_*', 'test_x*', 'test_rma*']\n",
                &[
                    "6 empty-glob: `tset_*` matches no Python module (help: did you mean `test_*`?)",
                    "6 empty-glob: `tst_*` matches no Python module (help: did you mean `test*`?)",
                    "6 empty-glob: `test_x*` matches no Python module (help: did you mean `test_f*`?)",
                    "6 empty-glob: `test_rma*` matches no Python module (help: did you mean `test_ram*`?)",
                ],
            ),
            (
                "BUILD[[test]]\ntest_module = 'tests.tset_*'\n",
                &[
                    "5 empty-glob: `tests.tset_*` matches no Python module (help: did you mean `tests.test_*`?)",
                ],
            ),
        ],
    );
}
