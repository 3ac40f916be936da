//! Events read back from lines of NDJSON.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::diagnostic::Severity;
use crate::diagnostic::Snippet;
use crate::event::kinds::BuildHolder;
use crate::event::kinds::BuildOutcome;
use crate::event::kinds::CheckpointReached;
use crate::event::kinds::Event;
use crate::event::kinds::RunOrigin;
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
use crate::model::exit_code::ExitCode;
use crate::model::outcome::OrderDependence;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;

use serde::Deserialize;
use std::borrow::Cow;
use std::io;
use std::io::BufRead;
use std::time::Duration;

/// An event, and when it happened.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedEvent {
    /// Time since the session started.
    pub elapsed: Duration,
    /// What happened.
    pub event: Event,
}

/// Reads a stream that `--format json` wrote, event by event.
///
/// The iterator ends at the end of the stream or after the first error. A stream that ends before
/// `session-finished` at the end of a line is that of a killed session; it is read without an error,
/// and [`SessionState::contradictions`](super::SessionState::contradictions) says so.
///
/// # Errors
/// Each item may be a `report::unreadable` that names the line: it cannot be read, is cut off, is
/// not an event, has another schema, or does not belong to the session with which the stream began.
pub fn read_events<R: BufRead>(reader: R) -> RecordedEvents<R> {
    RecordedEvents {
        reader,
        number: 0,
        recorded_by: None,
        is_over: false,
    }
}

/// The events of a recorded stream; see [`read_events`].
#[derive(Debug)]
pub struct RecordedEvents<R> {
    reader: R,
    /// How many lines were read.
    number: usize,
    /// The version that recorded the stream, once its first line was read.
    recorded_by: Option<String>,
    is_over: bool,
}

impl<R: BufRead> Iterator for RecordedEvents<R> {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let item = self.read_line().transpose();
        self.is_over = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<R: BufRead> RecordedEvents<R> {
    fn read_line(&mut self) -> Result<Option<RecordedEvent>> {
        let mut bytes = Vec::new();
        let size = self.reader.read_until(b'\n', &mut bytes);
        self.number += 1;
        match size {
            Err(error) => return Err(self.problem(&io_words(&error))),
            Ok(0) if self.recorded_by.is_none() => return Err(empty()),
            Ok(0) => return Ok(None),
            Ok(_) => {}
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| self.problem("is not UTF-8 text"))?;
        self.check_session(text)?;
        match serde_json::from_str::<Line<'_>>(text) {
            Ok(line) => event_of(line).map(Some).map_err(|why| self.problem(&why)),
            Err(_) if !text.ends_with('\n') => {
                Err(self.problem("is cut off: the recording is incomplete"))
            }
            Err(error) => Err(self.problem(&json_words(&error))),
        }
    }

    /// Checks that the stream begins as one does, and holds one session.
    fn check_session(&mut self, text: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct Head {
            event: String,
            schema: Option<u32>,
            cocorun: Option<String>,
        }
        let is_first = self.recorded_by.is_none();
        let head = match serde_json::from_str::<Head>(text) {
            Ok(head) => head,
            Err(_) if is_first => return Err(not_a_recording(self.number)),
            // Whatever is wrong with a later line is said where it is read in full.
            Err(_) => return Ok(()),
        };
        match (is_first, head.event == "session-started") {
            (true, false) => return Err(not_a_recording(self.number)),
            (false, true) => return Err(self.problem("begins a second session")),
            (false, false) => return Ok(()),
            (true, true) => {}
        }
        let version = head.cocorun.unwrap_or_default();
        match head.schema {
            Some(SCHEMA) => {
                self.recorded_by = Some(version);
                Ok(())
            }
            Some(other) => Err(problem(format!(
                "the recording has schema {other}, written by cocorun {version}"
            ))
            .help(format!(
                "this is cocorun {}, which reads schema {SCHEMA}; use the version that wrote it",
                env!("CARGO_PKG_VERSION")
            ))
            .into()),
            None => Err(not_a_recording(self.number)),
        }
    }

    fn problem(&self, what: &str) -> Problems {
        let problem = problem(format!("line {} of the recording {what}", self.number));
        match &self.recorded_by {
            Some(version) if version != env!("CARGO_PKG_VERSION") => problem
                .fact(format!(
                    "recorded by cocorun {version}; this is cocorun {}",
                    env!("CARGO_PKG_VERSION")
                ))
                .into(),
            _ => problem.into(),
        }
    }
}

fn problem(message: String) -> Diagnostic {
    Diagnostic::error(Code::ReportUnreadable, message)
}

fn empty() -> Problems {
    problem("the recording is empty".to_owned()).into()
}

fn not_a_recording(line: usize) -> Problems {
    problem(format!(
        "line {line} is not the beginning of a recorded session"
    ))
    .help("give a file that `cocorun test --format json > FILE` wrote")
    .into()
}

fn io_words(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

/// Says what is wrong with a line; serde's own `at line 1 column N` would be taken for a line of the
/// recording.
fn json_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or(&text);
    match error.column() {
        0 => format!("is not an event: {words}"),
        column => format!("is not an event: {words} at column {column}"),
    }
}

/// What reading a part of a line gives: a value, or why there is none.
type Read<T> = std::result::Result<T, String>;

fn duration(seconds: f64) -> Read<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("has an impossible time: {seconds} s"))
}

fn code(name: &str) -> Read<Code> {
    Code::from_name(name).ok_or_else(|| format!("has an unknown code `{name}`"))
}

fn owned<T: ToOwned + ?Sized>(value: Option<Cow<'_, T>>) -> Option<T::Owned> {
    value.map(Cow::into_owned)
}

fn event_of(line: Line<'_>) -> Read<RecordedEvent> {
    let (elapsed_s, event) = match line {
        Line::SessionStarted(line) => (line.elapsed_s, session_started(line)),
        Line::BuildStarted {
            elapsed_s,
            build,
            simulator,
        } => {
            let build = build.into_owned();
            (elapsed_s, Event::BuildStarted { build, simulator })
        }
        Line::BuildWaiting(line) => (line.elapsed_s, build_waiting(line)?),
        Line::StepStarted {
            elapsed_s,
            step,
            build,
        } => {
            let (step, build) = (step.into_owned(), build.into_owned());
            (elapsed_s, Event::StepStarted { step, build })
        }
        Line::StepFinished(line) => (line.elapsed_s, step_finished(line)?),
        Line::BuildFinished(line) => (line.elapsed_s, build_finished(line)?),
        Line::ModuleListed(line) => (line.elapsed_s, module_listed(line)),
        Line::RunStarted(line) => (line.elapsed_s, run_started(line)),
        Line::CheckpointReached(line) => (line.elapsed_s, checkpoint_reached(line)?),
        Line::TestcaseStarted {
            elapsed_s,
            run,
            slot,
            testcase,
        } => {
            let testcase = identity(testcase);
            let event = Event::TestcaseStarted {
                run,
                slot,
                testcase,
            };
            (elapsed_s, event)
        }
        Line::TestcaseFinished(line) => (line.elapsed_s, testcase_finished(*line)?),
        Line::OrderDependence(line) => (line.elapsed_s, order_dependence(line)),
        Line::RunFinished {
            elapsed_s,
            run,
            slot,
            verdict,
            duration_s,
        } => {
            let event = Event::RunFinished {
                run,
                slot,
                verdict,
                duration: duration(duration_s)?,
            };
            (elapsed_s, event)
        }
        Line::Notice { elapsed_s, problem } => {
            (elapsed_s, Event::Notice(Box::new(diagnostic(problem)?)))
        }
        Line::Stopping { elapsed_s, reason } => {
            let reason = reason.into_owned();
            (elapsed_s, Event::Stopping { reason })
        }
        Line::SessionFinished(line) => (line.elapsed_s, session_finished(&line)?),
    };
    let elapsed = duration(elapsed_s)?;
    Ok(RecordedEvent { elapsed, event })
}

fn session_started(line: SessionStartedLine<'_>) -> Event {
    Event::SessionStarted(SessionStarted {
        cocorun: line.cocorun.into_owned(),
        session_id: line.session_id.into_owned(),
        command: line.command,
        host: line.host.into_owned(),
        started_at: line.started_at.into_owned(),
        config: line.config.into_owned(),
        jobs: line.jobs,
        seed: line.seed,
        builds: line.builds,
        modules: line.modules,
        rerun_prefix: line.rerun_prefix.into_owned(),
    })
}

fn build_waiting(line: BuildWaitingLine<'_>) -> Read<Event> {
    let words = line.holder.into_owned();
    Ok(Event::BuildWaiting {
        build: line.build.into_owned(),
        holder: BuildHolder {
            name: owned(line.holder_name).unwrap_or_else(|| words.clone()),
            since: owned(line.holder_since),
            words,
            doing: owned(line.doing),
        },
        waited: duration(line.waited_s)?,
    })
}

fn step_finished(line: StepFinishedLine<'_>) -> Read<Event> {
    Ok(Event::StepFinished {
        step: line.step.into_owned(),
        build: line.build.into_owned(),
        is_done: line.outcome == StepOutcomeWord::Done,
        reasons: line.reasons.into_owned(),
        duration: duration(line.duration_s)?,
        log: line.log.into_owned(),
    })
}

fn build_finished(line: BuildFinishedLine<'_>) -> Read<Event> {
    let outcome = match (line.outcome, line.problem) {
        (BuildOutcomeWord::Built, _) => BuildOutcome::Built,
        (BuildOutcomeWord::UpToDate, _) => BuildOutcome::UpToDate,
        (BuildOutcomeWord::BuiltElsewhere, _) => BuildOutcome::BuiltElsewhere,
        (BuildOutcomeWord::Failed, Some(problem)) => {
            BuildOutcome::Failed(Box::new(diagnostic(problem)?))
        }
        (BuildOutcomeWord::Failed, None) => {
            return Err("has a failed build without a `problem`".to_owned());
        }
    };
    Ok(Event::BuildFinished {
        build: line.build.into_owned(),
        outcome,
        reasons: line.reasons.into_owned(),
        duration: duration(line.duration_s)?,
        log: owned(line.log),
    })
}

fn module_listed(line: ModuleListedLine<'_>) -> Event {
    Event::ModuleListed {
        build: line.build.into_owned(),
        module: line.module.into_owned(),
        variant: owned(line.variant),
        selected: line.selected.into_iter().map(listed).collect(),
        deselected: line.deselected,
        reimported_because: owned(line.reimported_because),
    }
}

fn run_started(line: RunStartedLine<'_>) -> Event {
    Event::RunStarted {
        run: line.run,
        slot: line.slot,
        build: line.build.into_owned(),
        testcases: line.testcases.into_iter().map(identity).collect(),
        dir: line.dir.into_owned(),
        origin: RunOrigin {
            spawned_because: owned(line.spawned_because),
            checkpoint: line.checkpoint.map(Cow::into_owned),
            checkpoint_unused_because: owned(line.checkpoint_unused_because),
        },
    }
}

fn checkpoint_reached(line: CheckpointReachedLine<'_>) -> Read<Event> {
    Ok(Event::CheckpointReached(CheckpointReached {
        build: line.build.into_owned(),
        checkpoint: line.checkpoint.into_owned(),
        duration: duration(line.duration_s)?,
        sim_time_ns: line.sim_time_ns,
        log: line.log.into_owned(),
    }))
}

fn testcase_finished(line: TestcaseFinishedLine<'_>) -> Read<Event> {
    Ok(Event::TestcaseFinished(Box::new(TestcaseResult {
        id: identity(line.testcase),
        outcome: line.outcome,
        cause: line.cause,
        expected_failure: line.expected_failure,
        message: owned(line.message),
        error_type: owned(line.error_type),
        details: owned(line.details),
        duration: duration(line.duration_s)?,
        sim_time_ns: line.sim_time_ns,
        seed: line.seed,
        attempt: line.attempt,
        run_dir: owned(line.run_dir),
        log: owned(line.log),
        waves: owned(line.waves),
        file: owned(line.file),
        line: line.line,
    })))
}

fn order_dependence(line: OrderDependenceLine<'_>) -> Event {
    Event::OrderDependence(OrderDependence {
        testcase: identity(line.testcase),
        after: line.after.into_owned(),
        earlier: line.earlier,
        run_dir: owned(line.run_dir),
    })
}

fn session_finished(line: &SessionFinishedLine<'_>) -> Read<Event> {
    Ok(Event::SessionFinished(SessionFinished {
        exit_code: ExitCode::of_session(line.exit_code)
            .ok_or_else(|| format!("has an unknown exit code {}", line.exit_code))?,
        counts: line.counts,
        builds_failed: line.builds_failed,
        deselected: line.deselected,
        duration: duration(line.duration_s)?,
    }))
}

fn identity(line: Identity<'_>) -> TestcaseId {
    TestcaseId {
        build: line.build.into_owned(),
        module: line.module.into_owned(),
        variant: owned(line.variant),
        testcase: line.testcase.into_owned(),
    }
}

fn listed(line: ListedLine<'_>) -> Testcase {
    Testcase {
        id: TestcaseId {
            build: line.build.into_owned(),
            module: line.module.into_owned(),
            variant: owned(line.variant),
            testcase: line.testcase.into_owned(),
        },
        occurrence: line.occurrence,
        file: owned(line.file),
        line: line.line,
        doc: owned(line.doc),
        skip: line.skip,
        stage: line.stage,
    }
}

fn diagnostic(line: Problem<'_>) -> Read<Diagnostic> {
    Ok(Diagnostic {
        severity: match line.severity {
            SeverityWord::Error => Severity::Error,
            SeverityWord::Warning => Severity::Warning,
        },
        snippet: line.place.map(snippet),
        facts: line.facts.into_owned(),
        help: owned(line.help),
        log: owned(line.log),
        ..Diagnostic::warning(code(&line.code)?, line.message)
    })
}

fn snippet(line: Place<'_>) -> Snippet {
    // The byte at which a character begins, counted from 0; the end of the text for a later one.
    let offset = |character: usize| {
        let mut starts = line.text.char_indices().map(|(at, _)| at);
        starts.nth(character).unwrap_or(line.text.len())
    };
    let first = line.column.saturating_sub(1);
    Snippet {
        range: offset(first)..offset(first + line.length),
        path: line.path.into_owned(),
        first_line: line.line,
        text: line.text.into(),
        label: line.label.into_owned(),
    }
}
