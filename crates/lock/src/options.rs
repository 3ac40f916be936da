//! How locks and steps behave.

use cocorun_edge::machine::Machine;
use cocorun_edge::machine::SystemMachine;
use std::sync::Arc;
use std::time::Duration;

/// How a [`CallOnce`](crate::CallOnce) or a lock behaves.
#[derive(Clone)]
pub struct Options {
    /// A holder that is silent for this long counts as dead; 30 s.
    pub lease: Duration,
    /// Time between two signs of life, at most a quarter of the lease; 5 s. Zero starts no thread:
    /// then the caller calls [`Leader::beat`](crate::Leader::beat).
    pub heartbeat: Duration,
    /// Longest time between two looks of a waiting caller; 5 s.
    pub poll_max: Duration,
    /// How long a failing operation is retried before it is an error; 30 s.
    pub stall: Duration,
    /// Whether pytest-cocotb may use the same directory: hold its lock while leading, make its
    /// `.done` and `.failed`, and notice its `clean()`.
    pub pytest_cocotb: bool,
    /// Names the session; deterministic failures are remembered for it.
    pub run_id: String,
    /// The machine.
    pub machine: Arc<dyn Machine>,
    /// Whether the caller guarantees that no other process works in the directory: existing holders
    /// count as dead at once, and a file system without links will do. If the caller is wrong, a
    /// step can be done twice at once.
    pub alone: bool,
    /// How many tickets of a lock are removed together; 128. All who use the lock agree.
    pub block: u32,
}

impl Options {
    /// Makes the options of a session.
    pub fn new(run_id: &str) -> Self {
        Self {
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(5),
            poll_max: Duration::from_secs(5),
            stall: Duration::from_secs(30),
            pytest_cocotb: true,
            alone: false,
            block: 128,
            run_id: run_id.to_owned(),
            machine: Arc::new(SystemMachine),
        }
    }
}
