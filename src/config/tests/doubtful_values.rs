//! Values that compile to something else than what was probably meant.

use super::*;

/// Returns each warning about the builds of a valid file, with its help.
fn warnings(text: &str) -> Vec<String> {
    let config = Project::fifo().fine(&format!("{BUILD}{text}"));
    let needed = &config.builds[0].variants[0].build.name;
    let warnings = config.build_problems.of([needed]).expect("warnings only");
    let warnings = warnings.into_iter();
    warnings
        .map(|it| format!("{} ({})", it.message, it.help.unwrap_or_default()))
        .collect()
}

#[test]
fn a_string_that_looks_like_a_number_is_warned_of() {
    let literal = |name: &str, text: &str| {
        format!(
            "`{name}` is the string `{text}`, not a number (write `{{ sv = \"{text}\" }}` if it is \
             SystemVerilog)"
        )
    };
    let number = |name: &str, text: &str| {
        format!(
            "`{name}` is the string `{text}`, not a number (write `{text}` without quotes; or \
             `{{ sv = '\"{text}\"' }}` if it is a string)"
        )
    };
    assert_eq!(
        warnings(
            "parameters = { A = \"1'b1\", B = \"it's\", E = '-8', F = '0xff', G = '8 bit', H = '' }\n\
             matrix = { C = [\"8'hff\", '2.5'], V = ['1'] }\ndefines = { D = \"1'b1\", W = '8' }\n\
             variables = { V = '8', X = '9' }\nverilator.parameters = { I = '1_000' }\n\
             include = [{ C = '8', J = 1 }]\n"
        ),
        [
            literal("parameters.A", "1'b1"),
            number("parameters.E", "-8"),
            number("parameters.F", "0xff"),
            literal("matrix.C", "8'hff"),
            number("matrix.C", "2.5"),
            number("parameters.I", "1_000"),
            number("include.C", "8"),
        ]
    );
}

#[test]
fn a_string_that_looks_like_an_expression_is_warned_of() {
    let wants_braces = |name: &str, text: &str| {
        format!(
            "`{name}` is the string `{text}`, which is not evaluated (write `\"{{{text}}}\"` for the \
             value of the expression)"
        )
    };
    let wants_parameter = |name: &str, text: &str, inner: &str| {
        format!(
            "`{name}` is the string `{text}`, which is not evaluated (write `{name} = \"{{{inner}}}\"` in \
             `parameters`)"
        )
    };
    assert_eq!(
        warnings(
            "parameters = { A = 'WIDTH // 8', FILE = 'rom-8.hex', B = 'WIDTH', C = 'rom // 8', \
             PATH = 'WIDTH/8', D = '{WIDTH // 8}' }\nvariables = { V = 'min(A, 2)' }\n\
             matrix = { WIDTH = [8, 16], K = ['WIDTH * 2', '{WIDTH}', '{\"a\": 1}', 'x'] }\n\
             defines = { E = 'WIDTH // 8' }\n"
        ),
        [
            wants_braces("A", "WIDTH // 8"),
            wants_braces("V", "min(A, 2)"),
            wants_parameter("K", "WIDTH * 2", "WIDTH * 2"),
            wants_parameter("K", "{WIDTH}", "WIDTH"),
        ]
    );
}

#[test]
fn values_of_one_parameter_with_several_types_are_warned_of() {
    let said = |first: &str, other: &str| {
        format!(
            "`A` is {first} in one build and {other} in another (give all values of `A` one type)"
        )
    };
    for (text, expected) in [
        (
            "matrix = { A = [8, 'x', 'y', true] }",
            Some(said("a number", "a string")),
        ),
        (
            "variants = [{ A = 'x' }, { A = true }]",
            Some(said("a string", "a boolean")),
        ),
        (
            "matrix = { A = [true, false] }\ninclude = [{ A = 2 }]",
            Some(said("a boolean", "a number")),
        ),
        ("matrix = { A = [8, 2.5, { sv = \"8'hff\" }] }", None),
        ("matrix = { A = [8, 'x'] }\nvariables = { A = 1 }", None),
    ] {
        assert_eq!(
            warnings(&format!("{text}\n")),
            Vec::from_iter(expected),
            "{text}"
        );
    }
}
