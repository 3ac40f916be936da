//! cocorun builds HDL once, runs cocotb testcases in parallel, and reports honestly.
//!
//! The floors, lowest first; a module names only lower ones, and `tests/it/architecture.rs` checks
//! it: `model` · `diagnostic`, `edge`, `event` · `agent`, `config`, `lock`, `sim` · `build`, `plan`,
//! `report`, `toolchain` · `schedule` · `cli` · `commands`. `docs/architecture.md` tells why.

pub mod agent;
pub mod build;
pub mod cli;
pub mod commands;
pub mod config;
pub mod diagnostic;
pub mod edge;
pub mod event;
pub mod lock;
pub mod model;
pub mod plan;
pub mod report;
pub mod schedule;
pub mod sim;
pub mod toolchain;
