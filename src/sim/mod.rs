//! Simulators as pure functions: a build becomes a recipe, a run becomes a command and an
//! environment.
//!
//! Invariant: nothing here touches a disk, a clock or a process; the same input always gives the
//! same output. The sources of every fact are cocotb's own launchers (1.9.2, 2.0.1, 2.1.0) and the
//! simulators' manuals. A new simulator is a folder here that implements
//! [`Simulator`](simulator::Simulator), and a line in [`registry`].

pub mod complaint;
pub mod dependencies;
pub mod icarus;
pub mod launch;
pub mod literal;
pub mod log_text;
pub mod recipe;
pub mod registry;
pub mod simulator;
pub mod tools;
pub mod verilator;
