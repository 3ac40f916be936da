//! Asking a built design which testcases its modules hold, and planning the runs.
//!
//! Invariant: a module is either listed, or has one errored result that says why not. A module
//! that kills the simulator while it is imported costs itself only: the others are listed by
//! another process.

use crate::diagnostic::Result;
use crate::edge::process::Process;
use crate::edge::process::ProcessEvent;
use crate::event::Event;
use crate::event::Slot;
use crate::model::build::BuildName;
use crate::model::build::BuiltDesign;
use crate::model::outcome::Cause;
use crate::model::outcome::LogSpan;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Isolation;
use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;
use crate::schedule::folder::RunFolder;
use crate::schedule::group::SERVER_WAS_LOST;
use crate::schedule::judge::End;
use crate::schedule::judge::stop_words;
use crate::schedule::missing;
use crate::schedule::queue::ListTask;
use crate::schedule::queue::RunTask;
use crate::schedule::run::KILL_GRACE;
use crate::schedule::session::Session;
use crate::schedule::simulation::Simulation;
use crate::schedule::simulation::events_from_file;
use crate::schedule::stack;
use crate::sim::agent;
use crate::sim::agent::AgentEvent;
use crate::sim::agent::ListedTestcase;
use crate::sim::agent::Mode;

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// What came of listing one module.
#[derive(Clone)]
enum Answer {
    Listed(Vec<ListedTestcase>),
    Failed {
        cause: Cause,
        message: String,
        error_type: Option<String>,
        details: Option<String>,
        took: Duration,
    },
}

impl Answer {
    /// Tells how long it took to come to this answer.
    fn after(mut self, time: Duration) -> Self {
        if let Self::Failed { took, .. } = &mut self {
            *took = time;
        }
        self
    }

    /// Says in words of ours that a module does not exist: Python tells neither where it looked
    /// nor which name is close.
    fn of_a_missing_module(self, session: &Session<'_>, module: &TestModule) -> Self {
        let Self::Failed {
            cause: Cause::Import,
            message,
            error_type: Some(error_type),
            ..
        } = &self
        else {
            return self;
        };
        let said = message.trim_start_matches(CANNOT_IMPORT);
        let python_path = session.plan.base_env.get("PYTHONPATH");
        let path = python_path.map_or("", String::as_str);
        match missing::in_words(&module.0, error_type, said, path) {
            Some((message, details)) => Self::Failed {
                cause: Cause::Import,
                message,
                error_type: None,
                details: Some(details),
                took: Duration::ZERO,
            },
            None => self,
        }
    }
}

/// How the message of a failed import begins.
const CANNOT_IMPORT: &str = "it cannot be imported: ";

/// What a listing process said before it ended.
struct Said {
    answers: Vec<(TestModule, Answer)>,
    importing: Option<TestModule>,
    /// When it began what it does now: to import a module, or before that to start.
    since: Instant,
    startup: Option<Answer>,
}

/// Lists a task's modules, tells what was found, and returns the runs and the listings that follow.
pub(super) fn list(
    session: &Session<'_>,
    design: &BuiltDesign,
    task: &ListTask,
    slot: Slot,
) -> (Vec<RunTask>, Vec<ListTask>) {
    let (said, end, folder) = match ask(session, design, task, slot) {
        Ok(asked) => asked,
        Err(problems) => {
            for module in &task.modules {
                let testcase = whole_module(&design.name, module);
                session.tell_unrun(&testcase, &problems);
            }
            return (Vec::new(), Vec::new());
        }
    };
    let mut open: Vec<TestModule> = task.modules.clone();
    open.retain(|module| !said.answers.iter().any(|(answered, _)| answered == module));
    let mut selected = Vec::new();
    for (module, answer) in said.answers {
        match answer {
            Answer::Listed(found) if found.is_empty() => {
                let empty = failed(Cause::NoTestcases, "the module holds no testcase");
                tell_failed(session, design, &module, empty, &folder);
            }
            Answer::Listed(found) => {
                selected.extend(tell_listed(session, design, &module, found));
            }
            answer @ Answer::Failed { .. } => {
                let answer = answer.of_a_missing_module(session, &module);
                tell_failed(session, design, &module, answer, &folder);
            }
        }
    }
    let retry = close(
        session,
        design,
        task,
        &folder,
        Ending {
            end,
            open,
            importing: said.importing,
            startup: said.startup,
            took: session
                .plan
                .clock
                .now()
                .saturating_duration_since(said.since),
        },
    );
    (runs_of(session, design, task, selected), retry)
}

struct Ending {
    end: End,
    open: Vec<TestModule>,
    importing: Option<TestModule>,
    startup: Option<Answer>,
    took: Duration,
}

/// Decides the modules that were not answered: the one being imported is the culprit, the others
/// are asked again.
fn close(
    session: &Session<'_>,
    design: &BuiltDesign,
    task: &ListTask,
    folder: &RunFolder,
    ending: Ending,
) -> Vec<ListTask> {
    let Ending {
        end,
        mut open,
        importing,
        startup,
        took,
    } = ending;
    let limit = task.group.settings.timeout;
    if let End::Stopped(reason) = end {
        for module in &open {
            let words = format!("it was not listed: {}", stop_words(reason));
            tell_result(
                session,
                design,
                module,
                Outcome::NotRun,
                failed(Cause::Session, &words),
                folder,
            );
        }
        return Vec::new();
    }
    if end == End::Lost {
        let retry = ListTask {
            modules: open,
            lost_its_server: true,
            ..task.clone()
        };
        return if retry.modules.is_empty() {
            Vec::new()
        } else {
            vec![retry]
        };
    }
    let culprit = importing.filter(|module| open.contains(module));
    if let Some(culprit) = culprit {
        open.retain(|module| *module != culprit);
        let (outcome, answer) = import_trouble(end, limit);
        let answer = answer.after(took);
        tell_result(session, design, &culprit, outcome, answer, folder);
        let retry = ListTask {
            modules: open,
            ..task.clone()
        };
        return if retry.modules.is_empty() {
            Vec::new()
        } else {
            vec![retry]
        };
    }
    for module in &open {
        let (outcome, answer) = never_listed(startup.as_ref(), end, limit);
        let answer = answer.after(took);
        tell_result(session, design, module, outcome, answer, folder);
    }
    Vec::new()
}

/// Judges a module that a process ended before, without being its doing.
fn never_listed(startup: Option<&Answer>, end: End, limit: Duration) -> (Outcome, Answer) {
    match (startup, end) {
        (Some(trouble), _) => (Outcome::Errored, trouble.clone()),
        (None, End::TimedOut) => (
            Outcome::TimedOut,
            timed_out(
                "the simulator did not come to listing within the limit",
                limit,
            ),
        ),
        (None, End::Exited(exit)) => {
            let words = format!("the simulator left with {exit} before testcases could be listed");
            (Outcome::Errored, failed(Cause::Startup, &words))
        }
        (None, End::Stopped(_) | End::Lost) => unreachable!("both are handled before"),
    }
}

fn import_trouble(end: End, limit: Duration) -> (Outcome, Answer) {
    match end {
        End::TimedOut => (
            Outcome::TimedOut,
            timed_out("importing it did not end within the limit", limit),
        ),
        End::Exited(exit) => (
            Outcome::Errored,
            failed(
                Cause::Import,
                &format!("the simulator left with {exit} while importing it"),
            ),
        ),
        End::Stopped(_) | End::Lost => unreachable!("both are handled before"),
    }
}

fn timed_out(message: &str, limit: Duration) -> Answer {
    let message = format!("{message} (limit {} s)", limit.as_secs_f64());
    failed(Cause::Timeout, &message)
}

fn failed(cause: Cause, message: &str) -> Answer {
    Answer::Failed {
        cause,
        message: message.to_owned(),
        error_type: None,
        details: None,
        took: Duration::ZERO,
    }
}

fn ask(
    session: &Session<'_>,
    design: &BuiltDesign,
    task: &ListTask,
    slot: Slot,
) -> Result<(Said, End, RunFolder)> {
    let run = session.next_run();
    let folder = RunFolder::make(
        &session.plan.session_dir,
        &design.name,
        "list",
        run,
        &task.group.settings.run_files,
    )?;
    let simulation = Simulation {
        design,
        settings: &task.group.settings,
        mode: Mode::List,
        modules: task.modules.clone(),
        testcases: None,
        seed: task.group.settings.seed.unwrap_or(session.plan.seed),
        run,
        slot,
        waves: None,
    };
    let spawn_because = task.lost_its_server.then_some(SERVER_WAS_LOST);
    let started = task
        .group
        .start(session, &simulation, &folder, spawn_because)?;
    let mut said = Said {
        answers: Vec::new(),
        importing: None,
        since: session.plan.clock.now(),
        startup: None,
    };
    let process = started.process;
    let end = follow(session, design, process, &folder, task, &mut said);
    if matches!(end, End::Exited(_)) {
        let now = session.plan.clock.now();
        for event in events_from_file(&folder) {
            said.take(event, now);
        }
    }
    Ok((said, end, folder))
}

fn follow(
    session: &Session<'_>,
    design: &BuiltDesign,
    mut process: Box<dyn Process>,
    folder: &RunFolder,
    task: &ListTask,
    said: &mut Said,
) -> End {
    let limit = task.group.settings.timeout;
    let mut until = session.plan.clock.now() + limit;
    let mut agent_pid = None;
    let end = loop {
        match process.next_event(Some(until)) {
            ProcessEvent::Line(line) => {
                if let Some(event) = agent::read_event(&line) {
                    agent_pid = agent_pid.or(event.greeter());
                    let now = session.plan.clock.now();
                    said.take(event, now);
                    until = now + limit;
                }
            }
            ProcessEvent::Exited(exit) => break End::Exited(exit),
            ProcessEvent::Lost => break End::Lost,
            ProcessEvent::Deadline => break End::TimedOut,
            ProcessEvent::Stop(reason) => break End::Stopped(reason),
        }
    };
    if matches!(end, End::TimedOut)
        && let Ok(simulator) = session.simulator(&design.simulator)
    {
        stack::ask(session, process.as_mut(), &folder.log, agent_pid, simulator);
    }
    process.end_tree(KILL_GRACE, &mut Vec::new());
    end
}

impl Said {
    fn take(&mut self, event: AgentEvent, now: Instant) {
        match event {
            AgentEvent::Listing { module } => {
                self.importing = Some(module);
                self.since = now;
            }
            AgentEvent::Listed { module, testcases } => {
                self.importing = None;
                self.answers.push((module, Answer::Listed(testcases)));
            }
            AgentEvent::ModuleError {
                module,
                error_type,
                message,
                traceback,
            } => {
                self.importing = None;
                let answer = Answer::Failed {
                    cause: Cause::Import,
                    message: format!("{CANNOT_IMPORT}{message}"),
                    error_type: Some(error_type),
                    details: Some(traceback),
                    took: now.saturating_duration_since(self.since),
                };
                self.answers.push((module, answer));
            }
            AgentEvent::StartupError {
                error_type,
                message,
                traceback,
            } => {
                self.startup = Some(Answer::Failed {
                    cause: Cause::Startup,
                    message,
                    error_type: Some(error_type),
                    details: Some(traceback),
                    took: Duration::ZERO,
                });
            }
            AgentEvent::AgentError { message } => {
                let answer = failed(Cause::Startup, &message);
                self.startup.get_or_insert(answer);
            }
            _ => {}
        }
    }
}

/// Tells a module's testcases and returns the selected ones that are to be run.
fn tell_listed(
    session: &Session<'_>,
    design: &BuiltDesign,
    module: &TestModule,
    found: Vec<ListedTestcase>,
) -> Vec<Testcase> {
    let total = found.len();
    let selected: Vec<Testcase> = found
        .into_iter()
        .map(|listed| Testcase {
            id: TestcaseId {
                build: design.name.clone(),
                module: module.clone(),
                testcase: listed.testcase,
            },
            occurrence: listed.occurrence,
            file: listed.file,
            line: listed.line,
            doc: listed.doc,
            skip: listed.skip,
            stage: listed.stage,
        })
        .filter(|testcase| (session.plan.selects)(&testcase.id))
        .collect();
    session.tell(Event::ModuleListed {
        build: design.name.clone(),
        module: module.clone(),
        selected: selected.clone(),
        deselected: total - selected.len(),
    });
    if session.plan.only_lists {
        return Vec::new();
    }
    let (skipped, to_run): (Vec<Testcase>, Vec<Testcase>) =
        selected.into_iter().partition(|testcase| testcase.skip);
    for testcase in skipped {
        session.tell_skipped(&testcase);
    }
    to_run
}

/// Groups testcases into runs.
fn runs_of(
    session: &Session<'_>,
    design: &BuiltDesign,
    task: &ListTask,
    testcases: Vec<Testcase>,
) -> Vec<RunTask> {
    let typical = session.history.typical(&design.name);
    let run = |testcases: Vec<Testcase>| RunTask {
        group: Arc::clone(&task.group),
        estimate: session.history.estimate(&testcases, &design.key, typical),
        testcases,
        lost_its_server: false,
    };
    match task.group.settings.isolation {
        Isolation::Testcase => testcases.into_iter().map(|only| run(vec![only])).collect(),
        Isolation::Module => testcases
            .chunk_by(|left, right| left.id.module == right.id.module)
            .map(|chunk| run(chunk.to_vec()))
            .collect(),
        Isolation::Build if testcases.is_empty() => Vec::new(),
        Isolation::Build => vec![run(testcases)],
    }
}

/// Makes the testcase that stands for a module as a whole.
pub(super) fn whole_module(build: &BuildName, module: &TestModule) -> Testcase {
    Testcase {
        id: TestcaseId {
            build: build.clone(),
            module: module.clone(),
            testcase: TestcaseId::WHOLE_MODULE.to_owned(),
        },
        occurrence: 0,
        file: None,
        line: None,
        doc: None,
        skip: false,
        stage: 0,
    }
}

fn tell_failed(
    session: &Session<'_>,
    design: &BuiltDesign,
    module: &TestModule,
    answer: Answer,
    folder: &RunFolder,
) {
    tell_result(session, design, module, Outcome::Errored, answer, folder);
}

fn tell_result(
    session: &Session<'_>,
    design: &BuiltDesign,
    module: &TestModule,
    outcome: Outcome,
    answer: Answer,
    folder: &RunFolder,
) {
    let Answer::Failed {
        cause,
        message,
        error_type,
        details,
        took,
    } = answer
    else {
        return;
    };
    let end = crate::edge::fs::stamp(&folder.log)
        .ok()
        .flatten()
        .map_or(0, |stamp| stamp.size);
    session.tell(Event::TestcaseFinished(Box::new(TestcaseResult {
        id: whole_module(&design.name, module).id,
        outcome,
        cause: Some(cause),
        expected_failure: false,
        message: Some(message),
        error_type,
        details,
        duration: took,
        sim_time_ns: None,
        seed: session.plan.seed,
        attempt: 1,
        run_dir: Some(folder.dir.clone()),
        log: Some(LogSpan {
            path: folder.log.clone(),
            start: 0,
            end,
        }),
        waves: None,
        file: None,
        line: None,
    })));
}
