//! The human report: a line per finished testcase, live progress, failures in full, a summary.
//!
//! It goes to stderr, as cargo's and nextest's does; its wording is not a public interface.

mod ending;
mod frame;
mod report;
mod screen;
mod style;

pub use report::TerminalOptions;
pub use report::TerminalReport;
pub use report::Verbosity;
pub use screen::SizeOf;

#[cfg(test)]
mod tests;
