//! Every state that pytest-cocotb's lock can reach: two leaders of cocorun, one after the other,
//! together with two processes of the unmodified package.
//!
//! The steps are those of `src/pytest_cocotb/lock.rs`: *make*, *look*, *guard*, *second look*,
//! *settle*, *take*, *write*, *sweep*, and for leaving *read*, *remove*, *unguard*, *rmdir*. The
//! disk has one directory by name; every step is one call. The adversary:
//! - any process may die before any step; what it did stays;
//! - a leader may be replaced at any moment and continue for as long as it likes (a zombie); only a
//!   leader that is not replaced can publish, so only it counts as inside;
//! - a process of pytest-cocotb may take any leader for dead at any moment, as it does with other
//!   hosts after two hours and with containers that share a host name;
//! - cleaning up after a dead leader takes its last steps at any later moment.
//!
//! A leaver's look and the removal that follows are one step, as are the removals of guard and
//! directory: no file system has a call for either. [`Mutation::WindowOfLeaving`] shows what that
//! hides: a process frozen between the two can remove the lock of a Python process that came
//! meanwhile.
//!
//! Assumed, as in the code's limits of 30 s and 2 s: a process of pytest-cocotb that is alive
//! writes its name soon after its `mkdir`. Its own breakers race one another; once one has removed
//! the lock of another live one (defects P1 and P2 of the package), the model ends there.

use stateright::Checker;
use stateright::Model;
use stateright::Property;
use std::time::Duration;

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    /// The lock as it is.
    None,
    /// No guard pins the directory.
    NoGuard,
    /// What was seen before the guard was put is believed.
    NoSecondLook,
    /// A directory of unknown origin is taken without waiting for a late writer.
    NoSettle,
    /// A leaver removes any name in it.
    LeavesBlindly,
    /// A leaver removes the directory even if its guard is gone.
    RemovesUnguarded,
    /// A dead leader's lock is cleared although it may never have held it.
    ClearsBlindly,
    /// A leader sweeps its successor's guard.
    SweepsSuccessor,
    /// Others act between a leaver's last look at a name, or its removal of the guard, and its
    /// next call.
    WindowOfLeaving,
}

/// The holder in `holder.info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Leader(usize),
    Python(usize),
}

/// The lock's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Dir {
    /// Who made it; a leader's is marked by the sticky bit.
    maker: Who,
    info: Option<Who>,
    guards: [bool; 2],
}

/// Where a leader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Leader {
    Absent,
    Make,
    Look { is_fresh: bool },
    Guard { seen: Option<Who> },
    SecondLook { seen: Option<Who> },
    Settle,
    Take,
    Write { sweeps: bool },
    Sweep,
    HeldTicket,
    Beat,
    LeaveRead { has_held: bool },
    LeaveRemove,
    Unguard { is_ours: bool },
    Rmdir,
    Ended,
}

/// Where a process of pytest-cocotb is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Python {
    Idle,
    Write,
    Inside,
    ReleaseInfo,
    ReleaseDir,
    BreakInfo,
    BreakDir,
    /// Left, or ended by an error of its own.
    Ended,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    dir: Option<Dir>,
    leaders: [Leader; 2],
    /// Whether the first leader was replaced.
    is_replaced: bool,
    pythons: [Python; 2],
    /// A breaker of pytest-cocotb removed the lock of another live process.
    has_raced: bool,
    /// cocorun removed the lock of a live Python process.
    has_harmed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Lead { leader: usize },
    Step { leader: usize },
    Beat { leader: usize },
    Finish { leader: usize },
    Abandon { leader: usize },
    Die { leader: usize },
    ClearFor { leader: usize },
    Python { process: usize },
    Break { process: usize },
    Kill { process: usize },
}

struct PytestLock {
    mutation: Mutation,
}

impl State {
    fn is_alive(&self, who: Who) -> bool {
        match who {
            Who::Leader(_) => true,
            Who::Python(process) => !matches!(self.pythons[process], Python::Ended | Python::Dead),
        }
    }

    /// Whether a live process has made this directory and not yet written its name.
    fn has_late_writer(&self, dir: &Dir) -> bool {
        matches!(dir.maker, Who::Python(process) if self.pythons[process] == Python::Write)
    }

    /// Whether a directory has been without a name for longer than a live process takes from one
    /// step to its next.
    fn has_settled(&self, dir: &Dir) -> bool {
        let steps = [Python::ReleaseDir, Python::BreakDir];
        !self.has_late_writer(dir) && !self.pythons.iter().any(|it| steps.contains(it))
    }

    /// Notes that `by` removes the lock, if it belongs to a live Python process.
    fn removes(&mut self, by: Who, owner: Option<Who>) {
        let Some(Who::Python(process)) = owner else {
            return;
        };
        if by == Who::Python(process) || !self.is_alive(Who::Python(process)) {
            return;
        }
        match by {
            Who::Python(_) => self.has_raced = true,
            Who::Leader(_) => self.has_harmed = true,
        }
    }

    fn remove_info(&mut self, by: Who) {
        let owner = self.dir.and_then(|dir| dir.info);
        self.removes(by, owner);
        if let Some(dir) = &mut self.dir {
            dir.info = None;
        }
    }

    /// Removes the directory if it is empty.
    fn rmdir(&mut self, by: Who) {
        if let Some(dir) = self.dir
            && dir.info.is_none()
            && dir.guards == [false; 2]
        {
            let owner = self.has_late_writer(&dir).then_some(dir.maker);
            self.removes(by, owner);
            self.dir = None;
        }
    }

    fn is_inside(&self, leader: usize) -> bool {
        let can_publish = leader == 1 || !self.is_replaced;
        can_publish && matches!(self.leaders[leader], Leader::HeldTicket | Leader::Beat)
    }
}

impl PytestLock {
    /// The code's `occupied`: whether somebody else's directory must be waited for.
    fn is_occupied(state: &State, dir: &Dir, guards_count: bool) -> bool {
        let is_ours_by_birth = matches!(dir.maker, Who::Leader(_));
        if guards_count && dir.guards != [false; 2] {
            return false;
        }
        match dir.info {
            None if is_ours_by_birth => false,
            None => !state.has_settled(dir),
            Some(Who::Leader(_)) => false,
            Some(python) => state.is_alive(python),
        }
    }

    /// One step of entering.
    fn enter(&self, state: &mut State, leader: usize) -> Leader {
        match state.leaders[leader] {
            Leader::Make => {
                let is_fresh = state.dir.is_none();
                state.dir.get_or_insert(Dir {
                    maker: Who::Leader(leader),
                    info: None,
                    guards: [false; 2],
                });
                Leader::Look { is_fresh }
            }
            Leader::Look { is_fresh } => match state.dir {
                Some(dir) if is_fresh || !Self::is_occupied(state, &dir, true) => {
                    Leader::Guard { seen: dir.info }
                }
                _ => Leader::Make,
            },
            Leader::Guard { seen } => match &mut state.dir {
                Some(dir) => {
                    dir.guards[leader] = self.mutation != Mutation::NoGuard;
                    Leader::SecondLook { seen }
                }
                None => Leader::Make,
            },
            Leader::SecondLook { seen } => match state.dir {
                None => Leader::Make,
                Some(_) if self.mutation == Mutation::NoSecondLook => {
                    Leader::Write { sweeps: true }
                }
                Some(dir) => {
                    let is_ours_by_birth = matches!(dir.maker, Who::Leader(_));
                    let is_known = seen.is_some() && dir.info == seen;
                    if is_ours_by_birth || is_known || self.mutation == Mutation::NoSettle {
                        Leader::Take
                    } else {
                        Leader::Settle
                    }
                }
            },
            Leader::Settle => match state.dir {
                // It lasts longer than a live writer takes.
                Some(dir) if state.has_late_writer(&dir) => Leader::Settle,
                _ => Leader::Take,
            },
            Leader::Take => self.take(state, leader),
            Leader::Write { sweeps } => match &mut state.dir {
                None => Leader::Ended,
                Some(dir) => {
                    dir.info = Some(Who::Leader(leader));
                    if sweeps {
                        Leader::Sweep
                    } else {
                        Leader::HeldTicket
                    }
                }
            },
            Leader::Sweep => {
                if let Some(dir) = &mut state.dir {
                    dir.guards[1 - leader] = false;
                }
                Leader::HeldTicket
            }
            other => other,
        }
    }

    /// Takes the directory with our guard in it, or leaves it to a live holder.
    fn take(&self, state: &mut State, leader: usize) -> Leader {
        let Some(seen) = state.dir else {
            return Leader::Make;
        };
        if seen.info.is_some() && Self::is_occupied(state, &seen, false) {
            if let Some(dir) = &mut state.dir {
                dir.guards[leader] = false;
            }
            return Leader::Make;
        }
        let sweeps_all = self.mutation == Mutation::SweepsSuccessor;
        let sweeps = seen.guards[1 - leader] && (leader == 1 || sweeps_all);
        Leader::Write { sweeps }
    }

    /// One step of leaving.
    fn leave(&self, state: &mut State, leader: usize) -> Leader {
        let me = Who::Leader(leader);
        match state.leaders[leader] {
            Leader::LeaveRead { has_held } => {
                let blindly = self.mutation == Mutation::LeavesBlindly;
                match state.dir {
                    Some(dir) if dir.info == Some(me) || blindly => {
                        if self.mutation == Mutation::WindowOfLeaving {
                            return Leader::LeaveRemove;
                        }
                        state.remove_info(me);
                        Leader::Unguard { is_ours: true }
                    }
                    Some(dir) => Leader::Unguard {
                        is_ours: has_held || matches!(dir.maker, Who::Leader(_)),
                    },
                    None => Leader::Ended,
                }
            }
            Leader::LeaveRemove => {
                state.remove_info(me);
                Leader::Unguard { is_ours: true }
            }
            Leader::Unguard { is_ours } => {
                let had_guard = match &mut state.dir {
                    Some(dir) => std::mem::take(&mut dir.guards[leader]),
                    None => false,
                };
                let had_guard = had_guard
                    || matches!(
                        self.mutation,
                        Mutation::RemovesUnguarded | Mutation::NoGuard
                    );
                if !had_guard || !(is_ours || self.mutation == Mutation::ClearsBlindly) {
                    return Leader::Ended;
                }
                if self.mutation == Mutation::WindowOfLeaving {
                    return Leader::Rmdir;
                }
                state.rmdir(me);
                Leader::Ended
            }
            Leader::Rmdir => {
                state.rmdir(me);
                Leader::Ended
            }
            other => other,
        }
    }

    /// One step of `NFSLock.acquire` and `release`.
    fn python(state: &mut State, process: usize) -> Python {
        let me = Who::Python(process);
        match state.pythons[process] {
            Python::Idle => {
                if state.dir.is_some() {
                    return Python::Idle;
                }
                state.dir = Some(Dir {
                    maker: me,
                    info: None,
                    guards: [false; 2],
                });
                Python::Write
            }
            // `open(O_CREAT|O_TRUNC)` by name, whatever directory has that name now.
            Python::Write => match &mut state.dir {
                Some(dir) => {
                    dir.info = Some(me);
                    Python::Inside
                }
                None => Python::Ended,
            },
            Python::Inside => Python::ReleaseInfo,
            Python::ReleaseInfo => {
                state.remove_info(me);
                Python::ReleaseDir
            }
            Python::BreakInfo => {
                state.remove_info(me);
                Python::BreakDir
            }
            Python::ReleaseDir => {
                state.rmdir(me);
                Python::Ended
            }
            Python::BreakDir => {
                state.rmdir(me);
                Python::Idle
            }
            other => other,
        }
    }
}

impl Model for PytestLock {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            dir: None,
            leaders: [Leader::Make, Leader::Absent],
            is_replaced: false,
            pythons: [Python::Idle; 2],
            has_raced: false,
            has_harmed: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.has_raced {
            return;
        }
        if state.leaders[1] == Leader::Absent {
            actions.push(Action::Lead { leader: 1 });
        }
        for (leader, at) in state.leaders.iter().enumerate() {
            match at {
                Leader::Absent => continue,
                Leader::Ended => {
                    // Its epoch is closed once there is a second one.
                    if leader == 0 && state.is_replaced {
                        actions.push(Action::ClearFor { leader });
                    }
                    continue;
                }
                Leader::HeldTicket => {
                    actions.push(Action::Beat { leader });
                    actions.push(Action::Finish { leader });
                }
                _ => actions.push(Action::Step { leader }),
            }
            if matches!(at, Leader::Make | Leader::Settle) {
                actions.push(Action::Abandon { leader });
            }
            actions.push(Action::Die { leader });
        }
        for (process, at) in state.pythons.iter().enumerate() {
            if matches!(at, Python::Ended | Python::Dead) {
                continue;
            }
            actions.push(Action::Python { process });
            actions.push(Action::Kill { process });
            let holder = state.dir.and_then(|dir| dir.info);
            let seems_dead = match holder {
                Some(Who::Python(other)) => state.pythons[other] == Python::Dead,
                Some(Who::Leader(_)) => true,
                None => false,
            };
            if *at == Python::Idle && seems_dead {
                actions.push(Action::Break { process });
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Lead { leader } => {
                state.is_replaced = true;
                state.leaders[leader] = Leader::Make;
            }
            Action::Step { leader } => {
                let at = last.leaders[leader];
                state.leaders[leader] = match at {
                    Leader::Beat => {
                        // It saw no name in its own directory.
                        if let Some(dir) = &mut state.dir {
                            dir.info = Some(Who::Leader(leader));
                        }
                        Leader::HeldTicket
                    }
                    Leader::LeaveRead { .. }
                    | Leader::LeaveRemove
                    | Leader::Unguard { .. }
                    | Leader::Rmdir => self.leave(&mut state, leader),
                    _ => self.enter(&mut state, leader),
                };
            }
            Action::Beat { leader } => {
                let dir = last.dir?;
                let has_guard = dir.guards[leader] || self.mutation == Mutation::NoGuard;
                if !has_guard || dir.info.is_some() {
                    return None;
                }
                state.leaders[leader] = Leader::Beat;
            }
            Action::Finish { leader } => {
                state.leaders[leader] = Leader::LeaveRead { has_held: true };
            }
            Action::ClearFor { leader } => {
                state.leaders[leader] = Leader::LeaveRead { has_held: false };
            }
            Action::Abandon { leader } => {
                let is_ours = last
                    .dir
                    .is_some_and(|dir| matches!(dir.maker, Who::Leader(_)));
                state.leaders[leader] = Leader::Unguard { is_ours };
            }
            Action::Die { leader } => state.leaders[leader] = Leader::Ended,
            Action::Python { process } => {
                state.pythons[process] = Self::python(&mut state, process);
            }
            Action::Break { process } => state.pythons[process] = Python::BreakInfo,
            Action::Kill { process } => state.pythons[process] = Python::Dead,
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I10 never with Python", move |_, state: &State| {
                let leads = state.is_inside(0) || state.is_inside(1);
                state.has_raced || !leads || !state.pythons.contains(&Python::Inside)
            }),
            Property::always(
                "I8 nothing of a live Python process removed",
                |_, state: &State| !state.has_harmed,
            ),
            Property::sometimes(
                "the second leader takes over in place",
                |_, state: &State| state.is_inside(1) && state.leaders[0] != Leader::Ended,
            ),
            Property::sometimes("Python enters after a leader left", |_, state: &State| {
                state.leaders == [Leader::Ended; 2]
                    && state.pythons.contains(&Python::Inside)
                    && state.is_replaced
            }),
            Property::sometimes("a dead Python is replaced", |_, state: &State| {
                state.pythons == [Python::Dead; 2] && state.is_inside(0)
            }),
            Property::sometimes("Python races itself", |_, state: &State| {
                state.has_raced && state.pythons.contains(&Python::Inside)
            }),
        ]
    }
}

fn explore(mutation: Mutation) -> (usize, Vec<(&'static str, String)>) {
    let checker = PytestLock { mutation }
        .checker()
        .threads(2)
        .timeout(Duration::from_secs(600))
        .spawn_bfs()
        .join();
    let mut broken = Vec::new();
    for (name, path) in checker.discoveries() {
        if name.starts_with('I') {
            let steps: Vec<String> = path
                .into_actions()
                .iter()
                .map(|it| format!("{it:?}"))
                .collect();
            broken.push((name, steps.join("\n  ")));
        }
    }
    let is_reachable = [
        "the second leader takes over in place",
        "Python enters after a leader left",
        "a dead Python is replaced",
        "Python races itself",
    ]
    .iter()
    .all(|name| checker.discovery(name).is_some());
    assert!(
        !broken.is_empty() || (is_reachable && checker.is_done()),
        "the model cannot do what it is about"
    );
    (checker.unique_state_count(), broken)
}

#[test]
#[expect(clippy::print_stderr, reason = "reports how much was seen")]
fn no_leader_is_in_the_pytest_lock_together_with_a_live_python() {
    let (states, broken) = explore(Mutation::None);
    eprintln!("{states} states");
    for (name, steps) in &broken {
        eprintln!("{name}:\n  {steps}");
    }
    assert!(broken.is_empty());
    assert!(states > 10_000, "only {states} states");
}

#[test]
fn every_deliberate_bug_of_the_pytest_lock_is_caught() {
    for mutation in [
        Mutation::NoGuard,
        Mutation::NoSecondLook,
        Mutation::NoSettle,
        Mutation::LeavesBlindly,
        Mutation::RemovesUnguarded,
        Mutation::ClearsBlindly,
        Mutation::SweepsSuccessor,
        Mutation::WindowOfLeaving,
    ] {
        let (_, broken) = explore(mutation);
        assert!(!broken.is_empty(), "{mutation:?} goes unnoticed");
    }
}
