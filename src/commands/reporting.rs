//! The reports of a session, and plain lines outside a session.

use crate::cli::ColorChoice;
use crate::cli::Format;
use crate::cli::Global;
use crate::commands::quiet::SilentSuccess;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::diagnostic::render;
use crate::edge::clock::Clock as _;
use crate::edge::clock::SystemClock;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::edge::output_file::OutputFile;
use crate::edge::terminal;
use crate::report::JsonReport;
use crate::report::JunitOptions;
use crate::report::JunitReport;
use crate::report::Report;
use crate::report::Reports;
use crate::report::TerminalOptions;
use crate::report::TerminalReport;
use crate::report::Verbosity;
use crate::report::unwritable;

use camino::Utf8Path;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// How many lines of a failed testcase's log the terminal shows.
const LOG_LINES: usize = 20;

/// Writes a line to standard error; if that fails, there is nowhere to report it.
pub(super) fn line(text: &str) {
    writeln!(io::stderr(), "{text}").ok();
}

/// Says whether a terminal, if there is one, supports colours and cursor movement.
pub(super) fn can_draw(environment: &Environment) -> bool {
    environment.get(env::TERM) != Some("dumb")
}

/// The streams of this process and how to write on them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Console {
    color: bool,
    is_terminal: bool,
    verbosity: Verbosity,
    began: Instant,
}

impl Console {
    /// Decides colour, progress and verbosity once.
    pub(super) fn new(global: &Global, environment: &Environment) -> Self {
        let is_terminal = io::stderr().is_terminal() && can_draw(environment);
        let color = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && environment.get(env::NO_COLOR).is_none(),
        };
        let verbosity = match (global.quiet, global.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        Self {
            color,
            is_terminal,
            verbosity,
            began: SystemClock.now(),
        }
    }

    /// Says whether the user asked for verbose output.
    pub(super) fn is_verbose(self) -> bool {
        self.verbosity == Verbosity::Verbose
    }

    /// Writes problems to standard error, each in one piece.
    pub(super) fn problems(self, problems: &Problems) {
        for problem in &problems.0 {
            line(render::to_text(problem, self.color).trim_end());
        }
    }

    /// Writes a line unless only failures are wanted.
    pub(super) fn status(self, text: &str) {
        if self.verbosity > Verbosity::Quiet {
            line(text);
        }
    }

    /// Creates the reports of a session that runs tests.
    pub(super) fn reports(
        self,
        explain: bool,
        format: Format,
        junit: Option<&Arc<OutputFile>>,
    ) -> Reports {
        let mut reports: Vec<Box<dyn Report>> = Vec::new();
        reports.push(Box::new(self.terminal(explain)));
        if let Some(file) = junit {
            reports.push(Box::new(junit_report(file)));
        }
        reports.extend(json_report(format));
        Reports(reports)
    }

    /// Creates the reports of a session that only builds or lists: with `--quiet`, silent unless
    /// something went wrong.
    pub(super) fn reports_without_tests(self, explain: bool, format: Format) -> Reports {
        let terminal = self.terminal(explain);
        let mut reports: Vec<Box<dyn Report>> = Vec::new();
        reports.push(match self.verbosity {
            Verbosity::Quiet => Box::new(SilentSuccess::new(terminal)),
            _ => Box::new(terminal),
        });
        reports.extend(json_report(format));
        Reports(reports)
    }

    fn terminal(self, explain: bool) -> TerminalReport {
        TerminalReport::new(
            TerminalOptions {
                color: self.color,
                progress: self.is_terminal && self.verbosity > Verbosity::Quiet,
                verbosity: self.verbosity,
                explain,
                log_lines: LOG_LINES,
                began: Some(self.began),
                out: Box::new(io::stderr()),
                size_of: Arc::new(terminal::size_of_stderr),
            },
            Arc::new(SystemClock),
        )
    }
}

/// Creates the report on standard output, if one is wanted.
fn json_report(format: Format) -> Option<Box<dyn Report>> {
    let report = || JsonReport::new(Box::new(io::stdout()), Arc::new(SystemClock));
    (format == Format::Json).then(|| Box::new(report()) as Box<dyn Report>)
}

/// Returns the name of this machine; empty if it has none.
pub(super) fn host_name() -> String {
    hostname::get()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Opens the file of `--junit`.
///
/// # Errors
/// It cannot be written, or the events of `--format json` go to the same place.
pub(super) fn junit_file(path: &Utf8Path, format: Format) -> Result<Arc<OutputFile>> {
    let file = OutputFile::open(path).map_err(|error| unwritable(path, &error))?;
    if format == Format::Json && file.descriptor() == Some(1) {
        let text = format!("`--format json` and `--junit {path}` both write to standard output");
        let problem = Diagnostic::error(Code::UsageBadArgument, text);
        return Err(problem.help("give `--junit` a file").into());
    }
    Ok(Arc::new(file))
}

/// Creates the JUnit report of a session.
pub(super) fn junit_report(file: &Arc<OutputFile>) -> JunitReport {
    let options = JunitOptions {
        file: Arc::clone(file),
        hostname: host_name(),
    };
    JunitReport::new(options, Arc::new(SystemClock))
}

/// Writes a command's result to standard output; a closed pipe is not an error.
///
/// # Errors
/// `report::unwritable`: a full disk must not look like an empty list.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let words = fs::os_words(&error);
            let message = format!("cannot write to standard output: {words}");
            Err(Diagnostic::error(Code::ReportUnwritable, message).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumb_terminal_gets_plain_lines() {
        let with = |pairs: &[(&str, &str)]| can_draw(&Environment::from_pairs(pairs.to_vec()));
        assert!(!with(&[("TERM", "dumb")]));
        assert!(with(&[("TERM", "xterm-256color")]));
        assert!(with(&[]));
    }
}
