//! Asks a built design which testcases its modules have, and plans the runs.
//!
//! Invariant: a module is either listed, or has one errored result that says why not. If a module
//! kills the simulator while it is imported, only that module is lost: the others are listed by
//! another process. Nor does a module fail because of others that the process had imported before:
//! then it is listed once more, alone.

use crate::agent::event::ListedTestcase;
use crate::agent::event::ModuleException;
use crate::agent::event::RunEvent;
use crate::agent::event::UnreachableTestcase;
use crate::agent::request::Mode;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::process::Process;
use crate::event::Event;
use crate::event::Slot;
use crate::model::build::BuildName;
use crate::model::outcome::Cause;
use crate::model::outcome::LogSpan;
use crate::model::outcome::Outcome;
use crate::model::test::Isolation;
use crate::model::test::ModuleInVariant;
use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;
use crate::plan::TestcaseChoice;
use crate::schedule::context::TaskContext;
use crate::schedule::effect::Effect;
use crate::schedule::effect::Emit;
use crate::schedule::folder::RunFolder;
use crate::schedule::follow::Consumer;
use crate::schedule::follow::Followed;
use crate::schedule::follow::ListingEnd;
use crate::schedule::follow::follow_until_serving;
use crate::schedule::group::SERVER_WAS_LOST;
use crate::schedule::judge::ProcessEnd;
use crate::schedule::judge::TestcaseVerdict;
use crate::schedule::judge::Trouble;
use crate::schedule::judge::stop_reason_in_words;
use crate::schedule::missing_module;
use crate::schedule::module_server::ModuleServer;
use crate::schedule::module_server::PendingModuleServer;
use crate::schedule::result::RunFacts;
use crate::schedule::result::emit_skipped;
use crate::schedule::result::emit_unrun;
use crate::schedule::result::finished;
use crate::schedule::run_log;
use crate::schedule::simulation::CheckpointUse;
use crate::schedule::simulation::Simulation;
use crate::schedule::task::BringUpTask;
use crate::schedule::task::ListTask;
use crate::schedule::task::RunTask;

use camino::Utf8PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// Which of the listed testcases are run.
#[derive(Clone, Copy)]
pub(super) struct ListSelection<'a> {
    /// What becomes of a testcase that is listed for a table.
    pub(super) choose: &'a (dyn Fn(usize, &TestcaseId) -> TestcaseChoice + Send + Sync),
    /// Whether to stop after listing.
    pub(super) only_lists: bool,
}

/// The result of listing one module.
enum ModuleListing {
    Listed(Vec<ListedTestcase>),
    Failed(ModuleException, Duration),
}

/// What a listing process has reported.
struct Heard {
    limit: Duration,
    answers: Vec<(TestModule, ModuleListing)>,
    unreachable: Vec<Diagnostic>,
    importing: Option<TestModule>,
    /// Why its runs are not forked from it.
    cannot_serve: Option<String>,
    /// When it began its current step: to import a module, or before that to start.
    since: Instant,
    trouble: Option<Trouble>,
}

/// A listing whose process has ended.
struct Listing<'a> {
    context: &'a TaskContext<'a>,
    task: &'a ListTask,
    emit: &'a Emit<'a>,
    folder: RunFolder,
    module_server: Option<Arc<ModuleServer>>,
}

/// Lists a task's modules. Its effects are the testcases found and the runs and listings that
/// follow.
pub(super) fn list(
    context: &TaskContext<'_>,
    task: &ListTask,
    slot: Slot,
    selection: ListSelection<'_>,
    emit: &Emit<'_>,
) {
    let alone = serves_modules(context, task, selection).then(|| just_one(task, emit));
    let task = alone.as_ref().unwrap_or(task);
    let started = match alone {
        Some(_) => start_serving(context, task, slot).or_else(|_| start(context, task, slot)),
        None => start(context, task, slot),
    };
    let StartedListing {
        process,
        folder,
        pending_server,
    } = match started {
        Ok(started) => started,
        Err(problems) => {
            for module in &task.modules {
                let nothing = RunFacts::nothing_started(context.seed, 1);
                emit_unrun(emit, &task.group.whole_module(module), &problems, nothing);
            }
            return;
        }
    };
    let mut heard = Heard {
        limit: task.group.settings.timeout,
        answers: Vec::new(),
        unreachable: Vec::new(),
        importing: None,
        cannot_serve: None,
        since: context.clock().now(),
        trouble: None,
    };
    let end = follow_until_serving(context, &task.group, &folder, process, &mut heard);
    let (followed, module_server) = match end {
        ListingEnd::Gone(followed) => {
            if pending_server.is_some()
                && heard.cannot_serve.is_none()
                && let ProcessEnd::Exited(exit) = followed.end
            {
                heard.cannot_serve = Some(format!("its fork server {}", exit.in_words()));
            }
            (followed, None)
        }
        ListingEnd::Serving(process, warnings) => {
            let module_server = pending_server.and_then(|it| it.serving(process));
            if let Some(server) = &module_server {
                task.group.keep_module_server(server);
            }
            (Followed::listed(warnings), module_server)
        }
    };
    let listing = Listing {
        context,
        task,
        emit,
        folder,
        module_server,
    };
    listing.close(heard, &followed, selection);
}

/// Says whether each module of a task is listed by what then forks its testcases.
fn serves_modules(
    context: &TaskContext<'_>,
    task: &ListTask,
    selection: ListSelection<'_>,
) -> bool {
    let settings = &task.group.settings;
    // One process that runs several modules imports them itself.
    let is_apart = settings.isolation != Isolation::Build || task.modules.len() == 1;
    // Entry points of the user's own have run by then; what they do is not watched.
    let is_plain = settings.pygpi_users.is_empty();
    !selection.only_lists
        && !task.lost_its_server
        && is_apart
        && is_plain
        && task.group.may_serve_modules(context)
}

/// Leaves the modules after the first one to other workers.
fn just_one(task: &ListTask, emit: &Emit<'_>) -> ListTask {
    let mut each = task.modules.iter().map(|module| ListTask {
        modules: vec![module.clone()],
        ..task.clone()
    });
    let first = each.next();
    let others: Vec<ListTask> = each.collect();
    if !others.is_empty() {
        emit(Effect::ListNext(others));
    }
    first.unwrap_or_else(|| task.clone())
}

/// A listing that has started.
struct StartedListing {
    process: Box<dyn Process>,
    folder: RunFolder,
    /// Present if it may serve.
    pending_server: Option<PendingModuleServer>,
}

fn start(context: &TaskContext<'_>, task: &ListTask, slot: Slot) -> Result<StartedListing> {
    let (folder, simulation) = prepare(context, task, slot, Mode::List)?;
    let spawn_because = task.lost_its_server.then_some(SERVER_WAS_LOST);
    let group = &task.group;
    let started = group.start(context, &simulation, &folder, spawn_because, None)?;
    Ok(StartedListing {
        process: started.process,
        folder,
        pending_server: None,
    })
}

fn start_serving(context: &TaskContext<'_>, task: &ListTask, slot: Slot) -> Result<StartedListing> {
    let (folder, simulation) = prepare(context, task, slot, Mode::ServeModule)?;
    let (process, pending) = task.group.fork_module(context, &simulation, &folder)?;
    Ok(StartedListing {
        process,
        folder,
        pending_server: Some(pending),
    })
}

fn prepare<'a>(
    context: &TaskContext<'_>,
    task: &'a ListTask,
    slot: Slot,
    mode: Mode,
) -> Result<(RunFolder, Simulation<'a>)> {
    let run = context.next_run();
    let group = &task.group;
    let settings = &group.settings;
    let folder = RunFolder::make(
        &context.session_dir,
        &group.design.name,
        "list",
        run,
        &settings.run_files,
    )?;
    let simulation = Simulation {
        design: &group.design,
        settings,
        mode,
        modules: task.modules.clone(),
        testcases: None,
        seed: settings.seed.unwrap_or(context.seed),
        run,
        slot,
        waves: None,
        checkpoints: CheckpointUse::default(),
    };
    Ok((folder, simulation))
}

impl Consumer for Heard {
    fn take(&mut self, event: RunEvent, now: Instant) -> Option<Duration> {
        match event {
            RunEvent::Listing { module, .. } => {
                self.importing = Some(module);
                self.since = now;
            }
            RunEvent::Listed {
                module,
                testcases,
                unreachable,
            } => {
                self.importing = None;
                let lost = unreachable.iter().map(|lost| never_runs(&module, lost));
                self.unreachable.extend(lost);
                self.answers
                    .push((module, ModuleListing::Listed(testcases)));
            }
            RunEvent::ModuleError(error) => {
                self.importing = None;
                let took = now.saturating_duration_since(self.since);
                let module = error.module.clone();
                self.answers
                    .push((module, ModuleListing::Failed(error, took)));
            }
            RunEvent::CannotServe { message } => self.cannot_serve = Some(message),
            other => {
                if let Some(trouble) = Trouble::of(other) {
                    Trouble::keep(&mut self.trouble, trouble);
                }
            }
        }
        Some(self.limit)
    }

    fn not_understood(&mut self, why: String) {
        Trouble::keep(&mut self.trouble, Trouble::Agent(why));
    }
}

impl Listing<'_> {
    fn close(&self, heard: Heard, followed: &Followed, selection: ListSelection<'_>) {
        let group = &self.task.group;
        let warnings = followed.warnings.iter().cloned();
        for warning in warnings.chain(group.take_warnings()) {
            (self.emit)(Effect::Notice(warning));
        }
        for warning in heard.unreachable {
            (self.emit)(Effect::Notice(warning));
        }
        let mut open = self.task.modules.clone();
        open.retain(|module| !heard.answers.iter().any(|(answered, _)| answered == module));
        let mut to_run = Vec::new();
        let mut apart = Vec::new();
        for (position, (module, answer)) in heard.answers.into_iter().enumerate() {
            match answer {
                ModuleListing::Failed(error, _)
                    if position > 0 && self.may_import_alone(&error) =>
                {
                    apart.push(module);
                }
                ModuleListing::Listed(found) if found.is_empty() => {
                    let words = "the module has no testcases";
                    let verdict =
                        TestcaseVerdict::ours(Outcome::Errored, Cause::NoTestcases, words);
                    self.finish(&module, verdict, Duration::ZERO);
                }
                ModuleListing::Listed(found) => {
                    let because = heard.cannot_serve.clone();
                    to_run.extend(self.report_listed(&module, found, because, selection));
                }
                ModuleListing::Failed(error, took) => {
                    self.finish(&module, self.import_verdict(&module, error), took);
                }
            }
        }
        for module in apart {
            self.list_again(vec![module], self.task.lost_its_server);
        }
        let now = self.context.clock().now();
        let took = now.saturating_duration_since(heard.since);
        let trouble = heard.trouble.as_ref();
        self.close_open(followed, open, heard.importing, trouble, took);
        let runs = runs_of(self.task, to_run, self.module_server.as_ref());
        if runs.is_empty() {
            return;
        }
        let group = Arc::clone(&self.task.group);
        (self.emit)(match group.runs_checkpoints_itself_because() {
            Some(_) => Effect::Run(runs),
            None => Effect::BringUp(BringUpTask { group, runs }),
        });
    }

    /// Decides about modules without an answer: the one being imported is the culprit, the others
    /// are listed again.
    fn close_open(
        &self,
        followed: &Followed,
        mut open: Vec<TestModule>,
        importing: Option<TestModule>,
        trouble: Option<&Trouble>,
        took: Duration,
    ) {
        let limit = self.task.group.settings.timeout;
        let end = followed.end;
        if let ProcessEnd::Stopped(reason) = end {
            let words = format!("not listed: {}", stop_reason_in_words(reason));
            for module in &open {
                let verdict = TestcaseVerdict::ours(Outcome::NotRun, Cause::Session, words.clone());
                self.finish(module, verdict, Duration::ZERO);
            }
            return;
        }
        let culprit = importing.filter(|module| open.contains(module));
        if end == ProcessEnd::Lost {
            self.list_again(open, true);
        } else if let Some(culprit) = culprit {
            open.retain(|module| *module != culprit);
            let verdict = ended_in_import(end, limit).and_hang(followed.hang.as_ref());
            self.finish(&culprit, verdict, took);
            self.list_again(open, self.task.lost_its_server);
        } else {
            for module in &open {
                let verdict = match trouble {
                    Some(trouble) => trouble.verdict(),
                    None => ended_before_listing(end, limit),
                };
                self.finish(module, verdict, took);
            }
        }
    }

    fn list_again(&self, modules: Vec<TestModule>, lost_its_server: bool) {
        if !modules.is_empty() {
            (self.emit)(Effect::List(vec![ListTask {
                group: Arc::clone(&self.task.group),
                modules,
                lost_its_server,
                has_waited: false,
            }]));
        }
    }

    /// Says whether a module that failed after others may be importable in a process of its own, as
    /// its testcases would have: what others have left, a file in the run's folder for example, may
    /// be in its way. Neither a missing module nor a syntax error comes from that.
    fn may_import_alone(&self, error: &ModuleException) -> bool {
        let is_its_own = ["ModuleNotFoundError", "SyntaxError"].contains(&&*error.error_type);
        self.task.group.settings.isolation != Isolation::Build && !is_its_own
    }

    /// Judges a module that cannot be imported.
    ///
    /// If it does not exist, cocorun's own message is used: Python says neither where it looked nor
    /// which name is similar.
    fn import_verdict(&self, module: &TestModule, error: ModuleException) -> TestcaseVerdict {
        let path = self.context.python_path(&self.task.group.settings);
        let missing = missing_module::in_words(&module.0, &error.error_type, &error.message, &path);
        let Some((message, details)) = missing else {
            let trouble = Trouble::of(RunEvent::ModuleError(error));
            return trouble.map_or_else(
                || unreachable!("a module's error is trouble"),
                |trouble| trouble.verdict(),
            );
        };
        let verdict = TestcaseVerdict::ours(Outcome::Errored, Cause::Import, message);
        TestcaseVerdict {
            details: Some(details),
            ..verdict
        }
    }

    /// Reports a module's testcases and returns the selected ones that are to be run.
    fn report_listed(
        &self,
        module: &TestModule,
        found: Vec<ListedTestcase>,
        reimported_because: Option<String>,
        selection: ListSelection<'_>,
    ) -> Vec<Testcase> {
        let group = &self.task.group;
        let (build, variant) = (&group.design.name, group.in_variant(module).variant);
        let mut selected: Vec<Testcase> = Vec::new();
        let mut deselected = 0;
        for listed in found {
            let mut testcase = testcase_of(build, group.in_variant(module), listed);
            match (selection.choose)(group.table, &testcase.id) {
                TestcaseChoice::NotPlanned => {}
                TestcaseChoice::Deselected => deselected += 1,
                TestcaseChoice::Selected => selected.push(testcase),
                TestcaseChoice::SelectedByName => {
                    testcase.skip = false;
                    selected.push(testcase);
                }
            }
        }
        (self.emit)(Effect::Send(Event::ModuleListed {
            build: build.clone(),
            module: module.clone(),
            variant: variant.cloned(),
            selected: selected.clone(),
            deselected,
            reimported_because,
        }));
        if selection.only_lists {
            return Vec::new();
        }
        let (skipped, to_run): (Vec<Testcase>, Vec<Testcase>) =
            selected.into_iter().partition(|testcase| testcase.skip);
        for testcase in skipped {
            emit_skipped(self.emit, &testcase, self.context.seed);
        }
        to_run
    }

    /// Reports the one result of a module as a whole.
    fn finish(&self, module: &TestModule, verdict: TestcaseVerdict, duration: Duration) {
        let log = &self.folder.log;
        let run = RunFacts {
            duration,
            dir: Some(self.folder.dir.clone()),
            log: Some(LogSpan {
                path: log.clone(),
                start: 0,
                end: run_log::size(log),
            }),
            ..RunFacts::nothing_started(self.context.seed, 1)
        };
        let testcase = self.task.group.whole_module(module);
        (self.emit)(finished(&testcase, verdict, run));
    }
}

/// Returns the warning about a testcase that a module defines and cocotb does not find.
fn never_runs(module: &TestModule, lost: &UnreachableTestcase) -> Diagnostic {
    let place = |file: &Option<Utf8PathBuf>, line: Option<u32>| {
        let (file, line) = file.as_ref().zip(line)?;
        Some(format!("{file}:{line}"))
    };
    let name = &lost.testcase;
    let (why, help) = if lost.is_in_class {
        (
            "it is in a class, where cocotb does not look",
            "move it out of the class",
        )
    } else {
        ("its name is used again", "give one of them another name")
    };
    let words = format!("testcase `{name}` of module `{module}` never runs: {why}");
    let mut warning = Diagnostic::warning(Code::TestNeverRuns, words);
    if let Some(at) = place(&lost.file, lost.line) {
        warning = warning.fact(format!("defined at {at}"));
    }
    if let Some(at) = place(&lost.again_file, lost.again_line) {
        warning = warning.fact(format!("and again at {at}"));
    }
    warning.help(help)
}

fn testcase_of(build: &BuildName, module: ModuleInVariant<'_>, listed: ListedTestcase) -> Testcase {
    Testcase {
        id: TestcaseId {
            build: build.clone(),
            module: module.module.clone(),
            variant: module.variant.cloned(),
            testcase: listed.testcase,
        },
        occurrence: listed.occurrence,
        file: listed.file,
        line: listed.line,
        doc: listed.doc,
        skip: listed.skip,
        stage: listed.stage,
    }
}

/// Judges a module whose process ended before its import began.
fn ended_before_listing(end: ProcessEnd, limit: Duration) -> TestcaseVerdict {
    match end {
        ProcessEnd::TimedOut => {
            let limit = limit.as_secs_f64();
            let words = format!("the simulator listed no testcases within its limit of {limit} s");
            TestcaseVerdict::ours(Outcome::TimedOut, Cause::Timeout, words)
        }
        ProcessEnd::Exited(exit) => {
            let how = exit.in_words();
            let words = format!("the simulator {how} before testcases could be listed");
            TestcaseVerdict::ours(Outcome::Errored, Cause::Startup, words)
        }
        ProcessEnd::Stopped(_) | ProcessEnd::Lost => unreachable!("both are handled before"),
    }
}

/// Judges the module that was being imported when its process ended.
fn ended_in_import(end: ProcessEnd, limit: Duration) -> TestcaseVerdict {
    match end {
        ProcessEnd::TimedOut => {
            let words = format!(
                "importing it exceeded its limit of {} s",
                limit.as_secs_f64()
            );
            TestcaseVerdict::ours(Outcome::TimedOut, Cause::Timeout, words)
        }
        ProcessEnd::Exited(exit) => {
            let words = format!("the simulator {} while importing it", exit.in_words());
            TestcaseVerdict::ours(Outcome::Errored, Cause::Import, words)
        }
        ProcessEnd::Stopped(_) | ProcessEnd::Lost => unreachable!("both are handled before"),
    }
}

/// Groups testcases into runs.
fn runs_of(
    task: &ListTask,
    testcases: Vec<Testcase>,
    module_server: Option<&Arc<ModuleServer>>,
) -> Vec<RunTask> {
    let run = |testcases: Vec<Testcase>| RunTask {
        group: Arc::clone(&task.group),
        testcases,
        module_server: module_server.cloned(),
        attempt: 1,
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
