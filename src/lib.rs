//! cocorun builds HDL once, runs cocotb testcases in parallel, and reports honestly.
//!
//! The floors, lowest first; a module names only lower ones, and `tests/it/architecture.rs` checks
//! it: `model` · `diagnostic`, `event` · `config`, `sim` · `build`, `plan`, `report`,
//! `toolchain` · `schedule` · `cli` · `commands`. Below them all are the crates `cocorun-edge`
//! and `cocorun-lock`. `docs/architecture.md` says why.

pub mod build;
pub mod cli;
pub mod commands;
pub mod config;
pub mod diagnostic;
pub mod event;
pub mod model;
pub mod plan;
pub mod report;
pub mod schedule;
pub mod sim;
pub mod toolchain;

pub use cocorun_edge as edge;
pub use cocorun_lock as lock;
