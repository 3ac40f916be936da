//! What is printed at the end: failures in full, the summary, and by name what went wrong.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::render;
use crate::event::Event;
use crate::event::SessionState;
use crate::model::build::BuildName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Seed;
use crate::report::log;
use crate::report::terminal::frame::summary_words;
use crate::report::terminal::style::LineStyle;
use crate::report::terminal::style::Palette;
use crate::report::text;
use crate::report::wording;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

/// Details of more failures than this are not kept: the ending would not show them.
pub(super) const DETAILED_FAILURES_MAX: usize = 500;
/// How much of one message or traceback is kept, in bytes, from its end.
pub(super) const DETAIL_BYTES_MAX: usize = 16 * 1024;
/// More failures of one kind than this are shown by a few examples.
const ALIKE_MAX: usize = 20;
/// That many examples.
const EXAMPLES: usize = 3;
/// No more failures than this are shown in full, whatever they are.
const BLOCKS_MAX: usize = 100;

/// What makes failures alike: outcome, cause and headline without the testcase's name.
type Kind = (Outcome, Option<Cause>, Option<String>);

fn kind_of(result: &TestcaseResult) -> Kind {
    (result.outcome, result.cause, wording::message_line(result))
}

/// A build that failed.
pub(super) struct FailedBuild {
    pub(super) build: BuildName,
    pub(super) label: String,
    pub(super) problem: Diagnostic,
    pub(super) duration: Duration,
    pub(super) log: Option<Utf8PathBuf>,
}

/// What is collected for the end, within bounds.
pub(super) struct Ending {
    palette: Palette,
    log_lines: usize,
    seed: Option<Seed>,
    /// Whether a run took the session's seed; `runner.toml` may give them all one of their own.
    is_seed_used: bool,
    pub(super) failed_builds: Vec<FailedBuild>,
    pub(super) failures: Vec<TestcaseResult>,
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
            failed_builds: Vec::new(),
            failures: Vec::new(),
            error_notices: Vec::new(),
            waves: BTreeSet::new(),
        }
    }

    /// Takes what the summary needs of an event.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::SessionStarted(session) => self.seed = Some(session.seed),
            Event::TestcaseFinished(result) => {
                self.is_seed_used |= Some(result.seed) == self.seed;
                self.waves.extend(result.waves.clone());
            }
            _ => {}
        }
    }

    /// Keeps a bad result, in the place of an earlier attempt's; `was_running` says whether it was
    /// under way.
    pub(super) fn take_result(&mut self, result: &TestcaseResult, was_running: bool) {
        if result.attempt > 1
            && let Some(at) = self
                .failures
                .iter()
                .position(|it| it.id == result.id && it.attempt < result.attempt)
        {
            self.failures.remove(at);
        }
        if !result.outcome.is_good() && (result.outcome != Outcome::NotRun || was_running) {
            self.keep(result);
        }
    }

    fn keep(&mut self, result: &TestcaseResult) {
        let mut kept = result.clone();
        let has_room = self.failures.len() < DETAILED_FAILURES_MAX;
        let shorten = |long: &mut Option<String>| {
            *long = long
                .take()
                .filter(|_| has_room)
                .map(|long| text::last_bytes(&long, DETAIL_BYTES_MAX).to_owned());
        };
        // The headline is all of the message that the ending needs of those it does not show.
        let headline = wording::message_line(&kept);
        shorten(&mut kept.details);
        if !has_room
            || kept
                .message
                .as_ref()
                .is_some_and(|long| long.len() > DETAIL_BYTES_MAX)
        {
            kept.message = headline.map(|line| text::cut_end(&line, 400).into_owned());
        }
        self.failures.push(kept);
    }

    /// Returns everything that belongs to the end of a session that took this long.
    pub(super) fn text(&self, state: &SessionState, took: Duration) -> String {
        let mut text = self.failed_builds_text();
        text.push_str(&self.failures_text(state));
        for found in state.contradictions() {
            text.push_str(&self.problem_text(&wording::contradiction(&found)));
        }
        text.push_str(&self.summary(state, took));
        if !state.is_success() {
            text.push_str(&self.bad_names(state));
        }
        text
    }

    fn problem_text(&self, problem: &Diagnostic) -> String {
        let text = render::to_text(problem, self.palette.color);
        format!("\n{}\n", text.trim_end())
    }

    /// Counts the testcases that a failed build took with it.
    fn lost_to(&self, build: usize) -> usize {
        let name = &self.failed_builds[build].build;
        let is_lost = |result: &&TestcaseResult| {
            result.cause == Some(Cause::Build) && result.id.build == *name
        };
        self.failures.iter().filter(is_lost).count()
    }

    fn failed_builds_text(&self) -> String {
        let mut all = String::new();
        for at in 0..self.failed_builds.len() {
            let failed = &self.failed_builds[at];
            let mut problem = failed.problem.clone();
            let lost = self.lost_to(at);
            if lost > 0 {
                problem = problem.fact(format!("{} could not run", text::count(lost, "testcase")));
            }
            if let Some(log) = &failed.log
                && !problem.facts.iter().any(|fact| fact.contains(log.as_str()))
            {
                problem = problem.fact(text::visible(&format!("log: {log}")));
            }
            all.push_str(&self.problem_text(&problem));
        }
        all
    }

    /// Says whether a failed build explains all there is to say about this result.
    fn is_explained_by_build(&self, result: &TestcaseResult) -> bool {
        result.cause == Some(Cause::Build)
            && self
                .failed_builds
                .iter()
                .any(|failed| failed.build == result.id.build)
    }

    fn failures_text(&self, state: &SessionState) -> String {
        let prefix = state.started().map_or("", |session| &session.rerun_prefix);
        let mut all = String::new();
        let mut alike: BTreeMap<Kind, usize> = BTreeMap::new();
        for result in self
            .failures
            .iter()
            .filter(|result| !self.is_explained_by_build(result))
        {
            *alike.entry(kind_of(result)).or_default() += 1;
        }
        let mut seen: BTreeMap<Kind, usize> = BTreeMap::new();
        let mut shown_modules: BTreeSet<(String, Kind)> = BTreeSet::new();
        let mut blocks = 0;
        let mut left_out = 0;
        for at in 0..self.failures.len() {
            let result = &self.failures[at];
            if self.is_explained_by_build(result) {
                continue;
            }
            let kind = kind_of(result);
            if result.id.is_whole_module()
                && !shown_modules.insert((result.id.module.0.clone(), kind.clone()))
            {
                continue;
            }
            let total = alike.get(&kind).copied().unwrap_or(1);
            let number = seen.entry(kind).or_default();
            *number += 1;
            if total > ALIKE_MAX && *number > EXAMPLES {
                continue;
            }
            if blocks == BLOCKS_MAX {
                left_out += 1;
                continue;
            }
            blocks += 1;
            let code = state.code_of(result).unwrap_or(Code::TestNoResult);
            let log_lines = self.log_tail(result);
            let mut problem = wording::diagnostic(result, code, prefix, &log_lines);
            if let Some(found) = state.order_dependence(&result.id) {
                problem = problem.fact(wording::order_dependence(found));
            }
            let others = self.other_builds_of(at);
            if !others.is_empty() {
                problem = problem.fact(text::visible(&format!("the same on {others}")));
            }
            if total > ALIKE_MAX && *number == EXAMPLES {
                let words = text::count(total - EXAMPLES, "more testcase");
                problem = problem.fact(format!("{words} ended the same way, named below"));
            }
            all.push_str(&self.problem_text(&problem));
        }
        if left_out > 0 {
            let words = text::count(left_out, "more failure");
            text::add(
                &mut all,
                format_args!("\n{words} not shown in full, named below\n"),
            );
        }
        all
    }

    /// Returns the last lines of a result's log.
    fn log_tail(&self, result: &TestcaseResult) -> Vec<String> {
        let span = result.log.as_ref();
        span.map(|span| log::last_lines(span, self.log_lines))
            .unwrap_or_default()
    }

    /// Names the further builds on which a module as a whole failed in the same way.
    fn other_builds_of(&self, at: usize) -> String {
        let result = &self.failures[at];
        if !result.id.is_whole_module() {
            return String::new();
        }
        let kind = kind_of(result);
        let same = self.failures[at + 1..]
            .iter()
            .filter(|other| other.id.module == result.id.module && other.id.is_whole_module())
            .filter(|other| kind_of(other) == kind)
            .map(|other| format!("`{}`", other.id.build));
        same.collect::<Vec<_>>().join(", ")
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
        line.push_str(&result_words(state));
        line.push('\n');
        if let Some(seed) = self.seed.filter(|_| self.is_seed_used) {
            text::add(&mut line, format_args!("{:>12} {seed}\n", "Seed"));
        }
        if let Some(place) = self.wave_words() {
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
        Some(text::visible(&format!("{files} below {dir}, as {first_below}")).into_owned())
    }

    /// Names everything that keeps the session from being a success, one per line.
    fn bad_names(&self, state: &SessionState) -> String {
        let mut lines: Vec<String> = Vec::new();
        for failed in &self.failed_builds {
            let took = Some(failed.duration);
            let label = self.palette.name(&failed.label);
            lines.push(
                self.palette
                    .line(LineStyle::Bad, "BUILD FAILED", took, &label),
            );
        }
        for problem in &self.error_notices {
            let label = text::first_line(&problem.message);
            lines.push(self.palette.line(LineStyle::Bad, "ERROR", None, &label));
        }
        for result in self
            .failures
            .iter()
            .filter(|result| !self.is_explained_by_build(result))
        {
            let word = wording::status_word(result.outcome);
            let label = self.palette.id(&result.id);
            let style = LineStyle::of(result.outcome);
            lines.push(
                self.palette
                    .line(style, word, Some(result.duration), &label),
            );
        }
        // Those that were under way have a line of their own above.
        let stopped = self.failures.iter();
        let stopped = stopped.filter(|result| result.outcome == Outcome::NotRun);
        let never_begun = state.counts().not_run.saturating_sub(stopped.count());
        if never_begun > 0 {
            let label = text::count(never_begun, "testcase");
            lines.push(
                self.palette
                    .line(LineStyle::Notable, "NOT RUN", None, &label),
            );
        }
        lines
            .iter()
            .fold(String::new(), |all, line| all + line + "\n")
    }
}

fn result_words(state: &SessionState) -> String {
    let (counts, builds) = (state.counts(), state.builds());
    if !state.has_tests() && !is_empty_selection(state) {
        return build_words(state);
    }
    let on = if counts.total() > 0 {
        state.tested_builds()
    } else {
        builds.total()
    };
    let number = text::count(counts.total(), "testcase");
    let mut line = format!("{number} on {}", text::count(on, "build"));
    let mut words = summary_words(&counts);
    if builds.failed > 0 {
        words.push(format!("{} failed", text::count(builds.failed, "build")));
    }
    if builds.not_built > 0 {
        let number = text::count(builds.not_built, "build");
        words.push(format!("{number} not built"));
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
            format_args!(" ({} deselected)", state.deselected()),
        );
    }
    line
}

fn is_empty_selection(state: &SessionState) -> bool {
    let end = state.finished();
    end.is_some_and(|end| end.exit_code == ExitCode::NothingSelected)
}

/// Returns the words for a session without testcases: `cocorun build`.
fn build_words(state: &SessionState) -> String {
    let builds = state.builds();
    let numbers = [
        (builds.built, "built"),
        (builds.up_to_date, "up to date"),
        (builds.built_elsewhere, "built by another process"),
        (builds.failed, "failed"),
        (builds.not_built, "not built"),
    ];
    let words: Vec<String> = numbers
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let mut line = text::count(builds.total(), "build");
    if !words.is_empty() {
        text::add(&mut line, format_args!(": {}", words.join(", ")));
    }
    line
}
