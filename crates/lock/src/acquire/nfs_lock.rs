//! A general mutual-exclusion lock between nodes, in the order of arrival.
//!
//! An arriving process draws the next *ticket*, which is a claim as in
//! [`CallOnce`](crate::once::call_once::CallOnce), and gives signs of life while it waits and while
//! it holds. It holds the lock once its register `grant` says so, and it fills that only when every
//! earlier ticket is *passed*: its `commit` is filled, or its `grant` was filled by another
//! process, so that it can never be granted.
//!
//! Invariants: a ticket that waits and is taken for dead can never be granted afterwards, whatever
//! the clocks say, because `grant` is filled once. A *holder* that is taken for dead may still be
//! at work: then two are inside until it notices. That is the limit of every lock with a lease; a
//! caller that cannot accept it passes [`HeldTicket::fence`] along with each effect and lets the
//! receiver refuse a lower number than it has seen.

use crate::acquire::blocks::Blocks;
use crate::acquire::blocks::StaleEntries;
use crate::acquire::poll_schedule::PollSchedule;
use crate::error::LockError;
use crate::holder::Holder;
use crate::ledger::Ledger;
use crate::ledger::disk::Disk;
use crate::ledger::disk::Put;
use crate::ledger::record::Claim;
use crate::ledger::record::Commit;
use crate::ledger::record::new_token;
use crate::ledger::top_of;
use crate::liveness::watcher::Liveness;
use crate::liveness::watcher::Watcher;
use crate::once::leader::Leader;
use crate::options::Options;
use crate::wait::OnWait;
use crate::wait::Wait;
use crate::wait::jittered;

use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::machine::ProcessIdentity;
use cocorun_edge::storage::Storage;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// A lock in a shared directory of its own.
///
/// Each acquisition puts three symbolic links there. Those of old tickets are removed a block at a
/// time, see `blocks.rs`; two links for each block of tickets stay.
pub struct NfsLock {
    ledger: Ledger,
    options: Options,
    me: ProcessIdentity,
    blocks: Blocks,
    /// The ticket that waits.
    ticket: Option<Ticket>,
    /// All tickets up to this one can no longer be granted.
    floor: u32,
    /// Later ones that cannot be granted either.
    passed: BTreeSet<u32>,
    /// The watcher of each other ticket.
    watchers: BTreeMap<u32, Watcher>,
}

/// A place in the queue.
struct Ticket {
    leader: Leader,
    /// Exists as long as the registers of the ticket's block.
    marker: Utf8PathBuf,
    /// What may be removed once all earlier tickets are passed.
    stale: StaleEntries,
    schedule: PollSchedule,
}

/// The outcome of one attempt to get an [`NfsLock`].
#[derive(Debug)]
pub enum AcquireOutcome {
    /// It is ours.
    Held(HeldTicket),
    /// Somebody is before us.
    Wait {
        /// The one right before us, who may be waiting as well.
        holder: Box<Holder>,
        /// When to look again.
        retry_in: Duration,
    },
}

/// A held [`NfsLock`]; dropping it releases it.
#[derive(Debug)]
pub struct HeldTicket {
    leader: Leader,
    /// Boxed, because a guard is moved around.
    sweeping: Box<Sweeper>,
}

/// What a holder removes after it has released the lock.
struct Sweeper {
    blocks: Blocks,
    /// The marker of the ticket that was held.
    marker: Utf8PathBuf,
    stale: StaleEntries,
}

impl std::fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stale.fmt(f)
    }
}

impl HeldTicket {
    /// Returns a number that is higher than that of every earlier holder.
    pub fn fence(&self) -> u32 {
        self.leader.epoch()
    }

    /// Whether somebody took over because we seemed dead.
    pub fn is_lost(&self) -> bool {
        self.leader.is_lost()
    }

    /// Gives one sign of life now, for callers that asked for no heartbeat thread.
    pub fn beat(&self) {
        self.leader.beat();
    }

    /// Releases it, and then removes some registers of old tickets. Returns `true` if it was ours
    /// to the end: if not, another process may have been inside as well.
    ///
    /// # Errors
    /// The release could not be recorded; the others then wait for the lease.
    pub fn release(self) -> Result<bool, LockError> {
        let (ticket, token) = (self.leader.epoch(), self.leader.token().to_owned());
        let released = self.leader.release();
        // If this ends early, the next holders continue.
        let Sweeper {
            blocks,
            marker,
            stale,
        } = *self.sweeping;
        blocks.sweep((ticket, &token), &marker, &stale).ok();
        released
    }
}

impl NfsLock {
    /// Makes the lock whose directory is `dir/.locks/NAME.ledger`.
    ///
    /// `options.lease` corresponds to the stale time-out of other locks, `options.poll_max` to the
    /// poll interval.
    pub fn new(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        dir: Utf8PathBuf,
        name: &str,
        options: Options,
    ) -> Self {
        let disk = Disk {
            storage,
            clock,
            stall: options.stall,
            is_alone: false,
        };
        let me = options.machine.me();
        let ledger = Ledger::new(disk, dir, name, false);
        Self {
            blocks: Blocks::new(ledger.clone(), options.block.max(1)),
            ledger,
            options,
            me,
            ticket: None,
            floor: 0,
            passed: BTreeSet::new(),
            watchers: BTreeMap::new(),
        }
    }

    /// Looks once; keeps its place in the queue until this lock is dropped.
    ///
    /// # Errors
    /// The file system refused or stalled; the place in the queue is given up.
    pub fn try_acquire(&mut self) -> Result<AcquireOutcome, LockError> {
        loop {
            let mut ticket = match self.ticket.take() {
                Some(ticket) => ticket,
                None => self.draw()?,
            };
            let leader = &ticket.leader;
            if self.options.heartbeat.is_zero() {
                leader.beat();
            }
            if leader.is_lost() {
                continue;
            }
            let number = leader.epoch();
            let stamp = self.ledger.refresh();
            if let Some((holder, retry_in)) = self.look_ahead(number)? {
                // Those before us decide when to look again at a queue that does not move; this one
                // moves.
                let front = ticket.schedule.front(&self.ledger, stamp, number)?;
                let now = self.ledger.disk.clock.now();
                let pause = ticket.schedule.next(now, front, number);
                let retry_in = retry_in.min(jittered(pause, &*self.options.machine));
                self.ticket = Some(ticket);
                return Ok(AcquireOutcome::Wait { holder, retry_in });
            }
            // A directory that was removed and recreated does not have our ticket.
            leader.beat();
            if leader.is_lost() {
                continue;
            }
            // A process that took us for dead while we waited has filled this register; if it was
            // removed since, so was the marker.
            let grant = format!("granted;t={}", leader.token());
            let path = self.ledger.grant_path(number);
            if self.ledger.disk.put(&path, &grant)? == Put::Won
                && self.blocks.is_seen(&ticket.marker)?
            {
                let Ticket {
                    leader,
                    marker,
                    stale,
                    ..
                } = ticket;
                let blocks = self.blocks.clone();
                let sweeping = Box::new(Sweeper {
                    blocks,
                    marker,
                    stale,
                });
                return Ok(AcquireOutcome::Held(HeldTicket { leader, sweeping }));
            }
        }
    }

    /// Waits for the lock; `None` if `on_wait` returned `Break`.
    ///
    /// # Errors
    /// [`LockError::Timeout`] after `timeout`, or the file system refused or stalled.
    pub fn acquire(
        &mut self,
        on_wait: OnWait,
        timeout: Option<Duration>,
    ) -> Result<Option<HeldTicket>, LockError> {
        let wait = Wait::new(&self.ledger.disk.clock, &self.ledger.name, timeout);
        loop {
            let (holder, retry_in) = match self.try_acquire()? {
                AcquireOutcome::Held(held) => return Ok(Some(held)),
                AcquireOutcome::Wait { holder, retry_in } => (holder, retry_in),
            };
            let flow = wait.pause(&holder, retry_in, on_wait, &mut || false);
            if !matches!(flow, Ok(ControlFlow::Continue(()))) {
                self.ticket = None;
            }
            if flow?.is_break() {
                return Ok(None);
            }
        }
    }

    /// Draws the next ticket.
    fn draw(&mut self) -> Result<Ticket, LockError> {
        self.floor = 0;
        self.passed.clear();
        self.watchers.clear();
        let names = self.ledger.listed()?;
        if names.is_none() {
            self.ledger.create()?;
        }
        let names = names.unwrap_or_default();
        let mut number = top_of(&names) + 1;
        let mut block: Option<(u32, Utf8PathBuf)> = None;
        loop {
            let claim = Claim::new(&self.me, &self.options, self.ledger.disk.clock.wall());
            let text = claim.to_text();
            let marker = match block.take() {
                Some((of, marker)) if of == self.blocks.of(number) => marker,
                _ => self.blocks.marker_of(number, &claim.token)?,
            };
            block = Some((self.blocks.of(number), marker.clone()));
            let path = self.ledger.claim_path(number);
            if self.ledger.disk.put(&path, &text)? != Put::Won {
                number += 1;
                continue;
            }
            let heartbeat = self.options.heartbeat;
            let heartbeat = (!heartbeat.is_zero()).then_some(heartbeat);
            let ledger = self.ledger.clone();
            let run_id = self.options.run_id.clone();
            // From here on, an error ends the ticket.
            let leader = Leader::start(ledger, number, claim.token, text, run_id, heartbeat)?;
            if !self.blocks.is_seen(&marker)? {
                // The listing was stale, and what was here has been removed.
                drop(leader);
                number = self.blocks.next_first(number);
                continue;
            }
            return Ok(Ticket {
                leader,
                marker,
                stale: self.blocks.before(number, names),
                schedule: PollSchedule::default(),
            });
        }
    }

    /// Finds the ticket that a ticket waits for; `None` if all earlier ones are passed.
    ///
    /// Normally one other ticket is watched. Once that one seems dead, all before it are watched
    /// too: where a node died with many tickets, their leases run at the same time.
    fn look_ahead(&mut self, ticket: u32) -> Result<Option<(Box<Holder>, Duration)>, LockError> {
        let mut wait: Option<(Box<Holder>, Duration)> = None;
        let mut seems_dead = false;
        let own_block = self.blocks.of(ticket);
        for earlier in (self.floor + 1..ticket).rev() {
            if self.passed.contains(&earlier) {
                continue;
            }
            let is_last_of_block = self.blocks.next_first(earlier) == earlier + 1;
            if is_last_of_block
                && self.blocks.of(earlier) < own_block
                && self.blocks.is_swept(earlier)?
            {
                self.floor = earlier;
                break;
            }
            let is_closed = self.ledger.is_closed(earlier)?;
            let was_let_in = self.ledger.was_let_in(earlier)?;
            let was_granted = was_let_in == Some(true);
            let is_passed = is_closed || was_let_in == Some(false);
            let found = if is_passed { None } else { self.pass(earlier)? };
            if let Some((holder, retry_in)) = found {
                let nearest = wait.take();
                let soonest = nearest.as_ref().map_or(retry_in, |it| it.1.min(retry_in));
                wait = Some((nearest.map_or(holder, |it| it.0), soonest));
                let watcher = self.watchers.get(&earlier);
                seems_dead |= watcher.is_some_and(Watcher::is_suspicious);
                if was_granted || !seems_dead {
                    break;
                }
                continue;
            }
            self.passed.insert(earlier);
            self.watchers.remove(&earlier);
            if was_granted {
                // Everything before it was passed when it was granted.
                self.floor = earlier;
                break;
            }
        }
        Ok(wait)
    }

    /// Passes a ticket that is dead or says that it has ended; otherwise returns how to wait for
    /// it.
    fn pass(&mut self, earlier: u32) -> Result<Option<(Box<Holder>, Duration)>, LockError> {
        let writer = new_token(&*self.options.machine);
        let disk = self.ledger.disk.clone();
        let watcher = self.watchers.entry(earlier).or_default();
        match watcher.observe(&self.ledger, &self.options, earlier)? {
            Liveness::Wait {
                mut holder,
                retry_in,
            } => {
                holder.doing = watcher.purpose();
                return Ok(Some((holder, retry_in)));
            }
            Liveness::Dead | Liveness::Ended => {}
            // Not seeing a ticket proves nothing: only the server knows.
            Liveness::NoClaim => {
                let path = self.ledger.claim_path(earlier);
                if let Put::Lost(text) = disk.put(&path, &format!("void;t={writer}"))? {
                    let claim = Claim::from_text(&text);
                    let holder = Box::new(self.ledger.holder(earlier, &claim, None, None));
                    let retry_in = watcher.pause(&self.options, self.options.lease);
                    return Ok(Some((holder, retry_in)));
                }
            }
        }
        let of = self.watchers.get(&earlier).and_then(Watcher::token);
        let refused = Commit::revocation(&writer, of.unwrap_or_default());
        match disk.put(&self.ledger.grant_path(earlier), &refused)? {
            Put::Lost(text) if text.starts_with("granted;") => {
                disk.put(&self.ledger.commit_path(earlier), &refused)?;
            }
            Put::Won | Put::Lost(_) => {}
        }
        Ok(None)
    }
}
