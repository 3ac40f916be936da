//! What to tell somebody whose design the compiler has refused.

use crate::build::ensure::Context;
use crate::config::suggest::closest;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;
use crate::model::build::Build;
use crate::model::build::Simulator;
use crate::sim::compile::complaints;
use crate::sim::complaint::declared_parameters;
use crate::sim::complaint::unknown_parameters;
use crate::sim::complaint::warning_as_error;

use camino::Utf8Path;

/// Returns the problem of a compile that ended as `how` says, by what its log holds.
pub(super) fn refusal(
    build: &Build,
    context: &Context<'_>,
    log: &Utf8Path,
    how: &str,
) -> Diagnostic {
    let text = fs::read_if_there(log).unwrap_or_default();
    let unknown = unknown_parameters(build, &text);
    let mut problem = match unknown.first() {
        Some(name) => unknown_parameter(build, context, name),
        None => refused(build, how),
    };
    let mut lines = complaints(&text, 8);
    if lines.is_empty() {
        lines = text.lines().rev().take(8).map(str::to_owned).collect();
        lines.reverse();
    }
    for line in lines {
        problem = problem.fact(line);
    }
    problem = problem
        .fact(format!("log: {log} ({} lines)", text.lines().count()))
        .log(log);
    if build.simulator == Simulator::Verilator
        && let Some(warning) = warning_as_error(&text)
    {
        return problem.help(on_warning(build, warning));
    }
    problem
}

fn refused(build: &Build, how: &str) -> Diagnostic {
    let how = how.lines().next().unwrap_or_default();
    Diagnostic::error(
        Code::BuildCompile,
        format!("build `{}` could not be compiled ({how})", build.name),
    )
}

fn unknown_parameter(build: &Build, context: &Context<'_>, name: &str) -> Diagnostic {
    let toplevel = &build.hdl_toplevel;
    let message = format!(
        "build `{}` could not be compiled: its toplevel `{toplevel}` has no parameter `{name}`",
        build.name
    );
    let texts: Vec<String> = build
        .sources
        .iter()
        .filter_map(|path| fs::read_if_there(path))
        .collect();
    let declared = texts
        .iter()
        .flat_map(|text| declared_parameters(text, toplevel));
    let help = match closest(name, declared) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("name a parameter of `module {toplevel}`; upper and lower case differ"),
    };
    let problem = Diagnostic::error(Code::BuildCompile, message).help(help);
    let table = build.name.table();
    let place = |key| (context.place_of)(&["build", table, key, name]);
    match place("parameters").or_else(|| place("matrix")) {
        Some(place) => problem.at(place),
        None => problem,
    }
}

fn on_warning(build: &Build, warning: &str) -> String {
    let table = build.name.table();
    format!(
        "Verilator takes warnings for errors: mend the HDL, put `// verilator lint_off {warning}` \
         before the place, or write `build_args = [\"-Wno-{warning}\"]` in \
         `[build.{table}.verilator]`; `-Wno-fatal` there lets all warnings pass"
    )
}
