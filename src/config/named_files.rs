//! What the words of a step's commands name: files and folders of the project, and Python modules.
//!
//! A step runs again when one of these files changes, so what looks like one counts: a file too many
//! costs a run, and one too few gives old HDL. What a program reads besides is in `inputs`.

use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::config::files::join;
use crate::config::files::without_parents;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;
use crate::model::step;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// How many files of a folder are looked at each time.
const FOLDER_FILES_MAX: usize = 1000;
/// What separates the parts of a word, of which each may be a file: options, lists, shell commands.
const SEPARATORS: &str = "=:,;+|&<>()\"'`@";
/// Where Python looks for modules besides the working directory.
const MODULE_PATH: &str = "PYTHONPATH";
/// Where Python keeps what it has compiled.
const BYTE_CODE: &str = "__pycache__";

/// What a command names.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub(super) files: BTreeSet<Utf8PathBuf>,
    /// Why the files of a folder are not among them.
    pub(super) problem: Option<Diagnostic>,
}

impl Named {
    fn add(&mut self, other: &Self) {
        self.files.extend(other.files.iter().cloned());
        self.problem = self.problem.take().or_else(|| other.problem.clone());
    }
}

/// The files that words name, each looked up once.
pub(super) struct NamedFiles<'a> {
    files: &'a Files<'a>,
    known: RefCell<BTreeMap<String, Named>>,
}

impl<'a> NamedFiles<'a> {
    pub(super) fn new(files: &'a Files<'a>) -> Self {
        Self {
            files,
            known: RefCell::default(),
        }
    }

    /// Returns what the arguments of a command name, given its own environment variables.
    pub(super) fn of_command(&self, words: &[String], env: &BTreeMap<String, String>) -> Named {
        let mut named = Named::default();
        for text in words.iter().skip(1).flat_map(|word| parts(word)) {
            named.add(&self.of_text(text));
        }
        for module in modules(words) {
            self.add_module(module, env, &mut named);
        }
        named
    }

    fn of_text(&self, text: &str) -> Named {
        if let Some(named) = self.known.borrow().get(text) {
            return named.clone();
        }
        let path = join(self.files.project_dir, text);
        let named = match fs::stamp(&path).ok().flatten() {
            Some(stamp) if stamp.is_dir => self.of_folder(text, &path),
            Some(_) => Named {
                files: [path].into(),
                problem: None,
            },
            None => Named::default(),
        };
        self.known
            .borrow_mut()
            .insert(text.to_owned(), named.clone());
        named
    }

    /// Returns the files below a folder of the project. That of the project itself says nothing: it
    /// also holds what sessions write, such as reports.
    fn of_folder(&self, text: &str, path: &Utf8Path) -> Named {
        let plain = without_parents(path);
        let (project_dir, mut named) = (self.files.project_dir, Named::default());
        if plain == project_dir || !plain.starts_with(project_dir) {
            return named;
        }
        if plain.ancestors().any(|dir| self.files.is_build_dir(dir)) {
            return named;
        }
        let found = match self.files.glob(path, "**/*", PathKind::File) {
            Ok(found) => found.into_iter(),
            Err(problem) => {
                named.problem = Some(*problem);
                return named;
            }
        };
        let is_source = |file: &Utf8PathBuf| file.components().all(|it| it.as_str() != BYTE_CODE);
        let files: BTreeSet<Utf8PathBuf> = found.filter(is_source).collect();
        if files.len() > FOLDER_FILES_MAX {
            let message = format!(
                "`{text}` is a folder of {} files, and at most {FOLDER_FILES_MAX} are compared",
                files.len()
            );
            let problem = Diagnostic::error(Code::ConfigStepInputs, message);
            let help = "list those that are read in `inputs`, or in `prepare_inputs` of a build";
            named.problem = Some(problem.help(help));
        } else {
            named.files = files;
        }
        named
    }

    /// Adds a module of the project: its file, and the whole package that it belongs to.
    fn add_module(&self, module: &str, env: &BTreeMap<String, String>, named: &mut Named) {
        let path = env.get(MODULE_PATH).map_or("", String::as_str);
        let roots = path
            .split(':')
            .filter(|root| !root.is_empty() && !step::is_marked(root));
        for root in std::iter::once("").chain(roots) {
            let root = Utf8Path::new(root);
            let (whole, package) = match module.split_once('.') {
                Some((package, _)) => (module.replace('.', "/"), package),
                None => (module.to_owned(), module),
            };
            for text in [
                format!("{whole}.py"),
                format!("{whole}/__main__.py"),
                package.to_owned(),
            ] {
                named.add(&self.of_text(root.join(text).as_str()));
            }
        }
    }
}

/// Returns what may be a path in a word: itself, its parts, and those without a leading `-X`.
fn parts(word: &str) -> BTreeSet<&str> {
    let is_separator = |c: char| c.is_whitespace() || SEPARATORS.contains(c);
    let value = word.split_once('=').map(|(_, value)| value);
    let pieces = std::iter::once(word)
        .chain(value)
        .chain(word.split(is_separator));
    let texts = pieces.flat_map(|piece| std::iter::once(piece).chain(after_option(piece)));
    texts
        .filter(|text| !text.is_empty() && !step::is_marked(text))
        .collect()
}

/// Returns what follows the letter of an option, as in `-fregs.yaml`.
fn after_option(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('-')?;
    let mut chars = rest.chars();
    chars.next().filter(char::is_ascii_alphanumeric)?;
    Some(chars.as_str())
}

/// Returns the names after `-m`, also if other letters are before it or the name follows at once.
fn modules(words: &[String]) -> BTreeSet<&str> {
    let is_option = |word: &str| {
        let letters = word.strip_prefix('-').and_then(|it| it.strip_suffix('m'));
        letters.is_some_and(|it| it.chars().all(|c| c.is_ascii_alphabetic()))
    };
    let mut found = BTreeSet::new();
    for words in words.windows(2) {
        if is_option(&words[0]) {
            found.insert(words[1].as_str());
        }
    }
    found.extend(words.iter().filter_map(|word| word.strip_prefix("-m")));
    let is_part =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    found.retain(|name| name.split('.').all(is_part));
    found
}
