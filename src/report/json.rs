//! One JSON object per event, for programs. `docs/json-events.md` documents every field.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::fs;
use crate::event::Event;
use crate::event::SessionState;
use crate::event::to_line;
use crate::report::consumer::Report;

use std::io;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// Writes events as JSON, one object per line.
///
/// A reader that leaves early (`| head -1`) ends the output and nothing else. Any other failure to
/// write is an error of [`Report::finish`].
pub struct JsonReport {
    out: Box<dyn Write + Send>,
    clock: Arc<dyn Clock>,
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
            started,
            failure: None,
        }
    }
}

impl Report for JsonReport {
    fn on_event(&mut self, event: &Event, state: &SessionState) {
        if self.failure.is_some() {
            return;
        }
        let now = self.clock.now();
        if matches!(event, Event::SessionStarted(_)) {
            self.started = now;
        }
        let elapsed = now.saturating_duration_since(self.started);
        let line = to_line(event, elapsed, state);
        // Whole lines, at once: who follows the stream sees an event when it happens.
        let written = self.out.write_all(line.as_bytes());
        self.failure = written.and_then(|()| self.out.flush()).err();
    }

    fn finish(&mut self, _: &SessionState) -> Result<()> {
        match &self.failure {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let words = fs::os_words(error);
                let message = format!("cannot write the JSON report: {words}");
                Err(Diagnostic::error(Code::ReportUnwritable, message).into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
