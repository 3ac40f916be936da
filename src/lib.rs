//! cocorun builds HDL once, runs cocotb testcases in parallel, and reports honestly.
//!
//! The floors, lowest first; a module uses only lower ones, and `tests/architecture` checks it:
//! `model` and the crate `edge` · the crate `lock` · `diagnostic`, `event` · `agent`, `sim` ·
//! `config` · `build`, `plan`, `report`, `toolchain` · `schedule` · `cli` · `commands`.
//! `docs/architecture.md` says why.

pub mod agent;
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
