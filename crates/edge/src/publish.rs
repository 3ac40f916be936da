//! Gives a finished file its public name atomically.

use crate::error::Result;
use crate::fs::io_problem;
use crate::rename;
pub use crate::rename::Trial;
use crate::storage::Storage;
use crate::storage::SystemStorage;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::fs;
use std::fs::File;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// How long a rename may take before it counts as one that never returns.
const RENAME_LIMIT: Duration = Duration::from_secs(5);

/// Identity of the file under a name: it changes whenever the file is replaced or rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// Returns the identity of a file; `None` if there is none.
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

/// Makes an NFS client drop what it has cached about a name, including its absence.
pub fn ask_server(path: &Utf8Path) {
    let dir = path.parent().filter(|dir| !dir.as_str().is_empty());
    SystemStorage.stamp(dir.unwrap_or(Utf8Path::new("."))).ok();
    SystemStorage.stamp(path).ok();
}

/// Flushes a file to disk, which is also when a network file system reports that it could not
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
    synced.map_err(|error| io_problem(&error, "write", path))
}

/// Whether this is a regular file, not a link to one.
pub fn is_regular(path: &Utf8Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

/// Makes the directory of a file with its parents, open to the group if its parent is.
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
        Err(error) => return Err(io_problem(&error, "create directory", dir)),
    }
    let parent = if parent.as_str().is_empty() {
        Utf8Path::new(".")
    } else {
        parent
    };
    if is_team_dir(parent) {
        if let Ok(meta) = fs::metadata(dir) {
            // The setgid bit was set by the kernel and stays.
            let mode = meta.mode() & 0o7000 | 0o775;
            fs::set_permissions(dir, Permissions::from_mode(mode)).ok();
        }
        adopt_group(dir, parent);
    }
    Ok(())
}

/// Whether a directory is meant for a group.
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

/// Gives a complete file its public name, replacing an existing file.
///
/// In a directory meant for a group, the file gets mode 0664, or 0775 if it is executable, and the
/// group. With a `trial` the directory is shared, and a rename may hang there: a new file gets its
/// name by a link, and an existing one is replaced by a rename only if a trial returns. Otherwise,
/// if links work, it is replaced by a link as well, and the name is absent for a moment before. See
/// also [`bring_to_disk`].
///
/// # Errors
/// Any I/O error, with the path; the private file then still exists.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that renames towards a target, as its users ask for"
)]
pub fn publish(private: &Utf8Path, target: &Utf8Path, trial: Option<&Trial>) -> Result<()> {
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
    let outcome = match trial {
        None => fs::rename(private, target),
        Some(trial) => publish_shared(private, target, meta.ino(), trial),
    };
    outcome.map_err(|error| problem(&error))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn publish_shared(
    private: &Utf8Path,
    target: &Utf8Path,
    inode: u64,
    trial: &Trial,
) -> io::Result<()> {
    let is_done = || fs::metadata(target).is_ok_and(|now| now.ino() == inode);
    match fs::hard_link(private, target) {
        // A lost reply turns a link that was made into an error.
        Err(_) if is_done() => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if rename::returns(trial, RENAME_LIMIT)? {
                return rename_shared(private, target, &is_done);
            }
            // The existing file is removed only if a link can follow. `EEXIST` is reported before a
            // lack of links, so the answer above does not say.
            if !links_work(private, inode, trial) {
                return if rename::returns_now(trial, RENAME_LIMIT)? {
                    rename_shared(private, target, &is_done)
                } else {
                    Err(error)
                };
            }
            match fs::remove_file(target) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            match fs::hard_link(private, target) {
                Err(_) if is_done() => {}
                other => other?,
            }
        }
        // There are no links, so a rename is the only way.
        Err(_) if rename::returns_now(trial, RENAME_LIMIT)? => {
            return rename_shared(private, target, &is_done);
        }
        other => other?,
    }
    fs::remove_file(private).ok();
    Ok(())
}

/// Whether our file can have a second name.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn links_work(private: &Utf8Path, inode: u64, trial: &Trial) -> bool {
    let linked = fs::hard_link(private, &trial.link);
    // A lost reply turns a link that was made into an error.
    let works = linked.is_ok() || fs::metadata(&trial.link).is_ok_and(|now| now.ino() == inode);
    fs::remove_file(&trial.link).ok();
    works
}

fn rename_shared(
    private: &Utf8Path,
    target: &Utf8Path,
    is_done: &dyn Fn() -> bool,
) -> io::Result<()> {
    match rename::apart(private, target, RENAME_LIMIT)? {
        Some(Err(_)) if is_done() => Ok(()),
        Some(renamed) => renamed,
        None => Err(io::Error::from(io::ErrorKind::TimedOut)),
    }
}

/// Copies a file that a command will change in place.
///
/// # Errors
/// Any I/O error, with the path.
pub fn copy(from: &Utf8Path, to: &Utf8PathBuf) -> Result<()> {
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|error| io_problem(&error, "copy", from))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::fs::exists;
    use crate::fs::read_text;
    use crate::fs::write;

    fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = Utf8PathBuf::try_from(dir.path().to_path_buf()).expect("a UTF-8 path");
        (dir, path)
    }

    fn trial_in(dir: &Utf8Path) -> Trial {
        Trial {
            dir: dir.join("trial"),
            dir_of_second: dir.join("second"),
            marker: dir.join("marker"),
            link: dir.join("link"),
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "looks at what is there")]
    fn where_a_rename_hangs_a_target_is_replaced_all_the_same() -> Result<()> {
        let (_guard, dir) = temp();
        let (private, target) = (dir.join("p"), dir.join("t"));
        let trial = trial_in(&dir);
        write(&trial.marker, "")?;
        for text in ["first", "second"] {
            write(&private, text)?;
            publish(&private, &target, Some(&trial))?;
            assert_eq!(read_text(&target)?, text);
            assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 2);
        }
        Ok(())
    }

    #[test]
    fn a_file_is_published_whole_and_its_private_name_goes() -> Result<()> {
        for is_shared in [false, true] {
            let (_guard, dir) = temp();
            let (private, target) = (dir.join("p"), dir.join("t"));
            let trial = is_shared.then(|| trial_in(&dir));
            write(&target, "old")?;
            write(&private, "new")?;
            let before = identity(&target);
            publish(&private, &target, trial.as_ref())?;
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
        publish(&private, &target, None)?;
        assert_eq!(mode(&target) & 0o777, 0o664);
        Ok(())
    }
}
