//! A general mutual exclusion between nodes, in the order of arrival.
//!
//! Who comes draws the next *ticket*, which is a claim as in [`CallOnce`](crate::lock::CallOnce),
//! and gives signs of life while it waits and while it holds. It holds the lock once its register
//! `grant` says so, and it fills that only when every earlier ticket is *passed*: its `commit` is
//! filled, or its `grant` was filled by somebody else, so that it can never be granted.
//!
//! Invariants: a ticket that waits and is taken for dead can never be granted afterwards, whatever
//! the clocks say, because `grant` is filled once. A *holder* that is taken for dead may still be
//! at work: then two are inside until it notices. That is the limit of every lock with a lease;
//! who must not bear it gives [`Held::fence`] along with each effect and lets the receiver refuse
//! a lower number than it has seen.

use crate::edge::clock::Clock;
use crate::edge::host::ProcessIdentity;
use crate::edge::storage::Storage;
use crate::lock::Holder;
use crate::lock::LockError;
use crate::lock::Options;
use crate::lock::Waiting;
use crate::lock::disk::Disk;
use crate::lock::disk::Put;
use crate::lock::leader::Leader;
use crate::lock::ledger::Ledger;
use crate::lock::record::Claim;
use crate::lock::watching::Verdict;
use crate::lock::watching::Watcher;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

/// How often [`NfsLock::acquire`] asks whether to go on waiting.
const WAIT_SLICE: Duration = Duration::from_millis(200);

/// A lock in a shared directory of its own.
///
/// Each acquisition leaves three symbolic links there; remove the directory when nobody uses it
/// to get the room back.
pub struct NfsLock {
    ledger: Ledger,
    options: Options,
    me: ProcessIdentity,
    /// The ticket that waits.
    ticket: Option<Leader>,
    /// Earlier tickets that cannot be granted any more.
    passed: BTreeSet<u32>,
    /// Who watches each of the others.
    watchers: BTreeMap<u32, Watcher>,
}

/// What one try to get an [`NfsLock`] came to.
#[derive(Debug)]
pub enum LockEntry {
    /// It is ours.
    Held(Held),
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
pub struct Held(Leader);

impl Held {
    /// Returns a number that is higher than that of every earlier holder.
    pub fn fence(&self) -> u32 {
        self.0.epoch()
    }

    /// Says whether somebody took over because we seemed dead.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    /// Calls this once when somebody takes over, see [`Leader::on_lost`].
    pub fn on_lost(&self, hook: impl FnOnce() + Send + 'static) {
        self.0.on_lost(hook);
    }

    /// Gives one sign of life now, for callers that asked for no heartbeat thread.
    pub fn beat(&self) {
        self.0.beat();
    }

    /// Releases it.
    ///
    /// # Errors
    /// It could not be recorded; the others then wait for the lease.
    pub fn release(self) -> Result<(), LockError> {
        self.0.release()
    }
}

impl NfsLock {
    /// Makes the lock whose directory is `dir/.locks/NAME.ledger`.
    ///
    /// `options.lease` is what other locks call the stale time-out, `options.poll_max` the poll
    /// interval.
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
        let me = options.host.me();
        Self {
            ledger: Ledger::new(disk, dir, name, false),
            options,
            me,
            ticket: None,
            passed: BTreeSet::new(),
            watchers: BTreeMap::new(),
        }
    }

    /// Looks once; keeps its place in the queue until this lock is dropped.
    ///
    /// # Errors
    /// The file system refused or stalled; the place in the queue is given up.
    pub fn try_acquire(&mut self) -> Result<LockEntry, LockError> {
        loop {
            let ticket = match self.ticket.take() {
                Some(ticket) => ticket,
                None => self.draw()?,
            };
            if self.options.heartbeat.is_zero() {
                ticket.beat();
            }
            if ticket.is_lost() {
                continue;
            }
            if let Some((holder, retry_in)) = self.look_ahead(ticket.epoch())? {
                self.ticket = Some(ticket);
                return Ok(LockEntry::Wait { holder, retry_in });
            }
            // A directory that was removed and made anew knows nothing of our ticket.
            ticket.beat();
            if ticket.is_lost() {
                continue;
            }
            // Whoever took us for dead while we waited has filled this register.
            let grant = format!("granted;t={}", ticket.token());
            let put = self
                .ledger
                .disk
                .put(&self.ledger.grant_path(ticket.epoch()), &grant)?;
            if put == Put::Won {
                return Ok(LockEntry::Held(Held(ticket)));
            }
        }
    }

    /// Waits for the lock; `None` where `on_wait` said `Break`.
    ///
    /// # Errors
    /// [`LockError::Timeout`] after `timeout`, or the file system refused or stalled.
    pub fn acquire(
        &mut self,
        on_wait: &mut dyn FnMut(&Waiting) -> ControlFlow<()>,
        timeout: Option<Duration>,
    ) -> Result<Option<Held>, LockError> {
        let clock = Arc::clone(&self.ledger.disk.clock);
        let start = clock.now();
        loop {
            let (holder, retry_in) = match self.try_acquire()? {
                LockEntry::Held(held) => return Ok(Some(held)),
                LockEntry::Wait { holder, retry_in } => (holder, retry_in),
            };
            let until = clock.now() + retry_in;
            loop {
                let now = clock.now();
                let waited = now.saturating_duration_since(start);
                if on_wait(&Waiting {
                    holder: &holder,
                    waited,
                })
                .is_break()
                {
                    self.ticket = None;
                    return Ok(None);
                }
                if timeout.is_some_and(|timeout| waited >= timeout) {
                    self.ticket = None;
                    let name = self.ledger.name.clone();
                    return Err(LockError::Timeout {
                        name,
                        waited,
                        holder,
                    });
                }
                let left = until.saturating_duration_since(now);
                if left.is_zero() {
                    break;
                }
                let rest = timeout.map_or(left, |timeout| timeout.saturating_sub(waited));
                clock.sleep(left.min(WAIT_SLICE).min(rest));
            }
        }
    }

    /// Draws the next ticket.
    fn draw(&mut self) -> Result<Leader, LockError> {
        self.passed.clear();
        self.watchers.clear();
        let top = self.ledger.listed_top()?;
        if top.is_none() {
            self.ledger.create()?;
        }
        let since = self
            .ledger
            .disk
            .clock
            .wall()
            .duration_since(SystemTime::UNIX_EPOCH);
        let since_s = since.map_or(0, |since| since.as_secs());
        let mut number = top.unwrap_or(0);
        loop {
            number += 1;
            let token = format!("{:032x}", self.options.host.random());
            let claim = Claim {
                token: token.clone(),
                process: self.me.clone(),
                lease: Some(self.options.lease),
                run_id: self.options.run_id.clone(),
                since_s,
            };
            let text = claim.to_text();
            if self
                .ledger
                .disk
                .put(&self.ledger.claim_path(number), &text)?
                == Put::Won
            {
                let heartbeat = self.options.heartbeat;
                let heartbeat = (!heartbeat.is_zero()).then_some(heartbeat);
                let ledger = self.ledger.clone();
                let run_id = self.options.run_id.clone();
                return Leader::start(ledger, number, token, text, run_id, heartbeat);
            }
        }
    }

    /// Finds whom a ticket waits for; nobody if all earlier ones are passed.
    ///
    /// As a rule one other is watched. Once that one seems dead, all before it are watched too:
    /// where a node died with many tickets, their leases run at the same time.
    fn look_ahead(&mut self, ticket: u32) -> Result<Option<(Box<Holder>, Duration)>, LockError> {
        self.ledger.refresh();
        let mut wait: Option<(Box<Holder>, Duration)> = None;
        let mut seems_dead = false;
        for earlier in (1..ticket).rev() {
            if self.passed.contains(&earlier) {
                continue;
            }
            let is_closed = self.ledger.is_closed(earlier)?;
            let grant = self.ledger.grant(earlier)?;
            let was_granted = grant.is_some_and(|text| text.starts_with("granted;"));
            let found = if is_closed { None } else { self.pass(earlier)? };
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
                self.passed.extend(1..earlier);
                break;
            }
        }
        Ok(wait)
    }

    /// Passes a ticket that is dead or says that it has ended; else says how to wait for it.
    fn pass(&mut self, earlier: u32) -> Result<Option<(Box<Holder>, Duration)>, LockError> {
        let writer = format!("{:032x}", self.options.host.random());
        let disk = self.ledger.disk.clone();
        let watcher = self.watchers.entry(earlier).or_default();
        match watcher.observe(&self.ledger, &self.options, earlier)? {
            Verdict::Wait { holder, retry_in } => return Ok(Some((holder, retry_in))),
            Verdict::Dead | Verdict::Ended => {}
            // That a ticket cannot be seen proves nothing: only the server knows.
            Verdict::NoClaim => {
                let path = self.ledger.claim_path(earlier);
                if let Put::Lost(text) = disk.put(&path, &format!("void;t={writer}"))? {
                    let claim = Claim::from_text(&text);
                    let holder = Box::new(self.ledger.holder(earlier, &claim, None, None));
                    let retry_in = watcher.pause(&self.options, self.options.lease);
                    return Ok(Some((holder, retry_in)));
                }
            }
        }
        let refused = format!("revoked;t={writer}");
        match disk.put(&self.ledger.grant_path(earlier), &refused)? {
            Put::Lost(text) if text.starts_with("granted;") => {
                disk.put(&self.ledger.commit_path(earlier), &refused)?;
            }
            Put::Won | Put::Lost(_) => {}
        }
        Ok(None)
    }
}
