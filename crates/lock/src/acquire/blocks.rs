//! Blocks of tickets, and removing those that nobody can need any longer.
//!
//! A process that slept can create a removed name again, so the registers of a ticket are removed
//! only together with those of its block, and a block records permanently that this has happened.
//! Per block there are
//! - `block`, a register that stays: it names the marker, whose name is random and never used again;
//! - the marker, which exists as long as the registers of the block, and is removed *first*;
//! - `swept`, a register that stays: it is filled before anything is removed, and only once every
//!   ticket of the block is passed. It repeats the random name, so that it says nothing about a
//!   block of another directory, recreated where this one was removed.
//!
//! Invariant: a ticket or a grant that was put counts only if the marker of its block was seen
//! afterwards, by a request that the server itself answers. Then nothing of the block had been
//! removed when it was put, so the register had kept what was put first. That a marker is *missing*
//! proves nothing and is not believed where it would let somebody in: its reader only draws a new
//! ticket.

use crate::error::LockError;
use crate::ledger::Ledger;
use crate::ledger::disk::Disk;
use crate::ledger::disk::Put;
use crate::ledger::record::Commit;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::io;

/// One holder removes the registers of at most this many tickets. It draws one itself, so the
/// backlog shrinks.
const REMOVED_MAX: usize = 4;

/// Endings of the names of a ticket's registers.
const TICKET_ENDINGS: [&str; 3] = ["claim", "commit", "grant"];

/// The blocks of one lock.
#[derive(Clone)]
pub(crate) struct Blocks {
    ledger: Ledger,
    /// Tickets per block; all processes agree on it.
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

    /// Returns the marker that a register `block` names; no path written by others is followed.
    fn marker(&self, block: u32, text: &str) -> Utf8PathBuf {
        let name = format!("{block:08}.{}.open", token_of(text));
        self.ledger.registers.join(name)
    }

    /// Returns the marker of a ticket's block; creates it if it does not exist yet.
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
                // Nobody knows of ours.
                self.disk().remove(&marker).ok();
                Ok(self.marker(block, &theirs))
            }
        }
    }

    /// Whether the marker was seen just now.
    pub(crate) fn is_seen(&self, marker: &Utf8Path) -> Result<bool, LockError> {
        match self.disk().ask("look for", marker) {
            Ok(_) => Ok(true),
            Err(LockError::Storage { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a ticket is known to be passed because its whole block is.
    ///
    /// A `swept` that names another token was meant for a directory that has been removed since.
    pub(crate) fn is_swept(&self, ticket: u32) -> Result<bool, LockError> {
        let block = self.of(ticket);
        let Some(swept) = self.disk().get(&self.swept_path(block))? else {
            return Ok(false);
        };
        let text = self.disk().get(&self.block_path(block))?;
        Ok(text.is_some_and(|text| token_of(&text) == token_of(&swept)))
    }

    /// Picks from a listing the entries in blocks before that of a ticket.
    pub(crate) fn before(&self, ticket: u32, names: Vec<String>) -> StaleEntries {
        let own = self.of(ticket);
        let mut stale = StaleEntries::default();
        for name in names {
            let Some(number) = number_of(&name) else {
                continue;
            };
            let ending = Utf8Path::new(&name).extension().unwrap_or_default();
            let is_of_ticket = TICKET_ENDINGS.contains(&ending) && number > 0;
            if is_of_ticket && self.of(number) < own {
                stale.registers.push(name);
            } else if ending == "open" && number < own {
                stale.markers.push(name);
            }
        }
        stale.registers.sort();
        stale
    }

    /// Removes some of what [`Blocks::before`] found, for the process that held the lock with that
    /// ticket: then all before it are passed.
    ///
    /// `own` is the marker of that ticket. While it is seen, this is still the directory in which
    /// the lock was held, not a recreated one.
    pub(crate) fn sweep(
        &self,
        (ticket, token): (u32, &str),
        own: &Utf8Path,
        stale: &StaleEntries,
    ) -> Result<(), LockError> {
        let mut last = None;
        for names in stale.share_of(ticket) {
            let Some(number) = names.first().and_then(|name| number_of(name)) else {
                continue;
            };
            let block = self.of(number);
            let may_go = match last {
                Some((of, may_go)) if of == block => may_go,
                _ => self.close(block, token, own, stale)?,
            };
            last = Some((block, may_go));
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            if may_go && !self.disk().remove_beside(own, &names)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Fills `swept` of a block and removes its marker; `true` if the registers may be removed.
    fn close(
        &self,
        block: u32,
        token: &str,
        own: &Utf8Path,
        stale: &StaleEntries,
    ) -> Result<bool, LockError> {
        let path = self.block_path(block);
        let text = if let Some(text) = self.disk().get(&path)? {
            text
        } else {
            // A process that drew a ticket before there were blocks finds no marker of this name.
            let text = format!("closed;t={token}");
            match self.disk().put(&path, &text)? {
                Put::Won => text,
                Put::Lost(theirs) => theirs,
            }
        };
        // What was read before this belongs to the directory in which the lock was held, and
        // `swept` means nothing in any other.
        if !self.is_seen(own)? || self.has_results(block)? {
            return Ok(false);
        }
        let swept = format!("swept;t={}", token_of(&text));
        match self.disk().put(&self.swept_path(block), &swept)? {
            Put::Lost(theirs) if theirs != swept => return Ok(false),
            Put::Won | Put::Lost(_) => {}
        }
        let marker = self.marker(block, &text);
        let of_block = |name: &&str| number_of(name) == Some(block);
        let left_over = stale.markers.iter().map(String::as_str).filter(of_block);
        let markers: Vec<&str> = marker.file_name().into_iter().chain(left_over).collect();
        self.disk().remove_beside(own, &markers)
    }

    /// Whether a step of the same name keeps its results in a block; they still count.
    ///
    /// Every ticket of the block has ended, so what is absent now stays absent.
    fn has_results(&self, block: u32) -> Result<bool, LockError> {
        if self.disk().get(&self.swept_path(block))?.is_some() {
            return Ok(false);
        }
        let first = block * self.size + 1;
        for epoch in first..first + self.size {
            if let Some(Commit::Done { .. } | Commit::Failed { .. }) = self.ledger.commit(epoch)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a listing showed of blocks before that of a ticket.
#[derive(Debug, Default)]
pub(crate) struct StaleEntries {
    /// Registers of tickets, in order; the claim of each comes first, so that a partly removed
    /// ticket does not look as if it waited.
    registers: Vec<String>,
    /// Markers; those that no register names were left by processes that died.
    markers: Vec<String>,
}

impl StaleEntries {
    /// Returns what the holder of a ticket removes, ticket by ticket.
    ///
    /// Processes that waited together saw the same listing, so each starts at a different place.
    fn share_of(&self, ticket: u32) -> impl Iterator<Item = &[String]> {
        let tickets = self.registers.chunk_by(|a, b| number_of(a) == number_of(b));
        let tickets: Vec<&[String]> = tickets.collect();
        let count = tickets.len();
        let start = ticket as usize * REMOVED_MAX % count.max(1);
        let share = tickets.into_iter().cycle().skip(start);
        share.take(count.min(REMOVED_MAX))
    }
}

/// Reads the number of a ticket or a block from the start of a name.
fn number_of(name: &str) -> Option<u32> {
    name.split_once('.')?.0.parse().ok()
}

/// Reads the token from a register `block` or `swept`.
fn token_of(text: &str) -> String {
    let token = text.split_once(";t=").map_or("", |(_, token)| token);
    let plain = token.chars().filter(char::is_ascii_alphanumeric);
    plain.take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    fn stale(tickets: u32) -> StaleEntries {
        let names = |ticket| TICKET_ENDINGS.map(|ending| format!("{ticket:08}.{ending}"));
        StaleEntries {
            registers: (1..=tickets).flat_map(names).collect(),
            markers: Vec::new(),
        }
    }

    #[test]
    fn a_ticket_loses_its_claim_first() {
        for names in stale(9).share_of(3) {
            assert_eq!(names.len(), 3);
            let ending = names[0].split_once('.').map(|it| it.1);
            assert_eq!(ending, Some("claim"), "{names:?}");
        }
    }

    #[test]
    fn those_who_wait_together_share_out_the_old_tickets() {
        let stale = stale(100);
        let share = |ticket| stale.share_of(ticket).map(|names| names[0].clone());
        let removed: BTreeSet<String> = (700..725).flat_map(share).collect();
        assert_eq!(removed.len(), 100);
        assert_eq!(share(700).count(), REMOVED_MAX);
    }

    #[test]
    fn nothing_is_removed_twice_where_little_is_left() {
        assert_eq!(stale(3).share_of(8).count(), 3);
        assert_eq!(stale(0).share_of(8).count(), 0);
    }
}
