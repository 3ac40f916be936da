//! Trying a strategy's primitives on the actual directory, each in bounded time.
//!
//! A probe finds what is broken on this node: locks that exclude nobody, missing links, calls that
//! hang. It cannot find out whether other nodes are excluded.

use crate::acquire::strategy::Strategy;
use crate::error::LockError;
use crate::temporary_name;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::file_lock;
use cocorun_edge::file_lock::LockKind;
use cocorun_edge::fs::os_words;
use cocorun_edge::machine::SystemMachine;
use cocorun_edge::storage::ExclusiveStorage;
use cocorun_edge::storage::Storage;
use cocorun_edge::storage::SystemStorage;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long an operation may hang before the file system counts as not answering.
const LIMIT: Duration = Duration::from_secs(5);

/// Runs something that may hang forever, and gives up after `LIMIT`.
///
/// A hanging thread is abandoned; it ends with the process.
pub(super) fn bounded<T: Send + 'static>(
    dir: &Utf8Path,
    doing: &str,
    operation: impl FnOnce() -> T + Send + 'static,
) -> Result<T, LockError> {
    within(LIMIT, operation).ok_or_else(|| LockError::Unresponsive {
        dir: dir.to_owned(),
        reason: format!("`{doing}` did not answer within {} s", LIMIT.as_secs()),
    })
}

/// Runs something in a thread; nothing if it takes longer than the limit.
fn within<T: Send + 'static>(
    limit: Duration,
    operation: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (teller, answer) = mpsc::channel();
    let thread = thread::Builder::new().name("probe".to_owned());
    thread
        .spawn(move || {
            // After the limit, nobody is listening.
            teller.send(operation()).ok();
        })
        .ok()?;
    answer.recv_timeout(limit).ok()
}

/// Tries a strategy in an existing directory.
///
/// # Errors
/// A primitive fails, hangs, or excludes nobody.
pub(super) fn probe(strategy: Strategy, dir: &Utf8Path) -> Result<(), LockError> {
    let path = dir.join(temporary_name::of_probe(&SystemMachine));
    let outcome = match strategy {
        // These are tried on the lock file itself, after each acquisition.
        Strategy::Flock | Strategy::ByteRange => return Ok(()),
        Strategy::Ledger => bounded(dir, "symlink", move || registers(&SystemStorage, &path)),
        Strategy::ExclusiveCreate => {
            bounded(dir, "open", move || registers(&ExclusiveStorage, &path))
        }
    }?;
    outcome.map_err(|reason| strategy.refused(dir, &reason))
}

/// Fills a register twice: the second time must fail and the first text must stay.
fn registers(storage: &dyn Storage, path: &Utf8PathBuf) -> Result<(), String> {
    let words = |error: io::Error| os_words(&error);
    let lacks = |error: &io::Error| {
        matches!(
            error.raw_os_error(),
            Some(libc::EPERM | libc::EOPNOTSUPP | libc::ENOSYS)
        )
    };
    match storage.create_symlink(path, "first") {
        // The lock then uses hard links for its registers, and fails if there are none either.
        Err(error) if lacks(&error) => return Ok(()),
        other => other.map_err(words)?,
    }
    let second = storage.create_symlink(path, "second");
    let text = match storage.read_symlink(path) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => storage
            .read_file(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned()),
        other => other,
    };
    storage.remove_file(path).ok();
    if second.is_ok() || text.as_ref().is_ok_and(|text| text != "first") {
        return Err("an existing name can be created a second time".to_owned());
    }
    text.map(drop).map_err(words)
}

/// Checks a kernel lock that was just acquired; says what is wrong with it.
pub(super) fn check_kernel_lock(lock: &file_lock::FileLock, path: &Utf8Path) -> Result<(), String> {
    match lock.excludes(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err("a second process gets the same lock".to_owned()),
        Err(error) => Err(os_words(&error)),
    }
}

/// Returns the kernel lock behind a strategy.
pub(super) fn kernel_lock(strategy: Strategy) -> Option<LockKind> {
    match strategy {
        Strategy::Flock => Some(LockKind::Whole),
        Strategy::ByteRange => Some(LockKind::ByteRange),
        Strategy::Ledger | Strategy::ExclusiveCreate => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = Utf8PathBuf::try_from(dir.path().join("register")).expect("a UTF-8 path");
        (dir, path)
    }

    #[test]
    fn registers_of_both_kinds_work_here() {
        let (_guard, path) = temp();
        assert_eq!(registers(&SystemStorage, &path), Ok(()));
        assert_eq!(registers(&ExclusiveStorage, &path), Ok(()));
        assert!(!cocorun_edge::fs::exists(&path));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named_as_the_reason() {
        let absent = Utf8PathBuf::from("/nowhere/register");
        assert!(registers(&SystemStorage, &absent).is_err());
        assert!(registers(&ExclusiveStorage, &absent).is_err());
    }

    #[test]
    fn what_hangs_is_given_up() {
        let (sender, never) = mpsc::channel::<()>();
        let hanging = move || never.recv().is_ok();
        assert_eq!(within(Duration::from_millis(20), hanging), None);
        drop(sender);
        assert_eq!(within(LIMIT, || 7), Some(7));
    }
}
