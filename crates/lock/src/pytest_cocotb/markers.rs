//! The `.done` and `.failed` files that tell pytest-cocotb that a step is over.
//!
//! They are copies; only the ledger is authoritative. cocorun writes them for others and only reads
//! whether somebody removed them. Invariants: `.done` is made after the commit, and the register
//! `marked` after `.done`, so a marked epoch without `.done` was cleaned by somebody else; an epoch
//! is retired before its marker is removed.

use crate::error::LockError;
use crate::ledger::Ledger;

use camino::Utf8PathBuf;
use std::io;

/// Separates the text for people from ours in `.failed`.
const DIVIDER: &str = "--cocorun--";

impl Ledger {
    fn marker_path(&self, kind: &str) -> Utf8PathBuf {
        self.dir
            .join(".locks")
            .join(format!("{}.{kind}", self.name))
    }

    fn marked_path(&self, epoch: u32) -> Utf8PathBuf {
        self.registers.join(format!("{epoch:08}.marked"))
    }

    /// Returns the directory that is pytest-cocotb's lock.
    pub(crate) fn pytest_lock_path(&self) -> Utf8PathBuf {
        self.marker_path("lock")
    }

    /// Makes `.done` for a published epoch; the first caller does.
    pub(crate) fn mark(&self, epoch: u32, token: &str) -> Result<(), LockError> {
        let dir = self.attempt_dir(epoch, token);
        let name = dir.file_name().unwrap_or_default();
        let text = serde_json::json!({
            "cocorun": 1, "epoch": epoch, "token": token, "dir": format!("attempts/{name}"),
        });
        self.disk
            .create_once(&self.marker_path("done"), format!("{text}\n").as_bytes())?;
        self.disk
            .storage
            .remove_file(&self.marker_path("failed"))
            .ok();
        self.disk
            .put(&self.marked_path(epoch), &format!("m;t={token}"))
            .map(|_| ())
    }

    pub(crate) fn is_marked(&self, epoch: u32) -> Result<bool, LockError> {
        Ok(self.disk.get(&self.marked_path(epoch))?.is_some())
    }

    /// Whether `.done` is missing, as the server sees it.
    ///
    /// An NFS client may take it to be absent for a long time. So if it seems to be missing it is
    /// created for a moment; during that moment pytest-cocotb sees its `clean()` as not done yet.
    pub(crate) fn lacks_done_marker(&self) -> Result<bool, LockError> {
        let path = self.marker_path("done");
        self.disk.stamp(&self.dir.join(".locks")).ok();
        if !is_absent(&self.disk.storage.read_file(&path)) || !is_absent(&self.disk.stamp(&path)) {
            return Ok(false);
        }
        self.disk.is_surely_absent(&path)
    }

    /// Makes `.failed`; pytest-cocotb shows its first words.
    pub(crate) fn mark_failed(&self, epoch: u32, token: &str, text: &str) {
        let ours = serde_json::json!({ "cocorun": 1, "epoch": epoch, "token": token });
        let text = format!("{}\n{DIVIDER}\n{ours}\n", text.trim_end());
        self.disk
            .storage
            .write_file(&self.marker_path("failed"), text.as_bytes())
            .ok();
    }

    /// Removes the markers of epochs that are retired; one that names a valid epoch stays.
    pub(crate) fn unmark(&self, is_retired: &dyn Fn(u32) -> bool) {
        for kind in ["done", "failed"] {
            let path = self.marker_path(kind);
            let Ok(bytes) = self.disk.storage.read_file(&path) else {
                continue;
            };
            if epoch_in(&bytes).is_none_or(is_retired) {
                self.disk.storage.remove_file(&path).ok();
            }
        }
    }
}

fn is_absent<T>(result: &io::Result<T>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Reads which epoch a marker names; `None` for one that another program made.
fn epoch_in(bytes: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(bytes).ok()?;
    let value: serde_json::Value = serde_json::from_str(text.lines().next_back()?).ok()?;
    value.get("cocorun")?;
    value.get("epoch")?.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_tells_whose_it_is() {
        assert_eq!(epoch_in(b""), None);
        assert_eq!(epoch_in(b"Command failed\nwith 2"), None);
        assert_eq!(epoch_in(br#"{"epoch": 7}"#), None);
        assert_eq!(epoch_in(b"{\"cocorun\":1,\"epoch\":7}\n"), Some(7));
        assert_eq!(
            epoch_in(b"bad\n--cocorun--\n{\"cocorun\":1,\"epoch\":3}\n"),
            Some(3)
        );
    }
}
