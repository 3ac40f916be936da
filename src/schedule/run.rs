//! One run: a simulator process from its start to the verdicts of its testcases.

use crate::agent::event::Finished;
use crate::agent::event::RunEvent;
use crate::agent::request::Mode;
use crate::agent::request::Wanted;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::fs;
use crate::edge::process::Process;
use crate::event::Event;
use crate::event::RunId;
use crate::event::RunOrigin;
use crate::event::Slot;
use crate::model::outcome::LogSpan;
use crate::model::outcome::RunVerdict;
use crate::model::test::Seed;
use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::schedule::bring_up;
use crate::schedule::bring_up::CheckpointPlan;
use crate::schedule::checkpoints::CheckpointFailure;
use crate::schedule::context::TaskContext;
use crate::schedule::effect::Effect;
use crate::schedule::effect::Emit;
use crate::schedule::folder::RunFolder;
use crate::schedule::follow::Consumer;
use crate::schedule::follow::Followed;
use crate::schedule::follow::follow;
use crate::schedule::group::ForkedFrom;
use crate::schedule::group::SERVER_WAS_LOST;
use crate::schedule::judge::Facts;
use crate::schedule::judge::Hang;
use crate::schedule::judge::ProcessEnd;
use crate::schedule::judge::Trouble;
use crate::schedule::judge::cocotb_failed;
use crate::schedule::judge::depends_on_hdl_errors;
use crate::schedule::judge::judge;
use crate::schedule::result::RunFacts;
use crate::schedule::result::emit_unrun;
use crate::schedule::result::finished;
use crate::schedule::run_log;
use crate::schedule::simulation::Simulation;
use crate::schedule::task::RunTask;
use crate::schedule::testcase_progress::Closing;
use crate::schedule::testcase_progress::RunNews;
use crate::schedule::testcase_progress::RunProgress;
use crate::schedule::testcase_progress::TestcaseFinding;

use camino::Utf8PathBuf;
use std::cell::Cell;
use std::time::Duration;
use std::time::Instant;

/// How long a simulator may take to exit once its last testcase is judged: it writes waves and
/// coverage. Never longer than the testcase limit.
const EXIT_LIMIT: Duration = Duration::from_secs(60);

/// A run in progress.
struct Run<'a> {
    context: &'a TaskContext<'a>,
    task: &'a RunTask,
    emit: &'a Emit<'a>,
    id: RunId,
    slot: Slot,
    seed: Seed,
    folder: RunFolder,
    waves: Option<Utf8PathBuf>,
    testcase_started: Instant,
    progress: RunProgress<'a>,
    plan: CheckpointPlan,
    /// Why it is not judged in this process, and how many checkpoints it had called.
    missed: Option<(String, usize)>,
    /// Whether it was forked from a checkpoint and has not made the calls that it stands for.
    owes_calls: bool,
    /// Whether it has called the checkpoint that is known to fail.
    has_called_failed: bool,
    /// Whether a result has shown what went wrong outside of any testcase.
    shows_trouble: Cell<bool>,
}

/// Runs a task's testcases in one process. Those that never began and belong in another process are
/// also an effect.
pub(super) fn run(context: &TaskContext<'_>, task: &RunTask, slot: Slot, emit: &Emit<'_>) {
    let id = context.next_run();
    let began = context.clock().now();
    let plan = bring_up::plan(context, task, slot, emit);
    if let Some(failure) = plan.failure.as_deref().filter(|it| it.is_missing) {
        let nothing = RunFacts::nothing_started(context.seed, task.attempt);
        for testcase in &task.testcases {
            emit(failed_checkpoint(testcase, failure, nothing.clone()));
        }
        return;
    }
    let (mut run, process) = match Run::start(context, task, (id, slot), plan, emit) {
        Ok(started) => started,
        Err(problems) => {
            for testcase in &task.testcases {
                let nothing = RunFacts::nothing_started(context.seed, task.attempt);
                emit_unrun(emit, testcase, &problems, nothing);
            }
            return;
        }
    };
    let folder = run.folder.clone();
    let followed = follow(context, &task.group, &folder, process, &mut run);
    run.look_for_hdl_failure(&followed);
    let closing = run.close(followed.end);
    for finding in closing.findings {
        run.finish(finding, Some(&followed));
    }
    let warnings = followed.warnings.into_iter().chain(run.unshown_trouble());
    for warning in warnings.chain(task.group.take_warnings()) {
        emit(Effect::Notice(warning));
    }
    emit(Effect::Send(Event::RunFinished {
        run: id,
        slot,
        verdict: closing.verdict,
        duration: context.clock().now().saturating_duration_since(began),
    }));
    if let Some((reason, levels)) = run.missed.take() {
        run.learn(levels, &reason);
    }
    if !closing.elsewhere.is_empty() {
        let rest = closing.elsewhere.into_iter();
        emit(Effect::RunAgain(RunTask {
            testcases: rest.map(|index| task.testcases[index].clone()).collect(),
            lost_its_server: closing.verdict == RunVerdict::Lost,
            ..task.clone()
        }));
    }
}

impl<'a> Run<'a> {
    fn start(
        context: &'a TaskContext<'a>,
        task: &'a RunTask,
        (id, slot): (RunId, Slot),
        plan: CheckpointPlan,
        emit: &'a Emit<'a>,
    ) -> Result<(Self, Box<dyn Process>)> {
        let design = &task.group.design;
        let settings = &task.group.settings;
        let folder = RunFolder::make(
            &context.session_dir,
            &design.name,
            &label(&task.testcases),
            id,
            &settings.run_files,
        )?;
        let waves = (settings.waves && design.waves).then(|| folder.dir.join(task.group.wave_file));
        let mut run = Self {
            context,
            task,
            emit,
            id,
            slot,
            seed: settings.seed.unwrap_or(context.seed),
            folder,
            waves,
            testcase_started: context.clock().now(),
            progress: RunProgress::new(&task.testcases),
            plan,
            missed: None,
            owes_calls: false,
            has_called_failed: false,
            shows_trouble: Cell::new(false),
        };
        let simulation = Simulation {
            design,
            settings,
            mode: Mode::Run,
            modules: modules_of(&task.testcases),
            testcases: Some(task.testcases.iter().map(wanted).collect()),
            seed: run.seed,
            run: id,
            slot,
            waves: run.waves.clone(),
            checkpoints: run.plan.used,
        };
        let spawn_because = task.lost_its_server.then_some(SERVER_WAS_LOST);
        let group = &task.group;
        let from = match (&run.plan.fork, &task.module_server) {
            (Some(fork), _) => Some(ForkedFrom::Checkpoint(fork)),
            // Its module is imported once the checkpoint that fails is watched.
            (None, Some(_)) if run.plan.used.has_failed => None,
            (None, server) => server.as_deref().map(ForkedFrom::Module),
        };
        let started = group.start(context, &simulation, &run.folder, spawn_because, from)?;
        for warning in task.group.take_warnings() {
            emit(Effect::Notice(warning));
        }
        let testcases = task.testcases.iter();
        let is_forked = started.spawned_because.is_none();
        run.owes_calls = is_forked && run.plan.fork.is_some();
        emit(Effect::Send(Event::RunStarted {
            run: id,
            slot,
            build: design.name.clone(),
            testcases: testcases.map(|testcase| testcase.id.clone()).collect(),
            dir: run.folder.dir.clone(),
            origin: RunOrigin {
                checkpoint: run.plan.checkpoint.clone().filter(|_| is_forked),
                spawned_because: started.spawned_because,
                checkpoint_unused_because: run.plan.unused_because.clone(),
            },
        }));
        Ok((run, started.process))
    }

    /// Ends, with everything that is still open.
    fn close(&mut self, end: ProcessEnd) -> Closing {
        let closing = self.progress.close(end);
        let ended_itself = matches!(end, ProcessEnd::Exited(_));
        // Its result is held until here, since it is the only one of its process.
        if self.owes_calls && (ended_itself || end == ProcessEnd::TimedOut) {
            let words = "its process ended before it made its calls".to_owned();
            self.missed.get_or_insert((words, 0));
        }
        if self.missed.is_some() {
            return Closing {
                findings: Vec::new(),
                elsewhere: (0..self.task.testcases.len()).collect(),
                verdict: RunVerdict::CheckpointMissed,
            };
        }
        let failure = self
            .plan
            .failure
            .as_ref()
            .filter(|_| self.has_called_failed);
        if let Some(failure) = failure.filter(|_| ended_itself) {
            for testcase in &self.task.testcases {
                let facts = RunFacts::nothing_started(self.seed, self.task.attempt);
                (self.emit)(failed_checkpoint(testcase, failure, facts));
            }
            return Closing {
                findings: Vec::new(),
                elsewhere: Vec::new(),
                verdict: RunVerdict::Completed,
            };
        }
        closing
    }

    /// Remembers how many checkpoints its testcases can use.
    fn learn(&self, levels: usize, reason: &str) {
        let mut state = self.task.group.checkpoints().locked();
        for testcase in &self.task.testcases {
            state.learn(&testcase.id, levels, reason);
        }
    }

    /// Searches the log for an HDL failure if that would explain the status of the ended process.
    fn look_for_hdl_failure(&mut self, followed: &Followed) {
        let Some(start) = self.progress.hdl_failure_wanted_from(followed.end) else {
            return;
        };
        let simulator = self.task.group.simulator.as_ref();
        if run_log::has_hdl_failure(simulator, &self.folder.log, start) {
            self.progress.hdl_failure_logged();
        }
    }

    /// Judges a testcase and reports its result; `followed` once the process is gone.
    fn finish(&self, finding: TestcaseFinding, followed: Option<&Followed>) {
        let testcase = &self.task.testcases[finding.index];
        let log = self.log_span(&finding, followed);
        let settings = &self.task.group.settings;
        let mut facts = Facts {
            said: finding.said,
            end: finding.end,
            reasons: self.progress.reasons(),
            trouble: self.progress.trouble(),
            hang: followed.and_then(|followed| followed.hang.as_ref()),
            limit: settings.timeout,
            fails_on_hdl_error: settings.fail_on_hdl_error,
            hdl_error: None,
        };
        if depends_on_hdl_errors(&facts) {
            let simulator = self.task.group.simulator.as_ref();
            facts.hdl_error = run_log::first_hdl_error(simulator, &log);
        }
        let now = self.context.clock().now();
        let run = RunFacts {
            seed: self.seed,
            attempt: self.task.attempt,
            duration: now.saturating_duration_since(self.testcase_started),
            dir: Some(self.folder.dir.clone()),
            log: Some(log),
            waves: self.waves.clone().filter(|path| fs::exists(path)),
        };
        let verdict = judge(&facts);
        if self.progress.trouble().is_some() && !verdict.outcome.is_good() {
            self.shows_trouble.set(true);
        }
        (self.emit)(finished(testcase, verdict, run));
    }

    /// Returns an internal failure of cocotb that no result has shown: after it, the rest of the
    /// run's testcases went elsewhere.
    fn unshown_trouble(&self) -> Option<Diagnostic> {
        match self.progress.trouble()? {
            Trouble::Regression(error) if !self.shows_trouble.get() => {
                let build = format!("build `{}`", self.task.group.design.name);
                let log = format!("log: {}", self.folder.log);
                let problem = Diagnostic::warning(Code::TestAgent, cocotb_failed(error));
                Some(problem.fact(build).fact(log))
            }
            _ => None,
        }
    }

    fn log_span(&self, finding: &TestcaseFinding, followed: Option<&Followed>) -> LogSpan {
        let log = &self.folder.log;
        let own_words = || {
            let followed = followed?;
            let killed_at = followed.killed_at?;
            // What it was asked for is in the details.
            let is_answered = followed.hang.as_ref().and_then(Hang::details).is_some();
            if is_answered {
                return Some(killed_at);
            }
            run_log::end_of_own_words(log, killed_at)
        };
        let end = finding.log_end.or_else(own_words);
        LogSpan {
            path: log.clone(),
            start: finding.log_start.unwrap_or(0),
            end: end.unwrap_or_else(|| run_log::size(log)),
        }
    }
}

impl Consumer for Run<'_> {
    fn take(&mut self, event: RunEvent, now: Instant) -> Option<Duration> {
        let limit = self.task.group.settings.timeout;
        if let RunEvent::TestcaseFinished(finished) = &event
            && let Some(warning) = returned_value(finished)
        {
            (self.emit)(Effect::Notice(warning));
        }
        match event {
            RunEvent::CheckpointMissed { reason, levels } => {
                if self.owes_calls && levels < self.plan.used.level {
                    self.missed.get_or_insert((reason, levels));
                }
                return None;
            }
            RunEvent::CheckpointUsed {} => {
                self.owes_calls = false;
                return None;
            }
            RunEvent::CheckpointCalled { .. } => {
                self.has_called_failed |= !self.progress.is_judged();
                self.owes_calls = false;
                return None;
            }
            _ => {}
        }
        match self.progress.take(event)? {
            RunNews::Started(index) => {
                self.testcase_started = now;
                (self.emit)(Effect::Send(Event::TestcaseStarted {
                    run: self.id,
                    slot: self.slot,
                    testcase: self.task.testcases[index].id.clone(),
                }));
                Some(limit)
            }
            RunNews::Over(finding) => {
                self.finish(finding, None);
                Some(limit)
            }
            RunNews::Exiting => Some(limit.min(EXIT_LIMIT)),
        }
    }

    fn not_understood(&mut self, why: String) {
        self.progress.note(Trouble::Agent(why));
    }
}

/// Returns the warning about a value that a testcase returned; one for all of its parametrisations.
fn returned_value(finished: &Finished) -> Option<Diagnostic> {
    let returned = finished.returned.as_deref()?;
    let name = finished.testcase.split('/').next().unwrap_or_default();
    let words = format!(
        "testcase `{name}` of module `{}` returned a value of type `{returned}`, which cocotb ignores",
        finished.module
    );
    let help = match returned {
        "coroutine" => "`await` it; until then, it does nothing",
        _ => "use `assert` to check it",
    };
    Some(Diagnostic::warning(Code::TestReturnedValue, words).help(help))
}

/// Creates the result of a testcase that has called a checkpoint which fails.
fn failed_checkpoint(testcase: &Testcase, failure: &CheckpointFailure, facts: RunFacts) -> Effect {
    let facts = RunFacts {
        dir: Some(failure.dir.clone()),
        log: Some(failure.log.clone()),
        ..facts
    };
    finished(testcase, failure.verdict.clone(), facts)
}

fn wanted(testcase: &Testcase) -> Wanted {
    Wanted {
        module: testcase.id.module.clone(),
        testcase: testcase.id.testcase.clone(),
        occurrence: testcase.occurrence,
    }
}

fn modules_of(testcases: &[Testcase]) -> Vec<TestModule> {
    let mut modules: Vec<TestModule> = Vec::new();
    for testcase in testcases {
        if !modules.contains(&testcase.id.module) {
            modules.push(testcase.id.module.clone());
        }
    }
    modules
}

/// Names a run after what is in it.
fn label(testcases: &[Testcase]) -> String {
    let modules = modules_of(testcases);
    match (testcases, modules.as_slice()) {
        ([only], _) => format!("{}.{}", only.id.module_in_variant(), only.id.testcase),
        ([first, ..], [_]) => first.id.module_in_variant().to_string(),
        _ => "all".to_owned(),
    }
}
