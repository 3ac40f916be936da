//! One JSON object per event, for programs. `docs/json-events.md` documents every field.
//!
//! Public interface: the objects are written by hand from the events, so that a change of an
//! internal type cannot move them. Fields are added, never renamed, removed or given another
//! meaning; a change that cannot be additive raises [`SCHEMA`].

mod line;

use super::Report;
use super::tally::Tally;

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::fs;
use crate::event::Event;

use std::io;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// The version of the format, in the first object of every stream.
pub const SCHEMA: u32 = 1;

/// Writes events as JSON, one object a line.
///
/// A reader that leaves early (`| head -1`) ends the output and nothing else. Any other failure to
/// write is told by [`Report::finish`].
pub struct JsonReport {
    out: Box<dyn Write + Send>,
    clock: Arc<dyn Clock>,
    tally: Tally,
    started: Instant,
    /// Set at the first failure; nothing is written from then on.
    failure: Option<io::Error>,
}

impl JsonReport {
    /// Makes the report; nothing is written before the first event.
    pub fn new(out: Box<dyn Write + Send>, clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        Self {
            out,
            clock,
            tally: Tally::default(),
            started,
            failure: None,
        }
    }

    fn write(&mut self, event: &Event, elapsed_s: f64) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&line::of(event, elapsed_s, &self.tally))?;
        bytes.push(b'\n');
        // Whole lines, at once: who follows the stream sees an event when it happens.
        self.out.write_all(&bytes)?;
        self.out.flush()
    }
}

impl Report for JsonReport {
    fn on_event(&mut self, event: &Event) {
        if self.failure.is_some() {
            return;
        }
        self.tally.on_event(event);
        let now = self.clock.now();
        if matches!(event, Event::SessionStarted(_)) {
            self.started = now;
        }
        let elapsed_s = now.saturating_duration_since(self.started).as_secs_f64();
        self.failure = self.write(event, elapsed_s).err();
    }

    fn finish(&mut self) -> Result<()> {
        match &self.failure {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let words = fs::os_words(error);
                let message = format!("cannot write the JSON report because of `{words}`");
                Err(Diagnostic::error(Code::ReportUnwritable, message).into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
