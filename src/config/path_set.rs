//! Paths in order, each once: a file named twice keeps its first place.

use camino::Utf8PathBuf;
use std::collections::BTreeSet;

/// An ordered set of paths.
#[derive(Clone, Debug, Default)]
pub(super) struct PathSet {
    paths: Vec<Utf8PathBuf>,
    /// In one spelling each, as strings: comparing paths is slow.
    known: BTreeSet<String>,
}

impl PathSet {
    /// Appends a path that is not there yet.
    pub(super) fn add(&mut self, path: Utf8PathBuf) {
        let in_one_spelling: Utf8PathBuf = path.components().collect();
        if self.known.insert(in_one_spelling.into_string()) {
            self.paths.push(path);
        }
    }

    /// Appends several.
    pub(super) fn extend(&mut self, paths: impl IntoIterator<Item = Utf8PathBuf>) {
        paths.into_iter().for_each(|path| self.add(path));
    }

    /// Returns the paths in order.
    pub(super) fn into_paths(self) -> Vec<Utf8PathBuf> {
        self.paths
    }
}
