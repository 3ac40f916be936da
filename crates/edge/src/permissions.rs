//! Why a path is closed to this user, for messages: which folder, whose it is, and what opens it.

use camino::Utf8Component;
use camino::Utf8Path;
use camino::Utf8PathBuf;
use nix::unistd::AccessFlags;
use nix::unistd::Uid;
use nix::unistd::User;
use nix::unistd::access;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// How many links a path may lead through, as the kernel has it.
const LINKS_MAX: usize = 40;

/// Returns what opens a path that this user may not look at or read.
pub(crate) fn to_read(path: &Utf8Path) -> Option<String> {
    let closing = closing_folder(path);
    let (closed, what, mode) = match &closing {
        Some(folder) => (folder.as_path(), "may not be entered", "a+x"),
        None => (path, "may not be read", "a+r"),
    };
    let facts = owner_and_mode(closed)?;
    Some(format!(
        "`{closed}` {what} by this user ({facts}): `chmod {mode} {closed}`, or use another path"
    ))
}

/// Returns what opens a path that this user may not write or create.
pub(crate) fn to_write(path: &Utf8Path) -> Option<String> {
    let exists = |path: &&Utf8Path| fs::symlink_metadata(path).is_ok();
    let existing = path.ancestors().find(exists)?;
    // The system itself rejected it, not its permissions.
    if access(
        existing.as_std_path(),
        AccessFlags::W_OK | AccessFlags::F_OK,
    )
    .is_ok()
    {
        return None;
    }
    let facts = owner_and_mode(existing)?;
    Some(format!(
        "`{existing}` may not be written by this user ({facts}): if a group shares it, \
         `chmod -R g+rwX` there and `umask 002` for all of them; or use a directory of your own"
    ))
}

/// Returns the first folder on the way to a path, through links, that this user may not enter.
fn closing_folder(path: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut current = Utf8PathBuf::new();
    let mut rest: Vec<String> = reversed(path);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            current.pop();
            continue;
        }
        let next = current.join(&name);
        let Ok(meta) = fs::symlink_metadata(&next) else {
            return Some(current).filter(|it| access(it.as_std_path(), AccessFlags::X_OK).is_err());
        };
        if meta.is_symlink() && links < LINKS_MAX {
            links += 1;
            let target = next.read_link_utf8().ok()?;
            if target.is_absolute() {
                current = Utf8PathBuf::new();
            }
            rest.extend(reversed(&target));
            continue;
        }
        current = next;
    }
    None
}

/// Returns the components of a path, last one first, without `.`.
fn reversed(path: &Utf8Path) -> Vec<String> {
    let components = path.components().rev();
    components
        .filter(|component| *component != Utf8Component::CurDir)
        .map(|component| component.as_str().to_owned())
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn owner_and_mode(path: &Utf8Path) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    let owner = User::from_uid(Uid::from_raw(meta.uid())).ok().flatten();
    let owner = owner.map_or_else(|| meta.uid().to_string(), |user| user.name);
    Some(format!("owner {owner}, mode {:04o}", meta.mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_about_a_path_that_is_open() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(root.path()).expect("UTF-8");
        assert_eq!(closing_folder(&root.join("absent/a")), None);
        assert_eq!(to_write(&root.join("absent/a")), None);
        std::os::unix::fs::symlink("../loop/loop", root.join("loop")).expect("made");
        assert_eq!(closing_folder(&root.join("loop/a")), None, "it ends");
    }
}
