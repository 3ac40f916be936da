//! Runs the commands of a step in an attempt's directory, and looks at what they have written.
//!
//! Invariant: what is recorded was written from inputs that did not change meanwhile; the key is
//! computed again when the commands have ended.

use crate::build::context::BuildContext;
use crate::build::fingerprint::digest_file;
use crate::build::progress::Progress;
use crate::build::step_files::entries;
use crate::build::step_files::missing_output;
use crate::build::step_key::StepKey;
use crate::build::step_key::step_key;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::edge::fs;
use crate::edge::process::CommandSpec;
use crate::edge::process::Completion;
use crate::edge::process::Exit;
use crate::edge::process::complete;
use crate::lock::Failure;
use crate::lock::FailureKind;
use crate::lock::Leader;
use crate::model::build::Build;
use crate::model::step;
use crate::model::step::Step;
use crate::model::step::StepFile;
use crate::model::step::StepResult;

use camino::Utf8Path;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// What the commands print, in the attempt's directory.
pub(super) const LOG: &str = "step.log";
/// The step's directory, in the attempt's directory.
pub(super) const OUT: &str = "out";
/// How many lines of the log are shown.
const LINES_MAX: usize = 8;

/// A step on the way to a build.
#[derive(Clone, Copy)]
pub(super) struct StepTask<'a> {
    pub(super) step: &'a Step,
    /// The build that asks for it, for messages.
    pub(super) build: &'a Build,
    /// What the steps that it needs have written.
    pub(super) results: &'a BTreeMap<String, StepResult>,
    pub(super) context: &'a BuildContext<'a>,
}

/// Why a step wrote nothing.
pub(super) type StepFailure = Failure<Problems>;

fn transient(problems: impl Into<Problems>) -> StepFailure {
    Failure::new(FailureKind::Transient, problems.into())
}

fn deterministic(problem: Diagnostic) -> StepFailure {
    Failure::new(FailureKind::Deterministic, problem.into())
}

impl StepTask<'_> {
    /// Runs the commands and returns what they have written.
    ///
    /// # Errors
    /// A command failed or ran too long, an input changed, or an output is missing.
    pub(super) fn run(&self, key: &StepKey, leader: &Leader) -> Result<Vec<StepFile>, StepFailure> {
        let Self { step, context, .. } = self;
        let out = leader.dir().join(OUT);
        fs::create_dirs(&out).map_err(transient)?;
        let Some(_job) = context.jobs.take() else {
            return Err(transient(self.interrupted()));
        };
        for command in &step.commands {
            self.run_command(command, &out, leader)?;
        }
        let again = step_key(step, self.results, context).map_err(transient)?;
        if again.key != key.key {
            let message = format!("an input of {} changed while it ran", self.name());
            let problem = Diagnostic::error(Code::BuildSourcesChanged, message);
            return Err(transient(problem));
        }
        self.files(&out, &leader.dir().join(LOG))
    }

    fn run_command(
        &self,
        words: &[String],
        out: &Utf8Path,
        leader: &Leader,
    ) -> Result<(), StepFailure> {
        let Self { step, context, .. } = self;
        let log = leader.dir().join(LOG);
        let name = words.first().map_or("", String::as_str);
        let spec = self.command(words, out, &log)?;
        let clock = context.edges.clock.as_ref();
        let began = clock.now();
        let limit = step.timeout.unwrap_or(context.build_timeout);
        let (mut progress, first) =
            Progress::of(&format!("step {}", step.name), log.clone(), began);
        leader.note(&first);
        let mut goes_on = || {
            if let Some(news) = progress.news(clock.now()) {
                leader.note(&news);
            }
            !leader.is_lost()
        };
        let host = context.edges.host.as_ref();
        let completion =
            complete(host, clock, &spec, began + limit, &mut goes_on).map_err(transient)?;
        match completion {
            Completion::Left(exit) if exit.is_success() => Ok(()),
            Completion::Left(exit) => {
                let took = clock.now().saturating_duration_since(began);
                let how = format!("`{name}`: {exit}, {:.1} s", took.as_secs_f64());
                let kind = match exit {
                    Exit::Code(_) => FailureKind::Deterministic,
                    Exit::Signal(_) => FailureKind::Transient,
                };
                Err(Failure::new(kind, self.failed(&log, &how).into()))
            }
            Completion::TimedOut => {
                let message = format!(
                    "`{name}` of {} ran longer than {} s and was stopped",
                    self.name(),
                    limit.as_secs_f64()
                );
                let problem = Diagnostic::error(Code::StepTimeout, message);
                let problem = self.at_keys(problem, &["timeout_s", "command"]);
                let problem = with_log(problem, &log);
                Err(transient(problem.help(
                    "raise `timeout_s` of the step, or `build_timeout_s` if it has none",
                )))
            }
            Completion::Stopped(_) | Completion::Abandoned => Err(transient(self.interrupted())),
        }
    }

    fn command(
        &self,
        words: &[String],
        out: &Utf8Path,
        log: &Utf8Path,
    ) -> Result<CommandSpec, StepFailure> {
        let Self { step, context, .. } = self;
        let real = |text: &String| {
            step::replace_markers(text, |name| match self.results.get(name) {
                Some(result) if name != step.name => result.dir.to_string(),
                _ => out.to_string(),
            })
        };
        let programs = context.programs();
        let name = words.first().map_or("", String::as_str);
        let Some(program) = programs.find(name, &step.project_dir) else {
            let message = format!("`{name}` was not found");
            return Err(transient(Diagnostic::error(Code::ToolNotFound, message)));
        };
        let mut env = context.step_env.clone();
        env.extend(programs.variables());
        env.extend(
            step.env
                .iter()
                .map(|(name, text)| (name.clone(), real(text))),
        );
        Ok(CommandSpec {
            program,
            args: words.iter().skip(1).map(real).collect(),
            env,
            // A make that started cocorun does not lend its jobs to one that a step starts.
            env_remove: ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONHOME"]
                .map(str::to_owned)
                .to_vec(),
            cwd: step.project_dir.clone(),
            log: log.to_owned(),
            channel_env: None,
            inherits: Vec::new(),
        })
    }

    /// Lists what was written, and checks that everything is there that must be.
    fn files(&self, out: &Utf8Path, log: &Utf8Path) -> Result<Vec<StepFile>, StepFailure> {
        let written = entries(out).map_err(|problem| deterministic(self.about(*problem, log)))?;
        for output in &self.step.outputs {
            if let Some(problem) = missing_output(&self.name(), output, &written) {
                return Err(deterministic(self.about(problem, log)));
            }
        }
        let file = |path| {
            let whole = out.join(&path);
            let stamp = fs::stamp(&whole).map_err(transient)?;
            Ok(StepFile {
                size: stamp.map_or(0, |stamp| stamp.size),
                digest: digest_file(&whole).map_err(transient)?,
                path,
            })
        };
        written.into_par_iter().map(file).collect()
    }

    /// Adds the log, and where the step's outputs are declared.
    fn about(&self, problem: Diagnostic, log: &Utf8Path) -> Diagnostic {
        let problem = problem.fact(format!("log: {log}")).log(log);
        self.at_keys(problem, &["outputs"])
    }

    /// Adds where the first of these keys of the step is; that of `prepare` for all of them.
    fn at_keys(&self, problem: Diagnostic, keys: &[&str]) -> Diagnostic {
        let step = self.step.name.as_str();
        let place = match step {
            step::PREPARE => (self.context.place_of)(self.build, &[step]),
            _ => keys
                .iter()
                .find_map(|key| (self.context.step_place_of)(self.build, &["step", step, key])),
        };
        match place {
            Some(place) => problem.at(place),
            None => problem,
        }
    }

    /// Returns the problem of a command that failed; `how` says how it ended, the log why.
    pub(super) fn failed(&self, log: &Utf8Path, how: &str) -> Diagnostic {
        let message = format!("{} failed ({how})", self.name());
        with_log(Diagnostic::error(Code::StepFailed, message), log)
    }

    pub(super) fn interrupted(&self) -> Diagnostic {
        let message = format!("{} was interrupted", self.name());
        Diagnostic::error(Code::SessionInterrupted, message)
    }

    /// Names the step in a message.
    pub(super) fn name(&self) -> String {
        match self.step.name.as_str() {
            step::PREPARE => format!("`prepare` of `[build.{}]`", self.build.table),
            name => format!("step `{name}`"),
        }
    }
}

/// Adds the end of the log, where most programs say what went wrong.
fn with_log(problem: Diagnostic, log: &Utf8Path) -> Diagnostic {
    let text = fs::read_if_there(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|it| !it.trim().is_empty()).collect();
    let shown = lines.iter().skip(lines.len().saturating_sub(LINES_MAX));
    let problem = shown.fold(problem, |problem, line| problem.fact(*line));
    let count = match text.lines().count() {
        1 => "1 line".to_owned(),
        count => format!("{count} lines"),
    };
    problem.fact(format!("log: {log} ({count})")).log(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_log_is_shown_with_its_number_of_lines() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = Utf8Path::from_path(dir.path()).expect("UTF-8").join(LOG);
        let facts = |text: &str| {
            fs::write(&log, text).expect("local");
            with_log(Diagnostic::error(Code::StepFailed, ""), &log).facts
        };
        assert_eq!(facts("bad\n"), ["bad", &format!("log: {log} (1 line)")]);
        let shown = facts(&"x\n".repeat(10));
        assert_eq!(shown.len(), LINES_MAX + 1);
        assert_eq!(shown[LINES_MAX], format!("log: {log} (10 lines)"));
    }
}
