//! What is printed when all is over: failures in full, the summary, the culprits by name.

use super::TerminalReport;
use super::frame::summary_words;
use super::style::Mood;

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::render;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::report::text;
use crate::report::verdict;

use camino::Utf8Path;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

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
    (result.outcome, result.cause, verdict::message_line(result))
}

impl TerminalReport {
    /// Keeps a failure for the ending, within bounds.
    pub(super) fn keep(&mut self, result: &TestcaseResult) {
        let mut kept = result.clone();
        let has_room = self.failures.len() < DETAILED_FAILURES_MAX;
        let shorten = |long: &mut Option<String>| {
            *long = long
                .take()
                .filter(|_| has_room)
                .map(|long| text::last_bytes(&long, DETAIL_BYTES_MAX).to_owned());
        };
        // The headline is all of the message that the ending needs of those it does not show.
        let headline = verdict::message_line(&kept);
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

    /// Prints everything that belongs to the end of a session.
    pub(super) fn print_ending(&mut self) {
        self.print_failed_builds();
        self.print_failures();
        self.print_contradictions();
        let summary = self.summary();
        self.screen.print(&summary);
        if !self.tally.is_success() {
            let culprits = self.culprits();
            self.screen.print(&culprits);
        }
    }

    fn print_problem(&mut self, problem: &Diagnostic) {
        let text = render::to_text(problem, self.palette.color);
        self.screen.print(&format!("\n{}\n", text.trim_end()));
    }

    /// Counts the testcases that a failed build took with it.
    fn lost_to(&self, build: usize) -> usize {
        let name = &self.failed_builds[build].build;
        let is_lost = |result: &&TestcaseResult| {
            result.cause == Some(Cause::Build) && result.id.build == *name
        };
        self.failures.iter().filter(is_lost).count()
    }

    fn print_failed_builds(&mut self) {
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
            self.print_problem(&problem);
        }
    }

    /// Says whether a failed build tells all there is to tell about this result.
    fn is_told_by_build(&self, result: &TestcaseResult) -> bool {
        result.cause == Some(Cause::Build)
            && self
                .failed_builds
                .iter()
                .any(|failed| failed.build == result.id.build)
    }

    fn print_failures(&mut self) {
        let mut alike: BTreeMap<Kind, usize> = BTreeMap::new();
        for result in self
            .failures
            .iter()
            .filter(|result| !self.is_told_by_build(result))
        {
            *alike.entry(kind_of(result)).or_default() += 1;
        }
        let mut seen: BTreeMap<Kind, usize> = BTreeMap::new();
        let mut told_modules: BTreeSet<(String, Kind)> = BTreeSet::new();
        let mut blocks = 0;
        let mut left_out = 0;
        for at in 0..self.failures.len() {
            let result = &self.failures[at];
            if self.is_told_by_build(result) {
                continue;
            }
            let kind = kind_of(result);
            if result.id.is_whole_module()
                && !told_modules.insert((result.id.module.0.clone(), kind.clone()))
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
            let code = self.tally.code(result).unwrap_or(Code::TestNoResult);
            let log_lines = self.log_tail(result);
            let mut problem = verdict::diagnostic(result, code, &self.rerun_prefix, &log_lines);
            let others = self.other_builds_of(at);
            if !others.is_empty() {
                problem = problem.fact(text::visible(&format!("the same on {others}")));
            }
            if total > ALIKE_MAX && *number == EXAMPLES {
                let words = text::count(total - EXAMPLES, "more testcase");
                problem = problem.fact(format!("{words} ended the same way, named below"));
            }
            self.print_problem(&problem);
        }
        if left_out > 0 {
            let words = text::count(left_out, "more failure");
            self.screen
                .print(&format!("\n{words} not shown in full, named below\n"));
        }
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

    fn print_contradictions(&mut self) {
        for line in self.tally.contradictions() {
            self.print_problem(&Diagnostic::error(Code::TestNoResult, line));
        }
    }

    /// Returns the summary: how long people have waited and the counts in one line, then the seed.
    fn summary(&self) -> String {
        let tally = &self.tally;
        let since = |then| self.clock.now().saturating_duration_since(then);
        let took = match (self.began, &tally.finished) {
            (Some(began), _) => since(began),
            (None, Some(end)) => end.duration,
            (None, None) => since(self.started),
        };
        let mood = if tally.is_success() {
            Mood::Good
        } else {
            Mood::Bad
        };
        let word = self.palette.mood(mood, &format!("{:>12}", "Summary"));
        let mut line = format!("\n{word} [{:>7.3}s] ", took.as_secs_f64());
        if let Some(reason) = &tally.stopping {
            let reason = text::first_line(reason);
            text::add(&mut line, format_args!("stopped ({reason}): "));
        } else if tally.finished.is_none() {
            line.push_str("broken off: ");
        }
        line.push_str(&self.result_words());
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

    fn result_words(&self) -> String {
        let tally = &self.tally;
        let builds = tally.builds;
        if !tally.has_tests && !self.is_empty_selection() {
            return self.build_words();
        }
        let number = text::count(tally.counts.total(), "testcase");
        let on = if tally.counts.total() > 0 {
            tally.tested_builds()
        } else {
            builds.total()
        };
        let mut line = format!("{number} on {}", text::count(on, "build"));
        let mut words = summary_words(&tally.counts);
        if builds.failed > 0 {
            words.push(format!("{} failed", text::count(builds.failed, "build")));
        }
        if builds.stopped > 0 {
            words.push(format!(
                "{} not built",
                text::count(builds.stopped, "build")
            ));
        }
        if !words.is_empty() {
            text::add(&mut line, format_args!(": {}", words.join(", ")));
        }
        if self.is_empty_selection() {
            line.push_str(": nothing was selected");
        }
        if tally.deselected > 0 {
            text::add(
                &mut line,
                format_args!(" ({} deselected)", tally.deselected),
            );
        }
        line
    }

    fn is_empty_selection(&self) -> bool {
        let end = self.tally.finished.as_ref();
        end.is_some_and(|end| end.exit_code == ExitCode::NothingSelected)
    }

    /// Returns the words for a session without testcases: `cocorun build`.
    fn build_words(&self) -> String {
        let builds = self.tally.builds;
        let numbers = [
            (builds.built, "built"),
            (builds.up_to_date, "up to date"),
            (builds.elsewhere, "built by another process"),
            (builds.failed, "failed"),
            (builds.stopped, "not built"),
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

    /// Returns the names of all that stands against a success, a line each.
    fn culprits(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for failed in &self.failed_builds {
            let took = Some(failed.duration);
            let label = self.palette.name(&failed.label);
            lines.push(self.palette.line(Mood::Bad, "BUILD FAILED", took, &label));
        }
        for problem in &self.error_notices {
            let label = text::first_line(&problem.message);
            lines.push(self.palette.line(Mood::Bad, "ERROR", None, &label));
        }
        for result in self
            .failures
            .iter()
            .filter(|result| !self.is_told_by_build(result))
        {
            let word = verdict::status_word(result.outcome);
            let label = self.palette.id(&result.id);
            let mood = Mood::of(result.outcome);
            lines.push(self.palette.line(mood, word, Some(result.duration), &label));
        }
        // Those that were under way have a line of their own above.
        let stopped = self.failures.iter();
        let stopped = stopped.filter(|result| result.outcome == Outcome::NotRun);
        let never_begun = self.tally.counts.not_run.saturating_sub(stopped.count());
        if never_begun > 0 {
            let label = text::count(never_begun, "testcase");
            lines.push(self.palette.line(Mood::Pale, "NOT RUN", None, &label));
        }
        lines
            .iter()
            .fold(String::new(), |all, line| all + line + "\n")
    }
}
