//! One lock by one strategy: waiting for it, holding it, letting go.
//!
//! Invariant: a [`Guard`] exists only while the lock is held by this process, as far as its
//! strategy can tell; dropping it lets go.

use crate::Held;
use crate::Holder;
use crate::LockError;
use crate::NfsLock;
use crate::Options;
use crate::Waiting;
use crate::record::Claim;
use crate::strategy::Strategy;
use crate::strategy::probe;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::file_lock;
use cocorun_edge::file_lock::FileLock;
use cocorun_edge::file_lock::LockKind;
use cocorun_edge::fs::os_words;
use cocorun_edge::host::Fate;
use cocorun_edge::host::Host;
use cocorun_edge::storage::ExclusiveStorage;
use cocorun_edge::storage::Storage;
use cocorun_edge::storage::SystemStorage;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

/// How often a wait asks whether to go on.
const WAIT_SLICE: Duration = Duration::from_millis(200);

/// A lock that is not held yet.
pub struct Lock {
    kind: Kind,
    strategy: Strategy,
    clock: Arc<dyn Clock>,
    options: Options,
    path: Utf8PathBuf,
    also_flock: bool,
}

enum Kind {
    Registers(Box<NfsLock>),
    Kernel(LockKind),
}

/// A lock that is held.
#[derive(Debug)]
pub enum Guard {
    /// By registers, and by flock(2) where that is held as well.
    Registers(Held, Option<FileLock>),
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

    /// Says whether somebody took over because we seemed dead.
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

    /// Lets go; says whether it was ours to the end, see [`Held::release`].
    ///
    /// # Errors
    /// It could not be recorded; the others then wait for the lease.
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
    /// `options.poll_max` is the longest time between two looks; of the kernel's locks, the time.
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
            Kind::Registers(Box::new(lock))
        };
        let kind = match probe::kernel_lock(strategy) {
            Some(kind) => Kind::Kernel(kind),
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
    /// [`Choice::also_flock`]: crate::strategy::Choice::also_flock
    #[must_use]
    pub fn beside_flock(mut self, also_flock: bool) -> Self {
        self.also_flock = also_flock;
        self
    }

    /// Waits for the lock; `None` where `on_wait` said `Break`.
    ///
    /// `on_wait` is called several times a second.
    ///
    /// # Errors
    /// [`LockError::Timeout`] after `timeout`, a strategy that does not work there, or the file
    /// system refused or stalled.
    pub fn acquire(
        &mut self,
        on_wait: &mut dyn FnMut(&Waiting) -> ControlFlow<()>,
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
            Kind::Registers(lock) => {
                let left = timeout.map(|timeout| timeout.saturating_sub(waited));
                let held = lock.acquire(on_wait, left)?;
                Ok(held.map(|held| Guard::Registers(held, flock)))
            }
            Kind::Kernel(kind) => {
                let kind = *kind;
                self.acquire_kernels(kind, on_wait, timeout)
            }
        }
    }

    fn acquire_kernels(
        &self,
        kind: LockKind,
        on_wait: &mut dyn FnMut(&Waiting) -> ControlFlow<()>,
        timeout: Option<Duration>,
    ) -> Result<Option<Guard>, LockError> {
        let refused = |reason: &str| -> LockError {
            let dir = self.path.parent().unwrap_or(&self.path);
            probe::refused(self.strategy, dir, reason)
        };
        let start = self.clock.now();
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
                lock.tell(&self.claim().to_text());
                return Ok(Some(Guard::Kernel(lock)));
            }
            let waited = self.clock.now().saturating_duration_since(start);
            let holder = holder_of(&self.path, &*self.options.host);
            let waiting = Waiting {
                holder: &holder,
                waited,
            };
            if on_wait(&waiting).is_break() {
                return Ok(None);
            }
            if timeout.is_some_and(|timeout| waited >= timeout) {
                return Err(LockError::Timeout {
                    name: self.path.file_name().unwrap_or_default().to_owned(),
                    waited,
                    holder: Box::new(holder),
                });
            }
            let rest = timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(waited));
            let until = self.clock.now() + self.pause().min(rest);
            // In slices, so that a signal ends it at once and people are told however rare looks are.
            loop {
                let now = self.clock.now();
                let left = until.saturating_duration_since(now);
                if left.is_zero() {
                    break;
                }
                self.clock.sleep(left.min(WAIT_SLICE));
                let waited = self.clock.now().saturating_duration_since(start);
                let holder = &holder;
                if on_wait(&Waiting { holder, waited }).is_break() {
                    return Ok(None);
                }
            }
        }
    }

    /// Returns the time to the next look, a little different for everybody.
    fn pause(&self) -> Duration {
        let low = u32::try_from(self.options.host.random() & 0xffff).unwrap_or(0);
        let chance = f64::from(low) / f64::from(0xffff_u16);
        self.options.poll_max.mul_f64(0.75 + 0.5 * chance)
    }

    fn claim(&self) -> Claim {
        let since = self
            .clock
            .wall()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Claim {
            token: format!("{:032x}", self.options.host.random()),
            process: self.options.host.me(),
            lease: None,
            run_id: self.options.run_id.clone(),
            since_s: since.as_secs(),
        }
    }
}

/// Describes the holder of a lock file, as far as it told; for people.
pub(crate) fn holder_of(path: &Utf8Path, host: &dyn Host) -> Holder {
    let claim = Claim::from_text(&file_lock::text_of(path));
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(claim.since_s);
    let doing = if host.fate(&claim.process) == Fate::Gone {
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

    use cocorun_edge::clock::SystemClock;

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
            let go_on = &mut |_: &Waiting| ControlFlow::Continue(());
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
    fn beside_flock_the_registers_exclude_who_knows_only_flock_and_who_knows_only_registers()
    -> Result<(), LockError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = Utf8PathBuf::try_from(dir.path().join("a.lock")).expect("a UTF-8 path");
        let go_on = &mut |_: &Waiting| ControlFlow::Continue(());
        let both = || lock(Strategy::Ledger, &path).beside_flock(true);
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
                let go_on = &mut |_: &Waiting| ControlFlow::Continue(());
                let held = lock(strategy, &path).acquire(go_on, None)?.expect("free");
                fences.extend(held.fence());
            }
            assert!(fences.is_sorted() && fences.len() == 3, "{fences:?}");
        }
        Ok(())
    }
}
