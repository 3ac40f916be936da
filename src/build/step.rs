//! Runs the steps of a build that are not up to date: each once for its content, whoever needs it.
//!
//! Invariant: a build gets only what a step has written completely, in a directory that nothing
//! writes to any more. Between processes [`CallOnce`] sees to it, and within a session [`StepRuns`].

use crate::build::context::BuildContext;
use crate::build::fingerprint;
use crate::build::fingerprint::Part;
use crate::build::fingerprint::digest_file;
use crate::build::news::BuildNews;
use crate::build::news::OnNews;
use crate::build::records::records_under;
use crate::build::step_files::lacks;
use crate::build::step_files::with_results;
use crate::build::step_key::StepKey;
use crate::build::step_key::step_key;
use crate::build::step_run::LOG;
use crate::build::step_run::OUT;
use crate::build::step_run::StepTask;
use crate::build::step_runs::StepRuns;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::fs;
use crate::lock::Acceptance;
use crate::lock::CallOnce;
use crate::lock::Failure;
use crate::lock::FailureKind;
use crate::lock::Leader;
use crate::lock::OnceStep;
use crate::lock::Published;
use crate::lock::StepError;
use crate::lock::WaitProgress;
use crate::model::build::Build;
use crate::model::step::StepFile;
use crate::model::step::StepResult;

use camino::Utf8Path;
use rayon::prelude::*;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The step's name in the shared directory.
const STEP: &str = "generated_sources";
/// How often a step is repeated because an input changed under it.
const CHANGES_MAX: u32 = 3;

/// What is published with the files of a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StepRecord {
    /// What it was made from.
    parts: Vec<Part>,
    files: Vec<StepFile>,
    /// When it was published, RFC 3339.
    made_at: String,
}

/// Runs the steps of a build that are not up to date, and returns the build with the places of what
/// they have written.
///
/// # Errors
/// A step failed, a limit passed, the session stops, or the disk failed.
pub(super) fn ensure_steps(
    build: &Build,
    context: &BuildContext<'_>,
    on_news: &OnNews<'_>,
) -> Result<Build> {
    let mut results = BTreeMap::new();
    for step in &build.steps {
        let task = StepTask {
            step,
            build,
            results: &results,
            context,
        };
        let result = ensure(task, on_news)?;
        results.insert(step.name.clone(), result);
    }
    with_results(build, results)
}

fn ensure(task: StepTask<'_>, on_news: &OnNews<'_>) -> Result<StepResult> {
    for _ in 0..CHANGES_MAX {
        let key = step_key(task.step, task.results, task.context)?;
        let runs: &StepRuns = task.context.step_runs;
        let name = format!("step-{}-{}", task.step.name, &key.key[..16]);
        let result = runs.once(&name, || {
            attempt(task, &key, &name, Reuse::Allowed, on_news)
        });
        let is_stale =
            |result: &StepResult| result.is_reused && lacks(task.build, &task.step.name, result);
        let result = match result {
            // Something that no input tells of may have changed since.
            Ok(found) if is_stale(&found) && !task.context.assume_built => {
                let again = format!("{name} again");
                runs.once(&again, || {
                    attempt(task, &key, &name, Reuse::Refused, on_news)
                })
            }
            result => result,
        };
        match result {
            Err(problems) if problems.0[0].code == Code::BuildSourcesChanged => {}
            result => return result,
        }
    }
    let message = format!("the inputs of {} changed each time it ran", task.name());
    let problem = Diagnostic::error(Code::BuildSourcesChanged, message);
    Err(problem
        .help("wait until the files stop changing; a step must not write what it reads")
        .into())
}

fn attempt(
    task: StepTask<'_>,
    key: &StepKey,
    name: &str,
    reuse: Reuse,
    on_news: &OnNews<'_>,
) -> Result<StepResult> {
    let context = task.context;
    let mut once = CallOnce::new(
        Arc::clone(&context.edges.storage),
        Arc::clone(&context.edges.clock),
        context.build_dir.join(name),
        STEP,
        context.lock.clone(),
    );
    if context.force || reuse == Reuse::Refused {
        once.clean()?;
    }
    if context.assume_built {
        return assumed(task, &once);
    }
    let mut run = Run {
        task,
        key,
        on_news,
        rejected: Vec::new(),
        is_done_here: false,
    };
    if reuse == Reuse::Refused {
        run.rejected
            .push("it had not written what a build needs".to_owned());
    }
    let published = match once.ensure_done(&mut run, Some(context.lock_timeout)) {
        Ok(done) => done.published(),
        Err(StepError::Step(problems)) => return Err(problems),
        Err(StepError::Elsewhere(failed)) => {
            let how = "in another process";
            return Err(task.failed(&failed.dir.join(LOG), how).into());
        }
        Err(StepError::Interrupted) => return Err(task.interrupted().into()),
        Err(StepError::Lock(error)) => return Err(error.into()),
    };
    let is_reused = !run.is_done_here;
    let result = result_of(&published, Check::Sizes);
    let result = result.map(|found| StepResult { is_reused, ..found });
    result.map_err(|why| {
        let message = format!("what {} wrote cannot be used: {why}", task.name());
        Diagnostic::error(Code::DiskIo, message).into()
    })
}

/// Returns what a step has written, or says why nothing is to be had without running it.
fn assumed(task: StepTask<'_>, once: &CallOnce) -> Result<StepResult> {
    let usable = once
        .results()?
        .iter()
        .find_map(|it| result_of(it, Check::Contents).ok());
    usable.ok_or_else(|| {
        let message = format!("{} has not run for its present inputs", task.name());
        Diagnostic::error(Code::BuildNotBuilt, message)
            .help("run `cocorun build` first, or leave `--assume-built` out")
            .into()
    })
}

/// Whether what a step wrote in an earlier session may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reuse {
    Allowed,
    Refused,
}

/// How files of a step are compared with its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// By their sizes, if their contents were checked already.
    Sizes,
    /// By their contents: somebody may have edited one in place.
    Contents,
}

/// Reads what was published, and checks that the files are there as they were written.
fn result_of(published: &Published, check: Check) -> std::result::Result<StepResult, String> {
    let record = StepRecord::deserialize(&published.record).map_err(|error| error.to_string())?;
    let dir = published.dir.join(OUT);
    let damage = |file: &StepFile| damage_of(&dir, file, check);
    let damages: Vec<String> = record.files.par_iter().filter_map(damage).collect();
    match damages.into_iter().next() {
        Some(why) => Err(why),
        None => Ok(StepResult {
            dir,
            files: record.files,
            is_reused: true,
        }),
    }
}

/// Says how a file differs from what the step has written.
fn damage_of(dir: &Utf8Path, file: &StepFile, check: Check) -> Option<String> {
    let path = dir.join(&file.path);
    let name = &file.path;
    match fs::stamp(&path) {
        Ok(Some(stamp)) if stamp.size != file.size => Some(format!(
            "`{name}` has {} bytes instead of {}",
            stamp.size, file.size
        )),
        Ok(Some(_)) if check == Check::Sizes => None,
        Ok(Some(_)) => match digest_file(&path) {
            Ok(digest) if digest == file.digest => None,
            Ok(_) => Some(format!("`{name}` was edited after the step wrote it")),
            Err(_) => Some(format!("`{name}` cannot be read")),
        },
        _ => Some(format!("`{name}` is missing")),
    }
}

/// Running one step.
struct Run<'a> {
    task: StepTask<'a>,
    key: &'a StepKey,
    on_news: &'a OnNews<'a>,
    /// Why results were not accepted.
    rejected: Vec<String>,
    /// Whether this process ran it.
    is_done_here: bool,
}

impl OnceStep for Run<'_> {
    type Error = Problems;

    fn run(
        &mut self,
        leader: &Leader,
    ) -> std::result::Result<serde_json::Value, Failure<Problems>> {
        let (task, clock) = (self.task, self.task.context.edges.clock.as_ref());
        let step = task.step.name.as_str();
        let reasons = self.reasons();
        self.is_done_here = true;
        let began = clock.now();
        (self.on_news)(&BuildNews::StepStarted { step });
        let files = task.run(self.key, leader);
        (self.on_news)(&BuildNews::StepFinished {
            step,
            is_done: files.is_ok(),
            reasons: &reasons,
            duration: clock.now().saturating_duration_since(began),
            log: &leader.dir().join(LOG),
        });
        let made_at = jiff::Timestamp::try_from(clock.wall());
        let record = StepRecord {
            parts: self.key.parts.clone(),
            files: files?,
            made_at: made_at.map(|time| time.to_string()).unwrap_or_default(),
        };
        serde_json::to_value(record).map_err(|error| {
            let message = format!("cannot write the record of {}: {error}", task.name());
            let problem = Diagnostic::error(Code::DiskIo, message);
            Failure::new(FailureKind::Transient, problem.into())
        })
    }

    fn accept(&mut self, published: &Published) -> Acceptance {
        match result_of(published, Check::Contents) {
            Ok(_) => Acceptance::Use,
            Err(why) => {
                self.rejected.push(why.clone());
                Acceptance::Broken(why)
            }
        }
    }

    fn on_wait(&mut self, progress: &WaitProgress) -> ControlFlow<()> {
        (self.on_news)(&BuildNews::Waiting(progress));
        match self.task.context.edges.interrupt.raised() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Run<'_> {
    /// Says why nothing could be reused, compared with the most similar result of the same name.
    fn reasons(&self) -> Vec<String> {
        let context = self.task.context;
        if context.force {
            return vec!["--force was given".to_owned()];
        }
        if !self.rejected.is_empty() {
            return self.rejected.clone();
        }
        let prefix = format!("step-{}-", self.task.step.name);
        let names = fs::list(context.build_dir).unwrap_or_default();
        let of_name = names.iter().filter(|it| {
            let key = it.strip_prefix(&prefix);
            key.is_some_and(|key| key.len() == 16 && !key.contains('-'))
        });
        let records =
            of_name.flat_map(|name| records_under::<StepRecord>(&context.build_dir.join(name)));
        let changes = records.map(|record| {
            let lines = fingerprint::differences(&record.parts, &self.key.parts);
            (lines, record.made_at)
        });
        // Builds may run one step with different values: the most similar result is its former one.
        let nearest = changes.min_by(|(left, left_at), (right, right_at)| {
            let by_lines = distance(left).cmp(&distance(right));
            by_lines.then_with(|| right_at.cmp(left_at))
        });
        match nearest {
            None => vec!["it never ran here".to_owned()],
            Some((lines, _)) if lines.is_empty() => vec!["its result is gone".to_owned()],
            Some((lines, _)) => lines,
        }
    }
}

/// Returns how far two results are apart: another command is another variant.
fn distance(lines: &[String]) -> (usize, usize) {
    let commands = lines.iter().filter(|line| line.starts_with("command "));
    (commands.count(), lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_edited_to_the_same_length_is_not_used() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = Utf8Path::from_path(dir.path()).expect("UTF-8");
        let path = dir.join(OUT).join("a.sv");
        fs::create_dirs(&dir.join(OUT)).expect("local");
        fs::write(&path, "wire a;").expect("local");
        let file = StepFile {
            path: "a.sv".into(),
            size: 7,
            digest: digest_file(&path).expect("local"),
        };
        let record = StepRecord {
            parts: Vec::new(),
            files: vec![file.clone()],
            made_at: String::new(),
        };
        let published = Published {
            epoch: 1,
            token: "0".repeat(32),
            dir: dir.to_owned(),
            record: serde_json::to_value(record).expect("plain"),
        };
        let result = result_of(&published, Check::Contents).expect("as it was written");
        assert_eq!((result.files, result.is_reused), (vec![file], true));
        for (text, why) in [
            ("wire b;", "`a.sv` was edited after the step wrote it"),
            ("wire ab;", "`a.sv` has 8 bytes instead of 7"),
        ] {
            fs::write(&path, text).expect("local");
            let result = result_of(&published, Check::Contents);
            assert_eq!(result.expect_err("it was edited"), why);
        }
        fs::remove(&path);
        let result = result_of(&published, Check::Sizes);
        assert_eq!(result.expect_err("it is gone"), "`a.sv` is missing");
    }
}
