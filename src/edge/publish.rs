//! A finished file of a private name gets its public one, at once.

use crate::diagnostic::Result;
use crate::edge::fs::io_problem;
use crate::edge::storage::Storage;
use crate::edge::storage::SystemStorage;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::fs;
use std::fs::File;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// For how long a rename may take before the file is published by another way.
const RENAME_LIMIT: Duration = Duration::from_secs(5);

/// Which file stands under a name: it differs whenever the file was replaced or rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// Returns the identity of a file; `None` where there is none.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn identity(path: &Utf8Path) -> Option<FileIdentity> {
    ask_server(path);
    let meta = fs::metadata(path).ok()?;
    Some(FileIdentity {
        inode: meta.ino(),
        size: meta.size(),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}

/// Makes an NFS client forget what it believed of a name, also that there was none.
pub fn ask_server(path: &Utf8Path) {
    let dir = path.parent().filter(|dir| !dir.as_str().is_empty());
    SystemStorage.stamp(dir.unwrap_or(Utf8Path::new("."))).ok();
    SystemStorage.stamp(path).ok();
}

/// Brings a file to the disk, which is also where a network file system tells that it could not
/// write.
///
/// # Errors
/// Any I/O error, with the path.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn bring_to_disk(path: &Utf8Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| io_problem(&error, "write", path).into())
}

/// Says whether a regular file, not a link to one, stands here.
pub fn is_regular(path: &Utf8Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

/// Makes the directory of a file with its parents, open to the group where its parent is.
///
/// # Errors
/// Any I/O error, with the path.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn create_team_dirs(dir: &Utf8Path) -> Result<()> {
    if dir.as_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(Utf8Path::new(""));
    create_team_dirs(parent)?;
    match fs::create_dir(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(io_problem(&error, "create directory", dir).into()),
    }
    let parent = if parent.as_str().is_empty() {
        Utf8Path::new(".")
    } else {
        parent
    };
    if is_team_dir(parent) {
        if let Ok(meta) = fs::metadata(dir) {
            // The bit that hands the group down was set by the kernel and stays.
            let mode = meta.mode() & 0o7000 | 0o775;
            fs::set_permissions(dir, Permissions::from_mode(mode)).ok();
        }
        adopt_group(dir, parent);
    }
    Ok(())
}

/// Says whether a directory is meant for a group.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn is_team_dir(dir: &Utf8Path) -> bool {
    fs::metadata(dir).is_ok_and(|meta| meta.mode() & 0o2020 != 0)
}

/// Gives a file the group of a directory; only members of the group can do so.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn adopt_group(path: &Utf8Path, dir: &Utf8Path) {
    if let (Ok(own), Ok(wanted)) = (fs::metadata(path), fs::metadata(dir))
        && own.gid() != wanted.gid()
    {
        std::os::unix::fs::chown(path, None, Some(wanted.gid())).ok();
    }
}

/// Gives a whole file its public name, replacing what stands there.
///
/// In a directory meant for a group, the file gets mode 0664, or 0775 where it can be executed, and
/// the group. With `is_shared` a rename that hangs is replaced by a link, between which and the
/// removal of the old file nobody sees a file; see also [`bring_to_disk`].
///
/// # Errors
/// Any I/O error, with the path; the private file is still there then.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that renames towards a target, as its users ask for"
)]
pub fn publish(private: &Utf8Path, target: &Utf8Path, is_shared: bool) -> Result<()> {
    let problem = |error: &io::Error| io_problem(error, "publish", target);
    let dir = match target.parent() {
        Some(dir) if !dir.as_str().is_empty() => dir,
        _ => Utf8Path::new("."),
    };
    let meta = fs::metadata(private).map_err(|error| problem(&error))?;
    if is_team_dir(dir) {
        let mode = if meta.mode() & 0o111 == 0 {
            0o664
        } else {
            0o775
        };
        fs::set_permissions(private, Permissions::from_mode(mode)).ok();
        adopt_group(private, dir);
    }
    if !is_shared {
        return fs::rename(private, target).map_err(|error| problem(&error).into());
    }
    let names = (private.to_owned(), target.to_owned());
    let renamed = within_limit(RENAME_LIMIT, move || fs::rename(names.0, names.1));
    let outcome = match renamed {
        Some(Ok(())) => Ok(()),
        // A lost reply turns a rename that was done into an error.
        Some(Err(_)) if fs::metadata(target).is_ok_and(|now| now.ino() == meta.ino()) => Ok(()),
        Some(Err(error)) => Err(error),
        None => publish_by_link(private, target, meta.ino()),
    };
    outcome.map_err(|error| problem(&error).into())
}

/// Does what a rename that hangs should have done. It may still be done meanwhile, so the old file
/// goes only while the bytes have a name that no rename moves.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn publish_by_link(private: &Utf8Path, target: &Utf8Path, inode: u64) -> io::Result<()> {
    let is_done = || fs::metadata(target).is_ok_and(|now| now.ino() == inode);
    let spare = Utf8PathBuf::from(format!("{private}.spare"));
    match fs::hard_link(private, &spare) {
        Err(_) if is_done() => return Ok(()),
        other => other?,
    }
    let linked = match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => match fs::hard_link(&spare, target) {
            Err(_) if is_done() => Ok(()),
            other => other,
        },
    };
    fs::remove_file(&spare).ok();
    linked?;
    // A rename that wakes up later finds nothing to rename, or two names of one file.
    fs::remove_file(private).ok();
    Ok(())
}

fn within_limit<T: Send + 'static>(
    limit: Duration,
    operation: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (teller, answer) = mpsc::channel();
    thread::spawn(move || teller.send(operation()).ok());
    answer.recv_timeout(limit).ok()
}

/// Copies a file that a command will change in place.
///
/// # Errors
/// Any I/O error, with the path.
pub fn copy(from: &Utf8Path, to: &Utf8PathBuf) -> Result<()> {
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|error| io_problem(&error, "copy", from).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::edge::fs::exists;
    use crate::edge::fs::read_text;
    use crate::edge::fs::write;

    fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = Utf8PathBuf::try_from(dir.path().to_path_buf()).expect("a UTF-8 path");
        (dir, path)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "looks at what is there")]
    fn a_rename_that_hangs_costs_neither_file_whether_it_is_done_later_or_not() -> Result<()> {
        let (_guard, dir) = temp();
        let (private, target) = (dir.join("private"), dir.join("out"));
        for was_renamed in [false, true] {
            write(&target, "old")?;
            write(&private, "new")?;
            let inode = ino_of(&private);
            if was_renamed {
                fs::rename(&private, &target).expect("a local directory");
            }
            publish_by_link(&private, &target, inode).expect("a local directory");
            assert_eq!(read_text(&target)?, "new");
            assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 1);
        }
        Ok(())
    }

    fn ino_of(path: &Utf8Path) -> u64 {
        identity(path).expect("it was written").inode
    }

    #[test]
    fn a_file_is_published_whole_and_its_private_name_goes() -> Result<()> {
        for is_shared in [false, true] {
            let (_guard, dir) = temp();
            let (private, target) = (dir.join("p"), dir.join("t"));
            write(&target, "old")?;
            write(&private, "new")?;
            let before = identity(&target);
            publish(&private, &target, is_shared)?;
            assert_eq!(read_text(&target)?, "new");
            assert!(!exists(&private));
            assert_ne!(identity(&target), before);
        }
        Ok(())
    }

    #[test]
    fn in_a_directory_of_a_group_the_group_can_write() -> Result<()> {
        let (_guard, dir) = temp();
        let team = dir.join("team");
        create_team_dirs(&team)?;
        let mode = |path: &Utf8Path| fs::symlink_metadata(path).map_or(0, |meta| meta.mode());
        let set = Permissions::from_mode(0o2775);
        fs::set_permissions(&team, set).expect("it is ours");
        create_team_dirs(&team.join("a/b"))?;
        assert_eq!(mode(&team.join("a/b")) & 0o7777, 0o2775);
        let (private, target) = (team.join("p"), team.join("t"));
        write(&private, "new")?;
        publish(&private, &target, false)?;
        assert_eq!(mode(&target) & 0o777, 0o664);
        Ok(())
    }
}
