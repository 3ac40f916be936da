//! Plain values of the domain: builds, testcases, outcomes, exit codes.
//!
//! Nothing here does I/O, reads a clock or knows another module. Each term means one thing
//! everywhere; `docs/glossary.md` defines them.

pub mod build;
pub mod exit_code;
pub mod outcome;
pub mod step;
pub mod test;
pub mod tool;
