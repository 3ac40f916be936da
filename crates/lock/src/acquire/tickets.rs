//! What a ledger says about the tickets of a lock.

use crate::error::LockError;
use crate::ledger::Ledger;
use crate::ledger::epoch_of;
use crate::ledger::record::Commit;
use crate::ledger::top_of;

use camino::Utf8PathBuf;
use std::ops::RangeInclusive;

impl Ledger {
    /// Returns the numbers from the lowest to the highest that is claimed in the listing.
    pub(crate) fn listed_span(&self) -> Result<RangeInclusive<u32>, LockError> {
        let names = self.listed()?.unwrap_or_default();
        let lowest = names.iter().filter_map(|name| epoch_of(name)).min();
        Ok(lowest.unwrap_or(1)..=top_of(&names))
    }

    pub(crate) fn grant_path(&self, ticket: u32) -> Utf8PathBuf {
        self.registers.join(format!("{ticket:08}.grant"))
    }

    pub(crate) fn grant(&self, ticket: u32) -> Result<Option<String>, LockError> {
        self.disk.get(&self.grant_path(ticket))
    }

    /// Whether an epoch has ended, in whatever way.
    pub(crate) fn is_closed(&self, epoch: u32) -> Result<bool, LockError> {
        match self.disk.get(&self.commit_path(epoch))? {
            Some(text) => self.is_about_claim(&text, epoch),
            None => Ok(false),
        }
    }

    /// Whether a register's text is about the claim next to it.
    fn is_about_claim(&self, text: &str, epoch: u32) -> Result<bool, LockError> {
        let claim = self.claim(epoch)?;
        Ok(claim.is_none_or(|claim| Commit::is_about(text, &claim.token)))
    }

    /// Whether a ticket was granted, which only its own text can say, or never can be; `None` while
    /// that is open.
    pub(crate) fn was_let_in(&self, ticket: u32) -> Result<Option<bool>, LockError> {
        Ok(match self.grant(ticket)? {
            None => None,
            Some(text) if text.starts_with("granted;") => Some(self.is_about_claim(&text, ticket)?),
            Some(_) => Some(false),
        })
    }
}
