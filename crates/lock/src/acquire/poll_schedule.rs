//! When to look again in a queue: soon while it moves, more and more rarely while it does not.
//!
//! A place in a queue that moves comes up after about as many hand-overs as there are tickets
//! before it, so the next look comes after half of that time, the one after it after half of the
//! rest. The next in line looks sooner, since nobody proceeds before it does. How long a hand-over
//! takes depends on these pauses as well, so a long hand-over must not lead to long pauses: a
//! process that sees the queue move starts with short ones again. Then each pause is twice the one
//! before, until the process asks the server as rarely as any other waiting process.

use crate::error::LockError;
use crate::ledger::Ledger;

use cocorun_edge::storage::Stamp;
use std::time::Duration;
use std::time::Instant;

/// First pause of the next in line, and the shortest.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause; callers want to look more often than that.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// First pause for each ticket before our own, as long as no hand-over was seen.
const FIRST_PER_TICKET: Duration = Duration::from_millis(40);
/// Longest pause for each ticket before our own after a hand-over was seen.
const PER_TICKET_MAX: Duration = Duration::from_millis(60);
/// How many tickets are looked at, newest first, to find the one that was let in last.
const GRANTS_MAX: usize = 16;
/// The next in line divides the time of one hand-over into this many parts.
const NEXT_PARTS: u32 = 8;

/// What one waiting ticket has seen of its queue.
#[derive(Default)]
pub(crate) struct PollSchedule {
    /// When the newest ticket that was let in was seen first, and which one it was.
    last: Option<(Instant, u32)>,
    pause: Duration,
    /// The stamp of the directory and what its listing showed then.
    listed: Option<(Stamp, u32)>,
}

impl PollSchedule {
    /// Returns the newest ticket that was let in; the directory is listed only if it changed.
    pub(crate) fn front(
        &mut self,
        ledger: &Ledger,
        stamp: Option<Stamp>,
        own: u32,
    ) -> Result<u32, LockError> {
        if let (Some(now), Some((then, front))) = (stamp, self.listed)
            && now == then
        {
            return Ok(front);
        }
        let names = ledger.listed()?.unwrap_or_default();
        let mut front = 0;
        for ticket in grants_before(own, &names).take(GRANTS_MAX) {
            if ledger.was_let_in(ticket)? == Some(true) {
                front = ticket;
                break;
            }
        }
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
                let sample = now.saturating_duration_since(since) / (front - before);
                let parts = if ahead == 1 { NEXT_PARTS } else { 2 };
                (sample / parts).min(PER_TICKET_MAX).saturating_mul(ahead)
            }
            Some(_) => self.pause * 2,
        };
        if self.last.is_none_or(|(_, before)| front > before) {
            self.last = Some((now, front));
        }
        self.pause = self.pause.clamp(PAUSE_MIN, PAUSE_MAX);
        self.pause
    }
}

/// Returns the tickets of a listing before our own whose outcome is known, newest first. That of a
/// dead one is known before its turn comes.
fn grants_before(own: u32, names: &[String]) -> impl Iterator<Item = u32> {
    let granted = names.iter().filter_map(|name| name.strip_suffix(".grant"));
    let numbers = granted.filter_map(|digits| digits.parse().ok());
    let mut before: Vec<u32> = numbers.filter(|number| *number < own).collect();
    before.sort_unstable_by(|a, b| b.cmp(a));
    before.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    use cocorun_edge::clock::Clock;
    use cocorun_edge::clock::SystemClock;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn where_the_queue_moves_half_of_the_expected_wait_passes() {
        let (mut schedule, start) = (PollSchedule::default(), SystemClock.now());
        assert_eq!(schedule.next(start, 10, 20), Duration::from_millis(200));
        // Four hand-overs took 200 ms, six are to come.
        let next = schedule.next(at(start, 200), 14, 20);
        assert_eq!(next, Duration::from_millis(150));
        // The next in line waits for an eighth of what a hand-over took, 60 ms.
        let next = schedule.next(at(start, 600), 19, 20);
        assert_eq!(next, PAUSE_MIN);
    }

    #[test]
    fn where_it_stands_the_pauses_grow() {
        let (mut schedule, start) = (PollSchedule::default(), SystemClock.now());
        let mut waited = schedule.next(start, 1, 2);
        assert_eq!(waited, PAUSE_MIN);
        let mut looks = 1;
        while waited < Duration::from_secs(60) {
            waited += schedule.next(start + waited, 1, 2);
            looks += 1;
        }
        assert!(looks < 16, "{looks} looks in a minute");
        for _ in 0..1_000 {
            schedule.next(start + waited, 1, 2);
        }
        assert_eq!(schedule.pause, PAUSE_MAX);
    }

    #[test]
    fn one_long_hold_makes_nobody_slow() {
        let (mut schedule, start) = (PollSchedule::default(), SystemClock.now());
        schedule.next(start, 1, 20);
        let pause = schedule.next(at(start, 20_000), 2, 20);
        assert_eq!(pause, PER_TICKET_MAX * 18);
    }

    #[test]
    fn what_was_decided_of_those_behind_says_nothing_of_the_queue() {
        let names = [
            "00000007.grant",
            "x.grant",
            "00000009.claim",
            "00000003.grant",
        ];
        let names = [&names[..], &["00000020.grant"]].concat();
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let before: Vec<u32> = grants_before(9, &names).collect();
        assert_eq!(before, [7, 3]);
        assert_eq!(grants_before(9, &[]).count(), 0);
    }
}
