//! A report that has no ending where nothing went wrong: `--quiet` of what runs no test.

use crate::diagnostic::Result;
use crate::event::Event;
use crate::model::exit_code::ExitCode;
use crate::report::Report;

use std::time::Instant;

/// Passes everything on but the end of a success.
pub(super) struct Brief<R> {
    inner: R,
    is_success: bool,
}

impl<R> Brief<R> {
    /// Wraps a report.
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            is_success: false,
        }
    }
}

impl<R: Report> Report for Brief<R> {
    fn on_event(&mut self, event: &Event) {
        if let Event::SessionFinished(end) = event {
            self.is_success = end.exit_code == ExitCode::Success;
        }
        self.inner.on_event(event);
    }

    fn tick(&mut self, now: Instant) {
        self.inner.tick(now);
    }

    fn finish(&mut self) -> Result<()> {
        if self.is_success {
            return Ok(());
        }
        self.inner.finish()
    }
}
