//! When a silent holder may be taken for dead: only by the watcher's own clock and observations.
//!
//! A verdict decides when a process may try, never who wins, so a wrong one costs a second compile,
//! not correctness. Still, the bar is high: only observed silence counts.

use std::time::Duration;
use std::time::Instant;

/// Fewest successful looks since the last change.
const LOOKS_MIN: u32 = 6;

/// One look at a claim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look<T> {
    /// Before the server was asked.
    pub asked: Instant,
    /// After it had answered.
    pub answered: Instant,
    /// What it said; `None` for an error.
    pub stamp: Option<T>,
}

/// Watches one claim.
#[derive(Clone, Debug)]
pub(crate) struct SilenceTimer<T> {
    lease: Duration,
    last: Option<(Instant, T)>,
    silence: Duration,
    looks: u32,
}

impl<T: PartialEq + Copy> SilenceTimer<T> {
    /// Starts to watch a claim with this lease; 0 counts as the shortest possible.
    pub(crate) fn new(lease: Duration) -> Self {
        Self {
            lease,
            last: None,
            silence: Duration::ZERO,
            looks: 0,
        }
    }

    /// Takes one look into account; `true` if the holder counts as dead.
    ///
    /// Silence adds up from look to look, but one interval adds at most a quarter of the lease: a
    /// watcher that slept knows little about what it did not see. A look that failed, or took
    /// longer than that quarter, resets the count: then the file system stalled, and the holder's
    /// heartbeat stalled with it (measured on `NFSv3`: the first answer after an outage of 25 s
    /// came after 55.7 s and showed the old time stamp of a live holder).
    pub(crate) fn look(&mut self, look: Look<T>) -> bool {
        let quarter = self.lease / 4;
        let stalled = look.answered.saturating_duration_since(look.asked) > quarter;
        let Some(stamp) = look.stamp.filter(|_| !stalled) else {
            self.last = None;
            self.silence = Duration::ZERO;
            self.looks = 0;
            return false;
        };
        match self.last {
            Some((before, seen)) if seen == stamp => {
                let since = look.asked.saturating_duration_since(before);
                self.silence += since.min(quarter);
                self.looks += 1;
            }
            _ => {
                self.silence = Duration::ZERO;
                self.looks = 0;
            }
        }
        self.last = Some((look.asked, stamp));
        self.looks >= LOOKS_MIN && self.silence >= self.lease
    }

    #[cfg(feature = "locks")]
    /// Whether the silence is longer than that of a live holder, whose signs of life and whose
    /// watcher's looks are a sixth of the lease apart.
    pub(crate) fn is_suspicious(&self) -> bool {
        self.silence >= self.lease / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE_S: u64 = 30;

    struct Watch {
        start: Instant,
        observer: SilenceTimer<u32>,
    }

    impl Watch {
        #[expect(
            clippy::disallowed_methods,
            reason = "any instant will do as the origin"
        )]
        fn new() -> Self {
            let observer = SilenceTimer::new(Duration::from_secs(LEASE_S));
            Self {
                start: Instant::now(),
                observer,
            }
        }

        fn look(&mut self, at_s: u64, took_s: u64, stamp: Option<u32>) -> bool {
            let asked = self.start + Duration::from_secs(at_s);
            let answered = asked + Duration::from_secs(took_s);
            self.observer.look(Look {
                asked,
                answered,
                stamp,
            })
        }
    }

    #[test]
    fn silence_for_a_whole_lease_is_death() {
        let mut watch = Watch::new();
        for at in (0..LEASE_S).step_by(5) {
            assert!(!watch.look(at, 0, Some(1)), "dead after {at} s");
        }
        assert!(watch.look(LEASE_S, 0, Some(1)));
    }

    #[test]
    fn a_heartbeat_starts_the_count_anew() {
        let mut watch = Watch::new();
        for beat in 0..1000 {
            assert!(!watch.look(u64::from(beat) * 5, 0, Some(beat)));
        }
        for step in 1..6 {
            assert!(!watch.look(999 * 5 + step * 5, 0, Some(999)));
        }
        assert!(watch.look(999 * 5 + 30, 0, Some(999)));
    }

    #[test]
    fn a_hole_in_the_observation_proves_little() {
        let mut watch = Watch::new();
        assert!(!watch.look(0, 0, Some(1)));
        for second in 0..20 {
            assert!(
                !watch.look(36_000 + second, 0, Some(1)),
                "a suspended watcher takes the lock"
            );
        }
    }

    #[test]
    fn a_slow_watcher_comes_to_a_verdict_all_the_same() {
        let mut watch = Watch::new();
        let verdicts: Vec<bool> = (0..8).map(|n| watch.look(n * 60, 0, Some(1))).collect();
        assert_eq!(verdicts.iter().position(|dead| *dead), Some(6));
    }

    #[test]
    fn an_outage_of_the_server_starts_the_count_anew() {
        for outage in [(56, Some(1)), (0, None)] {
            let mut watch = Watch::new();
            for at in (0..LEASE_S).step_by(5) {
                assert!(!watch.look(at, 0, Some(1)));
            }
            assert!(!watch.look(LEASE_S, outage.0, outage.1));
            for at in (0..LEASE_S).step_by(5) {
                assert!(
                    !watch.look(100 + at, 0, Some(1)),
                    "taken for dead after an outage"
                );
            }
            assert!(watch.look(100 + LEASE_S, 0, Some(1)));
        }
    }
}
