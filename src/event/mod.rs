//! The one ordered stream of what happens in a session.
//!
//! `build` and `schedule` send events over one channel; `report` consumes them. They meet
//! nowhere else. Every report sees the same events in the same order. An event carries what a
//! report needs, so that no report reads files to understand one (logs excepted).
//!
//! [`SessionState`] is what the events so far add up to; everything that needs a count or the exit
//! code reads it there. A stream can be written as NDJSON ([`to_line`]) and read back
//! ([`read_events`]); `docs/json-events.md` documents the format.

mod kinds;
mod line;
mod read;
mod state;
mod write;

pub use kinds::BuildHolder;
pub use kinds::BuildOutcome;
pub use kinds::CheckpointReached;
pub use kinds::Event;
pub use kinds::RunId;
pub use kinds::RunOrigin;
pub use kinds::SessionCommand;
pub use kinds::SessionFinished;
pub use kinds::SessionStarted;
pub use kinds::Slot;
pub use line::SCHEMA;
pub use read::RecordedEvent;
pub use read::RecordedEvents;
pub use read::read_events;
pub use state::Attempt;
pub use state::BuildCounts;
pub use state::Contradiction;
pub use state::SessionState;
pub use write::listed_testcase;
pub use write::to_line;

#[cfg(test)]
mod tests;
