//! Results in words: status, headline, and the command that repeats one.
//!
//! Every report takes its words from here.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::event::Contradiction;
use crate::model::build::BuildName;
use crate::model::outcome::Cause;
use crate::model::outcome::OrderDependence;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::TestcaseId;
use crate::report::text;

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

/// Returns a testcase's full name, safe to print, in one line.
pub(super) fn name(id: &TestcaseId) -> String {
    text::visible(&id.to_string()).replace('\n', "\\n")
}

/// Returns what a testcase belongs to: `BUILD::MODULE`, the name of its JUnit suite.
pub(super) fn group(id: &TestcaseId) -> String {
    format!("{}::{}", id.build, id.module)
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
    add("module", &id.module.0);
    if !id.is_whole_module() {
        add("testcase", &id.testcase);
    }
    text::add(&mut command, format_args!(" --seed {}", result.seed));
    command
}

/// Returns a bad result as a diagnostic: headline, place, message, traceback or log, facts, rerun.
///
/// `log_lines` are the last lines of the log; they take the place of a missing traceback.
pub(super) fn diagnostic(
    result: &TestcaseResult,
    code: Code,
    rerun_prefix: &str,
    log_lines: &[String],
) -> Diagnostic {
    let mut problem = Diagnostic::error(code, headline(result));
    if let Some(file) = &result.file {
        let line = failing_line(result)
            .or(result.line)
            .map(|line| format!(":{line}"))
            .unwrap_or_default();
        problem = problem.fact(text::visible(&format!("at {file}{line}")));
    }
    if let Some(message) = long_message(result) {
        problem = problem.fact(quote(message));
    }
    match further_details(result) {
        Some(details) => problem = problem.fact(quote(details)),
        None if !log_lines.is_empty() => {
            problem = problem.fact("the end of its log, without cocotb's table:");
            problem = problem.fact(indented(log_lines.iter().map(String::as_str)));
        }
        None => {}
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
    let when = if is_import {
        "once that is fixed, rerun it alone"
    } else {
        "rerun it alone"
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

/// Returns the message if the headline does not contain it: one of several lines, or a long one.
pub(super) fn long_message(result: &TestcaseResult) -> Option<&str> {
    let headline = headline(result);
    result
        .message
        .as_deref()
        .filter(|message| message.trim().contains('\n') || message.len() > LINE_COLUMNS_MAX / 2)
        .filter(|message| !headline.contains(message.trim()))
}

/// Returns the traceback, unless it is just the exception whose message is shown anyway.
pub(super) fn further_details(result: &TestcaseResult) -> Option<&str> {
    let details = result.details.as_deref()?.trim();
    let message = result.message.as_deref().map_or("", str::trim);
    let is_shown = !details.contains('\n') && !message.is_empty() && details.ends_with(message);
    (!details.is_empty() && !is_shown).then_some(details)
}

/// Returns the line of the testcase's own file in which the traceback ends.
///
/// Python names a frame as `File "PATH", line N, in NAME`.
fn failing_line(result: &TestcaseResult) -> Option<u32> {
    let frame = format!("File \"{}\", line ", result.file.as_ref()?);
    let (_, after) = result.details.as_deref()?.rsplit_once(&frame)?;
    let digits = after.find(|c: char| !c.is_ascii_digit())?;
    after[..digits].parse().ok()
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
        format_args!(", took {:.2} s", result.duration.as_secs_f64()),
    );
    line
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

/// Returns a diagnostic in which foreign text can do no harm on a terminal.
pub(super) fn harmless(problem: &Diagnostic) -> Diagnostic {
    let mut clean = problem.clone();
    clean.message = text::visible(&problem.message).into_owned();
    clean.facts = problem
        .facts
        .iter()
        .map(|fact| text::visible(fact).into_owned())
        .collect();
    clean.help = problem
        .help
        .as_deref()
        .map(|help| text::visible(help).into_owned());
    clean
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
