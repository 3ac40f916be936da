//! Where a simulation that reached its limit hangs: Python's stack, written into its log.
//!
//! Invariant: asking changes no verdict. It is done once the limit was reached, the process is
//! ended afterwards whatever it answers, and events that come meanwhile are too late. Only a process
//! whose agent has greeted is asked: any other, such as a script that stands for the simulator and
//! waits for it, has no handler for the signal and would die of it.

use crate::edge::fs;
use crate::edge::process::Process;
use crate::edge::process::ProcessEvent;
use crate::schedule::session::Session;

use camino::Utf8Path;
use std::time::Duration;

/// Between two looks at the log.
const TICK: Duration = Duration::from_millis(20);
/// How often the log is looked at until an answer begins: five seconds. It takes no time but its
/// turn at a processor, which a busy machine gives it late.
const SILENT_TICKS_MAX: u32 = 250;
/// How often it is looked at from then on, since what hangs may print all the while: half a second,
/// like the grace that follows.
const TICKS_MAX: u32 = 25;

/// Has a process that hangs write where it is, and waits until its log has it.
///
/// `agent` is the process that the agent has greeted from, which knows the signal.
pub(super) fn ask(
    session: &Session<'_>,
    process: &mut dyn Process,
    log: &Utf8Path,
    agent: Option<u32>,
) {
    let before = size(log);
    if agent != Some(process.id()) || !process.ask_for_stack() {
        return;
    }
    let mut last = before;
    let mut ticks_left = SILENT_TICKS_MAX;
    while ticks_left > 0 {
        let until = session.plan.clock.now() + TICK;
        loop {
            match process.next_event(Some(until)) {
                ProcessEvent::Line(_) => {}
                ProcessEvent::Deadline => break,
                ProcessEvent::Exited(_) | ProcessEvent::Lost | ProcessEvent::Stop(_) => return,
            }
        }
        let now = size(log);
        if now > before && now == last {
            return;
        }
        last = now;
        ticks_left -= 1;
        if now > before {
            ticks_left = ticks_left.min(TICKS_MAX);
        }
    }
}

fn size(log: &Utf8Path) -> u64 {
    let stamp = fs::stamp(log).ok().flatten();
    stamp.map_or(0, |stamp| stamp.size)
}
