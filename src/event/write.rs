//! Events as lines of NDJSON.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Severity;
use crate::diagnostic::Snippet;
use crate::event::kinds::BuildHolder;
use crate::event::kinds::BuildOutcome;
use crate::event::kinds::Event;
use crate::event::kinds::SessionFinished;
use crate::event::kinds::SessionStarted;
use crate::event::line::BuildFinishedLine;
use crate::event::line::BuildOutcomeWord;
use crate::event::line::BuildWaitingLine;
use crate::event::line::CheckpointReachedLine;
use crate::event::line::Identity;
use crate::event::line::Line;
use crate::event::line::ListedLine;
use crate::event::line::ModuleListedLine;
use crate::event::line::OrderDependenceLine;
use crate::event::line::Place;
use crate::event::line::Problem;
use crate::event::line::RunStartedLine;
use crate::event::line::SCHEMA;
use crate::event::line::SessionFinishedLine;
use crate::event::line::SessionStartedLine;
use crate::event::line::SeverityWord;
use crate::event::line::StepFinishedLine;
use crate::event::line::StepOutcomeWord;
use crate::event::line::TestcaseFinishedLine;
use crate::event::state::SessionState;
use crate::model::build::BuildName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;

use serde::Serialize;
use std::borrow::Cow;
use std::time::Duration;

/// Returns an event as one line of NDJSON, line feed included.
///
/// `elapsed` is the time since the session started; `state` knows the events up to this one.
pub fn to_line(event: &Event, elapsed: Duration, state: &SessionState) -> String {
    json(&line_of(event, elapsed.as_secs_f64(), state))
}

/// Returns a listed testcase as one line of NDJSON, line feed included.
pub fn listed_testcase(testcase: &Testcase) -> String {
    json(&listed(testcase))
}

fn json(object: &impl Serialize) -> String {
    // Most lines are shorter.
    let mut bytes = Vec::with_capacity(1024);
    serde_json::to_writer(&mut bytes, object)
        .expect("strings, numbers and lists have a form in JSON");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

#[expect(
    clippy::too_many_lines,
    reason = "one arm per event, each a plain list of its fields"
)]
fn line_of<'a>(event: &'a Event, elapsed_s: f64, state: &SessionState) -> Line<'a> {
    match event {
        Event::SessionStarted(session) => Line::SessionStarted(session_started(session, elapsed_s)),
        Event::BuildStarted { build, simulator } => Line::BuildStarted {
            elapsed_s,
            build: Cow::Borrowed(build),
            simulator: simulator.clone(),
        },
        Event::BuildWaiting {
            build,
            holder,
            waited,
        } => Line::BuildWaiting(build_waiting(build, holder, *waited, elapsed_s)),
        Event::StepStarted { step, build } => Line::StepStarted {
            elapsed_s,
            step: Cow::Borrowed(step),
            build: Cow::Borrowed(build),
        },
        Event::StepFinished {
            step,
            build,
            is_done,
            reasons,
            duration,
            log,
        } => Line::StepFinished(StepFinishedLine {
            elapsed_s,
            step: Cow::Borrowed(step),
            build: Cow::Borrowed(build),
            outcome: if *is_done {
                StepOutcomeWord::Done
            } else {
                StepOutcomeWord::Failed
            },
            duration_s: duration.as_secs_f64(),
            reasons: Cow::Borrowed(reasons),
            log: Cow::Borrowed(log),
        }),
        Event::BuildFinished {
            build,
            outcome,
            reasons,
            duration,
            log,
        } => {
            let (outcome, problem) = build_outcome(outcome);
            Line::BuildFinished(BuildFinishedLine {
                elapsed_s,
                build: Cow::Borrowed(build),
                outcome,
                duration_s: duration.as_secs_f64(),
                reasons: Cow::Borrowed(reasons),
                log: log.as_deref().map(Cow::Borrowed),
                problem,
            })
        }
        Event::RunStarted {
            run,
            slot,
            build,
            testcases,
            dir,
            origin,
        } => Line::RunStarted(RunStartedLine {
            elapsed_s,
            run: *run,
            slot: *slot,
            build: Cow::Borrowed(build),
            testcases: testcases.iter().map(identity).collect(),
            dir: Cow::Borrowed(dir),
            spawned_because: origin.spawned_because.as_deref().map(Cow::Borrowed),
            checkpoint: origin.checkpoint.as_ref().map(Cow::Borrowed),
            checkpoint_unused_because: origin
                .checkpoint_unused_because
                .as_deref()
                .map(Cow::Borrowed),
        }),
        Event::CheckpointReached(reached) => Line::CheckpointReached(CheckpointReachedLine {
            elapsed_s,
            build: Cow::Borrowed(&reached.build),
            checkpoint: Cow::Borrowed(&reached.checkpoint),
            duration_s: reached.duration.as_secs_f64(),
            sim_time_ns: reached.sim_time_ns,
            log: Cow::Borrowed(&reached.log),
        }),
        Event::ModuleListed {
            build,
            module,
            variant,
            selected,
            deselected,
            reimported_because,
        } => Line::ModuleListed(ModuleListedLine {
            elapsed_s,
            build: Cow::Borrowed(build),
            module: Cow::Borrowed(module),
            variant: variant.as_ref().map(Cow::Borrowed),
            selected: selected.iter().map(listed).collect(),
            deselected: *deselected,
            reimported_because: reimported_because.as_deref().map(Cow::Borrowed),
        }),
        Event::TestcaseStarted {
            run,
            slot,
            testcase,
        } => Line::TestcaseStarted {
            elapsed_s,
            run: *run,
            slot: *slot,
            testcase: identity(testcase),
        },
        Event::TestcaseFinished(result) => {
            let line = testcase_finished(result, elapsed_s, state.code_of(result));
            Line::TestcaseFinished(Box::new(line))
        }
        Event::OrderDependence(found) => Line::OrderDependence(OrderDependenceLine {
            elapsed_s,
            testcase: identity(&found.testcase),
            after: Cow::Borrowed(&found.after),
            earlier: found.earlier,
            run_dir: found.run_dir.as_deref().map(Cow::Borrowed),
        }),
        Event::RunFinished {
            run,
            slot,
            verdict,
            duration,
        } => Line::RunFinished {
            elapsed_s,
            run: *run,
            slot: *slot,
            verdict: *verdict,
            duration_s: duration.as_secs_f64(),
        },
        Event::Notice(notice) => Line::Notice {
            elapsed_s,
            problem: problem(notice),
        },
        Event::Stopping { reason } => Line::Stopping {
            elapsed_s,
            reason: Cow::Borrowed(reason),
        },
        Event::SessionFinished(end) => Line::SessionFinished(session_finished(end, elapsed_s)),
    }
}

fn session_started(session: &SessionStarted, elapsed_s: f64) -> SessionStartedLine<'_> {
    SessionStartedLine {
        elapsed_s,
        schema: SCHEMA,
        cocorun: Cow::Borrowed(&session.cocorun),
        session_id: Cow::Borrowed(&session.session_id),
        command: session.command,
        host: Cow::Borrowed(&session.host),
        started_at: Cow::Borrowed(&session.started_at),
        config: Cow::Borrowed(&session.config),
        jobs: session.jobs,
        seed: session.seed,
        builds: session.builds,
        modules: session.modules,
        rerun_prefix: Cow::Borrowed(&session.rerun_prefix),
    }
}

fn build_waiting<'a>(
    build: &'a BuildName,
    holder: &'a BuildHolder,
    waited: Duration,
    elapsed_s: f64,
) -> BuildWaitingLine<'a> {
    BuildWaitingLine {
        elapsed_s,
        build: Cow::Borrowed(build),
        holder: Cow::Borrowed(&holder.words),
        holder_name: Some(Cow::Borrowed(&holder.name)),
        holder_since: holder.since.as_deref().map(Cow::Borrowed),
        doing: holder.doing.as_deref().map(Cow::Borrowed),
        waited_s: waited.as_secs_f64(),
    }
}

fn build_outcome(outcome: &BuildOutcome) -> (BuildOutcomeWord, Option<Problem<'_>>) {
    match outcome {
        BuildOutcome::Built => (BuildOutcomeWord::Built, None),
        BuildOutcome::UpToDate => (BuildOutcomeWord::UpToDate, None),
        BuildOutcome::BuiltElsewhere => (BuildOutcomeWord::BuiltElsewhere, None),
        BuildOutcome::Failed(failure) => (BuildOutcomeWord::Failed, Some(problem(failure))),
    }
}

fn testcase_finished(
    result: &TestcaseResult,
    elapsed_s: f64,
    code: Option<Code>,
) -> TestcaseFinishedLine<'_> {
    TestcaseFinishedLine {
        elapsed_s,
        testcase: identity(&result.id),
        outcome: result.outcome,
        cause: result.cause,
        code: code.map(|code| Cow::Borrowed(code.name())),
        expected_failure: result.expected_failure,
        message: result.message.as_deref().map(Cow::Borrowed),
        error_type: result.error_type.as_deref().map(Cow::Borrowed),
        details: result.details.as_deref().map(Cow::Borrowed),
        duration_s: result.duration.as_secs_f64(),
        sim_time_ns: result.sim_time_ns.filter(|ns| ns.is_finite()),
        seed: result.seed,
        attempt: result.attempt,
        run_dir: result.run_dir.as_deref().map(Cow::Borrowed),
        log: result.log.as_ref().map(Cow::Borrowed),
        waves: result.waves.as_deref().map(Cow::Borrowed),
        file: result.file.as_deref().map(Cow::Borrowed),
        line: result.line,
    }
}

fn identity(id: &TestcaseId) -> Identity<'_> {
    Identity {
        id: id.to_string(),
        build: Cow::Borrowed(&id.build),
        module: Cow::Borrowed(&id.module),
        variant: id.variant.as_ref().map(Cow::Borrowed),
        testcase: Cow::Borrowed(&id.testcase),
    }
}

fn listed(testcase: &Testcase) -> ListedLine<'_> {
    ListedLine {
        id: testcase.id.to_string(),
        build: Cow::Borrowed(&testcase.id.build),
        module: Cow::Borrowed(&testcase.id.module),
        variant: testcase.id.variant.as_ref().map(Cow::Borrowed),
        testcase: Cow::Borrowed(&testcase.id.testcase),
        occurrence: testcase.occurrence,
        file: testcase.file.as_deref().map(Cow::Borrowed),
        line: testcase.line,
        doc: testcase.doc.as_deref().map(Cow::Borrowed),
        skip: testcase.skip,
        stage: testcase.stage,
    }
}

fn problem(problem: &Diagnostic) -> Problem<'_> {
    Problem {
        severity: match problem.severity {
            Severity::Error => SeverityWord::Error,
            Severity::Warning => SeverityWord::Warning,
        },
        code: Cow::Borrowed(problem.code.name()),
        message: Cow::Borrowed(&problem.message),
        place: problem.snippet.as_ref().map(place),
        facts: Cow::Borrowed(&problem.facts),
        help: problem.help.as_deref().map(Cow::Borrowed),
        log: problem.log.as_deref().map(Cow::Borrowed),
    }
}

/// Returns a place with those lines of its file that it touches, which is all that is ever shown.
fn place(snippet: &Snippet) -> Place<'_> {
    let text = &*snippet.text;
    let before = text.get(..snippet.range.start).unwrap_or(text);
    let marked = text.get(snippet.range.clone()).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let end = before.len() + marked.len();
    let end = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
    Place {
        path: Cow::Borrowed(&snippet.path),
        line: snippet.first_line + before.matches('\n').count(),
        column: before[start..].chars().count() + 1,
        length: marked.chars().count(),
        text: Cow::Borrowed(&text[start..end]),
        label: Cow::Borrowed(&snippet.label),
    }
}

fn session_finished(end: &SessionFinished, elapsed_s: f64) -> SessionFinishedLine<'_> {
    SessionFinishedLine {
        elapsed_s,
        exit_code: end.exit_code.code(),
        exit: Cow::Borrowed(exit_word(end.exit_code)),
        counts: end.counts,
        builds_failed: end.builds_failed,
        deselected: end.deselected,
        duration_s: end.duration.as_secs_f64(),
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
