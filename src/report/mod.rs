//! Consumers of the event stream: terminal, JUnit, NDJSON.
//!
//! Floor 3. A report sees every event once, in order, and changes nothing in the session: what it
//! cannot write, it tells at the end. What a result *means* (its code, its headline, the command
//! that repeats it, how it is counted) is decided once, in `verdict` and `tally`; the three forms
//! only lay it out, so they cannot disagree.

pub mod json;
pub mod junit;
pub mod terminal;

mod log;
mod tally;
mod text;
mod verdict;

#[cfg(test)]
mod expected;

pub use json::JsonReport;
pub use junit::JunitOptions;
pub use junit::JunitReport;
pub use terminal::TerminalOptions;
pub use terminal::TerminalReport;
pub use terminal::Verbosity;

use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::event::Event;

use std::time::Instant;

/// A consumer of the event stream.
pub trait Report {
    /// Takes the next event; called from one thread, in the order of the stream.
    fn on_event(&mut self, event: &Event);

    /// Gives a report that shows elapsed time the chance to redraw; call it about every 100 ms.
    fn tick(&mut self, now: Instant) {
        let _ = now;
    }

    /// Writes what is left to write. Called once, after the last event, also when the session was
    /// interrupted or broke off without one.
    ///
    /// # Errors
    /// `report::unwritable` for a file or stream that could not be written.
    fn finish(&mut self) -> Result<()>;
}

/// Several reports behind one, served in order.
#[derive(Default)]
pub struct Reports(pub Vec<Box<dyn Report>>);

impl Report for Reports {
    fn on_event(&mut self, event: &Event) {
        for report in &mut self.0 {
            report.on_event(event);
        }
    }

    fn tick(&mut self, now: Instant) {
        for report in &mut self.0 {
            report.tick(now);
        }
    }

    /// Finishes every report, whatever became of the ones before it.
    fn finish(&mut self) -> Result<()> {
        let mut problems = Vec::new();
        for report in &mut self.0 {
            if let Err(more) = report.finish() {
                problems.extend(more.0);
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(problems))
        }
    }
}
