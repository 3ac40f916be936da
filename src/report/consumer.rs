//! What every report is: a consumer of the event stream.

use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::event::Event;
use crate::event::SessionState;

use std::time::Instant;

/// A consumer of the event stream.
pub trait Report {
    /// Takes the next event; called from one thread, in the order of the stream. `state` is that
    /// after this event.
    fn on_event(&mut self, event: &Event, state: &SessionState);

    /// Gives a report that shows elapsed time the chance to redraw; call it about every 100 ms.
    fn tick(&mut self, now: Instant, state: &SessionState) {
        let _ = (now, state);
    }

    /// Writes what is left to write. Called once, after the last event, also if the session was
    /// interrupted or ended without one.
    ///
    /// # Errors
    /// `report::unwritable` for a file or stream that could not be written.
    fn finish(&mut self, state: &SessionState) -> Result<()>;
}

/// Several reports behind one, served in order.
#[derive(Default)]
pub struct Reports(pub Vec<Box<dyn Report>>);

impl Report for Reports {
    fn on_event(&mut self, event: &Event, state: &SessionState) {
        for report in &mut self.0 {
            report.on_event(event, state);
        }
    }

    fn tick(&mut self, now: Instant, state: &SessionState) {
        for report in &mut self.0 {
            report.tick(now, state);
        }
    }

    /// Finishes every report, even if one before it fails.
    fn finish(&mut self, state: &SessionState) -> Result<()> {
        let mut problems = Vec::new();
        for report in &mut self.0 {
            if let Err(more) = report.finish(state) {
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
