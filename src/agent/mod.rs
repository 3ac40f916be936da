//! The agent: cocorun's Python package that runs inside the simulator, and the protocol between the
//! two.
//!
//! The package's sources are in `cocorun_agent/`; they are part of this program and are written
//! once per build directory, under their digest. `docs/agent.md` describes the protocol. Invariant:
//! the protocol is typed at both ends (`event.rs` here, `events.py` there), and no message is
//! silently dropped: what cannot be read is reported.

pub mod event;
pub mod fork_server;
pub mod machinery;
pub mod package;
pub mod request;
