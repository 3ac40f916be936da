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
    /// `Break` is the caller's wish to end the wait.
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
        let until = self.clock.now() + period;
        loop {
            let now = self.clock.now();
            let waited = now.saturating_duration_since(self.start);
            if on_wait(&WaitProgress { holder, waited }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if self.timeout.is_some_and(|timeout| waited >= timeout) {
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
            let rest = self
                .timeout
                .map_or(left, |timeout| timeout.saturating_sub(waited));
            self.clock.sleep(left.min(SLICE).min(rest));
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
