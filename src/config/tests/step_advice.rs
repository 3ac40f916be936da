//! Steps that are forgotten, and files of theirs that are named in other ways.

use super::steps::STEPS;
use super::steps::project;
use super::*;

#[test]
fn a_step_that_no_build_needs_is_warned_of_and_checked_as_far_as_it_can_be() {
    let project = project();
    let text = format!(
        "{BUILD}needs = ['regs']\n{STEPS}[step.lost]\ncommand = ['sh', 'gen.py', '{{WIDTH}}', 'x']\n\
         inputs = ['none.txt']\noutputs = ['x']\nneeds = ['regs']\n"
    );
    let config = project.fine(&text);
    let needed = &config.builds[0].variants[0].build.name;
    let warnings = config.build_problems.of([needed]).expect("warnings only");
    let mut said: Vec<String> = warnings
        .into_iter()
        .map(|it| format!("{} ({})", it.message, it.help.unwrap_or_default()))
        .collect();
    said.sort();
    let unneeded = |name: &str| {
        format!(
            "no build needs step `{name}`, so it never runs (add `needs = [\"{name}\"]` to the \
             `[build.NAME]` that uses it)"
        )
    };
    assert_eq!(
        said,
        [
            "`none.txt` does not exist ()".to_owned(),
            unneeded("bus"),
            unneeded("lost")
        ]
    );
    // Mistakes in braces are as those of other steps, and misspelt needs are not reported twice.
    let reported = project.brief(&text.replace("'{WIDTH}'", "'{OUT:rges}'"));
    let expected = "12 template: `{OUT:rges}` is not the directory of a needed step (help: did you mean \
                 `{OUT:regs}`?)";
    assert!(reported.contains(&expected.to_owned()), "{reported:#?}");
    let reported = project.brief(&text.replace("['regs']\n[step.regs]", "['rges']\n[step.regs]"));
    let first = "4 unknown-step: there is no step called `rges` (help: did you mean `regs`?)";
    assert_eq!(reported, [first]);
}

#[test]
fn what_a_step_makes_is_named_where_it_is_missing() {
    let project = project();
    for (text, expected) in [
        (
            "sources = ['regs.sv']\nneeds = ['regs']\n",
            "2 missing-file: `regs.sv` does not exist (help: a step makes it: write `\"{OUT}/regs.sv\"`)",
        ),
        (
            "sources = ['bus.sv']\nneeds = ['regs', 'bus']\n",
            "2 missing-file: `bus.sv` does not exist (help: a step makes it: write `\"{OUT:bus}/bus.sv\"`)",
        ),
        (
            "sources = ['{OUT}/regs.sv']\n",
            "2 template: `{OUT}` is the directory of a step, and there is none (help: add `needs = \
             [\"regs\"]`: step `regs` has `regs.sv` in its `outputs`)",
        ),
        (
            "sources = ['{OUT:geN}/regs.sv']\nprepare = [['python3', 'gen.py']]\nneeds = ['gen']\n\
             [step.gen]\ncommand = ['python3', 'gen.py']\noutputs = ['regs.sv']\n",
            "2 template: `{OUT:geN}` is not the directory of a needed step (help: did you mean `{OUT:gen}`?)",
        ),
        (
            "sources = ['{OUT:regz}/regs.sv']\n",
            "2 template: `{OUT:regz}` is not the directory of a needed step (help: did you mean `{OUT:regs}`, \
             with `regs` in `needs`?)",
        ),
        (
            "sources = ['hdl/fifo.sv']\nbuild_args = '-Wall -g2012'\n",
            "3 wrong-type: `build_args` takes a list of strings, not a string (help: write `[\"-Wall\", \
             \"-g2012\"]`)",
        ),
        (
            "sources = ['hdl/fifo.sv']\nparameters = { WIDTH = 8, KEEP = '{WIDHT // 8}' }\n",
            "3 template: no parameter is called `WIDHT` (help: did you mean `{WIDTH}`?)",
        ),
    ] {
        let (table, rest) = text
            .split_once("[step")
            .map_or((text, String::new()), |(table, rest)| {
                (table, format!("[step{rest}"))
            });
        let all = format!("[build.fifo]\n{table}hdl_toplevel = 'fifo'\n{rest}{STEPS}");
        let errors: Vec<String> = project.brief(&all);
        assert_eq!(
            errors.first().map(String::as_str),
            Some(expected),
            "{errors:#?}"
        );
    }
}
