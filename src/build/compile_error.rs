//! The problem of a compile that failed: what the compiler said, and what to do about it.

use crate::build::context::BuildContext;
use crate::config::suggest::closest;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;
use crate::model::build::Build;
use crate::sim::complaint::complaints;
use crate::sim::complaint::declared_modules;
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
    let lacks_toplevel = simulator.is_some_and(|it| {
        let mut lines = text.lines();
        lines.any(|line| it.is_unknown_toplevel(line, &build.hdl_toplevel))
    });
    let unknown = unknown.unwrap_or_default();
    let is_unknown = !unknown.is_empty();
    let mut problem = match unknown.first() {
        Some(name) => unknown_parameter(build, context, name),
        None if lacks_toplevel => unknown_toplevel(build, context, how),
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
        .fact(match text.lines().count() {
            1 => format!("log: {log} (1 line)"),
            number => format!("log: {log} ({number} lines)"),
        })
        .log(log);
    problem = match reused_steps(build, &text, lacks_toplevel || is_unknown) {
        Some(fact) => problem.fact(fact),
        None => problem,
    };
    let remedy = simulator.and_then(|it| it.remedy(build, &text));
    match remedy.or_else(|| two_elements(build, &text)) {
        Some(remedy) if problem.help.is_none() => problem.help(remedy),
        _ => problem,
    }
}

/// Says that a complaint may be about what an earlier session made: steps do not run again for files that
/// they read and nobody has listed.
fn reused_steps(build: &Build, log: &str, is_about_toplevel: bool) -> Option<String> {
    let results = build.step_results.iter();
    let reused = results.filter(|(_, result)| {
        result.is_reused && (is_about_toplevel || log.contains(result.dir.as_str()))
    });
    let names: Vec<String> = reused.map(|(name, _)| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!("made from what {names} wrote in an earlier session; `--force` runs it again")
    })
}

/// Returns the remedy for an element of `build_args` such as `--error-limit 1000`, which reaches the
/// compiler as one word, if the compiler complains about an option.
fn two_elements(build: &Build, log: &str) -> Option<String> {
    // What follows these may be several words.
    const PASSED_ON: [&str; 3] = ["-CFLAGS", "-LDFLAGS", "-MAKEFLAGS"];
    let lower = log.to_lowercase();
    let is_about_options = lower.contains("option") || lower.contains("usage");
    let before = std::iter::once("").chain(build.build_args.iter().map(String::as_str));
    let (arg, option, value) = before.zip(&build.build_args).find_map(|(before, arg)| {
        let (option, value) = arg.split_once(char::is_whitespace)?;
        let is_option = option.starts_with('-') && !option.contains('=');
        let value = value.trim();
        // A whole path or number may be named alone: `-l gone.v` is a file called ` gone.v`.
        let is_rejected = is_about_options || log.contains(value);
        (is_option && is_rejected && !PASSED_ON.contains(&before)).then_some((arg, option, value))
    })?;
    Some(format!(
        "`\"{arg}\"` in `build_args` is one word to the compiler: write two elements, \
         `\"{option}\", \"{value}\"`"
    ))
}

/// Returns the warning about parameters that a build was made without.
pub(super) fn ignored_parameters(
    build: &Build,
    context: &BuildContext<'_>,
    names: &[String],
) -> Option<Diagnostic> {
    let first = names.first()?;
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let message = format!(
        "build `{}` was made without {}: its toplevel `{}` has no such parameter",
        build.name,
        quoted.join(", "),
        build.hdl_toplevel
    );
    let warning = Diagnostic::warning(Code::BuildUnknownParameter, message);
    Some(at_parameter(warning, build, context, first))
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
    let declared: Vec<String> = declared.collect();
    let help = match closest(name, declared.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if build.steps.is_empty() => {
            format!("name a parameter of `module {toplevel}`; upper and lower case differ")
        }
        None => format!(
            "name a parameter of `module {toplevel}`; only if `{name}` just stands in braces, as in the \
             command of a step, move it to `variables`, which are not passed to the design"
        ),
    };
    let problem = Diagnostic::error(Code::BuildUnknownParameter, message).help(help);
    at_parameter(problem, build, context, name)
}

/// Returns the problem for a toplevel that no source defines.
fn unknown_toplevel(build: &Build, context: &BuildContext<'_>, how: &str) -> Diagnostic {
    let toplevel = &build.hdl_toplevel;
    let texts = build.sources.iter();
    let texts = texts.filter_map(|source| fs::read_if_there(&source.path));
    let defined: Vec<String> = texts.flat_map(|text| declared_modules(&text)).collect();
    let help = match closest(toplevel, defined.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("add the file that defines `{toplevel}` to `sources`"),
    };
    let problem = refused(build, how).help(help);
    match (context.place_of)(build, &["hdl_toplevel"]) {
        Some(place) => problem.at(place),
        None => problem,
    }
}

/// Adds where a parameter is given.
fn at_parameter(
    problem: Diagnostic,
    build: &Build,
    context: &BuildContext<'_>,
    name: &str,
) -> Diagnostic {
    let place = |key| (context.place_of)(build, &[key, name]);
    let variants = || (context.place_of)(build, &["variants"]);
    match place("parameters")
        .or_else(|| place("matrix"))
        .or_else(variants)
    {
        Some(place) => problem.at(place),
        None => problem,
    }
}
