//! What a build table varies, and the values that HDL has and TOML does not.

use super::*;

/// Returns the names of the builds of the table `fifo` with these further lines.
fn names(lines: &str) -> Vec<String> {
    let config = Project::fifo().fine(&format!("{BUILD}{lines}"));
    let variants = config.builds[0].variants.iter();
    variants.map(|it| it.build.name.0.clone()).collect()
}

#[test]
fn variants_are_named_by_their_values_or_their_keys_and_multiply_with_the_matrix() {
    let lists = "variants = [{ PORTS = 1, WIDTH = 8 }, { PORTS = 4, WIDTH = 32 }]\n";
    assert_eq!(
        names(&format!("{lists}matrix = {{ DEPTH = [2, 3] }}\n")),
        [
            "fifo/DEPTH=2/PORTS=1/WIDTH=8",
            "fifo/DEPTH=3/PORTS=1/WIDTH=8",
            "fifo/DEPTH=2/PORTS=4/WIDTH=32",
            "fifo/DEPTH=3/PORTS=4/WIDTH=32",
        ]
    );
    let tables = "matrix = { DEPTH = [2] }\nsimulator = ['icarus', 'verilator']\n\
                  [build.fifo.variants]\nsmall = { PORTS = 1 }\nlarge = { PORTS = 4 }\n";
    assert_eq!(
        names(tables),
        [
            "fifo/small/DEPTH=2@icarus",
            "fifo/small/DEPTH=2@verilator",
            "fifo/large/DEPTH=2@icarus",
            "fifo/large/DEPTH=2@verilator",
        ]
    );
}

#[test]
fn exclude_removes_before_include_adds() {
    let lines = "matrix = { A = [1, 2], B = [1, 2] }\nexclude = [{ A = 1, B = 2 }]\n\
                 include = [{ A = 1, C = 5 }, { A = 9 }]\n";
    let expected = [
        "fifo/A=1/B=1/C=5",
        "fifo/A=2/B=1",
        "fifo/A=2/B=2",
        "fifo/A=9",
    ];
    assert_eq!(names(lines), expected);
    assert_eq!(
        names("include = [{ A = 1 }, { B = 2 }]\n"),
        ["fifo/A=1", "fifo/B=2"]
    );
}

#[test]
fn a_variable_stands_in_braces_and_is_no_parameter() {
    let text = format!(
        "{BUILD}variables = {{ PORTS = 1, KIND = 'a' }}\nmatrix = {{ PORTS = [2], W = [8] }}\n\
         build_args = ['{{PORTS}}{{KIND}}{{W}}']\nparameters = {{ ALL = '{{PORTS * W}}' }}\n"
    );
    let config = Project::fifo().fine(&text);
    let [variant] = config.builds[0].variants.as_slice() else {
        panic!("one build");
    };
    assert_eq!(variant.build.name.as_str(), "fifo/PORTS=2/W=8");
    assert_eq!(variant.build.build_args, ["2a8"]);
    let number = HdlValue::Integer;
    let parameters = [("ALL", number(16)), ("W", number(8))];
    assert_eq!(variant.build.parameters, owned(&parameters));
    let variables = [
        ("KIND", HdlValue::Text("a".to_owned())),
        ("PORTS", number(2)),
    ];
    assert_eq!(variant.variables, owned(&variables));
}

#[test]
fn a_simulator_has_its_own_sources_values_and_toplevels() {
    let project = Project::new(&["hdl/fifo.sv", "hdl/glbl.v", "inc/x"]);
    let config = project.fine(&format!(
        "{BUILD}simulator = ['icarus', 'verilator']\ndefines = {{ A = 1, B = 1 }}\n\
         variables = {{ M = 2 }}\nparameters = {{ N = 1 }}\n[build.fifo.icarus]\n\
         sources = ['hdl/glbl.v', 'hdl/fifo.sv']\n\
         includes = ['inc']\nextra_toplevels = ['glbl']\ndefines = {{ B = 2 }}\n\
         parameters = {{ N = '{{M + 1}}' }}\n"
    ));
    let [icarus, verilator] = config.builds[0].variants.as_slice() else {
        panic!("two builds");
    };
    let (icarus, verilator) = (&icarus.build, &verilator.build);
    let sources = ["hdl/fifo.sv", "hdl/glbl.v"];
    assert_eq!(project.source_names(&icarus.sources), sources);
    assert_eq!(project.source_names(&verilator.sources), sources[..1]);
    assert_eq!((icarus.includes.len(), verilator.includes.len()), (1, 0));
    assert_eq!(icarus.extra_toplevels, ["glbl"]);
    assert_eq!(verilator.extra_toplevels, [""; 0]);
    let number = HdlValue::Integer;
    assert_eq!(icarus.defines, owned(&[("A", number(1)), ("B", number(2))]));
    assert_eq!(verilator.defines["B"], number(1));
    assert_eq!(icarus.parameters["N"], number(3));
    assert_eq!(verilator.parameters["N"], number(1));
}

#[test]
fn ten_thousand_variants_of_a_hundred_sources_share_them() {
    let files: Vec<String> = (0..100).map(|index| format!("hdl/s{index}.sv")).collect();
    let project = Project::new(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let numbers: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    let config = project.fine(&format!(
        "[build.b]\nsources = ['hdl/*.sv']\nhdl_toplevel = 'b{{W % 2}}'\n\
         matrix = {{ W = [{}] }}\n",
        numbers.join(", ")
    ));
    let variants = &config.builds[0].variants;
    assert_eq!(variants.len(), 10_000);
    let first = &variants[0].build.sources;
    let is_shared = |it: &Variant| std::sync::Arc::ptr_eq(&it.build.sources, first);
    assert!(first.len() == 100 && variants.iter().all(is_shared));
}

#[test]
fn mistakes_in_what_varies_are_reported() {
    check(
        &Project::fifo(),
        &[
            (
                "BUILDvariants = [{ PORTS = 1, W = 8 },\n { PORT = 2, W = 8 },\n { PORTS = 3 },\n\
                 { PORTS = 4, W = 8, X = 1 }, 5]\nparameters = { W = 1 }\n",
                &[
                    "4 bad-value: `W` is in both `variants` and `parameters` (help: keep one of the \
             two)",
                    "5 bad-value: a variant is missing `PORTS` and has `PORT` instead (help: did you \
             mean `PORTS`?)",
                    "6 bad-value: a variant is missing `W` (help: give all variants the same keys)",
                    "7 bad-value: a variant has `X`, which the first one does not (help: give all \
             variants the same keys)",
                    "7 wrong-type: `variants` takes a table of values, not an integer",
                ],
            ),
            (
                "BUILDmatrix = { A = [1, 2] }\nexclude = [{ A = 3 }, { a = 1 }, {}]\n\
                 include = [{ A = 1 }]\n",
                &[
                    "5 bad-value: this `exclude` matches no combination",
                    "5 bad-value: this `exclude` matches no combination (help: did you mean `A`?)",
                    "5 bad-value: a table of `exclude` is empty",
                    "6 bad-value: this `include` changes nothing",
                ],
            ),
            (
                "BUILDmatrix = { A = [1] }\nexclude = [{ A = 1 }]\ninclude = ['inc']\nvariants = []\n",
                &[
                    "5 bad-value: `exclude` leaves no combination",
                    "6 wrong-type: `include` takes a list of tables, not a list (help: folders that \
             `` `include `` searches go in `includes`)",
                    "7 bad-value: `variants` is empty",
                ],
            ),
            (
                "BUILDvariants = [{ A = 1, B = 2 }, { A = 1, B = 2 }]\nvariables = { N = 1 }\n\
                 [build.fifo.matrix]\nB = [1]\n[build.fifo.parameters]\nN = 1\n",
                &[
                    "4 duplicate-name: two combinations give builds the same name, `fifo/A=1/B=1` (help: \
             remove one, or name them: `[build.NAME.variants.NAME]`)",
                    "5 bad-value: `N` is in both `variables` and `parameters` (help: keep one of the two)",
                    "7 bad-value: `B` is in both `matrix` and `variants` (help: keep one of the two)",
                ],
            ),
            (
                "BUILD[build.fifo.variants]\n'a b' = { A = 1 }\nc = 4\n",
                &[
                    "5 bad-value: `a b` is not a valid name of a variant (help: a name consists of \
             letters, digits, `_`, `-` and `.`)",
                    "6 wrong-type: `variants.c` takes a table of values, not an integer",
                ],
            ),
        ],
    );
}

#[test]
fn mistakes_in_systemverilog_values_are_reported() {
    let refused = "Verilator takes a single literal as the value of a parameter";
    let help = "write the number, such as `{ sv = \"8'hff\" }`, or set the parameter in a module that \
                instantiates the toplevel";
    check(
        &Project::fifo(),
        &[
            (
                "BUILDparameters = { A = { sv = '1; endmodule' }, B = { sv = '(1' }, C = { vhdl = '1' },\n\
                 D = { sv = 5 }, E = { sv = '' }, F = { sv = '1 // 2' }, G = { sv = '\"a' } }\n",
                &[
                    "4 bad-value: `1; endmodule` is not one SystemVerilog expression: it contains `;`",
                    "4 bad-value: `(1` is not one SystemVerilog expression: a `(` is never closed",
                    "4 missing-key: `parameters.C = { … }` is missing `sv`",
                    "4 unknown-key: unknown key `vhdl` in `parameters.C = { … }` (help: known keys: `sv`)",
                    "5 wrong-type: `sv` takes a string, not an integer",
                    "5 bad-value: `sv` is empty",
                    "5 bad-value: `1 // 2` is not one SystemVerilog expression: it contains a comment",
                    "5 bad-value: `\"a` is not one SystemVerilog expression: a quote is never closed",
                ],
            ),
            (
                "BUILDsimulator = ['icarus', 'verilator']\nextra_toplevels = ['glbl', 'a b']\n\
                 parameters = { A = { sv = 'pkg::X' }, B = { sv = \"8'hff\" } }\n\
                 matrix = { C = [{ sv = \"-8'sd1\" }, { sv = \"8'd1\" }] }\n\
                 build_args = ['{A + 1}']\n",
                &[
                    "5 bad-value: `glbl` cannot be another toplevel: Verilator elaborates a single \
             toplevel (help: instantiate the others in a module around `hdl_toplevel`, or list them for \
             other simulators only, in `[build.NAME.SIMULATOR]`)",
                    "5 bad-value: `a b` is not a module name",
                    &format!("6 bad-value: `A` cannot be `pkg::X`: {refused} (help: {help})"),
                    &format!("7 bad-value: `C` cannot be `-8'sd1`: {refused} (help: {help})"),
                    "8 template: `A` is the SystemVerilog text `pkg::X`, and expressions take whole \
             numbers",
                ],
            ),
        ],
    );
}

#[test]
fn the_example_of_the_reference_makes_the_builds_that_it_names() {
    let page = include_str!("../../../docs/runner-toml.md");
    let (_, text) = page.split_once("[build.router]").expect("the example");
    let text = text.split("```").next().unwrap_or_default();
    let project = Project::new(&["hdl/router.sv"]);
    let config = project.fine(&format!("[build.router]{text}"));
    let variants = config.builds[0].variants.iter();
    let names: Vec<&str> = variants.map(|it| it.build.name.as_str()).collect();
    let expected = [
        "router/small/DEBUG=true/DEPTH=4",
        "router/small/DEBUG=true/DEPTH=16",
        "router/large/DEPTH=4",
        "router/DEPTH=64/PORTS=3/WIDTH=8",
    ];
    assert_eq!(names, expected);
    assert!(
        expected
            .iter()
            .all(|name| page.contains(&format!("`{name}`")))
    );
}

#[test]
fn names_of_variables_for_parameters_are_checked() {
    let test = "[[test]]\ntest_module = 'a'\n";
    check(
        &Project::fifo(),
        &[
            (
                &format!("param_env = 'P'\nBUILD{test}param_env = '9{{NAME}}'\n"),
                &[
                    "1 bad-value: `P` does not name a variable for each parameter (help: write letters, \
             digits and `_` around one `{NAME}`, as in `\"PARAM_{NAME}\"`)",
                    "7 bad-value: `9{NAME}` does not name a variable for each parameter (help: write \
             letters, digits and `_` around one `{NAME}`, as in `\"PARAM_{NAME}\"`)",
                ],
            ),
            (
                &format!(
                    "BUILDparameters = {{ A = 1, MODULE = 2 }}\n{test}param_env = '{{NAME}}'\n"
                ),
                &[
                    "5 bad-value: `param_env` would set `MODULE`, which cocorun sets itself (help: use \
             `test_module`, or `--module` on the command line, and choose other names: `param_env = \"PARAM_{NAME}\"`)",
                ],
            ),
            (
                &format!("BUILD{test}{test}param_env = '{{NAME}}'\n"),
                &[
                    "6 duplicate-name: module `a` is planned twice on build `fifo`, by tables with \
             different settings (help: give each table a `name` of its own if both are to run, or \
             narrow `build`, `test_module` or the testcases of both (`testcase`, `skip_testcase`))",
                ],
            ),
        ],
    );
}

#[test]
fn a_variable_that_the_toplevel_has_as_a_parameter_is_reported_where_it_stays_behind() {
    let project = Project::new(&[]);
    project.put(
        "fifo.sv",
        "module fifo #(parameter WIDTH = 4) (); endmodule",
    );
    let table = "[build.fifo]\nsources = ['fifo.sv']\nhdl_toplevel = 'fifo'\n";
    let reported = |text: &str| -> Vec<String> {
        let all = format!("{table}{text}");
        let Ok(config) = project.load(&all) else {
            return project.brief(&all);
        };
        let needed = &config.builds[0].variants[0].build.name;
        let warnings = config.build_problems.of([needed]).expect("warnings only");
        let warnings = warnings.into_iter();
        warnings
            .map(|it| format!("{} ({})", it.message, it.help.unwrap_or_default()))
            .collect()
    };
    let said = "`WIDTH` is in `variables`, which are not passed to the simulator, but the toplevel \
                `fifo` has a parameter `WIDTH`";
    assert_eq!(
        reported("variables = { WIDTH = 8 }\nmatrix = { WIDTH = [8, 16] }"),
        [format!(
            "4 bad-value: {said} (help: remove it from `variables`, so that `matrix` varies the \
             parameter; or rename the variable)"
        )]
    );
    let warned = |help: &str| vec![format!("{said} ({help})")];
    let removed = "remove it from `variables`, so that `variants` varies the parameter; or rename the variable";
    for (text, expected) in [
        (
            "variables = { WIDTH = 8 }",
            warned("move it to `parameters`; or rename the variable"),
        ),
        (
            "variables = { WIDTH = 8 }\nvariants = [{ WIDTH = 8 }, { WIDTH = 9 }]\nenv = { W = '{WIDTH}' }",
            warned(removed),
        ),
        // It may reach the parameter in another way, or is no parameter of the toplevel.
        (
            "variables = { WIDTH = 8 }\nbuild_args = ['-Pfifo.WIDTH={WIDTH}']",
            vec![],
        ),
        (
            "variables = { WIDTH = 8 }\ndefines = { W = '{WIDTH}' }",
            vec![],
        ),
        (
            "variables = { DEPTH = 8 }\nmatrix = { DEPTH = [8, 16] }",
            vec![],
        ),
    ] {
        assert_eq!(reported(text), expected, "{text}");
    }
}
