//! What most callers want of [`CallOnce`]: to be done, to be clean, to see.

use crate::CallOnce;
use crate::Ensured;
use crate::Entry;
use crate::EpochStatus;
use crate::Failure;
use crate::FailureRecord;
use crate::PublishOutcome;
use crate::Published;
use crate::Status;
use crate::Waiting;
use crate::call_once::Accept;
use crate::error::LockError;
use crate::holder::Holder;
use crate::leader::Leader;
use crate::record::Commit;

use cocorun_edge::host::Turn;
use std::ops::ControlFlow;
use std::time::Duration;

/// How long to rely on another process of this machine, which may be frozen, to watch the holder.
const UNWATCHED_MAX: Duration = Duration::from_secs(120);
/// How often [`CallOnce::ensure_done`] asks whether to go on waiting.
const WAIT_SLICE: Duration = Duration::from_millis(200);

/// Records a failure; the caller learns of it also where it could not be recorded.
fn failed(leader: Leader, failure: Failure) -> FailureRecord {
    let epoch = leader.epoch();
    let dir = leader.dir().to_owned();
    leader.fail(failure.kind, &failure.text).ok();
    FailureRecord {
        epoch,
        kind: failure.kind,
        text: failure.text,
        dir,
    }
}

/// Does the step; meanwhile the others on this machine need one who watches us.
fn lead(
    leader: &Leader,
    turn: &mut Option<Turn>,
    build: &mut dyn FnMut(&Leader) -> Result<serde_json::Value, Failure>,
) -> Result<serde_json::Value, Failure> {
    *turn = None;
    build(leader)
}

impl CallOnce {
    /// Enters, waits and builds until there is a result.
    ///
    /// `on_wait` is called several times a second while another process is at work; `Break` ends
    /// the wait. After `timeout` of waiting it gives up; it never builds beside a holder.
    ///
    /// # Errors
    /// [`LockError::Timeout`], or the file system refused or stalled.
    pub fn ensure_done(
        &mut self,
        accept: Accept,
        build: &mut dyn FnMut(&Leader) -> Result<serde_json::Value, Failure>,
        on_wait: &mut dyn FnMut(&Waiting) -> ControlFlow<()>,
        timeout: Option<Duration>,
    ) -> Result<Ensured, LockError> {
        let mut waited = Duration::ZERO;
        let mut turn = None;
        loop {
            match self.enter(accept)? {
                Entry::Done(published) => return Ok(Ensured::Found(published)),
                Entry::Failed(failure) => return Ok(Ensured::Failed(failure)),
                Entry::Lead(leader) => match lead(&leader, &mut turn, build) {
                    Ok(record) => {
                        if let PublishOutcome::Published(it) = leader.publish(record)? {
                            return Ok(Ensured::Built(it));
                        }
                    }
                    // Work that was stopped because somebody took over proves nothing.
                    Err(_) if leader.is_lost() => {}
                    Err(failure) => return Ok(Ensured::Failed(failed(leader, failure))),
                },
                Entry::Wait { holder, retry_in } => {
                    let flow =
                        self.wait(&holder, retry_in, &mut turn, &mut waited, on_wait, timeout);
                    if !matches!(flow, Ok(ControlFlow::Continue(()))) {
                        self.give_up();
                    }
                    if flow?.is_break() {
                        return Ok(Ensured::Interrupted);
                    }
                }
            }
        }
    }

    /// Ends the validity of all results and failures there are; one that is being made is not
    /// affected. Says how many there were.
    ///
    /// # Errors
    /// The file system refused or stalled; some may be retired then.
    pub fn clean(&mut self) -> Result<usize, LockError> {
        let top = self.poll()?;
        let mut retired = 0;
        for epoch in 1..=top {
            let counts = matches!(
                self.commit(epoch)?,
                Some(Commit::Done { .. } | Commit::Failed { .. })
            );
            if counts && !self.is_retired(epoch)? {
                self.retire(epoch, "clean", "")?;
                retired += 1;
            }
        }
        Ok(retired)
    }

    /// Reads the valid results, newest first, and writes nothing.
    ///
    /// # Errors
    /// The file system refused or stalled.
    pub fn results(&self) -> Result<Vec<Published>, LockError> {
        let mut results = Vec::new();
        for epoch in (1..=self.ledger.listed_top()?.unwrap_or(0)).rev() {
            if !self.ledger.is_retired(epoch)? {
                results.extend(self.ledger.peek(epoch));
            }
        }
        Ok(results)
    }

    /// Reads the whole ledger, for people.
    ///
    /// # Errors
    /// The file system refused or stalled.
    pub fn status(&self) -> Result<Status, LockError> {
        let mut epochs = Vec::new();
        for epoch in 1..=self.ledger.listed_top()?.unwrap_or(0) {
            let Some(claim) = self.ledger.claim(epoch)? else {
                continue;
            };
            let commit = self.ledger.commit(epoch)?;
            let sign = self
                .ledger
                .stamp_of_claim(epoch)
                .ok()
                .map(|stamp| stamp.modified_at());
            let doing = match commit {
                None => self.ledger.doing(epoch, &claim.token),
                Some(_) => None,
            };
            epochs.push(EpochStatus {
                epoch,
                state: commit.as_ref().map_or("running", Commit::word),
                is_retired: self.ledger.is_retired(epoch)?,
                dir: self.ledger.attempt_dir(epoch, &claim.token),
                holder: self.ledger.holder(epoch, &claim, sign, doing),
            });
        }
        Ok(Status { epochs })
    }

    /// Pauses in slices; says whether the caller wants to go on.
    ///
    /// Of the callers on one machine, one asks the server about a holder. The others pause until
    /// it is their turn, which is when that one has learned something or died.
    fn wait(
        &self,
        holder: &Holder,
        retry_in: Duration,
        turn: &mut Option<Turn>,
        waited: &mut Duration,
        on_wait: &mut dyn FnMut(&Waiting) -> ControlFlow<()>,
        timeout: Option<Duration>,
    ) -> Result<ControlFlow<()>, LockError> {
        let clock = &self.ledger.disk.clock;
        let key = blake3::hash(self.ledger.registers.as_str().as_bytes()).to_hex();
        // Whoever leads already, and waits before the gate, watches something else.
        let is_alone = self.is_before_gate() || turn.is_some() || {
            *turn = self.options.host.turn(&key[..32]);
            turn.is_some()
        };
        let mut left = if is_alone { retry_in } else { UNWATCHED_MAX };
        while !left.is_zero() {
            if !is_alone {
                *turn = self.options.host.turn(&key[..32]);
                if turn.is_some() {
                    return Ok(ControlFlow::Continue(()));
                }
            }
            if on_wait(&Waiting {
                holder,
                waited: *waited,
            })
            .is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            if timeout.is_some_and(|timeout| *waited >= timeout) {
                return Err(LockError::Timeout {
                    name: self.ledger.name.clone(),
                    waited: *waited,
                    holder: Box::new(holder.clone()),
                });
            }
            let rest = timeout.map_or(left, |timeout| timeout.saturating_sub(*waited));
            let slice = left.min(WAIT_SLICE).min(rest);
            let before = clock.now();
            clock.sleep(slice);
            *waited += clock.now().saturating_duration_since(before);
            left = left.saturating_sub(slice);
        }
        Ok(ControlFlow::Continue(()))
    }
}
