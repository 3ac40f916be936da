//! A session: the workers on their threads, and the one thread that passes events to the reports.

use crate::edge::clock::Clock;
use crate::edge::edges::Edges;
use crate::edge::interrupt::StopReason;
use crate::edge::jobs::JobPool;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::model::build::Build;
use crate::model::build::BuildName;
use crate::model::test::PlannedModule;
use crate::model::test::Seed;
use crate::model::test::TestcaseId;
use crate::plan::TestcaseChoice;
use crate::schedule::building;
use crate::schedule::context::TaskContext;
use crate::schedule::history::History;
use crate::schedule::history::Record;
use crate::schedule::history_files;
use crate::schedule::judge::stop_reason_in_words;
use crate::schedule::listing::ListSelection;
use crate::schedule::queue::BuildTask;
use crate::schedule::queue::Queue;
use crate::schedule::servers::ServerLimit;
use crate::schedule::starters::Starters;
use crate::schedule::unused_checkpoints::UnusedCheckpoints;
use crate::schedule::worker::Message;
use crate::schedule::worker::Workshop;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use std::time::SystemTime;

pub use crate::schedule::building::Ensure;
use crate::sim::tools::Tools;

/// How often the session's own thread checks the clock when nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// The input of a session.
pub struct SessionSpec<'a> {
    /// The outside world.
    pub edges: &'a Edges,
    /// Makes sure that a build exists.
    pub ensure: &'a Ensure<'a>,
    /// The tools.
    pub tools: &'a Tools,
    /// The builds, in the order in which they start.
    pub builds: &'a [Build],
    /// The modules, in the order in which they start.
    pub modules: &'a [PlannedModule],
    /// What becomes of a testcase that is listed for a table.
    pub choose: &'a (dyn Fn(usize, &TestcaseId) -> TestcaseChoice + Send + Sync),
    /// The session's name.
    pub session_id: String,
    /// Where runs get their directories.
    pub session_dir: Utf8PathBuf,
    /// Where durations are kept from session to session, for the order of runs.
    pub history_dir: Utf8PathBuf,
    /// The seed of runs that have none of their own.
    pub seed: Seed,
    /// How many tasks may run at once; at least 1.
    pub jobs: usize,
    /// The budget that tasks share with the compiles of builds: every simulation holds one job.
    pub pool: &'a JobPool,
    /// Limit of the whole session.
    pub limit: Option<Duration>,
    /// Environment variables of every simulation.
    pub base_env: BTreeMap<String, String>,
    /// The folder that contains the agent's package.
    pub agent_dir: Utf8PathBuf,
    /// The user's own `PYTHONPATH`, absolute; what a run imports comes from its own folders first.
    pub inherited_python_path: Option<String>,
    /// Whether to stop after listing.
    pub only_lists: bool,
}

/// Builds, lists and runs everything that is planned; returns when no child process remains.
///
/// `sink` gets every event in order on the calling thread; `tick` is called there about ten times
/// a second.
pub fn execute(spec: SessionSpec<'_>, sink: &mut dyn FnMut(Event), tick: &mut dyn FnMut()) {
    let (messages, received) = channel();
    let (clock, jobs) = (spec.edges.clock.as_ref(), spec.jobs.max(1));
    let load = || history_files::load(&spec.history_dir, wall_s(clock));
    // Without runs there is nothing to order.
    let runs = !spec.modules.is_empty() && !spec.only_lists;
    let earlier = runs.then(load);
    let history = earlier.as_ref().map(|it| it.history.clone());
    let history = history.unwrap_or_default();
    let equal_builds = building::equal_builds(spec.builds);
    let queue = Queue::new(jobs, build_tasks(&spec, &equal_builds, &history));
    let starters = Starters::new(expects_several_designs(&spec, &equal_builds));
    let workshop = Workshop {
        context: TaskContext {
            edges: spec.edges,
            tools: spec.tools,
            session_id: spec.session_id.clone(),
            session_dir: spec.session_dir,
            seed: spec.seed,
            ends_at: spec.limit.map(|limit| clock.now() + limit),
            base_env: spec.base_env,
            agent_dir: spec.agent_dir,
            inherited_python_path: spec.inherited_python_path,
            servers: ServerLimit::new(jobs),
            starters,
            runs: AtomicU32::new(0),
        },
        builds: spec.builds,
        equal_builds: equal_builds.into_iter().map(|all| (all[0], all)).collect(),
        modules: spec.modules,
        ensure: spec.ensure,
        selection: ListSelection {
            choose: spec.choose,
            only_lists: spec.only_lists,
        },
        pool: spec.pool,
        queue,
        history,
        messages,
        reported: Mutex::default(),
        suspects: Mutex::default(),
    };
    let mut measured = Measured::default();
    thread::scope(|scope| {
        for slot in 0..jobs {
            let workshop = &workshop;
            scope.spawn(move || workshop.work(slot));
        }
        let context = &workshop.context;
        relay(context, &received, jobs, &mut measured, sink, tick);
    });
    if !measured.records.is_empty() {
        let earlier = earlier.unwrap_or_else(load);
        earlier.save(&spec.session_id, measured.records);
    }
}

/// Passes on what workers send until all of them have finished, and stops the session at its limit.
fn relay(
    context: &TaskContext<'_>,
    received: &Receiver<Message>,
    mut workers: usize,
    measured: &mut Measured,
    sink: &mut dyn FnMut(Event),
    tick: &mut dyn FnMut(),
) {
    let mut is_stopping = false;
    let mut unused = UnusedCheckpoints::default();
    while workers > 0 {
        let received = received.recv_timeout(TICK);
        // Before what the stop leads to.
        if context.is_over() {
            context.interrupt().raise(StopReason::SessionLimit);
        }
        if let Some(reason) = context.interrupt().raised().filter(|_| !is_stopping) {
            is_stopping = true;
            sink(Event::Stopping {
                reason: stop_reason_in_words(reason),
            });
        }
        match received {
            Ok(Message::Event(event)) => {
                measured.take(&event, context.clock());
                unused.take(&event);
                sink(event);
            }
            Ok(Message::BuildReady(build, key)) => {
                measured.keys.insert(build, key);
            }
            Ok(Message::Finished) => workers -= 1,
            Err(RecvTimeoutError::Timeout) => tick(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for warning in unused.warnings() {
        sink(Event::Notice(Box::new(warning)));
    }
}

/// What a session has measured, for the order of the next one.
#[derive(Default)]
struct Measured {
    keys: BTreeMap<BuildName, String>,
    records: Vec<Record>,
}

impl Measured {
    fn take(&mut self, event: &Event, clock: &dyn Clock) {
        let at_s = wall_s(clock);
        let record = match event {
            Event::TestcaseFinished(result) => {
                let key = self.keys.get(&result.id.build);
                key.and_then(|key| Record::of(result, key, at_s))
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
        };
        self.records.extend(record);
    }
}

/// Says whether runs of several designs of one simulator are going to be forked.
fn expects_several_designs(spec: &SessionSpec<'_>, equal_builds: &[Vec<usize>]) -> bool {
    let is_forked = |build: &Build| {
        let mut planned = spec.modules.iter().filter(|it| it.build == build.name);
        planned.any(|it| it.settings.fork && !it.settings.waves)
    };
    let mut seen = BTreeSet::new();
    equal_builds.iter().any(|names| {
        let mut builds = names.iter().map(|index| &spec.builds[*index]);
        let forked = builds.find(|build| is_forked(build));
        forked.is_some_and(|build| !seen.insert(&build.simulator))
    })
}

fn wall_s(clock: &dyn Clock) -> u64 {
    let since = clock.wall().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Returns what is known about the builds and what waits for them; equal ones are one task.
fn build_tasks(
    spec: &SessionSpec<'_>,
    equal_builds: &[Vec<usize>],
    history: &History,
) -> Vec<BuildTask> {
    let longest = |build: &Build| {
        let planned = spec.modules.iter().filter(|it| it.build == build.name);
        let testcase =
            history.longest(&build.name, planned.map(PlannedModule::module_in_variant))?;
        Some(history.compile(&build.name)? + testcase)
    };
    let task = |names: &Vec<usize>| BuildTask {
        build: names[0],
        longest: names
            .iter()
            .filter_map(|it| longest(&spec.builds[*it]))
            .max(),
    };
    equal_builds.iter().map(task).collect()
}
