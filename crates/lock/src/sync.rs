//! Threads and what they share, so that a test can explore their interleavings.
//!
//! In the program these are the standard library's, nothing more. In unit tests that ask for it
//! (`explored`) `shuttle` decides at each of these calls who runs next, and a time limit expires
//! whenever a thread gets its turn. Invariant: a lock is never poisoned, because nothing that holds
//! one can leave its value half updated.

use std::io;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
#[cfg(test)]
use std::sync::TryLockError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::thread::JoinHandle;
use std::time::Duration;

/// Locks a mutex.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(test)]
    if explored::is_on() {
        return explored::lock(mutex);
    }
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that becomes true once.
#[derive(Debug, Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    /// Makes it true.
    pub(crate) fn raise(&self) {
        #[cfg(test)]
        explored::turn();
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it is true.
    pub(crate) fn is_raised(&self) -> bool {
        #[cfg(test)]
        explored::turn();
        self.0.load(Ordering::SeqCst)
    }
}

/// Wakes a thread that sleeps between periodic actions.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    is_set: Mutex<bool>,
    wake: Condvar,
}

impl Notify {
    /// Notifies; it stays notified.
    pub(crate) fn notify(&self) {
        *lock(&self.is_set) = true;
        self.wake.notify_all();
    }

    /// Waits for the notification; `false` once this time has passed without it.
    pub(crate) fn is_notified_within(&self, period: Duration) -> bool {
        let is_set = lock(&self.is_set);
        #[cfg(test)]
        if explored::is_on() {
            return *is_set;
        }
        let (is_set, _timeout) = self
            .wake
            .wait_timeout_while(is_set, period, |is_set| !*is_set)
            .unwrap_or_else(PoisonError::into_inner);
        *is_set
    }
}

/// A thread that was started.
#[derive(Debug)]
pub(crate) struct Thread(Inner);

#[derive(Debug)]
enum Inner {
    System(JoinHandle<()>),
    #[cfg(test)]
    Explored(shuttle::thread::JoinHandle<()>),
}

impl Thread {
    /// Starts a thread of this name.
    ///
    /// # Errors
    /// The system has no room for another one.
    pub(crate) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        #[cfg(test)]
        if explored::is_on() {
            return Ok(Self(Inner::Explored(shuttle::thread::spawn(work))));
        }
        let builder = Builder::new().name(name.to_owned());
        Ok(Self(Inner::System(builder.spawn(work)?)))
    }

    /// Waits for its end; a panic was reported by the thread itself.
    pub(crate) fn join(self) {
        match self.0 {
            Inner::System(thread) => drop(thread.join()),
            #[cfg(test)]
            Inner::Explored(thread) => drop(thread.join()),
        }
    }
}

/// The version for tests: interleavings that `shuttle` draws.
#[cfg(test)]
pub(crate) mod explored {
    use super::Mutex;
    use super::MutexGuard;
    use super::TryLockError;

    use std::cell::Cell;

    thread_local! {
        // All of shuttle's threads run on the thread that explores.
        static IS_ON: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn is_on() -> bool {
        IS_ON.get()
    }

    /// Lets another thread run, or not.
    pub(crate) fn turn() {
        if is_on() {
            shuttle::thread::yield_now();
        }
    }

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        loop {
            turn();
            // Blocking would stop the one thread that all of them run on.
            match mutex.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
    }

    /// Tries this many random interleavings of the scene's threads.
    pub(crate) fn orders(count: usize, scene: impl Fn() + Send + Sync + 'static) {
        IS_ON.set(true);
        shuttle::check_random(scene, count);
        IS_ON.set(false);
    }
}
