//! Results in words: status, headline, and the command that repeats one.
//!
//! Every report takes its words from here.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::event::CheckpointReached;
use crate::event::Contradiction;
use crate::event::RunOrigin;
use crate::event::SessionStarted;
use crate::model::build::BuildName;
use crate::model::outcome::Cause;
use crate::model::outcome::OrderDependence;
use crate::model::outcome::Outcome;
use crate::model::outcome::RunVerdict;
use crate::model::outcome::TestcaseResult;
use crate::model::test::TestcaseId;
use crate::report::log::PrintedLines;
use crate::report::text;
use crate::report::traceback;

use camino::Utf8Path;

/// How wide a line of a message or traceback may be, in cells.
const LINE_COLUMNS_MAX: usize = 400;
/// How many lines of a message or of a traceback are quoted, the last ones.
const QUOTED_LINES_MAX: usize = 60;

/// Returns the word that starts a testcase's line.
pub(super) fn status_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "PASS",
        Outcome::Failed => "FAIL",
        Outcome::Errored => "ERROR",
        Outcome::TimedOut => "TIMEOUT",
        Outcome::Skipped => "SKIP",
        Outcome::NotRun => "NOT RUN",
    }
}

/// Says how a process ended.
pub(super) fn end_of_run(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Completed => "completed",
        RunVerdict::TimedOut => "killed at its time limit",
        RunVerdict::Crashed => "killed by a signal",
        RunVerdict::Incomplete => "ended without all of its results",
        RunVerdict::Cancelled => "stopped with the session",
        RunVerdict::CheckpointMissed => "not forked from its checkpoint, runs again",
        RunVerdict::Lost => "lost with its fork server, runs again",
    }
}

/// Returns what a run is called before its first testcase starts.
pub(super) fn run_label(build: &BuildName, testcases: &[TestcaseId]) -> String {
    match testcases {
        [] => text::visible(build.as_str()).into_owned(),
        [only] => name(only),
        [first, ..] => {
            let number = text::count(testcases.len(), "testcase");
            format!("{} ({number})", text::visible(&group(first)))
        }
    }
}

/// Says which checkpoint has run, and up to when.
pub(super) fn checkpoint_reached(reached: &CheckpointReached) -> String {
    let CheckpointReached {
        build,
        checkpoint,
        sim_time_ns,
        ..
    } = reached;
    format!("{build}::{checkpoint} ends at {sim_time_ns} ns")
}

/// Says how a run was started.
pub(super) fn origin(origin: &RunOrigin) -> String {
    let mut words = match (&origin.spawned_because, &origin.checkpoint) {
        (None, None) => "forked".to_owned(),
        (None, Some(checkpoint)) => format!("forked from `{checkpoint}`"),
        (Some(why), _) => format!("spawned: {why}"),
    };
    if let Some(why) = &origin.checkpoint_unused_because {
        words.push_str("; not from its checkpoint: ");
        words.push_str(why);
    }
    words
}

/// Returns the folder of a session's `runner.toml`.
pub(super) fn project(session: Option<&SessionStarted>) -> Option<&Utf8Path> {
    session.and_then(|session| session.config.parent())
}

/// Returns a testcase's full name, safe to print, in one line.
pub(super) fn name(id: &TestcaseId) -> String {
    text::visible(&id.to_string()).replace('\n', "\\n")
}

/// Returns what a testcase belongs to: `BUILD::MODULE` or `BUILD::MODULE/VARIANT`, the name of its
/// JUnit suite.
pub(super) fn group(id: &TestcaseId) -> String {
    format!("{}::{}", id.build, id.module_in_variant())
}

/// Returns one line that says what went wrong, with the exception's type where there was one.
///
/// `None` where there is nothing to say (it passed as it should).
pub(super) fn message_line(result: &TestcaseResult) -> Option<String> {
    let own = result
        .message
        .as_deref()
        .map(text::first_line)
        .filter(|line| !line.is_empty());
    let kind = result
        .error_type
        .as_deref()
        .map(text::first_line)
        .filter(|kind| !kind.is_empty());
    match (kind, own) {
        (Some(kind), Some(own)) if names_type(&own, &kind) => Some(own.into_owned()),
        (Some(kind), Some(own)) => Some(format!("{kind}: {own}")),
        (Some(kind), None) => Some(kind.into_owned()),
        (None, Some(own)) => Some(own.into_owned()),
        (None, None) => result.cause.map(default_words).map(ToOwned::to_owned),
    }
}

/// Says whether a message names the exception's type itself.
fn names_type(message: &str, kind: &str) -> bool {
    message.starts_with(kind) || message.contains(&format!(": {kind}: "))
}

fn default_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Test => "cocotb recorded a failure",
        Cause::UnexpectedPass => "passed, but was expected to fail",
        Cause::HdlError => "the HDL reported an error while the testcase passed",
        Cause::SimulationEnded => "the simulation ended before the testcase did",
        Cause::Crashed => "the simulator was killed by a signal",
        Cause::ExitStatus => "the simulator exited with a status that the results do not explain",
        Cause::Import => "the test module cannot be imported",
        Cause::Startup => "the simulator ended before the first testcase",
        Cause::NoTestcases => "the module contains no testcase",
        Cause::NoResult => "the simulator ended without a result for this testcase",
        Cause::Timeout => "exceeded its wall-clock limit",
        Cause::Build => "the build it needs failed",
        Cause::Session => "the session ended before it could run",
        Cause::Skip => "marked as skipped",
    }
}

/// Returns the headline of a bad result: who, how, why.
pub(super) fn headline(result: &TestcaseResult) -> String {
    let verb = match (result.outcome, result.cause) {
        (Outcome::NotRun, _) => "has no verdict",
        (Outcome::Errored, Some(Cause::Crashed)) => "crashed",
        (other, _) => other.word(),
    };
    let mut line = format!("`{}` {verb}", name(&result.id));
    if let Some(why) = message_line(result) {
        line.push_str(": ");
        line.push_str(&why);
    }
    text::cut_end(&line, LINE_COLUMNS_MAX).into_owned()
}

/// Returns the command that repeats a result exactly, quoted for a shell.
///
/// `prefix` starts it (`cocorun test --config x/runner.toml`). If a module failed as a whole, there
/// is no testcase to name, and the command repeats the module.
pub(super) fn rerun_command(prefix: &str, result: &TestcaseResult) -> String {
    let id = &result.id;
    let mut command = prefix.to_owned();
    let mut add = |flag: &str, value: &str| {
        // Otherwise a value that begins with `-` would be parsed as an option.
        let joint = if value.starts_with('-') { '=' } else { ' ' };
        let value = text::shell_word(value);
        text::add(&mut command, format_args!(" --{flag}{joint}{value}"));
    };
    add("build", id.build.as_str());
    add("module", &id.module_in_variant().to_string());
    if !id.is_whole_module() {
        add("testcase", &id.testcase);
    }
    text::add(&mut command, format_args!(" --seed {}", result.seed));
    command
}

/// Returns a bad result as a diagnostic: headline, place, message, traceback, output, facts, rerun.
pub(super) fn diagnostic(
    result: &TestcaseResult,
    code: Code,
    rerun_prefix: &str,
    output: &PrintedLines,
) -> Diagnostic {
    let mut problem = Diagnostic::error(code, headline(result));
    if let Some(file) = &result.file {
        problem = problem.fact(text::visible(&format!(
            "at {file}{}",
            place_in_file(result)
        )));
    }
    if let Some(message) = long_message(result) {
        problem = problem.fact(quote(message));
    }
    if let Some(details) = unsaid_details(result) {
        problem = problem.fact(quote(&details));
    }
    if !output.lines.is_empty() {
        problem = problem.fact(match (output.is_cut, output.lines.len()) {
            (false, _) => "its output:".to_owned(),
            (true, 1) => "the last line of its output:".to_owned(),
            (true, number) => format!("the last {number} lines of its output:"),
        });
        problem = problem.fact(indented(output.lines.iter().map(String::as_str)));
    }
    problem = problem.fact(circumstances(result));
    if let Some(log) = &result.log {
        problem = problem.fact(text::visible(&format!("log: {}", log.path)));
    } else if let Some(dir) = &result.run_dir {
        problem = problem.fact(text::visible(&format!("run directory: {dir}")));
    }
    if let Some(waves) = &result.waves {
        problem = problem.fact(text::visible(&format!("waves: {waves}")));
    }
    let is_import = result.cause == Some(Cause::Import) && result.id.is_whole_module();
    let when = match result.cause {
        Some(Cause::NoTestcases) => {
            "put `@cocotb.test()` above its coroutines, or take it out of `test_module`; then rerun it"
        }
        _ if is_import => "once that is fixed, rerun it alone",
        _ => "rerun it alone",
    };
    problem.help(format!("{when}: `{}`", rerun_command(rerun_prefix, result)))
}

/// Says that a testcase passes after others, and how to accept that; a sentence without a full
/// stop.
pub(super) fn order_dependence(found: &OrderDependence) -> String {
    let others = match found.earlier {
        0 => String::new(),
        earlier => format!(" and {}", text::count(earlier, "other")),
    };
    let after = &found.after;
    let words = format!(
        "passes after `{after}`{others} in the same simulation: it depends on state left behind; \
         `isolation = \"module\"` accepts that"
    );
    text::visible(&words).into_owned()
}

/// Returns the message if neither the headline nor the traceback contains it: one of several lines,
/// or a long one.
pub(super) fn long_message(result: &TestcaseResult) -> Option<&str> {
    let headline = headline(result);
    let details = result.details.as_deref().unwrap_or_default();
    result
        .message
        .as_deref()
        .filter(|message| message.trim().contains('\n') || message.len() > LINE_COLUMNS_MAX / 2)
        .filter(|message| !headline.contains(message.trim()) && !details.contains(message.trim()))
}

/// Returns the traceback, unless it is just the exception whose message is shown anyway.
pub(super) fn further_details(result: &TestcaseResult) -> Option<&str> {
    let details = result.details.as_deref()?.trim();
    let message = result.message.as_deref().map_or("", str::trim);
    let is_shown = !details.contains('\n') && !message.is_empty() && details.ends_with(message);
    (!details.is_empty() && !is_shown).then_some(details)
}

/// Returns of the traceback what headline and place do not say: a single frame of the testcase's own
/// file is its place, and the exception's first line is in the headline.
fn unsaid_details(result: &TestcaseResult) -> Option<String> {
    let details = further_details(result)?;
    let Some(parts) = traceback::parts(details) else {
        return Some(traceback::folded(details));
    };
    let (first, rest) = match parts.exception.split_once('\n') {
        Some((first, rest)) => (first, rest.trim_end()),
        None => (parts.exception, ""),
    };
    let said = message_line(result).unwrap_or_default();
    let first_shown = text::first_line(first);
    let is_said = !said.is_empty() && !first_shown.is_empty();
    let is_said = is_said && (first_shown.ends_with(&said) || said.ends_with(&*first_shown));
    let place = result.file.as_ref().and_then(|file| {
        let is_only = traceback::route(details).len() == 1;
        traceback::last_place(details, file.as_str()).filter(|_| is_only)
    });
    let mut shown = String::new();
    // Frames without a line of source are more than the place.
    if !(is_said && place.is_some_and(|(_, source)| source.is_some())) {
        shown.push_str(&traceback::folded(parts.frames));
    }
    for part in [first, rest].into_iter().skip(usize::from(is_said)) {
        if !part.is_empty() {
            let joint = if shown.is_empty() { "" } else { "\n" };
            text::add(&mut shown, format_args!("{joint}{part}"));
        }
    }
    (!shown.is_empty()).then_some(shown)
}

/// Returns where in the testcase's own file the traceback ends, or a hang is, as `:LINE` with what
/// stands there; without either, the line of its definition.
fn place_in_file(result: &TestcaseResult) -> String {
    let file = result.file.as_ref().map_or("", |file| file.as_str());
    let details = result.details.as_deref().unwrap_or_default();
    let place = match result.outcome {
        Outcome::TimedOut => traceback::first_place(details, file),
        _ => traceback::last_place(details, file),
    };
    match (place, result.line) {
        (Some((line, Some(source))), _) => format!(":{line}: {source}"),
        (Some((line, None)), _) | (None, Some(line)) => format!(":{line}"),
        (None, None) => String::new(),
    }
}

/// Returns the last lines of a foreign text, visible, indented, each of a sane width.
fn quote(foreign: &str) -> String {
    let clean = text::visible(foreign);
    let lines: Vec<&str> = clean.trim_end().lines().collect();
    let hidden = lines.len().saturating_sub(QUOTED_LINES_MAX);
    let mut quoted = String::new();
    if hidden > 0 {
        let words = text::count(hidden, "line");
        quoted = format!("  ({words} before this left out)\n");
    }
    quoted.push_str(&indented(lines[hidden..].iter().copied()));
    quoted
}

fn indented<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines
        .map(|line| format!("  {}", text::cut_end(line, LINE_COLUMNS_MAX)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns seed, attempt, simulated and wall-clock time in one line.
fn circumstances(result: &TestcaseResult) -> String {
    let mut line = format!("seed {}", result.seed);
    if result.attempt > 1 {
        text::add(&mut line, format_args!(", attempt {}", result.attempt));
    }
    if let Some(ns) = result.sim_time_ns.filter(|ns| ns.is_finite()) {
        text::add(&mut line, format_args!(", simulated {ns} ns"));
    }
    text::add(
        &mut line,
        format_args!(", took {}", text::duration(result.duration)),
    );
    line
}

/// Returns the first line of a text, harmless, with paths relative to the project.
pub(super) fn first_line_shown(text: &str, project: Option<&Utf8Path>) -> String {
    let line = text::first_line(text);
    match project {
        Some(dir) => text::relative(&line, dir),
        None => line.into_owned(),
    }
}

/// Returns a contradiction of the stream as a problem.
pub(super) fn contradiction(found: &Contradiction) -> Diagnostic {
    let message = match found {
        Contradiction::BrokenOff => "the session broke off: it has no last event".to_owned(),
        Contradiction::NoResult { number, first } => {
            let number = text::count(*number, "planned testcase");
            format!("no result for {number}, first `{}`", name(first))
        }
        Contradiction::Unplanned { number, first } => {
            let number = text::count(*number, "result");
            format!("{number} more than planned, first `{}`", name(first))
        }
        Contradiction::Counts { claimed, counted } => format!(
            "the session counts {} ({} bad), but {} ({} bad) have a result",
            text::count(claimed.total(), "testcase"),
            claimed.bad(),
            counted.total(),
            counted.bad(),
        ),
        Contradiction::HiddenFailure { number } => format!(
            "the session ended with 0 in spite of {}",
            text::count(*number, "bad result")
        ),
    };
    Diagnostic::error(Code::TestNoResult, message)
}

/// Returns a diagnostic in which foreign text can do no harm on a terminal, and paths below the
/// project are relative to it; what can be pasted stays as it is.
pub(super) fn harmless(problem: &Diagnostic, project: Option<&Utf8Path>) -> Diagnostic {
    let shown = |words: &str| match project.filter(|_| !words.contains("`cocorun ")) {
        Some(dir) => text::relative(&text::visible(words), dir),
        None => text::visible(words).into_owned(),
    };
    let mut clean = problem.clone();
    clean.message = shown(&problem.message);
    clean.facts = problem.facts.iter().map(|fact| shown(fact)).collect();
    clean.help = problem
        .help
        .as_deref()
        .map(|help| text::visible(help).into_owned());
    clean
}

/// Returns the problem of a failed build with the command that repeats it.
pub(super) fn build_problem(
    problem: &Diagnostic,
    build: &BuildName,
    session: Option<&SessionStarted>,
) -> Diagnostic {
    let Some(session) = session.filter(|_| !problem.code.is_stop()) else {
        return problem.clone();
    };
    let words = format!("rerun it alone: `{}`", rebuild_command(session, build));
    let help = match &problem.help {
        None => words,
        Some(help) if help.ends_with('?') => format!("{help} Then {words}"),
        Some(help) => format!("{help}; then {words}"),
    };
    problem.clone().help(help)
}

/// Returns the command that repeats a build, quoted for a shell.
fn rebuild_command(session: &SessionStarted, build: &BuildName) -> String {
    let words = shell_words::split(&session.rerun_prefix).unwrap_or_default();
    let name = text::shell_word(build.as_str());
    // With waves it is another build, which only `cocorun test` makes.
    if words.iter().any(|word| word == "--waves") {
        return format!("{} --build {name}", session.rerun_prefix);
    }
    let config = words.iter().position(|word| word == "--config");
    let mut command = "cocorun build".to_owned();
    if let Some(path) = config.and_then(|at| words.get(at + 1)) {
        text::add(
            &mut command,
            format_args!(" --config {}", text::shell_word(path)),
        );
    }
    text::add(&mut command, format_args!(" {name}"));
    command
}

/// Returns a build's name with its simulator, as every line about a build shows it.
pub(super) fn build_label(build: &BuildName, simulator: Option<&str>) -> String {
    match simulator {
        // No need to repeat a simulator that is part of the name.
        Some(simulator) if !build.as_str().ends_with(&format!("@{simulator}")) => {
            format!("{build} ({simulator})")
        }
        _ => build.to_string(),
    }
}
