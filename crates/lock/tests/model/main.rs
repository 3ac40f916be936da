//! Every state that the lock's protocol can reach, for a few processes and epochs.
//!
//! The steps are those of `src/once/call_once.rs` and have its names: *poll*, *claim*, *fence*,
//! *second look*, *build*, *publish*. The adversary is stronger than any file system:
//! - time says nothing: any holder may be taken for dead at any moment;
//! - a listing may miss anything, and a claim or commit may look absent at any look, so `poll` may
//!   go for any epoch up to the next one, and only a put is reliable;
//! - any process may die before any step, or give its epoch back;
//! - any published result may be retired at any moment, by `clean` or because it is damaged.
//!
//! Lost replies need no step of their own: a put that reads its register back has one outcome. Why
//! that holds is shown by the mutation [`Mutation::ExistingIsWon`]. Each deliberate bug in
//! [`Mutation`] must be caught, so that the checker is known to work.

mod pytest_lock;
mod tickets;

use stateright::Checker;
use stateright::Model;
use stateright::Property;
use std::time::Duration;

/// Most processes of a model.
const PROCESSES_MAX: usize = 4;
/// Most epochs of a model.
const EPOCHS_MAX: usize = 4;

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    /// The protocol as it is.
    None,
    /// The winner of a claim closes no earlier epoch.
    NoFence,
    /// It closes only the one before.
    FencePredecessorOnly,
    /// A commit replaces the register's text, as a rename would.
    OverwrittenCommit,
    /// `EEXIST` counts as success without looking whose text is there.
    ExistingIsWon,
    /// The winner builds without looking again.
    NoSecondLook,
    /// A claim that looks absent makes a valid result look foreign.
    AbsentClaimBelieved,
    /// A replaced holder publishes in an epoch of its own choice: the newest.
    PublishedInNewest,
}

/// How an epoch ended; a number is the content of a published result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Commit {
    Open,
    Done(u8),
    Failed,
    Closed,
}

/// Where a process is; epochs count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Process {
    Poll,
    Claim { epoch: u8 },
    Fence { epoch: u8, next: u8 },
    SecondLook { epoch: u8, next: u8 },
    Build { epoch: u8 },
    Publish { epoch: u8, is_good: bool },
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    claims: [u8; EPOCHS_MAX],
    commits: [Commit; EPOCHS_MAX],
    retired: [bool; EPOCHS_MAX],
    processes: [Process; PROCESSES_MAX],
    /// For each content, which epochs were returned to callers.
    returned: [[bool; EPOCHS_MAX]; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Find { process: usize, epoch: u8 },
    GoFor { process: usize, epoch: u8 },
    Claim { process: usize },
    Fence { process: usize },
    Look { process: usize },
    Overlook { process: usize },
    Build { process: usize, is_good: bool },
    Publish { process: usize },
    Release { process: usize },
    Die { process: usize },
    Retire { epoch: u8 },
}

struct Ledger {
    processes: usize,
    epochs: u8,
    mutation: Mutation,
}

fn at(epoch: u8) -> usize {
    usize::from(epoch) - 1
}

/// Returns the content a process wants: the last one has different discovered inputs from the rest.
fn content(model: &Ledger, process: usize) -> u8 {
    u8::from(process + 1 == model.processes)
}

impl State {
    fn top(&self) -> u8 {
        (1..)
            .zip(self.claims)
            .filter(|(_, claim)| *claim != 0)
            .map(|(epoch, _)| epoch)
            .max()
            .unwrap_or(0)
    }

    /// Fills a commit unless it is filled; the register decides.
    fn put_commit(&mut self, epoch: u8, commit: Commit) -> bool {
        let is_open = self.commits[at(epoch)] == Commit::Open;
        if is_open {
            self.commits[at(epoch)] = commit;
        }
        is_open
    }

    fn is_valid(&self, epoch: u8, content: u8) -> bool {
        self.commits[at(epoch)] == Commit::Done(content) && !self.retired[at(epoch)]
    }

    fn give(&mut self, process: usize, content: u8, epoch: u8) {
        self.returned[usize::from(content)][at(epoch)] = true;
        self.processes[process] = Process::Ended;
    }
}

impl Ledger {
    fn fence(&self, state: &mut State, process: usize, epoch: u8, next: u8) {
        let skips = match self.mutation {
            Mutation::NoFence => true,
            Mutation::FencePredecessorOnly => next + 1 < epoch,
            _ => false,
        };
        if next >= epoch {
            let next = epoch - 1;
            state.processes[process] = if self.mutation == Mutation::NoSecondLook {
                Process::Build { epoch }
            } else {
                Process::SecondLook { epoch, next }
            };
            return;
        }
        if !skips {
            state.put_commit(next, Commit::Closed);
        }
        state.processes[process] = Process::Fence {
            epoch,
            next: next + 1,
        };
    }

    fn look(&self, state: &mut State, process: usize, epoch: u8, next: u8) {
        let content = content(self, process);
        if next == 0 {
            state.processes[process] = Process::Build { epoch };
        } else if state.is_valid(next, content) {
            state.put_commit(epoch, Commit::Closed);
            state.give(process, content, next);
        } else {
            state.processes[process] = Process::SecondLook {
                epoch,
                next: next - 1,
            };
        }
    }

    fn publish(&self, state: &mut State, process: usize, epoch: u8, is_good: bool) {
        let content = content(self, process);
        let commit = if is_good {
            Commit::Done(content)
        } else {
            Commit::Failed
        };
        let mut epoch = epoch;
        if self.mutation == Mutation::PublishedInNewest && state.commits[at(epoch)] != Commit::Open
        {
            epoch = state.top();
        }
        let mut is_won = state.put_commit(epoch, commit);
        if self.mutation == Mutation::OverwrittenCommit {
            state.commits[at(epoch)] = commit;
            is_won = true;
        }
        if !is_won {
            state.processes[process] = Process::Poll;
        } else if is_good {
            state.give(process, content, epoch);
        } else {
            state.processes[process] = Process::Ended;
        }
    }

    fn actions_of(&self, state: &State, process: usize, actions: &mut Vec<Action>) {
        let content = content(self, process);
        match state.processes[process] {
            Process::Poll => {
                for epoch in 1..=state.top() {
                    if state.commits[at(epoch)] == Commit::Done(content) {
                        actions.push(Action::Find { process, epoch });
                    }
                }
                for epoch in 1..=(state.top() + 1).min(self.epochs) {
                    actions.push(Action::GoFor { process, epoch });
                }
            }
            Process::Claim { .. } => actions.push(Action::Claim { process }),
            Process::Fence { .. } => actions.push(Action::Fence { process }),
            Process::SecondLook { .. } => {
                actions.push(Action::Look { process });
                if self.mutation == Mutation::AbsentClaimBelieved {
                    actions.push(Action::Overlook { process });
                }
            }
            Process::Build { .. } => {
                actions.push(Action::Build {
                    process,
                    is_good: true,
                });
                actions.push(Action::Build {
                    process,
                    is_good: false,
                });
            }
            Process::Publish { .. } => actions.push(Action::Publish { process }),
            Process::Ended => return,
        }
        if epoch_of(state.processes[process]).is_some() {
            actions.push(Action::Release { process });
        }
        actions.push(Action::Die { process });
    }

    /// I1: at most one valid result for each content.
    fn one_valid_result(&self, state: &State) -> bool {
        (0..2).all(|content| {
            (1..=self.epochs)
                .filter(|epoch| state.is_valid(*epoch, content))
                .count()
                <= 1
        })
    }

    /// I3: all callers of one content get the same result, unless results were retired.
    fn same_answer(state: &State) -> bool {
        let is_retired = state.retired.contains(&true);
        is_retired
            || state
                .returned
                .iter()
                .all(|epochs| epochs.iter().filter(|it| **it).count() <= 1)
    }

    /// I5: whoever builds has closed everything before, and nothing of its content is valid there.
    fn closed_before_build(&self, state: &State) -> bool {
        (0..self.processes).all(|process| {
            let Process::Build { epoch } = state.processes[process] else {
                return true;
            };
            let content = content(self, process);
            (1..epoch).all(|earlier| {
                state.commits[at(earlier)] != Commit::Open && !state.is_valid(earlier, content)
            })
        })
    }

    /// I9: whoever builds holds the claim of its epoch.
    fn builds_on_own_claim(&self, state: &State) -> bool {
        (0..self.processes).all(|process| match state.processes[process] {
            Process::Build { epoch } => usize::from(state.claims[at(epoch)]) == process + 1,
            _ => true,
        })
    }
}

fn epoch_of(process: Process) -> Option<u8> {
    match process {
        Process::Fence { epoch, .. }
        | Process::SecondLook { epoch, .. }
        | Process::Build { epoch }
        | Process::Publish { epoch, .. } => Some(epoch),
        _ => None,
    }
}

impl Model for Ledger {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut processes = [Process::Ended; PROCESSES_MAX];
        processes[..self.processes].fill(Process::Poll);
        vec![State {
            claims: [0; EPOCHS_MAX],
            commits: [Commit::Open; EPOCHS_MAX],
            retired: [false; EPOCHS_MAX],
            processes,
            returned: [[false; EPOCHS_MAX]; 2],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for process in 0..self.processes {
            self.actions_of(state, process, actions);
        }
        for epoch in 1..=self.epochs {
            let is_done = matches!(state.commits[at(epoch)], Commit::Done(_));
            if is_done && !state.retired[at(epoch)] {
                actions.push(Action::Retire { epoch });
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Find { process, epoch } => state.give(process, content(self, process), epoch),
            Action::GoFor { process, epoch } => state.processes[process] = Process::Claim { epoch },
            Action::Claim { process } => {
                let Process::Claim { epoch } = last.processes[process] else {
                    return None;
                };
                let is_won = last.claims[at(epoch)] == 0;
                if is_won {
                    state.claims[at(epoch)] = u8::try_from(process + 1).ok()?;
                }
                let leads = is_won || self.mutation == Mutation::ExistingIsWon;
                state.processes[process] = if leads {
                    Process::Fence { epoch, next: 1 }
                } else {
                    Process::Poll
                };
            }
            Action::Fence { process } => {
                let Process::Fence { epoch, next } = last.processes[process] else {
                    return None;
                };
                self.fence(&mut state, process, epoch, next);
            }
            Action::Look { process } => {
                let Process::SecondLook { epoch, next } = last.processes[process] else {
                    return None;
                };
                self.look(&mut state, process, epoch, next);
            }
            Action::Overlook { process } => {
                let Process::SecondLook { epoch, next } = last.processes[process] else {
                    return None;
                };
                let next = next.checked_sub(1)?;
                state.processes[process] = Process::SecondLook { epoch, next };
            }
            Action::Build { process, is_good } => {
                let epoch = epoch_of(last.processes[process])?;
                state.processes[process] = Process::Publish { epoch, is_good };
            }
            Action::Publish { process } => {
                let Process::Publish { epoch, is_good } = last.processes[process] else {
                    return None;
                };
                self.publish(&mut state, process, epoch, is_good);
            }
            Action::Release { process } => {
                state.put_commit(epoch_of(last.processes[process])?, Commit::Closed);
                state.processes[process] = Process::Ended;
            }
            Action::Die { process } => state.processes[process] = Process::Ended,
            Action::Retire { epoch } => state.retired[at(epoch)] = true,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1 one valid result", |model: &Self, state: &State| {
                model.one_valid_result(state)
            }),
            Property::always("I3 same answer", |_, state: &State| {
                Self::same_answer(state)
            }),
            Property::always("I5 closed before build", |model: &Self, state: &State| {
                model.closed_before_build(state)
            }),
            Property::always("I9 own claim", |model: &Self, state: &State| {
                model.builds_on_own_claim(state)
            }),
            Property::sometimes(
                "both contents are published",
                |model: &Self, state: &State| {
                    [0, 1].iter().all(|content| {
                        (1..=model.epochs).any(|epoch| state.is_valid(epoch, *content))
                    })
                },
            ),
            Property::sometimes(
                "a result of the last epoch is returned",
                |model: &Self, state: &State| {
                    state.returned.iter().any(|epochs| epochs[at(model.epochs)])
                },
            ),
        ]
    }
}

fn explore(processes: usize, epochs: u8, mutation: Mutation) -> (usize, Vec<&'static str>) {
    let checker = Ledger {
        processes,
        epochs,
        mutation,
    }
    .checker()
    .threads(2)
    .timeout(Duration::from_secs(3000))
    .spawn_bfs()
    .join();
    let mut broken: Vec<&str> = Vec::new();
    for (name, _path) in checker.discoveries() {
        if name.starts_with('I') {
            broken.push(name);
        }
    }
    let is_reachable = [
        "both contents are published",
        "a result of the last epoch is returned",
    ]
    .iter()
    .all(|name| checker.discovery(name).is_some());
    assert!(
        !broken.is_empty() || is_reachable,
        "the model cannot do what it is about"
    );
    assert!(
        !broken.is_empty() || checker.is_done(),
        "not every state was seen"
    );
    (checker.unique_state_count(), broken)
}

#[test]
#[expect(clippy::print_stderr, reason = "reports how much was seen")]
fn no_invariant_breaks_in_any_state_of_three_processes_and_three_epochs() {
    let (states, broken) = explore(3, 3, Mutation::None);
    eprintln!("{states} states");
    assert_eq!(broken, Vec::<&str>::new());
    assert!(
        states > 10_000,
        "only {states} states: the adversary is asleep"
    );
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
#[expect(clippy::print_stderr, reason = "reports how much was seen")]
fn no_invariant_breaks_in_any_state_of_four_processes_and_four_epochs() {
    let (states, broken) = explore(4, 4, Mutation::None);
    eprintln!("{states} states");
    assert_eq!(broken, Vec::<&str>::new());
}

#[test]
fn every_deliberate_bug_is_caught() {
    for mutation in [
        Mutation::NoFence,
        Mutation::FencePredecessorOnly,
        Mutation::OverwrittenCommit,
        Mutation::ExistingIsWon,
        Mutation::NoSecondLook,
        Mutation::AbsentClaimBelieved,
        Mutation::PublishedInNewest,
    ] {
        let (_, broken) = explore(3, 3, mutation);
        assert!(!broken.is_empty(), "{mutation:?} goes unnoticed");
    }
}
