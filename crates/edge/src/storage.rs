//! The shared file system as the lock protocol needs it: few operations, each with its guarantee.
//!
//! All of `lock` uses [`Storage`], so that a test can lose a reply, hide a name, fill the disk or
//! stop the process after any single call. Invariant: nothing here renames. A rename overwrites
//! without asking, returns `ENOENT` although it succeeded if a reply is lost, and is known to hang
//! on some file systems.
//!
//! Each method is one attempt. The caller decides what an error means, because on NFS a failed call
//! may have been carried out all the same.

use camino::Utf8Path;
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::fcntl::OFlag;
use nix::fcntl::open;
use nix::sys::stat::Mode;
use nix::sys::stat::UtimensatFlags;
use nix::sys::stat::utimensat;
use nix::sys::time::TimeSpec;
use nix::unistd::UnlinkatFlags;
use nix::unistd::unlinkat;
use std::ffi::CString;
use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;
use std::time::SystemTime;

/// The modification time, in seconds since 1970, that says: the owner has ended this claim.
///
/// A client of `NFSv3` can believe forever that a name does not exist, but it cannot be wrong about
/// the attributes of a name it knows once it asks the server for them. So the time stamp of a claim
/// also shows the end of its epoch.
pub const ENDED_S: i64 = 1;
/// Longest file that is read, bytes: the record of a build with very many outputs fits.
const READ_BYTES_MAX: u64 = 256 << 20;

/// What kind of file a name refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Other,
}

/// What the server says about a name, symbolic links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// What it is.
    pub kind: FileKind,
    /// Inode number.
    pub inode: u64,
    /// Permission bits, the sticky bit among them.
    pub mode: u32,
    /// Last modification by the server's clock: seconds since 1970 and nanoseconds.
    pub modified: (i64, u32),
    /// Last change of the inode by the server's clock: seconds since 1970 and nanoseconds.
    pub changed: (i64, u32),
}

impl Stamp {
    /// Whether it is a directory made by [`Storage::create_sticky_dir`].
    pub fn is_sticky(&self) -> bool {
        self.mode & 0o1000 != 0
    }

    /// Returns the modification time; a time before 1970 counts as 1970.
    pub fn modified_at(&self) -> SystemTime {
        let seconds = u64::try_from(self.modified.0).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::new(seconds, self.modified.1)
    }

    /// Whether the owner marked this claim as ended, see [`ENDED_S`].
    pub fn is_ended(&self) -> bool {
        self.modified.0 == ENDED_S
    }
}

/// What [`Storage::touch`] sets the modification time to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The server's current time.
    Now,
    /// [`ENDED_S`].
    Ended,
}

/// A file system that several processes on several nodes share.
///
/// # Errors
/// Every method returns the operating system's error of its one attempt.
pub trait Storage: Send + Sync {
    /// Makes a symbolic link with this text, unless the name exists: name and text appear at once,
    /// and the server decides who was first.
    ///
    /// # Errors
    /// `EEXIST` if the name exists, also when it is our own and only the reply was lost.
    fn create_symlink(&self, path: &Utf8Path, text: &str) -> io::Result<()>;

    /// Reads the text of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` if the name is not a symbolic link.
    fn read_symlink(&self, path: &Utf8Path) -> io::Result<String>;

    /// Gives a second name to a complete file, unless that name exists.
    ///
    /// # Errors
    /// `EEXIST` as for [`Storage::create_symlink`].
    fn create_link(&self, existing: &Utf8Path, path: &Utf8Path) -> io::Result<()>;

    /// Makes a new file with this content and flushes it to disk.
    ///
    /// # Errors
    /// `EEXIST` if the name exists. After any other error the file may exist with incomplete
    /// content.
    fn create_file(&self, path: &Utf8Path, content: &[u8]) -> io::Result<()>;

    /// Writes a complete file, new or not, and flushes it to disk.
    ///
    /// # Errors
    /// After an error the file may exist with incomplete content.
    fn write_file(&self, path: &Utf8Path, content: &[u8]) -> io::Result<()>;

    /// Reads a whole file.
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    fn read_file(&self, path: &Utf8Path) -> io::Result<Vec<u8>>;

    /// Asks the server, not a cache, for the attributes of a name.
    ///
    /// For a directory, this also makes a client drop names that it wrongly believes absent
    /// (measured: at most 0.2 s late, also with `nocto,actimeo=600`; a plain stat was 27 s late).
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    fn stamp(&self, path: &Utf8Path) -> io::Result<Stamp>;

    /// Lists the names in a directory, in no order; the list may be stale.
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    fn list(&self, dir: &Utf8Path) -> io::Result<Vec<String>>;

    /// Sets the modification time of a name, symbolic links not followed.
    ///
    /// # Errors
    /// `EPERM` where the name belongs to another user.
    fn touch(&self, path: &Utf8Path, to: Touch) -> io::Result<()>;

    /// Makes a directory.
    ///
    /// # Errors
    /// `EEXIST` if the name exists, also when it is our own and only the reply was lost.
    fn create_dir(&self, path: &Utf8Path) -> io::Result<()>;

    /// Makes a directory with the sticky bit, which distinguishes it from one that another program
    /// made.
    ///
    /// # Errors
    /// As for [`Storage::create_dir`]; some servers drop the bit.
    fn create_sticky_dir(&self, path: &Utf8Path) -> io::Result<()>;

    /// Removes a name that is not a directory.
    ///
    /// # Errors
    /// `ENOENT` if there is none, also when we removed it and only the reply was lost.
    fn remove_file(&self, path: &Utf8Path) -> io::Result<()>;

    /// Removes names next to a witness, in that order, if the server says that the witness exists;
    /// returns whether it does. A missing name is fine.
    ///
    /// Everything is done in one directory, even if its path comes to name another one in between.
    /// A directory that no longer exists has no witness.
    ///
    /// # Errors
    /// Any I/O error; the names before the one that failed are removed.
    fn remove_beside(&self, witness: &Utf8Path, names: &[&str]) -> io::Result<bool>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOTEMPTY` also where a client keeps a removed file as `.nfsXXXX` because it is open.
    fn remove_dir(&self, path: &Utf8Path) -> io::Result<()>;

    /// Flushes the names of a directory to disk.
    ///
    /// # Errors
    /// Any I/O error.
    fn sync_dir(&self, dir: &Utf8Path) -> io::Result<()>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemStorage;

impl SystemStorage {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge that others must go through"
    )]
    fn write_new(options: &OpenOptions, path: &Utf8Path, content: &[u8]) -> io::Result<()> {
        let mut file = options.open(path)?;
        file.write_all(content)?;
        // NFS reports a failed write back here or at close; `close` errors are lost in Rust, so the
        // data is flushed while an error can still be seen.
        file.sync_all()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
impl Storage for SystemStorage {
    fn create_symlink(&self, path: &Utf8Path, text: &str) -> io::Result<()> {
        std::os::unix::fs::symlink(text, path)
    }

    fn read_symlink(&self, path: &Utf8Path) -> io::Result<String> {
        let text = fs::read_link(path)?;
        Ok(text.to_string_lossy().into_owned())
    }

    fn create_link(&self, existing: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
        fs::hard_link(existing, path)
    }

    fn create_file(&self, path: &Utf8Path, content: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o644);
        Self::write_new(&options, path, content)
    }

    fn write_file(&self, path: &Utf8Path, content: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o644);
        Self::write_new(&options, path, content)
    }

    fn read_file(&self, path: &Utf8Path) -> io::Result<Vec<u8>> {
        // In a shared directory anybody can plant a link, a pipe or a device.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        if !file.metadata()?.is_file() {
            let words = "not a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        let mut bytes = Vec::new();
        let size = file.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if u64::try_from(size).is_ok_and(|size| size > READ_BYTES_MAX) {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(bytes)
    }

    fn stamp(&self, path: &Utf8Path) -> io::Result<Stamp> {
        statx_forced(AT_FDCWD, path)
    }

    fn list(&self, dir: &Utf8Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is not UTF-8 is not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn touch(&self, path: &Utf8Path, to: Touch) -> io::Result<()> {
        // UTIME_NOW is sent as "server time" and does not need synchronised clocks.
        let time = match to {
            Touch::Now => TimeSpec::UTIME_NOW,
            Touch::Ended => TimeSpec::new(ENDED_S, 0),
        };
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(AT_FDCWD, path.as_std_path(), &time, &time, flags).map_err(io::Error::from)
    }

    fn create_dir(&self, path: &Utf8Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create_sticky_dir(&self, path: &Utf8Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o1777).create(path)
    }

    fn remove_file(&self, path: &Utf8Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_beside(&self, witness: &Utf8Path, names: &[&str]) -> io::Result<bool> {
        let (Some(dir), Some(witness)) = (witness.parent(), witness.file_name()) else {
            return Ok(false);
        };
        let removed = (|| {
            // Calls by this handle go to this directory or fail (`ESTALE` on NFS).
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let dir = open(dir.as_std_path(), flags, Mode::empty())?;
            statx_forced(dir.as_fd(), Utf8Path::new(witness))?;
            for name in names {
                match unlinkat(&dir, *name, UnlinkatFlags::NoRemoveDir) {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(true)
        })();
        match removed {
            Err(error) if is_gone(&error) => Ok(false),
            other => other,
        }
    }

    fn remove_dir(&self, path: &Utf8Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, dir: &Utf8Path) -> io::Result<()> {
        match fs::File::open(dir)?.sync_all() {
            // Some network and FUSE file systems do not support fsync of a directory.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            other => other,
        }
    }
}

/// A file system with exclusive creation of names but without links, such as CIFS.
///
/// What is a symbolic link elsewhere is a file here, made with `O_CREAT|O_EXCL` and then written:
/// its name appears at once and decides, its text follows. A reader that finds it empty gives the
/// writer a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExclusiveStorage;

impl Storage for ExclusiveStorage {
    fn create_symlink(&self, path: &Utf8Path, text: &str) -> io::Result<()> {
        SystemStorage.create_file(path, format!("{text}\n").as_bytes())
    }

    fn read_symlink(&self, path: &Utf8Path) -> io::Result<String> {
        SystemStorage.read_symlink(path)
    }

    fn create_link(&self, existing: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
        SystemStorage.create_link(existing, path)
    }

    fn create_file(&self, path: &Utf8Path, content: &[u8]) -> io::Result<()> {
        SystemStorage.create_file(path, content)
    }

    fn write_file(&self, path: &Utf8Path, content: &[u8]) -> io::Result<()> {
        SystemStorage.write_file(path, content)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a writer's moment is real time, whatever the clock"
    )]
    fn read_file(&self, path: &Utf8Path) -> io::Result<Vec<u8>> {
        for _ in 0..10 {
            let bytes = SystemStorage.read_file(path)?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        SystemStorage.read_file(path)
    }

    fn stamp(&self, path: &Utf8Path) -> io::Result<Stamp> {
        SystemStorage.stamp(path)
    }

    fn list(&self, dir: &Utf8Path) -> io::Result<Vec<String>> {
        SystemStorage.list(dir)
    }

    fn touch(&self, path: &Utf8Path, to: Touch) -> io::Result<()> {
        SystemStorage.touch(path, to)
    }

    fn create_dir(&self, path: &Utf8Path) -> io::Result<()> {
        SystemStorage.create_dir(path)
    }

    fn create_sticky_dir(&self, path: &Utf8Path) -> io::Result<()> {
        SystemStorage.create_sticky_dir(path)
    }

    fn remove_file(&self, path: &Utf8Path) -> io::Result<()> {
        SystemStorage.remove_file(path)
    }

    fn remove_beside(&self, witness: &Utf8Path, names: &[&str]) -> io::Result<bool> {
        SystemStorage.remove_beside(witness, names)
    }

    fn remove_dir(&self, path: &Utf8Path) -> io::Result<()> {
        SystemStorage.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Utf8Path) -> io::Result<()> {
        SystemStorage.sync_dir(dir)
    }
}

/// Whether an error means that a name, or the directory around it, does not exist.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE))
}

/// Calls `statx` with `AT_STATX_FORCE_SYNC`, which neither `std` nor `nix` offers.
#[expect(
    unsafe_code,
    reason = "std and nix have no statx, and only statx can bypass the cache"
)]
fn statx_forced(dir: BorrowedFd<'_>, path: &Utf8Path) -> io::Result<Stamp> {
    let name = CString::new(path.as_str())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "path with a zero byte"))?;
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_STATX_FORCE_SYNC;
    // SAFETY: statx is plain data for which all zeroes is a valid value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is a terminated string and `found` a statx structure; both outlive the call.
    let status = unsafe {
        libc::statx(
            dir.as_raw_fd(),
            name.as_ptr(),
            flags,
            libc::STATX_BASIC_STATS,
            &raw mut found,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    let mode = u32::from(found.stx_mode);
    let kind = match mode & libc::S_IFMT {
        libc::S_IFREG => FileKind::File,
        libc::S_IFDIR => FileKind::Dir,
        libc::S_IFLNK => FileKind::Symlink,
        _ => FileKind::Other,
    };
    Ok(Stamp {
        kind,
        inode: found.stx_ino,
        mode: mode & 0o7777,
        modified: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
        changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use camino::Utf8PathBuf;

    fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = Utf8PathBuf::try_from(dir.path().to_path_buf()).expect("a UTF-8 path");
        (dir, path)
    }

    #[test]
    fn names_go_only_while_their_witness_stands_beside_them() {
        let (_guard, dir) = temp();
        let ledger = dir.join("ledger");
        let witness = ledger.join("witness");
        let is_done = |names: &[&str]| SystemStorage.remove_beside(&witness, names);
        assert!(!is_done(&["a"]).expect("no directory"));
        SystemStorage.create_dir(&ledger).expect("made");
        for name in ["a", "b"] {
            let path = ledger.join(name);
            SystemStorage.create_symlink(&path, "text").expect("made");
        }
        assert!(!is_done(&["a"]).expect("no witness"));
        SystemStorage
            .create_symlink(&witness, "text")
            .expect("made");
        assert!(is_done(&["a", "missing"]).expect("a witness"));
        let mut left = SystemStorage.list(&ledger).expect("listed");
        left.sort();
        assert_eq!(left, ["b", "witness"]);
    }

    #[test]
    fn what_is_planted_in_place_of_a_file_is_neither_waited_for_nor_followed() {
        let (_guard, dir) = temp();
        let pipe = dir.join("pipe");
        nix::unistd::mkfifo(pipe.as_std_path(), Mode::S_IRWXU).expect("made");
        assert!(SystemStorage.read_file(&pipe).is_err());
        let (real, link) = (dir.join("real"), dir.join("link"));
        SystemStorage.write_file(&real, b"text").expect("written");
        SystemStorage
            .create_symlink(&link, real.as_str())
            .expect("made");
        assert!(SystemStorage.read_file(&real).is_ok());
        assert!(SystemStorage.read_file(&link).is_err());
        assert!(SystemStorage.read_file(Utf8Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn a_symlink_is_made_once_and_keeps_its_first_text() -> io::Result<()> {
        let (_guard, dir) = temp();
        let name = dir.join("register");
        SystemStorage.create_symlink(&name, "first;t=1")?;
        let second = SystemStorage
            .create_symlink(&name, "second;t=2")
            .expect_err("it exists");
        assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(SystemStorage.read_symlink(&name)?, "first;t=1");
        Ok(())
    }

    #[test]
    fn touching_a_dangling_symlink_moves_its_own_time() -> io::Result<()> {
        let (_guard, dir) = temp();
        let name = dir.join("register");
        SystemStorage.create_symlink(&name, "points;nowhere")?;
        SystemStorage.touch(&name, Touch::Ended)?;
        let ended = SystemStorage.stamp(&name)?;
        assert!(ended.is_ended());
        assert_eq!(ended.kind, FileKind::Symlink);
        SystemStorage.touch(&name, Touch::Now)?;
        let now = SystemStorage.stamp(&name)?;
        assert!(!now.is_ended());
        assert!(now.modified > ended.modified);
        Ok(())
    }

    #[test]
    fn a_missing_name_is_not_found_whatever_asks() {
        let (_guard, dir) = temp();
        let name = dir.join("absent");
        for error in [
            SystemStorage.stamp(&name).err(),
            SystemStorage.read_symlink(&name).err(),
            SystemStorage.read_file(&name).err(),
            SystemStorage.list(&name).err(),
            SystemStorage.touch(&name, Touch::Now).err(),
            SystemStorage.remove_file(&name).err(),
            SystemStorage.remove_dir(&name).err(),
        ] {
            assert_eq!(
                error.map(|error| error.kind()),
                Some(io::ErrorKind::NotFound)
            );
        }
    }

    #[test]
    fn reading_a_file_as_a_symlink_says_einval() -> io::Result<()> {
        let (_guard, dir) = temp();
        let name = dir.join("file");
        SystemStorage.create_file(&name, b"content")?;
        let error = SystemStorage.read_symlink(&name).expect_err("it is a file");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert!(SystemStorage.create_file(&name, b"other").is_err());
        assert_eq!(SystemStorage.read_file(&name)?, b"content");
        Ok(())
    }
}
