//! The agent: our Python package that runs inside the simulator, and the protocol between it and
//! cocorun.
//!
//! The package's sources stand in `cocorun_agent/`; they are part of this program and are written
//! once per build directory, under their digest. `docs/agent.md` describes the protocol. Invariant:
//! the protocol is typed at both ends (`event.rs` here, `events.py` there), and no message is
//! dropped unread: what cannot be read is reported.

pub mod event;
pub mod fork_server;
pub mod package;
pub mod request;
