//! The terminal behind standard output or standard error.

use std::io;
use std::os::fd::AsFd;

/// Width and height of a terminal, in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Cells in a row, at least 1.
    pub columns: u16,
    /// Rows, at least 1.
    pub rows: u16,
}

/// Returns the size of the terminal behind standard error, 80 by 24 if there is none or it reports
/// none.
///
/// Cheap enough to be asked before each redraw, so that a resized window is followed.
pub fn size_of_stderr() -> TerminalSize {
    size_of(io::stderr())
}

/// Does the same for standard output.
pub fn size_of_stdout() -> TerminalSize {
    size_of(io::stdout())
}

fn size_of(stream: impl AsFd) -> TerminalSize {
    let (columns, rows) = terminal_size::terminal_size_of(stream)
        .map_or((0, 0), |(columns, rows)| (columns.0, rows.0));
    // A pty that nobody has sized says 0 by 0.
    TerminalSize {
        columns: if columns == 0 { 80 } else { columns },
        rows: if rows == 0 { 24 } else { rows },
    }
}
