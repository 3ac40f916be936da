//! The lock and whole builds on a file system that fails, lies and hangs.
//!
//! The file system is a FUSE mount of a directory in memory. Mounting needs root; without it these
//! tests say that they were skipped.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, and touches files and processes itself"
)]

mod itself;
mod mount;
mod passthrough;
mod weather;
