//! Positions of keys in `runner.toml`, for problems found only after the file was read.

use crate::diagnostic::Snippet;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::ops::Range;
use std::sync::Arc;
use toml::de::DeTable;

/// The text of a `runner.toml`, in which keys can be located.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    shown: Utf8PathBuf,
    text: Arc<str>,
}

impl Places {
    /// Keeps a text and the name of its file as shown to the user.
    pub(super) fn new(shown: &Utf8Path, text: &Arc<str>) -> Self {
        Self {
            shown: shown.to_owned(),
            text: Arc::clone(text),
        }
    }

    /// Returns the place of a key, which the names of its tables lead to, with its value; `None`
    /// where it is absent.
    pub fn of(&self, names: &[&str]) -> Option<Snippet> {
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

    #[test]
    fn a_key_is_found_in_every_form_of_its_table() {
        let text = "[build.a]\nparameters = { WIDTH = 8 }\n\
                    [build.b.matrix]\n\"DEPTH\" = [4, 16]\n[build]\nc.parameters.N = 1\n";
        let places = Places::new(Utf8Path::new("runner.toml"), &Arc::from(text));
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
