//! Values of a build in the braces of its strings.

use super::*;

use crate::model::step;
use crate::model::test::RunSettings;

#[test]
fn strings_of_a_build_have_its_values_in_braces() {
    let project = Project::new(&["hdl/fifo_8.sv", "hdl/fifo_16.sv", "inc/8/x", "inc/16/x"]);
    let config = project.fine(
        "[build.fifo]\nsources = ['hdl/fifo_{WIDTH}.sv']\nincludes = ['inc/{WIDTH}']\n\
         hdl_toplevel = 'fifo_{WIDTH}'\nmatrix = { WIDTH = [8, 16] }\n\
         parameters = { KEEP = '{WIDTH // 8}', LAST = '{KEEP - 1}', SAME = '{WIDTH}', \
         FILE = 'mem{KEEP}.hex' }\ndefines = { HALF = '{WIDTH // 2}', NAME = 'w{WIDTH}' }\n\
         build_args = ['-D{WIDTH}']\nenv = { JSON = '{{\"w\": {WIDTH}}}' }\n",
    );
    let [_, wide] = config.builds[0].variants.as_slice() else {
        panic!("two builds");
    };
    let wide = &wide.build;
    assert_eq!(wide.name.as_str(), "fifo/WIDTH=16");
    assert_eq!(project.source_names(&wide.sources), ["hdl/fifo_16.sv"]);
    assert_eq!(project.names(&wide.includes), ["inc/16"]);
    assert_eq!(wide.hdl_toplevel, "fifo_16");
    let number = HdlValue::Integer;
    let text = |text: &str| HdlValue::Text(text.to_owned());
    let parameters = [
        ("FILE", text("mem2.hex")),
        ("KEEP", number(2)),
        ("LAST", number(1)),
        ("SAME", number(16)),
        ("WIDTH", number(16)),
    ];
    assert_eq!(wide.parameters, owned(&parameters));
    let defines = [("HALF", number(8)), ("NAME", text("w16"))];
    assert_eq!(wide.defines, owned(&defines));
    assert_eq!(wide.build_args, ["-D16"]);
    assert_eq!(wide.build_env["JSON"], "{\"w\": 16}");
}

#[test]
fn variables_are_evaluated_as_parameters_are() {
    let config = Project::fifo().fine(&format!(
        "{BUILD}matrix = {{ WIDTH = [8, 16], LANES = [1, 2] }}\n\
         variables = {{ KEEP = '{{WIDTH // 8}}', NAME = 'w{{KEEP}}', LANES = '{{KEEP * 4}}' }}\n\
         parameters = {{ LAST = '{{KEEP - 1}}' }}\n"
    ));
    let wide = config.builds[0].variants.last().expect("four");
    assert_eq!(wide.build.name.as_str(), "fifo/LANES=2/WIDTH=16");
    let number = HdlValue::Integer;
    let variables = [
        ("KEEP", number(2)),
        // The combination's own.
        ("LANES", number(2)),
        ("NAME", HdlValue::Text("w2".to_owned())),
    ];
    assert_eq!(wide.variables, owned(&variables));
    let parameters = [("LAST", number(1)), ("WIDTH", number(16))];
    assert_eq!(wide.build.parameters, owned(&parameters));
}

#[test]
fn mistakes_in_braces_are_reported_at_their_characters() {
    let project = Project::fifo();
    check(
        &project,
        &[
            (
                "BUILDparameters = { A = '{B + 1}', B = '{C}', C = '{A}', D = '{D}', E = '{A}' }\n\
                 build_args = ['-D{A}', '-D{E}', '-D{F}']\nvariables = { V = '{X}', X = '{V}', Y = '{Q}' }\n",
                &[
                    "4 template: `A` depends on itself",
                    "4 template: `D` depends on itself",
                    "5 template: no parameter is called `F` (help: a brace that is not a parameter is \
             doubled: `{{` and `}}`)",
                    "6 template: `V` depends on itself",
                    "6 template: no parameter is called `Q` (help: a brace that is not a parameter is \
             doubled: `{{` and `}}`)",
                ],
            ),
            (
                "BUILDmatrix = { W = [8, 0, 'x'] }\nbuild_args = ['-D{64 // W}', '-D{w}']\n\
                 env = { J = '{\"a\": 1}' }\ndefines = { X = 'a{' }\n",
                &[
                    "4 bad-value: `W` is a number in one build and a string in another (help: give all \
             values of `W` one type)",
                    "5 template: division by zero",
                    "5 template: no parameter is called `w` (help: did you mean `{W}`?)",
                    "6 template: an expression cannot contain `\"` (help: a brace that is not a \
             parameter is doubled: `{{` and `}}`)",
                    "7 template: a `{` without its `}` (help: a brace that is not a parameter is \
             doubled: `{{` and `}}`)",
                ],
            ),
            (
                "[build.b]\nsources = ['hdl/{KIND}.sv', 'hdl/fifo.sv']\nhdl_toplevel = '{KIND} x'\n\
                 matrix = { KIND = ['fifo', 'ram'] }\n",
                &[
                    "2 missing-file: `hdl/ram.sv` does not exist",
                    "3 bad-value: `fifo x` is not a module name",
                ],
            ),
        ],
    );
}

/// Returns the arguments, plusargs and environment of each test on each build of a table.
fn on_builds(text: &str) -> Vec<String> {
    let config = Project::fifo().fine(text);
    let builds = &config.builds[0].variants;
    let tests = config.tests.iter();
    let all = tests.flat_map(|test| {
        builds
            .iter()
            .map(|build| settings_on(&test.settings, build))
    });
    let in_words = |it: RunSettings| format!("{:?} {:?} {:?}", it.test_args, it.plusargs, it.env);
    all.map(|it| in_words(it).replace(['"', '\\'], ""))
        .collect()
}

#[test]
fn strings_of_a_test_have_the_values_of_each_build_in_braces() {
    let text = format!(
        "{BUILD}matrix = {{ WIDTH = [8, 16] }}\nvariables = {{ KIND = 'fast' }}\n\
         [[test]]\ntest_module = 'm'\ntest_args = ['-s{{WIDTH // 8}}', '{{{{x}}}}']\n\
         plusargs = ['{{KIND}}', '+depth={{WIDTH * 2}}', '{{KIND}}=1']\n\
         env = {{ W = '{{WIDTH}}', HOME = '${{HOME}}' }}\n\
         [[test]]\nname = 'n'\ntest_module = 'm'\nplusargs = ['{{KIND}}=1', 'b']\n\
         variants = [{{ plusargs = ['fast={{WIDTH}}'], env.A = 1 }}]\n\
         matrix = {{ env = {{ M = ['{{KIND}}'] }}, plusargs.q = ['{{WIDTH + 1}}'] }}\n"
    );
    assert_eq!(
        on_builds(&text),
        [
            "[-s1, {x}] [+fast, +depth=16, +fast=1] {HOME: ${HOME}, W: 8}",
            "[-s2, {x}] [+fast, +depth=32, +fast=1] {HOME: ${HOME}, W: 16}",
            // The variant's own `fast` replaces that of the table.
            "[] [+b, +fast=8, +q=9] {A: 1, M: fast}",
            "[] [+b, +fast=16, +q=17] {A: 1, M: fast}",
        ]
    );
}

#[test]
fn what_a_test_needs_every_build_that_it_covers_has() {
    let text = |keys: &str| {
        format!(
            "[build.a]\nsources = ['hdl/fifo.sv']\nhdl_toplevel = 'fifo'\n\
             parameters = {{ PORTS = 2 }}\n[build.b]\nsources = ['hdl/fifo.sv']\n\
             hdl_toplevel = 'fifo'\nmatrix = {{ PORT = [0, 1] }}\n[[test]]\n\
             test_module = 'm'\n{keys}"
        )
    };
    let project = Project::fifo();
    project.fine(&text("build = 'a'\nplusargs = ['p={PORTS}']\n"));
    let expected = "\
error[config::template]: no parameter is called `PORTS`
  --> runner.toml:11:17
   |
11 | plusargs = ['p={PORTS}']
   |                 ^^^^^
  in build `b/PORT=0`
help: did you mean `{PORT}`?
";
    assert_eq!(
        project.reported(&text("plusargs = ['p={PORTS}']\n")),
        expected
    );
    let doubled = "(help: a brace that is not a parameter is doubled: `{{` and `}}`)";
    let out = "(help: add `needs` with the name of a `[step.NAME]`, or `prepare`)";
    for (keys, expected) in [
        (
            "test_args = ['{', '-s{PORTS']\nenv = { A = '{\"a\": 1}', B = 'x}' }\n\
             variants = [{ env.C = '{}' }]\nmatrix = { env.D = ['{1 / 2}'] }\n",
            vec![
                format!("11 template: a `{{` without its `}}` {doubled}"),
                format!("12 template: an expression cannot contain `\"` {doubled}"),
                format!("12 template: a `}}` without its `{{` {doubled}"),
                format!("13 template: nothing is between the braces {doubled}"),
                format!(
                    "14 template: write `//`: expressions have whole numbers only {doubled}"
                ),
            ],
        ),
        (
            "build = 'b'\nenv = { X = '{8 // PORT}', Y = '{OUT}' }\nplusargs = ['{WORD}']\n\
             [test.variants.env]\nplusargs = ['{PORT}=1']\n[test.variants.other]\nenv.Z = '{PROT}'\n",
            vec![
                "12 template: division by zero".to_owned(),
                format!("12 template: `{{OUT}}` is the directory of a step, and there is none {out}"),
                "13 template: no parameter is called `WORD` (help: did you mean `{PORT}`?)".to_owned(),
                "15 bad-value: the name of a variant's plusarg has a brace, `{PORT}` (help: only its \
                 value can depend on the build)"
                    .to_owned(),
                "17 template: no parameter is called `PROT` (help: did you mean `{PORT}`?)".to_owned(),
            ],
        ),
    ] {
        assert_eq!(project.brief(&text(keys)), expected, "{keys}");
    }
}

#[test]
fn a_test_cannot_have_an_empty_plusarg_nor_what_was_reported() {
    check(
        &Project::fifo(),
        &[(
            "BUILDprepare = [['gen', '{OUT}']]\n\
             parameters = { FILE = '{OUT}/m.hex', NONE = '', PLUS = '+x', BAD = '{W}' }\n[[test]]\n\
             test_module = 'm'\nplusargs = ['{NONE}=1', '{PLUS}', '+{PLUS}', 'b={BAD}']\n\
             env = { F = '{FILE}' }\n",
            &[
                "4 step-inputs: the command names no file of the project, so a changed generator \
             is not noticed (help: list what is read in `prepare_inputs`; `prepare_inputs = []` if it \
             is nothing)",
                "5 template: no parameter is called `W` (help: a brace that is not a parameter is \
             doubled: `{{` and `}}`)",
                "8 bad-value: invalid plusarg `=1`",
                "8 bad-value: invalid plusarg `+x`",
                "8 bad-value: invalid plusarg `++x`",
            ],
        )],
    );
}

#[test]
fn strings_and_files_of_a_test_may_be_below_the_directory_of_a_step() {
    let steps = "[step.rom]\ncommand = ['gen', '{OUT}']\ninputs = []\noutputs = ['m.hex', '*.so']\n\
                 [step.tab]\ncommand = ['tab', '{OUT}']\ninputs = []\noutputs = ['t.hex']\n";
    let test = "[[test]]\ntest_module = 'm'\n";
    let whole = format!(
        "{steps}{BUILD}needs = ['rom', 'tab']\nparameters = {{ FILE = '{{OUT:rom}}/m.hex', W = 1 }}\n{test}\
         param_env = 'P_{{NAME}}'\nplusargs = ['t={{OUT:tab}}/t.hex']\nrun_files = ['{{OUT:rom}}/m.hex', 'hdl']\n\
         gpi_users = ['{{OUT:rom}}/l.so,start']\nvpi_libraries = ['hdl/fifo.sv', '{{OUT:rom}}/l.so']\n"
    );
    let config = Project::fifo().fine(&whole);
    let variant = &config.builds[0].variants[0];
    let settings = settings_on(&config.tests[0].settings, variant);
    let shown = |text: &str| step::shown(text);
    assert_eq!(shown(&settings.env["P_FILE"]), "{OUT:rom}/m.hex");
    assert_eq!(settings.env["P_W"], "1");
    assert_eq!(shown(&settings.plusargs[0]), "+t={OUT:tab}/t.hex");
    let files: Vec<String> = settings.files().map(|it| shown(it.as_str())).collect();
    let [rom, hdl, sv, so, user] = files.as_slice() else {
        panic!("{files:?}");
    };
    assert_eq!(
        (rom.as_str(), so.as_str()),
        ("{OUT:rom}/m.hex", "{OUT:rom}/l.so")
    );
    assert_eq!(user, "{OUT:rom}/l.so");
    assert!(hdl.ends_with("/hdl") && sv.ends_with("/hdl/fifo.sv"));

    check(
        &Project::fifo(),
        &[(
            &format!(
                "{steps}BUILDneeds = ['rom', 'tab']\n{test}run_files = ['{{OUT}}/m.hex', '{{OUT:rom}}/m.hxe', \
                 '{{OUT:rom}}/*.hex', '{{OUT:tab}}', '{{OUT:axi}}/a', '{{OUT:tab}}/n.hex', 'x/{{OUT}}']\n"
            ),
            &[
                "15 template: `{OUT}` could be the directory of several steps (help: write one of `{OUT:rom}`, `{OUT:tab}`)",
                "15 step-output: step `rom` makes no `m.hxe` (help: did you mean `m.hex`?)",
                "15 bad-value: `{OUT:rom}/*.hex` does not name one file (help: write the name of each file: patterns below `{OUT}` are for `sources`)",
                "15 bad-value: `{OUT:tab}` is not a file below `{OUT}`",
                "15 template: `{OUT:axi}` is not the directory of a needed step (help: add its name to `needs`, or write `{OUT:rom}` or `{OUT:tab}`)",
                "15 step-output: step `tab` makes no `n.hex` (help: did you mean `t.hex`?)",
                "15 bad-value: `x/{OUT}` does not begin with `{OUT}`",
            ],
        )],
    );
}
