//! The problem of a compile that failed: what the compiler said, and what to do about it.

use crate::build::context::BuildContext;
use crate::config::suggest::closest;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;
use crate::model::build::Build;
use crate::sim::complaint::complaints;
use crate::sim::complaint::declared_parameters;
use crate::sim::complaint::unknown_parameters;

use camino::Utf8Path;

/// How many lines of the log are shown.
const LINES_MAX: usize = 8;

/// Returns the problem for a failed compile; `how` says how it ended, the log why.
pub(super) fn compile_error(
    build: &Build,
    context: &BuildContext<'_>,
    log: &Utf8Path,
    how: &str,
) -> Diagnostic {
    let text = fs::read_if_there(log).unwrap_or_default();
    let installed = context.tools.simulator(&build.simulator).ok();
    let simulator = installed.map(|installed| installed.simulator.as_ref());
    let unknown = simulator.map(|it| unknown_parameters(it, build, &text));
    let mut problem = match unknown.unwrap_or_default().first() {
        Some(name) => unknown_parameter(build, context, name),
        None => refused(build, how),
    };
    let mut lines = simulator.map_or_else(Vec::new, |it| complaints(it, &text, LINES_MAX));
    if lines.is_empty() {
        lines = text
            .lines()
            .rev()
            .take(LINES_MAX)
            .map(str::to_owned)
            .collect();
        lines.reverse();
    }
    for line in lines {
        problem = problem.fact(line);
    }
    problem = problem
        .fact(format!("log: {log} ({} lines)", text.lines().count()))
        .log(log);
    match simulator.and_then(|it| it.remedy(build, &text)) {
        Some(remedy) => problem.help(remedy),
        None => problem,
    }
}

fn refused(build: &Build, how: &str) -> Diagnostic {
    let how = how.lines().next().unwrap_or_default();
    Diagnostic::error(
        Code::BuildCompile,
        format!("build `{}` could not be compiled ({how})", build.name),
    )
}

fn unknown_parameter(build: &Build, context: &BuildContext<'_>, name: &str) -> Diagnostic {
    let toplevel = &build.hdl_toplevel;
    let message = format!(
        "build `{}` could not be compiled: its toplevel `{toplevel}` has no parameter `{name}`",
        build.name
    );
    let texts: Vec<String> = build
        .sources
        .iter()
        .filter_map(|source| fs::read_if_there(&source.path))
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
