//! Steps: what is read, and the messages for every mistake.

use super::*;

use crate::model::step;
use crate::model::step::Step;

/// A project with generators.
pub(super) fn project() -> Project {
    Project::new(&[
        "hdl/fifo.sv",
        "gen.py",
        "regs.yaml",
        "lib/a.py",
        "lib/b.py",
        "tools/gen.sh",
    ])
}

/// Two steps, to put before the text that a test is about.
pub(super) const STEPS: &str = "[step.regs]\ncommand = ['python3', 'gen.py', '{OUT}']\noutputs = ['regs.sv']\n\
    [step.bus]\ncommand = ['python3', 'gen.py']\noutputs = ['*.svh', 'bus.sv']\n";

fn steps(project: &Project, text: &str) -> Vec<Vec<Step>> {
    let config = project.fine(text);
    let variants = config.builds.into_iter().flat_map(|table| table.variants);
    variants.map(|variant| variant.build.steps).collect()
}

#[test]
fn a_step_reads_what_its_commands_name_and_its_inputs_and_is_rendered_for_each_build() {
    let project = project();
    let text = "
[step.regs]
command = ['tools/gen.sh', 'regs.yaml', '--out={OUT}', '--lib=lib/a.py', 'none.txt', '{W * 2}']
inputs = ['lib/*.py']
outputs = ['regs_{W}.sv']
env = { W = '{W}' }
timeout_s = 2
[step.bus]
command = ['gen', '{OUT:regs}/regs_{W}.sv', '{OUT}']
needs = ['regs']
outputs = ['bus.sv']
[build.fifo]
needs = ['bus']
prepare = [['python3', 'gen.py', '{OUT:bus}'], ['sh', '-c', 'true']]
prepare_inputs = ['regs.yaml']
sources = ['{OUT:bus}/bus.sv', '{OUT:prepare}/*.sv', 'hdl/fifo.sv']
includes = ['{OUT:prepare}/inc']
defines = { ROM = '{OUT:prepare}/rom.hex' }
build_args = ['-y{OUT:bus}']
hdl_toplevel = 'fifo'
matrix = { W = [8, 16] }
";
    let builds = steps(&project, text);
    let [_, wide] = builds.as_slice() else {
        panic!("two builds: {builds:?}");
    };
    let names: Vec<&str> = wide.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["regs", "bus", "prepare"]);
    let [regs, bus, prepare] = wide.as_slice() else {
        panic!("three steps");
    };
    let inputs = ["lib/a.py", "lib/b.py", "regs.yaml", "tools/gen.sh"];
    assert_eq!(project.names(&regs.inputs), inputs);
    assert_eq!(regs.outputs, ["regs_16.sv"]);
    assert_eq!(regs.env["W"], "16");
    assert_eq!(regs.timeout.map(|it| it.as_secs()), Some(2));
    assert_eq!(regs.commands[0].last().map(String::as_str), Some("32"));
    assert_eq!(step::shown(&regs.commands[0][2]), "--out={OUT:regs}");
    assert_eq!(step::shown(&bus.commands[0][1]), "{OUT:regs}/regs_16.sv");
    assert_eq!(bus.needs, ["regs"]);
    assert_eq!(prepare.commands.len(), 2);
    assert_eq!(project.names(&prepare.inputs), ["gen.py", "regs.yaml"]);
    let config = project.fine(text);
    let build = &config.builds[0].variants[0].build;
    let shown = |path: &Utf8Path| step::shown(path.as_str());
    let sources: Vec<String> = build.sources.iter().map(|it| shown(&it.path)).collect();
    assert_eq!(sources[..2], ["{OUT:bus}/bus.sv", "{OUT:prepare}/*.sv"]);
    assert_eq!(shown(&build.includes[0]), "{OUT:prepare}/inc");
    assert_eq!(step::shown(&build.build_args[0]), "-y{OUT:bus}");
}

#[test]
fn the_only_step_of_a_build_needs_no_name_in_braces() {
    let project = project();
    let text = format!(
        "{STEPS}[build.a]\nneeds = ['regs']\nsources = ['{{OUT}}/regs.sv']\nhdl_toplevel = 'a'\n\
         [build.b]\nprepare = [['gen', '{{OUT}}']]\nsources = ['{{OUT}}/b.sv']\nhdl_toplevel = 'b'\n"
    );
    let config = project.fine(&text);
    let builds = config.builds.iter().map(|table| &table.variants[0].build);
    let sources: Vec<String> = builds
        .map(|build| step::shown(build.sources[0].path.as_str()))
        .collect();
    assert_eq!(sources, ["{OUT:regs}/regs.sv", "{OUT:prepare}/b.sv"]);
}

#[test]
fn mistakes_in_steps() {
    check(
        &project(),
        &[
            (
                "step = 1\nBUILD",
                &[
                    "1 wrong-type: `step` takes tables, one for each step, not an integer (help: give each step a name: `[step.NAME]`)",
                ],
            ),
            (
                "BUILD[step.x]\ncommand = 'python3 gen.py'\noutputs = ['x.v']\n",
                &[
                    "5 wrong-type: `command` takes a list of words, since there is no shell, not a string (help: write `[\"python3\", \"gen.py\"]`)",
                ],
            ),
            (
                "BUILD[step.'a b']\ncommand = []\n",
                &[
                    "4 missing-key: `[step.a b]` is missing `outputs`",
                    "4 bad-value: `a b` is not a valid step name (help: a name consists of letters, digits, `_` and `-`)",
                    "5 bad-value: a command of `command` is empty",
                ],
            ),
            (
                "BUILD[step.prepare]\ncommand = ['x']\noutputs = ['x.v']\nlimit = 1\n",
                &[
                    "4 bad-value: the name `prepare` is reserved: it is a key of a build (help: give the step another name)",
                    "7 unknown-key: unknown key `limit` in `[step.prepare]` (help: known keys: `command`, `env`, `inputs`, `needs`, `outputs` and `timeout_s`)",
                ],
            ),
            (
                "BUILDextra_toplevels = ['x{OUT}']\nneeds = ['x']\n\
                 [step.x]\ncommand = ['x', '${NOPE}', '$NOPE']\ninputs = []\noutputs = ['x.v']\n",
                &[
                    "4 template: `x{OUT:x}` contains the directory of a step, which names no module",
                    "7 bad-value: the environment variable `NOPE` is unset or empty (help: what a shell expands is written `$NAME` or `$${NAME}`)",
                ],
            ),
            (
                "BUILD[step.a]\ncommand = ['x']\noutputs = ['x.v']\nneeds = ['b', 'c']\n\
                 [step.b]\ncommand = ['x']\noutputs = ['x.v']\nneeds = ['a', 'b2', 'b']\n",
                &[
                    "7 unknown-step: there is no step called `c` (help: known steps: `a`, `b`)",
                    "11 step-circle: step `a` needs itself",
                    "11 unknown-step: there is no step called `b2` (help: did you mean `b`?)",
                    "11 step-circle: step `b` needs itself",
                ],
            ),
        ],
    );
}

#[test]
fn mistakes_of_builds_with_steps() {
    let project = project();
    let cases: [(&str, &[&str]); 12] = [
        (
            "needs = ['rgs', 'bus', 'bus']\n",
            &[
                "7 unknown-step: there is no step called `rgs` (help: did you mean `regs`?)",
                "7 bad-value: `needs` names `bus` twice",
            ],
        ),
        (
            "needs = ['regs', 'bus']\nincludes = ['{OUT}', '{OUT:ergs}']\n",
            &[
                "8 template: `{OUT}` could be the directory of several steps (help: write one of `{OUT:bus}`, `{OUT:regs}`)",
                "8 template: `{OUT:ergs}` is not the directory of a needed step (help: did you mean `{OUT:regs}`?)",
            ],
        ),
        (
            "includes = ['{OUT}']\n",
            &[
                "7 template: `{OUT}` is the directory of a step, and there is none (help: add `needs` with the name of a `[step.NAME]`, or `prepare`)",
            ],
        ),
        (
            "needs = ['regs']\nincludes = ['inc{OUT}', '{OUT}/*']\n",
            &[
                "8 bad-value: `inc{OUT:regs}` is not one folder in `{OUT}`",
                "8 bad-value: `{OUT:regs}/*` is not one folder in `{OUT}`",
            ],
        ),
        (
            "prepare = ['python3', 'gen.py']\n",
            &[
                "7 wrong-type: `prepare` takes a list of commands, not a list (help: put the command in brackets of its own: `[[\"python3\", \"gen.py\"]]`)",
            ],
        ),
        (
            "prepare = []\n",
            &["7 bad-value: `prepare` is an empty list"],
        ),
        (
            "prepare = [[], [''], [1], 'x']\n",
            &[
                "7 bad-value: a command of `prepare` is empty",
                "7 wrong-type: `prepare` takes a list of strings, not an integer",
                "7 wrong-type: `prepare` takes a list of words, since there is no shell, not a string (help: write `[\"x\"]`)",
            ],
        ),
        (
            "prepare_inputs = ['gen.py']\n",
            &["7 bad-value: `[build.fifo]` has no `prepare`"],
        ),
        (
            "prepare = [['gen.sh/x', '{WIDHT}']]\n",
            &[
                "7 template: no parameter is called `WIDHT` (help: a brace that is not a parameter is doubled: `{{` and `}}`)",
            ],
        ),
        (
            "prepare = [['./none.sh']]\nprepare_inputs = ['none.yaml', 'x/*.py']\n",
            &[
                "7 missing-file: `./none.sh` does not exist",
                "8 missing-file: `none.yaml` does not exist",
                "8 empty-glob: `x/*.py` matches no file",
            ],
        ),
        (
            "needs = ['regs']\nprepare = [['x', '{OUT:bus}']]\n",
            &[
                "8 template: `{OUT:bus}` is not the directory of a needed step (help: add its name to `needs`, or write `{OUT}` or `{OUT:regs}`)",
            ],
        ),
        (
            "needs = ['regs', 'bus']\n[step.more]\ncommand = ['x']\noutputs = ['x.v']\n",
            &[],
        ),
    ];
    for (keys, expected) in cases {
        let build = "[build.fifo]\nsources = ['hdl/fifo.sv']\nhdl_toplevel = 'fifo'\n";
        let text = format!("{build}PLACE\n{keys}{STEPS}").replace("PLACE\n", "\n\n\n");
        let reported = project.brief(&text);
        assert_eq!(
            reported,
            expected,
            "in\n{text}\n{}",
            project.reported(&text)
        );
    }
}

#[test]
fn mistakes_in_what_steps_make() {
    let project = project();
    let source = |needs: &str, entry: &str| {
        let text = format!(
            "{STEPS}[build.a]\nneeds = [{needs}]\nhdl_toplevel = 'a'\nsources = ['{entry}']\n"
        );
        project.brief(&text)
    };
    let none: [&str; 0] = [];
    assert_eq!(source("'bus'", "{OUT}/bus.sv"), none);
    assert_eq!(source("'bus'", "{OUT}/*.sv"), none);
    assert_eq!(source("'bus'", "{OUT}/any.svh"), none);
    for (needs, entry, expected) in [
        (
            "'regs'",
            "{OUT}/reg.sv",
            "step-output: step `regs` makes no `reg.sv` (help: did you mean `regs.sv`?)",
        ),
        (
            "'regs'",
            "{OUT}/x/regs.sv",
            "step-output: step `regs` makes no `x/regs.sv` (help: did you mean `regs.sv`?)",
        ),
        (
            "'regs'",
            "{OUT}/*.vh",
            "step-output: step `regs` makes no `*.vh` (help: add it to `outputs` of the step)",
        ),
        (
            "'regs'",
            "hdl/{OUT}/regs.sv",
            "bad-value: `hdl/{OUT:regs}/regs.sv` does not begin with `{OUT}`",
        ),
        (
            "'regs'",
            "{OUT}/../regs.sv",
            "bad-value: `{OUT:regs}/../regs.sv` is not a file below `{OUT}`",
        ),
        (
            "'regs'",
            "{OUT}",
            "bad-value: `{OUT:regs}` is not a file below `{OUT}`",
        ),
        (
            "'regs'",
            "{OUT}/all.f",
            "bad-value: `{OUT:regs}/all.f` is a file list, and those are read before steps run (help: name the sources, or a pattern such as `{OUT}/*.sv`)",
        ),
    ] {
        assert_eq!(source(needs, entry), [format!("10 {expected}")]);
    }
    for (output, expected) in [
        (
            "../a.sv",
            "invalid output `../a.sv`: an output is a file below `{OUT}` (help: name it relative to `{OUT}`, without `..`)",
        ),
        (
            "/a.sv",
            "invalid output `/a.sv`: an output is a file below `{OUT}` (help: name it relative to `{OUT}`, without `..`)",
        ),
        (
            "a/",
            "invalid output `a/`: an output is a file below `{OUT}` (help: name it relative to `{OUT}`, without `..`)",
        ),
        (
            "{OUT}/a.sv",
            "invalid output `{OUT:x}/a.sv`: outputs are relative to `{OUT}` already (help: write `\"a.sv\"`)",
        ),
        (
            "a[.sv",
            "invalid output `a[.sv`: unclosed character class; missing ']'",
        ),
    ] {
        let text = format!(
            "BUILD\nneeds = ['x']\n[step.x]\ncommand = ['x']\noutputs = ['{output}']\ninputs = []\n"
        );
        let text = text.replace("BUILD\n", BUILD);
        assert_eq!(project.brief(&text), [format!("7 bad-value: {expected}")]);
    }
    let twice = "needs = ['regs', 'other']\n[step.other]\ncommand = ['gen.py']\ninputs = []\noutputs = ['regs.sv']\n";
    let text = format!("{STEPS}{BUILD}{twice}");
    let expected = "10 step-output: steps `regs` and `other` both make `regs.sv` (help: give one of them another name)";
    assert_eq!(project.brief(&text), [expected]);
}

/// Returns what the only command of a build names, relative to the project.
fn named(project: &Project, command: &str) -> Vec<String> {
    let text = format!("{BUILD}prepare = [[{command}]]\nprepare_inputs = []\n");
    let steps = steps(project, &text);
    project.names(&steps[0][0].inputs)
}

#[test]
fn whatever_an_argument_spells_that_is_a_file_or_a_folder_of_the_project_is_an_input() {
    let project = Project::fifo();
    for name in ["gen/__main__.py", "gen/lib.py", "gen/sub/Makefile"] {
        project.put(name, "");
    }
    let package = ["gen/__main__.py", "gen/lib.py", "gen/sub/Makefile"];
    // None of these is read.
    project.put("gen/__pycache__/lib.pyc", "");
    project.put("gen/.lib.swp", "");
    project.put("sim_build/gen.py", "");
    for command in [
        "'python3', '-m', 'gen', '{OUT}'",
        "'python3', '-Bm', 'gen'",
        "'python3', '-mgen'",
        "'python3', '-m', 'gen.lib'",
        "'python3', 'gen', '{OUT}'",
        "'make', '-C', 'gen/'",
        "'make', '-Cgen'",
        "'make', '--directory=gen'",
        "'sh', '-c', 'cd gen && make {OUT}'",
        "'x', './gen'",
    ] {
        assert_eq!(named(&project, command), package, "{command}");
    }
    for name in ["regs.yaml", "ip/x.py"] {
        project.put(name, "");
    }
    for command in [
        "'x', '-fregs.yaml'",
        "'x', 'regs.yaml:{OUT}/x'",
        "'x', '--map=regs.yaml:{OUT}/x'",
        "'x', '--files=none,regs.yaml'",
        "'x', '@regs.yaml'",
        "'sh', '-c', 'x <regs.yaml >{OUT}/x'",
    ] {
        assert_eq!(named(&project, command), ["regs.yaml"], "{command}");
    }
    assert_eq!(named(&project, "'x', '${IP}/x.py'"), ["ip/x.py"]);
    assert_eq!(named(&project, "'python3', '-m', 'x'"), [""; 0]);
    for command in [
        "'x', '.'",
        "'x', 'sim_build'",
        "'x', '..'",
        "'x', '{OUT}/gen'",
    ] {
        assert_eq!(named(&project, command), [""; 0], "{command}");
    }
    let text = format!(
        "{BUILD}needs = ['x']\n[step.x]\ncommand = ['python3', '-m', 'x']\noutputs = ['x.v']\n\
         env = {{ PYTHONPATH = 'none:ip' }}\n"
    );
    let steps = steps(&project, &text);
    assert_eq!(project.names(&steps[0][0].inputs), ["ip/x.py"]);
}

#[test]
fn a_step_of_which_nothing_is_known_that_it_reads_is_a_warning() {
    let project = project();
    let warnings = |keys: &str| {
        let config = project.fine(&format!("{BUILD}{keys}{STEPS}"));
        let names = config.builds.iter().map(|it| BuildName(it.name.clone()));
        let names: Vec<BuildName> = names.collect();
        let problems = config.build_problems.of(&names).expect("no error");
        let texts = problems
            .into_iter()
            .filter(|it| !it.message.starts_with("no build needs"))
            .map(|it| (it.message, it.help.unwrap_or_default()));
        texts.collect::<Vec<_>>()
    };
    let expected = (
        "the command names no file of the project, so a changed generator is not noticed"
            .to_owned(),
        "list what is read in `prepare_inputs`; `prepare_inputs = []` if it is nothing".to_owned(),
    );
    for command in ["'make'", "'make', '-C', '.', '{OUT}'"] {
        let keys = format!("prepare = [[{command}]]\n");
        assert_eq!(
            warnings(&keys),
            std::slice::from_ref(&expected),
            "{command}"
        );
    }
    for keys in [
        "prepare = [['make']]\nprepare_inputs = []\n",
        "prepare = [['make']]\nprepare_inputs = ['lib/*.py']\n",
        "prepare = [['mkdir', '{OUT}/x'], ['python3', 'gen.py']]\n",
        "prepare = [['tools/gen.sh']]\n",
        "needs = ['regs']\nprepare = [['sv2v', '{OUT:regs}/regs.sv']]\n",
    ] {
        assert_eq!(warnings(keys), [], "{keys}");
    }
}

#[test]
fn a_folder_of_too_many_files_is_refused_unless_inputs_say_what_is_read() {
    let project = project();
    for index in 0..=1000 {
        project.put(&format!("data/{index}.txt"), "");
    }
    let text = format!("{BUILD}prepare = [['python3', 'gen.py', 'data']]\n");
    let expected = "4 step-inputs: `data` is a folder of 1001 files, and at most 1000 are compared \
        (help: list those that are read in `inputs`, or in `prepare_inputs` of a build)";
    assert_eq!(project.brief(&text), [expected]);
    let steps = steps(
        &project,
        &format!("{text}prepare_inputs = ['data/7.txt']\n"),
    );
    assert_eq!(project.names(&steps[0][0].inputs), ["data/7.txt", "gen.py"]);
}

#[test]
fn sixty_steps_that_all_need_the_earlier_ones_are_read_at_once() {
    use std::fmt::Write as _;

    let project = project();
    let mut text = BUILD.to_owned();
    text.push_str("needs = ['s59']\n");
    for index in 0..60 {
        let needs: Vec<String> = (0..index).map(|it| format!("'s{it}'")).collect();
        let needs = needs.join(", ");
        write!(
            text,
            "[step.s{index}]\ncommand = ['gen']\ninputs = []\noutputs = ['x.v']\nneeds = [{needs}]\n"
        )
        .expect("a string");
    }
    // Following every path would take years.
    let built = steps(&project, &text);
    let names: Vec<&str> = built[0].iter().map(|step| step.name.as_str()).collect();
    let expected: Vec<String> = (0..60).map(|it| format!("s{it}")).collect();
    assert_eq!(names, expected);
    let circle = text.replacen("needs = []", "needs = ['s0']", 1);
    let reported = project.reported(&circle);
    assert_eq!(reported.matches("needs itself").count(), 1, "{reported}");
}

#[test]
fn where_a_step_writes_is_shown_as_it_is_spelt_and_each_mistake_with_it_once() {
    let project = project();
    let build = "[build.fifo]\nneeds = ['gen']\nsources = ['{OUT}/m.v']\nhdl_toplevel = 'fifo'\n";
    let step = |text: &str| format!("[step.gen]\n{text}\n{build}");
    let command = "command = ['python3', 'gen.py', '{OUT}']\n";
    let words = "help: write `[\"python3\", \"gen.py\", \"-o\", \"{OUT}/m.v\"]`";
    for (text, expected) in [
        (
            step("command = ['python3 gen.py -o {OUT}/m.v']\noutputs = ['m.v']"),
            format!("2 bad-value: `python3 gen.py -o {{OUT}}/m.v` is one word of a command, and there is no shell ({words})"),
        ),
        (
            step("command = ['./{OUT}/x']\noutputs = ['m.v']"),
            "2 bad-value: the program `./{OUT}/x` is in the directory of a step (help: let another \
             program start it, as in `[\"env\", \"{OUT}/x\"]`)".to_owned(),
        ),
        (
            step(&format!("{command}inputs = ['{{OUT}}/x']\noutputs = ['m.v']")),
            "3 bad-value: `{OUT}/x` cannot be an input: a step writes it (help: remove it: what needed \
             steps write counts as read already)".to_owned(),
        ),
        (
            step(&format!("{command}outputs = ['{{OUT}}/m.v']")),
            "3 bad-value: invalid output `{OUT:gen}/m.v`: outputs are relative to `{OUT}` already \
             (help: write `\"m.v\"`)".to_owned(),
        ),
        (
            step(&format!("{command}outputs = []")),
            "3 bad-value: `outputs` of `[step.gen]` is empty".to_owned(),
        ),
        (
            "[build.fifo]\nprepare = [['python3 gen.py {OUT}']]\nsources = ['{OUT}/m.v']\nhdl_toplevel = 'fifo'"
                .to_owned(),
            "2 bad-value: `python3 gen.py {OUT}` is one word of a command, and there is no shell \
             (help: write `[\"python3\", \"gen.py\", \"{OUT}\"]`)".to_owned(),
        ),
    ] {
        assert_eq!(project.brief(&text), [expected], "{text}");
        assert!(!project.reported(&text).contains('\0'), "{text}");
    }
}
