//! Slots, order, limits and the life cycle of each run.
//!
//! Invariants: every planned testcase gets exactly one `TestcaseFinished`; every process a run
//! started is gone before its `RunFinished`; events are emitted in one order, from one thread.
//!
//! Data flows in one direction: tasks (`building`, `listing`, `run`) emit effects, and the `worker`
//! that drives them applies each one to the queue or to the stream of events. `listing` and `run`
//! follow their processes by the same loop (`follow`) and report by the same constructor
//! (`result`). What decides a verdict is an input of `judge`, which is pure.

mod bring_up;
mod building;
mod checkpoint_module;
mod checkpoints;
mod context;
mod effect;
#[cfg(test)]
mod fixture;
mod folder;
mod follow;
mod group;
mod hang;
mod history;
mod history_files;
mod judge;
mod listing;
mod missing_module;
mod module_server;
mod order_check;
mod order_suspects;
mod queue;
mod result;
mod run;
mod run_log;
mod servers;
pub mod session;
mod simulation;
mod starter;
mod starters;
mod task;
mod testcase_progress;
#[cfg(test)]
mod tests;
mod unused_checkpoints;
mod worker;
