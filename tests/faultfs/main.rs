//! The lock and whole builds on a file system that fails, gives wrong answers and hangs.
//!
//! The file system is a FUSE mount of a directory in memory. Mounting needs root, who is allowed to,
//! and `/dev/fuse`; without these the tests say that they were skipped.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, and touches files and processes itself"
)]

mod builds;
mod client;
mod itself;
mod mount;
mod namespaces;
mod passthrough;
mod promises;
mod schedules;
#[expect(dead_code, reason = "these tests need less of it than others do")]
#[path = "../it/support.rs"]
mod support;
mod targets;
mod weather;
mod words;
