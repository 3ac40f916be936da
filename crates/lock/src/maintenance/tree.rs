//! Finding everything that locks leave below a directory.
//!
//! Invariant: only directories are opened, no link is followed, and what cannot be read is
//! reported.

use crate::temporary_name;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::error::Result;
use cocorun_edge::fs;
use cocorun_edge::fs::DirEntry;
use cocorun_edge::fs::EntryKind;

/// The directory of registers, pytest-cocotb locks and markers.
const LOCKS: &str = ".locks";

/// What was found, each list sorted.
#[derive(Debug, Default)]
pub struct Tree {
    /// The directory that was searched.
    pub root: Utf8PathBuf,
    /// `.locks/NAME.ledger`.
    pub ledgers: Vec<Utf8PathBuf>,
    /// `NAME.lock/`, the lock of pytest-cocotb.
    pub pytest_locks: Vec<Utf8PathBuf>,
    /// `attempts/<epoch>-<token>` next to a `.locks`.
    pub attempts: Vec<Utf8PathBuf>,
    /// Files and directories whose names identify their maker; the latter with `true`.
    pub private: Vec<(Utf8PathBuf, bool)>,
    /// Every other regular file, with its inode number.
    pub files: Vec<(Utf8PathBuf, u64)>,
    /// What could not be read, and why.
    pub unseen: Vec<(Utf8PathBuf, String)>,
}

impl Tree {
    /// Searches a directory.
    ///
    /// # Errors
    /// The directory itself cannot be listed.
    pub fn below(root: &Utf8Path) -> Result<Self> {
        let mut tree = Self {
            root: root.to_owned(),
            ..Self::default()
        };
        let mut open = vec![(root.to_owned(), fs::entries(root)?)];
        while let Some((dir, entries)) = open.pop() {
            let has_locks = entries.iter().any(|entry| is_dir(entry, LOCKS));
            for entry in &entries {
                let path = dir.join(&entry.name);
                if !entry.is_utf8 {
                    tree.unseen.push((path, "its name is not UTF-8".to_owned()));
                } else if entry.kind == EntryKind::File {
                    tree.file(path, entry);
                } else if entry.kind == EntryKind::Dir {
                    open.extend(tree.directory(path, has_locks));
                }
            }
        }
        for list in [
            &mut tree.ledgers,
            &mut tree.pytest_locks,
            &mut tree.attempts,
        ] {
            list.sort();
        }
        tree.private.sort();
        tree.files.sort();
        Ok(tree)
    }

    fn file(&mut self, path: Utf8PathBuf, entry: &DirEntry) {
        if temporary_name::read(&entry.name).is_some() {
            self.private.push((path, false));
        } else {
            self.files.push((path, entry.inode));
        }
    }

    /// Notes a directory; returns it with its names if it is to be searched.
    fn directory(
        &mut self,
        path: Utf8PathBuf,
        has_locks: bool,
    ) -> Option<(Utf8PathBuf, Vec<DirEntry>)> {
        let name = path.file_name().unwrap_or_default();
        if temporary_name::read(name).is_some() {
            self.private.push((path, true));
            return None;
        }
        let is_in_locks = path.parent().and_then(Utf8Path::file_name) == Some(LOCKS);
        if is_in_locks && name.ends_with(".ledger") {
            self.ledgers.push(path);
            return None;
        }
        let entries = match fs::entries(&path) {
            Ok(entries) => entries,
            // What was removed in the meantime need not be reported.
            Err(_) if !fs::exists(&path) => return None,
            Err(problems) => {
                self.unseen.push((path, problems.to_string()));
                return None;
            }
        };
        let is_pytest_lock = |entry: &DirEntry| {
            entry.name == "holder.info" || entry.name.starts_with("cocorun.guard.")
        };
        if path.extension() == Some("lock") && (is_in_locks || entries.iter().any(is_pytest_lock)) {
            self.pytest_locks.push(path);
            return None;
        }
        if has_locks && name == "attempts" {
            let (attempts, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_attempt);
            let attempts = attempts.iter().map(|entry| path.join(&entry.name));
            self.attempts.extend(attempts);
            return Some((path, others));
        }
        Some((path, entries))
    }
}

fn is_dir(entry: &DirEntry, name: &str) -> bool {
    entry.kind == EntryKind::Dir && entry.name == name
}

/// Whether a name has the form of an attempt's directory.
fn is_attempt(entry: &DirEntry) -> bool {
    let is_named = entry.name.split_once('-').is_some_and(|(epoch, token)| {
        epoch.len() >= 8
            && epoch.bytes().all(|byte| byte.is_ascii_digit())
            && token.len() == 8
            && token.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    is_named && entry.kind == EntryKind::Dir && entry.is_utf8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_found_where_it_belongs_and_no_link_is_followed() -> Result<()> {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let root = Utf8PathBuf::try_from(temp.path().join("root")).expect("a UTF-8 path");
        let elsewhere = Utf8PathBuf::try_from(temp.path().join("elsewhere")).expect("UTF-8");
        for dir in [
            "a/.locks/n.ledger",
            "a/.locks/n.lock",
            "a/attempts/00000001-0123abcd/.locks/inner.ledger",
            "a/attempts/other",
            "attempts/00000001-0123abcd",
            "b.lock",
            "c.lock",
        ] {
            fs::create_dirs(&root.join(dir))?;
        }
        fs::create_dirs(&elsewhere.join(".locks/n.ledger"))?;
        fs::link(&elsewhere, &root.join("planted"))?;
        fs::write(&root.join("b.lock/holder.info"), "{}")?;
        fs::write(&root.join("c.lock/file"), "")?;
        let private = ".x.1-2-0123456789ab-00000000.tmp.o";
        fs::write(&root.join(private), "")?;
        let tree = Tree::below(&root)?;
        let names = |paths: &[Utf8PathBuf]| {
            let below = paths
                .iter()
                .filter_map(|path| path.strip_prefix(&root).ok());
            below.map(Utf8Path::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(&tree.ledgers), ["a/.locks/n.ledger"]);
        assert_eq!(names(&tree.pytest_locks), ["a/.locks/n.lock", "b.lock"]);
        assert_eq!(names(&tree.attempts), ["a/attempts/00000001-0123abcd"]);
        assert_eq!(tree.private, [(root.join(private), false)]);
        let files: Vec<_> = tree.files.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(names(&files), ["c.lock/file"]);
        assert!(tree.unseen.is_empty());
        Ok(())
    }
}
