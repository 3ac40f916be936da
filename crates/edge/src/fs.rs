//! Files: every operation's error names the path and the operation.
//!
//! Nothing here renames on the way to a build or a lock: rename may hang or report wrong results on
//! network file systems. A file that others may read at any time is completed under a name nobody
//! reads yet, or is written once and carries its own checksum.

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::permissions;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::fs;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::os::unix::fs::DirEntryExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use std::time::SystemTime;

/// What is known about a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Size in bytes.
    pub size: u64,
    /// Last modification, as the file's server stamped it.
    pub modified: Option<SystemTime>,
    /// Last change of content, name or attributes: also when a file with an old date is moved into
    /// place.
    pub changed: Option<SystemTime>,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// The kind of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link, not followed.
    Link,
    /// A device, socket or pipe.
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name; bytes that are not UTF-8 are replaced, and `is_utf8` is then false.
    pub name: String,
    /// Whether `name` is the name as the file system has it.
    pub is_utf8: bool,
    /// What it is.
    pub kind: EntryKind,
    /// Its inode number.
    pub inode: u64,
}

/// Turns an I/O error into a diagnostic: `cannot DOING PATH: WHY`.
pub fn io_problem(error: &io::Error, doing: &str, path: &Utf8Path) -> Error {
    const LOOKING: [&str; 4] = ["read", "list", "find", "look at"];
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied if doing == "start" => ErrorKind::Broken,
        io::ErrorKind::PermissionDenied if LOOKING.contains(&doing) => ErrorKind::Unreadable,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory => ErrorKind::Unwritable,
        _ => ErrorKind::Io,
    };
    let help = match (error.kind(), code) {
        (io::ErrorKind::PermissionDenied, ErrorKind::Unreadable) => permissions::to_read(path),
        (io::ErrorKind::PermissionDenied, ErrorKind::Unwritable) => {
            // Names belong to their directory.
            let names = ["remove", "rename", "link"].contains(&doing);
            permissions::to_write(path.parent().filter(|_| names).unwrap_or(path))
        }
        _ => None,
    };
    Error {
        help,
        ..Error::new(
            code,
            format!("cannot {doing} `{path}`: {}", os_words(error)),
        )
    }
}

/// Returns an I/O error's words without Rust's `(os error N)`.
pub fn os_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or(&text)
        .to_lowercase()
}

/// Reads a whole file.
///
/// # Errors
/// Any I/O error, with the path.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn read(path: &Utf8Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| io_problem(&error, "read", path))
}

/// Reads a whole UTF-8 text file.
///
/// # Errors
/// Any I/O error, and bytes that are not UTF-8.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn read_text(path: &Utf8Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| io_problem(&error, "read", path))
}

/// Reads a text file that may be absent; an unreadable one counts as absent.
///
/// For caches and logs, where an unreadable file is a miss. Bytes that are not UTF-8 are replaced.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn read_if_there(path: &Utf8Path) -> Option<String> {
    fs::read(path)
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads at most `limit` bytes of a file from `start`; bytes that are not UTF-8 are replaced.
///
/// Meant for logs, which may be larger than memory. A missing file reads as empty.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn read_range_lossy(path: &Utf8Path, start: u64, limit: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Returns size, time and kind of a file, or `None` if there is none.
///
/// # Errors
/// Any I/O error other than absence.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn stamp(path: &Utf8Path) -> Result<Option<FileStamp>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(FileStamp {
            size: meta.len(),
            modified: meta.modified().ok(),
            changed: u64::try_from(meta.ctime())
                .ok()
                .zip(u32::try_from(meta.ctime_nsec()).ok())
                .map(|(s, ns)| SystemTime::UNIX_EPOCH + Duration::new(s, ns)),
            is_dir: meta.is_dir(),
        })),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(io_problem(&error, "look at", path)),
    }
}

/// Whether this path exists; an error counts as no.
pub fn exists(path: &Utf8Path) -> bool {
    matches!(stamp(path), Ok(Some(_)))
}

/// Creates a directory and its parents; an existing one is fine.
///
/// # Errors
/// Any I/O error, with the path.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn create_dirs(path: &Utf8Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| io_problem(&error, "create directory", path))
}

/// Writes a file that nobody else reads yet, replacing an existing one.
///
/// # Errors
/// Any I/O error, with the path; the file may then be incomplete.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn write(path: &Utf8Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, bytes).map_err(|error| io_problem(&error, "write", path))
}

/// Creates a file that must not exist, and writes it; `false` if it already existed.
///
/// Nothing is synced: for files whose readers check by themselves that they are complete.
///
/// # Errors
/// Any other I/O error; the file is removed again if possible.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn write_new(path: &Utf8Path, bytes: &[u8]) -> Result<bool> {
    let mut file = match fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(io_problem(&error, "create", path)),
    };
    if let Err(error) = file.write_all(bytes) {
        drop(file);
        remove(path);
        return Err(io_problem(&error, "write", path));
    }
    Ok(true)
}

/// Writes a report for the user: complete under its name, or not at all.
///
/// # Errors
/// Any I/O error; an existing file of that name is then untouched.
pub fn replace(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    write_and_rename(path, bytes, None).map_err(|error| io_problem(&error, "write", path))
}

/// Writes a file under a name that no other process of any machine uses, and renames it.
///
/// # Errors
/// Any I/O error; nothing is left then, and an existing file of that name is untouched.
pub(crate) fn write_and_rename(
    path: &Utf8Path,
    bytes: &[u8],
    permissions: Option<fs::Permissions>,
) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_str().is_empty() => dir,
        _ => Utf8Path::new("."),
    };
    let mut partial = tempfile::Builder::new()
        .prefix(".cocorun-")
        .suffix(".partial")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(dir)?;
    partial.write_all(bytes)?;
    if let Some(permissions) = permissions {
        partial.as_file().set_permissions(permissions).ok();
    }
    partial.persist(path)?;
    Ok(())
}

/// Removes a file; a missing one, or one that cannot be removed, is ignored.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn remove(path: &Utf8Path) {
    fs::remove_file(path).ok();
}

/// Removes a directory with its contents; what cannot be removed stays.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn remove_dir(path: &Utf8Path) {
    fs::remove_dir_all(path).ok();
}

/// Lists the names in a directory, sorted; names that are not UTF-8 are an error.
///
/// # Errors
/// Any I/O error, and a name that is not UTF-8.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn list(path: &Utf8Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(path).map_err(|error| io_problem(&error, "list", path))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry
            .map_err(|error| io_problem(&error, "list", path))?
            .file_name();
        names.push(name.into_string().map_err(|raw| {
            Error::new(
                ErrorKind::NotUtf8,
                format!(
                    "`{path}` holds the name `{}`, which is not UTF-8",
                    raw.to_string_lossy()
                ),
            )
            .help("rename the file")
        })?);
    }
    names.sort_unstable();
    Ok(names)
}

/// Lists a directory with the kind of each entry, sorted by name; nothing is followed or left out.
///
/// The kind comes with the listing, so that a walk costs one call per directory and not one per
/// file, which matters on network file systems.
///
/// # Errors
/// Any I/O error, with the path.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn entries(path: &Utf8Path) -> Result<Vec<DirEntry>> {
    let listing = fs::read_dir(path).map_err(|error| io_problem(&error, "list", path))?;
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|error| io_problem(&error, "list", path))?;
        let kind = match entry.file_type() {
            Ok(kind) if kind.is_symlink() => EntryKind::Link,
            Ok(kind) if kind.is_dir() => EntryKind::Dir,
            Ok(kind) if kind.is_file() => EntryKind::File,
            _ => EntryKind::Other,
        };
        let inode = entry.ino();
        let (name, is_utf8) = match entry.file_name().into_string() {
            Ok(name) => (name, true),
            Err(raw) => (raw.to_string_lossy().into_owned(), false),
        };
        entries.push(DirEntry {
            name,
            is_utf8,
            kind,
            inode,
        });
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Returns the current directory.
///
/// # Errors
/// It is gone, may not be read, or its path is not UTF-8.
pub fn current_dir() -> Result<Utf8PathBuf> {
    let dir = std::env::current_dir().map_err(|error| {
        Error::new(
            ErrorKind::Io,
            format!("cannot find the current folder: {}", os_words(&error)),
        )
    })?;
    Utf8PathBuf::from_path_buf(dir).map_err(|raw| {
        Error::new(
            ErrorKind::NotUtf8,
            format!(
                "the current folder `{}` has a path that is not UTF-8",
                raw.display()
            ),
        )
        .help("rename the folder")
    })
}

/// Makes a symbolic link `link` to `target`; an existing one is fine.
///
/// # Errors
/// Any other I/O error, with the path.
pub fn link(target: &Utf8Path, link: &Utf8Path) -> Result<()> {
    match std::os::unix::fs::symlink(target, link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io_problem(&error, "link", link))
        }
        _ => Ok(()),
    }
}

/// Says whether a path is a symbolic link, whether or not it leads anywhere.
pub fn is_link(path: &Utf8Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

/// Makes a directory that only this user can enter; `false` if it belongs or could belong to
/// another user.
///
/// Looks with lstat(2), since a link that somebody else planted in a shared folder such as `/tmp`
/// must not be followed.
pub fn private_dir(path: &Utf8Path) -> bool {
    use std::os::unix::fs::DirBuilderExt;
    use std::os::unix::fs::MetadataExt;
    // Of the mode's bits, those of group and others are the lowest six.
    fs::DirBuilder::new().mode(0o700).create(path).ok();
    fs::symlink_metadata(path).is_ok_and(|meta| {
        meta.is_dir()
            && meta.uid() == nix::unistd::getuid().as_raw()
            && meta.mode().trailing_zeros() >= 6
    })
}

/// Resolves links and `..`; absolute.
///
/// # Errors
/// Something on the way does not exist, or the real name is not UTF-8.
pub fn real_path(path: &Utf8Path) -> Result<Utf8PathBuf> {
    path.canonicalize_utf8()
        .map_err(|error| io_problem(&error, "find", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_read_or_started_is_not_called_unwritable() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let kind = |doing| io_problem(&denied, doing, Utf8Path::new("top.sv")).kind;
        assert_eq!(kind("read"), ErrorKind::Unreadable);
        assert_eq!(kind("start"), ErrorKind::Broken);
        assert_eq!(kind("write"), ErrorKind::Unwritable);
    }
}
