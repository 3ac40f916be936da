//! Simulators as pure functions: a build becomes compile steps, a run becomes a command and an
//! environment.
//!
//! Invariant: nothing here touches a disk, a clock or a process; the same values in give the same
//! values out. The sources of every fact are cocotb's own launchers (1.9.2, 2.0.1, 2.1.0) and the
//! simulators' manuals.

pub mod compile;
pub mod complaint;
pub mod hdl_error;
mod icarus;
pub mod launch;
mod verilator;
