//! Kernel locks on an open file, and the exclusive creation of files.
//!
//! Invariant: a granted lock is on the file that has the name now. Somebody may remove a lock file
//! while others wait for it; then the next one would lock a new file at the same time as them, so
//! the name is looked up again after each success.

use nix::errno::Errno;
use nix::fcntl::FcntlArg;
use nix::fcntl::FdFlag;
use nix::fcntl::Flock;
use nix::fcntl::FlockArg;
use nix::fcntl::fcntl;

use camino::Utf8Path;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;

/// Longest holder text that is read, bytes.
const TEXT_BYTES_MAX: u64 = 1000;

/// Which kind of kernel lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// flock(2), over the whole file.
    Whole,
    /// fcntl(2), `F_OFD_SETLK` over all bytes; it excludes POSIX locks of other programs as well.
    ByteRange,
}

/// A lock that ends when this value does, and at the latest with the last descriptor of its file.
#[derive(Debug)]
pub struct FileLock {
    file: LockedFile,
    is_writable: bool,
}

#[derive(Debug)]
enum LockedFile {
    Whole(Flock<File>),
    ByteRange(File),
}

impl LockedFile {
    fn file(&self) -> &File {
        match self {
            Self::Whole(file) => file,
            Self::ByteRange(file) => file,
        }
    }
}

/// Tries once to lock the file of this name, which is created if missing; `None` if another process
/// has the lock.
///
/// # Errors
/// `ENOLCK`, `ENOSYS`, `EOPNOTSUPP` if the file system has no such lock, and any other error.
pub fn try_lock(path: &Utf8Path, kind: LockKind, is_shared: bool) -> io::Result<Option<FileLock>> {
    loop {
        let (file, is_writable) = open(path, is_shared)?;
        let Some(file) = try_lock_file(file, kind)? else {
            return Ok(None);
        };
        if is_still_named(file.file(), path)? {
            return Ok(Some(FileLock { file, is_writable }));
        }
    }
}

/// Whether another process has the lock; a missing file is free.
///
/// # Errors
/// As for [`try_lock`].
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn is_locked(path: &Utf8Path, kind: LockKind) -> io::Result<bool> {
    let file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match kind {
        LockKind::Whole => match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(false),
            Err((_, Errno::EWOULDBLOCK)) => Ok(true),
            Err((_, errno)) => Err(errno.into()),
        },
        LockKind::ByteRange => {
            let mut asked = whole_file(libc::F_RDLCK);
            fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked))?;
            Ok(i32::from(asked.l_type) != libc::F_UNLCK)
        }
    }
}

/// Start of the text in a lock file.
const CLAIM_START: &[u8; 3] = b"c1;";

/// Reads what the last holder wrote into a lock file; empty if that is not available.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn text_of(path: &Utf8Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes).ok();
    }
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Processes that the command left running have the descriptor too, and must not keep the
        // lock. The other kind does this by itself.
        if let LockedFile::ByteRange(file) = &self.file {
            fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK))).ok();
        }
    }
}

impl FileLock {
    /// Lets processes started from now on keep the lock until they end if this one is killed, as
    /// flock(1) does: what a command started is then still at work.
    ///
    /// # Errors
    /// The kernel refuses (fcntl(2), `F_SETFD`).
    pub fn hand_down(&self) -> io::Result<()> {
        fcntl(self.file.file(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    }

    /// Writes who holds it, for waiting processes; a hint, so errors do not matter.
    ///
    /// A file with any other content belongs to somebody else, and stays as it is.
    pub fn tell(&self, text: &str) {
        let file = self.file.file();
        let mut first = [0; CLAIM_START.len()];
        let is_ours = match file.read_at(&mut first, 0) {
            Ok(count) => count == 0 || first == *CLAIM_START,
            Err(_) => false,
        };
        if self.is_writable && is_ours {
            let line = format!("{text}\n");
            file.write_all_at(line.as_bytes(), 0).ok();
            file.set_len(line.len() as u64).ok();
        }
    }

    /// Whether a second lock on the same file is refused, as it must be.
    ///
    /// # Errors
    /// The file cannot be opened again.
    pub fn excludes(&self, path: &Utf8Path) -> io::Result<bool> {
        let kind = match self.file {
            LockedFile::Whole(_) => LockKind::Whole,
            LockedFile::ByteRange(_) => LockKind::ByteRange,
        };
        let (file, _) = open(path, false)?;
        Ok(try_lock_file(file, kind)?.is_none())
    }
}

fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn try_lock_file(file: File, kind: LockKind) -> io::Result<Option<LockedFile>> {
    match kind {
        LockKind::Whole => match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(LockedFile::Whole(lock))),
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        },
        LockKind::ByteRange => {
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
                Ok(_) => Ok(Some(LockedFile::ByteRange(file))),
                Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) => Ok(None),
                Err(errno) => Err(errno.into()),
            }
        }
    }
}

/// Opens or creates a lock file; says whether it is writable.
///
/// An existing one is opened without `O_CREAT`: in a sticky directory the kernel refuses that for
/// another user's file (sysctl `fs.protected_regular`).
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn open(path: &Utf8Path, is_shared: bool) -> io::Result<(File, bool)> {
    let mut writing = OpenOptions::new();
    writing
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW);
    for _ in 0..100 {
        match writing.open(path) {
            Ok(file) => return Ok((file, true)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // flock(2) needs only a read-only descriptor.
                return Ok((OpenOptions::new().read(true).open(path)?, false));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        let made = writing.clone().create_new(true).mode(0o666).open(path);
        match made {
            Ok(file) => {
                if is_shared {
                    // Other team members must be able to lock it, whatever our umask is.
                    file.set_permissions(std::fs::Permissions::from_mode(0o666))
                        .ok();
                }
                return Ok((file, true));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::NotFound))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn is_still_named(file: &File, path: &Utf8Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok(named.ino() == ours.ino() && named.dev() == ours.dev()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::fs;

    use camino::Utf8PathBuf;

    fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = Utf8PathBuf::try_from(dir.path().join("lock")).expect("a UTF-8 path");
        (dir, path)
    }

    #[test]
    fn a_lock_excludes_until_it_is_dropped() -> io::Result<()> {
        for kind in [LockKind::Whole, LockKind::ByteRange] {
            let (_guard, path) = temp();
            let lock = try_lock(&path, kind, false)?.expect("it is free");
            assert!(try_lock(&path, kind, false)?.is_none(), "{kind:?}");
            assert!(is_locked(&path, kind)?, "{kind:?}");
            assert!(lock.excludes(&path)?);
            drop(lock);
            assert!(!is_locked(&path, kind)?, "{kind:?}");
            assert!(try_lock(&path, kind, false)?.is_some(), "{kind:?}");
        }
        Ok(())
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "plays a command that keeps running"
    )]
    fn a_lock_that_is_handed_down_ends_when_it_is_dropped() -> io::Result<()> {
        for kind in [LockKind::Whole, LockKind::ByteRange] {
            let (_guard, path) = temp();
            let lock = try_lock(&path, kind, false)?.expect("it is free");
            lock.hand_down()?;
            let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
            drop(lock);
            let is_locked = is_locked(&path, kind)?;
            child.kill()?;
            child.wait()?;
            assert!(!is_locked, "{kind:?}");
        }
        Ok(())
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_is_no_lock() -> io::Result<()> {
        let (_guard, path) = temp();
        let (file, _) = open(&path, false)?;
        fs::remove(&path);
        assert!(!is_still_named(&file, &path)?);
        open(&path, false)?;
        assert!(!is_still_named(&file, &path)?);
        Ok(())
    }

    #[test]
    fn a_shorter_text_replaces_a_longer_one() -> io::Result<()> {
        let (_guard, path) = temp();
        let lock = try_lock(&path, LockKind::Whole, true)?.expect("it is free");
        lock.tell("c1;a long text of somebody");
        lock.tell("c1;short");
        assert_eq!(text_of(&path), "c1;short");
        assert_eq!(text_of(&path.with_extension("absent")), "");
        Ok(())
    }
}
