//! The only place where the result of a testcase is created.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::event::Event;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::LogSpan;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Seed;
use crate::model::test::Testcase;
use crate::schedule::effect::Effect;
use crate::schedule::effect::Emit;
use crate::schedule::judge::TestcaseVerdict;

use camino::Utf8PathBuf;
use std::time::Duration;

/// The part of a result that describes its process.
#[derive(Clone, Debug)]
pub(super) struct RunFacts {
    pub(super) seed: Seed,
    /// Which try, from 1.
    pub(super) attempt: u32,
    /// How long it took by cocorun's own clock.
    pub(super) duration: Duration,
    pub(super) dir: Option<Utf8PathBuf>,
    pub(super) log: Option<LogSpan>,
    pub(super) waves: Option<Utf8PathBuf>,
}

impl RunFacts {
    /// Returns the facts if nothing was started.
    pub(super) fn nothing_started(seed: Seed, attempt: u32) -> Self {
        Self {
            seed,
            attempt,
            duration: Duration::ZERO,
            dir: None,
            log: None,
            waves: None,
        }
    }
}

/// Creates the event that a testcase has its verdict.
pub(super) fn finished(testcase: &Testcase, verdict: TestcaseVerdict, run: RunFacts) -> Effect {
    Effect::Send(Event::TestcaseFinished(Box::new(TestcaseResult {
        id: testcase.id.clone(),
        outcome: verdict.outcome,
        cause: verdict.cause,
        expected_failure: verdict.expected_failure,
        message: verdict.message,
        error_type: verdict.error_type,
        details: verdict.details,
        duration: verdict.duration.unwrap_or(run.duration),
        sim_time_ns: verdict.sim_time_ns,
        seed: run.seed,
        attempt: run.attempt,
        run_dir: run.dir,
        log: run.log,
        waves: run.waves,
        file: testcase.file.clone(),
        line: testcase.line,
    })))
}

/// Creates the result of a testcase that is marked skipped.
pub(super) fn emit_skipped(emit: &Emit<'_>, testcase: &Testcase, seed: Seed) {
    let verdict = TestcaseVerdict::ours(Outcome::Skipped, Cause::Skip, "marked `skip=True`");
    let run = RunFacts::nothing_started(seed, 1);
    emit(finished(testcase, verdict, run));
}

/// Creates the result of a testcase for which nothing could be started.
///
/// A problem with the disk or a tool is also reported separately, once of each kind: it is not a
/// verdict on a design.
pub(super) fn emit_unrun(emit: &Emit<'_>, testcase: &Testcase, problems: &Problems, run: RunFacts) {
    let first = problems.0.first();
    if let Some(problem) = first.filter(|problem| is_trouble(problem)) {
        emit(Effect::Notice(problem.clone()));
    }
    let (outcome, cause) = first.map_or((Outcome::Errored, Cause::Startup), unrun);
    let mut verdict = TestcaseVerdict::ours(outcome, cause, String::new());
    verdict.message = first.map(|problem| problem.message.clone());
    emit(finished(testcase, verdict, run));
}

/// Says whether a problem is one of disk or tools, and not of a stop.
fn is_trouble(problem: &Diagnostic) -> bool {
    problem.code != Code::SessionInterrupted && problem.code.exit_code() == ExitCode::Environment
}

/// Turns a problem of cocorun's own into the verdict on a testcase that could not be run because of
/// it.
fn unrun(problem: &Diagnostic) -> (Outcome, Cause) {
    match problem.code {
        Code::SessionInterrupted | Code::SessionTimeout => (Outcome::NotRun, Cause::Session),
        Code::BuildCompile
        | Code::BuildNoArtifact
        | Code::BuildNotBuilt
        | Code::BuildTimeout
        | Code::BuildSourcesChanged
        | Code::LockTimeout
        | Code::LockStorage => (Outcome::Errored, Cause::Build),
        _ => (Outcome::Errored, Cause::Startup),
    }
}
