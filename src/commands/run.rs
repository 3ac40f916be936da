//! A session from its first event to its exit code; shared by `build`, `list` and `test`.

use crate::commands::sessions::SessionFolder;
use crate::commands::workspace::Toolbox;
use crate::commands::workspace::Workspace;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::diagnostic::Severity;
use crate::edge::host::SystemHost;
use crate::edge::interrupt::StopReason;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::event::SessionFinished;
use crate::event::SessionStarted;
use crate::model::build::Build;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Counts;
use crate::model::test::PlannedModule;
use crate::model::test::Seed;
use crate::model::test::TestcaseId;
use crate::report::Report;
use crate::schedule::session;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// What a session shall do.
pub(super) struct Work<'a> {
    pub(super) builds: &'a [Build],
    pub(super) modules: &'a [PlannedModule],
    pub(super) selects: &'a (dyn Fn(&TestcaseId) -> bool + Send + Sync),
    pub(super) only_lists: bool,
    pub(super) seed: Option<u32>,
    /// What to tell where nothing is selected.
    pub(super) advice: String,
}

/// What came of a session.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) listed: Vec<TestcaseId>,
    /// Testcases that were listed and have no result yet; below zero: results too many.
    open: BTreeMap<TestcaseId, i32>,
    deselected: usize,
    /// Modules of which nobody knows the testcases.
    unlisted: usize,
    failed_builds: Vec<Code>,
    has_trouble: bool,
}

impl Tally {
    fn take(&mut self, event: &Event) {
        match event {
            Event::TestcaseFinished(result) => {
                self.counts.add(result.outcome);
                if result.id.is_whole_module() {
                    self.unlisted += 1;
                } else {
                    *self.open.entry(result.id.clone()).or_default() -= 1;
                }
            }
            Event::ModuleListed {
                selected,
                deselected,
                ..
            } => {
                self.listed
                    .extend(selected.iter().map(|testcase| testcase.id.clone()));
                for testcase in selected {
                    *self.open.entry(testcase.id.clone()).or_default() += 1;
                }
                self.deselected += deselected;
            }
            Event::BuildFinished {
                outcome: BuildOutcome::Failed(problem),
                ..
            } => {
                self.failed_builds.push(problem.code);
            }
            Event::Notice(problem) if problem.severity == Severity::Error => {
                self.has_trouble |= problem.code.exit_code() == ExitCode::Environment;
            }
            _ => {}
        }
    }

    /// Says whether every testcase that a filter could mean was listed.
    pub(super) fn knows_all(&self) -> bool {
        self.unlisted == 0 && self.failed_builds.is_empty()
    }

    /// Returns the testcases that do not have exactly one result: a mistake of ours, never a pass.
    fn strays(&self, work: &Work<'_>) -> Vec<&TestcaseId> {
        let is_stray = |count: &i32| *count != 0 && !work.only_lists;
        self.open
            .iter()
            .filter(|(_, count)| is_stray(count))
            .map(|(id, _)| id)
            .collect()
    }

    /// Says what the shell shall see: a stop first, then what made results impossible, then results.
    fn exit_code(&self, stop: Option<StopReason>, work: &Work<'_>) -> ExitCode {
        if let Some(StopReason::Signal(number)) = stop {
            return ExitCode::Signal(number);
        }
        let codes: BTreeSet<ExitCode> = self
            .failed_builds
            .iter()
            .map(|code| code.exit_code())
            .collect();
        if codes.contains(&ExitCode::BuildFailed) {
            ExitCode::BuildFailed
        } else if !codes.is_empty() || self.has_trouble {
            ExitCode::Environment
        } else if self.counts.bad() > 0 || stop.is_some() || !self.strays(work).is_empty() {
            ExitCode::TestFailed
        } else if !work.modules.is_empty() && self.listed.is_empty() {
            ExitCode::NothingSelected
        } else {
            ExitCode::Success
        }
    }
}

/// Runs a session and feeds its reports; `before_end` may add notices when all is known.
///
/// # Errors
/// The build directory cannot be written, or a report file cannot: the session itself never is an
/// error, whatever its verdict.
pub(super) fn run(
    workspace: &Workspace,
    toolbox: &Toolbox,
    work: &Work<'_>,
    reports: &mut dyn Report,
    before_end: &dyn Fn(&Tally) -> Vec<Diagnostic>,
) -> Result<(ExitCode, Tally)> {
    let seed = work.seed.map_or_else(|| workspace.draw_seed(), Seed);
    let clock = workspace.clock.as_ref();
    let began = clock.now();
    let mut folder = SessionFolder::make(workspace.session_dir(), &SystemHost, began)?;
    let base_env = workspace.base_env()?;
    let tally = RefCell::new(Tally::default());
    let reports = RefCell::new(reports);
    let mut sink = |event: Event| {
        tally.borrow_mut().take(&event);
        reports.borrow_mut().on_event(&event);
    };
    sink(Event::SessionStarted(SessionStarted {
        session_id: workspace.session_id.clone(),
        started_at: workspace.started_at.to_string(),
        config: workspace.config.path.clone(),
        jobs: workspace.jobs,
        seed,
        builds: work.builds.len(),
    }));
    session::execute(
        session::SessionSpec {
            host: &workspace.host,
            clock,
            interrupt: &workspace.interrupt,
            ensure: &|build, on_wait| workspace.ensure_built(toolbox, build, on_wait),
            tools: &toolbox.tools,
            builds: work.builds,
            modules: work.modules,
            selects: work.selects,
            session_id: workspace.session_id.clone(),
            session_dir: workspace.session_dir(),
            history_dir: workspace.config.build_dir.join("history"),
            seed,
            jobs: workspace.jobs,
            pool: &workspace.pool,
            limit: workspace.config.session_timeout,
            base_env,
            only_lists: work.only_lists,
        },
        &mut sink,
        &mut || {
            folder.live(clock.now());
            reports.borrow_mut().tick(clock.now());
        },
    );
    let notices = before_end(&tally.borrow());
    for notice in notices {
        sink(Event::Notice(Box::new(notice)));
    }
    let exit_code = tally.borrow().exit_code(workspace.interrupt.raised(), work);
    if exit_code == ExitCode::NothingSelected {
        sink(Event::Notice(Box::new(nothing_selected(&work.advice))));
    }
    let finished = SessionFinished {
        exit_code,
        counts: tally.borrow().counts,
        builds_failed: tally.borrow().failed_builds.len(),
        deselected: tally.borrow().deselected,
        duration: clock.now().saturating_duration_since(began),
    };
    sink(Event::SessionFinished(finished));
    let only_looked = work.only_lists || work.modules.is_empty();
    folder.tidy(!only_looked || exit_code != ExitCode::Success, &SystemHost);
    reports.into_inner().finish()?;
    Ok((exit_code, tally.into_inner()))
}

/// Tells that the filters leave nothing.
pub(super) fn nothing_selected(advice: &str) -> Diagnostic {
    Diagnostic::error(Code::NothingSelected, "no testcase is selected").help(advice)
}
