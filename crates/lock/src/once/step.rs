//! Doing a step: what most callers need from [`CallOnce`].

use crate::error::LockError;
use crate::holder::Holder;
use crate::ledger::record::Commit;
use crate::ledger::record::FailureKind;
use crate::once::call_once::CallOnce;
use crate::once::call_once::EnterOutcome;
use crate::once::leader::Leader;
use crate::once::leader::PublishOutcome;
use crate::outcome::Acceptance;
use crate::outcome::FailureRecord;
use crate::outcome::Published;
use crate::wait::OnWait;
use crate::wait::Wait;
use crate::wait::WaitProgress;

use cocorun_edge::machine::LocalWatcher;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::time::Duration;

/// How long to rely on another process of this machine, which may be frozen, to watch the holder.
const UNWATCHED_MAX: Duration = Duration::from_secs(120);

/// A step that is to be done once. A closure from [`Leader`] to the step's outcome is one.
pub trait OnceStep {
    /// The caller's own error.
    type Error;

    /// Does the step in the private directory [`Leader::dir`]; returns the record to publish.
    ///
    /// May be called again if somebody took over meanwhile.
    ///
    /// # Errors
    /// It failed; the error comes back in [`StepError::Step`].
    fn run(&mut self, leader: &Leader) -> Result<serde_json::Value, Failure<Self::Error>>;

    /// Judges published results, newest first.
    fn accept(&mut self, _published: &Published) -> Acceptance {
        Acceptance::Use
    }

    /// Called several times a second while another process is at work; `Break` ends the wait.
    fn on_wait(&mut self, _progress: &WaitProgress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<E, F> OnceStep for F
where
    F: FnMut(&Leader) -> Result<serde_json::Value, Failure<E>>,
{
    type Error = E;

    fn run(&mut self, leader: &Leader) -> Result<serde_json::Value, Failure<E>> {
        self(leader)
    }
}

/// Why a [`OnceStep`] failed: the caller's error, and what is recorded for other processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<E> {
    /// Whether it would fail again.
    pub kind: FailureKind,
    /// What went wrong, for other processes.
    pub text: String,
    /// What went wrong, for the caller.
    pub error: E,
}

impl<E: Display> Failure<E> {
    /// Makes a failure that is recorded for others as the error's own text.
    pub fn new(kind: FailureKind, error: E) -> Self {
        Self {
            kind,
            text: error.to_string(),
            error,
        }
    }
}

/// How a step was done.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// This caller did it.
    Here(Published),
    /// Another process had done it.
    Elsewhere(Published),
}

impl Done {
    /// Returns the result, no matter who made it.
    pub fn published(self) -> Published {
        match self {
            Self::Here(published) | Self::Elsewhere(published) => published,
        }
    }
}

/// Why a step is not done.
#[derive(Debug, thiserror::Error)]
pub enum StepError<E> {
    /// It failed here, with the caller's own error.
    #[error("{0}")]
    Step(E),
    /// It failed in another process, in a way that would repeat.
    #[error("{}", .0.text)]
    Elsewhere(FailureRecord),
    /// The caller did not want to wait any longer.
    #[error("the wait was interrupted")]
    Interrupted,
    /// Nobody else finished within the limit, or the file system refused or stalled.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl CallOnce {
    /// Enters, waits and does the step until there is a result.
    ///
    /// After `timeout` of waiting it gives up; it never works at the same time as a holder.
    ///
    /// # Errors
    /// See [`StepError`]. A failure of this caller is recorded for the others.
    pub fn ensure_done<S: OnceStep>(
        &mut self,
        step: &mut S,
        timeout: Option<Duration>,
    ) -> Result<Done, StepError<S::Error>> {
        let mut wait = Wait::new(&self.ledger.disk.clock, &self.ledger.name, timeout);
        let mut local = None;
        loop {
            // A file server that does not answer is no holder that is waited for.
            let entered = wait.uncounted(|| self.enter(&mut |published| step.accept(published)));
            match entered? {
                EnterOutcome::Done(published) => return Ok(Done::Elsewhere(published)),
                EnterOutcome::Failed(failure) => return Err(StepError::Elsewhere(failure)),
                EnterOutcome::Lead(leader) => {
                    // Meanwhile the others on this machine need a watcher for us.
                    local = None;
                    match wait.uncounted(|| step.run(&leader)) {
                        Ok(record) => {
                            let outcome = wait.uncounted(|| leader.publish(record))?;
                            if let PublishOutcome::Published(it) = outcome {
                                return Ok(Done::Here(it));
                            }
                        }
                        // Work that was stopped because somebody took over proves nothing.
                        Err(_) if leader.is_lost() => {}
                        Err(failure) => {
                            // The caller gets the error even if it could not be recorded.
                            leader.fail(failure.kind, &failure.text).ok();
                            return Err(StepError::Step(failure.error));
                        }
                    }
                }
                EnterOutcome::Wait { holder, retry_in } => {
                    let on_wait = &mut |progress: &WaitProgress| step.on_wait(progress);
                    let flow = self.wait(&wait, (&holder, retry_in), &mut local, on_wait);
                    if !matches!(flow, Ok(ControlFlow::Continue(()))) {
                        self.give_up();
                    }
                    if flow?.is_break() {
                        return Err(StepError::Interrupted);
                    }
                }
            }
        }
    }

    /// Retires all existing results and failures; an attempt in progress is not affected. Returns
    /// how many there were.
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

    /// Pauses until the next look.
    ///
    /// Of the callers on one machine, one asks the server about a holder. The others pause until
    /// that one has learned something or died.
    fn wait(
        &self,
        wait: &Wait,
        (holder, retry_in): (&Holder, Duration),
        local: &mut Option<LocalWatcher>,
        on_wait: OnWait,
    ) -> Result<ControlFlow<()>, LockError> {
        let machine = &self.options.machine;
        let key = blake3::hash(self.ledger.registers.as_str().as_bytes()).to_hex();
        // A caller that already leads, and waits for pytest-cocotb, watches something else.
        if !self.is_before_pytest_lock() && local.is_none() {
            *local = machine.local_watcher(&key[..32]);
        }
        if self.is_before_pytest_lock() || local.is_some() {
            return wait.pause(holder, retry_in, on_wait, &mut || false);
        }
        wait.pause(holder, UNWATCHED_MAX, on_wait, &mut || {
            *local = machine.local_watcher(&key[..32]);
            local.is_some()
        })
    }
}
