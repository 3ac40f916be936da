//! `checkpoint` of a `[[test]]`.

use super::*;

use crate::model::test::Checkpoint;

const TEST: &str = "[[test]]\ntest_module = 'test_fifo'\n";

#[test]
fn checkpoints_keep_their_order_and_one_needs_no_list() {
    let project = Project::fifo();
    let names = |value: &str| {
        let config = project.fine(&format!("{BUILD}{TEST}checkpoint = {value}\n"));
        config.tests[0].settings.checkpoints.clone()
    };
    let all = |names: &[&str]| -> Vec<Checkpoint> {
        names
            .iter()
            .map(|it| Checkpoint((*it).to_owned()))
            .collect()
    };
    assert_eq!(names("'tb.common:bring_up'"), all(&["tb.common:bring_up"]));
    assert_eq!(
        names("['tb:reset', 'a:boot']"),
        all(&["tb:reset", "a:boot"])
    );
}

#[test]
fn what_names_no_function_of_a_module_is_refused_with_what_to_write() {
    let project = Project::fifo();
    let no = "does not name a function of a Python module (help:";
    let general = "write `\"package.module:function\"`)";
    check(
        &project,
        &[
            (
                &format!(
                    "BUILD{TEST}checkpoint = ['tb.common.bring_up', 'tb/common.py:bring_up', \
                     'tb:bring_up(dut)', 'tb:up ', 'tb::bring_up', 'bring_up', '', 'tb:', ':f', '3:f', \
                     'tb:TB.reset', 'tb:a', 'tb:a', 7]\ncheckpoints = 'a:b'\n"
                ),
                &[
                    &format!(
                        "6 bad-value: `tb.common.bring_up` {no} write `\"tb.common:bring_up\"`)"
                    ),
                    &format!(
                        "6 bad-value: `tb/common.py:bring_up` {no} write `\"tb.common:bring_up\"`)"
                    ),
                    &format!("6 bad-value: `tb:bring_up(dut)` {no} write `\"tb:bring_up\"`)"),
                    &format!("6 bad-value: `tb:up ` {no} write `\"tb:up\"`)"),
                    &format!("6 bad-value: `tb::bring_up` {no} write `\"tb:bring_up\"`)"),
                    &format!("6 bad-value: `bring_up` {no} {general}"),
                    "6 bad-value: `checkpoint` is empty",
                    &format!("6 bad-value: `tb:` {no} {general}"),
                    &format!("6 bad-value: `:f` {no} {general}"),
                    &format!("6 bad-value: `3:f` {no} {general}"),
                    &format!(
                        "6 bad-value: `tb:TB.reset` {no} only a function of a module can be a \
                         checkpoint: define `async def NAME(dut)` in `tb` and let it call `TB.reset`)"
                    ),
                    "6 duplicate-name: `tb:a` is in `checkpoint` twice",
                    "6 wrong-type: `checkpoint` takes a string, not an integer",
                    "7 unknown-key: unknown key `checkpoints` in `[[test]]` (help: did you mean \
                     `checkpoint`?)",
                ],
            ),
            (
                &format!("BUILD{TEST}checkpoint = []\n"),
                &["6 bad-value: `checkpoint` is an empty list"],
            ),
        ],
    );
}

#[test]
fn settings_that_leave_a_checkpoint_without_effect_are_warned_about() {
    let project = Project::fifo();
    for (setting, because) in [
        ("fork = false", "`fork = false`"),
        (
            "isolation = 'module'",
            "an `isolation` other than `testcase`",
        ),
        ("waves = true", "`waves = true`"),
        ("pygpi_users = ['a:b']", "`pygpi_users`"),
    ] {
        let text = format!("{BUILD}{TEST}checkpoint = 'tb:a'\n{setting}\n");
        let config = project.fine(&text);
        let needed = &BuildName("fifo".to_owned());
        let warnings = config.build_problems.of([needed]).expect("warnings only");
        let said: Vec<String> = warnings.iter().map(|it| it.message.clone()).collect();
        assert_eq!(said, [format!("`checkpoint` has no effect with {because}")]);
    }
}
