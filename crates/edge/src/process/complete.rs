//! Running a child to its end under a limit.

use crate::clock::Clock;
use crate::error::Result;
use crate::interrupt::StopReason;
use crate::process::contract::CommandSpec;
use crate::process::contract::Exit;
use crate::process::contract::ProcessEvent;
use crate::process::contract::ProcessHost;
use crate::process::contract::await_event;

use std::time::Duration;
use std::time::Instant;

/// How often a running child's owner is asked whether to go on.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How a child ended that was run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It ended by itself.
    Left(Exit),
    /// It was killed at its limit.
    TimedOut,
    /// It was killed because the session stops.
    Stopped(StopReason),
    /// It was killed because its owner no longer wanted it.
    Abandoned,
}

/// Starts a child and waits until it is gone with its whole tree.
///
/// `goes_on` is asked four times a second; `false` kills the child.
///
/// # Errors
/// It cannot be started.
pub fn complete(
    host: &dyn ProcessHost,
    clock: &dyn Clock,
    spec: &CommandSpec,
    until: Instant,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Completion> {
    let mut process = host.spawn(spec)?;
    let completion = loop {
        let next_look = (clock.now() + LOOK_EVERY).min(until);
        match await_event(process.as_mut(), clock, next_look) {
            Some(ProcessEvent::Exited(exit)) => break Completion::Left(exit),
            Some(ProcessEvent::Stop(reason)) => break Completion::Stopped(reason),
            None if clock.now() >= until => break Completion::TimedOut,
            None if !goes_on() => break Completion::Abandoned,
            // A spawned process cannot lose a service.
            Some(ProcessEvent::Line(_) | ProcessEvent::Lost) | None => {}
        }
    };
    process.end_tree(Duration::ZERO, &mut Vec::new());
    Ok(completion)
}
