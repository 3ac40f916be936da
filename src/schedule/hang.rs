//! Asks a simulation that reached its limit where it hangs: Python's stack and what the testcase
//! awaits are written to its log, for people, and sent as an event.
//!
//! Invariant: asking changes no verdict. It happens once the limit is reached, the process is ended
//! afterwards whatever it answers, and other events that arrive meanwhile are too late. Only a
//! process whose agent has sent its hello is asked: any other, such as a script that starts the
//! simulator and waits for it, has no handler for the signal and would be killed by it.

use crate::agent::event::Awaited;
use crate::agent::event::RunEvent;
use crate::agent::event::read_run_event;
use crate::agent::request::STACK_SIGNAL;
use crate::agent::request::WAIT_SIGNAL;
use crate::edge::clock::Clock;
use crate::edge::fs;
use crate::edge::process::Process;
use crate::edge::process::ProcessEvent;
use crate::edge::process::await_event;
use crate::schedule::judge::Hang;
use crate::schedule::judge::StackFrame;
use crate::schedule::run_log;
use crate::sim::simulator::Simulator;

use camino::Utf8Path;
use std::time::Duration;

/// Interval of checks of the log.
const TICK: Duration = Duration::from_millis(20);
/// How often the log is checked until an answer begins: five seconds. An answer takes no time
/// except for getting a processor, which can be late on a busy machine.
const SILENT_TICKS_MAX: u32 = 250;
/// How often it is checked from then on, since a hanging testcase may print all the time: two
/// seconds.
const TICKS_MAX: u32 = 100;
/// How often a log that no longer grows is checked until the event comes, which is sent when Python
/// code runs next: half a second, like the grace period that follows.
const STILL_TICKS_MAX: u32 = 25;

/// How much of the log since the request is searched.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How Python's `faulthandler` begins the stack of the thread that got the signal. It works where no
/// Python code can run, so it cannot send an event.
const THIS_THREAD: &str = "Current thread ";

/// Asks a hanging process where it is, and waits for the answer.
///
/// `agent` is the process that sent the agent's hello, which handles the signals.
pub(super) fn ask(
    process: &mut dyn Process,
    clock: &dyn Clock,
    log: &Utf8Path,
    agent: Option<u32>,
    simulator: &dyn Simulator,
) -> Hang {
    let mut question = Question {
        clock,
        log,
        asked_at: run_log::size(log),
        hang: Hang::default(),
    };
    if agent != Some(process.id()) || !process.signal(STACK_SIGNAL) {
        return question.hang;
    }
    let has_answered = question.await_answer(process);
    let answer = fs::read_range_lossy(log, question.asked_at, ANSWER_BYTES_MAX);
    question.hang.stack = stack_in(&answer);
    // Some simulators enter Python once more when they are asked to end; others need the signal.
    if has_answered
        && question.hang.waiting.is_none()
        && question.hang.is_outside_python()
        && simulator.can_be_interrupted_anywhere()
        && process.signal(WAIT_SIGNAL)
    {
        question.await_answer(process);
    }
    question.hang
}

/// Returns the answer among the agent's lines.
pub(super) fn answer_in<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Awaited> {
    lines
        .into_iter()
        .find_map(|line| match read_run_event(line) {
            Ok(RunEvent::Waiting(waiting)) => Some(waiting),
            _ => None,
        })
}

/// Returns the stack that `faulthandler` has written, innermost frame first; without frames if the
/// thread was not in Python, `None` if there is no stack.
fn stack_in(text: &str) -> Option<Vec<StackFrame>> {
    let mut lines = text.lines();
    lines.find(|line| line.starts_with(THIS_THREAD) && line.ends_with(':'))?;
    Some(lines.map_while(frame_of).collect())
}

/// Reads `  File "PATH", line N in NAME`.
fn frame_of(line: &str) -> Option<StackFrame> {
    let (path, at) = line.strip_prefix("  File \"")?.rsplit_once("\", line ")?;
    let (line, function) = at.split_once(" in ")?;
    Some(StackFrame {
        path: path.to_owned(),
        line: line.parse().ok()?,
        function: function.to_owned(),
    })
}

struct Question<'a> {
    clock: &'a dyn Clock,
    log: &'a Utf8Path,
    /// The log's size before the request.
    asked_at: u64,
    hang: Hang,
}

impl Question<'_> {
    /// Waits for the event; says whether the process is alive and has written something.
    fn await_answer(&mut self, process: &mut dyn Process) -> bool {
        let mut last = run_log::size(self.log);
        let mut still = 0;
        let mut ticks_left = SILENT_TICKS_MAX;
        while ticks_left > 0 {
            let until = self.clock.now() + TICK;
            while let Some(event) = await_event(process, self.clock, until) {
                let ProcessEvent::Line(line) = event else {
                    return false;
                };
                self.hang.waiting = answer_in([line.as_str()]);
                if self.hang.waiting.is_some() {
                    return true;
                }
                if self.clock.now() >= until {
                    break;
                }
            }
            let now = run_log::size(self.log);
            still = if now == last { still + 1 } else { 0 };
            last = now;
            ticks_left -= 1;
            if now == self.asked_at {
                continue;
            }
            ticks_left = ticks_left.min(TICKS_MAX);
            if still >= STILL_TICKS_MAX {
                return true;
            }
        }
        last > self.asked_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_is_that_of_the_thread_that_got_the_signal() {
        let stack = |text: &str| stack_in(text).map(|frames| frames.len());
        assert_eq!(stack("printed\n"), None);
        let outside = "Current thread 0x7f (most recent call first):\n  <no Python frame>\n";
        assert_eq!(stack(outside), Some(0));
        let text = "Thread 0x1 (most recent call first):\n  File \"/p/other.py\", line 1 in wait\n\n\
            Current thread 0x7f [main] (most recent call first):\n  \
            File \"/p/a \", line b.py\", line 38 in busy.<locals>.x\n  File \"/p/c.py\", line 2 in y\n\
            tick\n  File \"/p/printed.py\", line 3 in z\n";
        let frames = stack_in(text).unwrap_or_default();
        assert_eq!(frames.len(), 2);
        assert_eq!(
            frames[0],
            StackFrame {
                path: "/p/a \", line b.py".to_owned(),
                line: 38,
                function: "busy.<locals>.x".to_owned(),
            }
        );
    }
}
