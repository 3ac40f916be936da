//! Errors and warnings as values with a code, facts and at most one help line.
//!
//! Every failure a user can meet is a [`Diagnostic`]; how it looks is decided in
//! [`render`], what its code means in [`codes`]. A code is never reused for something else.

pub mod codes;
mod conversions;
pub mod render;

pub use codes::Code;
pub use codes::ExitEffect;

use crate::model::exit_code::ExitCode;

use camino::Utf8PathBuf;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The session cannot succeed.
    Error,
    /// Worth knowing; changes no verdict.
    Warning,
}

/// A place in a text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The file, as the user would name it.
    pub path: Utf8PathBuf,
    /// Its text, or those lines of it that `range` touches.
    pub text: Arc<str>,
    /// The line of the file with which `text` begins, from 1.
    pub first_line: usize,
    /// The byte range within `text` that is marked.
    pub range: Range<usize>,
    /// What is wrong there; may be empty.
    pub label: String,
}

impl Snippet {
    /// Returns where it begins, as `FILE:LINE`.
    pub fn file_and_line(&self) -> String {
        let feeds = self.text[..self.range.start].matches('\n').count();
        format!("{}:{}", self.path, self.first_line + feeds)
    }
}

/// One problem, reported once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The stable code.
    pub code: Code,
    /// What happened: lower case, no full stop, names in backticks.
    pub message: String,
    /// The place in a file of the user's, where there is one.
    pub snippet: Option<Snippet>,
    /// Further facts, a line each: where, who, how long.
    pub facts: Vec<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// The log with all details, if a tool wrote one.
    pub log: Option<Utf8PathBuf>,
}

impl Diagnostic {
    /// Makes an error.
    ///
    /// # Panics
    /// In a debug build, if problems of this code are always warnings.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        debug_assert_ne!(code.effect(), ExitEffect::Warning, "{}", code.name());
        Self::new(Severity::Error, code, message)
    }

    fn new(severity: Severity, code: Code, message: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            snippet: None,
            facts: Vec::new(),
            help: None,
            log: None,
        }
    }

    /// Makes a warning.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Adds a fact line.
    #[must_use]
    pub fn fact(mut self, line: impl Into<String>) -> Self {
        self.facts.push(line.into());
        self
    }

    /// Sets the help line.
    #[must_use]
    pub fn help(mut self, line: impl Into<String>) -> Self {
        self.help = Some(line.into());
        self
    }

    /// Names the log with all details.
    #[must_use]
    pub fn log(mut self, path: impl Into<Utf8PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Sets the place.
    #[must_use]
    pub fn at(mut self, snippet: Snippet) -> Self {
        self.snippet = Some(snippet);
        self
    }
}

impl fmt::Display for Diagnostic {
    /// Writes the first line only; [`render::to_text`] writes it whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code.name())
    }
}

impl std::error::Error for Diagnostic {}

/// One or more problems that ended something; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Diagnostic>);

impl Problems {
    /// Returns the exit code of the first error.
    pub fn exit_code(&self) -> ExitCode {
        self.0
            .iter()
            .find(|problem| problem.severity == Severity::Error)
            .map_or(ExitCode::Environment, |problem| problem.code.exit_code())
    }
}

impl From<Diagnostic> for Problems {
    fn from(problem: Diagnostic) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What a fallible step returns.
pub type Result<T> = std::result::Result<T, Problems>;
