//! Links without blanks to paths with blanks, for compilers that split words at blanks.
//!
//! A link is named by a digest of what it leads to, so equal paths share one, and it stays: a log
//! may name files through it. What is recorded about a build never does.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::fs;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::cell::RefCell;

/// The links of one compile.
#[derive(Debug)]
pub(super) struct Links<'a> {
    /// Where they are made; `None` if there is no such folder on this node.
    dir: Option<&'a Utf8Path>,
    /// Each link and what it leads to.
    made: RefCell<Vec<(Utf8PathBuf, Utf8PathBuf)>>,
}

impl<'a> Links<'a> {
    /// Creates none yet.
    pub(super) fn new(dir: Option<&'a Utf8Path>) -> Self {
        let has_blank = |dir: &&Utf8Path| dir.as_str().contains(char::is_whitespace);
        Self {
            dir: dir.filter(|dir| !has_blank(dir)),
            made: RefCell::default(),
        }
    }

    /// Returns a spelling of an absolute path that has no blank, making a link if it takes one.
    ///
    /// # Errors
    /// There is no folder for links, or the link cannot be made.
    pub(super) fn without_blanks(&self, path: &Utf8Path) -> Result<Utf8PathBuf> {
        if !path.as_str().contains(char::is_whitespace) {
            return Ok(path.to_owned());
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(path.to_owned());
        };
        if !name.contains(char::is_whitespace) {
            return Ok(self.without_blanks(parent)?.join(name));
        }
        let Some(dir) = self.dir else {
            return Err(no_place(path));
        };
        fs::create_dirs(dir)?;
        let digest = blake3::hash(path.as_str().as_bytes()).to_hex();
        let link = dir.join(format!(
            "{}-{}",
            &digest[..16],
            name.replace(char::is_whitespace, "_")
        ));
        fs::link(path, &link)?;
        let mut made = self.made.borrow_mut();
        if made.iter().all(|(known, _)| *known != link) {
            made.push((link.clone(), path.to_owned()));
        }
        Ok(link)
    }

    /// Returns a path that may lead through one of the links as it is without them.
    pub(super) fn original(&self, path: &str) -> String {
        for (link, target) in self.made.borrow().iter() {
            if let Ok(rest) = Utf8Path::new(path).strip_prefix(link) {
                // Joining nothing would add a slash to the name of a file.
                return match rest.as_str() {
                    "" => target.to_string(),
                    rest => target.join(rest).to_string(),
                };
            }
        }
        path.to_owned()
    }
}

fn no_place(path: &Utf8Path) -> Problems {
    let words = format!("`{path}` contains a blank, which the compiler cannot handle");
    Diagnostic::error(Code::BuildUnsupported, words)
        .fact("no private folder was found for links without blanks")
        .help("set TMPDIR to a folder of yours whose path has no blank")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_blank_goes_through_a_link_and_finds_back() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(root.path()).expect("UTF-8");
        let links = Links::new(Some(root));
        let plain = Utf8Path::new("/p/hdl/a.sv");
        assert_eq!(links.without_blanks(plain), Ok(plain.to_owned()));
        for path in ["/my p/hdl/a.sv", "/my p/my a.sv", "/my p", "/my p/my b.v"] {
            let spelt = links.without_blanks(Utf8Path::new(path)).expect("a link");
            assert!(!spelt.as_str().contains(' '), "{spelt}");
            assert_eq!(links.original(spelt.as_str()), path);
            assert_eq!(
                spelt.extension(),
                Utf8Path::new(path).extension(),
                "tools look at it"
            );
        }
        assert_eq!(links.original("/p/hdl/a.sv"), "/p/hdl/a.sv");
        let blank = root.join("a b");
        for dir in [None, Some(blank.as_path())] {
            let problems = Links::new(dir).without_blanks(Utf8Path::new("/my p"));
            assert_eq!(
                problems.expect_err("no place").0[0].code,
                Code::BuildUnsupported
            );
        }
    }
}
