//! Error lines of compilers: the ones to show, and parameters that a toplevel does not have.

use crate::model::build::Build;
use crate::sim::log_text::words;
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

/// Returns what a module's source may declare as parameters; empty if the module is not in there.
///
/// Types and defaults are included: the result is for suggesting the intended name.
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
}
