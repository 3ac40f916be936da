//! The objects of the JSON report, one type per event.

use super::SCHEMA;

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Severity;
use crate::diagnostic::Snippet;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::model::exit_code::ExitCode;
use crate::model::outcome;
use crate::model::outcome::RunVerdict;
use crate::model::outcome::TestcaseResult;
use crate::model::test;
use crate::report::tally::Tally;
use crate::report::verdict;

use serde::Serialize;

/// One object of the stream; the tag names the event.
#[derive(Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case"
)]
pub(super) enum Line<'a> {
    SessionStarted {
        elapsed_s: f64,
        schema: u32,
        cocorun: &'static str,
        session_id: &'a str,
        started_at: &'a str,
        config: &'a str,
        jobs: usize,
        seed: u32,
        builds: usize,
    },
    BuildStarted {
        elapsed_s: f64,
        build: &'a str,
        simulator: &'a str,
    },
    BuildWaiting {
        elapsed_s: f64,
        build: &'a str,
        holder: &'a str,
        doing: Option<&'a str>,
        waited_s: f64,
    },
    BuildFinished {
        elapsed_s: f64,
        build: &'a str,
        outcome: &'static str,
        duration_s: f64,
        reasons: &'a [String],
        log: Option<&'a str>,
        problem: Option<Problem<'a>>,
    },
    ModuleListed {
        elapsed_s: f64,
        build: &'a str,
        module: &'a str,
        selected: Vec<Listed<'a>>,
        deselected: usize,
    },
    RunStarted {
        elapsed_s: f64,
        run: u32,
        slot: usize,
        build: &'a str,
        testcases: Vec<Identity<'a>>,
        dir: &'a str,
        spawned_because: Option<&'a str>,
    },
    TestcaseStarted {
        elapsed_s: f64,
        run: u32,
        slot: usize,
        testcase: Identity<'a>,
    },
    TestcaseFinished {
        elapsed_s: f64,
        testcase: Identity<'a>,
        outcome: &'static str,
        cause: Option<&'static str>,
        code: Option<&'static str>,
        expected_failure: bool,
        message: Option<&'a str>,
        error_type: Option<&'a str>,
        details: Option<&'a str>,
        duration_s: f64,
        sim_time_ns: Option<f64>,
        seed: u32,
        attempt: u32,
        run_dir: Option<&'a str>,
        log: Option<LogSpan<'a>>,
        waves: Option<&'a str>,
        file: Option<&'a str>,
        line: Option<u32>,
    },
    RunFinished {
        elapsed_s: f64,
        run: u32,
        slot: usize,
        verdict: &'static str,
        duration_s: f64,
    },
    Notice {
        elapsed_s: f64,
        problem: Problem<'a>,
    },
    Stopping {
        elapsed_s: f64,
        reason: &'a str,
    },
    SessionFinished {
        elapsed_s: f64,
        exit_code: u8,
        exit: &'static str,
        counts: Counts,
        builds_failed: usize,
        deselected: usize,
        duration_s: f64,
    },
}

/// A testcase's identity; `id` joins the three parts with `::`.
#[derive(Serialize)]
pub(super) struct Identity<'a> {
    id: String,
    build: &'a str,
    module: &'a str,
    testcase: &'a str,
}

/// A testcase as it was listed.
#[derive(Serialize)]
pub(super) struct Listed<'a> {
    id: String,
    build: &'a str,
    module: &'a str,
    testcase: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
    doc: Option<&'a str>,
    skip: bool,
    stage: i64,
}

/// The part of a log that belongs to a testcase, in bytes.
#[derive(Serialize)]
pub(super) struct LogSpan<'a> {
    path: &'a str,
    start: u64,
    end: u64,
}

/// A problem with its code.
#[derive(Serialize)]
pub(super) struct Problem<'a> {
    severity: &'static str,
    code: &'static str,
    message: &'a str,
    place: Option<Place<'a>>,
    facts: &'a [String],
    help: Option<&'a str>,
}

/// A place in a file; line and column count from 1, the column in characters.
#[derive(Serialize)]
pub(super) struct Place<'a> {
    path: &'a str,
    line: usize,
    column: usize,
    label: &'a str,
}

/// Testcases by outcome.
#[derive(Serialize)]
pub(super) struct Counts {
    passed: usize,
    failed: usize,
    errored: usize,
    timed_out: usize,
    skipped: usize,
    not_run: usize,
}

/// Returns the object for an event; `tally` knows the events up to this one.
#[expect(
    clippy::too_many_lines,
    reason = "one arm per event, each a plain list of its fields"
)]
pub(super) fn of<'a>(event: &'a Event, elapsed_s: f64, tally: &Tally) -> Line<'a> {
    match event {
        Event::SessionStarted(session) => Line::SessionStarted {
            elapsed_s,
            schema: SCHEMA,
            cocorun: env!("CARGO_PKG_VERSION"),
            session_id: &session.session_id,
            started_at: &session.started_at,
            config: session.config.as_str(),
            jobs: session.jobs,
            seed: session.seed.0,
            builds: session.builds,
        },
        Event::BuildStarted { build, simulator } => Line::BuildStarted {
            elapsed_s,
            build: build.as_str(),
            simulator: simulator.as_str(),
        },
        Event::BuildWaiting {
            build,
            holder,
            waited,
        } => Line::BuildWaiting {
            elapsed_s,
            build: build.as_str(),
            holder: &holder.words,
            doing: holder.doing.as_deref(),
            waited_s: waited.as_secs_f64(),
        },
        Event::BuildFinished {
            build,
            outcome,
            reasons,
            duration,
            log,
        } => {
            let (outcome, problem) = build_outcome(outcome);
            Line::BuildFinished {
                elapsed_s,
                build: build.as_str(),
                outcome,
                duration_s: duration.as_secs_f64(),
                reasons,
                log: log.as_ref().map(|path| path.as_str()),
                problem,
            }
        }
        Event::ModuleListed {
            build,
            module,
            selected,
            deselected,
        } => Line::ModuleListed {
            elapsed_s,
            build: build.as_str(),
            module: &module.0,
            selected: selected.iter().map(testcase).collect(),
            deselected: *deselected,
        },
        Event::RunStarted {
            run,
            slot,
            build,
            testcases,
            dir,
            spawned_because,
        } => Line::RunStarted {
            elapsed_s,
            run: *run,
            slot: *slot,
            build: build.as_str(),
            testcases: testcases.iter().map(id).collect(),
            dir: dir.as_str(),
            spawned_because: spawned_because.as_deref(),
        },
        Event::TestcaseStarted {
            run,
            slot,
            testcase,
        } => Line::TestcaseStarted {
            elapsed_s,
            run: *run,
            slot: *slot,
            testcase: id(testcase),
        },
        Event::TestcaseFinished(result) => testcase_finished(result, elapsed_s, tally.code(result)),
        Event::RunFinished {
            run,
            slot,
            verdict,
            duration,
        } => Line::RunFinished {
            elapsed_s,
            run: *run,
            slot: *slot,
            verdict: verdict_word(*verdict),
            duration_s: duration.as_secs_f64(),
        },
        Event::Notice(notice) => Line::Notice {
            elapsed_s,
            problem: problem(notice),
        },
        Event::Stopping { reason } => Line::Stopping { elapsed_s, reason },
        Event::SessionFinished(end) => Line::SessionFinished {
            elapsed_s,
            exit_code: end.exit_code.code(),
            exit: exit_word(end.exit_code),
            counts: counts(&end.counts),
            builds_failed: end.builds_failed,
            deselected: end.deselected,
            duration_s: end.duration.as_secs_f64(),
        },
    }
}

fn testcase_finished(result: &TestcaseResult, elapsed_s: f64, code: Option<Code>) -> Line<'_> {
    Line::TestcaseFinished {
        elapsed_s,
        testcase: id(&result.id),
        outcome: verdict::outcome_word(result.outcome),
        cause: result.cause.map(verdict::cause_word),
        code: code.map(Code::name),
        expected_failure: result.expected_failure,
        message: result.message.as_deref(),
        error_type: result.error_type.as_deref(),
        details: result.details.as_deref(),
        duration_s: result.duration.as_secs_f64(),
        sim_time_ns: result.sim_time_ns.filter(|ns| ns.is_finite()),
        seed: result.seed.0,
        attempt: result.attempt,
        run_dir: result.run_dir.as_ref().map(|path| path.as_str()),
        log: result.log.as_ref().map(log_span),
        waves: result.waves.as_ref().map(|path| path.as_str()),
        file: result.file.as_ref().map(|path| path.as_str()),
        line: result.line,
    }
}

fn build_outcome(outcome: &BuildOutcome) -> (&'static str, Option<Problem<'_>>) {
    match outcome {
        BuildOutcome::Built => ("built", None),
        BuildOutcome::UpToDate => ("up-to-date", None),
        BuildOutcome::BuiltElsewhere => ("built-elsewhere", None),
        BuildOutcome::Failed(failure) => ("failed", Some(problem(failure))),
    }
}

fn id(id: &test::TestcaseId) -> Identity<'_> {
    Identity {
        id: id.to_string(),
        build: id.build.as_str(),
        module: &id.module.0,
        testcase: &id.testcase,
    }
}

fn testcase(listed: &test::Testcase) -> Listed<'_> {
    Listed {
        id: listed.id.to_string(),
        build: listed.id.build.as_str(),
        module: &listed.id.module.0,
        testcase: &listed.id.testcase,
        file: listed.file.as_ref().map(|path| path.as_str()),
        line: listed.line,
        doc: listed.doc.as_deref(),
        skip: listed.skip,
        stage: listed.stage,
    }
}

fn log_span(span: &outcome::LogSpan) -> LogSpan<'_> {
    LogSpan {
        path: span.path.as_str(),
        start: span.start,
        end: span.end,
    }
}

fn problem(problem: &Diagnostic) -> Problem<'_> {
    Problem {
        severity: match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        code: problem.code.name(),
        message: &problem.message,
        place: problem.snippet.as_ref().map(place),
        facts: &problem.facts,
        help: problem.help.as_deref(),
    }
}

fn place(snippet: &Snippet) -> Place<'_> {
    let before = snippet
        .text
        .get(..snippet.range.start)
        .unwrap_or(&snippet.text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Place {
        path: snippet.path.as_str(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        label: &snippet.label,
    }
}

fn counts(counts: &outcome::Counts) -> Counts {
    Counts {
        passed: counts.passed,
        failed: counts.failed,
        errored: counts.errored,
        timed_out: counts.timed_out,
        skipped: counts.skipped,
        not_run: counts.not_run,
    }
}

fn verdict_word(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Completed => "completed",
        RunVerdict::TimedOut => "timed-out",
        RunVerdict::Crashed => "crashed",
        RunVerdict::Incomplete => "incomplete",
        RunVerdict::Cancelled => "cancelled",
        RunVerdict::Lost => "lost",
    }
}

fn exit_word(code: ExitCode) -> &'static str {
    match code {
        ExitCode::Success => "success",
        ExitCode::TestFailed => "test-failed",
        ExitCode::Usage => "usage",
        ExitCode::BuildFailed => "build-failed",
        ExitCode::NothingSelected => "nothing-selected",
        ExitCode::Environment => "environment",
        // No session ends with one of these.
        ExitCode::Guard => "guard",
        ExitCode::Command(_) => "command",
        ExitCode::Signal(_) => "signal",
    }
}
