//! `--quiet` of commands that run no tests: no summary unless something went wrong.

use crate::diagnostic::Result;
use crate::event::Event;
use crate::event::SessionState;
use crate::model::exit_code::ExitCode;
use crate::report::Report;

use std::time::Instant;

/// Passes everything on except the end of a session that succeeded.
pub(super) struct SilentSuccess<R> {
    inner: R,
}

impl<R> SilentSuccess<R> {
    /// Wraps a report.
    pub(super) fn new(inner: R) -> Self {
        Self { inner }
    }
}

impl<R: Report> Report for SilentSuccess<R> {
    fn on_event(&mut self, event: &Event, state: &SessionState) {
        self.inner.on_event(event, state);
    }

    fn tick(&mut self, now: Instant, state: &SessionState) {
        self.inner.tick(now, state);
    }

    fn finish(&mut self, state: &SessionState) -> Result<()> {
        match state.finished() {
            Some(end) if end.exit_code == ExitCode::Success => Ok(()),
            _ => self.inner.finish(state),
        }
    }
}
