//! Time: a monotonic clock for durations, wall-clock time for reports, and waiting.

use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// Returns monotonic time, for durations and limits.
    fn now(&self) -> Instant;
    /// Returns wall-clock time, for reports only.
    fn wall(&self) -> SystemTime;
    /// Blocks the calling thread.
    fn sleep(&self, duration: Duration);
}

/// The real clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}
