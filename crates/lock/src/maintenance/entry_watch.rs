//! Watching one holder until it is known whether it is alive, for cleaning.
//!
//! Invariant: nothing is written, and the rules for dead are those of waiting callers: a process of
//! this node that was seen to be gone twice, or silence of a holder on another node for its whole
//! lease while it was watched. Neither age nor wall clocks count.

use crate::holder::span;
use crate::liveness::watcher::Liveness;
use crate::liveness::watcher::Watcher;
use crate::maintenance::survey::OpenEntry;
use crate::maintenance::survey::Survey;
use crate::options::Options;

use cocorun_edge::machine::ProcessState;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// Longest pause between two looks.
const POLL: Duration = Duration::from_secs(1);
/// How much longer than the lease a watch can take if the server is slow to answer.
const GRACE: Duration = Duration::from_secs(20);

/// What is known after a look.
pub(crate) enum Finding {
    /// Nothing yet; look again after this time.
    Undecided(Duration),
    /// It ended by itself.
    Ended,
    /// It is or may be alive, for this reason.
    Kept(String),
    /// It is dead.
    Dead,
}

/// The watch on one attempt or ticket.
pub(crate) struct EntryWatch {
    pub entry: OpenEntry,
    watcher: Watcher,
    options: Options,
    until: Instant,
}

impl EntryWatch {
    /// Starts a watch, unless it is clear at once that the holder stays.
    pub(crate) fn of(
        survey: &Survey,
        entry: &OpenEntry,
        lease_max: Duration,
    ) -> Result<Self, String> {
        match entry.fate {
            ProcessState::Running => return Err("it is alive on this node".to_owned()),
            ProcessState::Unknown if entry.lease > lease_max => {
                return Err(format!(
                    "its lease of {} is longer than the watch limit; see `--watch`",
                    span(entry.lease)
                ));
            }
            ProcessState::Unknown | ProcessState::Gone => {}
        }
        let options = Options {
            // The claim's own lease counts; one without gets this.
            lease: entry.lease,
            poll_max: POLL,
            machine: Arc::clone(&survey.host),
            ..Options::new("")
        };
        let now = survey.ledger.disk.clock.now();
        Ok(Self {
            entry: entry.clone(),
            watcher: Watcher::default(),
            options,
            until: now + entry.lease * 2 + GRACE,
        })
    }

    /// Looks once.
    pub(crate) fn look(&mut self, survey: &Survey) -> Finding {
        let ledger = &survey.ledger;
        let number = self.entry.number;
        let stamp = ledger.stamp_of_claim(number).ok();
        let sign = stamp.map(|stamp| stamp.modified);
        if stamp.is_some_and(|stamp| stamp.is_ended()) {
            return Finding::Ended;
        }
        if self.entry.fate == ProcessState::Unknown && sign.is_some() && sign != self.entry.sign {
            return Finding::Kept("it gave a sign of life from another node".to_owned());
        }
        let is_closed = ledger.is_closed(number);
        match self.watcher.observe(ledger, &self.options, number) {
            _ if is_closed.is_ok_and(|closed| closed) => Finding::Ended,
            Ok(Liveness::Dead) => Finding::Dead,
            Ok(Liveness::Ended) => Finding::Ended,
            Ok(Liveness::NoClaim) => Finding::Kept("its claim is gone".to_owned()),
            Ok(Liveness::Wait { retry_in, .. }) => {
                if ledger.disk.clock.now() < self.until {
                    Finding::Undecided(retry_in)
                } else {
                    Finding::Kept("the server answers too slowly".to_owned())
                }
            }
            Err(error) => Finding::Kept(error.to_string()),
        }
    }
}
