//! The reports of a session, and plain lines outside a session.

use crate::cli::ColorChoice;
use crate::cli::Format;
use crate::cli::Global;
use crate::cli::TestArgs;
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
use crate::report::wrapped;

use camino::Utf8Path;
use std::fs::File;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Instant;

/// Writes a line to standard error; if that fails, there is nowhere to report it.
pub(super) fn line(text: &str) {
    writeln!(io::stderr(), "{text}").ok();
}

/// Says whether a terminal, if there is one, supports colours and cursor movement.
pub(super) fn can_draw(environment: &Environment) -> bool {
    environment.get(env::TERM) != Some("dumb")
}

/// What a stream supports.
#[derive(Clone, Copy, Debug)]
struct Look {
    color: bool,
    is_terminal: bool,
}

impl Look {
    fn of(stream: &impl IsTerminal, global: &Global, environment: &Environment) -> Self {
        let is_terminal = stream.is_terminal() && can_draw(environment);
        let color = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && environment.get(env::NO_COLOR).is_none(),
        };
        Self { color, is_terminal }
    }
}

/// Where the report for people goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Standard output, unless that has another use.
    Output,
    /// Standard error.
    Errors,
}

/// The streams of this process and how to write on them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Console {
    output: Look,
    errors: Look,
    verbosity: Verbosity,
    began: Instant,
}

impl Console {
    /// Decides colour, progress and verbosity once.
    pub(super) fn new(global: &Global, environment: &Environment) -> Self {
        let verbosity = match (global.quiet, global.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        Self {
            output: Look::of(&io::stdout(), global, environment),
            errors: Look::of(&io::stderr(), global, environment),
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
            line(render::to_text(problem, self.errors.color).trim_end());
        }
    }

    /// Writes a line that begins with a status word, unless only failures are wanted.
    pub(super) fn status(self, text: &str) {
        if self.verbosity > Verbosity::Quiet {
            let size = self.errors.is_terminal.then(terminal::size_of_stderr);
            let columns = size.map_or(usize::MAX, |size| usize::from(size.columns));
            let label = text.trim_start().find(' ').map_or(0, |at| at + 1);
            let hang = text.len() - text.trim_start().len() + label;
            line(&wrapped(text, columns, Some(hang)));
        }
    }

    /// Creates the reports of a session that runs tests.
    pub(super) fn reports(self, args: &TestArgs, junit: Option<&Arc<OutputFile>>) -> Reports {
        let is_taken = junit.is_some_and(|file| file.descriptor() == Some(1));
        let place = match args.format {
            Format::Human if !is_taken => Place::Output,
            _ => Place::Errors,
        };
        let mut reports: Vec<Box<dyn Report>> = Vec::new();
        reports.push(Box::new(self.terminal(
            place,
            args.work.explain,
            args.output_lines,
        )));
        if let Some(file) = junit {
            reports.push(Box::new(junit_report(file)));
        }
        reports.extend(json_report(args.format));
        Reports(reports)
    }

    /// Creates the reports of a session that only builds.
    pub(super) fn build_reports(self, explain: bool, format: Format) -> Reports {
        let place = match format {
            Format::Human => Place::Output,
            Format::Json => Place::Errors,
        };
        let mut reports = vec![self.without_tests(place, explain)];
        reports.extend(json_report(format));
        Reports(reports)
    }

    /// Creates the report of a session that only lists: standard output is for the list.
    pub(super) fn list_report(self, explain: bool) -> Box<dyn Report> {
        self.without_tests(Place::Errors, explain)
    }

    /// Creates the report of a session without tests: with `--quiet`, silent unless something went
    /// wrong.
    fn without_tests(self, place: Place, explain: bool) -> Box<dyn Report> {
        let terminal = self.terminal(place, explain, 0);
        match self.verbosity {
            Verbosity::Quiet => Box::new(SilentSuccess::new(terminal)),
            _ => Box::new(terminal),
        }
    }

    fn terminal(self, place: Place, explain: bool, output_lines: usize) -> TerminalReport {
        let look = match place {
            Place::Output => self.output,
            Place::Errors => self.errors,
        };
        TerminalReport::new(
            TerminalOptions {
                color: look.color,
                progress: look.is_terminal && self.verbosity > Verbosity::Quiet,
                verbosity: self.verbosity,
                explain,
                wraps: look.is_terminal,
                output_lines,
                began: Some(self.began),
                out: match place {
                    Place::Output if !look.is_terminal => unbuffered_output(),
                    // A terminal that is gone has nobody in front of it.
                    Place::Output => Box::new(Unchecked(unbuffered_output())),
                    Place::Errors => Box::new(Unchecked(Box::new(io::stderr()))),
                },
                size_of: match place {
                    Place::Output => Arc::new(terminal::size_of_stdout),
                    Place::Errors => Arc::new(terminal::size_of_stderr),
                },
            },
            Arc::new(SystemClock),
        )
    }
}

/// Returns standard output without the buffer of `io::stdout`, which would show a drawing in parts.
fn unbuffered_output() -> Box<dyn Write + Send> {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(io::stdout()),
    }
}

/// A stream on which what cannot be written is lost: there is nowhere to report it.
struct Unchecked(Box<dyn Write + Send>);

impl Write for Unchecked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).or(Ok(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().or(Ok(()))
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

/// How much of a file is read to recognise a report.
const BEGIN_BYTES: u64 = 256;

/// Opens the file of `--junit`.
///
/// # Errors
/// It cannot be written, something else of this session goes to the same file, or it is a file that
/// is no report, such as a source.
pub(super) fn junit_file(path: &Utf8Path, format: Format) -> Result<Arc<OutputFile>> {
    let refuse = |text: String| {
        let problem = Diagnostic::error(Code::UsageBadArgument, text);
        Problems::from(problem.help("give `--junit` a file of its own"))
    };
    if path.as_str().ends_with('/')
        || fs::stamp(path).is_ok_and(|it| it.is_some_and(|it| it.is_dir))
    {
        return Err(refuse(format!("`--junit {path}` is a directory")));
    }
    let file = OutputFile::open(path).map_err(|error| unwritable(path, &error))?;
    if file.is_replaceable() && !may_be_replaced(path) {
        return Err(refuse(format!(
            "`--junit {path}` would replace a file that is no report"
        )));
    }
    if format == Format::Json && file.descriptor() == Some(1) {
        let text = format!("`--format json` and `--junit {path}` both write to standard output");
        let problem = Diagnostic::error(Code::UsageBadArgument, text);
        return Err(problem.help("give `--junit` a file").into());
    }
    // With `/dev/stdout`, the report of the terminal goes to standard error.
    let streams = [(1, "standard output"), (2, "standard error")];
    for (number, stream) in streams {
        if file.descriptor() != Some(number) && file.is_file_of(number) {
            let text = format!("`--junit {path}` is the file that {stream} is written to");
            return Err(refuse(text));
        }
    }
    Ok(Arc::new(file))
}

/// Says whether a regular file is absent, empty, or an XML document, as a former report is.
fn may_be_replaced(path: &Utf8Path) -> bool {
    let begin = fs::read_range_lossy(path, 0, BEGIN_BYTES);
    let begin = begin.trim_start_matches('\u{feff}').trim_start();
    begin.is_empty() || begin.starts_with('<')
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
