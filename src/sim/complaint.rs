//! Complaints of compilers that have a remedy in `runner.toml`.

use crate::model::build::Build;

/// What Verilator says before the parameters that no toplevel has (version 5.48).
const VERILATOR_UNKNOWN: &str = "%Error: Parameters from the command line were not found in";

/// Returns the parameters of a build that its toplevel does not have, by the compiler's log.
///
/// Icarus 11 only warns of them, and then compiles one design under many names.
pub fn unknown_parameters<'a>(build: &'a Build, log: &str) -> Vec<&'a str> {
    let is_named = |name: &&str| {
        let by_icarus = format!("parameter {name} not found in");
        log.lines().any(|line| {
            let by_verilator = line.strip_prefix(VERILATOR_UNKNOWN);
            line.contains(&by_icarus)
                || by_verilator.is_some_and(|rest| words(rest).any(|word| word == *name))
        })
    };
    let names = build.parameters.keys().map(String::as_str);
    names.filter(is_named).collect()
}

/// Returns what a module's source may declare as parameters; empty where it is not in there.
///
/// Types and defaults are among them: it is for finding the name that somebody meant.
pub fn declared_parameters<'a>(source: &'a str, module: &str) -> Vec<&'a str> {
    let is_module = |pair: &[&str]| matches!(pair, ["module", name] if *name == module);
    let all: Vec<&str> = words(source).collect();
    if !all.windows(2).any(is_module) {
        return Vec::new();
    }
    let lists = source.split("parameter").skip(1);
    let lists = lists.map(|rest| rest.split([';', ')']).next().unwrap_or_default());
    lists.flat_map(words).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let fit = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    text.split(move |c| !fit(c)).filter(|word| !word.is_empty())
}

/// Returns the name of Verilator's first warning where warnings are all it complains of.
pub fn warning_as_error(log: &str) -> Option<&str> {
    let is_other = |line: &str| line.starts_with("%Error") && !line.contains("Exiting due to");
    if log.lines().any(is_other) {
        return None;
    }
    let mut warnings = log
        .lines()
        .filter_map(|line| line.strip_prefix("%Warning-"));
    Some(warnings.next()?.split_once(':')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_where_their_module_is() {
        let source = "module fifo #(parameter int WIDTH = 4, DEPTH = 2) (input x);\n\
                      parameter EXTRA = 1; wire WIDE;\nendmodule\n";
        let found = declared_parameters(source, "fifo");
        for name in ["WIDTH", "DEPTH", "EXTRA"] {
            assert!(found.contains(&name), "{name}: {found:?}");
        }
        assert!(!found.contains(&"WIDE"));
        assert!(declared_parameters(source, "uart").is_empty());
    }

    #[test]
    fn a_warning_is_the_reason_only_where_there_is_no_error() {
        let warning =
            "%Warning-WIDTHTRUNC: a.sv:2:12: Operator\n%Error: Exiting due to 1 warning(s)\n";
        assert_eq!(warning_as_error(warning), Some("WIDTHTRUNC"));
        let error = "%Error: a.sv:3:1: syntax error, unexpected end\n";
        assert_eq!(warning_as_error(&format!("{warning}{error}")), None);
        let named = "%Error-NEEDTIMINGOPT: a.sv:1:2: Use --timing\n";
        assert_eq!(warning_as_error(&format!("{warning}{named}")), None);
        assert_eq!(warning_as_error("a.sv:1: error: by Icarus"), None);
    }
}
