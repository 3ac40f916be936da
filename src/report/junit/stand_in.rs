//! What stands in the place of a report until there is one.
//!
//! Invariant: from the moment that a session knows its command line, the file tells of this
//! session. A CI server that collects what an earlier one left would show its green results.

use super::JunitReport;
use super::SESSION_SUITE;

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;

use std::time::Duration;

impl JunitReport {
    /// Writes that the session has not ended: it stays so only if the session is killed.
    ///
    /// # Errors
    /// The file cannot be written, so the report could not be either.
    pub fn announce(self) -> Result<()> {
        let text = "the session has not ended: it still runs, or it was killed";
        self.write_errors(&[Diagnostic::error(Code::SessionInterrupted, text)])
    }

    /// Writes what ended the session before it had anything to report.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_errors(mut self, problems: &[Diagnostic]) -> Result<()> {
        for problem in problems {
            let name = problem.code.name();
            self.add_error(SESSION_SUITE, None, name, problem, Duration::ZERO, None);
        }
        self.write()
    }
}
