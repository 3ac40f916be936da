//! Values of a build in the braces of its strings.

use super::*;

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
fn mistakes_in_braces_are_reported_at_their_characters() {
    let project = Project::fifo();
    check(
        &project,
        &[
            (
                "BUILDparameters = { A = '{B + 1}', B = '{C}', C = '{A}', D = '{D}', E = '{A}' }\n\
                 build_args = ['-D{A}', '-D{E}', '-D{F}']\n",
                &[
                    "4 template: `A` depends on itself",
                    "4 template: `D` depends on itself",
                    "5 template: no parameter is called `F` (help: a brace that is not a parameter is \
             doubled: `{{` and `}}`)",
                ],
            ),
            (
                "BUILDmatrix = { W = [8, 0, 'x'] }\nbuild_args = ['-D{64 // W}', '-D{w}']\n\
                 env = { J = '{\"a\": 1}' }\ndefines = { X = 'a{' }\n",
                &[
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
