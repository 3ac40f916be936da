//! Every state that the lock in order of arrival can reach while old tickets are removed.
//!
//! The steps are those of `src/acquire/nfs_lock.rs` and `src/acquire/blocks.rs`: *draw*, *see the marker*,
//! *look ahead*, *grant*, *see the marker again*, *let go*, *sweep*. A process may stop between any
//! two of them for as long as it likes, so it may do its next step long after its ticket, or the
//! whole block of it, was removed. The adversary moreover
//! - shows a listing as old as it likes, so that any used number may be drawn again;
//! - takes anybody who waits for dead at any moment; a holder is taken for dead only if it is,
//!   since no lock with a lease can promise anything else;
//! - lets a process die before any step.
//!
//! X1: never two are inside. X2: each holder has a higher number than all before. Each bug of
//! [`Mutation`] must be caught.

use stateright::Checker;
use stateright::Model;
use stateright::Property;
use std::time::Duration;

const PROCESSES: usize = 3;
/// Most tickets of a model, in blocks of [`BLOCK`].
const TICKETS: usize = 4;
const BLOCK: usize = 1;
const BLOCKS: usize = TICKETS / BLOCK;

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    /// The protocol as it is.
    None,
    /// A grant counts without the marker having been seen after it.
    MarkerNotSeen,
    /// The marker is removed after the registers.
    MarkerRemovedLast,
    /// The marker of a block can be created again.
    MarkerMadeAgain,
    /// Blocks are swept by a process that only waits.
    SweptWhileWaiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Grant {
    Empty,
    Granted,
    Refused,
}

/// The registers of one ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ticket {
    /// Its owner, from 1; 0 if none.
    claim: u8,
    grant: Grant,
    is_ended: bool,
}

const EMPTY: Ticket = Ticket {
    claim: 0,
    grant: Grant::Empty,
    is_ended: false,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Marker {
    None,
    Stands,
    Gone,
}

/// Where a process is; tickets count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Process {
    Draw,
    SeeMarker(u8),
    /// Everything from `.1` on, below its own `.0`, is passed.
    LookAhead(u8, u8),
    Grant(u8),
    SeeMarkerAgain(u8),
    Inside(u8),
    /// Sweeps for a ticket: the next step, of `3 * BLOCK + 2` for each block.
    Sweep(u8, u8),
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    tickets: [Ticket; TICKETS],
    markers: [Marker; BLOCKS],
    swept: [bool; BLOCKS],
    processes: [Process; PROCESSES],
    /// The highest ticket, from 1, that came in, and whether a lower one came after it.
    highest: u8,
    is_disordered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Draw(usize, u8),
    Step(usize),
    /// Passes the next ticket by taking its process for dead.
    Rob(usize),
    Die(usize),
}

struct Queue {
    mutation: Mutation,
    /// Maximum number of tickets drawn.
    tickets: u8,
}

fn block(ticket: u8) -> usize {
    usize::from(ticket) / BLOCK
}

impl State {
    fn top(&self) -> u8 {
        let used = self.tickets.iter().rposition(|ticket| ticket.claim != 0);
        // What is removed was below a ticket that was granted.
        let used = used.map_or(0, |index| index + 1);
        u8::try_from(used).unwrap_or(u8::MAX).max(self.highest)
    }

    /// Whether the process of a ticket holds it or is about to, and is alive.
    fn is_held(&self, ticket: u8) -> bool {
        self.processes.iter().any(|process| {
            matches!(process, Process::SeeMarkerAgain(own) | Process::Inside(own) if *own == ticket)
        })
    }

    fn is_passed(&self, ticket: u8) -> bool {
        let registers = self.tickets[usize::from(ticket)];
        registers.is_ended || registers.grant == Grant::Refused || self.swept[block(ticket)]
    }
}

impl Queue {
    fn draw(&self, state: &mut State, process: usize, ticket: u8) {
        let marker = &mut state.markers[block(ticket)];
        let is_again = self.mutation == Mutation::MarkerMadeAgain && *marker == Marker::Gone;
        if *marker == Marker::None || is_again {
            *marker = Marker::Stands;
        }
        let registers = &mut state.tickets[usize::from(ticket)];
        if registers.claim == 0 {
            registers.claim = u8::try_from(process + 1).unwrap_or(u8::MAX);
            state.processes[process] = Process::SeeMarker(ticket);
        }
    }

    fn step(&self, state: &mut State, process: usize) {
        state.processes[process] = match state.processes[process] {
            Process::SeeMarker(ticket) => {
                let stands = state.markers[block(ticket)] == Marker::Stands;
                if stands || self.mutation == Mutation::MarkerNotSeen {
                    Process::LookAhead(ticket, ticket)
                } else {
                    Process::Draw
                }
            }
            Process::LookAhead(ticket, 0) => {
                if self.mutation == Mutation::SweptWhileWaiting {
                    sweep_all_before(state, ticket);
                }
                Process::Grant(ticket)
            }
            Process::LookAhead(ticket, next) => {
                let earlier = next - 1;
                if self.mutation == Mutation::SweptWhileWaiting {
                    sweep_all_before(state, ticket);
                }
                let registers = state.tickets[usize::from(earlier)];
                if !state.is_passed(earlier) {
                    return;
                }
                let is_all = registers.grant == Grant::Granted || state.swept[block(earlier)];
                Process::LookAhead(ticket, if is_all { 0 } else { earlier })
            }
            Process::Grant(ticket) => {
                let registers = &mut state.tickets[usize::from(ticket)];
                if registers.grant == Grant::Empty {
                    registers.grant = Grant::Granted;
                    Process::SeeMarkerAgain(ticket)
                } else {
                    Process::Draw
                }
            }
            Process::SeeMarkerAgain(ticket) => {
                let stands = state.markers[block(ticket)] == Marker::Stands;
                if stands || self.mutation == Mutation::MarkerNotSeen {
                    state.is_disordered |= ticket < state.highest;
                    state.highest = state.highest.max(ticket + 1);
                    Process::Inside(ticket)
                } else {
                    Process::Draw
                }
            }
            Process::Inside(ticket) => {
                state.tickets[usize::from(ticket)].is_ended = true;
                Process::Sweep(ticket, 0)
            }
            Process::Sweep(ticket, step) => self.sweep(state, ticket, step),
            other => other,
        };
    }

    /// Removes one thing of the blocks before that of a ticket; then the process comes again.
    fn sweep(&self, state: &mut State, ticket: u8, step: u8) -> Process {
        let of_block = 3 * BLOCK + 2;
        let (block_now, part) = (usize::from(step) / of_block, usize::from(step) % of_block);
        if block_now >= block(ticket) {
            return Process::Draw;
        }
        let first = block_now * BLOCK;
        // Which register of which ticket is removed after the marker.
        let marker_at = if self.mutation == Mutation::MarkerRemovedLast {
            of_block - 1
        } else {
            1
        };
        if part == 0 {
            state.swept[block_now] = true;
        } else if part == marker_at {
            state.markers[block_now] = Marker::Gone;
        } else {
            let index = if part > marker_at { part - 2 } else { part - 1 };
            let registers = &mut state.tickets[first + index / 3];
            match index % 3 {
                0 => registers.claim = 0,
                1 => registers.grant = Grant::Empty,
                _ => registers.is_ended = false,
            }
        }
        Process::Sweep(ticket, step + 1)
    }
}

fn sweep_all_before(state: &mut State, ticket: u8) {
    for index in 0..block(ticket) {
        state.swept[index] = true;
        state.markers[index] = Marker::Gone;
        state.tickets[index * BLOCK..(index + 1) * BLOCK].fill(EMPTY);
    }
}

impl Model for Queue {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            tickets: [EMPTY; TICKETS],
            markers: [Marker::None; BLOCKS],
            swept: [false; BLOCKS],
            processes: [Process::Draw; PROCESSES],
            highest: 0,
            is_disordered: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (process, at) in state.processes.iter().enumerate() {
            match *at {
                Process::Dead => continue,
                Process::Draw => {
                    let numbers = 0..=state.top().min(self.tickets - 1);
                    actions.extend(numbers.map(|ticket| Action::Draw(process, ticket)));
                }
                Process::LookAhead(_, next) if next > 0 => {
                    actions.push(Action::Step(process));
                    if !state.is_passed(next - 1) && !state.is_held(next - 1) {
                        actions.push(Action::Rob(process));
                    }
                }
                _ => actions.push(Action::Step(process)),
            }
            actions.push(Action::Die(process));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Draw(process, ticket) => self.draw(&mut state, process, ticket),
            Action::Step(process) => self.step(&mut state, process),
            Action::Rob(process) => {
                let Process::LookAhead(_, next) = last.processes[process] else {
                    return None;
                };
                let registers = &mut state.tickets[usize::from(next - 1)];
                // A ticket that nobody drew can then not be drawn, either.
                registers.claim = registers
                    .claim
                    .max(u8::MAX * u8::from(registers.claim == 0));
                match registers.grant {
                    Grant::Empty => registers.grant = Grant::Refused,
                    Grant::Granted => registers.is_ended = true,
                    Grant::Refused => {}
                }
            }
            Action::Die(process) => state.processes[process] = Process::Dead,
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("X1 one inside", |_, state: &State| {
                let is_inside = |process: &&Process| matches!(process, Process::Inside(_));
                state.processes.iter().filter(is_inside).count() <= 1
            }),
            Property::always("X2 rising numbers", |_, state: &State| !state.is_disordered),
            Property::sometimes("the last ticket comes in", |model: &Self, state: &State| {
                state.highest == model.tickets
            }),
            Property::sometimes("who slept draws what was removed", |_, state: &State| {
                state.processes.iter().any(|process| {
                    matches!(process, Process::SeeMarkerAgain(ticket)
                        if state.markers[block(*ticket)] == Marker::Gone)
                })
            }),
        ]
    }
}

fn explore(tickets: u8, mutation: Mutation) -> (usize, Vec<&'static str>) {
    let checker = Queue { mutation, tickets }
        .checker()
        .threads(2)
        .timeout(Duration::from_secs(600))
        .spawn_bfs()
        .join();
    let found = checker.discoveries();
    let broken: Vec<&str> = found
        .keys()
        .copied()
        .filter(|it| it.starts_with('X'))
        .collect();
    if broken.is_empty() {
        assert!(checker.is_done(), "not every state was seen");
        for name in [
            "the last ticket comes in",
            "who slept draws what was removed",
        ] {
            assert!(found.contains_key(name), "it never happens that {name}");
        }
    }
    (checker.unique_state_count(), broken)
}

#[test]
#[expect(clippy::print_stderr, reason = "reports how much was seen")]
fn never_two_are_inside_in_any_state_while_old_tickets_are_removed() {
    let (states, broken) = explore(3, Mutation::None);
    eprintln!("{states} states");
    assert_eq!(broken, Vec::<&str>::new());
}

#[test]
#[ignore = "takes a minute; tests/run --lab runs it"]
#[expect(clippy::print_stderr, reason = "reports how much was seen")]
fn never_two_are_inside_in_any_state_of_four_tickets_while_old_ones_are_removed() {
    let (states, broken) = explore(4, Mutation::None);
    eprintln!("{states} states");
    assert_eq!(broken, Vec::<&str>::new());
}

#[test]
fn every_deliberate_bug_in_removing_tickets_is_caught() {
    for mutation in [
        Mutation::MarkerNotSeen,
        Mutation::MarkerRemovedLast,
        Mutation::MarkerMadeAgain,
        Mutation::SweptWhileWaiting,
    ] {
        let (_, broken) = explore(3, mutation);
        assert!(!broken.is_empty(), "{mutation:?} goes unnoticed");
    }
}
