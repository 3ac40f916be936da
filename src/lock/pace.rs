//! When to look again in a queue: soon where it moves, ever more rarely where it stands.
//!
//! A place in a queue that moves comes up after about as many hand-overs as there are tickets
//! before it, so half of that time is let pass before the next look, then half of the rest. The
//! one that is next looks sooner, since nobody goes on before it does. Who waits for a long time
//! asks the server as rarely as everybody else who waits.

use crate::edge::storage::Stamp;
use crate::lock::error::LockError;
use crate::lock::ledger::Ledger;

use std::time::Duration;
use std::time::Instant;

/// First pause of the one that is next, and the shortest.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause; callers want to look more often than that.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// First pause for each ticket before the own, as long as no hand-over was seen.
const FIRST_PER_TICKET: Duration = Duration::from_millis(40);
/// In how many parts the one that is next divides the time of one hand-over.
const NEXT_PARTS: u32 = 8;

/// What one waiting ticket has seen of its queue.
#[derive(Default)]
pub(crate) struct Pace {
    /// When the newest ticket that was let in was seen first, and which one it was.
    last: Option<(Instant, u32)>,
    pause: Duration,
    /// The stamp of the directory and what its listing showed then.
    listed: Option<(Stamp, u32)>,
}

impl Pace {
    /// Returns the newest ticket that was let in; the directory is listed only if it changed.
    pub(crate) fn front(
        &mut self,
        ledger: &Ledger,
        stamp: Option<Stamp>,
    ) -> Result<u32, LockError> {
        if let (Some(now), Some((then, front))) = (stamp, self.listed)
            && now == then
        {
            return Ok(front);
        }
        let names = ledger.listed()?.unwrap_or_default();
        let front = front_of(&names);
        self.listed = stamp.map(|stamp| (stamp, front));
        Ok(front)
    }

    /// Returns how long to pause before the next look; `front` is the newest ticket that was let
    /// in, as far as is known.
    pub(crate) fn next(&mut self, now: Instant, front: u32, own: u32) -> Duration {
        let ahead = own.saturating_sub(front).max(1);
        self.pause = match self.last {
            None => FIRST_PER_TICKET.saturating_mul(ahead) / 2,
            Some((since, before)) if front > before => {
                let per_ticket = now.saturating_duration_since(since) / (front - before);
                let parts = if ahead == 1 { NEXT_PARTS } else { 2 };
                per_ticket.saturating_mul(ahead) / parts
            }
            Some(_) => self.pause * 3 / 2,
        };
        if self.last.is_none_or(|(_, before)| front > before) {
            self.last = Some((now, front));
        }
        self.pause = self.pause.clamp(PAUSE_MIN, PAUSE_MAX);
        self.pause
    }
}

/// Returns the newest ticket of a listing that was let in, or 0.
fn front_of(names: &[String]) -> u32 {
    let granted = names.iter().filter_map(|name| name.strip_suffix(".grant"));
    granted
        .filter_map(|digits| digits.parse().ok())
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::edge::clock::Clock;
    use crate::edge::clock::SystemClock;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn where_the_queue_moves_half_of_the_expected_wait_passes() {
        let (mut pace, start) = (Pace::default(), SystemClock.now());
        assert_eq!(pace.next(start, 10, 20), Duration::from_millis(200));
        // Four hand-overs took 200 ms, six are to come.
        let next = pace.next(at(start, 200), 14, 20);
        assert_eq!(next, Duration::from_millis(150));
    }

    #[test]
    fn where_it_stands_the_pauses_grow() {
        let (mut pace, start) = (Pace::default(), SystemClock.now());
        let mut waited = pace.next(start, 1, 2);
        assert_eq!(waited, PAUSE_MIN);
        let mut looks = 1;
        while waited < Duration::from_secs(60) {
            waited += pace.next(start + waited, 1, 2);
            looks += 1;
        }
        assert!(looks < 22, "{looks} looks in a minute");
        for _ in 0..1_000 {
            pace.next(start + waited, 1, 2);
        }
        assert_eq!(pace.pause, PAUSE_MAX);
    }

    #[test]
    fn one_slow_hand_over_makes_nobody_slow_for_ever() {
        let (mut pace, start) = (Pace::default(), SystemClock.now());
        pace.next(start, 1, 20);
        let slow = pace.next(at(start, 20_000), 2, 20);
        assert_eq!(slow, PAUSE_MAX);
        let quick = pace.next(at(start, 25_000), 12, 20);
        assert_eq!(quick, Duration::from_secs(2));
    }

    #[test]
    fn refused_and_foreign_names_do_no_harm() {
        let names = ["00000007.grant", "x.grant", "00000009.claim"].map(str::to_owned);
        assert_eq!(front_of(&names), 7);
        assert_eq!(front_of(&[]), 0);
    }
}
