//! Builds: those under way, and the lines about them.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::event::BuildHolder;
use crate::event::BuildOutcome;
use crate::model::build::BuildName;
use crate::model::build::SimulatorName;
use crate::model::step::PREPARE;
use crate::report::terminal::frame::Row;
use crate::report::terminal::style::LineStyle;
use crate::report::terminal::style::Palette;
use crate::report::text;
use crate::report::wording;

use camino::Utf8Path;
use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

/// A build under way.
struct BuildRow {
    simulator: SimulatorName,
    since: Instant,
    holder: Option<BuildHolder>,
    /// The step that runs for it.
    step: Option<String>,
}

/// What to print about a finished build.
pub(super) struct BuildLine {
    pub(super) style: LineStyle,
    pub(super) word: &'static str,
    pub(super) label: String,
    /// What happened, where that needs words.
    pub(super) words: String,
}

/// Builds under way, and those found up to date that have no line yet.
pub(super) struct Builds {
    palette: Palette,
    rows: BTreeMap<BuildName, BuildRow>,
    up_to_date: Vec<(String, Duration)>,
}

impl Builds {
    /// Begins empty.
    pub(super) fn new(palette: Palette) -> Self {
        Self {
            palette,
            rows: BTreeMap::new(),
            up_to_date: Vec::new(),
        }
    }

    /// Remembers a build that is under way from now on.
    pub(super) fn start(&mut self, now: Instant, build: &BuildName, simulator: &SimulatorName) {
        let row = BuildRow {
            simulator: simulator.clone(),
            since: now,
            holder: None,
            step: None,
        };
        self.rows.insert(build.clone(), row);
    }

    /// Remembers who holds a build; returns a line when a wait begins.
    pub(super) fn wait(&mut self, build: &BuildName, holder: &BuildHolder) -> Option<String> {
        let row = self.rows.get_mut(build)?;
        let former = row.holder.replace(holder.clone());
        if former.is_some() {
            return None;
        }
        let name = wording::build_label(build, Some(row.simulator.as_str()));
        let label = format!("{name} for {}", holder.words);
        let label = text::visible(&label).into_owned();
        let line = self
            .palette
            .line(LineStyle::Notable, "WAITING", None, &label);
        Some(line)
    }

    /// Remembers which step runs for a build, if one does.
    pub(super) fn run_step(&mut self, build: &BuildName, step: Option<&str>) {
        if let Some(row) = self.rows.get_mut(build) {
            row.step = step.map(str::to_owned);
        }
    }

    /// Returns the line of a step that has run.
    pub(super) fn step_line(&self, build: &BuildName, step: &str, took: Duration) -> String {
        let label = text::visible(&step_label(build, step)).into_owned();
        let label = self.palette.name(&label);
        self.palette
            .line(LineStyle::Good, "STEP", Some(took), &label)
    }

    /// Takes a finished build; returns its line, unless it is kept for [`Builds::take_up_to_date`].
    pub(super) fn finish(
        &mut self,
        build: &BuildName,
        outcome: &BuildOutcome,
        took: Duration,
        project: Option<&Utf8Path>,
    ) -> Option<BuildLine> {
        let row = self.rows.remove(build);
        let name = wording::build_label(build, row.as_ref().map(|row| row.simulator.as_str()));
        let label = self.palette.name(&text::visible(&name));
        let mut words = String::new();
        let (style, word, label) = match outcome {
            BuildOutcome::Built => (LineStyle::Good, "BUILD", label),
            BuildOutcome::UpToDate => {
                self.up_to_date.push((label, took));
                return None;
            }
            BuildOutcome::BuiltElsewhere => {
                let label = format!("{label} by another process");
                (LineStyle::Good, "BUILD", label)
            }
            BuildOutcome::Failed(problem) if problem.code.is_stop() => {
                (LineStyle::Notable, "NOT BUILT", label)
            }
            BuildOutcome::Failed(problem) => {
                // Worth more than that it failed.
                words = wording::first_line_shown(reason(problem), project);
                (LineStyle::Bad, "BUILD FAILED", label)
            }
        };
        Some(BuildLine {
            style,
            word,
            label,
            words,
        })
    }

    /// Returns one line for all builds that were found up to date since the last call.
    pub(super) fn take_up_to_date(&mut self) -> Option<String> {
        let (first, _) = self.up_to_date.first()?;
        let label = match self.up_to_date.len() {
            1 => first.clone(),
            number => self.palette.name(&text::count(number, "build")),
        };
        let took = self.up_to_date.iter().map(|(_, took)| *took).max();
        self.up_to_date.clear();
        let line = self
            .palette
            .line(LineStyle::Good, "UP TO DATE", took, &label);
        Some(line)
    }

    /// Returns what is under way.
    pub(super) fn rows(&self, now: Instant) -> Vec<Row> {
        let row = |(build, row): (&BuildName, &BuildRow)| {
            let name = wording::build_label(build, Some(row.simulator.as_str()));
            let (word, label, detail) = match &row.holder {
                _ if row.step.is_some() => {
                    let step = row.step.as_deref().unwrap_or_default();
                    ("STEP", step_label(build, step), String::new())
                }
                Some(holder) => (
                    "WAITING",
                    format!("{name} for {}", holder.name),
                    what_it_does(holder),
                ),
                None => ("BUILDING", name, String::new()),
            };
            Row {
                word,
                elapsed: now.saturating_duration_since(row.since),
                label: text::visible(&label).into_owned(),
                detail: text::first_line(&detail).into_owned(),
            }
        };
        self.rows.iter().map(row).collect()
    }
}

/// Names a step; one of a build's own with its build.
fn step_label(build: &BuildName, step: &str) -> String {
    match step {
        PREPARE => format!("{step} of {build}"),
        _ => step.to_owned(),
    }
}

/// Returns the line that says most about why a build failed: the first error of the compiler, the last
/// words of a generator, or what cocorun itself found out.
fn reason(problem: &Diagnostic) -> &str {
    let mut facts = problem.facts.iter();
    let is_error = |fact: &&String| fact.to_ascii_lowercase().contains("error");
    let fact = match problem.code {
        Code::BuildCompile => facts.find(is_error).or(problem.facts.first()),
        // A generator says at the end why it gave up.
        Code::StepFailed => facts.rfind(|fact| !fact.starts_with("log: ")),
        _ => None,
    };
    let found_out = problem.message.split_once("could not be compiled: ");
    let message = found_out.map_or(&*problem.message, |(_, why)| why);
    fact.map_or(message, String::as_str)
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
