//! What a result means, in words: status, code, headline, and the command that repeats it.
//!
//! Every report takes its words from here.

use super::text;

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::BuildName;
use crate::model::outcome::Cause;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::TestcaseId;

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

/// Returns the stable word for a cause, as it stands in the JSON and JUnit reports.
pub(super) fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Test => "test",
        Cause::UnexpectedPass => "unexpected-pass",
        Cause::HdlError => "hdl-error",
        Cause::SimulationEnded => "simulation-ended",
        Cause::Crashed => "crashed",
        Cause::ExitStatus => "exit-status",
        Cause::Import => "import",
        Cause::Startup => "startup",
        Cause::NoResult => "no-result",
        Cause::NoTestcases => "no-testcases",
        Cause::Timeout => "timeout",
        Cause::Build => "build",
        Cause::Session => "session",
        Cause::Skip => "skip",
    }
}

/// Returns the stable word for an outcome, as it stands in the JSON report.
pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Errored => "errored",
        Outcome::TimedOut => "timed-out",
        Outcome::Skipped => "skipped",
        Outcome::NotRun => "not-run",
    }
}

/// Returns the code of a bad result, `None` for a good one; `of_build` is what its build failed of.
pub(super) fn code(result: &TestcaseResult, of_build: Option<Code>) -> Option<Code> {
    if result.outcome.is_good() {
        return None;
    }
    Some(match (result.cause, result.outcome) {
        (Some(Cause::Crashed), _) => Code::TestCrashed,
        (Some(Cause::ExitStatus), _) => Code::TestExitStatus,
        (Some(Cause::Import), _) => Code::TestImport,
        (Some(Cause::Startup), _) => Code::TestStartup,
        (Some(Cause::Build), _) => of_build.unwrap_or(Code::BuildCompile),
        (Some(Cause::Timeout), _) | (_, Outcome::TimedOut) => Code::TestTimeout,
        (Some(Cause::Session), _) | (_, Outcome::NotRun) => Code::SessionInterrupted,
        (Some(Cause::NoTestcases), _) => Code::TestNoTestcases,
        (Some(Cause::NoResult), _) | (_, Outcome::Errored) => Code::TestNoResult,
        (_, Outcome::Failed | Outcome::Passed | Outcome::Skipped) => Code::TestFailedCode,
    })
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
        (Some(kind), Some(own)) if own.starts_with(&*kind) => Some(own.into_owned()),
        (Some(kind), Some(own)) => Some(format!("{kind}: {own}")),
        (Some(kind), None) => Some(kind.into_owned()),
        (None, Some(own)) => Some(own.into_owned()),
        (None, None) => result.cause.map(default_words).map(ToOwned::to_owned),
    }
}

fn default_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Test => "cocotb recorded a failure",
        Cause::UnexpectedPass => "passed although it is expected to fail",
        Cause::HdlError => "the HDL reported an error while the testcase passed",
        Cause::SimulationEnded => "the simulation ended before the testcase did",
        Cause::Crashed => "the simulator ended by a signal",
        Cause::ExitStatus => "the simulator left with a status that the results do not explain",
        Cause::Import => "the test module cannot be imported",
        Cause::Startup => "the simulator ended before the first testcase",
        Cause::NoTestcases => "the module holds no testcase",
        Cause::NoResult => "the simulator ended without a result of this testcase",
        Cause::Timeout => "the wall-clock limit passed and the run was killed",
        Cause::Build => "the build it needs failed",
        Cause::Session => "the session ended before it could run",
        Cause::Skip => "marked as skipped",
    }
}

/// Returns the headline of a bad result: who, how, why.
pub(super) fn headline(result: &TestcaseResult) -> String {
    let verb = match result.outcome {
        Outcome::NotRun => "has no verdict",
        other => other.word(),
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
/// `prefix` starts it (`cocorun test --config x/runner.toml`). What befell a module as a whole has
/// no testcase to name, so the module is repeated.
pub(super) fn rerun_command(prefix: &str, result: &TestcaseResult) -> String {
    let id = &result.id;
    let mut command = prefix.to_owned();
    let mut add = |flag: &str, value: &str| {
        // A value that begins like a flag would be taken for one.
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
/// `log_lines` are the last lines of the log; they stand in for a traceback where there is none.
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
        "once that is put right, rerun it alone"
    } else {
        "rerun it alone"
    };
    problem.help(format!("{when}: `{}`", rerun_command(rerun_prefix, result)))
}

/// Returns the message where the headline does not hold it: when it has several lines or a long one.
pub(super) fn long_message(result: &TestcaseResult) -> Option<&str> {
    let headline = headline(result);
    result
        .message
        .as_deref()
        .filter(|message| message.trim().contains('\n') || message.len() > LINE_COLUMNS_MAX / 2)
        .filter(|message| !headline.contains(message.trim()))
}

/// Returns the traceback, unless all it holds is the exception whose message is told anyway.
pub(super) fn further_details(result: &TestcaseResult) -> Option<&str> {
    let details = result.details.as_deref()?.trim();
    let message = result.message.as_deref().map_or("", str::trim);
    let is_told = !details.contains('\n') && !message.is_empty() && details.ends_with(message);
    (!details.is_empty() && !is_told).then_some(details)
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

/// Says whether a code tells of the session's end and not of a fault.
pub(super) fn is_stop(code: Code) -> bool {
    matches!(code, Code::SessionInterrupted | Code::SessionTimeout)
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
        // A name that already tells the simulator needs no second word for it.
        Some(simulator) if !build.as_str().ends_with(&format!("@{simulator}")) => {
            format!("{build} ({simulator})")
        }
        _ => build.to_string(),
    }
}
