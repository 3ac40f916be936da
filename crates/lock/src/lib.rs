//! The guard that makes a step happen exactly once per shared directory.
//!
//! [`CallOnce`] runs over [`Storage`](cocorun_edge::storage::Storage) and
//! [`Clock`](cocorun_edge::clock::Clock) alone. In short: the file server is used as an array of
//! write-once registers. Who fills `claim` of the next epoch leads it, after it closed all earlier
//! epochs by filling their `commit`; who fills its own `commit` first with `done` has published.
//! Time decides only when somebody may try.

mod blocks;
mod call_once;
mod disk;
mod ensure;
mod error;
mod gate;
mod holder;
pub mod inspect;
mod leader;
mod ledger;
pub mod left_over;
mod markers;
mod nfs_lock;
mod observe;
mod pace;
pub mod private_name;
mod record;
pub mod strategy;
pub mod survey;
mod sync;
#[cfg(test)]
mod tests;
pub mod tree;
mod vigil;
mod watching;

pub use call_once::CallOnce;
pub use error::LockError;
pub use holder::Holder;
pub use holder::plain;
pub use leader::Leader;
pub use nfs_lock::Held;
pub use nfs_lock::LockEntry;
pub use nfs_lock::NfsLock;
pub use record::FailureKind;

use camino::Utf8PathBuf;
use cocorun_edge::host::Host;
use cocorun_edge::host::SystemHost;
use std::sync::Arc;
use std::time::Duration;

/// How a [`CallOnce`] behaves.
#[derive(Clone)]
pub struct Options {
    /// After which silence the others may take over; 30 s.
    pub lease: Duration,
    /// Time between two signs of life, at most a quarter of the lease; 5 s. Zero starts no thread:
    /// then the caller calls [`Leader::beat`].
    pub heartbeat: Duration,
    /// Longest time between two looks of a waiting caller; 5 s.
    pub poll_max: Duration,
    /// For how long a failing operation is repeated before it is an error; 30 s.
    pub stall: Duration,
    /// Whether to share the directory with pytest-cocotb: hold its lock while leading, make its
    /// `.done` and `.failed`, and notice its `clean()`.
    pub interop: bool,
    /// Names the session; deterministic failures are remembered for it.
    pub run_id: String,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// Whether the caller vouches that no other process works in the directory: whoever holds the
    /// step when this caller comes counts as dead at once, and a file system without links will do.
    /// If the caller is wrong, a step can be done twice at once.
    pub alone: bool,
    /// How many tickets of an [`NfsLock`] are removed together; 128. All who use the lock agree.
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
            interop: true,
            alone: false,
            block: 128,
            run_id: run_id.to_owned(),
            host: Arc::new(SystemHost),
        }
    }
}

/// A published result.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The attempt that made it, from 1.
    pub epoch: u32,
    /// Names the incarnation that made it, 32 hex digits.
    pub token: String,
    /// The attempt's directory, under the shared directory; read-only from now on.
    pub dir: Utf8PathBuf,
    /// What the publisher wrote about it.
    pub record: serde_json::Value,
}

/// What a caller thinks of a published result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is what this caller needs.
    Use,
    /// It is good, but made from other discovered inputs: it stays valid for others.
    Foreign,
    /// It is damaged, for this reason: nobody shall use it any more.
    Broken(String),
}

/// What one call of [`CallOnce::enter`] came to.
#[derive(Debug)]
pub enum Entry {
    /// A result that the caller accepted.
    Done(Published),
    /// The caller shall do the step now.
    Lead(Leader),
    /// Somebody else is at it.
    Wait {
        /// Who.
        holder: Box<Holder>,
        /// When to look again.
        retry_in: Duration,
    },
    /// It failed in a way that it would fail again, before this caller's eyes or in its run.
    Failed(FailureRecord),
}

/// What came of [`Leader::publish`].
#[derive(Clone, Debug, PartialEq)]
pub enum PublishOutcome {
    /// Everybody can see it.
    Published(Published),
    /// Somebody took over in the meantime; nothing was published.
    Superseded,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRecord {
    /// Which attempt, from 1.
    pub epoch: u32,
    /// Whether it would fail again.
    pub kind: FailureKind,
    /// What went wrong.
    pub text: String,
    /// The attempt's directory, where logs may be.
    pub dir: Utf8PathBuf,
}

/// A caller that waits, as shown to [`CallOnce::ensure_done`]'s `on_wait`.
#[derive(Clone, Debug)]
pub struct Waiting<'a> {
    /// For whom.
    pub holder: &'a Holder,
    /// For how long so far.
    pub waited: Duration,
}

/// Why a step done under [`CallOnce::ensure_done`] has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether it would fail again.
    pub kind: FailureKind,
    /// What went wrong.
    pub text: String,
}

/// What [`CallOnce::ensure_done`] came to.
#[derive(Debug)]
pub enum Ensured {
    /// This caller did the step.
    Built(Published),
    /// Another one had done it.
    Found(Published),
    /// It failed.
    Failed(FailureRecord),
    /// The caller did not want to wait any longer.
    Interrupted,
}

/// One epoch of a ledger, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochStatus {
    /// Which, from 1.
    pub epoch: u32,
    /// `running`, `done`, `failed`, `revoked`, `released` or `unknown`.
    pub state: &'static str,
    /// Whether its result no longer counts.
    pub is_retired: bool,
    /// Who made it.
    pub holder: Holder,
    /// Where its files are.
    pub dir: Utf8PathBuf,
}

/// Everything a ledger says, oldest epoch first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The epochs.
    pub epochs: Vec<EpochStatus>,
}
