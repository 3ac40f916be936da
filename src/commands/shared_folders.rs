//! Working directories that runs share: which files appeared or changed in them during a session.
//!
//! Runs can write there at the same time, and so can others: nothing here says which run it was.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;
use crate::model::test::PlannedModule;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::SystemTime;

/// How many names are shown.
const SHOWN_MAX: usize = 5;

/// When what is in a folder was changed last, by its name; folders end in `/`.
type Contents = BTreeMap<String, Option<SystemTime>>;

/// What is in the working directories that runs share.
pub(super) struct SharedFolders {
    before: BTreeMap<Utf8PathBuf, Contents>,
    /// What this session writes itself.
    own: BTreeSet<Utf8PathBuf>,
}

impl SharedFolders {
    /// Looks at the working directories of planned modules.
    pub(super) fn look(modules: &[PlannedModule], build_dir: &Utf8Path) -> Self {
        // A shell may have redirected the report into one of them.
        let outputs = ["/proc/self/fd/1", "/proc/self/fd/2"];
        let outputs = outputs.iter().map(Utf8Path::new);
        let own = outputs.chain([build_dir]);
        let own = own.filter_map(|path| fs::real_path(path).ok()).collect();
        let folders: BTreeSet<&Utf8PathBuf> = modules
            .iter()
            .filter_map(|planned| planned.settings.cwd.as_ref())
            .collect();
        let before = folders
            .into_iter()
            .map(|folder| (folder.clone(), contents(folder, &own)))
            .collect();
        Self { before, own }
    }

    /// Returns a warning for each folder in which something appeared or changed.
    pub(super) fn warnings(&self) -> Vec<Diagnostic> {
        let folders = self.before.iter();
        folders
            .filter_map(|(folder, before)| {
                let now = contents(folder, &self.own);
                let is_new = |(name, time): &(&String, _)| before.get(*name) != Some(*time);
                let names: Vec<&String> = now.iter().filter(is_new).map(|(name, _)| name).collect();
                (!names.is_empty()).then(|| warning(folder, &names))
            })
            .collect()
    }
}

fn warning(folder: &Utf8Path, names: &[&String]) -> Diagnostic {
    let shown = names.iter().take(SHOWN_MAX);
    let shown: Vec<String> = shown.map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let words = format!(
        "files appeared or changed in `{folder}` while it was the working directory of runs: {}{more}",
        shown.join(", ")
    );
    Diagnostic::warning(Code::TestSharedFolder, words).help(
        "runs that write there at the same time disturb each other: write to a temporary folder, or \
         remove `cwd`",
    )
}

/// Lists a folder, without what the session writes itself; one that cannot be read is empty.
fn contents(folder: &Utf8Path, own: &BTreeSet<Utf8PathBuf>) -> Contents {
    let entries = fs::entries(folder).unwrap_or_default();
    let names = entries.into_iter().filter_map(|entry| {
        let path = folder.join(&entry.name);
        let is_own = fs::real_path(&path).is_ok_and(|path| own.contains(&path));
        if is_own || entry.name == "__pycache__" {
            return None;
        }
        let stamp = fs::stamp(&path).ok().flatten()?;
        let mark = if stamp.is_dir { "/" } else { "" };
        Some((format!("{}{mark}", entry.name), stamp.changed))
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_appears_or_changes_is_named_and_what_stays_is_not() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8Path::from_path(dir.path()).expect("UTF-8");
        for name in ["stays", "changes"] {
            fs::write(&path.join(name), "before").expect("written");
        }
        for name in ["out", "sim_build"] {
            fs::create_dirs(&path.join(name)).expect("made");
        }
        let own = BTreeSet::from([fs::real_path(&path.join("sim_build")).expect("it exists")]);
        let folders = SharedFolders {
            before: BTreeMap::from([(path.to_owned(), contents(path, &own))]),
            own,
        };
        assert_eq!(folders.warnings(), []);
        for name in ["changes", "a", "b", "c", "d", "out/new", "sim_build/new"] {
            fs::write(&path.join(name), "after it").expect("written");
        }
        let warnings = folders.warnings();
        assert_eq!(warnings.len(), 1);
        let words = "`a`, `b`, `c`, `changes`, `d` and 1 more";
        assert!(
            warnings[0].message.ends_with(words),
            "{}",
            warnings[0].message
        );
    }
}
