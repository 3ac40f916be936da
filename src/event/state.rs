//! What the events of a session add up to: the one place that counts.
//!
//! Invariant: the state is a function of the events alone. It is folded once, next to the stream;
//! the exit code and all reports read it, so they cannot disagree.
//!
//! A later attempt of a testcase replaces the earlier one. Testcases that passed at the first
//! attempt leave nothing behind but a number, so memory grows with what is still open and with what
//! went wrong, never with what passed.

use crate::diagnostic::Code;
use crate::diagnostic::Severity;
use crate::event::kinds::BuildOutcome;
use crate::event::kinds::Event;
use crate::event::kinds::SessionCommand;
use crate::event::kinds::SessionFinished;
use crate::event::kinds::SessionStarted;
use crate::model::build::BuildName;
use crate::model::build::SimulatorName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::Counts;
use crate::model::outcome::OrderDependence;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// How many builds ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildCounts {
    /// Compiled by this session.
    pub built: usize,
    /// Found up to date.
    pub up_to_date: usize,
    /// Compiled by another process while this session waited.
    pub built_elsewhere: usize,
    /// Failed.
    pub failed: usize,
    /// Not built, because the session ended first.
    pub not_built: usize,
}

impl BuildCounts {
    /// Returns how many builds were counted.
    pub fn total(self) -> usize {
        self.built + self.up_to_date + self.built_elsewhere + self.failed + self.not_built
    }
}

/// One attempt of a testcase, as the state remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which try it was, from 1.
    pub number: u32,
    /// Its outcome.
    pub outcome: Outcome,
    /// Whether a later attempt has replaced it.
    pub is_superseded: bool,
}

/// Something about a stream that cannot be right: a bug in cocorun, or a session that broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// The stream has no last event.
    BrokenOff,
    /// Planned testcases have no result.
    NoResult {
        /// How many.
        number: usize,
        /// One of them.
        first: TestcaseId,
    },
    /// Testcases that were not planned, or not so often, have a result.
    Unplanned {
        /// How many results.
        number: usize,
        /// One of the testcases.
        first: TestcaseId,
    },
    /// The last event counts other results than those that came.
    Counts {
        /// What the last event says.
        claimed: Counts,
        /// What came.
        counted: Counts,
    },
    /// The session claims success although something failed.
    HiddenFailure {
        /// How many testcases and builds failed.
        number: usize,
    },
}

/// The state of a session after the events so far.
#[derive(Debug, Default)]
pub struct SessionState {
    started: Option<SessionStarted>,
    counts: Counts,
    /// The part of `counts` that is modules whose testcases are not known.
    module_counts: Counts,
    builds: BuildCounts,
    listed: usize,
    deselected: usize,
    modules_listed: usize,
    has_tests: bool,
    /// What errors lead to that are not about one build or testcase.
    error_exits: BTreeSet<ExitCode>,
    stopping: Option<String>,
    finished: Option<SessionFinished>,
    simulators: BTreeMap<BuildName, SimulatorName>,
    failed_builds: BTreeMap<BuildName, Code>,
    tested_builds: BTreeSet<BuildName>,
    /// Planned testcases without a result. A name may be planned several times: cocotb allows it.
    open: BTreeMap<TestcaseId, usize>,
    /// How many these are in all.
    open_total: usize,
    /// Results for which there was no plan.
    unplanned: BTreeMap<TestcaseId, usize>,
    /// The attempts of testcases that did not plainly pass or skip at the first one.
    attempts: BTreeMap<TestcaseId, Vec<Attempt>>,
    /// Testcases that fail alone and pass after others.
    order_dependences: BTreeMap<TestcaseId, OrderDependence>,
}

impl SessionState {
    /// Takes the next event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::SessionStarted(session) => self.started = Some(session.clone()),
            Event::BuildStarted { build, simulator } => {
                self.simulators.insert(build.clone(), simulator.clone());
            }
            Event::BuildFinished { build, outcome, .. } => self.take_build(build, outcome),
            Event::ModuleListed {
                selected,
                deselected,
                ..
            } => self.take_listing(selected, *deselected),
            Event::TestcaseFinished(result) => self.take_result(result),
            Event::OrderDependence(found) => {
                let testcase = found.testcase.clone();
                self.order_dependences.insert(testcase, found.clone());
            }
            Event::Notice(problem) if problem.severity == Severity::Error => {
                self.error_exits.insert(problem.code.exit_code());
            }
            Event::Stopping { reason } => self.stopping = Some(reason.clone()),
            Event::SessionFinished(finished) => self.finished = Some(finished.clone()),
            Event::BuildWaiting { .. }
            | Event::StepStarted { .. }
            | Event::StepFinished { .. }
            | Event::RunStarted { .. }
            | Event::CheckpointReached(_)
            | Event::TestcaseStarted { .. }
            | Event::RunFinished { .. }
            | Event::Notice(_) => {}
        }
    }

    fn take_build(&mut self, build: &BuildName, outcome: &BuildOutcome) {
        match outcome {
            BuildOutcome::Built => self.builds.built += 1,
            BuildOutcome::UpToDate => self.builds.up_to_date += 1,
            BuildOutcome::BuiltElsewhere => self.builds.built_elsewhere += 1,
            BuildOutcome::Failed(problem) => {
                if problem.code.is_stop() {
                    self.builds.not_built += 1;
                } else {
                    self.builds.failed += 1;
                }
                self.failed_builds.insert(build.clone(), problem.code);
            }
        }
    }

    fn take_listing(&mut self, selected: &[Testcase], deselected: usize) {
        self.modules_listed += 1;
        self.listed += selected.len();
        self.deselected += deselected;
        if self.command() == SessionCommand::List {
            return;
        }
        self.has_tests = true;
        self.open_total += selected.len();
        for testcase in selected {
            *self.open.entry(testcase.id.clone()).or_default() += 1;
        }
    }

    fn take_result(&mut self, result: &TestcaseResult) {
        self.has_tests = true;
        let is_whole_module = result.id.is_whole_module();
        if !is_whole_module && !self.tested_builds.contains(&result.id.build) {
            self.tested_builds.insert(result.id.build.clone());
        }
        let is_planned = self.supersede(result) || self.close(&result.id);
        if !is_planned && result.attempt > 1 {
            // An earlier attempt that is not remembered passed.
            self.counts.remove(Outcome::Passed);
        } else if is_whole_module {
            self.module_counts.add(result.outcome);
        } else if !is_planned {
            *self.unplanned.entry(result.id.clone()).or_default() += 1;
        }
        self.counts.add(result.outcome);
        if result.attempt > 1 || !result.outcome.is_good() {
            let attempt = Attempt {
                number: result.attempt,
                outcome: result.outcome,
                is_superseded: false,
            };
            let attempts = self.attempts.entry(result.id.clone()).or_default();
            attempts.push(attempt);
        }
    }

    /// Takes a testcase off those without a result; says whether it was one.
    fn close(&mut self, id: &TestcaseId) -> bool {
        let Some(number) = self.open.get_mut(id) else {
            return false;
        };
        self.open_total -= 1;
        *number -= 1;
        if *number == 0 {
            self.open.remove(id);
        }
        true
    }

    /// Lets a later attempt take the place of a remembered one; says whether there is one.
    fn supersede(&mut self, later: &TestcaseResult) -> bool {
        let attempts = self.attempts.get_mut(&later.id);
        let mut attempts = attempts.into_iter().flatten();
        let former = attempts.find(|it| !it.is_superseded && it.number < later.attempt);
        if let Some(former) = former {
            former.is_superseded = true;
            self.counts.remove(former.outcome);
            return true;
        }
        false
    }

    /// Returns the first event, if it came.
    pub fn started(&self) -> Option<&SessionStarted> {
        self.started.as_ref()
    }

    /// Returns the last event, if it came.
    pub fn finished(&self) -> Option<&SessionFinished> {
        self.finished.as_ref()
    }

    /// Returns what the session was called for.
    pub fn command(&self) -> SessionCommand {
        self.started
            .as_ref()
            .map_or_else(SessionCommand::default, |session| session.command)
    }

    /// Returns the results by outcome; of each testcase, the last attempt counts, and a module whose
    /// testcases are not known counts as one.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the testcases by outcome; of each, the last attempt counts.
    pub fn testcase_counts(&self) -> Counts {
        self.counts.without(&self.module_counts)
    }

    /// Returns the modules that have a result as a whole, because their testcases are not known.
    pub fn module_counts(&self) -> Counts {
        self.module_counts
    }

    /// Returns the builds by outcome.
    pub fn builds(&self) -> BuildCounts {
        self.builds
    }

    /// Returns how many builds cannot be used, for whatever reason.
    pub fn builds_failed(&self) -> usize {
        self.failed_builds.len()
    }

    /// Returns on how many builds testcases have a result.
    pub fn tested_builds(&self) -> usize {
        self.tested_builds.len()
    }

    /// Returns the simulator of a build that was started.
    pub fn simulator(&self, build: &BuildName) -> Option<&SimulatorName> {
        self.simulators.get(build)
    }

    /// Returns how many selected testcases were listed.
    pub fn listed(&self) -> usize {
        self.listed
    }

    /// Returns how many testcases the filters left out.
    pub fn deselected(&self) -> usize {
        let finished = self.finished.as_ref();
        finished.map_or(self.deselected, |end| end.deselected)
    }

    /// Says whether any module was listed to be run, or any testcase has a result.
    pub fn has_tests(&self) -> bool {
        self.has_tests
    }

    /// Says whether every testcase that a filter could mean was listed.
    pub fn knows_all_testcases(&self) -> bool {
        self.module_counts.total() == 0 && self.failed_builds.is_empty() && !self.is_open()
    }

    /// Says whether modules are still to be listed, so that more testcases may become known.
    pub fn is_open(&self) -> bool {
        let modules = self.started.as_ref().map_or(0, |session| session.modules);
        self.modules_listed + self.module_counts.total() < modules
    }

    /// Returns how many testcases are known to belong to the session, with a result or without.
    pub fn planned(&self) -> usize {
        self.testcase_counts().total() + self.open_total
    }

    /// Returns why the session is being ended, once it is.
    pub fn stopping(&self) -> Option<&str> {
        self.stopping.as_deref()
    }

    /// Returns the attempts of a testcase in the order of their results; empty for one that passed
    /// or was skipped at its first attempt, or has no result.
    pub fn attempts(&self, id: &TestcaseId) -> &[Attempt] {
        self.attempts.get(id).map_or(&[], Vec::as_slice)
    }

    /// Returns what a testcase depends on that failed alone and passes after others.
    pub fn order_dependence(&self, id: &TestcaseId) -> Option<&OrderDependence> {
        self.order_dependences.get(id)
    }

    /// Returns the code of a bad result, `None` for a good one.
    pub fn code_of(&self, result: &TestcaseResult) -> Option<Code> {
        if result.outcome.is_good() {
            return None;
        }
        let of_build = || self.failed_builds.get(&result.id.build).copied();
        Some(match (result.cause, result.outcome) {
            (Some(Cause::Crashed), _) => Code::TestCrashed,
            (Some(Cause::ExitStatus), _) => Code::TestExitStatus,
            (Some(Cause::Import), _) => Code::TestImport,
            (Some(Cause::Startup), _) => Code::TestStartup,
            (Some(Cause::Build), _) => of_build().unwrap_or(Code::BuildCompile),
            (Some(Cause::Timeout), _) | (_, Outcome::TimedOut) => Code::TestTimeout,
            (Some(Cause::Session), _) | (_, Outcome::NotRun) => Code::SessionInterrupted,
            (Some(Cause::NoTestcases), _) => Code::TestNoTestcases,
            (Some(Cause::NoResult), _) | (_, Outcome::Errored) => Code::TestNoResult,
            (_, Outcome::Failed | Outcome::Passed | Outcome::Skipped) => Code::TestFailedCode,
        })
    }

    /// Returns the exit code that the session deserves: a signal first, then what made results
    /// impossible, then results.
    ///
    /// `signal` is the signal that ends the session, if one does.
    pub fn exit_code(&self, signal: Option<u8>) -> ExitCode {
        if let Some(number) = signal {
            return ExitCode::Signal(number);
        }
        // What a stop left unbuilt did not fail; the stop itself counts below.
        let codes: BTreeSet<ExitCode> = self
            .failed_builds
            .values()
            .filter(|code| !code.is_stop())
            .map(|code| code.exit_code())
            .collect();
        let modules = self.started.as_ref().map_or(0, |session| session.modules);
        if codes.contains(&ExitCode::BuildFailed) {
            ExitCode::BuildFailed
        } else if !codes.is_empty() || self.error_exits.contains(&ExitCode::Environment) {
            ExitCode::Environment
        } else if self.error_exits.contains(&ExitCode::Usage) {
            ExitCode::Usage
        } else if self.counts.bad() > 0
            || self.builds.not_built > 0
            || self.stopping.is_some()
            || self.has_strays()
        {
            ExitCode::TestFailed
        } else if self.error_exits.contains(&ExitCode::NothingSelected)
            || (modules > 0 && self.listed == 0)
        {
            ExitCode::NothingSelected
        } else {
            ExitCode::Success
        }
    }

    /// Says whether testcases have no result, or more than they should.
    fn has_strays(&self) -> bool {
        !self.open.is_empty() || !self.unplanned.is_empty()
    }

    /// Says whether the session proved what it was asked to prove.
    pub fn is_success(&self) -> bool {
        self.finished
            .as_ref()
            .is_some_and(|end| end.exit_code == ExitCode::Success)
            && self.stopping.is_none()
            && self.contradictions().is_empty()
    }

    /// Returns what cannot be right about a stream that has ended; empty unless cocorun has a bug or
    /// broke off.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let Some(end) = &self.finished else {
            return vec![Contradiction::BrokenOff];
        };
        let mut found = Vec::new();
        if let Some((first, _)) = self.open.first_key_value() {
            found.push(Contradiction::NoResult {
                number: self.open_total,
                first: first.clone(),
            });
        }
        if let Some((first, _)) = self.unplanned.first_key_value() {
            found.push(Contradiction::Unplanned {
                number: self.unplanned.values().sum(),
                first: first.clone(),
            });
        }
        if end.counts != self.counts {
            found.push(Contradiction::Counts {
                claimed: end.counts,
                counted: self.counts,
            });
        }
        let number = self.counts.bad() + self.builds.failed + self.builds.not_built;
        if end.exit_code == ExitCode::Success && number > 0 {
            found.push(Contradiction::HiddenFailure { number });
        }
        found
    }
}
