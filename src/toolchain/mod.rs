//! Finds or creates the tools that a session uses: a Python with cocotb, and simulators.
//!
//! Invariant: a tool is described by a value (`model::tool`) that changes when the tool changes, so
//! that it can be part of the key of everything made with it.

pub mod cache;
pub mod inspection;
pub mod installer;
pub mod missing;
pub mod provision;
pub mod python;
pub mod simulator_search;
