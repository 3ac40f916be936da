//! The texts in the registers of a ledger, and how to read them.
//!
//! A text is `WORD;KEY=VALUE;…` in printable ASCII, at most 1000 bytes, because it must fit in a
//! symbolic link on every file system. Invariant: reading never fails on what others wrote; a text
//! that is not understood reads as [`Claim::default`] or [`Commit::Unknown`], about which only the
//! safe case is assumed.

use crate::options::Options;

use cocorun_edge::machine::Machine;
use cocorun_edge::machine::ProcessIdentity;
use std::time::Duration;
use std::time::SystemTime;

/// Longest value of one field after escaping, bytes.
const FIELD_BYTES_MAX: usize = 96;
/// Longest summary of a failure after escaping, bytes.
const SUMMARY_BYTES_MAX: usize = 480;
/// Leases outside this range are not accepted, seconds.
const LEASE_S_RANGE: std::ops::RangeInclusive<f64> = 0.01..=86_400.0;

/// What the winner of an epoch says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Claim {
    /// Names this incarnation of the holder; 32 hex digits.
    pub token: String,
    /// The process.
    pub process: ProcessIdentity,
    /// After this much silence, others may take over.
    pub lease: Option<Duration>,
    /// The session it works for.
    pub run_id: String,
    /// Wall-clock start, seconds since 1970.
    pub since_s: u64,
}

/// Whether the same attempt would fail again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Caused by the inputs: the same inputs fail again.
    Deterministic,
    /// Caused by circumstances: a full disk, a signal, no memory, no licence.
    Transient,
}

/// How an epoch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Its result is published.
    Done {
        /// The publisher.
        token: String,
        /// Hash of the published record.
        digest: String,
    },
    /// It failed.
    Failed {
        /// Who failed.
        token: String,
        /// How.
        kind: FailureKind,
        /// The first words of the failure.
        summary: String,
        /// The session it worked for.
        run_id: String,
    },
    /// A later epoch took over.
    Revoked,
    /// Its holder gave up.
    Released,
    /// It is closed, with a text from another version.
    Unknown,
}

/// Makes a random name for one incarnation, 32 hex digits.
pub(crate) fn new_token(machine: &dyn Machine) -> String {
    format!("{:032x}", machine.random())
}

impl Claim {
    /// Makes the claim of a process that is about to lead or to queue, under a new token.
    pub(crate) fn new(process: &ProcessIdentity, options: &Options, now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            token: new_token(&*options.machine),
            process: process.clone(),
            lease: Some(options.lease),
            run_id: options.run_id.clone(),
            since_s: since.map_or(0, |since| since.as_secs()),
        }
    }

    /// Writes the register's text.
    pub(crate) fn to_text(&self) -> String {
        let process = &self.process;
        let lease = self.lease.unwrap_or_default().as_secs_f64();
        format!(
            "c1;t={};h={};p={};st={};b={};ns={};tn={};l={lease};r={};u={};s={}",
            self.token,
            escaped(&process.host, FIELD_BYTES_MAX),
            process.pid,
            process.start_ticks,
            escaped(&process.boot_id, FIELD_BYTES_MAX),
            process.pid_namespace,
            process.time_namespace,
            escaped(&self.run_id, FIELD_BYTES_MAX),
            escaped(&process.user, FIELD_BYTES_MAX),
            self.since_s,
        )
    }

    /// Reads a register's text; fields that are missing or odd stay empty.
    pub(crate) fn from_text(text: &str) -> Self {
        let fields = Fields::of(text);
        if fields.word != "c1" {
            return Self::default();
        }
        let lease_s = fields
            .number::<f64>("l")
            .filter(|lease| LEASE_S_RANGE.contains(lease));
        Self {
            token: fields.text("t"),
            process: ProcessIdentity {
                host: fields.text("h"),
                user: fields.text("u"),
                pid: fields.number("p").unwrap_or(0),
                start_ticks: fields.number("st").unwrap_or(0),
                boot_id: fields.text("b"),
                pid_namespace: fields.number("ns").unwrap_or(0),
                time_namespace: fields.number("tn").unwrap_or(0),
            },
            lease: lease_s.map(Duration::from_secs_f64),
            run_id: fields.text("r"),
            since_s: fields.number("s").unwrap_or(0),
        }
    }
}

impl Commit {
    /// Writes the register's text; `writer` is the token of its writer.
    pub(crate) fn to_text(&self, writer: &str) -> String {
        match self {
            Self::Done { digest, .. } => format!("done;t={writer};m={digest}"),
            Self::Failed {
                kind,
                summary,
                run_id,
                ..
            } => {
                let kind = match kind {
                    FailureKind::Deterministic => "deterministic",
                    FailureKind::Transient => "transient",
                };
                let run_id = escaped(run_id, FIELD_BYTES_MAX);
                let summary = escaped(summary, SUMMARY_BYTES_MAX);
                format!("failed;t={writer};k={kind};r={run_id};x={summary}")
            }
            Self::Revoked => format!("revoked;t={writer}"),
            Self::Released | Self::Unknown => format!("released;t={writer}"),
        }
    }

    /// Reads a register's text.
    pub(crate) fn from_text(text: &str) -> Self {
        let fields = Fields::of(text);
        match fields.word {
            "done" => Self::Done {
                token: fields.text("t"),
                digest: fields.text("m"),
            },
            "failed" => Self::Failed {
                token: fields.text("t"),
                kind: match fields.text("k").as_str() {
                    "deterministic" => FailureKind::Deterministic,
                    _ => FailureKind::Transient,
                },
                summary: fields.text("x"),
                run_id: fields.text("r"),
            },
            "revoked" => Self::Revoked,
            "released" => Self::Released,
            _ => Self::Unknown,
        }
    }

    #[cfg(feature = "locks")]
    /// Writes the text with which `writer` ends another process's ticket, whose token is `of`.
    pub(crate) fn revocation(writer: &str, of: &str) -> String {
        format!("revoked;t={writer};of={of}")
    }

    /// Whether a register's text is about the claim of this token: a register of the same name may
    /// hold a text that was meant for a directory that has been removed since.
    pub(crate) fn is_about(text: &str, token: &str) -> bool {
        let fields = Fields::of(text);
        let about = match fields.word {
            "revoked" => fields.raw("of"),
            _ => fields.raw("t"),
        };
        token.is_empty() || about.is_none_or(|about| about == token)
    }
}

/// A register's text, taken apart.
struct Fields<'a> {
    word: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Self {
        let mut parts = text.trim_end().split(';');
        let word = parts.next().unwrap_or_default();
        Self {
            word,
            pairs: parts.filter_map(|part| part.split_once('=')).collect(),
        }
    }

    fn raw(&self, key: &str) -> Option<&'a str> {
        self.pairs
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
    }

    fn text(&self, key: &str) -> String {
        self.raw(key).map(unescaped).unwrap_or_default()
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.raw(key)?.parse().ok()
    }
}

/// Escapes everything but plain characters as `%XX` and cuts between characters.
pub(crate) fn escaped(text: &str, bytes_max: usize) -> String {
    let mut out = String::new();
    let mut buffer = [0; 4];
    for character in text.chars() {
        let mut piece = String::new();
        if character.is_ascii_alphanumeric() || "._:/@+-, ".contains(character) {
            piece.push(character);
        } else {
            for byte in character.encode_utf8(&mut buffer).bytes() {
                piece.push('%');
                piece.push(hex_digit(byte >> 4));
                piece.push(hex_digit(byte & 15));
            }
        }
        if out.len() + piece.len() > bytes_max {
            break;
        }
        out.push_str(&piece);
    }
    out
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

/// Undoes [`escaped`]; a `%` that starts no escape is kept.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = code {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn claim() -> Claim {
        Claim {
            token: "0123456789abcdef0123456789abcdef".to_owned(),
            process: ProcessIdentity {
                host: "node;07=ä%".to_owned(),
                user: "anna".to_owned(),
                pid: 4711,
                start_ticks: 123_456,
                boot_id: "a-b-c".to_owned(),
                pid_namespace: 4_026_531_836,
                time_namespace: 4_026_531_834,
            },
            lease: Some(Duration::from_millis(30_500)),
            run_id: "nightly 7".to_owned(),
            since_s: 1_795_214_959,
        }
    }

    #[test]
    fn a_claim_survives_writing_and_reading() {
        assert_eq!(Claim::from_text(&claim().to_text()), claim());
    }

    #[test]
    fn a_commit_survives_writing_and_reading() {
        let token = "0123456789abcdef0123456789abcdef".to_owned();
        for commit in [
            Commit::Done {
                token: token.clone(),
                digest: "ab12".to_owned(),
            },
            Commit::Failed {
                token: token.clone(),
                kind: FailureKind::Deterministic,
                summary: "x.sv:1: syntax error;\nnext = line".to_owned(),
                run_id: "r;1".to_owned(),
            },
            Commit::Revoked,
            Commit::Released,
        ] {
            assert_eq!(Commit::from_text(&commit.to_text(&token)), commit);
        }
    }

    #[test]
    fn the_longest_texts_fit_into_a_symbolic_link() {
        let long = "ß".repeat(4000);
        let mut claim = claim();
        claim.process.host.clone_from(&long);
        claim.process.user.clone_from(&long);
        claim.process.boot_id.clone_from(&long);
        claim.run_id.clone_from(&long);
        assert!(claim.to_text().len() <= 1000, "{}", claim.to_text().len());
        let failed = Commit::Failed {
            token: String::new(),
            kind: FailureKind::Transient,
            summary: long.clone(),
            run_id: long,
        };
        assert!(failed.to_text(&claim.token).len() <= 1000);
    }

    #[test]
    fn words_of_another_version_are_closed_but_never_done() {
        for text in ["", "done2;t=1", "c1;t=1", "DONE;t=1", "=;=;", "%%%"] {
            assert_eq!(Commit::from_text(text), Commit::Unknown, "{text}");
        }
        assert_eq!(Claim::from_text("c2;t=1;l=5"), Claim::default());
        assert_eq!(Claim::from_text("c1;t=1;l=inf").lease, None);
        assert_eq!(Claim::from_text("c1;t=1;l=-3").lease, None);
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_written_texts_are_printable(text in ".{0,200}") {
            let _commit = Commit::from_text(&text);
            let _claim = Claim::from_text(&text);
            let written = escaped(&text, 10_000);
            prop_assert!(written.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert!(!written.contains([';', '=']));
            prop_assert_eq!(unescaped(&written), text);
        }
    }
}
