//! Runs the checkpoints of a group, each once, and decides which of them a testcase is forked from.
//!
//! Invariant: a checkpoint that fails is judged as a testcase would be; what is said of it decides
//! nothing about testcases that do not call it.

use crate::agent::event::RunEvent;
use crate::agent::fork_server::ForkError;
use crate::agent::fork_server::ModuleFork;
use crate::agent::request::Mode;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::memory;
use crate::edge::process::Exit;
use crate::edge::process::Process;
use crate::event::CheckpointReached;
use crate::event::Event;
use crate::event::Slot;
use crate::model::outcome::Cause;
use crate::model::outcome::LogSpan;
use crate::model::outcome::Outcome;
use crate::model::test::Checkpoint;
use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::schedule::checkpoint_module::ModuleStep;
use crate::schedule::checkpoints::CheckpointFailure;
use crate::schedule::checkpoints::CheckpointFork;
use crate::schedule::checkpoints::CheckpointServer;
use crate::schedule::checkpoints::CheckpointState;
use crate::schedule::checkpoints::NoMore;
use crate::schedule::checkpoints::label;
use crate::schedule::context::TaskContext;
use crate::schedule::effect::Effect;
use crate::schedule::effect::Emit;
use crate::schedule::folder::RunFolder;
use crate::schedule::follow::Consumer;
use crate::schedule::follow::Followed;
use crate::schedule::follow::ListingEnd;
use crate::schedule::follow::follow_until_serving;
use crate::schedule::group::Group;
use crate::schedule::group::SERVER_WAS_LOST;
use crate::schedule::judge::Facts;
use crate::schedule::judge::ProcessEnd;
use crate::schedule::judge::TestcaseVerdict;
use crate::schedule::judge::Trouble;
use crate::schedule::judge::depends_on_hdl_errors;
use crate::schedule::judge::judge;
use crate::schedule::module_server::PendingModuleServer;
use crate::schedule::run_log;
use crate::schedule::simulation::CheckpointUse;
use crate::schedule::simulation::Simulation;
use crate::schedule::simulation::fork_request;
use crate::schedule::task::RunTask;
use crate::schedule::testcase_progress::RunProgress;
use crate::schedule::testcase_progress::TestcaseFinding;

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// What a run has to do with the checkpoints of its table.
#[derive(Debug, Default)]
pub(super) struct CheckpointPlan {
    /// What is requested of its process.
    pub(super) used: CheckpointUse,
    /// What forks it, if that is a checkpoint's server.
    pub(super) fork: Option<CheckpointFork>,
    /// The checkpoint of that server.
    pub(super) checkpoint: Option<Checkpoint>,
    /// The failure of the next checkpoint.
    pub(super) failure: Option<Arc<CheckpointFailure>>,
    /// Why it is not forked from the end of the last one, if there are any.
    pub(super) unused_because: Option<String>,
}

/// Runs the checkpoints of a group, unless that was done before.
pub(super) fn bring_up(context: &TaskContext<'_>, group: &Arc<Group>, slot: Slot, emit: &Emit<'_>) {
    let mut state = group.checkpoints().locked();
    ensure(context, group, &mut state, slot, emit);
}

fn ensure(
    context: &TaskContext<'_>,
    group: &Arc<Group>,
    state: &mut CheckpointState,
    slot: Slot,
    emit: &Emit<'_>,
) {
    if state.is_tried {
        return;
    }
    state.is_tried = true;
    while state.no_more.is_none() && state.servers.len() < group.settings.checkpoints.len() {
        let level = state.servers.len() + 1;
        let step = Step {
            context,
            group,
            level,
            checkpoint: &group.settings.checkpoints[level - 1],
            slot,
            emit,
        };
        match step.run(state.servers.last()) {
            Ok(server) => state.servers.push(server),
            Err(no_more) => state.no_more = Some(no_more),
        }
    }
}

/// Decides which checkpoint a run is forked from.
pub(super) fn plan(
    context: &TaskContext<'_>,
    task: &RunTask,
    slot: Slot,
    emit: &Emit<'_>,
) -> CheckpointPlan {
    let group = &task.group;
    let all = group.settings.checkpoints.len();
    let not = |why: &str| CheckpointPlan {
        unused_because: (all > 0).then(|| why.to_owned()),
        ..CheckpointPlan::default()
    };
    if let Some(why) = group.runs_checkpoints_itself_because() {
        return not(why);
    }
    if task.lost_its_server {
        return not(SERVER_WAS_LOST);
    }
    let mut state = group.checkpoints().locked();
    let [only] = task.testcases.as_slice() else {
        return not("several testcases share its process");
    };
    // They have run, unless their servers were lost meanwhile.
    ensure(context, group, &mut state, slot, emit);
    let (fitting, reason) = match state.known(&only.id) {
        Some((levels, reason)) => (*levels, Some(reason.clone())),
        None => (all, None),
    };
    let level = fitting.min(state.servers.len());
    let mut plan = CheckpointPlan {
        used: CheckpointUse {
            level,
            has_failed: false,
        },
        ..CheckpointPlan::default()
    };
    let server = level.checked_sub(1).map(|at| {
        plan.checkpoint = Some(group.settings.checkpoints[at].clone());
        Arc::clone(&state.servers[at])
    });
    if level < fitting {
        match &state.no_more {
            Some(NoMore::Failed(failure)) => {
                plan.used.has_failed = true;
                plan.failure = Some(Arc::clone(failure));
                let next = &group.settings.checkpoints[level];
                plan.unused_because = Some(format!("`{next}` has failed"));
            }
            Some(NoMore::Unused(why)) => plan.unused_because = Some(why.clone()),
            None => {}
        }
    } else if level < all {
        plan.unused_because = reason;
    }
    drop(state);
    plan.fork = server.map(|server| {
        let module = ModuleStep {
            context,
            group,
            level,
            module: &only.id.module,
            slot,
            emit,
        };
        module.fork_of(server)
    });
    plan
}

/// One checkpoint that is about to run.
struct Step<'a> {
    context: &'a TaskContext<'a>,
    group: &'a Arc<Group>,
    /// Which one, from 1.
    level: usize,
    checkpoint: &'a Checkpoint,
    slot: Slot,
    emit: &'a Emit<'a>,
}

impl Step<'_> {
    fn run(
        &self,
        before: Option<&Arc<CheckpointServer>>,
    ) -> std::result::Result<Arc<CheckpointServer>, NoMore> {
        let (context, group) = (self.context, self.group);
        let began = context.clock().now();
        let unused = |problems: Problems| {
            let first = problems.0.into_iter().next();
            self.unused(first.map_or_else(String::new, |it| it.message))
        };
        let (process, pending, folder) = self.start(before).map_err(unused)?;
        let function = self.function();
        let wanted = [function];
        let mut heard = Heard {
            progress: RunProgress::new(&wanted),
            limit: group.settings.timeout,
            has_begun: false,
            reached_ns: None,
            cannot_serve: None,
            unfit: None,
        };
        let end = follow_until_serving(context, group, &folder, process, &mut heard);
        let lost = || NoMore::Unused(SERVER_WAS_LOST.to_owned());
        match end {
            ListingEnd::Gone(followed) => Err(self.judge(heard, &followed, folder)),
            ListingEnd::Serving(process, warnings) => {
                for warning in warnings {
                    (self.emit)(Effect::Notice(warning));
                }
                let fork = ModuleFork {
                    process,
                    socket: pending.socket,
                };
                let server = CheckpointServer::serving(fork, pending.first, pending.place);
                let server = server.ok_or_else(lost)?;
                (self.emit)(Effect::Send(Event::CheckpointReached(CheckpointReached {
                    build: group.design.name.clone(),
                    checkpoint: self.checkpoint.clone(),
                    duration: context.clock().now().saturating_duration_since(began),
                    sim_time_ns: heard.reached_ns.unwrap_or_default(),
                    log: folder.log,
                })));
                Ok(server)
            }
        }
    }

    /// Returns the function as the testcase that the agent makes of it.
    fn function(&self) -> Testcase {
        let (module, function) = self.checkpoint.parts();
        let module = TestModule(module.to_owned());
        let mut testcase = self.group.whole_module(&module);
        function.clone_into(&mut testcase.id.testcase);
        testcase
    }

    fn start(
        &self,
        before: Option<&Arc<CheckpointServer>>,
    ) -> Result<(Box<dyn Process>, PendingModuleServer, RunFolder)> {
        let (context, group) = (self.context, self.group);
        let settings = &group.settings;
        let run = context.next_run();
        let folder = RunFolder::make(
            &context.session_dir,
            &group.design.name,
            &label(self.checkpoint),
            run,
            &settings.run_files,
        )?;
        let simulation = Simulation {
            design: &group.design,
            settings,
            mode: Mode::ServeCheckpoint,
            modules: vec![TestModule(self.checkpoint.parts().0.to_owned())],
            testcases: None,
            seed: settings.seed.unwrap_or(context.seed),
            run,
            slot: self.slot,
            waves: None,
            checkpoints: CheckpointUse {
                level: self.level,
                has_failed: false,
            },
        };
        let Some(before) = before else {
            let (process, pending) = group.fork_module(context, &simulation, &folder)?;
            return Ok((process, pending, folder));
        };
        simulation.write_request(&folder)?;
        let broken = |why: String| Diagnostic::error(Code::ToolBroken, why);
        let place = context.servers.admit_module(memory::available());
        let place = place.map_err(broken)?;
        let request = fork_request(&simulation, &folder);
        let forked = before.fork_next(context.waits(), run, &request);
        let ModuleFork { process, socket } = forked.map_err(|error| match error {
            ForkError::Refused(why) | ForkError::Gone(why) => broken(why),
        })?;
        let pending = PendingModuleServer {
            socket,
            first: Arc::clone(before) as _,
            place,
        };
        Ok((process, pending, folder))
    }

    /// Judges a checkpoint whose process is gone.
    fn judge(&self, mut heard: Heard<'_>, followed: &Followed, folder: RunFolder) -> NoMore {
        for warning in &followed.warnings {
            (self.emit)(Effect::Notice(warning.clone()));
        }
        if let Some(why) = heard.cannot_serve
            && followed.end == ProcessEnd::Exited(Exit::Code(0))
        {
            return self.unused(why);
        }
        if let Some(verdict) = heard.unfit {
            return NoMore::Failed(Arc::new(CheckpointFailure {
                verdict,
                log: LogSpan {
                    start: 0,
                    end: run_log::size(&folder.log),
                    path: folder.log,
                },
                dir: folder.dir,
                is_missing: true,
            }));
        }
        if heard.reached_ns.is_some()
            && let ProcessEnd::Exited(exit) = followed.end
        {
            // The function has returned: what is lost is only what testcases are forked from.
            return self.unused(format!("its fork server {}", exit.in_words()));
        }
        let closing = heard.progress.close(followed.end);
        let Some(finding) = closing.findings.into_iter().next() else {
            return NoMore::Unused(SERVER_WAS_LOST.to_owned());
        };
        let log = LogSpan {
            start: finding.log_start.unwrap_or(0),
            end: run_log::size(&folder.log),
            path: folder.log,
        };
        let verdict = self.verdict(&heard.progress, finding, followed, &log);
        if verdict.outcome.is_good() {
            // So it is for each testcase that calls it.
            return NoMore::Unused("it ends the testcase that calls it".to_owned());
        }
        if !heard.has_begun {
            // Testcases that import its module too get a verdict of their own.
            let why = verdict
                .message
                .unwrap_or_else(|| "it did not begin".to_owned());
            return self.unused(why);
        }
        NoMore::Failed(Arc::new(CheckpointFailure {
            verdict: of_caller(verdict, self.checkpoint),
            dir: folder.dir,
            log,
            is_missing: false,
        }))
    }

    /// Warns that testcases run the checkpoint themselves.
    fn unused(&self, why: String) -> NoMore {
        let words = format!("testcases run `{}` themselves: {why}", self.checkpoint);
        let warning = Diagnostic::warning(Code::TestCheckpoint, words);
        let warning = warning.fact(format!("build `{}`", self.group.design.name));
        if self.context.interrupt().raised().is_none() {
            (self.emit)(Effect::Notice(warning));
        }
        NoMore::Unused(why)
    }

    fn verdict(
        &self,
        progress: &RunProgress<'_>,
        finding: TestcaseFinding,
        followed: &Followed,
        log: &LogSpan,
    ) -> TestcaseVerdict {
        let settings = &self.group.settings;
        let mut facts = Facts {
            said: finding.said,
            end: finding.end,
            reasons: progress.reasons(),
            trouble: progress.trouble(),
            hang: followed.hang.as_ref(),
            limit: settings.timeout,
            fails_on_hdl_error: settings.fail_on_hdl_error,
            hdl_error: None,
        };
        if depends_on_hdl_errors(&facts) {
            let simulator = self.group.simulator.as_ref();
            facts.hdl_error = run_log::first_hdl_error(simulator, log);
        }
        judge(&facts)
    }
}

/// Turns the verdict on a checkpoint into that on a testcase that calls it.
fn of_caller(verdict: TestcaseVerdict, checkpoint: &Checkpoint) -> TestcaseVerdict {
    let why = verdict.message.as_deref().unwrap_or("it did not return");
    TestcaseVerdict {
        message: Some(format!("checkpoint `{checkpoint}` failed: {why}")),
        duration: None,
        sim_time_ns: None,
        ..verdict
    }
}

/// What a checkpoint's process has reported.
struct Heard<'a> {
    progress: RunProgress<'a>,
    limit: Duration,
    /// Whether the function was called.
    has_begun: bool,
    /// When it returned.
    reached_ns: Option<f64>,
    cannot_serve: Option<String>,
    /// The verdict on its testcases, if there is no such function.
    unfit: Option<TestcaseVerdict>,
}

impl Consumer for Heard<'_> {
    fn take(&mut self, event: RunEvent, _now: Instant) -> Option<Duration> {
        match event {
            RunEvent::CannotServe { message } => self.cannot_serve = Some(message),
            RunEvent::CheckpointReached { sim_time_ns, .. } => self.reached_ns = Some(sim_time_ns),
            RunEvent::CheckpointUnfit { message, traceback } => {
                let verdict = TestcaseVerdict::ours(Outcome::Errored, Cause::Import, message);
                self.unfit = Some(TestcaseVerdict {
                    details: traceback,
                    ..verdict
                });
            }
            event => {
                self.has_begun |= matches!(event, RunEvent::TestcaseStarted { .. });
                self.progress.take(event);
            }
        }
        Some(self.limit)
    }

    fn not_understood(&mut self, why: String) {
        self.progress.note(Trouble::Agent(why));
    }
}
