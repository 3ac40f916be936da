//! Removing names below a directory without ever leaving it.
//!
//! In a directory that others can write, a path can be turned into a link between the check and the
//! removal. Invariant: only the first directory, which the user named, is found by its path; each
//! one below it is opened from its parent and is not a link, so nothing outside is ever removed.

use nix::fcntl::AT_FDCWD;
use nix::fcntl::OFlag;
use nix::fcntl::openat;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;
use nix::unistd::unlinkat;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

/// A directory that stays the same, whatever its path leads to later.
#[derive(Debug)]
pub struct PinnedDir(OwnedFd);

impl PinnedDir {
    /// Pins the directory that contains `path`, which is below `root`.
    ///
    /// # Errors
    /// `ELOOP` or `ENOTDIR` if a component on the way is a link or not a directory, and any other
    /// error.
    pub fn above(root: &Utf8Path, path: &Utf8Path) -> io::Result<Self> {
        let here = Utf8Path::new(".");
        let root = if root.as_str().is_empty() { here } else { root };
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = openat(AT_FDCWD, root.as_std_path(), flags, Mode::empty())?;
        let below = path.strip_prefix(root).unwrap_or(path);
        for name in below.parent().unwrap_or(Utf8Path::new("")) {
            dir = openat(&dir, name, flags | OFlag::O_NOFOLLOW, Mode::empty())?;
        }
        Ok(Self(dir))
    }

    /// Removes a name that is not a directory.
    ///
    /// # Errors
    /// `ENOENT` if there is none.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir).map_err(io::Error::from)
    }

    /// Removes a directory with its contents; links in it are removed, not followed.
    ///
    /// # Errors
    /// Any I/O error; a part may be gone then.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge that others must go through"
    )]
    pub fn remove_tree(&self, name: &str) -> io::Result<()> {
        // The standard library follows no link from here on; the kernel leads to our descriptor.
        let here = Utf8PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        fs::remove_dir_all(here.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::fs::create_dirs;
    use crate::fs::exists;
    use crate::fs::link;
    use crate::fs::write;

    fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = Utf8PathBuf::try_from(dir.path().to_path_buf()).expect("a UTF-8 path");
        (dir, path)
    }

    #[test]
    fn a_link_on_the_way_or_inside_leads_nowhere() {
        let (_guard, dir) = temp();
        let precious = dir.join("elsewhere/attempts/1/file");
        create_dirs(precious.parent().expect("it has one")).expect("a local directory");
        write(&precious, "precious").expect("a local directory");
        let root = dir.join("root");
        create_dirs(&root.join("real/tree")).expect("a local directory");
        link(&dir.join("elsewhere"), &root.join("planted")).expect("a local directory");
        link(&dir.join("elsewhere"), &root.join("real/tree/planted")).expect("a local directory");
        assert!(PinnedDir::above(&root, &root.join("planted/attempts/1")).is_err());
        let real = PinnedDir::above(&root, &root.join("real/tree")).expect("no link is on the way");
        real.remove_tree("tree").expect("it is ours");
        assert!(!exists(&root.join("real/tree")));
        assert!(exists(&precious));
    }
}
