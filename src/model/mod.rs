//! Plain values of the field: builds, testcases, outcomes, exit codes.
//!
//! Nothing here does I/O, reads a clock or knows another module. A word means one thing
//! everywhere; `docs/glossary.md` defines them.

pub mod build;
pub mod exit_code;
pub mod outcome;
pub mod test;
pub mod tool;
