//! cocorun builds HDL once, runs cocotb testcases in parallel, and reports honestly.
//!
//! The floors, lowest first; a module names only lower ones, and `tests/architecture` checks
//! it: `model` · `diagnostic`, `edge`, `event` · `config`, `lock`, `sim` · `build`, `plan`,
//! `report`, `toolchain` · `schedule` · `cli` · `commands`. `docs/architecture.md` tells why.

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
