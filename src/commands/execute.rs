//! A session from its first event to its exit code; shared by `build`, `list` and `test`.

use crate::commands::reporting::host_name;
use crate::commands::resolved::Resolved;
use crate::commands::session::Session;
use crate::commands::session_folders::SessionFolder;
use crate::commands::shared_folders::SharedFolders;
use crate::config::RunnerConfig;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::cache_dir;
use crate::edge::env;
use crate::edge::interrupt::Interrupt;
use crate::edge::interrupt::StopReason;
use crate::edge::machine::SystemMachine;
use crate::event::Event;
use crate::event::SessionCommand;
use crate::event::SessionFinished;
use crate::event::SessionStarted;
use crate::event::SessionState;
use crate::model::build::Build;
use crate::model::exit_code::ExitCode;
use crate::model::test::PlannedModule;
use crate::model::test::Seed;
use crate::model::test::TestcaseId;
use crate::plan::ListedNames;
use crate::plan::Selection;
use crate::plan::TestcaseChoice;
use crate::report::Report;
use crate::schedule;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// What a session has to do.
pub(super) struct Work<'a> {
    pub(super) builds: &'a [Build],
    pub(super) modules: &'a [PlannedModule],
    pub(super) selection: &'a Selection,
    pub(super) command: SessionCommand,
    pub(super) seed: Option<u32>,
    /// The beginning of a command that repeats a testcase.
    pub(super) rerun_prefix: String,
    /// Warnings to report at the end.
    pub(super) warnings: Vec<Diagnostic>,
}

/// The filters that have not selected any testcase so far.
pub(super) struct Unmatched<'a> {
    selection: &'a Selection,
    filters: Option<Vec<String>>,
}

impl<'a> Unmatched<'a> {
    fn new(selection: &'a Selection) -> Self {
        Self {
            selection,
            filters: None,
        }
    }

    fn take(&mut self, event: &Event) {
        let Event::ModuleListed { selected, .. } = event else {
            return;
        };
        let here = self.selection.unmatched(selected.iter().map(|it| &it.id));
        match &mut self.filters {
            Some(filters) => filters.retain(|filter| here.contains(filter)),
            None => self.filters = Some(here),
        }
    }

    /// Refuses filters that selected nothing while others did: with a mistyped one, less would run
    /// than was asked for. If a build or a module failed, it may contain what they select.
    pub(super) fn problems(
        &self,
        state: &SessionState,
        testcases: &BTreeSet<String>,
    ) -> Vec<Diagnostic> {
        if state.listed() == 0 || !state.knows_all_testcases() {
            return Vec::new();
        }
        let filters = self.filters.iter().flatten();
        let problem = |filter: &String| {
            let text = format!("`{filter}` selects no testcase");
            Diagnostic {
                help: self.selection.advice_on(filter, testcases),
                ..Diagnostic::error(Code::NothingSelected, text)
            }
        };
        filters.map(problem).collect()
    }
}

/// What listings find, selected or not.
struct Listed<'a> {
    selection: &'a Selection,
    names: Mutex<ListedNames>,
    /// The testcases that two tables with different settings select, by both tables.
    clashes: Mutex<BTreeMap<(usize, usize), BTreeSet<TestcaseId>>>,
}

impl<'a> Listed<'a> {
    fn new(selection: &'a Selection) -> Self {
        Self {
            selection,
            names: Mutex::new(selection.listed_names()),
            clashes: Mutex::default(),
        }
    }

    /// Says what becomes of a testcase that is listed for a table, and keeps its name.
    fn choose(&self, table: usize, id: &TestcaseId) -> TestcaseChoice {
        locked(&self.names).take(table, id);
        if let Some(other) = self.selection.clash(table, id) {
            let mut clashes = locked(&self.clashes);
            let testcases = clashes.entry((other, table)).or_default();
            testcases.insert(id.clone());
        }
        self.selection.choose(table, id)
    }

    /// Returns the errors in tables that show once testcases are listed.
    fn problems(&self, config: &RunnerConfig) -> Vec<Diagnostic> {
        let unknown = self.selection.unmatched_names(&locked(&self.names));
        let clashes = locked(&self.clashes);
        let twice = clashes.iter().filter_map(|((first, second), testcases)| {
            let words = format!(
                "testcase `{}` is selected by two tables with different settings",
                testcases.first()?
            );
            let place = |table: &usize| config.tests.get(*table).map(|it| &it.place);
            let first = place(first)?.file_and_line();
            let problem = Diagnostic::error(Code::ConfigTestcaseTwice, words)
                .at(place(second)?.clone())
                .fact(format!("first at {first}, whose settings apply"))
                .help("narrow `testcase` or `skip_testcase`, or give each table a `name`");
            Some(match testcases.len() - 1 {
                0 => problem,
                more => problem.fact(format!("{more} more like this")),
            })
        });
        unknown.into_iter().chain(twice).collect()
    }

    /// Returns the names of all testcases.
    fn names(&self) -> BTreeSet<String> {
        locked(&self.names).testcases().clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a session, feeds its reports and returns its exit code.
///
/// # Errors
/// The build directory or a report file cannot be written. The session itself is never an error,
/// whatever its verdict.
pub(super) fn execute(
    session: &Session,
    work: &Work<'_>,
    reports: &mut dyn Report,
) -> Result<ExitCode> {
    let resolved = &session.resolved;
    let edges = &resolved.edges;
    let seed = work.seed.map_or_else(|| resolved.draw_seed(), Seed);
    let clock = edges.clock.as_ref();
    let began = clock.now();
    let mut folder = session_folder(resolved, work.command, began)?;
    let agent_dir = session.agent_dir()?;
    let mut unmatched = Unmatched::new(work.selection);
    let listed = Listed::new(work.selection);
    let shared = SharedFolders::look(work.modules, &resolved.config.build_dir);
    let stream = RefCell::new(Stream {
        state: SessionState::default(),
        reports,
    });
    let mut sink = |event: Event| {
        unmatched.take(&event);
        stream.borrow_mut().send(&event);
    };
    let first = session_started(resolved, work, seed);
    sink(Event::SessionStarted(first));
    let only_lists = work.command == SessionCommand::List;
    schedule::session::execute(
        schedule::session::SessionSpec {
            edges,
            ensure: &|build, on_news| session.ensure_built(build, on_news),
            tools: &session.tools,
            builds: work.builds,
            modules: work.modules,
            choose: &|table, id| listed.choose(table, id),
            session_id: resolved.session_id.clone(),
            session_dir: resolved.session_dir(),
            history_dir: resolved.config.build_dir.join("history"),
            seed,
            jobs: resolved.jobs,
            pool: &resolved.pool,
            limit: resolved.config.session_timeout,
            base_env: session.base_env(),
            agent_dir,
            inherited_python_path: edges.environment.get(env::PYTHONPATH).map(str::to_owned),
            only_lists,
        },
        &mut sink,
        &mut || {
            folder.live(clock.now());
            stream.borrow_mut().tick(clock.now());
        },
    );
    let mut stream = stream.into_inner();
    let names = listed.names();
    let of_tables = listed.problems(&resolved.config);
    let unmatched = unmatched.problems(&stream.state, &names);
    let known = session.warnings.iter().chain(&work.warnings).cloned();
    known
        .chain(shared.warnings())
        .chain(unmatched)
        .chain(of_tables)
        .for_each(|notice| stream.send(&Event::Notice(Box::new(notice))));
    let exit_code = stream.state.exit_code(raised_signal(&edges.interrupt));
    if exit_code == ExitCode::NothingSelected && stream.state.listed() == 0 {
        let problem = nothing_selected(&work.selection.advice(&names));
        stream.send(&Event::Notice(Box::new(problem)));
    }
    stream.close(exit_code, clock.now().saturating_duration_since(began));
    let only_looked = only_lists || work.modules.is_empty();
    folder.tidy(
        !only_looked || exit_code != ExitCode::Success,
        &SystemMachine,
    );
    stream.reports.finish(&stream.state)?;
    Ok(exit_code)
}

/// Creates the folder of the session, and the build directory first.
fn session_folder(
    resolved: &Resolved,
    command: SessionCommand,
    began: Instant,
) -> Result<SessionFolder> {
    cache_dir::make(&resolved.config.build_dir)?;
    let folder = SessionFolder::make(resolved.session_dir(), &SystemMachine, began)?;
    if command == SessionCommand::Test {
        folder.become_latest();
    }
    Ok(folder)
}

fn raised_signal(interrupt: &Interrupt) -> Option<u8> {
    match interrupt.raised() {
        Some(StopReason::Signal(number)) => Some(number),
        _ => None,
    }
}

/// Returns the first event of a session.
fn session_started(resolved: &Resolved, work: &Work<'_>, seed: Seed) -> SessionStarted {
    SessionStarted {
        cocorun: env!("CARGO_PKG_VERSION").to_owned(),
        session_id: resolved.session_id.clone(),
        command: work.command,
        host: host_name(),
        started_at: resolved.started_at.to_string(),
        config: resolved.config.path.clone(),
        jobs: resolved.jobs,
        seed,
        builds: work.builds.len(),
        modules: work.modules.len(),
        rerun_prefix: work.rerun_prefix.clone(),
    }
}

/// The end of the event stream: the state, folded from every event, and the reports that get both.
struct Stream<'a> {
    state: SessionState,
    reports: &'a mut dyn Report,
}

impl Stream<'_> {
    fn send(&mut self, event: &Event) {
        self.state.take(event);
        self.reports.on_event(event, &self.state);
    }

    /// Sends the last event.
    fn close(&mut self, exit_code: ExitCode, duration: Duration) {
        let finished = SessionFinished {
            exit_code,
            counts: self.state.counts(),
            builds_failed: self.state.builds_failed(),
            deselected: self.state.deselected(),
            duration,
        };
        self.send(&Event::SessionFinished(finished));
    }

    fn tick(&mut self, now: Instant) {
        self.reports.tick(now, &self.state);
    }
}

/// Returns the problem that nothing is selected.
pub(super) fn nothing_selected(advice: &str) -> Diagnostic {
    Diagnostic::error(Code::NothingSelected, "no testcase is selected").help(advice)
}
