//! The process that may work: its signs of life, how it learns of a takeover, and the single end of
//! its epoch.
//!
//! Invariants: the epoch of a [`Leader`] is closed at most once by it, and at the latest when it
//! is dropped. No sign of life is given after the end. No lock is held while the file system is
//! asked, so a hanging server cannot block [`Leader::is_lost`] or [`Leader::note`].

use crate::error::LockError;
use crate::ledger::Ledger;
use crate::ledger::disk::Put;
use crate::ledger::record::Commit;
use crate::ledger::record::FailureKind;
use crate::outcome::FailureRecord;
use crate::outcome::Published;
use crate::pytest_cocotb::lock::PytestLock;
use crate::sync::Flag;
use crate::sync::Notify;
use crate::sync::Thread;
use crate::sync::lock;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::storage::Touch;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

/// Latest time of the first sign of life: waiting users want to know what they wait for.
const FIRST_BEAT: Duration = Duration::from_secs(1);

/// What the leader and its heartbeat thread share.
struct Pulse {
    ledger: Ledger,
    epoch: u32,
    token: String,
    claim_text: String,
    dir: Utf8PathBuf,
    run_id: String,
    lost: Flag,
    doing: Mutex<Option<String>>,
    pytest_lock: Mutex<Option<PytestLock>>,
    end: Notify,
}

/// The outcome of [`Leader::publish`].
#[derive(Clone, Debug, PartialEq)]
pub enum PublishOutcome {
    /// Everybody can see it.
    Published(Published),
    /// Somebody took over in the meantime; nothing was published.
    Superseded,
}

/// The right to do the step, in a private directory, until it is published, failed or released.
///
/// Dropping it releases it, so that others need not wait for the lease.
pub struct Leader {
    pulse: Arc<Pulse>,
    thread: Option<Thread>,
    is_closed: bool,
}

impl Pulse {
    /// Gives one sign of life and checks whether somebody took over.
    ///
    /// Errors are ignored: the next beat tries again, and if all fail, others may take over, which
    /// shows at the end.
    fn beat(&self) {
        self.ledger
            .disk
            .touch(&self.ledger.claim_path(self.epoch), Touch::Now)
            .ok();
        let doing = lock(&self.doing).take();
        if let Some(text) = doing {
            self.ledger.write_doing(&self.dir, &text);
        }
        if self.is_taken() {
            self.lost.raise();
        } else {
            let pytest_lock = lock(&self.pytest_lock).clone();
            if let Some(pytest_lock) = pytest_lock {
                pytest_lock.beat();
            }
        }
    }

    /// Whether the registers show that this epoch is no longer ours.
    fn is_taken(&self) -> bool {
        self.ledger.refresh();
        let disk = &self.ledger.disk;
        let commit = disk.read_register(&self.ledger.commit_path(self.epoch));
        if let Ok(Some(text)) = commit
            && self.is_revocation(&text)
        {
            return true;
        }
        // The whole directory was removed while we were at work.
        match disk.read_register(&self.ledger.claim_path(self.epoch)) {
            Ok(Some(text)) => text != self.claim_text,
            // Absence is believed only if the server itself confirms it.
            Ok(None) => self
                .ledger
                .stamp_of_claim(self.epoch)
                .is_err_and(|error| error.kind() == io::ErrorKind::NotFound),
            Err(_) => false,
        }
    }

    /// Whether a text in our register takes the epoch from us.
    fn is_revocation(&self, text: &str) -> bool {
        let is_foreign = matches!(Commit::from_text(text), Commit::Revoked);
        is_foreign && Commit::is_about(text, &self.token)
    }

    fn run(&self, period: Duration) {
        let mut pause = period.min(FIRST_BEAT);
        while !self.end.is_notified_within(pause) {
            self.beat();
            pause = period;
        }
    }
}

impl Leader {
    /// Starts an epoch whose claim was just won.
    pub(crate) fn start(
        ledger: Ledger,
        epoch: u32,
        token: String,
        claim_text: String,
        run_id: String,
        heartbeat: Option<Duration>,
    ) -> Result<Self, LockError> {
        let dir = ledger.attempt_dir(epoch, &token);
        let pulse = Arc::new(Pulse {
            ledger,
            epoch,
            token,
            claim_text,
            dir,
            run_id,
            lost: Flag::default(),
            doing: Mutex::default(),
            pytest_lock: Mutex::default(),
            end: Notify::default(),
        });
        let mut leader = Self {
            pulse,
            thread: None,
            is_closed: false,
        };
        if let Some(period) = heartbeat {
            let pulse = Arc::clone(&leader.pulse);
            let thread = Thread::start("lock-heartbeat", move || pulse.run(period));
            let thread = thread.map_err(|source| {
                let path = leader.pulse.ledger.registers.clone();
                LockError::Storage {
                    doing: "start the heartbeat of",
                    path,
                    source,
                }
            })?;
            leader.thread = Some(thread);
        }
        Ok(leader)
    }

    /// Keeps pytest-cocotb's lock until the end of this epoch.
    pub(crate) fn hold(&self, pytest_lock: PytestLock) {
        *lock(&self.pulse.pytest_lock) = Some(pytest_lock);
    }

    /// Makes the private directory.
    pub(crate) fn create_dir(&self) -> Result<(), LockError> {
        self.pulse.ledger.disk.create_dirs(&self.pulse.dir)
    }

    /// Returns the number of this attempt, from 1.
    pub fn epoch(&self) -> u32 {
        self.pulse.epoch
    }

    /// Returns the name of this incarnation, 32 hex digits.
    pub fn token(&self) -> &str {
        &self.pulse.token
    }

    /// Returns the private directory, which exists; nobody else ever writes there.
    pub fn dir(&self) -> &Utf8Path {
        &self.pulse.dir
    }

    /// Whether somebody took over; then the work no longer counts and should stop.
    pub fn is_lost(&self) -> bool {
        self.pulse.lost.is_raised()
    }

    /// Records what is being done, for waiting callers; written with the next sign of life.
    pub fn note(&self, doing: &str) {
        *lock(&self.pulse.doing) = Some(doing.to_owned());
    }

    /// Gives one sign of life now, for callers that asked for no heartbeat thread.
    pub fn beat(&self) {
        self.pulse.beat();
    }

    /// Publishes the result in [`Leader::dir`], which must be complete and on disk.
    ///
    /// # Errors
    /// The record or the commit could not be written. The result may have been published all the
    /// same; the next look at the ledger shows it.
    pub fn publish(mut self, record: serde_json::Value) -> Result<PublishOutcome, LockError> {
        if self.is_lost() {
            return Ok(PublishOutcome::Superseded);
        }
        let pulse = Arc::clone(&self.pulse);
        let digest = pulse.ledger.write_record(&pulse.dir, &record)?;
        let commit = Commit::Done {
            token: pulse.token.clone(),
            digest,
        };
        if self.close(&commit)? != Some(Put::Won) {
            return Ok(PublishOutcome::Superseded);
        }
        Ok(PublishOutcome::Published(Published {
            epoch: pulse.epoch,
            token: pulse.token.clone(),
            dir: pulse.dir.clone(),
            record,
        }))
    }

    /// Ends the epoch without a result.
    ///
    /// A deterministic failure is reported to callers that waited during the attempt and to those
    /// of the same run; all others try again.
    ///
    /// # Errors
    /// The failure could not be recorded; the others then wait for the lease.
    pub fn fail(mut self, kind: FailureKind, text: &str) -> Result<FailureRecord, LockError> {
        let pulse = Arc::clone(&self.pulse);
        // The summary in the register suffices if the disk is too full for the text.
        pulse.ledger.write_failure(&pulse.dir, text).ok();
        self.close(&Commit::Failed {
            token: pulse.token.clone(),
            kind,
            summary: text.to_owned(),
            run_id: pulse.run_id.clone(),
        })?;
        Ok(FailureRecord {
            epoch: pulse.epoch,
            kind,
            text: text.to_owned(),
            dir: pulse.dir.clone(),
        })
    }

    /// Ends the epoch without a result and without a failure; `true` if it was ours to the end.
    ///
    /// # Errors
    /// The end could not be recorded; the others then wait for the lease.
    pub fn release(mut self) -> Result<bool, LockError> {
        Ok(match self.close(&Commit::Released)? {
            Some(Put::Won) => true,
            // A text from before the directory was recreated takes the register, not the lock.
            Some(Put::Lost(text)) => !self.pulse.is_revocation(&text),
            None => false,
        })
    }

    /// Fills our commit; `None` if the epoch was no longer ours.
    ///
    /// The claim is looked at once more, because a ledger that was removed under us and recreated
    /// has a register of the same name that belongs to another attempt.
    fn close(&mut self, commit: &Commit) -> Result<Option<Put>, LockError> {
        self.is_closed = true;
        self.still();
        if self.pulse.is_taken() {
            self.leave();
            return Ok(None);
        }
        let pulse = &self.pulse;
        let path = pulse.ledger.commit_path(pulse.epoch);
        let put = pulse
            .ledger
            .disk
            .put(&path, &commit.to_text(&pulse.token))?;
        if put == Put::Won && pulse.ledger.pytest_cocotb {
            self.tell_others(commit);
        }
        self.leave();
        // The claim's time shows the end as well, for `NFSv3` clients that cannot see the new name
        // (see `ENDED_S`). It is a hint; without it they wait for the lease.
        pulse
            .ledger
            .disk
            .touch(&pulse.ledger.claim_path(pulse.epoch), Touch::Ended)
            .ok();
        Ok(Some(put))
    }

    /// Makes the files that pytest-cocotb looks at; if that fails, the next caller makes them.
    fn tell_others(&self, commit: &Commit) {
        let pulse = &self.pulse;
        match commit {
            Commit::Done { .. } => {
                pulse.ledger.mark(pulse.epoch, &pulse.token).ok();
            }
            Commit::Failed {
                kind: FailureKind::Deterministic,
                summary,
                ..
            } => {
                pulse.ledger.mark_failed(pulse.epoch, &pulse.token, summary);
            }
            _ => {}
        }
    }

    fn leave(&self) {
        let pytest_lock = lock(&self.pulse.pytest_lock).take();
        if let Some(pytest_lock) = pytest_lock {
            pytest_lock.leave();
        }
    }

    /// Ends the heartbeat and waits for a beat that is in progress.
    fn still(&mut self) {
        self.pulse.end.notify();
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.is_closed && !self.is_lost() {
            self.close(&Commit::Released).ok();
        }
        self.still();
        self.leave();
    }
}

impl std::fmt::Debug for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leader")
            .field("dir", &self.pulse.dir)
            .finish_non_exhaustive()
    }
}
