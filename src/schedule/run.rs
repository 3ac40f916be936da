//! One run: a simulator process from its start to the verdicts of its testcases.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::fs;
use crate::edge::process::Process;
use crate::edge::process::ProcessEvent;
use crate::event::Event;
use crate::event::RunId;
use crate::event::Slot;
use crate::model::build::BuiltDesign;
use crate::model::outcome::Cause;
use crate::model::outcome::LogSpan;
use crate::model::outcome::Outcome;
use crate::model::outcome::RunVerdict;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Seed;
use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::schedule::folder::RunFolder;
use crate::schedule::group::SERVER_WAS_LOST;
use crate::schedule::judge::Closing;
use crate::schedule::judge::End;
use crate::schedule::judge::Judge;
use crate::schedule::judge::Step;
use crate::schedule::judge::Verdict;
use crate::schedule::queue::RunTask;
use crate::schedule::session::Session;
use crate::schedule::simulation::Simulation;
use crate::schedule::simulation::events_from_file;
use crate::schedule::stack;
use crate::sim::agent;
use crate::sim::agent::Mode;
use crate::sim::agent::Wanted;
use crate::sim::simulator::Simulator;

use camino::Utf8PathBuf;
use std::time::Duration;
use std::time::Instant;

/// For how long SIGTERM may work before SIGKILL. A simulator may close its wave file meanwhile.
pub(super) const KILL_GRACE: Duration = Duration::from_millis(500);
/// For how long a simulator may take to leave once its last testcase is judged: it writes waves
/// and coverage. Never longer than the testcase limit.
const LEAVE_LIMIT: Duration = Duration::from_secs(60);
/// How much of what a simulator says while it is killed is looked at.
const FAREWELL_BYTES_MAX: u64 = 1 << 20;
/// How much of a testcase's log is searched for HDL errors.
const LOG_SEARCHED_BYTES_MAX: u64 = 256 << 20;

/// A run in progress.
struct Run<'a> {
    session: &'a Session<'a>,
    design: &'a BuiltDesign,
    task: &'a RunTask,
    id: RunId,
    slot: Slot,
    seed: Seed,
    folder: RunFolder,
    waves: Option<Utf8PathBuf>,
    testcase_started: Instant,
}

/// Runs a task's testcases in one process, tells every verdict, and returns the task of those that
/// never began and belong into another process.
pub(super) fn run(
    session: &Session<'_>,
    design: &BuiltDesign,
    task: &RunTask,
    slot: Slot,
) -> RunTask {
    let mut rest = RunTask {
        testcases: Vec::new(),
        ..task.clone()
    };
    let id = session.next_run();
    let began = session.plan.clock.now();
    match Run::prepare(session, design, task, id, slot) {
        Ok((mut run, process)) => {
            let closing = run.follow(process);
            session.tell(Event::RunFinished {
                run: id,
                slot,
                verdict: closing.verdict,
                duration: session.plan.clock.now().saturating_duration_since(began),
            });
            rest.lost_its_server = closing.verdict == RunVerdict::Lost;
            let left = closing.leftover.into_iter();
            rest.testcases = left.map(|index| task.testcases[index].clone()).collect();
        }
        Err(problems) => {
            for testcase in &task.testcases {
                session.tell_unrun(testcase, &problems);
            }
        }
    }
    rest
}

impl<'a> Run<'a> {
    fn prepare(
        session: &'a Session<'a>,
        design: &'a BuiltDesign,
        task: &'a RunTask,
        id: RunId,
        slot: Slot,
    ) -> Result<(Self, Box<dyn Process>)> {
        let folder = RunFolder::make(
            &session.plan.session_dir,
            &design.name,
            &label(&task.testcases),
            id,
            &task.group.settings.run_files,
        )?;
        let waves = (task.group.settings.waves && design.waves)
            .then(|| session.wave_file_name(task.group.build))
            .transpose()?
            .map(|name| folder.dir.join(name));
        let seed = task.group.settings.seed.unwrap_or(session.plan.seed);
        let run = Self {
            session,
            design,
            task,
            id,
            slot,
            seed,
            folder,
            waves,
            testcase_started: session.plan.clock.now(),
        };
        let simulation = Simulation {
            design,
            settings: &task.group.settings,
            mode: Mode::Run,
            modules: modules_of(&task.testcases),
            testcases: Some(task.testcases.iter().map(wanted).collect()),
            seed,
            run: id,
            slot,
            waves: run.waves.clone(),
        };
        let spawn_because = task.lost_its_server.then_some(SERVER_WAS_LOST);
        let started = task
            .group
            .start(session, &simulation, &run.folder, spawn_because)?;
        session.tell(Event::RunStarted {
            run: id,
            slot,
            build: design.name.clone(),
            testcases: task
                .testcases
                .iter()
                .map(|testcase| testcase.id.clone())
                .collect(),
            dir: run.folder.dir.clone(),
            spawned_because: started.spawned_because,
        });
        Ok((run, started.process))
    }

    /// Follows the process to its end; every verdict is told here.
    fn follow(&mut self, mut process: Box<dyn Process>) -> Closing {
        let limit = self.task.group.settings.timeout;
        let mut judge = Judge::new(&self.task.testcases);
        let mut until = self.session.plan.clock.now() + limit;
        let mut agent_pid = None;
        let end = loop {
            match process.next_event(Some(until)) {
                ProcessEvent::Line(line) => {
                    let Some(event) = agent::read_event(&line) else {
                        continue;
                    };
                    agent_pid = agent_pid.or(event.greeter());
                    let now = self.session.plan.clock.now();
                    match judge.take(event) {
                        Some(Step::Leaving) => until = now + limit.min(LEAVE_LIMIT),
                        Some(step) => {
                            self.tell_step(step);
                            until = now + limit;
                        }
                        None => {}
                    }
                }
                ProcessEvent::Exited(exit) => break End::Exited(exit),
                ProcessEvent::Lost => break End::Lost,
                ProcessEvent::Deadline => break End::TimedOut,
                ProcessEvent::Stop(reason) => break End::Stopped(reason),
            }
        };
        let is_killed = matches!(end, End::TimedOut | End::Stopped(_));
        let killed_at = is_killed.then(|| self.log_size());
        if matches!(end, End::TimedOut)
            && let Ok(simulator) = self.session.simulator(&self.design.simulator)
        {
            let log = &self.folder.log;
            stack::ask(self.session, process.as_mut(), log, agent_pid, simulator);
        }
        let mut last_lines = Vec::new();
        process.end_tree(KILL_GRACE, &mut last_lines);
        drop(process);
        if matches!(end, End::Exited(_)) {
            let late = last_lines.iter().filter_map(|line| agent::read_event(line));
            let late: Vec<_> = late.chain(events_from_file(&self.folder)).collect();
            for step in late.into_iter().filter_map(|event| judge.take(event)) {
                self.tell_step(step);
            }
        }
        let closing = judge.close(end);
        for (index, verdict) in &closing.decided {
            let mut verdict = verdict.clone();
            if let (Some(Cause::Timeout), Some(message)) = (verdict.cause, &mut verdict.message) {
                *message = format!("{message} (limit {} s)", limit.as_secs_f64());
                let where_it_is = killed_at.and_then(|at| stack::words(&self.folder.log, at));
                *message = where_it_is
                    .map_or_else(|| message.clone(), |words| format!("{message}; {words}"));
            }
            if let (Some(at), None) = (killed_at, verdict.log_end) {
                verdict.log_end = self.end_of_own_words(at);
            }
            self.tell_verdict(*index, verdict);
        }
        closing
    }

    fn tell_step(&mut self, step: Step) {
        match step {
            Step::Started(index) => {
                self.testcase_started = self.session.plan.clock.now();
                self.session.tell(Event::TestcaseStarted {
                    run: self.id,
                    slot: self.slot,
                    testcase: self.task.testcases[index].id.clone(),
                });
            }
            Step::Decided(index, verdict) => self.tell_verdict(index, verdict),
            Step::Leaving => {}
        }
    }

    fn tell_verdict(&self, index: usize, verdict: Verdict) {
        let testcase = &self.task.testcases[index];
        let log = self.log_span(&verdict);
        let verdict = self.with_hdl_errors(verdict, &log);
        let now = self.session.plan.clock.now();
        let since_start = now.saturating_duration_since(self.testcase_started);
        self.session
            .tell(Event::TestcaseFinished(Box::new(TestcaseResult {
                id: testcase.id.clone(),
                outcome: verdict.outcome,
                cause: verdict.cause,
                expected_failure: verdict.expected_failure,
                message: verdict.message,
                error_type: verdict.error_type,
                details: verdict.details,
                duration: verdict.duration.unwrap_or(since_start),
                sim_time_ns: verdict.sim_time_ns,
                seed: self.seed,
                attempt: 1,
                run_dir: Some(self.folder.dir.clone()),
                log: Some(log),
                waves: self.waves.clone().filter(|path| fs::exists(path)),
                file: testcase.file.clone(),
                line: testcase.line,
            })));
    }

    fn log_size(&self) -> u64 {
        let stamp = fs::stamp(&self.folder.log).ok().flatten();
        stamp.map_or(0, |stamp| stamp.size)
    }

    /// Returns where cocotb began to judge a testcase that we were killing: that the simulation
    /// "ended prematurely" is then our doing, and would mislead.
    fn end_of_own_words(&self, killed_at: u64) -> Option<u64> {
        let after = fs::read_range_lossy(&self.folder.log, killed_at, FAREWELL_BYTES_MAX);
        let judged = after.find("cocotb.regression")?;
        let line = after[..judged].rfind('\n').map_or(0, |at| at + 1);
        Some(killed_at + line as u64)
    }

    fn log_span(&self, verdict: &Verdict) -> LogSpan {
        LogSpan {
            path: self.folder.log.clone(),
            start: verdict.log_start.unwrap_or(0),
            end: verdict.log_end.unwrap_or_else(|| self.log_size()),
        }
    }

    /// Turns a pass into a failure where the HDL printed `$error` meanwhile, and says what the HDL
    /// printed where the simulation ended under the testcase.
    fn with_hdl_errors(&self, verdict: Verdict, log: &LogSpan) -> Verdict {
        let reported = || {
            // A testcase may print such a line itself, so this says how it is known.
            let simulator = self.session.simulator(&self.design.simulator).ok()?;
            first_hdl_error(simulator, log)
                .map(|line| format!("the HDL reported, by this line of the log: {line}"))
        };
        let looks_for_errors =
            self.task.group.settings.fail_on_hdl_error && !verdict.expected_failure;
        match (verdict.outcome, verdict.cause) {
            (Outcome::Passed, _) if looks_for_errors => match reported() {
                Some(message) => Verdict {
                    outcome: Outcome::Failed,
                    cause: Some(Cause::HdlError),
                    message: Some(message),
                    ..verdict
                },
                None => verdict,
            },
            // cocotb knows only that it ended, and guesses why. What the HDL reported need not be
            // why it ended: an `$error` does not end it.
            (Outcome::Failed, Some(Cause::SimulationEnded)) => match reported() {
                Some(message) => Verdict {
                    message: Some(format!(
                        "{message}; the simulation ended before the testcase did"
                    )),
                    error_type: None,
                    details: None,
                    ..verdict
                },
                None => verdict,
            },
            (Outcome::Errored, Some(Cause::NoResult | Cause::Crashed | Cause::ExitStatus)) => {
                let message = match (verdict.message, reported()) {
                    (Some(ours), Some(theirs)) => Some(format!("{ours}; {theirs}")),
                    (ours, _) => ours,
                };
                Verdict { message, ..verdict }
            }
            _ => verdict,
        }
    }
}

/// Searches a testcase's part of the log, a piece at a time: a log may be larger than memory.
fn first_hdl_error(simulator: &dyn Simulator, log: &LogSpan) -> Option<String> {
    const PIECE: u64 = 4 << 20;
    const OVERLAP: u64 = 4 << 10;
    let end = log.end.min(log.start + LOG_SEARCHED_BYTES_MAX);
    let mut start = log.start;
    while start < end {
        let text = fs::read_range_lossy(&log.path, start, PIECE.min(end - start));
        if text.is_empty() {
            return None;
        }
        let found = text.lines().find(|line| simulator.is_hdl_error(line));
        if let Some(line) = found {
            return Some(line.trim().to_owned());
        }
        // A line that the pieces' border cuts is whole in the next piece.
        start += PIECE - OVERLAP;
    }
    None
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
        ([only], _) => format!("{}.{}", only.id.module, only.id.testcase),
        (_, [module]) => module.to_string(),
        _ => "all".to_owned(),
    }
}

/// Turns a problem of ours into the verdict on a testcase that could not be run for it.
pub(super) fn unrun_verdict(problem: &Diagnostic) -> (Outcome, Cause) {
    use crate::diagnostic::Code;
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
