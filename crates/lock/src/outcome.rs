//! What callers of a step get to see: results and failures.

use crate::ledger::record::FailureKind;

use camino::Utf8PathBuf;

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
    /// It is damaged, for this reason: nobody may use it any longer.
    Broken(String),
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
