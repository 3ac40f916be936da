//! The decision of one caller: use an existing result, wait, or lead.
//!
//! The steps of [`CallOnce::enter`] have the names they have in the model: *poll* reads, *claim*
//! fills the next claim, *fence* closes all earlier epochs, then comes the second look. Invariants:
//! nobody leads without having closed every earlier epoch; nobody leads while an earlier result
//! that it accepts is valid; a timeout never leads.

use crate::error::LockError;
use crate::holder::Holder;
use crate::ledger::Ledger;
use crate::ledger::disk::Disk;
use crate::ledger::disk::Put;
use crate::ledger::record::Claim;
use crate::ledger::record::Commit;
use crate::ledger::record::FailureKind;
use crate::ledger::record::new_token;
use crate::liveness::watcher::Liveness;
use crate::liveness::watcher::Sign;
use crate::liveness::watcher::Watcher;
use crate::once::leader::Leader;
use crate::options::Options;
use crate::outcome::Acceptance;
use crate::outcome::FailureRecord;
use crate::outcome::Published;
use crate::pytest_cocotb::lock::PytestLock;
use crate::pytest_cocotb::lock::PytestLockEntry;
use crate::pytest_cocotb::lock::PytestLockWatch;

use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::machine::ProcessIdentity;
use cocorun_edge::storage::Storage;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// After this many looks at a holder, the ledger's directory is looked at as well. The end of the
/// holder's epoch shows in its own claim; the directory shows a removal by hand.
const LOOKS_PER_LISTING: u32 = 6;

/// The outcome of one call of [`CallOnce::enter`].
#[derive(Debug)]
pub enum EnterOutcome {
    /// A result that the caller accepted.
    Done(Published),
    /// The caller must do the step now.
    Lead(Leader),
    /// Another process is doing it.
    Wait {
        /// Who.
        holder: Box<Holder>,
        /// When to look again.
        retry_in: Duration,
    },
    /// It failed in a way that would repeat, while this caller watched or in its session.
    Failed(FailureRecord),
}

/// Judges a published result.
pub type Accept<'a> = &'a mut dyn FnMut(&Published) -> Acceptance;

/// Makes a step happen exactly once per directory and name.
pub struct CallOnce {
    pub(crate) ledger: Ledger,
    pub(crate) options: Options,
    me: ProcessIdentity,
    /// Highest epoch that is known to be claimed.
    top: u32,
    /// Highest epoch that existed when this caller arrived.
    found_top: Option<u32>,
    /// Registers never change, so what was read once is kept.
    closed: BTreeMap<u32, Commit>,
    retired: BTreeSet<u32>,
    marked: BTreeSet<u32>,
    /// Results that are intact but not for this caller.
    foreign: BTreeSet<u32>,
    /// Epochs that this caller saw running.
    watched: BTreeSet<u32>,
    watcher: Watcher,
    /// The ledger's directory at the last look.
    registers_sign: Option<Sign>,
    /// How often it looked at only the present holder.
    looks: u32,
    /// An epoch that we lead while we wait for pytest-cocotb's lock.
    pending: Option<(Leader, PytestLock, PytestLockWatch)>,
}

impl CallOnce {
    /// Makes the guard of the step `name` in the shared directory `dir` of one key.
    ///
    /// `dir` should be absolute; it is created when needed.
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
            is_alone: options.alone,
        };
        let me = options.machine.me();
        Self {
            ledger: Ledger::new(disk, dir, name, options.pytest_cocotb),
            options,
            me,
            top: 0,
            found_top: None,
            closed: BTreeMap::new(),
            retired: BTreeSet::new(),
            marked: BTreeSet::new(),
            foreign: BTreeSet::new(),
            watched: BTreeSet::new(),
            watcher: Watcher::default(),
            registers_sign: None,
            looks: 0,
            pending: None,
        }
    }

    /// Looks once and tries at most once to lead; never blocks on another process.
    ///
    /// `accept` judges results, newest first; a result that was [`Acceptance::Foreign`] is judged
    /// again only after winning.
    ///
    /// Together with pytest-cocotb, `Wait` can mean that we have the claim and wait for its lock;
    /// then the others wait for us until this is dropped.
    ///
    /// # Errors
    /// The file system refused or stalled. A claim that was won is released.
    pub fn enter(&mut self, accept: Accept) -> Result<EnterOutcome, LockError> {
        let mut has_looked_twice = false;
        if let Some(pending) = self.pending.take()
            && let Some(entry) = self.pass_pytest_lock(pending)?
        {
            return Ok(entry);
        }
        if let Some(wait) = self.watch_on()? {
            return Ok(wait);
        }
        if let Some(found) = self.first_look(accept)? {
            return Ok(EnterOutcome::Done(found));
        }
        loop {
            let top = self.poll()?;
            if let Some(entry) = self.look_up(top, accept)? {
                self.clear_pytest_lock();
                return Ok(entry);
            }
            if top == 0 || self.closed.contains_key(&top) {
                return self.claim(top + 1, accept);
            }
            match self.observe(top)? {
                Liveness::Wait { holder, retry_in } => {
                    return Ok(EnterOutcome::Wait { holder, retry_in });
                }
                // The commit was probably written between our two looks.
                Liveness::Ended if !has_looked_twice => has_looked_twice = true,
                Liveness::Ended | Liveness::Dead => return self.claim(top + 1, accept),
                // The server decides whether it exists.
                Liveness::NoClaim => return self.claim(top, accept),
            }
        }
    }

    /// Takes the result of the first attempt, which is all that nearly every caller needs, with two
    /// requests besides reading its record; `None` if there is more to look at.
    ///
    /// Later attempts do not matter: for one content, one result is valid. Together with
    /// pytest-cocotb the markers do, and only the long way looks at them.
    fn first_look(&mut self, accept: Accept) -> Result<Option<Published>, LockError> {
        if self.options.pytest_cocotb || self.top > 0 {
            return Ok(None);
        }
        let Some(published) = self.ledger.peek(1) else {
            return Ok(None);
        };
        match accept(&published) {
            Acceptance::Use => return Ok(Some(published)),
            Acceptance::Foreign => {
                self.foreign.insert(1);
            }
            Acceptance::Broken(why) => {
                if let Some(Commit::Done { .. }) = self.commit(1)? {
                    self.retire(1, "broken", &why)?;
                }
            }
        }
        Ok(None)
    }

    /// Looks only at the holder, which makes one request to the server, and now and then also
    /// checks that the ledger's directory is unchanged; `None` if there is more to look at.
    ///
    /// A change that falls into the same tick of the server's clock as our last look stays hidden;
    /// the holder's end then shows in the time of its claim, see `Stamp::is_ended`.
    fn watch_on(&mut self) -> Result<Option<EnterOutcome>, LockError> {
        let Some(epoch) = self.watcher.epoch().filter(|epoch| *epoch == self.top) else {
            self.registers_sign = None;
            self.looks = 0;
            return Ok(None);
        };
        if self.looks.is_multiple_of(LOOKS_PER_LISTING) {
            let stamp = self.ledger.disk.stamp(&self.ledger.registers).ok();
            let sign = stamp.map(|stamp| (stamp.modified, stamp.changed));
            let is_same = sign.is_some() && sign == self.registers_sign;
            self.registers_sign = sign;
            if !is_same {
                return Ok(None);
            }
        }
        self.looks = self.looks.wrapping_add(1);
        Ok(match self.observe(epoch)? {
            Liveness::Wait { holder, retry_in } => Some(EnterOutcome::Wait { holder, retry_in }),
            _ => None,
        })
    }

    /// Finds the newest epoch; creates the directories if they are missing.
    pub(crate) fn poll(&mut self) -> Result<u32, LockError> {
        if let Some(listed) = self.ledger.listed_top()? {
            self.top = self.top.max(listed);
        } else {
            // Either nobody has been here yet, or somebody removed the directory with everything we
            // remember from it.
            self.forget();
            self.ledger.create()?;
        }
        self.found_top.get_or_insert(self.top);
        Ok(self.top)
    }

    fn forget(&mut self) {
        self.top = 0;
        self.closed.clear();
        self.retired.clear();
        self.marked.clear();
        self.foreign.clear();
        self.watched.clear();
        self.watcher.reset();
    }

    pub(crate) fn commit(&mut self, epoch: u32) -> Result<Option<Commit>, LockError> {
        if let Some(known) = self.closed.get(&epoch) {
            return Ok(Some(known.clone()));
        }
        let commit = self.ledger.commit(epoch)?;
        if let Some(commit) = &commit {
            self.closed.insert(epoch, commit.clone());
        }
        Ok(commit)
    }

    pub(crate) fn is_retired(&mut self, epoch: u32) -> Result<bool, LockError> {
        if !self.retired.contains(&epoch) && self.ledger.is_retired(epoch)? {
            self.retired.insert(epoch);
        }
        Ok(self.retired.contains(&epoch))
    }

    fn is_marked(&mut self, epoch: u32) -> Result<bool, LockError> {
        if !self.marked.contains(&epoch) && self.ledger.is_marked(epoch)? {
            self.marked.insert(epoch);
        }
        Ok(self.marked.contains(&epoch))
    }

    /// Retires an epoch, and removes the files that announce it.
    ///
    /// The record is removed first: a caller that looks at nothing else must not find it once this
    /// returns.
    pub(crate) fn retire(&mut self, epoch: u32, why: &str, note: &str) -> Result<(), LockError> {
        if let Some(Commit::Done { token, .. }) = self.closed.get(&epoch) {
            self.ledger.withdraw(epoch, token)?;
        }
        self.ledger
            .retire(epoch, why, &new_token(&*self.options.machine), note)?;
        self.retired.insert(epoch);
        let is_last = !self.closed.iter().any(|(epoch, commit)| {
            matches!(commit, Commit::Done { .. }) && !self.retired.contains(epoch)
        });
        // While another result is valid, its marker must stay: a missing one retires it.
        if self.options.pytest_cocotb && is_last {
            self.ledger.unmark(&|epoch| self.retired.contains(&epoch));
        }
        Ok(())
    }

    /// Notices that pytest-cocotb's `clean()` removed the marker of a result, which retires it.
    fn was_cleaned(&mut self, epoch: u32) -> Result<bool, LockError> {
        let is_cleaned = self.options.pytest_cocotb
            && self.is_marked(epoch)?
            && self.ledger.lacks_done_marker()?;
        if is_cleaned {
            self.retire(epoch, "clean", "the marker was removed")?;
        }
        Ok(is_cleaned)
    }

    /// Goes through the closed epochs, newest first: an accepted result, otherwise a failure that
    /// concerns this caller.
    fn look_up(&mut self, top: u32, accept: Accept) -> Result<Option<EnterOutcome>, LockError> {
        let mut failed = None;
        for epoch in (1..=top).rev() {
            match self.commit(epoch)? {
                Some(Commit::Done { token, digest }) if !self.foreign.contains(&epoch) => {
                    if let Some(found) = self.judge(epoch, &token, &digest, accept)? {
                        return Ok(Some(EnterOutcome::Done(found)));
                    }
                }
                Some(Commit::Failed {
                    token,
                    kind,
                    summary,
                    run_id,
                }) if failed.is_none() => {
                    let concerns = self.watched.contains(&epoch)
                        || (!run_id.is_empty() && run_id == self.options.run_id);
                    if concerns && kind == FailureKind::Deterministic && !self.is_retired(epoch)? {
                        failed = Some(FailureRecord {
                            epoch,
                            kind,
                            text: self.ledger.failure(epoch, &token).unwrap_or(summary),
                            dir: self.ledger.attempt_dir(epoch, &token),
                        });
                    }
                }
                _ => {}
            }
        }
        Ok(failed.map(EnterOutcome::Failed))
    }

    /// Judges one published result; a damaged one is retired.
    fn judge(
        &mut self,
        epoch: u32,
        token: &str,
        digest: &str,
        accept: Accept,
    ) -> Result<Option<Published>, LockError> {
        if self.is_retired(epoch)? || self.was_cleaned(epoch)? {
            return Ok(None);
        }
        let verdict = match self.ledger.published(epoch, token, digest)? {
            Ok(published) => match accept(&published) {
                Acceptance::Use => {
                    if self.options.pytest_cocotb && !self.is_marked(epoch)? {
                        self.ledger.mark(epoch, token)?;
                    }
                    return Ok(Some(published));
                }
                other => other,
            },
            Err(damage) => Acceptance::Broken(damage.0),
        };
        match verdict {
            Acceptance::Broken(why) => {
                self.retire(epoch, "broken", &why)?;
            }
            Acceptance::Use | Acceptance::Foreign => {
                self.foreign.insert(epoch);
            }
        }
        Ok(None)
    }

    /// Tries to become the leader of this epoch.
    fn claim(&mut self, epoch: u32, accept: Accept) -> Result<EnterOutcome, LockError> {
        let claim = Claim::new(&self.me, &self.options, self.ledger.disk.clock.wall());
        let token = claim.token.clone();
        let text = claim.to_text();
        let put = self
            .ledger
            .disk
            .put(&self.ledger.claim_path(epoch), &text)?;
        self.top = self.top.max(epoch);
        self.watcher.reset();
        if let Put::Lost(other) = put {
            self.watched.insert(epoch);
            let winner = Claim::from_text(&other);
            let holder = Box::new(self.ledger.holder(epoch, &winner, None, None));
            return Ok(EnterOutcome::Wait {
                holder,
                retry_in: self.watcher.pause(&self.options, self.options.lease),
            });
        }
        let heartbeat = (!self.options.heartbeat.is_zero()).then_some(self.options.heartbeat);
        let ledger = self.ledger.clone();
        let run_id = self.options.run_id.clone();
        let leader = Leader::start(ledger, epoch, token, text, run_id, heartbeat)?;
        self.lead(leader, accept)
    }

    /// Closes all earlier epochs and looks again; only then the step may begin.
    fn lead(&mut self, leader: Leader, accept: Accept) -> Result<EnterOutcome, LockError> {
        // What was read earlier may come from a directory that has been removed and recreated
        // since.
        self.closed.clear();
        self.retired.clear();
        self.marked.clear();
        self.foreign.clear();
        for earlier in 1..leader.epoch() {
            let commit = self.ledger.fence(earlier, leader.token())?;
            self.closed.insert(earlier, commit);
        }
        // Without this second look, a result published between our look and our claim would be
        // built twice.
        if let Some(entry) = self.look_up(leader.epoch() - 1, accept)? {
            drop(leader);
            return Ok(entry);
        }
        leader.create_dir()?;
        if !self.options.pytest_cocotb {
            return Ok(EnterOutcome::Lead(leader));
        }
        let pytest_lock = self.pytest_lock(leader.token(), leader.epoch());
        let wait = EnterOutcome::Wait {
            holder: Box::new(Holder::of(&self.me, self.ledger.pytest_lock_path())),
            retry_in: self.watcher.pause(&self.options, self.options.lease),
        };
        Ok(self
            .pass_pytest_lock((leader, pytest_lock, PytestLockWatch::default()))?
            .unwrap_or(wait))
    }

    /// Tries to enter the lock of pytest-cocotb; `None` if somebody took over meanwhile.
    fn pass_pytest_lock(
        &mut self,
        (leader, pytest_lock, mut watch): (Leader, PytestLock, PytestLockWatch),
    ) -> Result<Option<EnterOutcome>, LockError> {
        if self.options.heartbeat.is_zero() {
            leader.beat();
        }
        if leader.is_lost() {
            pytest_lock.abandon();
            return Ok(None);
        }
        let entry = pytest_lock.enter(&mut watch);
        if entry.is_err() {
            pytest_lock.abandon();
        }
        match entry? {
            PytestLockEntry::Held => {
                leader.hold(pytest_lock);
                Ok(Some(EnterOutcome::Lead(leader)))
            }
            PytestLockEntry::Wait { holder, retry_in } => {
                self.pending = Some((leader, pytest_lock, watch));
                Ok(Some(EnterOutcome::Wait { holder, retry_in }))
            }
        }
    }

    /// Whether we have an epoch that waits for pytest-cocotb's lock.
    pub(crate) fn is_before_pytest_lock(&self) -> bool {
        self.pending.is_some()
    }

    /// Gives up an epoch that waits for pytest-cocotb's lock.
    pub(crate) fn give_up(&mut self) {
        if let Some((leader, pytest_lock, _)) = self.pending.take() {
            pytest_lock.abandon();
            drop(leader);
        }
    }

    fn pytest_lock(&self, token: &str, epoch: u32) -> PytestLock {
        PytestLock::new(
            &self.ledger,
            Arc::clone(&self.options.machine),
            token,
            epoch,
        )
    }

    /// Clears the pytest-cocotb lock of a leader that died between its commit and its last step.
    fn clear_pytest_lock(&mut self) {
        if !self.options.pytest_cocotb {
            return;
        }
        let pytest_lock = self.pytest_lock("", 0);
        let top = self.top;
        pytest_lock.clear_after_the_dead(&mut |token| {
            (1..=top).any(|epoch| {
                let claim = self.ledger.claim(epoch).ok().flatten();
                claim.is_some_and(|claim| claim.token == token) && self.closed.contains_key(&epoch)
            })
        });
    }

    /// Looks at the holder of an open epoch.
    fn observe(&mut self, epoch: u32) -> Result<Liveness, LockError> {
        let mut verdict = self.watcher.observe(&self.ledger, &self.options, epoch)?;
        // A holder that came after us shows that we are not alone.
        let was_there = self.found_top.is_some_and(|top| epoch <= top);
        if self.options.alone && was_there && matches!(verdict, Liveness::Wait { .. }) {
            verdict = Liveness::Dead;
        }
        if matches!(verdict, Liveness::Wait { .. }) {
            self.watched.insert(epoch);
        }
        Ok(verdict)
    }

    /// Claims an epoch as if the last look had just been made; something happens in between.
    #[cfg(test)]
    pub(crate) fn claim_for_tests(
        &mut self,
        epoch: u32,
        between: &mut dyn FnMut(),
    ) -> EnterOutcome {
        between();
        self.claim(epoch, &mut |_| Acceptance::Use)
            .expect("a local directory works")
    }

    #[cfg(test)]
    pub(crate) fn options_for_tests(&mut self) -> &mut Options {
        &mut self.options
    }
}

impl Drop for CallOnce {
    fn drop(&mut self) {
        self.give_up();
    }
}
