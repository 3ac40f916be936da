//! The files that `runner.toml` names: looked up, globbed, sorted.
//!
//! Every directory is listed once per reading, whatever the number of patterns, because on network
//! file systems the listing is what costs. Results are in byte order, so that a build does not
//! depend on the order a server happens to list in.

use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Unplaced;
use crate::config::path_set::PathSet;
use crate::config::problems::NO_FOLDER;
use crate::config::suggest::closest;
use crate::config::variables;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::edge::fs::DirEntry;
use crate::edge::fs::EntryKind;

use camino::Utf8Component;
use camino::Utf8Path;
use camino::Utf8PathBuf;
use globset::GlobBuilder;
use globset::GlobMatcher;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a path must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathKind {
    File,
    Dir,
    Either,
}

/// The file system around one `runner.toml`.
#[derive(Debug)]
pub(super) struct Files<'a> {
    /// The folder of `runner.toml`, absolute.
    pub(super) project_dir: &'a Utf8Path,
    /// What globs must not descend into: files that cocorun created are not sources.
    build_dirs: Vec<&'a Utf8Path>,
    environment: &'a Environment,
    /// Whether options of other tools in file lists are errors.
    pub(super) strict_lists: bool,
    listings: RefCell<BTreeMap<Utf8PathBuf, Listing>>,
}

/// The entries of a directory, or why there are none.
type Listing = Rc<Result<Vec<DirEntry>, Problems>>;

impl<'a> Files<'a> {
    pub(super) fn new(
        project_dir: &'a Utf8Path,
        build_dir: &'a Utf8Path,
        environment: &'a Environment,
    ) -> Self {
        Self {
            project_dir,
            build_dirs: vec![build_dir],
            environment,
            strict_lists: false,
            listings: RefCell::default(),
        }
    }

    /// Leaves out another folder as well.
    pub(super) fn without(mut self, build_dir: &'a Utf8Path) -> Self {
        self.build_dirs.push(build_dir);
        self
    }

    /// Expands the variables of a path.
    ///
    /// # Errors
    /// The problem, without a position.
    pub(super) fn expand(&self, text: &str) -> Unplaced<String> {
        variables::expand(text, self.environment)
            .map_err(|error| Diagnostic::error(Code::ConfigBadValue, error.message()).into())
    }

    /// Expands `${VAR}` in a word of a command, whose own variables come first.
    ///
    /// # Errors
    /// The problem, without a position.
    pub(super) fn expand_word(
        &self,
        word: &str,
        own: &BTreeMap<String, String>,
    ) -> Unplaced<String> {
        let value_of = |name: &str| {
            let own = own.get(name).map(String::as_str);
            own.or_else(|| self.environment.get(name))
        };
        variables::expand_in_braces(word, value_of).map_err(|error| {
            let problem = Diagnostic::error(Code::ConfigBadValue, error.message());
            problem
                .help("what a shell expands is written `$NAME` or `$${NAME}`")
                .into()
        })
    }

    /// Looks up one path that is not a pattern.
    ///
    /// # Errors
    /// The path does not exist or has the wrong kind; without a position.
    pub(super) fn lookup(
        &self,
        base: &Utf8Path,
        text: &str,
        wanted: PathKind,
    ) -> Unplaced<Utf8PathBuf> {
        let path = join(base, text);
        let missing = |problem: &str| {
            Diagnostic::error(Code::ConfigMissingFile, format!("`{text}` {problem}"))
        };
        let stamp = fs::stamp(&path).map_err(|error| Diagnostic {
            help: error.help.clone(),
            ..missing("cannot be accessed").fact(error.to_string())
        })?;
        match (stamp, wanted) {
            (None, _) => Err(self
                .explain_missing(missing("does not exist"), text, &path)
                .into()),
            (Some(stamp), PathKind::File) if stamp.is_dir => Err(Diagnostic::error(
                Code::ConfigBadValue,
                format!("`{text}` is a directory, not a file"),
            )
            .into()),
            (Some(stamp), PathKind::Dir) if !stamp.is_dir => Err(Diagnostic::error(
                Code::ConfigBadValue,
                format!("`{text}` is a file, not a directory"),
            )
            .into()),
            (Some(_), _) => Ok(path),
        }
    }

    /// Explains how much of the path exists, and what is there instead.
    fn explain_missing(&self, problem: Diagnostic, text: &str, path: &Utf8Path) -> Diagnostic {
        let mut known = path.parent();
        while let Some(dir) = known.filter(|dir| !fs::exists(dir)) {
            known = dir.parent();
        }
        let Some((known, parent)) = known.zip(path.parent()) else {
            return problem;
        };
        if known != parent {
            // The first one that is missing is the cause of many such problems.
            let below = parent.strip_prefix(known).unwrap_or(parent);
            let missing = below.components().next().map(|name| known.join(name));
            let missing = missing.unwrap_or_else(|| parent.to_owned());
            return problem.fact(format!("{NO_FOLDER} `{missing}`"));
        }
        let listing = self.list(known);
        let names = listing.iter().flatten().map(|entry| entry.name.as_str());
        match path.file_name().and_then(|name| closest(name, names)) {
            Some(name) => {
                let near = Utf8Path::new(text).with_file_name(name);
                problem.help(format!("did you mean `{near}`?"))
            }
            None => problem.fact(format!("looked in `{known}`")),
        }
    }

    /// Looks up a path or a pattern; the result of a pattern is sorted and never empty.
    ///
    /// # Errors
    /// The problem, without a position.
    pub(super) fn find(
        &self,
        base: &Utf8Path,
        text: &str,
        wanted: PathKind,
    ) -> Unplaced<Vec<Utf8PathBuf>> {
        if !is_pattern(text) {
            return Ok(vec![self.lookup(base, text, wanted)?]);
        }
        let found = self.glob(base, text, wanted)?;
        if found.is_empty() {
            let what = if wanted == PathKind::Dir {
                "directory"
            } else {
                "file"
            };
            let problem =
                Diagnostic::error(Code::ConfigEmptyGlob, format!("`{text}` matches no {what}"));
            let root = join(base, split(text).0);
            let fact = if fs::exists(&root) {
                "looked in"
            } else {
                NO_FOLDER
            };
            return Err(problem.fact(format!("{fact} `{root}`")).into());
        }
        Ok(found)
    }

    /// Looks up include folders; one that does not exist is only worth a warning, since simulators
    /// ignore it.
    ///
    /// # Errors
    /// The problem, without a position.
    pub(super) fn find_includes(
        &self,
        base: &Utf8Path,
        text: &str,
    ) -> Unplaced<(Vec<Utf8PathBuf>, Option<Diagnostic>)> {
        let path = join(base, text);
        if is_pattern(text) || !matches!(fs::stamp(&path), Ok(None)) {
            return Ok((self.find(base, text, PathKind::Dir)?, None));
        }
        let message = format!("the include folder `{text}` does not exist");
        let warning = Diagnostic::warning(Code::ConfigMissingFile, message);
        let warning = self.explain_missing(warning, text, &path);
        Ok((vec![path], Some(warning)))
    }

    /// Looks up a list of paths and patterns of the project; problems are reported at their position.
    pub(super) fn find_all(
        &self,
        reading: &Reading,
        texts: &[Located<String>],
        wanted: PathKind,
    ) -> Vec<Utf8PathBuf> {
        let mut paths = PathSet::default();
        for text in texts {
            let found = non_empty(&text.value)
                .and_then(|path| self.expand(path))
                .and_then(|path| self.find(self.project_dir, &path, wanted));
            match found {
                Ok(found) => paths.extend(found),
                Err(problem) => reading.at(&text.range, "", *problem),
            }
        }
        paths.into_paths()
    }

    /// Returns what a pattern matches, sorted; may be empty.
    ///
    /// # Errors
    /// The pattern is invalid, a directory cannot be listed, or a match is not UTF-8.
    pub(super) fn glob(
        &self,
        base: &Utf8Path,
        pattern: &str,
        wanted: PathKind,
    ) -> Unplaced<Vec<Utf8PathBuf>> {
        let (root, rest) = split(pattern);
        let glob = GlobBuilder::new(rest)
            .literal_separator(true)
            .build()
            .map_err(|error| {
                Diagnostic::error(
                    Code::ConfigBadValue,
                    format!("invalid pattern `{pattern}`: {}", error.kind()),
                )
            })?;
        let mut walk = Walk {
            files: self,
            pattern,
            matcher: glob.compile_matcher(),
            wanted,
            any_depth: rest.contains("**"),
            hidden: rest.split('/').any(|part| part.starts_with('.')),
            found: Vec::new(),
        };
        let root = join(base, root);
        if fs::exists(&root) {
            walk.descend(&root, "", rest.matches('/').count())?;
        }
        walk.found.sort_unstable();
        Ok(walk.found)
    }

    /// Says whether a folder is a `build_dir`, in which nothing is the user's.
    pub(super) fn is_build_dir(&self, dir: &Utf8Path) -> bool {
        self.build_dirs.contains(&dir)
    }

    /// Lists a directory, once per reading.
    pub(super) fn list(&self, dir: &Utf8Path) -> Listing {
        let mut listings = self.listings.borrow_mut();
        let listing = listings
            .entry(dir.to_owned())
            .or_insert_with(|| Rc::new(fs::entries(dir).map_err(Problems::from)));
        Rc::clone(listing)
    }
}

/// Rejects an empty path, which would mean the project's own folder.
pub(super) fn non_empty(text: &str) -> Unplaced<&str> {
    if text.trim().is_empty() {
        return Err(Diagnostic::error(Code::ConfigBadValue, "a path is empty").into());
    }
    Ok(text)
}

/// Joins a path to its base, without `.` components; `..` stays, since a link may precede it.
pub(super) fn join(base: &Utf8Path, text: &str) -> Utf8PathBuf {
    base.join(text).components().collect()
}

/// Resolves `..` lexically, only to recognise or name a folder and not to open it.
pub(super) fn without_parents(path: &Utf8Path) -> Utf8PathBuf {
    let mut plain = Utf8PathBuf::new();
    for component in path.components() {
        if component == Utf8Component::ParentDir {
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}

/// Says whether a path is a pattern.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Splits a pattern into its fixed folder and the part that varies.
fn split(pattern: &str) -> (&str, &str) {
    let varies = pattern
        .find(['*', '?', '[', '{', '\\'])
        .unwrap_or(pattern.len());
    match pattern[..varies].rfind('/') {
        Some(0) => ("/", &pattern[1..]),
        Some(at) => (&pattern[..at], &pattern[at + 1..]),
        None => ("", pattern),
    }
}

/// The state of walking the directories for one pattern.
struct Walk<'a> {
    files: &'a Files<'a>,
    pattern: &'a str,
    matcher: GlobMatcher,
    wanted: PathKind,
    any_depth: bool,
    hidden: bool,
    found: Vec<Utf8PathBuf>,
}

impl Walk<'_> {
    /// Walks a directory; `relative` ends in `/` below the first one, `depth` counts levels left.
    fn descend(&mut self, dir: &Utf8Path, relative: &str, depth: usize) -> Unplaced<()> {
        let listing = self.files.list(dir);
        let entries = listing.as_ref().as_ref().map_err(|problems| {
            Diagnostic::error(
                Code::ConfigMissingFile,
                format!("cannot expand `{}`: a folder cannot be read", self.pattern),
            )
            .fact(problems.to_string())
        })?;
        for entry in entries {
            if entry.name.starts_with('.') && !self.hidden {
                continue;
            }
            let path = dir.join(&entry.name);
            let name = format!("{relative}{}", entry.name);
            let matched = self.matcher.is_match(&name);
            let is_link = entry.kind == EntryKind::Link;
            if matched && self.is_wanted(entry, &path) {
                if !entry.is_utf8 {
                    return Err(self.not_utf8(&path).into());
                }
                self.found.push(path.clone());
            }
            // A `**` does not follow links, which may form a cycle.
            let enter = if self.any_depth {
                entry.kind == EntryKind::Dir
            } else {
                depth > 0 && (entry.kind == EntryKind::Dir || is_link && is_dir(&path))
            };
            if enter && !self.files.is_build_dir(&path) {
                if !entry.is_utf8 {
                    return Err(self.not_utf8(&path).into());
                }
                self.descend(&path, &format!("{name}/"), depth.saturating_sub(1))?;
            }
        }
        Ok(())
    }

    fn is_wanted(&self, entry: &DirEntry, path: &Utf8Path) -> bool {
        let directory = match entry.kind {
            EntryKind::Dir => true,
            EntryKind::Link => is_dir(path),
            EntryKind::File => false,
            EntryKind::Other => return false,
        };
        directory == (self.wanted == PathKind::Dir)
    }

    fn not_utf8(&self, path: &Utf8Path) -> Diagnostic {
        Diagnostic::error(
            Code::ConfigNonUtf8Path,
            format!(
                "`{}` matches `{path}`, whose name is not UTF-8",
                self.pattern
            ),
        )
        .help("rename it, or narrow the pattern")
    }
}

fn is_dir(path: &Utf8Path) -> bool {
    matches!(fs::stamp(path), Ok(Some(stamp)) if stamp.is_dir)
}
