//! Error lines of compilers: the ones to show, and parameters that a toplevel does not have.

use crate::model::build::Build;
use crate::sim::simulator::Simulator;

/// Picks the error lines of a compiler's log, first ones first; a short log is shown completely,
/// since no list of words covers every error.
pub fn complaints(simulator: &dyn Simulator, log: &str, limit: usize) -> Vec<String> {
    let lines = || log.lines().filter(|line| !line.trim().is_empty());
    let is_short = lines().count() <= limit;
    lines()
        .filter(|line| !line.to_ascii_lowercase().contains("exiting due to"))
        .filter(|line| is_short || simulator.is_complaint(line))
        .take(limit)
        .map(str::to_owned)
        .collect()
}

/// Returns the parameters of a build that, by the compiler's log, its toplevel does not have.
pub fn unknown_parameters<'a>(
    simulator: &dyn Simulator,
    build: &'a Build,
    log: &str,
) -> Vec<&'a str> {
    let is_named = |name: &&str| {
        log.lines()
            .any(|line| simulator.is_unknown_parameter(line, name))
    };
    let names = build.parameters.keys().map(String::as_str);
    names.filter(is_named).collect()
}

/// Returns the parameters that a module declares in a source; empty if the module is not in there.
///
/// Read without a preprocessor: the result is for suggesting the intended name.
pub fn declared_parameters(source: &str, module: &str) -> Vec<String> {
    let code = without_comments_and_strings(source);
    let tokens: Vec<&str> = tokens(&code).collect();
    let is_module = |pair: &[&str]| {
        let is_keyword = matches!(pair[0], "module" | "macromodule" | "automatic" | "static");
        is_keyword && pair[1] == module
    };
    let Some(start) = tokens.windows(2).position(is_module) else {
        return Vec::new();
    };
    let body = tokens[start + 2..].iter().copied();
    let body: Vec<&str> = body.take_while(|token| *token != "endmodule").collect();
    let mut names = Vec::new();
    // In `#(…)` after the module's name, `parameter` may be left out.
    let mut is_declaring = body.starts_with(&["#", "("]);
    let mut depth = 0_usize;
    let mut name = "";
    for (index, token) in body.iter().copied().enumerate() {
        match token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                is_declaring &= depth > 0 || token != ")";
            }
            ";" | "localparam" => is_declaring = false,
            "parameter" => is_declaring = true,
            "=" if is_declaring && depth <= 1 => {
                let is_comparison = body.get(index + 1) == Some(&"=")
                    || matches!(body[index - 1], "=" | "!" | "<" | ">");
                if !is_comparison {
                    names.push(name.to_owned());
                }
            }
            word if depth <= 1 && word.starts_with(is_name_start) => name = word,
            _ => {}
        }
    }
    names.dedup();
    names
}

/// Returns the modules that a source defines, read as by [`declared_parameters`].
pub fn declared_modules(source: &str) -> Vec<String> {
    let code = without_comments_and_strings(source);
    let tokens: Vec<&str> = tokens(&code).collect();
    let mut names = Vec::new();
    let mut rest = tokens.as_slice();
    while let [token, after @ ..] = rest {
        rest = after;
        if matches!(*token, "module" | "macromodule") {
            let words = after
                .iter()
                .skip_while(|it| matches!(**it, "automatic" | "static"));
            let name = words.copied().next().unwrap_or_default();
            names.extend(name.starts_with(is_name_start).then(|| name.to_owned()));
        }
    }
    names
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

/// Splits code into words and single marks.
fn tokens(code: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    let mut rest = code.trim_start();
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let end = word.max(if word == 0 { first.len_utf8() } else { 0 });
        let token = &rest[..end];
        rest = rest[end..].trim_start();
        Some(token)
    })
}

/// Replaces comments and strings by blanks.
fn without_comments_and_strings(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find(['/', '"']) {
        code.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(text) = rest.strip_prefix('"') {
            let mut is_escaped = false;
            let closes = |c: char| {
                let closes = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                closes
            };
            text.find(closes).map_or(rest.len(), |end| end + 2)
        } else {
            code.push('/');
            rest = &rest[1..];
            continue;
        };
        code.push(' ');
        rest = &rest[length..];
    }
    code.push_str(rest);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_of_a_source_are_found_without_a_preprocessor() {
        let source = "`define X module not_\n// module no\n/* module no */\nmodule a; endmodule : a\n\
                      macromodule b(input x); initial $display(\"module no\"); endmodule\n\
                      module static c #(parameter P = 1) (); endmodule module";
        assert_eq!(declared_modules(source), ["not_", "a", "b", "c"]);
    }

    #[test]
    fn only_what_a_module_declares_is_a_parameter() {
        let check = |source: &str, expected: &[&str]| {
            assert_eq!(declared_parameters(source, "fifo"), expected, "{source}");
        };
        check(
            "module fifo #(parameter int WIDTH = 4, DEPTH = (2 + 1) == 3 ? 1 : 2) (input x);\n\
             parameter EXTRA = 1; wire WIDE = x; localparam INNER = 2;\nendmodule\n\
             module uart #(parameter BAUD = 1)(); endmodule",
            &["WIDTH", "DEPTH", "EXTRA"],
        );
        check(
            "// parameter COUNT = 1;\n/* parameter OTHER = 2; */\n\
             module automatic fifo #(logic [7:0] WIDTH = \"parameter NAME = \\\" \", type T = int)\n\
             (output logic [WIDTH-1:0] o); assign o = 1; // parameter LATE = 1\nendmodule",
            &["WIDTH", "T"],
        );
        check(
            "module fifo (o); parameter [3:0] A = 1, B = 2; output o; assign o = A; endmodule",
            &["A", "B"],
        );
        check("module uart #(parameter BAUD = 1)(); endmodule", &[]);
        check("a / b \"unclosed", &[]);
    }
}
