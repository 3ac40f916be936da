//! The ledger of one step: where its registers are and what they say.
//!
//! `DIR/.locks/NAME.ledger/` has, for each epoch from 1, the registers `claim` (who tries),
//! `commit` (how it ended) and `retired` (its result no longer counts). Invariant: a register is
//! filled at most once and stays, so whatever was read of it stays true. Only those of old lock
//! tickets are removed, see `acquire/blocks.rs`; what was read of these stays true as well.

pub(crate) mod disk;
pub(crate) mod record;

use crate::error::LockError;
use crate::holder::Holder;
use crate::ledger::disk::Disk;
use crate::ledger::disk::Put;
use crate::ledger::record::Claim;
use crate::ledger::record::Commit;
use crate::ledger::record::escaped;
use crate::outcome::Published;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::storage::Stamp;
use std::io;
use std::time::Duration;
use std::time::SystemTime;

/// Longest remark in a register, bytes.
const NOTE_BYTES_MAX: usize = 400;
/// Highest epoch that is accepted. It is never reached in practice; a higher one was put there to
/// do harm, and counting on from it would overflow.
const EPOCH_MAX: u32 = 1 << 30;
/// The published record, in the attempt's directory.
const RECORD_FILE: &str = "record.json";
/// The failure's full text, in the attempt's directory.
const FAILURE_FILE: &str = "failure.txt";
/// What the holder is doing, in the attempt's directory.
const DOING_FILE: &str = "doing.txt";

/// Why a published result cannot be read.
pub(crate) struct DamagedRecord(pub String);

/// The registers of one step in one shared directory.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub disk: Disk,
    /// The shared directory of the key.
    pub dir: Utf8PathBuf,
    /// The step's name.
    pub name: String,
    /// Where the registers are.
    pub registers: Utf8PathBuf,
    /// Whether pytest-cocotb uses the same directory.
    pub pytest_cocotb: bool,
}

impl Ledger {
    pub(crate) fn new(disk: Disk, dir: Utf8PathBuf, name: &str, pytest_cocotb: bool) -> Self {
        let registers = dir.join(".locks").join(format!("{name}.ledger"));
        Self {
            disk,
            dir,
            name: name.to_owned(),
            registers,
            pytest_cocotb,
        }
    }

    pub(crate) fn claim_path(&self, epoch: u32) -> Utf8PathBuf {
        self.registers.join(format!("{epoch:08}.claim"))
    }

    pub(crate) fn commit_path(&self, epoch: u32) -> Utf8PathBuf {
        self.registers.join(format!("{epoch:08}.commit"))
    }

    fn retired_path(&self, epoch: u32) -> Utf8PathBuf {
        self.registers.join(format!("{epoch:08}.retired"))
    }

    /// Returns the private directory of one attempt. The name comes from epoch and token, never
    /// from a path that others wrote into a register.
    pub(crate) fn attempt_dir(&self, epoch: u32, token: &str) -> Utf8PathBuf {
        let plain: String = token
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(8)
            .collect();
        self.dir
            .join("attempts")
            .join(format!("{epoch:08}-{plain}"))
    }

    /// Returns the highest claimed epoch in the listing, which may be stale; `None` where the
    /// ledger does not exist.
    pub(crate) fn listed_top(&self) -> Result<Option<u32>, LockError> {
        Ok(self.listed()?.as_deref().map(top_of))
    }

    /// Returns the names of the listing, which may be stale; `None` where the ledger does not exist.
    pub(crate) fn listed(&self) -> Result<Option<Vec<String>>, LockError> {
        // The forced look also makes an NFS client read the listing again.
        let stamp = self.disk.stamp(&self.registers);
        if stamp.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        self.disk.list(&self.registers)
    }

    pub(crate) fn create(&self) -> Result<(), LockError> {
        self.disk.create_dirs(&self.registers)
    }

    /// Makes names visible that this client wrongly believes absent; returns the server's answer
    /// about the directory.
    pub(crate) fn refresh(&self) -> Option<Stamp> {
        self.disk.stamp(&self.registers).ok()
    }

    pub(crate) fn stamp_of_claim(&self, epoch: u32) -> io::Result<Stamp> {
        self.disk.stamp(&self.claim_path(epoch))
    }

    pub(crate) fn claim(&self, epoch: u32) -> Result<Option<Claim>, LockError> {
        Ok(self
            .disk
            .get(&self.claim_path(epoch))?
            .map(|text| Claim::from_text(&text)))
    }

    /// Reads how an epoch ended; `None` if it has not, as far as is known.
    pub(crate) fn commit(&self, epoch: u32) -> Result<Option<Commit>, LockError> {
        let text = self.disk.get(&self.commit_path(epoch))?;
        Ok(text.map(|text| Commit::from_text(&text)))
    }

    /// Closes another process's epoch, unless it is closed; returns how it ended.
    pub(crate) fn fence(&self, epoch: u32, writer: &str) -> Result<Commit, LockError> {
        if let Some(commit) = self.commit(epoch)? {
            return Ok(commit);
        }
        let put = self
            .disk
            .put(&self.commit_path(epoch), &Commit::Revoked.to_text(writer))?;
        Ok(match put {
            Put::Won => Commit::Revoked,
            Put::Lost(text) => Commit::from_text(&text),
        })
    }

    /// Describes the holder of an epoch, for people.
    pub(crate) fn holder(
        &self,
        epoch: u32,
        claim: &Claim,
        sign: Option<SystemTime>,
        doing: Option<String>,
    ) -> Holder {
        let now = self.disk.clock.wall();
        let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claim.since_s));
        Holder {
            since: since.filter(|_| claim.since_s > 0),
            last_sign_of_life: sign
                .and_then(|sign| now.duration_since(sign).ok())
                .unwrap_or_default(),
            doing,
            ..Holder::of(&claim.process, self.claim_path(epoch))
        }
    }

    pub(crate) fn is_retired(&self, epoch: u32) -> Result<bool, LockError> {
        Ok(self.disk.get(&self.retired_path(epoch))?.is_some())
    }

    /// Retires a closed epoch, unless another process has done so; `note` is for people.
    pub(crate) fn retire(
        &self,
        epoch: u32,
        why: &str,
        writer: &str,
        note: &str,
    ) -> Result<(), LockError> {
        let text = format!("{why};t={writer};x={}", escaped(note, NOTE_BYTES_MAX));
        self.disk.put(&self.retired_path(epoch), &text).map(|_| ())
    }

    /// Writes a record next to the result; returns the hash for the commit.
    pub(crate) fn write_record(
        &self,
        dir: &Utf8Path,
        record: &serde_json::Value,
    ) -> Result<String, LockError> {
        let text = record.to_string();
        self.disk.write(&dir.join(RECORD_FILE), text.as_bytes())?;
        Ok(blake3::hash(text.as_bytes()).to_hex().to_string())
    }

    /// Reads a published result and checks its record against the hash in the commit.
    pub(crate) fn published(
        &self,
        epoch: u32,
        token: &str,
        digest: &str,
    ) -> Result<Result<Published, DamagedRecord>, LockError> {
        let dir = self.attempt_dir(epoch, token);
        let path = dir.join(RECORD_FILE);
        let Some(bytes) = self.disk.read_surely(&path)? else {
            return Ok(Err(DamagedRecord(format!("`{path}` is missing"))));
        };
        Ok(self.parsed(epoch, token, digest, &bytes))
    }

    /// Checks a record against the hash in the commit.
    fn parsed(
        &self,
        epoch: u32,
        token: &str,
        digest: &str,
        bytes: &[u8],
    ) -> Result<Published, DamagedRecord> {
        let dir = self.attempt_dir(epoch, token);
        let path = dir.join(RECORD_FILE);
        if blake3::hash(bytes).to_hex().as_str() != digest {
            return Err(DamagedRecord(format!("`{path}` is not what was published")));
        }
        match serde_json::from_slice(bytes) {
            Ok(record) => Ok(Published {
                epoch,
                token: token.to_owned(),
                dir,
                record,
            }),
            Err(error) => Err(DamagedRecord(format!("`{path}` is not JSON: {error}"))),
        }
    }

    /// Reads a result without writing anything, as far as that is possible without a listing.
    /// `None` says nothing.
    ///
    /// A commit never changes, so a cached one is right. Whoever ends a result takes its record
    /// away first, see [`Ledger::withdraw`], and the record's name is asked of the server.
    pub(crate) fn peek(&self, epoch: u32) -> Option<Published> {
        let commit = self.disk.read_register(&self.commit_path(epoch)).ok()??;
        let Commit::Done { token, digest } = Commit::from_text(&commit) else {
            return None;
        };
        let dir = self.attempt_dir(epoch, &token);
        self.disk.stamp(&dir.join(RECORD_FILE)).ok()?;
        let bytes = self.disk.read(&dir.join(RECORD_FILE)).ok()??;
        self.parsed(epoch, &token, &digest, &bytes).ok()
    }

    /// Takes the record of a result away, which makes the result worthless to everybody.
    ///
    /// The name holds the attempt's token, so nobody publishes under it again.
    pub(crate) fn withdraw(&self, epoch: u32, token: &str) -> Result<(), LockError> {
        self.disk
            .remove(&self.attempt_dir(epoch, token).join(RECORD_FILE))
    }

    pub(crate) fn write_failure(&self, dir: &Utf8Path, text: &str) -> Result<(), LockError> {
        self.disk.write(&dir.join(FAILURE_FILE), text.as_bytes())
    }

    /// Reads a failure's whole text; where that is lost, the caller has the summary.
    pub(crate) fn failure(&self, epoch: u32, token: &str) -> Option<String> {
        let path = self.attempt_dir(epoch, token).join(FAILURE_FILE);
        self.disk
            .storage
            .read_file(&path)
            .ok()
            .map(|b| String::from_utf8_lossy(&b).into_owned())
    }

    /// Tells the waiting what is being done; a hint, so errors do not matter.
    pub(crate) fn write_doing(&self, dir: &Utf8Path, text: &str) {
        self.disk
            .storage
            .write_file(&dir.join(DOING_FILE), text.as_bytes())
            .ok();
    }

    pub(crate) fn doing(&self, epoch: u32, token: &str) -> Option<String> {
        let path = self.attempt_dir(epoch, token).join(DOING_FILE);
        let bytes = self.disk.storage.read_file(&path).ok()?;
        let line = String::from_utf8_lossy(&bytes)
            .lines()
            .next()?
            .trim()
            .to_owned();
        // Text in a shared directory may contain escape sequences; they are not passed on.
        let plain: String = line.chars().filter(|c| !c.is_control()).take(160).collect();
        (!plain.is_empty()).then_some(plain)
    }
}

/// Returns the highest epoch that is claimed in a listing, or 0.
pub(crate) fn top_of(names: &[String]) -> u32 {
    let epochs = names.iter().filter_map(|name| epoch_of(name));
    epochs.max().unwrap_or(0)
}

/// Reads the epoch out of a claim's name.
pub(crate) fn epoch_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".claim")?;
    let is_plain = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = is_plain.then(|| digits.parse().ok()).flatten()?;
    (number <= EPOCH_MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_claims_count_as_epochs() {
        assert_eq!(epoch_of("00000012.claim"), Some(12));
        assert_eq!(epoch_of("123456789.claim"), Some(123_456_789));
        for name in [
            "12.claim",
            "+0000012.claim",
            "00000012.commit",
            ".claim",
            "0000000x.claim",
            "4294967295.claim",
        ] {
            assert_eq!(epoch_of(name), None, "{name}");
        }
    }
}
