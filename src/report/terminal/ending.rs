//! What is printed at the end: failures in full, the summary, and by name what went wrong.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::Severity;
use crate::diagnostic::render;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::event::SessionState;
use crate::model::build::SimulatorName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Seed;
use crate::report::terminal::failures::FailedBuild;
use crate::report::terminal::failures::Failures;
use crate::report::terminal::frame::COULD_NOT_RUN;
use crate::report::terminal::frame::count_words;
use crate::report::terminal::frame::modules_failed;
use crate::report::terminal::frame::summary_words;
use crate::report::terminal::style::LineStyle;
use crate::report::terminal::style::Palette;
use crate::report::text;
use crate::report::wording;
use crate::report::wrap::JOINT;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeSet;
use std::time::Duration;

/// The end of a report, in two parts that are laid out differently.
pub(super) struct Ended {
    /// A block for each failure.
    pub(super) failures: String,
    /// The counts, and the names of what went wrong, a line each.
    pub(super) summary: String,
}

/// What is collected for the end, within bounds.
pub(super) struct Ending {
    palette: Palette,
    log_lines: usize,
    seed: Option<Seed>,
    /// Whether a run took the session's seed; `runner.toml` may give them all one of their own.
    is_seed_used: bool,
    pub(super) failures: Failures,
    pub(super) error_notices: Vec<Diagnostic>,
    waves: BTreeSet<Utf8PathBuf>,
}

impl Ending {
    /// Begins empty; `log_lines` lines of a failed testcase's log are shown.
    pub(super) fn new(palette: Palette, log_lines: usize) -> Self {
        Self {
            palette,
            log_lines,
            seed: None,
            is_seed_used: false,
            failures: Failures::default(),
            error_notices: Vec::new(),
            waves: BTreeSet::new(),
        }
    }

    /// Takes what the ending needs of an event.
    pub(super) fn take(&mut self, event: &Event, state: &SessionState) {
        match event {
            Event::SessionStarted(session) => self.seed = Some(session.seed),
            Event::BuildFinished {
                build,
                outcome: BuildOutcome::Failed(problem),
                duration,
                log,
                ..
            } if !problem.code.is_stop() => {
                let simulator = state.simulator(build);
                let label = wording::build_label(build, simulator.map(SimulatorName::as_str));
                self.failures.builds.push(FailedBuild {
                    build: build.clone(),
                    label: text::visible(&label).into_owned(),
                    problem: (**problem).clone(),
                    duration: *duration,
                    log: log.clone(),
                });
            }
            Event::TestcaseFinished(result) => {
                self.is_seed_used |= Some(result.seed) == self.seed;
                self.waves.extend(result.waves.clone());
            }
            Event::Notice(problem) if problem.severity == Severity::Error => {
                self.error_notices.push((**problem).clone());
            }
            _ => {}
        }
    }

    /// Keeps a bad result, in the place of an earlier attempt's; `was_running` says whether it was
    /// under way.
    pub(super) fn take_result(&mut self, result: &TestcaseResult, was_running: bool) {
        self.failures.supersede(result);
        if !result.outcome.is_good() && (result.outcome != Outcome::NotRun || was_running) {
            self.failures.keep(result);
        }
    }

    /// Returns everything that belongs to the end of a session that took this long: failures in
    /// full, then the summary with names.
    pub(super) fn text(&self, state: &SessionState, took: Duration) -> Ended {
        let project = wording::project(state.started());
        let mut text = String::new();
        let mut add = |problem: &Diagnostic| text.push_str(&self.problem_text(problem, project));
        for problem in self.failures.build_blocks(state) {
            add(&problem);
        }
        let blocks = self.failures.testcase_blocks(state, self.log_lines);
        for problem in &blocks.problems {
            add(problem);
        }
        if blocks.left_out > 0 {
            let words = text::count(blocks.left_out, "more failure");
            text::add(
                &mut text,
                format_args!("\n{words} not shown in full, named below\n"),
            );
        }
        for found in state.contradictions() {
            text.push_str(&self.problem_text(&wording::contradiction(&found), None));
        }
        let mut summary = self.summary(state, took);
        if !state.is_success() {
            summary.push_str(&self.bad_names(state));
        }
        Ended {
            failures: text,
            summary,
        }
    }

    fn problem_text(&self, problem: &Diagnostic, project: Option<&Utf8Path>) -> String {
        let problem = wording::harmless(problem, project);
        let text = render::to_text(&problem, self.palette.color);
        format!("\n{}\n", text.trim_end())
    }

    /// Returns the summary: duration and counts in one line, then the seed.
    fn summary(&self, state: &SessionState, took: Duration) -> String {
        let style = if state.is_success() {
            LineStyle::Good
        } else {
            LineStyle::Bad
        };
        let word = self.palette.styled(style, &format!("{:>12}", "Summary"));
        let mut line = format!("\n{word} [{:>7.3}s] ", took.as_secs_f64());
        if let Some(reason) = state.stopping() {
            let reason = text::first_line(reason);
            text::add(&mut line, format_args!("stopped ({reason}): "));
        } else if state.finished().is_none() {
            line.push_str("broken off: ");
        }
        line.push_str(&result_words(state, self.palette));
        line.push('\n');
        if let Some(seed) = self.seed.filter(|_| self.is_seed_used) {
            text::add(&mut line, format_args!("{:>12} {seed}\n", "Seed"));
        }
        if let Some(place) = self.wave_words() {
            let place = match wording::project(state.started()) {
                Some(dir) => text::relative(&place, dir),
                None => place,
            };
            text::add(&mut line, format_args!("{:>12} {place}\n", "Waves"));
        }
        line
    }

    /// Says where the waves are: the file, or the folder that holds them all.
    fn wave_words(&self) -> Option<String> {
        let first = self.waves.first()?;
        if self.waves.len() == 1 {
            return Some(text::visible(first.as_str()).into_owned());
        }
        let holds_all = |dir: &&Utf8Path| self.waves.iter().all(|path| path.starts_with(dir));
        let dir = first.ancestors().find(holds_all)?;
        let files = text::count(self.waves.len(), "file");
        let first_below = first.strip_prefix(dir).unwrap_or(first);
        Some(text::visible(&format!("{files} below {dir}, such as {first_below}")).into_owned())
    }

    /// Names everything that keeps the session from being a success, one per line.
    fn bad_names(&self, state: &SessionState) -> String {
        let mut lines: Vec<String> = Vec::new();
        for failed in &self.failures.builds {
            let took = Some(failed.duration);
            let label = self.palette.name(&failed.label);
            lines.push(
                self.palette
                    .line(LineStyle::Bad, "BUILD FAILED", took, &label),
            );
        }
        for problem in &self.error_notices {
            let label =
                wording::first_line_shown(&problem.message, wording::project(state.started()));
            lines.push(self.palette.line(LineStyle::Bad, "ERROR", None, &label));
        }
        let kept = self.failures.testcases.iter();
        let mut results: Vec<&TestcaseResult> = kept.map(|failed| &failed.result).collect();
        // In the order of names, whichever ended first.
        results.sort_by_key(|result| &result.id);
        for result in results {
            if self.failures.is_explained_by_build(result) {
                continue;
            }
            let word = wording::status_word(result.outcome);
            let label = self.palette.id(&result.id);
            let style = LineStyle::of(result.outcome);
            lines.push(
                self.palette
                    .line(style, word, Some(result.duration), &label),
            );
        }
        // Those that were under way have a line of their own above.
        let stopped = self.failures.testcases.iter();
        let stopped = stopped.filter(|it| it.result.outcome == Outcome::NotRun);
        let never_begun = state.testcase_counts().not_run;
        let never_begun = never_begun.saturating_sub(stopped.count());
        let unknown = state.module_counts().not_run;
        for (number, noun) in [(never_begun, "testcase"), (unknown, "module")] {
            if number > 0 {
                let label = text::count(number, noun);
                lines.push(
                    self.palette
                        .line(LineStyle::Notable, "NOT RUN", None, &label),
                );
            }
        }
        lines
            .iter()
            .fold(String::new(), |all, line| all + line + "\n")
    }
}

fn result_words(state: &SessionState, palette: Palette) -> String {
    let (counts, modules) = (state.testcase_counts(), state.module_counts());
    let builds = state.builds();
    if !state.has_tests() && !is_empty_selection(state) {
        return build_words(state, palette);
    }
    let on = if counts.total() > 0 {
        state.tested_builds()
    } else {
        builds.total()
    };
    let number = text::count(counts.total(), "testcase");
    let mut line = format!("{number} on {}", text::count(on, "build"));
    let mut words = summary_words(&counts, palette);
    let unfinished = [
        (
            modules_failed(&modules),
            "module",
            LineStyle::Bad,
            COULD_NOT_RUN,
        ),
        (modules.not_run, "module", LineStyle::Notable, "not run"),
        (builds.failed, "build", LineStyle::Bad, "failed"),
        (builds.not_built, "build", LineStyle::Notable, "not built"),
    ];
    for (number, noun, style, word) in unfinished {
        if number > 0 {
            let number = text::count(number, noun);
            words.push(count_words(palette, style, &format!("{number} {word}")));
        }
    }
    if !words.is_empty() {
        text::add(&mut line, format_args!(": {}", words.join(", ")));
    }
    if is_empty_selection(state) {
        line.push_str(": nothing was selected");
    }
    if state.deselected() > 0 {
        text::add(
            &mut line,
            format_args!(" ({}{JOINT}deselected)", state.deselected()),
        );
    }
    line
}

fn is_empty_selection(state: &SessionState) -> bool {
    let end = state.finished();
    state.listed() == 0 && end.is_some_and(|end| end.exit_code == ExitCode::NothingSelected)
}

/// Returns the words for a session without testcases: `cocorun build`.
fn build_words(state: &SessionState, palette: Palette) -> String {
    let builds = state.builds();
    let numbers = [
        (builds.built, LineStyle::Good, "built"),
        (builds.up_to_date, LineStyle::Good, "up to date"),
        (
            builds.built_elsewhere,
            LineStyle::Good,
            "built by another process",
        ),
        (builds.failed, LineStyle::Bad, "failed"),
        (builds.not_built, LineStyle::Notable, "not built"),
    ];
    let words: Vec<String> = numbers
        .into_iter()
        .filter(|(number, _, _)| *number > 0)
        .map(|(number, style, word)| count_words(palette, style, &format!("{number} {word}")))
        .collect();
    let mut line = text::count(builds.total(), "build");
    if !words.is_empty() {
        text::add(&mut line, format_args!(": {}", words.join(", ")));
    }
    line
}
