//! What a ledger says about its newest attempts, for `cocorun locks`, and ending one by the
//! protocol.
//!
//! Invariant: only registers are written, and only those that any successor would fill; nothing is
//! removed. What others wrote into registers is shown, never acted on.

use crate::error::LockError;
use crate::holder::Holder;
use crate::ledger::Ledger;
use crate::ledger::disk::Disk;
use crate::ledger::disk::Put;
use crate::ledger::record::Claim;
use crate::ledger::record::Commit;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::machine::Machine;
use cocorun_edge::machine::ProcessState;
use cocorun_edge::storage::Storage;
use std::sync::Arc;
use std::time::Duration;

/// How long a failing operation is retried.
const STALL: Duration = Duration::from_secs(5);

/// The lease of a claim that gives none.
const LEASE: Duration = Duration::from_secs(30);

/// An attempt or ticket that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenEntry {
    /// Its number, from 1.
    pub number: u32,
    /// Its stage.
    pub stage: EntryStage,
    /// After this much silence, it counts as dead.
    pub lease: Duration,
    /// Who.
    pub holder: Holder,
    /// What this node knows about the process.
    pub fate: ProcessState,
    /// The time stamp of its claim, by the server's clock; it moves with each sign of life.
    pub sign: Option<(i64, u32)>,
}

/// The stage of an attempt or ticket, as far as its registers show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryStage {
    /// A step is being done.
    Works,
    /// A lock is held.
    Holds,
    /// A process waits for a lock, or has just arrived at a step.
    Waits,
}

/// An attempt or ticket of any age.
pub(crate) struct Past {
    pub number: u32,
    pub claim: Claim,
    /// How it ended; `None` if it has not.
    pub commit: Option<Commit>,
    /// Whether its result no longer counts.
    pub is_retired: bool,
    /// Whether nothing it does can count any longer.
    pub is_over: bool,
}

/// A ledger on disk.
pub struct Survey {
    pub(crate) ledger: Ledger,
    pub(crate) host: Arc<dyn Machine>,
}

impl Survey {
    /// Makes one from a directory `…/.locks/NAME.ledger`; `None` for any other path.
    pub fn of(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        host: Arc<dyn Machine>,
        registers: &Utf8Path,
    ) -> Option<Self> {
        let name = registers.file_name()?.strip_suffix(".ledger")?.to_owned();
        let locks = registers.parent()?;
        if locks.file_name() != Some(".locks") {
            return None;
        }
        let dir = locks
            .parent()
            .map_or_else(Utf8PathBuf::new, Utf8Path::to_owned);
        let disk = Disk {
            storage,
            clock,
            stall: STALL,
            is_alone: false,
        };
        Some(Self {
            ledger: Ledger::new(disk, dir, &name, false),
            host,
        })
    }

    /// Lists what has not ended, oldest first.
    ///
    /// # Errors
    /// The file system refused or stalled.
    pub fn open(&self) -> Result<Vec<OpenEntry>, LockError> {
        let mut open = Vec::new();
        for number in self.ledger.listed_span()? {
            if self.ledger.is_closed(number)? {
                continue;
            }
            let Some(claim) = self.ledger.claim(number)? else {
                continue;
            };
            let grant = self.ledger.grant(number)?;
            if grant.as_deref().is_some_and(is_refusal) {
                continue;
            }
            let stamp = self.ledger.stamp_of_claim(number).ok();
            let at = stamp.map(|stamp| stamp.modified_at());
            let stage = if grant.is_some() {
                EntryStage::Holds
            } else if self.has_attempt(number)? {
                EntryStage::Works
            } else {
                EntryStage::Waits
            };
            let doing = match stage {
                // The holder of a lock says in its claim what the lock is for.
                EntryStage::Holds | EntryStage::Waits => Some(claim.run_id.clone()),
                EntryStage::Works => self.ledger.doing(number, &claim.token),
            };
            open.push(OpenEntry {
                number,
                stage,
                lease: claim.lease.unwrap_or(LEASE),
                fate: self.host.state_of(&claim.process),
                sign: stamp.map(|stamp| stamp.modified),
                holder: self.ledger.holder(number, &claim, at, doing),
            });
        }
        Ok(open)
    }

    /// Lists all claims, oldest first.
    pub(crate) fn claims(&self) -> Result<Vec<Claim>, LockError> {
        let mut claims = Vec::new();
        for number in self.ledger.listed_span()? {
            claims.extend(self.ledger.claim(number)?);
        }
        Ok(claims)
    }

    /// Lists all that were claimed, oldest first.
    pub(crate) fn past(&self) -> Result<Vec<Past>, LockError> {
        let mut past = Vec::new();
        for number in self.ledger.listed_span()? {
            let Some(claim) = self.ledger.claim(number)? else {
                continue;
            };
            let commit = self.ledger.commit(number)?;
            let grant = self.ledger.grant(number)?;
            past.push(Past {
                number,
                claim,
                is_retired: self.ledger.is_retired(number)?,
                is_over: commit.is_some() || grant.as_deref().is_some_and(is_refusal),
                commit,
            });
        }
        Ok(past)
    }

    /// Ends an attempt or ticket as a successor would; `true` if it had not ended by itself.
    ///
    /// Its holder, if alive, notices at its next sign of life.
    ///
    /// # Errors
    /// The file system refused or stalled.
    pub fn revoke(&self, number: u32) -> Result<bool, LockError> {
        let claim = self.ledger.claim(number)?.unwrap_or_default();
        let writer = format!("{:032x}", self.host.random());
        let text = Commit::revocation(&writer, &claim.token);
        let disk = &self.ledger.disk;
        // A waiting ticket that has only ended could still be granted by its owner, at the same
        // time as the one behind it. For an attempt, which nobody grants, this register means
        // nothing.
        if !self.has_attempt(number)? {
            disk.put(&self.ledger.grant_path(number), &text)?;
        }
        let put = disk.put(&self.ledger.commit_path(number), &text)?;
        Ok(put == Put::Won)
    }

    /// Whether this is known to be an attempt at a step, which has a directory of its own.
    fn has_attempt(&self, number: u32) -> Result<bool, LockError> {
        let claim = self.ledger.claim(number)?.unwrap_or_default();
        let dir = self.ledger.attempt_dir(number, &claim.token);
        Ok(self.ledger.disk.stamp(&dir).is_ok())
    }
}

/// Whether a register `grant` says that its ticket can never be granted.
fn is_refusal(grant: &str) -> bool {
    !grant.starts_with("granted;")
}
