//! Storage with retries: transient errors are retried, and a register is written exactly once.
//!
//! [`Disk::put`] is the one step that safety depends on. Invariant: it answers [`Put::Won`] only if
//! the register holds our own text, and [`Put::Lost`] only if it holds another one; it never
//! concludes either from an error alone, because a lost reply turns success into `EEXIST`, `ENOENT`
//! or `EIO`.

use crate::error::LockError;

use camino::Utf8Path;
use cocorun_edge::clock::Clock;
use cocorun_edge::storage::Stamp;
use cocorun_edge::storage::Storage;
use cocorun_edge::storage::Touch;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// First pause before an operation is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// This many looks in a row, with pauses between them, show that a directory is missing.
const MISSING_MAX: u32 = 4;
/// Content of a file that was created to find out whether it was missing.
const PROBE: &[u8] = b"cocorun looks whether this is missing\n";
/// Longest pause before an operation is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The outcome of an attempt to fill a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It holds our text.
    Won,
    /// It holds this other text, which never changes.
    Lost(String),
}

/// The storage, and how long to retry.
#[derive(Clone)]
pub(crate) struct Disk {
    pub storage: Arc<dyn Storage>,
    pub clock: Arc<dyn Clock>,
    /// How long a failing operation is retried.
    pub stall: Duration,
    /// Whether nobody else is there, so that a register need not be written atomically.
    pub is_alone: bool,
}

/// Counts the pauses of one operation.
struct RetryPolicy<'a> {
    disk: &'a Disk,
    started: Instant,
    pause: Duration,
}

impl RetryPolicy<'_> {
    /// Waits a little; `false` once the limit has passed.
    fn wait(&mut self) -> bool {
        if self.disk.clock.now().duration_since(self.started) >= self.disk.stall {
            return false;
        }
        self.disk.clock.sleep(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}

impl Disk {
    fn patience(&self) -> RetryPolicy<'_> {
        RetryPolicy {
            disk: self,
            started: self.clock.now(),
            pause: PAUSE_MIN,
        }
    }

    fn retried<T>(
        &self,
        doing: &'static str,
        path: &Utf8Path,
        mut operation: impl FnMut(&dyn Storage) -> io::Result<T>,
    ) -> Result<T, LockError> {
        let mut patience = self.patience();
        loop {
            match operation(&*self.storage) {
                Ok(value) => return Ok(value),
                Err(error) if passes(&error) && patience.wait() => {}
                Err(error) => return Err(storage_error(doing, path, error)),
            }
        }
    }

    /// Fills a register, or learns what it holds.
    ///
    /// `text` must be unique to this caller; it holds a random token.
    pub(crate) fn put(&self, path: &Utf8Path, text: &str) -> Result<Put, LockError> {
        let mut patience = self.patience();
        let mut missing = 0;
        for attempt in 0_u64.. {
            let mut result = self.storage.create_symlink(path, text);
            if result.as_ref().is_err_and(lacks_symlinks) {
                result = self.put_by_link(path, text, attempt);
            }
            if self.is_alone && result.as_ref().is_err_and(lacks_symlinks) {
                result = self.storage.create_file(path, text.as_bytes());
            }
            let Err(error) = result else {
                return Ok(Put::Won);
            };
            // Only the content shows who won. Asking for the directory first makes an NFS client
            // drop its cached absence of the name.
            let dir = path.parent().map(|dir| self.storage.stamp(dir));
            match self.read_register(path) {
                Ok(Some(found)) if found == text => return Ok(Put::Won),
                Ok(Some(found)) => return Ok(Put::Lost(found)),
                Ok(None) | Err(_) => {}
            }
            let is_there = error.kind() == io::ErrorKind::AlreadyExists;
            // In an existing directory, a new name cannot be missing: the reply is wrong, and so
            // may be a client's belief that the register is absent. "The directory is missing" can
            // be just as wrong, but not many times in a row.
            let is_missing =
                matches!(&dir, Some(Err(error)) if error.kind() == io::ErrorKind::NotFound);
            missing = if is_missing { missing + 1 } else { 0 };
            let is_lie = error.kind() == io::ErrorKind::NotFound && missing < MISSING_MAX;
            if (is_there || is_lie || passes(&error)) && patience.wait() {
                continue;
            }
            return Err(if lacks_symlinks(&error) {
                LockError::Unsupported {
                    path: path.parent().unwrap_or(path).to_owned(),
                }
            } else {
                storage_error("write the lock record", path, error)
            });
        }
        unreachable!("an attempt ends, or patience does")
    }

    /// Fills a register where the file system has no symbolic links: a complete file is linked to
    /// its name.
    ///
    /// The file is always new. An existing one may already be the register, under its first name,
    /// and must not be written to.
    fn put_by_link(&self, path: &Utf8Path, text: &str, attempt: u64) -> io::Result<()> {
        let token = blake3::hash(text.as_bytes()).to_hex();
        let whole = path.with_extension(format!("tmp.{token}.{attempt}"));
        self.storage
            .create_file(&whole, format!("{text}\n").as_bytes())?;
        let linked = self.storage.create_link(&whole, path);
        self.storage.remove_file(&whole).ok();
        linked
    }

    /// Reads a register once; absence may be stale unless the directory was asked for first.
    pub(crate) fn read_register(&self, path: &Utf8Path) -> io::Result<Option<String>> {
        let text = match self.storage.read_symlink(path) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let bytes = self.storage.read_file(path);
                bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned())
            }
            other => other,
        };
        match text {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a register with retries.
    pub(crate) fn get(&self, path: &Utf8Path) -> Result<Option<String>, LockError> {
        self.retried("read the lock record", path, |_| self.read_register(path))
    }

    /// Asks the server about a name, once.
    pub(crate) fn stamp(&self, path: &Utf8Path) -> io::Result<Stamp> {
        self.storage.stamp(path)
    }

    #[cfg(feature = "locks")]
    /// Asks the server about a name, with retries.
    pub(crate) fn ask(&self, doing: &'static str, path: &Utf8Path) -> Result<Stamp, LockError> {
        self.retried(doing, path, |storage| storage.stamp(path))
    }

    /// Lists a directory; a missing one is `None`.
    pub(crate) fn list(&self, dir: &Utf8Path) -> Result<Option<Vec<String>>, LockError> {
        self.retried("list the lock directory", dir, |storage| {
            match storage.list(dir) {
                Ok(names) => Ok(Some(names)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Makes a directory and its parents.
    pub(crate) fn create_dirs(&self, dir: &Utf8Path) -> Result<(), LockError> {
        self.retried("create directory", dir, |storage| make_dirs(storage, dir))
    }

    /// Creates a marked directory; `true` if it certainly did, which a lost reply can hide.
    pub(crate) fn create_sticky_dir(&self, dir: &Utf8Path) -> Result<bool, LockError> {
        self.retried("create directory", dir, |storage| {
            match storage.create_sticky_dir(dir) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    /// Makes a file unless the name exists.
    pub(crate) fn create_once(&self, path: &Utf8Path, content: &[u8]) -> Result<(), LockError> {
        self.retried("create", path, |storage| {
            match storage.create_file(path, content) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        })
    }

    /// Flushes a file that only we write, and its name, to disk.
    pub(crate) fn write(&self, path: &Utf8Path, content: &[u8]) -> Result<(), LockError> {
        self.retried("write", path, |storage| storage.write_file(path, content))?;
        let dir = path.parent().unwrap_or(path);
        self.retried("bring to the disk", dir, |storage| storage.sync_dir(dir))
    }

    /// Reads a file; a missing one is `None`.
    pub(crate) fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>, LockError> {
        self.retried("read", path, |storage| match storage.read_file(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Removes a file; a missing one is fine, because a lost reply looks like that.
    pub(crate) fn remove(&self, path: &Utf8Path) -> Result<(), LockError> {
        self.retried("remove", path, |storage| match storage.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    #[cfg(feature = "locks")]
    /// Removes names next to a witness if it exists, see [`Storage::remove_beside`].
    pub(crate) fn remove_beside(
        &self,
        witness: &Utf8Path,
        names: &[&str],
    ) -> Result<bool, LockError> {
        self.retried("clean up next to", witness, |storage| {
            storage.remove_beside(witness, names)
        })
    }

    /// Reads a file as [`Disk::read`] does, but `None` is the server's answer, not a client's
    /// cache: a client that looked into a directory before the file was made can continue to miss
    /// it.
    pub(crate) fn read_surely(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>, LockError> {
        let mut patience = self.patience();
        loop {
            if let Some(bytes) = self.read(path)? {
                return Ok(Some(bytes));
            }
            if self.is_surely_absent(path)? {
                return Ok(None);
            }
            if !patience.wait() {
                let error = io::Error::from_raw_os_error(libc::ENOENT);
                return Err(storage_error("read", path, error));
            }
        }
    }

    /// Proves that a file is missing by creating it, which the server decides; it is removed again.
    pub(crate) fn is_surely_absent(&self, path: &Utf8Path) -> Result<bool, LockError> {
        let dir = path.parent().unwrap_or(path);
        self.create_dirs(dir)?;
        let is_new = self.retried("look for", path, |storage| {
            match storage.create_file(path, PROBE) {
                Ok(()) => Ok(true),
                // It may be ours, and only the reply was lost.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Ok(storage.read_file(path).is_ok_and(|bytes| bytes == PROBE))
                }
                Err(error) => Err(error),
            }
        })?;
        if is_new {
            self.storage.remove_file(path).ok();
            self.storage.remove_dir(dir).ok();
        }
        Ok(is_new)
    }

    /// Sets the time of a claim, once.
    pub(crate) fn touch(&self, path: &Utf8Path, to: Touch) -> io::Result<()> {
        self.storage.touch(path, to)
    }
}

fn make_dirs(storage: &dyn Storage, dir: &Utf8Path) -> io::Result<()> {
    match storage.create_dir(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = dir.parent().filter(|parent| !parent.as_str().is_empty()) else {
                return Err(error);
            };
            make_dirs(storage, parent)?;
            match storage.create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        }
        Err(error) => Err(error),
    }
}

fn storage_error(doing: &'static str, path: &Utf8Path, source: io::Error) -> LockError {
    LockError::Storage {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Whether an error may be gone at the next attempt: a soft mount's time-out, a server that
/// restarts, a stale handle.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::EAGAIN
                | libc::EBUSY
                | libc::EIO
                | libc::ESTALE
                | libc::ETIMEDOUT
                | libc::EREMOTEIO
                | libc::ECONNRESET
                | libc::ECONNREFUSED
                | libc::ENETUNREACH
                | libc::EHOSTUNREACH
        )
    )
}

/// Whether the file system does not support the operation at all.
fn lacks_symlinks(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EOPNOTSUPP | libc::ENOSYS)
    )
}
