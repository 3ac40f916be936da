//! Waiting for another process: in slices, so that a signal ends it at once and the user sees
//! progress however rarely the lock itself is looked at.

use crate::error::LockError;
use crate::holder::Holder;

use cocorun_edge::clock::Clock;
use cocorun_edge::machine::Machine;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// How often a wait asks whether to go on.
const SLICE: Duration = Duration::from_millis(200);

/// How a wait is going, as shown to the caller's `on_wait`.
#[derive(Clone, Debug)]
pub struct WaitProgress<'a> {
    /// The holder that is waited for.
    pub holder: &'a Holder,
    /// How long so far.
    pub waited: Duration,
}

/// Called several times a second during a wait; `Break` ends it.
pub type OnWait<'a> = &'a mut dyn FnMut(&WaitProgress) -> ControlFlow<()>;

/// One wait with its time limit, over any number of holders.
pub(crate) struct Wait {
    clock: Arc<dyn Clock>,
    name: String,
    start: Instant,
    timeout: Option<Duration>,
}

impl Wait {
    /// Starts to wait for `name`.
    pub(crate) fn new(clock: &Arc<dyn Clock>, name: &str, timeout: Option<Duration>) -> Self {
        Self {
            clock: Arc::clone(clock),
            name: name.to_owned(),
            start: clock.now(),
            timeout,
        }
    }

    /// Does something other than waiting: its time does not count.
    pub(crate) fn uncounted<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = self.clock.now();
        let value = work();
        self.start += self.clock.now().saturating_duration_since(before);
        value
    }

    /// Pauses until it is time for another look, or `is_over` says that one is worthwhile now.
    ///
    /// A pause ends at the time limit at the latest, so that the lock is looked at once more then;
    /// the limit has passed for whoever pauses again. `Break` is the caller's wish to end the wait.
    ///
    /// # Errors
    /// [`LockError::Timeout`].
    pub(crate) fn pause(
        &self,
        holder: &Holder,
        period: Duration,
        on_wait: OnWait,
        is_over: &mut dyn FnMut() -> bool,
    ) -> Result<ControlFlow<()>, LockError> {
        let begin = self.clock.now();
        let so_far = begin.saturating_duration_since(self.start);
        let rest = self.timeout.map(|limit| limit.saturating_sub(so_far));
        let until = begin + rest.map_or(period, |rest| rest.min(period));
        loop {
            let now = self.clock.now();
            let waited = now.saturating_duration_since(self.start);
            if on_wait(&WaitProgress { holder, waited }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if rest.is_some_and(|rest| rest.is_zero()) {
                return Err(LockError::Timeout {
                    name: self.name.clone(),
                    waited,
                    holder: Box::new(holder.clone()),
                });
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() || is_over() {
                return Ok(ControlFlow::Continue(()));
            }
            self.clock.sleep(left.min(SLICE));
        }
    }
}

/// Makes a pause up to a quarter shorter or longer, so that waiting processes do not all look at
/// once.
pub(crate) fn jittered(pause: Duration, machine: &dyn Machine) -> Duration {
    pause.mul_f64(0.75 + 0.5 * chance(machine))
}

/// Returns a random number from 0 to 1.
pub(crate) fn chance(machine: &dyn Machine) -> f64 {
    let low = u32::try_from(machine.random() & 0xffff_ffff).unwrap_or(0);
    f64::from(low) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    use camino::Utf8PathBuf;
    use cocorun_edge::machine::SystemMachine;
    use std::sync::Mutex;
    use std::time::SystemTime;

    /// Time that passes only while somebody sleeps.
    struct SleepClock(Mutex<Instant>);

    impl Clock for SleepClock {
        fn now(&self) -> Instant {
            *self.0.lock().expect("nobody panics")
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn sleep(&self, duration: Duration) {
            *self.0.lock().expect("nobody panics") += duration;
        }
    }

    fn wait(timeout_s: u64) -> (Arc<dyn Clock>, Wait) {
        let start = cocorun_edge::clock::SystemClock.now();
        let clock: Arc<dyn Clock> = Arc::new(SleepClock(Mutex::new(start)));
        let wait = Wait::new(&clock, "x.lock", Some(Duration::from_secs(timeout_s)));
        (clock, wait)
    }

    fn pause(wait: &Wait, period_s: u64) -> Result<ControlFlow<()>, LockError> {
        let holder = Holder::of(&SystemMachine.me(), Utf8PathBuf::from("x.lock"));
        let period = Duration::from_secs(period_s);
        let go_on = &mut |_: &WaitProgress| ControlFlow::Continue(());
        wait.pause(&holder, period, go_on, &mut || false)
    }

    #[test]
    fn a_wait_whose_period_exceeds_its_limit_still_looks_once_at_the_limit() {
        let (clock, wait) = wait(3);
        let began = clock.now();
        assert!(matches!(pause(&wait, 10), Ok(ControlFlow::Continue(()))));
        assert_eq!(clock.now() - began, Duration::from_secs(3));
        assert!(matches!(pause(&wait, 10), Err(LockError::Timeout { .. })));
        assert_eq!(clock.now() - began, Duration::from_secs(3));
    }

    #[test]
    fn a_wait_without_time_ends_at_its_first_pause() {
        let (clock, wait) = wait(0);
        let began = clock.now();
        assert!(matches!(pause(&wait, 1), Err(LockError::Timeout { .. })));
        assert_eq!(clock.now(), began);
    }

    #[test]
    fn what_is_not_waiting_does_not_count_against_the_limit() {
        let (clock, mut wait) = wait(3);
        wait.uncounted(|| clock.sleep(Duration::from_secs(60)));
        assert!(matches!(pause(&wait, 1), Ok(ControlFlow::Continue(()))));
    }
}
