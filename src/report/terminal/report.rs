//! Turns events into lines and into the live part below them.
//!
//! There is no thread and no timer here: events and `tick` drive it. Once the stream cannot be
//! written, the report gives up: silently if its reader has left, else with an error at the end.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::diagnostic::render;
use crate::edge::clock::Clock;
use crate::edge::fs;
use crate::event::BuildHolder;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::event::RunId;
use crate::event::RunOrigin;
use crate::event::SessionStarted;
use crate::event::SessionState;
use crate::event::Slot;
use crate::model::build::BuildName;
use crate::model::outcome::Cause;
use crate::model::outcome::Outcome;
use crate::model::outcome::RunVerdict;
use crate::model::outcome::TestcaseResult;
use crate::model::test::TestcaseId;
use crate::report::consumer::Report;
use crate::report::terminal::builds::Builds;
use crate::report::terminal::ending::Ending;
use crate::report::terminal::frame::Frame;
use crate::report::terminal::frame::Row;
use crate::report::terminal::screen::Screen;
use crate::report::terminal::screen::SizeOf;
use crate::report::terminal::style::LineStyle;
use crate::report::terminal::style::Palette;
use crate::report::text;
use crate::report::wording;
use crate::report::wrap;

use camino::Utf8Path;
use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// How much the terminal report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Failures, warnings and the summary.
    Quiet,
    /// Every finished build and testcase as well.
    Normal,
    /// Starts of runs, their directories, reasons for builds and logs as well.
    Verbose,
}

/// How the terminal report looks and where it goes.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of its own of the stream or of what was asked for"
)]
pub struct TerminalOptions {
    /// Whether to use colour.
    pub color: bool,
    /// Whether `out` is a terminal on which progress may be drawn and redrawn.
    pub progress: bool,
    /// How much to say.
    pub verbosity: Verbosity,
    /// Whether to print why each build was compiled, at any verbosity.
    pub explain: bool,
    /// Whether `out` has a width that lines should keep to.
    pub wraps: bool,
    /// How many lines of a failed testcase's output are shown.
    pub output_lines: usize,
    /// When the program started, which may be long before the session's first event: Python
    /// environments are made before. `None` takes the duration from the stream.
    pub began: Option<Instant>,
    /// Where it goes: standard output, or standard error where that has another use.
    pub out: Box<dyn Write + Send>,
    /// How large the terminal is; asked before each drawing and line, and only with
    /// `progress` or `wraps`.
    pub size_of: SizeOf,
}

/// Without a live part, something is printed at least this often.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The live part is drawn at most this often.
const REDRAW: Duration = Duration::from_millis(50);
/// Where labels without a duration begin, and where a broken line goes on.
const LABEL_COLUMN: usize = 13;
/// How wide the words after a name may be, in cells.
const WORDS_COLUMNS_MAX: usize = 200;
/// A heartbeat names this many of the things that run.
const HEARTBEAT_ROWS: usize = 4;

/// A simulator process under way.
struct RunRow {
    slot: Slot,
    since: Instant,
    label: String,
    testcase: Option<(TestcaseId, Instant)>,
    /// How many of its testcases have no verdict.
    open: usize,
    /// Since when all of them have one.
    ending_since: Option<Instant>,
}

/// Shows a session to a person.
pub struct TerminalReport {
    palette: Palette,
    verbosity: Verbosity,
    explain: bool,
    wraps: bool,
    began: Option<Instant>,
    screen: Screen,
    clock: Arc<dyn Clock>,
    started: Instant,
    drawn: Option<Instant>,
    printed: Instant,
    builds: Builds,
    runs: BTreeMap<RunId, RunRow>,
    pub(super) ending: Ending,
}

impl TerminalReport {
    /// Makes the report; nothing is printed before the first event.
    pub fn new(options: TerminalOptions, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        let palette = Palette {
            color: options.color,
        };
        Self {
            palette,
            verbosity: options.verbosity,
            explain: options.explain,
            wraps: options.wraps,
            began: options.began,
            screen: Screen::new(options.out, options.size_of, options.progress),
            clock,
            started: now,
            drawn: None,
            printed: now,
            builds: Builds::new(palette),
            runs: BTreeMap::new(),
            ending: Ending::new(palette, options.output_lines),
        }
    }

    fn says(&self, level: Verbosity) -> bool {
        self.verbosity >= level
    }

    /// Prints a line that begins with a status word, after the builds that wait for theirs.
    fn print(&mut self, now: Instant, line: &str) {
        self.print_up_to_date(now);
        self.print_text(now, line, Some(LABEL_COLUMN));
    }

    fn print_up_to_date(&mut self, now: Instant) {
        if let Some(line) = self.builds.take_up_to_date()
            && self.says(Verbosity::Normal)
        {
            self.print_text(now, &line, Some(LABEL_COLUMN));
        }
    }

    /// Prints lines, broken where the terminal ends, and remembers when.
    fn print_text(&mut self, now: Instant, text: &str, hang: Option<usize>) {
        let text = self.laid_out(text, hang);
        self.screen.print(&format!("{text}\n"));
        self.printed = now;
    }

    fn laid_out(&self, text: &str, hang: Option<usize>) -> String {
        wrap::wrapped(text, self.columns().unwrap_or(usize::MAX), hang)
    }

    /// Returns the width of the terminal; `None` where lines may have any length.
    fn columns(&self) -> Option<usize> {
        let size = self.wraps.then(|| self.screen.size());
        size.map(|size| usize::from(size.columns))
    }

    /// Returns a line whose label ends in words that are cut at the terminal's width.
    fn line_with_words(
        &self,
        style: LineStyle,
        word: &str,
        took: Duration,
        label: &str,
        words: &str,
    ) -> String {
        let head = self.palette.line(style, word, Some(took), label);
        let room = self.columns().map_or(WORDS_COLUMNS_MAX, |columns| {
            let used = text::columns(&text::visible(&head)) + 2;
            columns.saturating_sub(used).min(WORDS_COLUMNS_MAX)
        });
        // What was expected says more than that something was.
        let words = match words.strip_prefix("AssertionError: ") {
            Some(message) if text::columns(words) > room => message,
            _ => words,
        };
        match wrap::cut_at_word(words, room) {
            cut if cut.is_empty() => head,
            cut => format!("{head}: {cut}"),
        }
    }

    fn on_session_started(&mut self, now: Instant, session: &SessionStarted) {
        self.started = now;
        if self.says(Verbosity::Verbose) {
            let label = text::visible(&format!(
                "{} ({}, seed {}, {})",
                session.config,
                text::count(session.builds, "build"),
                session.seed,
                text::count(session.jobs, "job"),
            ))
            .into_owned();
            let line = self.palette.line(LineStyle::Work, "SESSION", None, &label);
            self.print(now, &line);
        }
    }

    fn on_build_event(&mut self, now: Instant, event: &Event, project: Option<&Utf8Path>) {
        match event {
            Event::BuildStarted { build, simulator } => self.builds.start(now, build, simulator),
            Event::BuildWaiting { build, holder, .. } => self.on_build_waiting(now, build, holder),
            Event::StepStarted { step, build } => self.builds.run_step(build, Some(step)),
            Event::StepFinished {
                step,
                build,
                is_done,
                reasons,
                duration,
                log,
            } => {
                self.builds.run_step(build, None);
                if *is_done && self.says(Verbosity::Normal) {
                    let line = self.builds.step_line(build, step, *duration);
                    self.print(now, &line);
                    self.explain_build(now, reasons, Some(log));
                }
            }
            Event::BuildFinished {
                build,
                outcome,
                reasons,
                duration,
                log,
            } => {
                self.on_build_finished(now, build, outcome, *duration, project);
                self.explain_build(now, reasons, log.as_deref());
            }
            _ => {}
        }
    }

    fn on_build_waiting(&mut self, now: Instant, build: &BuildName, holder: &BuildHolder) {
        let line = self.builds.wait(build, holder);
        // The live part shows it anyway.
        if let Some(line) = line
            && self.says(Verbosity::Normal)
            && !self.screen.is_live()
        {
            self.print(now, &line);
        }
    }

    fn on_build_finished(
        &mut self,
        now: Instant,
        build: &BuildName,
        outcome: &BuildOutcome,
        took: Duration,
        project: Option<&Utf8Path>,
    ) {
        let is_failure = matches!(outcome, BuildOutcome::Failed(_));
        let line = self.builds.finish(build, outcome, took, project);
        if let Some(it) = line.filter(|_| is_failure || self.says(Verbosity::Normal)) {
            let line = self.line_with_words(it.style, it.word, took, &it.label, &it.words);
            self.print(now, &line);
        }
    }

    fn explain_build(&mut self, now: Instant, reasons: &[String], log: Option<&Utf8Path>) {
        let is_verbose = self.says(Verbosity::Verbose);
        let reasons = reasons.iter().filter(|_| is_verbose || self.explain);
        let log = log.filter(|_| is_verbose);
        let lines: Vec<String> = reasons
            .cloned()
            .chain(log.map(|path| format!("log: {path}")))
            .collect();
        for line in lines {
            let line = format!("{:>12} {}", "", text::visible(&line));
            self.print(now, &line);
        }
    }

    /// Prints what only `--verbose` asks for.
    fn print_work(&mut self, now: Instant, word: &str, took: Option<Duration>, words: &str) {
        if self.says(Verbosity::Verbose) {
            let words = text::visible(words);
            let line = self.palette.line(LineStyle::Work, word, took, &words);
            self.print(now, &line);
        }
    }

    fn on_run_started(
        &mut self,
        now: Instant,
        run: RunId,
        row: RunRow,
        origin: &RunOrigin,
        dir: &Utf8Path,
    ) {
        let (label, slot, how) = (&row.label, row.slot, wording::origin(origin));
        let words = format!("{label} (run {run}, slot {slot}, {how}) in {dir}");
        self.print_work(now, "START", None, &words);
        self.runs.insert(run, row);
    }

    fn on_run_finished(&mut self, now: Instant, run: RunId, verdict: RunVerdict, took: Duration) {
        let row = self.runs.remove(&run);
        if self.says(Verbosity::Verbose) {
            let words = wording::end_of_run(verdict);
            let label = row.map(|row| row.label).unwrap_or_default();
            let style = if verdict == RunVerdict::Completed {
                LineStyle::Good
            } else {
                LineStyle::Notable
            };
            let label = format!("{label} (run {run}) {words}");
            let line = self.palette.line(style, "END", Some(took), &label);
            self.print(now, &line);
        }
    }

    fn on_testcase_finished(
        &mut self,
        now: Instant,
        result: &TestcaseResult,
        project: Option<&Utf8Path>,
    ) {
        let was_running = self.take_from_its_run(now, result);
        // A thousand testcases that never ran are one number in the summary, not a thousand lines.
        // One that was interrupted gets its line: it may be the reason for the interruption.
        let is_worth_a_line = match result.outcome {
            Outcome::NotRun => was_running || self.says(Verbosity::Verbose),
            // So is what a failed build took with it.
            _ if result.cause == Some(Cause::Build) => self.says(Verbosity::Verbose),
            outcome => !outcome.is_good() || self.says(Verbosity::Normal),
        };
        if is_worth_a_line {
            let line = self.testcase_line(result, project);
            self.print(now, &line);
        }
        self.ending.take_result(result, was_running);
    }

    /// Says whether this testcase was under way, and takes it out of its row.
    fn take_from_its_run(&mut self, now: Instant, result: &TestcaseResult) -> bool {
        let is_it = |running: &Option<(TestcaseId, Instant)>| {
            running.as_ref().is_some_and(|(id, _)| *id == result.id)
        };
        let row = self.runs.values_mut().find(|row| is_it(&row.testcase));
        let Some(row) = row else {
            return false;
        };
        row.testcase = None;
        row.open = row.open.saturating_sub(1);
        row.ending_since = (row.open == 0).then_some(now);
        true
    }

    /// Returns a testcase's line: status, duration, name, and in few words what is special.
    fn testcase_line(&self, result: &TestcaseResult, project: Option<&Utf8Path>) -> String {
        let mut label = self.palette.id(&result.id);
        if result.attempt > 1 {
            text::add(&mut label, format_args!(" (attempt {})", result.attempt));
        }
        if result.expected_failure && result.outcome == Outcome::Passed {
            label.push_str(" (expected failure)");
        }
        // Without lines in between, the ending would repeat it right below.
        let is_explained = result.outcome != Outcome::Passed && self.says(Verbosity::Normal);
        let why = wording::message_line(result).filter(|_| is_explained);
        let why = why.map(|why| wording::first_line_shown(&why, project));
        self.line_with_words(
            LineStyle::of(result.outcome),
            wording::status_word(result.outcome),
            result.duration,
            &label,
            why.as_deref().unwrap_or_default(),
        )
    }

    fn on_notice(&mut self, now: Instant, notice: &Diagnostic, project: Option<&Utf8Path>) {
        let problem = wording::harmless(notice, project);
        let text = render::to_text(&problem, self.palette.color);
        self.print_up_to_date(now);
        self.print_text(now, text.trim_end(), None);
    }

    fn frame(&self, now: Instant, state: &SessionState) -> Frame {
        let since = |then: Instant| now.saturating_duration_since(then);
        let mut rows = self.builds.rows(now);
        let building = rows.len();
        let mut runs: Vec<&RunRow> = self.runs.values().collect();
        runs.sort_by_key(|row| row.slot);
        let mut running = 0;
        for row in runs {
            let (word, elapsed, label) = match (&row.testcase, row.ending_since) {
                (Some((id, then)), _) => {
                    running += 1;
                    ("RUNNING", since(*then), wording::name(id))
                }
                // The simulator may take its time to write waves.
                (None, Some(then)) => ("ENDING", since(then), row.label.clone()),
                (None, None) => ("STARTED", since(row.since), row.label.clone()),
            };
            rows.push(Row {
                word,
                elapsed,
                label,
                detail: String::new(),
            });
        }
        Frame {
            rows,
            running,
            counts: state.testcase_counts(),
            modules: state.module_counts(),
            planned: state.planned(),
            is_open: state.is_open(),
            building,
            elapsed: since(self.started),
            stopping: state.stopping().is_some(),
        }
    }

    /// Prints a sign of life: how far the session is, and what has run longest.
    fn heartbeat(&mut self, now: Instant, state: &SessionState) {
        let mut frame = self.frame(now, state);
        frame.rows.sort_by_key(|row| std::cmp::Reverse(row.elapsed));
        let (_, activity, words) = frame.activity();
        let mut label = format!("{} {words}", activity.to_lowercase())
            .trim_end()
            .to_owned();
        if frame.rows.len() > HEARTBEAT_ROWS {
            text::add(
                &mut label,
                format_args!("; {} under way, longest:", frame.rows.len()),
            );
        }
        let mut lines =
            vec![
                self.palette
                    .line(LineStyle::Work, "STILL", Some(frame.elapsed), &label),
            ];
        for row in frame.rows.iter().take(HEARTBEAT_ROWS) {
            let label = format!("{} {}", row.label, row.detail);
            lines.push(self.palette.line(
                LineStyle::Work,
                row.word,
                Some(row.elapsed),
                label.trim_end(),
            ));
        }
        self.print(now, &lines.join("\n"));
    }

    fn draw(&mut self, now: Instant, state: &SessionState) {
        let lines = self
            .frame(now, state)
            .lines(self.palette, self.screen.size());
        self.screen.draw(&lines);
        self.drawn = Some(now);
    }

    fn draw_if_due(&mut self, now: Instant, state: &SessionState) {
        let due = self
            .drawn
            .is_none_or(|then| now.saturating_duration_since(then) >= REDRAW);
        if self.screen.is_live() && due {
            self.draw(now, state);
        }
    }
}

impl Report for TerminalReport {
    fn on_event(&mut self, event: &Event, state: &SessionState) {
        let now = self.clock.now();
        let project = wording::project(state.started());
        self.ending.take(event, state);
        match event {
            Event::SessionStarted(session) => self.on_session_started(now, session),
            Event::BuildStarted { .. }
            | Event::BuildWaiting { .. }
            | Event::StepStarted { .. }
            | Event::StepFinished { .. }
            | Event::BuildFinished { .. } => self.on_build_event(now, event, project),
            Event::RunStarted {
                run,
                slot,
                build,
                testcases,
                dir,
                origin,
            } => {
                let row = RunRow {
                    slot: *slot,
                    since: now,
                    label: wording::run_label(build, testcases),
                    testcase: None,
                    open: testcases.len(),
                    ending_since: None,
                };
                self.on_run_started(now, *run, row, origin, dir);
            }
            Event::TestcaseStarted { run, testcase, .. } => {
                if let Some(row) = self.runs.get_mut(run) {
                    row.testcase = Some((testcase.clone(), now));
                }
            }
            Event::TestcaseFinished(result) => self.on_testcase_finished(now, result, project),
            Event::RunFinished {
                run,
                verdict,
                duration,
                ..
            } => {
                self.on_run_finished(now, *run, *verdict, *duration);
            }
            Event::Notice(notice) => self.on_notice(now, notice, project),
            Event::Stopping { reason } => {
                let reason = text::first_line(reason);
                let line = self
                    .palette
                    .line(LineStyle::Notable, "STOPPING", None, &reason);
                self.print(now, &line);
            }
            Event::CheckpointReached(reached) => {
                let words = wording::checkpoint_reached(reached);
                self.print_work(now, "CHECKPOINT", Some(reached.duration), &words);
            }
            Event::ModuleListed {
                build,
                module,
                reimported_because: Some(why),
                ..
            } if self.says(Verbosity::Verbose) => {
                let words = format!("{build}::{module} is imported by each run: {why}");
                self.print_work(now, "LISTED", None, &words);
            }
            Event::ModuleListed { .. } | Event::SessionFinished(_) => self.print_up_to_date(now),
            // What the ending needs of these is in the state.
            Event::OrderDependence(_) => {}
        }
        self.draw_if_due(now, state);
    }

    fn tick(&mut self, now: Instant, state: &SessionState) {
        if self.screen.is_live() {
            self.draw_if_due(now, state);
        } else if self.says(Verbosity::Normal)
            && now.saturating_duration_since(self.printed) >= HEARTBEAT
        {
            self.heartbeat(now, state);
        }
    }

    /// Takes the live part away and prints the ending.
    fn finish(&mut self, state: &SessionState) -> Result<()> {
        self.print_up_to_date(self.clock.now());
        self.screen.settle();
        let since = |then| self.clock.now().saturating_duration_since(then);
        let took = match (self.began, state.finished()) {
            (Some(began), _) => since(began),
            (None, Some(end)) => end.duration,
            (None, None) => since(self.started),
        };
        let ended = self.ending.text(state, took);
        let failures = self.laid_out(&ended.failures, None);
        let summary = self.laid_out(&ended.summary, Some(LABEL_COLUMN));
        self.screen.print(&format!("{failures}{summary}"));
        match self.screen.take_failure() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let words = fs::os_words(&error);
                let message = format!("cannot write the report: {words}");
                Err(Diagnostic::error(Code::ReportUnwritable, message).into())
            }
            _ => Ok(()),
        }
    }
}
