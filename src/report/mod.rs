//! Consumers of the event stream: terminal, JUnit, NDJSON.
//!
//! A report sees every event once, in order, with the state of the session after it, and
//! changes nothing in the session. What a result *means* is decided once: how it is counted and its
//! code in [`SessionState`](crate::event::SessionState), its headline and the command that repeats it
//! in `wording`. The reports only lay it out, so they cannot disagree.

pub mod json;
pub mod junit;
pub mod terminal;

mod consumer;
mod log;
mod text;
mod traceback;
mod wording;
mod wrap;

#[cfg(test)]
mod expected;

pub use consumer::Report;
pub use consumer::Reports;
pub use json::JsonReport;
pub use junit::JunitOptions;
pub use junit::JunitReport;
pub use junit::unwritable;
pub use terminal::TerminalOptions;
pub use terminal::TerminalReport;
pub use terminal::Verbosity;
pub use wrap::wrapped;
