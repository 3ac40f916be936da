//! A session: the workers on their threads, and the one thread that tells events on.

use crate::build::ensure::Ready;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::interrupt::Interrupt;
use crate::edge::interrupt::StopReason;
use crate::edge::jobs::JobPool;
use crate::edge::process::ProcessHost;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::event::RunId;
use crate::lock::WaitProgress;
use crate::model::build::Build;
use crate::model::build::BuiltDesign;
use crate::model::build::Simulator;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::PlannedModule;
use crate::model::test::Seed;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;
use crate::schedule::history::History;
use crate::schedule::history::Record;
use crate::schedule::history_files;
use crate::schedule::judge::stop_words;
use crate::schedule::queue::BuildTask;
use crate::schedule::queue::Queue;
use crate::schedule::run::unrun_verdict;
use crate::schedule::worker;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use std::time::SystemTime;

/// How often the telling thread looks at the time when nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// The tools of a session.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The Python environment.
    pub python: PythonEnv,
    /// The simulators that the plan needs.
    pub simulators: BTreeMap<Simulator, SimulatorTool>,
}

/// Makes sure that a build exists; told, while it waits for another process that makes it, of whom.
pub type Ensure<'a> =
    dyn Fn(&Build, &dyn Fn(&WaitProgress<'_>)) -> Result<Ready> + Send + Sync + 'a;

/// What a session does, and with what.
pub struct Plan<'a> {
    /// Where children are started.
    pub host: &'a dyn ProcessHost,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Ends everything when raised.
    pub interrupt: &'a Interrupt,
    /// Makes sure that a build exists.
    pub ensure: &'a Ensure<'a>,
    /// The tools.
    pub tools: &'a Tools,
    /// The builds, in the order they are begun.
    pub builds: &'a [Build],
    /// The modules, in the order they are begun.
    pub modules: &'a [PlannedModule],
    /// Whether a listed testcase was asked for.
    pub selects: &'a (dyn Fn(&TestcaseId) -> bool + Send + Sync),
    /// The session's name.
    pub session_id: String,
    /// Where runs get their directories.
    pub session_dir: Utf8PathBuf,
    /// Where durations are kept from session to session, for the order of runs.
    pub history_dir: Utf8PathBuf,
    /// The seed of runs that have none of their own.
    pub seed: Seed,
    /// How many tasks may be at work at once; at least 1.
    pub jobs: usize,
    /// The budget that tasks share with the compiles of builds: every simulation holds one job.
    pub pool: &'a JobPool,
    /// Limit of the whole session.
    pub limit: Option<Duration>,
    /// Variables of every simulation, such as `PYTHONPATH`.
    pub base_env: BTreeMap<String, String>,
    /// Whether to stop after listing.
    pub only_lists: bool,
}

/// A session at work, as its workers see it.
pub(super) struct Session<'a> {
    pub(super) plan: Plan<'a>,
    /// What each build became, by its place in the plan.
    pub(super) designs: Vec<OnceLock<BuiltDesign>>,
    /// How many fork servers are at work.
    pub(super) servers_alive: Arc<AtomicUsize>,
    /// What earlier sessions have measured.
    pub(super) history: History,
    messages: Sender<Message>,
    runs: AtomicU32,
    /// Kinds of trouble with disk and tools that were told.
    told: Mutex<BTreeSet<Code>>,
}

/// What workers send to the telling thread.
enum Message {
    Event(Event),
    /// A worker has nothing left to do.
    Left,
}

/// Tells that a worker has left, also when it panics.
struct Leaving<'a>(&'a Sender<Message>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.send(Message::Left).ok();
    }
}

/// Builds, lists and runs everything that is planned; returns when no child is left.
///
/// `sink` gets every event in order on the calling thread; `tick` is called there about ten times
/// a second.
pub fn execute(plan: Plan<'_>, sink: &mut dyn FnMut(Event), tick: &mut dyn FnMut()) {
    let (messages, received) = channel();
    let load = |plan: &Plan<'_>| history_files::load(&plan.history_dir, wall_s(plan.clock));
    // Without runs there is nothing to be ordered.
    let runs = !plan.modules.is_empty() && !plan.only_lists;
    let earlier = runs.then(|| load(&plan));
    let history = earlier.as_ref().map(|it| it.history.clone());
    let history = history.unwrap_or_default();
    let queue = Queue::new(build_tasks(&plan, &history));
    let mut measured = Vec::new();
    let until = plan.limit.map(|limit| plan.clock.now() + limit);
    let (clock, interrupt, jobs) = (plan.clock, plan.interrupt, plan.jobs.max(1));
    let session = Session {
        designs: plan.builds.iter().map(|_| OnceLock::new()).collect(),
        plan,
        servers_alive: Arc::new(AtomicUsize::new(0)),
        history,
        messages,
        runs: AtomicU32::new(0),
        told: Mutex::default(),
    };
    thread::scope(|scope| {
        for slot in 0..jobs {
            let (session, queue) = (&session, &queue);
            scope.spawn(move || {
                let _leaving = Leaving(&session.messages);
                worker::work(session, queue, slot);
            });
        }
        let mut at_work = jobs;
        let mut is_stopping = false;
        loop {
            match received.recv_timeout(TICK) {
                Ok(Message::Event(event)) => {
                    measured.extend(session.measured(&event));
                    sink(event);
                }
                Ok(Message::Left) => at_work -= 1,
                Err(RecvTimeoutError::Timeout) => tick(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if until.is_some_and(|until| clock.now() >= until) {
                interrupt.raise(StopReason::SessionLimit);
            }
            if let Some(reason) = interrupt.raised().filter(|_| !is_stopping) {
                is_stopping = true;
                sink(Event::Stopping {
                    reason: stop_words(reason),
                });
            }
            if at_work == 0 {
                break;
            }
        }
    });
    if !measured.is_empty() {
        let earlier = earlier.unwrap_or_else(|| load(&session.plan));
        earlier.save(&session.plan.session_id, measured);
    }
}

fn wall_s(clock: &dyn Clock) -> u64 {
    let since = clock.wall().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Says what is known of the builds and of what waits for them.
fn build_tasks(plan: &Plan<'_>, history: &History) -> Vec<BuildTask> {
    let longest = |build: &Build| {
        let planned = plan.modules.iter().filter(|it| it.build == build.name);
        let testcase = history.longest(&build.name, planned.map(|it| &it.module))?;
        Some(history.compile(&build.name)? + testcase)
    };
    let builds = plan.builds.iter().enumerate();
    let task = |(build, it)| BuildTask {
        build,
        longest: longest(it),
    };
    builds.map(task).collect()
}

/// Says whether a problem is one of disk or tools, and not of a stop.
fn is_trouble(problem: &Diagnostic) -> bool {
    problem.code != Code::SessionInterrupted && problem.code.exit_code() == ExitCode::Environment
}

impl Session<'_> {
    /// Sends an event to the telling thread.
    pub(super) fn tell(&self, event: Event) {
        // The receiver outlives every worker.
        self.messages.send(Message::Event(event)).ok();
    }

    /// Returns what an event tells of durations.
    fn measured(&self, event: &Event) -> Option<Record> {
        let at_s = wall_s(self.plan.clock);
        match event {
            Event::TestcaseFinished(result) => {
                let name = &result.id.build;
                let place = self.plan.builds.iter().position(|it| it.name == *name)?;
                Record::of(result, &self.designs[place].get()?.key, at_s)
            }
            Event::BuildFinished {
                build,
                outcome: BuildOutcome::Built,
                duration,
                ..
            } => Some(Record::Build {
                build: build.clone(),
                duration_s: duration.as_secs_f64(),
                at_s,
            }),
            _ => None,
        }
    }

    /// Returns the next run's number.
    pub(super) fn next_run(&self) -> RunId {
        self.runs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Names a wave file for the format the build was made for.
    pub(super) fn wave_file_name(&self, build: usize) -> &'static str {
        let build = &self.plan.builds[build];
        let fst = build.build_args.iter().any(|arg| arg == "--trace-fst");
        if build.simulator == Simulator::Icarus || fst {
            "waves.fst"
        } else {
            "waves.vcd"
        }
    }

    /// Tells the result of a testcase that is marked skipped.
    pub(super) fn tell_skipped(&self, testcase: &Testcase) {
        let mut result = self.empty_result(testcase, Outcome::Skipped, Cause::Skip);
        result.message = Some("marked `skip=True`".to_owned());
        self.tell(Event::TestcaseFinished(Box::new(result)));
    }

    /// Tells the result of a testcase for which nothing could be started.
    ///
    /// Trouble with the disk or a tool is told by itself as well, once of each kind: it is no
    /// verdict on a design.
    pub(super) fn tell_unrun(&self, testcase: &Testcase, problems: &Problems) {
        let first = problems.0.first();
        if let Some(problem) = first.filter(|problem| is_trouble(problem)) {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.insert(problem.code) {
                self.tell(Event::Notice(Box::new(problem.clone())));
            }
        }
        let (outcome, cause) = first.map_or((Outcome::Errored, Cause::Startup), unrun_verdict);
        let mut result = self.empty_result(testcase, outcome, cause);
        result.message = first.map(|problem| problem.message.clone());
        self.tell(Event::TestcaseFinished(Box::new(result)));
    }

    fn empty_result(&self, testcase: &Testcase, outcome: Outcome, cause: Cause) -> TestcaseResult {
        TestcaseResult {
            id: testcase.id.clone(),
            outcome,
            cause: Some(cause),
            expected_failure: false,
            message: None,
            error_type: None,
            details: None,
            duration: Duration::ZERO,
            sim_time_ns: None,
            seed: self.plan.seed,
            attempt: 1,
            run_dir: None,
            log: None,
            waves: None,
            file: testcase.file.clone(),
            line: testcase.line,
        }
    }
}
