//! One lock by one strategy: waiting for it, holding it, releasing it.
//!
//! Invariant: a [`Guard`] exists only while the lock is held by this process, as far as its
//! strategy can tell; dropping it releases the lock.

use crate::acquire::nfs_lock::HeldTicket;
use crate::acquire::nfs_lock::NfsLock;
use crate::acquire::probe;
use crate::acquire::strategy::Strategy;
use crate::error::LockError;
use crate::holder::Holder;
use crate::ledger::record::Claim;
use crate::options::Options;
use crate::wait::OnWait;
use crate::wait::Wait;
use crate::wait::jittered;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::file_lock;
use cocorun_edge::file_lock::FileLock;
use cocorun_edge::file_lock::LockKind;
use cocorun_edge::fs::os_words;
use cocorun_edge::machine::Machine;
use cocorun_edge::machine::ProcessState;
use cocorun_edge::storage::ExclusiveStorage;
use cocorun_edge::storage::Storage;
use cocorun_edge::storage::SystemStorage;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

/// A lock that is not held yet.
pub struct Lock {
    kind: Medium,
    strategy: Strategy,
    clock: Arc<dyn Clock>,
    options: Options,
    path: Utf8PathBuf,
    also_flock: bool,
}

enum Medium {
    Registers(Box<NfsLock>),
    Kernel(LockKind),
}

/// A lock that is held.
#[derive(Debug)]
pub enum Guard {
    /// By registers, and by flock(2) where that is held as well.
    Registers(HeldTicket, Option<FileLock>),
    /// By the kernel.
    Kernel(FileLock),
}

impl Guard {
    /// Returns a number that is higher than that of every earlier holder; the kernel's locks have
    /// none.
    pub fn fence(&self) -> Option<u32> {
        match self {
            Self::Registers(held, _) => Some(held.fence()),
            Self::Kernel(_) => None,
        }
    }

    /// Whether somebody took over because we seemed dead.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Registers(held, _) if held.is_lost())
    }

    /// Asks the registers now whether we still hold it.
    pub fn is_lost_now(&self) -> bool {
        if let Self::Registers(held, _) = self {
            held.beat();
        }
        self.is_lost()
    }

    /// Releases the lock; `true` if it was ours to the end, see [`HeldTicket::release`].
    ///
    /// # Errors
    /// The release could not be recorded; the others then wait for the lease.
    pub fn release(self) -> Result<bool, LockError> {
        match self {
            Self::Registers(held, _) => held.release(),
            Self::Kernel(_) => Ok(true),
        }
    }
}

impl Lock {
    /// Makes the lock of this path, whose directory exists.
    ///
    /// `options.poll_max` is the longest time between two looks; for the kernel's locks, exactly
    /// that time.
    pub fn new(
        strategy: Strategy,
        clock: Arc<dyn Clock>,
        path: &Utf8Path,
        options: Options,
    ) -> Self {
        let registers = |storage: Arc<dyn Storage>| {
            let dir = path.parent().unwrap_or(Utf8Path::new("")).to_owned();
            let name = path.file_name().unwrap_or("lock");
            let lock = NfsLock::new(storage, Arc::clone(&clock), dir, name, options.clone());
            Medium::Registers(Box::new(lock))
        };
        let kind = match probe::kernel_lock(strategy) {
            Some(kind) => Medium::Kernel(kind),
            None if strategy == Strategy::ExclusiveCreate => registers(Arc::new(ExclusiveStorage)),
            None => registers(Arc::new(SystemStorage)),
        };
        Self {
            kind,
            strategy,
            clock,
            options,
            path: path.to_owned(),
            also_flock: false,
        }
    }

    /// Takes flock(2) as well, before the registers; see [`Choice::also_flock`].
    ///
    /// [`Choice::also_flock`]: crate::acquire::detect::Choice::also_flock
    #[must_use]
    pub fn with_flock(mut self, also_flock: bool) -> Self {
        self.also_flock = also_flock;
        self
    }

    /// Waits for the lock; `None` if `on_wait` returned `Break`.
    ///
    /// `on_wait` is called several times a second.
    ///
    /// # Errors
    /// [`LockError::Timeout`] after `timeout`, a strategy that does not work there, or the file
    /// system refused or stalled.
    pub fn acquire(
        &mut self,
        on_wait: OnWait,
        timeout: Option<Duration>,
    ) -> Result<Option<Guard>, LockError> {
        let start = self.clock.now();
        let mut flock = None;
        if self.also_flock {
            match self.acquire_kernels(LockKind::Whole, on_wait, timeout)? {
                Some(Guard::Kernel(lock)) => flock = Some(lock),
                _ => return Ok(None),
            }
        }
        let waited = self.clock.now().saturating_duration_since(start);
        match &mut self.kind {
            Medium::Registers(lock) => {
                let left = timeout.map(|timeout| timeout.saturating_sub(waited));
                let held = lock.acquire(on_wait, left)?;
                Ok(held.map(|held| Guard::Registers(held, flock)))
            }
            Medium::Kernel(kind) => {
                let kind = *kind;
                self.acquire_kernels(kind, on_wait, timeout)
            }
        }
    }

    fn acquire_kernels(
        &self,
        kind: LockKind,
        on_wait: OnWait,
        timeout: Option<Duration>,
    ) -> Result<Option<Guard>, LockError> {
        let refused = |reason: &str| -> LockError {
            let dir = self.path.parent().unwrap_or(&self.path);
            self.strategy.refused(dir, reason)
        };
        let name = self.path.file_name().unwrap_or_default();
        let wait = Wait::new(&self.clock, name, timeout);
        loop {
            let tried = file_lock::try_lock(&self.path, kind, true);
            if let Some(lock) = tried.map_err(|error| match error.raw_os_error() {
                Some(libc::ENOLCK | libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL) => {
                    refused(&os_words(&error))
                }
                _ => LockError::Storage {
                    doing: "lock",
                    path: self.path.clone(),
                    source: error,
                },
            })? {
                probe::check_kernel_lock(&lock, &self.path).map_err(|reason| refused(&reason))?;
                lock.hand_down()
                    .map_err(|error| refused(&os_words(&error)))?;
                let claim = Claim {
                    lease: None,
                    ..Claim::new(&self.options.machine.me(), &self.options, self.clock.wall())
                };
                lock.tell(&claim.to_text());
                return Ok(Some(Guard::Kernel(lock)));
            }
            let holder = holder_of(&self.path, &*self.options.machine);
            let pause = jittered(self.options.poll_max, &*self.options.machine);
            if wait
                .pause(&holder, pause, on_wait, &mut || false)?
                .is_break()
            {
                return Ok(None);
            }
        }
    }
}

/// Describes the holder of a lock file, as far as the file says; for people.
pub(crate) fn holder_of(path: &Utf8Path, host: &dyn Machine) -> Holder {
    let claim = Claim::from_text(&file_lock::text_of(path));
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(claim.since_s);
    let doing = if host.state_of(&claim.process) == ProcessState::Gone {
        Some("it is dead, so if the lock is held, then by what it had started".to_owned())
    } else {
        (!claim.run_id.is_empty()).then_some(claim.run_id)
    };
    Holder {
        since: (claim.since_s > 0).then_some(since),
        doing,
        ..Holder::of(&claim.process, path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::wait::WaitProgress;

    use cocorun_edge::clock::SystemClock;
    use std::ops::ControlFlow;

    fn lock(strategy: Strategy, path: &Utf8Path) -> Lock {
        let options = Options {
            poll_max: Duration::from_millis(5),
            run_id: "cc -c a.c".to_owned(),
            ..Options::new("")
        };
        Lock::new(strategy, Arc::new(SystemClock), path, options)
    }

    #[test]
    fn by_every_strategy_a_second_one_waits_and_learns_who_holds_it() -> Result<(), LockError> {
        for strategy in Strategy::ALL {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let path = Utf8PathBuf::try_from(dir.path().join("a.lock")).expect("a UTF-8 path");
            let go_on = &mut |_: &WaitProgress| ControlFlow::Continue(());
            let held = lock(strategy, &path).acquire(go_on, None)?.expect("free");
            assert!(!held.is_lost_now(), "{strategy}");
            let mut seen = None;
            let second = lock(strategy, &path).acquire(
                &mut |waiting| {
                    seen = Some(waiting.holder.pid);
                    ControlFlow::Break(())
                },
                None,
            )?;
            assert!(second.is_none(), "{strategy}");
            assert_eq!(seen, Some(std::process::id()), "{strategy}");
            let timed_out = lock(strategy, &path)
                .acquire(go_on, Some(Duration::ZERO))
                .expect_err("it is held");
            assert!(matches!(timed_out, LockError::Timeout { .. }), "{strategy}");
            held.release()?;
            assert!(lock(strategy, &path).acquire(go_on, None)?.is_some());
        }
        Ok(())
    }

    #[test]
    fn with_flock_the_registers_exclude_who_knows_only_flock_and_who_knows_only_registers()
    -> Result<(), LockError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = Utf8PathBuf::try_from(dir.path().join("a.lock")).expect("a UTF-8 path");
        let go_on = &mut |_: &WaitProgress| ControlFlow::Continue(());
        let both = || lock(Strategy::Ledger, &path).with_flock(true);
        let mut is_held = |mut lock: Lock| lock.acquire(go_on, Some(Duration::ZERO)).is_err();
        let held = both().acquire(&mut |_| ControlFlow::Break(()), None)?;
        assert!(held.is_some());
        assert!(is_held(lock(Strategy::Flock, &path)) && is_held(lock(Strategy::Ledger, &path)));
        drop(held);
        for strategy in [Strategy::Flock, Strategy::Ledger] {
            let one = lock(strategy, &path).acquire(&mut |_| ControlFlow::Break(()), None)?;
            assert!(one.is_some() && is_held(both()), "{strategy}");
        }
        assert!(!is_held(both()));
        Ok(())
    }

    #[test]
    fn numbers_of_holders_rise_where_there_are_numbers() -> Result<(), LockError> {
        for strategy in [Strategy::Ledger, Strategy::ExclusiveCreate] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let path = Utf8PathBuf::try_from(dir.path().join("a.lock")).expect("a UTF-8 path");
            let mut fences = Vec::new();
            for _ in 0..3 {
                let go_on = &mut |_: &WaitProgress| ControlFlow::Continue(());
                let held = lock(strategy, &path).acquire(go_on, None)?.expect("free");
                fences.extend(held.fence());
            }
            assert!(fences.is_sorted() && fences.len() == 3, "{fences:?}");
        }
        Ok(())
    }
}
