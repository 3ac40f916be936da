//! What can go wrong with files and processes, as values that name what was touched.

use std::fmt;

/// Which kind of trouble an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A program is not installed.
    NotFound,
    /// A program exists, but does not run as it should.
    Broken,
    /// What the caller asked for cannot be started.
    NotStartable,
    /// A file or directory may not be read.
    Unreadable,
    /// A file or directory may not be written.
    Unwritable,
    /// The disk or the quota is full.
    Full,
    /// Any other I/O error.
    Io,
    /// A path has bytes that are not UTF-8.
    NotUtf8,
    /// A signal ended the wait.
    Interrupted,
}

/// A failed operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which kind of trouble.
    pub kind: ErrorKind,
    /// What happened, with the path: lower case, no full stop, names in backticks.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Error {
    /// Makes an error without a help line.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            help: None,
        }
    }

    /// Sets the help line.
    #[must_use]
    pub fn help(mut self, line: impl Into<String>) -> Self {
        self.help = Some(line.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// What a fallible operation returns.
pub type Result<T> = std::result::Result<T, Error>;
