//! Turns events into lines and into the live part below them.
//!
//! There is no thread and no timer here: events and `tick` drive it. Once the stream cannot be
//! written, the report gives up silently, since nobody is left to read an error.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::diagnostic::Severity;
use crate::diagnostic::render;
use crate::edge::clock::Clock;
use crate::event::BuildHolder;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::event::RunId;
use crate::event::SessionStarted;
use crate::event::SessionState;
use crate::event::Slot;
use crate::model::build::BuildName;
use crate::model::build::SimulatorName;
use crate::model::outcome::Outcome;
use crate::model::outcome::RunVerdict;
use crate::model::outcome::TestcaseResult;
use crate::model::test::TestcaseId;
use crate::report::consumer::Report;
use crate::report::terminal::ending::Ending;
use crate::report::terminal::ending::FailedBuild;
use crate::report::terminal::frame::Frame;
use crate::report::terminal::frame::Row;
use crate::report::terminal::screen::Screen;
use crate::report::terminal::screen::SizeOf;
use crate::report::terminal::style::LineStyle;
use crate::report::terminal::style::Palette;
use crate::report::text;
use crate::report::wording;

use camino::Utf8Path;
use std::collections::BTreeMap;
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
pub struct TerminalOptions {
    /// Whether to use colour.
    pub color: bool,
    /// Whether `out` is a terminal on which progress may be drawn and redrawn.
    pub progress: bool,
    /// How much to say.
    pub verbosity: Verbosity,
    /// Whether to print why each build was compiled, at any verbosity.
    pub explain: bool,
    /// How many lines of a failed testcase's log are shown.
    pub log_lines: usize,
    /// When the program started, which may be long before the session's first event: Python
    /// environments are made before. `None` takes the duration from the stream.
    pub began: Option<Instant>,
    /// Where it goes: stderr.
    pub out: Box<dyn Write + Send>,
    /// How large the terminal is; asked before each drawing, and only with `progress`.
    pub size_of: SizeOf,
}

/// Without a live part, something is printed at least this often.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The live part is drawn at most this often.
const REDRAW: Duration = Duration::from_millis(50);
/// A heartbeat names this many of the things that run.
const HEARTBEAT_ROWS: usize = 4;

/// A build under way.
struct BuildRow {
    simulator: SimulatorName,
    since: Instant,
    holder: Option<BuildHolder>,
}

/// A simulator process under way.
struct RunRow {
    slot: Slot,
    since: Instant,
    label: String,
    testcase: Option<(TestcaseId, Instant)>,
}

/// Shows a session to a person.
pub struct TerminalReport {
    palette: Palette,
    verbosity: Verbosity,
    explain: bool,
    began: Option<Instant>,
    screen: Screen,
    clock: Arc<dyn Clock>,
    started: Instant,
    drawn: Option<Instant>,
    printed: Instant,
    builds: BTreeMap<BuildName, BuildRow>,
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
            began: options.began,
            screen: Screen::new(options.out, options.size_of, options.progress),
            clock,
            started: now,
            drawn: None,
            printed: now,
            builds: BTreeMap::new(),
            runs: BTreeMap::new(),
            ending: Ending::new(palette, options.log_lines),
        }
    }

    fn says(&self, level: Verbosity) -> bool {
        self.verbosity >= level
    }

    /// Prints one line and remembers when.
    fn print(&mut self, now: Instant, line: &str) {
        self.screen.print(&format!("{line}\n"));
        self.printed = now;
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

    fn on_build_waiting(&mut self, now: Instant, build: &BuildName, holder: &BuildHolder) {
        let is_said = self.says(Verbosity::Normal);
        let Some(row) = self.builds.get_mut(build) else {
            return;
        };
        let former = row.holder.replace(holder.clone());
        if former.is_none() && is_said {
            let name = wording::build_label(build, Some(row.simulator.as_str()));
            let label = format!("{name} for {}", holder.words);
            let label = text::visible(&label).into_owned();
            let line = self
                .palette
                .line(LineStyle::Notable, "WAITING", None, &label);
            self.print(now, &line);
        }
    }

    fn on_build_finished(
        &mut self,
        now: Instant,
        build: &BuildName,
        outcome: &BuildOutcome,
        duration: Duration,
        log: Option<&Utf8Path>,
    ) {
        let row = self.builds.remove(build);
        let name = wording::build_label(build, row.as_ref().map(|row| row.simulator.as_str()));
        let label = self.palette.name(&text::visible(&name));
        let took = Some(duration);
        let line = match outcome {
            BuildOutcome::Built => self.palette.line(LineStyle::Good, "BUILD", took, &label),
            BuildOutcome::UpToDate => {
                self.palette
                    .line(LineStyle::Good, "UP TO DATE", took, &label)
            }
            BuildOutcome::BuiltElsewhere => {
                let label = format!("{label} by another process");
                self.palette.line(LineStyle::Good, "BUILD", took, &label)
            }
            BuildOutcome::Failed(problem) if problem.code.is_stop() => {
                self.palette
                    .line(LineStyle::Notable, "NOT BUILT", took, &label)
            }
            BuildOutcome::Failed(problem) => {
                let label = format!("{label}: {}", text::first_line(&problem.message));
                self.ending.failed_builds.push(FailedBuild {
                    build: build.clone(),
                    label: text::visible(&name).into_owned(),
                    problem: wording::harmless(problem),
                    duration,
                    log: log.map(ToOwned::to_owned),
                });
                self.palette
                    .line(LineStyle::Bad, "BUILD FAILED", took, &label)
            }
        };
        let is_failure = matches!(outcome, BuildOutcome::Failed(_));
        if is_failure || self.says(Verbosity::Normal) {
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

    fn on_run_started(&mut self, now: Instant, run: RunId, row: RunRow, how: &str, dir: &Utf8Path) {
        if self.says(Verbosity::Verbose) {
            let (label, slot) = (&row.label, row.slot);
            let label = format!("{label} (run {run}, slot {slot}, {how}) in {dir}");
            let line = self
                .palette
                .line(LineStyle::Work, "START", None, &text::visible(&label));
            self.print(now, &line);
        }
        self.runs.insert(run, row);
    }

    fn on_run_finished(&mut self, now: Instant, run: RunId, verdict: RunVerdict, took: Duration) {
        let row = self.runs.remove(&run);
        if self.says(Verbosity::Verbose) {
            let words = match verdict {
                RunVerdict::Completed => "completed",
                RunVerdict::TimedOut => "killed at its time limit",
                RunVerdict::Crashed => "killed by a signal",
                RunVerdict::Incomplete => "ended without all of its results",
                RunVerdict::Cancelled => "stopped with the session",
                RunVerdict::Lost => "lost with its fork server, runs again",
            };
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

    fn on_testcase_finished(&mut self, now: Instant, result: &TestcaseResult) {
        let was_running = self.take_from_its_run(result);
        // A thousand testcases that never ran are one number in the summary, not a thousand lines.
        // One that was interrupted gets its line: it may be the reason for the interruption.
        let is_worth_a_line = match result.outcome {
            Outcome::NotRun => was_running || self.says(Verbosity::Verbose),
            outcome => !outcome.is_good() || self.says(Verbosity::Normal),
        };
        if is_worth_a_line {
            let line = self.testcase_line(result);
            self.print(now, &line);
        }
        self.ending.take_result(result, was_running);
    }

    /// Says whether this testcase was under way, and takes it out of its row.
    fn take_from_its_run(&mut self, result: &TestcaseResult) -> bool {
        let is_it = |running: &Option<(TestcaseId, Instant)>| {
            running.as_ref().is_some_and(|(id, _)| *id == result.id)
        };
        let row = self.runs.values_mut().find(|row| is_it(&row.testcase));
        row.is_some_and(|row| row.testcase.take().is_some())
    }

    /// Returns a testcase's line: status, duration, name, and in few words what is special.
    fn testcase_line(&self, result: &TestcaseResult) -> String {
        let mut label = self.palette.id(&result.id);
        if result.attempt > 1 {
            text::add(&mut label, format_args!(" (attempt {})", result.attempt));
        }
        if result.expected_failure && result.outcome == Outcome::Passed {
            label.push_str(" (expected failure)");
        }
        // Without lines in between, the ending would repeat it right below.
        if result.outcome != Outcome::Passed
            && self.says(Verbosity::Normal)
            && let Some(why) = wording::message_line(result)
        {
            label.push_str(": ");
            label.push_str(&text::cut_end(&why, 200));
        }
        let word = wording::status_word(result.outcome);
        self.palette.line(
            LineStyle::of(result.outcome),
            word,
            Some(result.duration),
            &label,
        )
    }

    fn on_notice(&mut self, now: Instant, notice: &Diagnostic) {
        let problem = wording::harmless(notice);
        let text = render::to_text(&problem, self.palette.color);
        self.print(now, text.trim_end());
        if problem.severity == Severity::Error {
            self.ending.error_notices.push(problem);
        }
    }

    fn frame(&self, now: Instant, state: &SessionState) -> Frame {
        let since = |then: Instant| now.saturating_duration_since(then);
        let mut rows: Vec<Row> = Vec::new();
        for (build, row) in &self.builds {
            let name = wording::build_label(build, Some(row.simulator.as_str()));
            let (word, label, detail) = match &row.holder {
                Some(holder) => (
                    "WAITING",
                    format!("{name} for {}", holder.name),
                    what_it_does(holder),
                ),
                None => ("BUILDING", name, String::new()),
            };
            rows.push(Row {
                word,
                elapsed: since(row.since),
                label: text::visible(&label).into_owned(),
                detail: text::first_line(&detail).into_owned(),
            });
        }
        let mut runs: Vec<&RunRow> = self.runs.values().collect();
        runs.sort_by_key(|row| row.slot);
        let mut running = 0;
        for row in runs {
            let (word, elapsed, label) = match &row.testcase {
                Some((id, then)) => {
                    running += 1;
                    ("RUNNING", since(*then), wording::name(id))
                }
                None => ("STARTED", since(row.since), row.label.clone()),
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
            counts: state.counts(),
            planned: state.planned(),
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

/// Says since when a holder is at work, and at what.
fn what_it_does(holder: &BuildHolder) -> String {
    let since = holder.since.as_ref().map(|since| format!("since {since}"));
    let parts: Vec<&str> = [since.as_deref(), holder.doing.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    parts.join(": ")
}

/// Returns what a run is called before its first testcase starts.
fn run_label(build: &BuildName, testcases: &[TestcaseId]) -> String {
    match testcases {
        [] => text::visible(build.as_str()).into_owned(),
        [only] => wording::name(only),
        [first, ..] => {
            let number = text::count(testcases.len(), "testcase");
            format!("{} ({number})", text::visible(&wording::group(first)))
        }
    }
}

impl Report for TerminalReport {
    fn on_event(&mut self, event: &Event, state: &SessionState) {
        let now = self.clock.now();
        self.ending.take(event);
        match event {
            Event::SessionStarted(session) => self.on_session_started(now, session),
            Event::BuildStarted { build, simulator } => {
                let row = BuildRow {
                    simulator: simulator.clone(),
                    since: now,
                    holder: None,
                };
                self.builds.insert(build.clone(), row);
            }
            Event::BuildWaiting { build, holder, .. } => self.on_build_waiting(now, build, holder),
            Event::BuildFinished {
                build,
                outcome,
                reasons,
                duration,
                log,
            } => {
                self.on_build_finished(now, build, outcome, *duration, log.as_deref());
                self.explain_build(now, reasons, log.as_deref());
            }
            Event::RunStarted {
                run,
                slot,
                build,
                testcases,
                dir,
                spawned_because,
            } => {
                let label = run_label(build, testcases);
                let how = match spawned_because {
                    None => "forked".to_owned(),
                    Some(why) => format!("spawned: {why}"),
                };
                let row = RunRow {
                    slot: *slot,
                    since: now,
                    label,
                    testcase: None,
                };
                self.on_run_started(now, *run, row, &how, dir);
            }
            Event::TestcaseStarted { run, testcase, .. } => {
                if let Some(row) = self.runs.get_mut(run) {
                    row.testcase = Some((testcase.clone(), now));
                }
            }
            Event::TestcaseFinished(result) => self.on_testcase_finished(now, result),
            Event::RunFinished {
                run,
                verdict,
                duration,
                ..
            } => {
                self.on_run_finished(now, *run, *verdict, *duration);
            }
            Event::Notice(notice) => self.on_notice(now, notice),
            Event::Stopping { reason } => {
                let reason = text::first_line(reason);
                let line = self
                    .palette
                    .line(LineStyle::Notable, "STOPPING", None, &reason);
                self.print(now, &line);
            }
            // What the ending needs of these is in the state.
            _ => {}
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

    /// Takes the live part away and prints the ending. Never fails: see the head of this module.
    fn finish(&mut self, state: &SessionState) -> Result<()> {
        self.screen.settle();
        let since = |then| self.clock.now().saturating_duration_since(then);
        let took = match (self.began, state.finished()) {
            (Some(began), _) => since(began),
            (None, Some(end)) => end.duration,
            (None, None) => since(self.started),
        };
        self.screen.print(&self.ending.text(state, took));
        Ok(())
    }
}
