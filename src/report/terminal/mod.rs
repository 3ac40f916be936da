//! The human report: a line per finished testcase, live progress, failures in full, a summary.
//!
//! Its wording is not a public interface.

mod builds;
mod ending;
mod failures;
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
