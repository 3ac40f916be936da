//! Where a simulation that reached its limit hangs: Python's stack, and what the testcase awaits,
//! written into its log.
//!
//! Invariant: asking changes no verdict. It is done once the limit was reached, the process is
//! ended afterwards whatever it answers, and events that come meanwhile are too late. Only a process
//! whose agent has greeted is asked: any other, such as a script that stands for the simulator and
//! waits for it, has no handler for the signal and would die of it.

use crate::edge::fs;
use crate::edge::process::Process;
use crate::edge::process::ProcessEvent;
use crate::edge::process::STACK_SIGNAL;
use crate::edge::process::WAIT_SIGNAL;
use crate::schedule::session::Session;
use crate::sim::simulator::Simulator;

use camino::Utf8Path;
use std::time::Duration;

/// Between two looks at the log.
const TICK: Duration = Duration::from_millis(20);
/// How often the log is looked at until an answer begins: five seconds. It takes no time but its
/// turn at a processor, which a busy machine gives it late.
const SILENT_TICKS_MAX: u32 = 250;
/// How often it is looked at from then on, since what hangs may print all the while: two seconds.
const TICKS_MAX: u32 = 100;
/// How often a log that grows no more is looked at until it has the second part of the answer,
/// which Python code gives at the next moment at which some runs: half a second, like the grace
/// that follows.
const STILL_TICKS_MAX: u32 = 25;

/// How much of what was written since the question is looked at.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// What `faulthandler` writes of a thread that is not in Python.
const NO_PYTHON: &str = "<no Python frame>";
/// How the agent's line on what the testcase awaits begins; `waiting.py` writes it.
const WAITS: &str = "The testcase waits for ";
/// How that line ends.
const HEAD_END: &str = " (most recent await first):";
/// How it begins where the testcase itself is at work.
const WORKS: &str = "The testcase does not wait";

/// Has a process that hangs write where it is, and waits until its log has it.
///
/// `agent` is the process that the agent has greeted from, which knows the signal.
pub(super) fn ask(
    session: &Session<'_>,
    process: &mut dyn Process,
    log: &Utf8Path,
    agent: Option<u32>,
    simulator: &dyn Simulator,
) {
    let before = size(log);
    if agent != Some(process.id()) || !process.ask(STACK_SIGNAL) {
        return;
    }
    if await_answer(session, process, log, before) != Answer::Stack {
        return;
    }
    // Some simulators come to Python once more when they are told to end; the others are asked.
    let is_outside = since(log, before).contains(NO_PYTHON);
    if is_outside && simulator.can_be_interrupted_anywhere() && process.ask(WAIT_SIGNAL) {
        await_answer(session, process, log, before);
    }
}

#[derive(PartialEq, Eq)]
enum Answer {
    /// The process has ended, or said nothing.
    None,
    /// Python's stack, or what looks like it.
    Stack,
    /// And what the testcase awaits.
    Whole,
}

fn await_answer(
    session: &Session<'_>,
    process: &mut dyn Process,
    log: &Utf8Path,
    before: u64,
) -> Answer {
    let mut last = size(log);
    let mut still = 0;
    let mut ticks_left = SILENT_TICKS_MAX;
    while ticks_left > 0 {
        let until = session.plan.clock.now() + TICK;
        loop {
            match process.next_event(Some(until)) {
                ProcessEvent::Line(_) => {}
                ProcessEvent::Deadline => break,
                ProcessEvent::Exited(_) | ProcessEvent::Lost | ProcessEvent::Stop(_) => {
                    return Answer::None;
                }
            }
        }
        let now = size(log);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        ticks_left -= 1;
        if now == before {
            continue;
        }
        ticks_left = ticks_left.min(TICKS_MAX);
        let text = since(log, before);
        if text.contains(WAITS) || text.contains(WORKS) {
            return Answer::Whole;
        }
        if still >= STILL_TICKS_MAX {
            return Answer::Stack;
        }
    }
    if last > before {
        Answer::Stack
    } else {
        Answer::None
    }
}

/// Says in words where a process hung that was asked, for the message about it.
pub(super) fn words(log: &Utf8Path, before: u64) -> Option<String> {
    in_words(&since(log, before))
}

fn in_words(answer: &str) -> Option<String> {
    let waits = answer
        .lines()
        .position(|line| line.starts_with(WAITS) || line.starts_with(WORKS));
    let Some(at) = waits else {
        return answer.contains(NO_PYTHON).then(|| {
            "no Python code ran: the testcase waits for a trigger that does not come".to_owned()
        });
    };
    let mut lines = answer.lines().skip(at);
    let awaited = lines.next()?.strip_prefix(WAITS)?;
    let awaited = awaited.strip_suffix(HEAD_END).unwrap_or(awaited);
    let place = lines.next().and_then(|line| {
        let (path, rest) = line.strip_prefix("  File \"")?.split_once("\", line ")?;
        let number = rest.split_once(" in ")?.0;
        Some(format!(" at {path}:{number}"))
    });
    let place = place.unwrap_or_default();
    Some(format!("it waits{place} for {awaited}"))
}

fn since(log: &Utf8Path, before: u64) -> String {
    fs::read_range_lossy(log, before, ANSWER_BYTES_MAX)
}

fn size(log: &Utf8Path) -> u64 {
    let stamp = fs::stamp(log).ok().flatten();
    stamp.map_or(0, |stamp| stamp.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_the_place_the_trigger_and_the_time() {
        let answer = "Current thread 0x7 (most recent call first):\n  <no Python frame>\n\n\
            The testcase waits for <RisingEdge of top.d>, at 5 ns of simulated time \
            (most recent await first):\n  File \"/p/a.py\", line 7 in helper\n";
        assert_eq!(
            in_words(answer).as_deref(),
            Some("it waits at /p/a.py:7 for <RisingEdge of top.d>, at 5 ns of simulated time")
        );
        let busy = "\nThe testcase does not wait, at 5 ns of simulated time:\n";
        assert_eq!(in_words(busy), None);
        assert_eq!(in_words("prints\n"), None);
        let outside = "Current thread 0x7 (most recent call first):\n  <no Python frame>\n";
        let words = in_words(outside).expect("words");
        assert!(words.starts_with("no Python code ran"), "{words}");
    }
}
