//! Slots, order, limits and the life of each run.
//!
//! Invariants: every planned testcase gets exactly one `TestcaseFinished`; every process a run
//! started is gone before its `RunFinished`; events come out in one order, from one thread.

mod folder;
mod group;
mod history;
mod history_files;
mod judge;
mod listing;
mod missing;
mod queue;
mod run;
pub mod session;
mod simulation;
mod stack;
mod worker;
