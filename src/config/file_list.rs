//! `.f` file lists, read the way all simulators read them, or rejected.
//!
//! A path in a list that was named with `-f` (or plainly in `sources`) is relative to the project;
//! one in a list that was named with `-F` is relative to that list. A nested list's own name
//! follows the rule of the list it is in, as simulators do. What they read differently,
//! such as quotes within a define, is rejected with its line.

use crate::config::document::Document;
use crate::config::document::Unplaced;
use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::config::files::join;
use crate::config::path_set::PathSet;
use crate::config::timescale;
use crate::config::vendor_options::Argument;
use crate::config::vendor_options::Meaning;
use crate::config::vendor_options::is_of_design;
use crate::config::vendor_options::meaning;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;
use crate::model::build::HdlValue;
use crate::model::build::Language;
use crate::model::build::SimulatorName;
use crate::model::build::Timescale;
use crate::sim::registry::Registry;
use crate::sim::simulator::Library;
use crate::sim::simulator::Simulator;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::Range;

/// How deeply lists may nest.
const DEPTH_MAX: usize = 64;

/// How many lists one build may have; a cycle through `..` cannot be recognised by names.
const LISTS_MAX: usize = 10_000;

/// What `sources` contains once its lists are expanded.
#[derive(Debug, Default)]
pub(super) struct SourceSet {
    /// Source files in order; each occurs once, at its first place.
    pub(super) sources: PathSet,
    /// Include directories of the lists.
    pub(super) includes: PathSet,
    /// Macros of the lists, by name; the last definition counts.
    pub(super) macros: BTreeMap<String, HdlValue>,
    libraries: Vec<Library>,
    /// The timescale of the lists, for sources that set none.
    pub(super) timescale: Option<Timescale>,
    /// Whether the build has its own, so that those of lists do not matter.
    pub(super) has_timescale: bool,
    /// The simulators of the build, with what they compile.
    languages: Vec<(SimulatorName, &'static [Language])>,
    /// Lists read so far with the folder their paths start from: a second reading adds nothing.
    read: BTreeSet<(Utf8PathBuf, Utf8PathBuf)>,
}

impl SourceSet {
    /// Creates an empty set for a build with these simulators.
    pub(super) fn for_simulators<'a>(
        names: impl Iterator<Item = &'a SimulatorName>,
        registry: &Registry,
    ) -> Self {
        let languages = |name: &SimulatorName| {
            let simulator = registry.get(name.as_str())?;
            Some((name.clone(), simulator.languages()))
        };
        Self {
            languages: names.filter_map(languages).collect(),
            ..Self::default()
        }
    }

    /// Adds a source file at the end, unless it is there already.
    ///
    /// # Errors
    /// A simulator of the build does not compile its language. Some accept such a file and silently
    /// find nothing in it.
    pub(super) fn add_source(&mut self, path: Utf8PathBuf) -> Unplaced<()> {
        let language = Language::of(&path);
        let unfit = self
            .languages
            .iter()
            .filter(|(_, known)| !known.contains(&language))
            .map(|(name, _)| format!("`{name}`"));
        let unfit: Vec<String> = unfit.collect();
        if !unfit.is_empty() {
            let names = unfit.join(" or ");
            let words = format!("`{path}` is {language}, which cannot be compiled by {names}");
            let problem = Diagnostic::error(Code::ConfigBadValue, words);
            return Err(match language {
                Language::Vhdl => problem
                    .help("translate it to Verilog, for example with `ghdl synth --out=verilog`"),
                Language::Verilog => problem,
            }
            .into());
        }
        self.sources.add(path);
        Ok(())
    }

    /// Returns what the lists add to a simulator's compiler arguments.
    pub(super) fn build_args(&self, simulator: &dyn Simulator) -> Vec<String> {
        self.libraries
            .iter()
            .flat_map(|library| simulator.args_for_library(library))
            .collect()
    }
}

/// Says whether a path names a file list.
pub(super) fn is_file_list(path: &Utf8Path) -> bool {
    matches!(path.extension(), Some("f" | "flist" | "vc"))
}

/// Expands lists into a [`SourceSet`], collecting their problems.
#[derive(Debug)]
pub(super) struct ListReader<'a> {
    files: &'a Files<'a>,
    /// The folder of `runner.toml` as displayed, so that lists are displayed the same way.
    shown_dir: &'a Utf8Path,
    /// The problems, each with its position in a list.
    pub(super) problems: Vec<Diagnostic>,
    stack: Vec<Utf8PathBuf>,
}

impl<'a> ListReader<'a> {
    pub(super) fn new(files: &'a Files<'a>, shown_dir: &'a Utf8Path) -> Self {
        Self {
            files,
            shown_dir,
            problems: Vec::new(),
            stack: Vec::new(),
        }
    }

    /// Reads a list whose paths start from `base`.
    ///
    /// # Errors
    /// The list itself cannot be read; without a position, because the caller adds it.
    pub(super) fn read(
        &mut self,
        path: &Utf8Path,
        base: &Utf8Path,
        into: &mut SourceSet,
    ) -> Unplaced<()> {
        let refuse = |message: String| Box::new(Diagnostic::error(Code::ConfigFileList, message));
        if self.stack.iter().any(|open| open == path) {
            let chain: Vec<&str> = self.stack.iter().map(|open| open.as_str()).collect();
            return Err(refuse(format!("file list `{path}` includes itself"))
                .fact(format!("included through {}", chain.join(" → ")))
                .into());
        }
        if self.stack.len() >= DEPTH_MAX {
            return Err(refuse(format!("file lists nest deeper than {DEPTH_MAX}")));
        }
        if into.read.len() >= LISTS_MAX {
            return Err(refuse(format!(
                "there are more than {LISTS_MAX} file lists"
            )));
        }
        if !into.read.insert((path.to_owned(), base.to_owned())) {
            return Ok(());
        }
        let text = fs::read(path)
            .map_err(|error| refuse(error.message))
            .and_then(|bytes| {
                String::from_utf8(bytes)
                    .map_err(|_| refuse(format!("file list `{path}` is not UTF-8 text")))
            })?;
        let shown = path.strip_prefix(self.files.project_dir).map_or_else(
            |_| path.to_owned(),
            |relative| self.shown_dir.join(relative),
        );
        let document = Document::new(&shown, &text);
        self.stack.push(path.to_owned());
        self.follow(&document, path, base, into);
        self.stack.pop();
        Ok(())
    }

    fn follow(
        &mut self,
        document: &Document,
        path: &Utf8Path,
        base: &Utf8Path,
        into: &mut SourceSet,
    ) {
        let (tokens, unclosed) = tokens(&document.text);
        if let Some(range) = unclosed {
            let problem =
                Diagnostic::error(Code::ConfigFileList, "a quote or comment is never closed");
            self.problems
                .push(problem.at(document.snippet(&range, "opened here")));
        }
        let mut rest = tokens.into_iter().peekable();
        while let Some(token) = rest.next() {
            let list = List { path, base };
            if let Err(problem) = self.take(&list, &token, &mut rest, into) {
                self.problems
                    .push(problem.at(document.snippet(&token.range, "")));
            }
        }
    }

    /// Acts on one token, and on its argument where it takes one.
    fn take(
        &mut self,
        list: &List<'_>,
        token: &Token,
        rest: &mut Peekable<impl Iterator<Item = Token>>,
        into: &mut SourceSet,
    ) -> Unplaced<()> {
        let word = token.text.as_str();
        if token.quoted || !word.starts_with(['-', '+']) {
            return self.take_source(list, word, into);
        }
        let mut argument = || {
            let next = rest.next().map(|token| token.text);
            next.ok_or_else(|| missing_argument(word))
        };
        match word {
            "-f" | "-F" => {
                let name = self.files.expand(&argument()?).map_err(recode)?;
                let nested = self
                    .files
                    .lookup(list.base, &name, PathKind::File)
                    .map_err(recode)?;
                let base = if word == "-F" {
                    folder_of(&nested)
                } else {
                    self.files.project_dir
                };
                return self.read(&nested, base, into);
            }
            "-I" => return self.take_include(list, &argument()?, into),
            "-D" => return take_macro(&self.expanded(&argument()?)?, into),
            "-v" => {
                let path = self.found(list, &argument()?, PathKind::File)?;
                into.libraries.push(Library::File(path));
                return Ok(());
            }
            "-y" => {
                let path = self.found(list, &argument()?, PathKind::Dir)?;
                into.libraries.push(Library::Dir(path));
                return Ok(());
            }
            _ => {}
        }
        if let Some(dir) = word.strip_prefix("-I") {
            self.take_include(list, dir, into)
        } else if let Some(dirs) = word.strip_prefix("+incdir+") {
            words_of(dirs).try_for_each(|dir| self.take_include(list, dir, into))
        } else if let Some(define) = word.strip_prefix("-D") {
            take_macro(&self.expanded(define)?, into)
        } else if let Some(defines) = word.strip_prefix("+define+") {
            words_of(&self.expanded(defines)?).try_for_each(|define| take_macro(define, into))
        } else if let Some(suffixes) = word.strip_prefix("+libext+") {
            into.libraries
                .extend(words_of(suffixes).map(|word| Library::Suffix(word.to_owned())));
            Ok(())
        } else {
            self.take_vendor_option(list, word, rest, into)
        }
    }

    /// Acts on an option that other tools have, or refuses it.
    fn take_vendor_option(
        &mut self,
        list: &List<'_>,
        word: &str,
        rest: &mut Peekable<impl Iterator<Item = Token>>,
        into: &mut SourceSet,
    ) -> Unplaced<()> {
        let next = rest.peek().map(|token| token.text.clone());
        let Some(known) = meaning(word, next.as_deref()) else {
            return Err(unknown_option(word));
        };
        let wanted = match known {
            Meaning::Skipped { argument, .. } => argument,
            Meaning::Timescale(None) | Meaning::IncludeDir | Meaning::Define => Argument::Needed,
            Meaning::Timescale(Some(_)) => Argument::None,
        };
        let is_skipped = matches!(known, Meaning::Skipped { .. });
        // A source or macro that is taken for an argument would be missing from the design.
        let is_argument = |next: &Token| match wanted {
            Argument::None => false,
            Argument::Needed => !is_skipped || !may_be_of_design(word, &next.text),
            Argument::Optional => {
                let is_file = |name: String| fs::exists(&join(list.base, &name));
                !may_be_of_design(word, &next.text) && !self.expanded(&next.text).is_ok_and(is_file)
            }
        };
        let argument = rest.next_if(is_argument).map(|token| token.text);
        if wanted == Argument::Needed && argument.is_none() {
            let problem = missing_argument(word);
            return Err(match &next {
                Some(next) => {
                    let fact = format!("`{next}` follows, which belongs to the design");
                    problem.fact(fact).into()
                }
                None => problem,
            });
        }
        let text = argument.as_deref().unwrap_or_default();
        if self.files.strict_lists {
            return Err(refused_by_setting(word, known, text));
        }
        match known {
            Meaning::Skipped { kind, .. } => Err(skipped(kind, argument.as_deref())),
            Meaning::Timescale(value) => take_timescale(value.unwrap_or(text), into),
            Meaning::IncludeDir => self.take_include(list, text, into),
            Meaning::Define => take_macro(&self.expanded(text)?, into),
        }
    }

    fn take_source(&mut self, list: &List<'_>, word: &str, into: &mut SourceSet) -> Unplaced<()> {
        let path = self.found(list, word, PathKind::File).map_err(|problem| {
            let sibling = join(folder_of(list.path), word);
            if problem.code == Code::ConfigMissingFile && fs::exists(&sibling) {
                let way = "name the list with `-F`, or write its paths relative to the folder of `runner.toml`";
                return problem.fact(format!("`{sibling}` does")).help(way).into();
            }
            problem
        })?;
        into.add_source(path)
    }

    fn take_include(&mut self, list: &List<'_>, dir: &str, into: &mut SourceSet) -> Unplaced<()> {
        let (dirs, warning) = self.files.find_includes(list.base, &self.expanded(dir)?)?;
        into.includes.extend(dirs);
        match warning {
            Some(warning) => Err(warning.into()),
            None => Ok(()),
        }
    }

    fn found(&self, list: &List<'_>, word: &str, wanted: PathKind) -> Unplaced<Utf8PathBuf> {
        self.files.lookup(list.base, &self.expanded(word)?, wanted)
    }

    fn expanded(&self, word: &str) -> Unplaced<String> {
        if word.contains("{OUT}") || word.contains("{OUT:") {
            let message = format!("`{word}` is in a file list, which is read before steps run");
            let problem = Diagnostic::error(Code::ConfigFileList, message);
            return Err(problem
                .help("name it in `sources` or `includes` of the build")
                .into());
        }
        self.files.expand(word).map_err(recode)
    }
}

/// The list that is being read.
struct List<'a> {
    path: &'a Utf8Path,
    base: &'a Utf8Path,
}

/// Turns a problem into one with the code for file lists.
fn recode(mut problem: Box<Diagnostic>) -> Box<Diagnostic> {
    problem.code = Code::ConfigFileList;
    problem
}

pub(super) fn folder_of(path: &Utf8Path) -> &Utf8Path {
    path.parent().unwrap_or(path)
}

/// Says whether a word is more likely part of the design than the argument of an option.
fn may_be_of_design(option: &str, word: &str) -> bool {
    is_of_design(option, word) || is_file_list(Utf8Path::new(word))
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split('+').filter(|word| !word.is_empty())
}

/// Returns the warning that an option has no effect.
fn skipped(kind: &str, argument: Option<&str>) -> Box<Diagnostic> {
    let message = format!("the option `{kind}` in a file list is skipped");
    let mut warning = Diagnostic::warning(Code::ConfigFileList, message);
    if let Some(argument) = argument {
        warning = warning.fact(format!("its argument is `{argument}`"));
    }
    warning
        .fact("it is one of another tool and does not change the design")
        .help("`strict_file_lists = true` makes it an error")
        .into()
}

/// Returns the error that an option would be translated or skipped by default.
fn refused_by_setting(word: &str, known: Meaning<'_>, argument: &str) -> Box<Diagnostic> {
    let message = format!("the option `{word}` in a file list is one of another tool");
    let help = match known {
        Meaning::Skipped { .. } if argument.is_empty() => "remove it".to_owned(),
        Meaning::Skipped { .. } => format!("remove it with its argument, `{argument}`"),
        Meaning::Timescale(value) => {
            let value = value.unwrap_or(argument);
            format!("write `timescale = \"{value}\"` in the `[build.NAME]`")
        }
        Meaning::IncludeDir => format!("write `+incdir+{argument}`"),
        Meaning::Define => format!("write `+define+{argument}`"),
    };
    Diagnostic::error(Code::ConfigFileList, message)
        .fact("`strict_file_lists = true` refuses it")
        .help(help)
        .into()
}

fn unknown_option(word: &str) -> Box<Diagnostic> {
    Diagnostic::error(
        Code::ConfigFileList,
        format!("unknown option `{word}` in a file list"),
    )
    .help("remove it here, and give it in `build_args` if the simulator supports it")
    .into()
}

fn missing_argument(word: &str) -> Box<Diagnostic> {
    let message = format!("`{word}` is missing its argument");
    Box::new(Diagnostic::error(Code::ConfigFileList, message))
}

fn take_timescale(text: &str, into: &mut SourceSet) -> Unplaced<()> {
    let refuse = |why| Box::new(Diagnostic::error(Code::ConfigFileList, why));
    let timescale = timescale::parse(text).map_err(refuse)?;
    let other = into.timescale.get_or_insert_with(|| timescale.clone());
    if *other == timescale || into.has_timescale {
        return Ok(());
    }
    let message = format!("the timescale `{timescale}` contradicts `{other}` of another list");
    Err(refuse(message)
        .help("choose one: `timescale` of the build takes precedence over those of lists")
        .into())
}

fn take_macro(text: &str, into: &mut SourceSet) -> Unplaced<()> {
    let refuse = |why: String| {
        Err(Diagnostic::error(Code::ConfigFileList, why)
            .help("give it in `defines` of the build")
            .into())
    };
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, HdlValue::Text(value.to_owned())),
        None => (text, HdlValue::Flag),
    };
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_$".contains(c))
    {
        return refuse(format!("`{text}` defines no macro"));
    }
    if text.contains(['"', '\\']) {
        return refuse(format!("simulators disagree about the quotes in `{text}`"));
    }
    into.macros.insert(name.to_owned(), value);
    Ok(())
}

/// One word of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    /// Whether it was quoted, so that it is a name whatever it starts with.
    quoted: bool,
    range: Range<usize>,
}

/// Splits a list into words, without comments; the second part is where something is not closed.
fn tokens(text: &str) -> (Vec<Token>, Option<Range<usize>>) {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let space = rest.len() - rest.trim_start().len();
        if space > 0 {
            at += space;
        } else if rest.starts_with('#') || rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let Some(end) = comment.find("*/") else {
                return (tokens, Some(at..at + 2));
            };
            at += end + 4;
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let line = quoted.lines().next().unwrap_or_default();
            let Some(end) = line.find('"') else {
                return (tokens, Some(at..at + 1));
            };
            let range = at..at + end + 2;
            at = range.end;
            tokens.push(Token {
                text: quoted[..end].to_owned(),
                quoted: true,
                range,
            });
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            // A backslash at the end of a line continues it, which makes no difference here.
            if &rest[..end] != "\\" {
                let range = at..at + end;
                tokens.push(Token {
                    text: rest[..end].to_owned(),
                    quoted: false,
                    range,
                });
            }
            at += end;
        }
    }
    (tokens, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text).0.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_quotes_are_understood() {
        let text =
            "a.v // one\n# two\nb.v # three\n/* four\n five */c//d.v \"e f.v\" \\\n-y lib\r\n";
        assert_eq!(words(text), ["a.v", "b.v", "c//d.v", "e f.v", "-y", "lib"]);
    }

    #[test]
    fn what_is_never_closed_is_reported() {
        assert_eq!(tokens("a.v /* b").1, Some(4..6));
        assert_eq!(tokens("\"a.v\nb.v\"").1, Some(0..1));
    }

    proptest! {
        #[test]
        fn any_text_can_be_split(text in "\\PC{0,40}") {
            for token in tokens(&text).0 {
                prop_assert!(text.get(token.range).is_some());
            }
        }
    }
}
