//! Finding and making the tools a session uses: a Python with cocotb in it, and simulators.
//!
//! Invariant: a tool is described by a value (`model::tool`) that changes when the tool does, so
//! that everything made with it can be keyed by it.

pub mod cache;
pub mod inspection;
pub mod provision;
pub mod python;
pub mod simulator_search;
