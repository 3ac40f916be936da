//! Which builds an entry of `build` in `[[test]]` selects.

use crate::config::name_glob::NameGlob;
use crate::config::tables::TestTable;
use crate::model::build::BuildName;

/// The builds that a `[[test]]` runs on, compiled for many queries.
#[derive(Clone, Debug)]
pub struct BuildSelection(Option<Vec<Entry>>);

/// One name or pattern.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Name(String),
    Pattern(NameGlob),
}

impl Entry {
    /// Reads an entry.
    ///
    /// # Errors
    /// The entry is an invalid pattern; the text says why.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if NameGlob::is_pattern(text) {
            return NameGlob::new(text).map(Self::Pattern);
        }
        Ok(Self::Name(text.to_owned()))
    }

    /// Says whether the entry selects the build, by one of the names that name it.
    pub(super) fn covers(&self, full: &BuildName) -> bool {
        match self {
            Self::Name(name) => full.is_named_by(name),
            Self::Pattern(glob) => full.names().any(|name| glob.is_match(name)),
        }
    }
}

impl BuildSelection {
    /// Compiles entries that are known to be valid; an invalid one would select no build.
    pub fn new(entries: Option<&[String]>) -> Self {
        let compile = |text: &String| Entry::new(text).ok();
        Self(entries.map(|entries| entries.iter().filter_map(compile).collect()))
    }

    /// Says whether the table's modules run on this build.
    pub fn covers(&self, build: &BuildName) -> bool {
        let Some(entries) = &self.0 else {
            return true;
        };
        entries.iter().any(|entry| entry.covers(build))
    }
}

impl TestTable {
    /// Returns which builds the table's modules run on.
    pub fn build_selection(&self) -> BuildSelection {
        BuildSelection::new(self.builds.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_selects_builds_by_name_variant_and_pattern() {
        let full = BuildName("fifo/DEPTH=4/WIDTH=8@icarus".to_owned());
        for (text, expected) in [
            ("fifo", true),
            ("fifo/DEPTH=4", true),
            ("fifo/DEPTH=4/WIDTH=8@icarus", true),
            ("fifo/DEPTH", false),
            ("fif", false),
            ("fif?", true),
            ("fifo/DEPTH=?", true),
            ("f*", true),
            ("*@icarus", true),
            ("*WIDTH=8*", true),
            ("*@verilator", false),
        ] {
            let selection = BuildSelection::new(Some(&[text.to_owned()]));
            assert_eq!(selection.covers(&full), expected, "`{text}`");
        }
        assert!(BuildSelection::new(None).covers(&full));
        assert!(!BuildSelection::new(Some(&[])).covers(&full));
    }
}
