//! Blocks of tickets, and removing those that nobody can need any more.
//!
//! A name that is removed can be made again by a process that slept, so the registers of a ticket
//! are removed only together with those of its block, and a block tells for ever that this has
//! happened. Per block there are
//! - `block`, a register that stays: it names the marker, whose name is random and never used again;
//! - the marker, which stands while the registers of the block do, and is removed *first*;
//! - `swept`, a register that stays: it is filled before anything is removed, and only once every
//!   ticket of the block is passed.
//!
//! Invariant: a ticket or a grant that was put counts only if the marker of its block was seen
//! afterwards, by a question that the server answers. Then nothing of the block had been removed
//! when it was put, so the register had kept what was put first. That a marker is *missing* proves
//! nothing and is not believed where it would let somebody in: it only makes its reader draw anew.

use crate::lock::disk::Disk;
use crate::lock::disk::Put;
use crate::lock::error::LockError;
use crate::lock::ledger::Ledger;
use crate::lock::record::Commit;

use camino::Utf8PathBuf;
use std::io;

/// How many names one holder removes at most. It makes five, so the rest goes down.
const REMOVED_MAX: usize = 24;

/// The blocks of one lock.
#[derive(Clone)]
pub(crate) struct Blocks {
    ledger: Ledger,
    /// How many tickets are in one; all processes agree on it.
    size: u32,
}

impl Blocks {
    pub(crate) fn new(ledger: Ledger, size: u32) -> Self {
        Self { ledger, size }
    }

    fn disk(&self) -> &Disk {
        &self.ledger.disk
    }

    /// Returns the number of a ticket's block, from 0.
    pub(crate) fn of(&self, ticket: u32) -> u32 {
        ticket.saturating_sub(1) / self.size
    }

    /// Returns the first ticket of the block after that of `ticket`.
    pub(crate) fn next_first(&self, ticket: u32) -> u32 {
        (self.of(ticket) + 1) * self.size + 1
    }

    fn block_path(&self, block: u32) -> Utf8PathBuf {
        self.ledger.registers.join(format!("{block:08}.block"))
    }

    fn swept_path(&self, block: u32) -> Utf8PathBuf {
        self.ledger.registers.join(format!("{block:08}.swept"))
    }

    /// Returns the marker that a register `block` names; no path that somebody wrote is followed.
    fn marker(&self, block: u32, text: &str) -> Utf8PathBuf {
        let token = text.split_once(";t=").map_or("", |(_, token)| token);
        let plain: String = token
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(32)
            .collect();
        let name = format!("{block:08}.{plain}.open");
        self.ledger.registers.join(name)
    }

    /// Returns the marker of a ticket's block, which is made where nobody has made it yet.
    pub(crate) fn marker_of(&self, ticket: u32, token: &str) -> Result<Utf8PathBuf, LockError> {
        let block = self.of(ticket);
        let path = self.block_path(block);
        if let Some(text) = self.disk().get(&path)? {
            return Ok(self.marker(block, &text));
        }
        let text = format!("block;t={token}");
        let marker = self.marker(block, &text);
        self.disk().put(&marker, &text)?;
        match self.disk().put(&path, &text)? {
            Put::Won => Ok(marker),
            Put::Lost(theirs) => {
                // Nobody was told of ours.
                self.disk().remove(&marker).ok();
                Ok(self.marker(block, &theirs))
            }
        }
    }

    /// Says whether the marker was seen just now.
    pub(crate) fn is_seen(&self, marker: &Utf8PathBuf) -> Result<bool, LockError> {
        match self.disk().ask("look for", marker) {
            Ok(_) => Ok(true),
            Err(LockError::Storage { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Says whether a ticket is known to be passed because its whole block is.
    pub(crate) fn is_swept(&self, ticket: u32) -> Result<bool, LockError> {
        let swept = self.swept_path(self.of(ticket));
        Ok(self.disk().get(&swept)?.is_some())
    }

    /// Picks from a listing what stands in blocks before that of a ticket, the oldest block only.
    pub(crate) fn before(&self, ticket: u32, names: &[String]) -> Vec<String> {
        let block_of = |name: &String| {
            let (digits, _) = name.split_once('.')?;
            let number: u32 = digits.parse().ok()?;
            let is_of_ticket = [".claim", ".grant", ".commit"]
                .iter()
                .any(|ending| name.ends_with(ending));
            (is_of_ticket && number > 0).then(|| self.of(number))
        };
        let oldest = names.iter().filter_map(block_of).min();
        let oldest = oldest.filter(|block| *block < self.of(ticket));
        let Some(oldest) = oldest else {
            return Vec::new();
        };
        let names = names.iter().filter(|name| block_of(name) == Some(oldest));
        names.cloned().collect()
    }

    /// Removes some of what [`Blocks::before`] found, for one who held the lock with that ticket:
    /// then all before it are passed.
    pub(crate) fn sweep(&self, names: &[String], writer: &str) -> Result<(), LockError> {
        let number = |name: &String| name.split_once('.').and_then(|it| it.0.parse().ok());
        let Some(first) = names.iter().find_map(number) else {
            return Ok(());
        };
        let block = self.of(first);
        if !self.is_swept(first)? {
            // A step of the same name keeps its results here, and they count on.
            for name in names.iter().filter(|name| name.ends_with(".commit")) {
                let text = self.disk().get(&self.ledger.registers.join(name))?;
                if let Commit::Done { .. } | Commit::Failed { .. } =
                    Commit::from_text(&text.unwrap_or_default())
                {
                    return Ok(());
                }
            }
            let text = format!("swept;t={writer}");
            self.disk().put(&self.swept_path(block), &text)?;
        }
        // Who drew a ticket before there were blocks finds no marker of this name.
        let closed = format!("closed;t={writer}");
        let text = match self.disk().put(&self.block_path(block), &closed)? {
            Put::Won => closed,
            Put::Lost(theirs) => theirs,
        };
        self.disk().remove(&self.marker(block, &text))?;
        for name in names.iter().take(REMOVED_MAX) {
            self.disk().remove(&self.ledger.registers.join(name))?;
        }
        Ok(())
    }
}
