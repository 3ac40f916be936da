//! Positions of keys in `runner.toml`, for problems found only after the files were read.

use crate::config::document::Document;
use crate::config::document::join_name;
use crate::diagnostic::Snippet;
use crate::model::build::Build;

use camino::Utf8PathBuf;
use std::ops::Range;
use std::sync::Arc;
use toml::de::DeTable;

/// The texts of the files of a session, in which keys can be located.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(Vec<FileText>);

/// The text of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileText {
    /// What the names of its builds begin with.
    prefix: String,
    /// The path, as the user would name it.
    shown: Utf8PathBuf,
    text: Arc<str>,
}

impl Places {
    /// Adds a file whose names of builds begin with `prefix`; the first one is that of the session.
    pub(super) fn add(&mut self, prefix: &str, document: &Document) {
        self.0.push(FileText {
            prefix: prefix.to_owned(),
            shown: document.shown.clone(),
            text: Arc::clone(&document.text),
        });
    }

    /// Returns the place of a key in the session's own file, which the names of its tables lead to,
    /// with its value; `None` where it is absent.
    pub fn of(&self, names: &[&str]) -> Option<Snippet> {
        self.0.first()?.of(names)
    }

    /// Returns the place of a key in the table of a build, as [`Self::of`] does.
    pub fn of_build(&self, build: &Build, names: &[&str]) -> Option<Snippet> {
        self.in_file_of(build, &[&["build", build.table.as_str()], names].concat())
    }

    /// Returns the place of a key in the file of a build, as [`Self::of`] does.
    pub fn in_file_of(&self, build: &Build, names: &[&str]) -> Option<Snippet> {
        let table = build.table.as_str();
        let is_in = |file: &&FileText| build.name.is_named_by(&join_name(&file.prefix, table));
        self.0.iter().filter(is_in).find_map(|file| file.of(names))
    }
}

impl FileText {
    fn of(&self, names: &[&str]) -> Option<Snippet> {
        Some(Snippet {
            path: self.shown.clone(),
            range: self.range_of(names)?,
            text: Arc::clone(&self.text),
            first_line: 1,
            label: String::new(),
        })
    }

    fn range_of(&self, names: &[&str]) -> Option<Range<usize>> {
        let (last, tables) = names.split_last()?;
        let document = DeTable::parse(&self.text).ok()?;
        let mut table = document.get_ref();
        for name in tables {
            table = table.get(*name)?.get_ref().as_table()?;
        }
        let (key, value) = table.get_key_value(*last)?;
        let end = value.span().end.max(key.span().end);
        Some(key.span().start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use camino::Utf8Path;

    #[test]
    fn a_key_is_found_in_every_form_of_its_table() {
        let text = "[build.a]\nparameters = { WIDTH = 8 }\n\
                    [build.b.matrix]\n\"DEPTH\" = [4, 16]\n[build]\nc.parameters.N = 1\n";
        let mut places = Places::default();
        places.add("", &Document::new(Utf8Path::new("runner.toml"), text));
        let found = |names: &[&str]| places.of(names).map(|place| text[place.range].to_owned());
        let cases: [(&[&str], &str); 3] = [
            (&["build", "a", "parameters", "WIDTH"], "WIDTH = 8"),
            (&["build", "b", "matrix", "DEPTH"], "\"DEPTH\" = [4, 16]"),
            (&["build", "c", "parameters", "N"], "N = 1"),
        ];
        for (names, expected) in cases {
            assert_eq!(found(names).as_deref(), Some(expected), "{names:?}");
        }
        assert_eq!(found(&["build", "a", "matrix", "WIDTH"]), None);
        assert_eq!(Places::default().of(&["build"]), None);
    }
}
