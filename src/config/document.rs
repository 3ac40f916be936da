//! `runner.toml` as spanned values, and the collection of every problem found in it.
//!
//! Each file of a session has its own document and its own problems.
//! Nothing here stops at the first problem: a reader that finds one records it and returns `None`.
//! What a syntax error has damaged is read silently, so that one mistake is reported once.

use crate::config::keys;
use crate::config::keys::Table;
use crate::config::problems::FoundProblem;
use crate::config::suggest::closest;
use crate::config::suggest::split_words;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Severity;
use crate::diagnostic::Snippet;
use crate::model::step;
use crate::sim::registry::Registry;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::cell::Cell;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

/// The longest limit in seconds, about 31 years; longer ones overflow the arithmetic of clocks.
const SECONDS_MAX: f64 = 1e9;

/// The shortest limit in seconds.
const SECONDS_MIN: f64 = 0.001;

/// A text file that problems refer to.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The path, as the user would name it.
    pub(super) shown: Utf8PathBuf,
    /// The whole text.
    pub(super) text: Arc<str>,
    line_starts: Arc<[usize]>,
}

impl Document {
    pub(super) fn new(shown: &Utf8Path, text: &str) -> Self {
        let after_feeds = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            shown: shown.to_owned(),
            text: Arc::from(text),
            line_starts: std::iter::once(0).chain(after_feeds).collect(),
        }
    }

    /// Returns the line of a byte offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Returns how many lines there are.
    pub(super) fn lines(&self) -> usize {
        self.line_starts.len()
    }

    /// Says whether a line looks like a `[header]`.
    pub(super) fn is_header(&self, line: usize) -> bool {
        self.text[self.line_range(line)]
            .trim_start()
            .starts_with('[')
    }

    /// Returns the byte range of a line, without its line ending.
    pub(super) fn line_range(&self, line: usize) -> Range<usize> {
        let start = self.line_starts[line - 1];
        start..start + self.line_text(start).len()
    }

    /// Returns `FILE:LINE` of a byte offset.
    pub(super) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.shown, self.line(offset))
    }

    /// Returns the text of the line that holds a byte offset.
    pub(super) fn line_text(&self, offset: usize) -> &str {
        let start = self.line_starts[self.line(offset) - 1];
        self.text[start..].lines().next().unwrap_or_default()
    }

    pub(super) fn snippet(&self, range: &Range<usize>, label: impl Into<String>) -> Snippet {
        Snippet {
            path: self.shown.clone(),
            text: Arc::clone(&self.text),
            first_line: 1,
            range: range.clone(),
            label: label.into(),
        }
    }
}

/// Joins the name of a build, or part of one, to its prefix.
pub(super) fn join_name(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        return name.to_owned();
    }
    format!("{prefix}/{name}")
}

/// Result of a check that does not know which position in the document it examines.
pub(super) type Unplaced<T> = Result<T, Box<Diagnostic>>;

/// A value and its position.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) range: Range<usize>,
}

/// What the syntax errors of a document have made unreliable.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// Where the errors are.
    pub(super) errors: Vec<Range<usize>>,
    /// Where an invalid `[header]` makes the rest unreliable: keys after it may belong elsewhere.
    pub(super) doubtful_from: Option<usize>,
}

impl Damage {
    fn touches(&self, range: &Range<usize>) -> bool {
        self.doubtful_from.is_some_and(|from| range.start >= from)
            || self
                .errors
                .iter()
                .any(|error| error.start <= range.end && range.start <= error.end)
    }
}

/// The document being read, and the problems found so far.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) document: Document,
    /// The simulators that may be named.
    pub(super) registry: Registry,
    /// What the names of its builds begin with; empty for the file that a session is started with.
    pub(super) prefix: String,
    damage: Damage,
    lacks_builds: Cell<bool>,
    problems: RefCell<Vec<FoundProblem>>,
}

impl Reading {
    pub(super) fn new(document: Document, damage: Damage, registry: Registry) -> Self {
        Self {
            document,
            registry,
            prefix: String::new(),
            damage,
            lacks_builds: Cell::new(false),
            problems: RefCell::default(),
        }
    }

    /// Returns a name or pattern for builds of this file as the whole session knows it.
    pub(super) fn full_name(&self, name: &str) -> String {
        join_name(&self.prefix, name)
    }

    /// Says whether the whole document could be read, so that what is absent really is absent.
    pub(super) fn is_whole(&self) -> bool {
        self.damage.errors.is_empty()
    }

    /// Notes that builds are absent that should be there, such as those of a file that could not be
    /// included.
    pub(super) fn note_absent_builds(&self) {
        self.lacks_builds.set(true);
    }

    /// Says whether [`Self::note_absent_builds`] was called.
    pub(super) fn lacks_builds(&self) -> bool {
        self.lacks_builds.get()
    }

    /// Records a problem at a position in the document.
    pub(super) fn at(&self, range: &Range<usize>, label: impl Into<String>, problem: Diagnostic) {
        let problem = problem.at(self.document.snippet(range, label));
        self.elsewhere(range.start, problem);
    }

    /// Records a problem that has its own position; `order` is the offset it is sorted by.
    pub(super) fn elsewhere(&self, order: usize, problem: Diagnostic) {
        self.record(order, None, problem);
    }

    /// Records a problem that has its own position and matters only if this build is needed.
    pub(super) fn in_build(&self, build: &str, order: usize, problem: Diagnostic) {
        self.record(order, Some(build.to_owned()), problem);
    }

    /// Records a problem, in which directories of steps are spelt as in `runner.toml`.
    fn record(&self, order: usize, build: Option<String>, mut problem: Diagnostic) {
        let texts = [&mut problem.message].into_iter();
        for text in texts.chain(&mut problem.facts).chain(&mut problem.help) {
            if step::is_marked(text) {
                *text = step::shown(text);
            }
        }
        self.problems.borrow_mut().push(FoundProblem {
            order,
            build,
            problem,
        });
    }

    /// Says whether an error was recorded so far.
    pub(super) fn has_errors(&self) -> bool {
        let problems = self.problems.borrow();
        problems
            .iter()
            .any(|it| it.problem.severity == Severity::Error)
    }

    /// Returns how many problems were recorded so far.
    pub(super) fn problem_count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// Returns the problems in document order.
    pub(super) fn into_problems(self) -> Vec<FoundProblem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|found| found.order);
        problems
    }
}

/// One table of the document, whose unknown keys are already reported.
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    pub(super) reading: &'a Reading,
    /// How the user writes its header: `[build.fifo]`.
    pub(super) title: String,
    /// Its header, to point at when a key is missing.
    pub(super) range: Range<usize>,
    table: &'a DeTable<'a>,
    /// The keys that unknown ones are probably meant for.
    meant: Vec<String>,
}

impl<'a> Section<'a> {
    /// Opens a table and reports the keys it should not have.
    pub(super) fn open(
        reading: &'a Reading,
        kind: Table,
        title: impl Into<String>,
        range: Range<usize>,
        table: &'a DeTable<'a>,
    ) -> Self {
        let mut section = Self {
            reading,
            title: title.into(),
            range,
            table,
            meant: Vec::new(),
        };
        let simulators = reading.registry.names();
        let keys = kind.keys(&simulators);
        for key in table.keys() {
            let is_known = keys.contains(&&**key.get_ref());
            if !is_known && !reading.damage.touches(&key.span()) {
                let problem = section.unknown_key(kind, key.get_ref());
                reading.at(&key.span(), "", problem);
            }
        }
        section
    }

    fn unknown_key(&mut self, kind: Table, key: &str) -> Diagnostic {
        let place = if kind == Table::Top {
            "at the top level"
        } else {
            &format!("in `{}`", self.title)
        };
        let problem = Diagnostic::error(
            Code::ConfigUnknownKey,
            format!("unknown key `{key}` {place}"),
        );
        let simulators = self.reading.registry.names();
        let known_keys = kind.keys(&simulators);
        let alias = keys::known_as(key).filter(|known| known_keys.contains(known));
        let home = keys::home_of(key, &simulators).filter(|_| alias.is_none());
        if let Some(home) = home {
            return problem.help(format!("`{key}` belongs in {home}"));
        }
        match alias.or_else(|| closest(key, known_keys.iter().copied())) {
            Some(known) => {
                self.meant.push(known.to_owned());
                problem.help(format!("did you mean `{known}`?"))
            }
            None => problem.help(format!("known keys: {}", keys::in_words(&known_keys))),
        }
    }

    /// Returns the value of a key; `None` where it is absent or damaged.
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        let (key, value) = self.table.get_key_value(key)?;
        let value = Value::new(self.reading, key.get_ref(), value);
        value.is_sound(&key.span()).then_some(value)
    }

    /// Returns the value of a required key. That it is missing is not reported if a misspelt key is
    /// probably it.
    pub(super) fn require(&self, key: &str) -> Option<Value<'a>> {
        let is_misspelt = self.meant.iter().any(|meant| meant == key);
        if !self.table.contains_key(key) && self.reading.is_whole() && !is_misspelt {
            let problem = Diagnostic::error(
                Code::ConfigMissingKey,
                format!("`{}` is missing `{key}`", self.title),
            );
            self.reading
                .at(&self.range, format!("needs `{key}`"), problem);
        }
        self.get(key)
    }

    /// Returns the strings of a key that takes a list, empty where the key is absent.
    pub(super) fn texts(&self, key: &str) -> Vec<Located<String>> {
        self.get(key).map(|value| value.texts()).unwrap_or_default()
    }

    /// Returns a boolean.
    pub(super) fn switch(&self, key: &str, default: bool) -> bool {
        self.get(key)
            .and_then(|value| value.switch())
            .unwrap_or(default)
    }

    /// Returns a time limit.
    pub(super) fn seconds(&self, key: &str) -> Option<Duration> {
        self.get(key)?.seconds()
    }
}

/// One value of the document.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    pub(super) reading: &'a Reading,
    /// The key it belongs to, for messages.
    pub(super) name: String,
    pub(super) content: &'a DeValue<'a>,
    pub(super) range: Range<usize>,
}

impl<'a> Value<'a> {
    fn new(reading: &'a Reading, name: &str, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self {
            reading,
            name: name.to_owned(),
            content: value.get_ref(),
            range: value.span(),
        }
    }

    /// Says whether no syntax error has touched the value, whose key stands at `key`.
    fn is_sound(&self, key: &Range<usize>) -> bool {
        // A table that was opened by a header spans only that header, so its contents are
        // judged key by key.
        let end = if self.content.is_table() {
            key.end
        } else {
            self.range.end.max(key.end)
        };
        !self.reading.damage.touches(&(key.start..end))
    }

    /// Records that the value does not have the type that the key takes.
    pub(super) fn wrong_type(&self, wanted: &str) {
        self.reading.at(
            &self.range,
            self.type_words(),
            self.wrong_type_problem(wanted),
        );
    }

    /// Returns the problem that [`Self::wrong_type`] records, for a help line to be added.
    pub(super) fn wrong_type_problem(&self, wanted: &str) -> Diagnostic {
        Diagnostic::error(
            Code::ConfigWrongType,
            format!("`{}` takes {wanted}, not {}", self.name, self.type_words()),
        )
    }

    /// Names the value's type with its article.
    pub(super) fn type_words(&self) -> &'static str {
        match self.content {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }

    /// Records that the value is invalid.
    pub(super) fn bad(&self, message: impl Into<String>, label: impl Into<String>) {
        let problem = Diagnostic::error(Code::ConfigBadValue, message);
        self.reading.at(&self.range, label, problem);
    }

    /// Reads a string.
    pub(super) fn text(&self) -> Option<Located<String>> {
        let Some(text) = self.content.as_str() else {
            self.wrong_type("a string");
            return None;
        };
        self.checked(text)
    }

    /// Reads a string that is not empty.
    pub(super) fn name_text(&self) -> Option<Located<String>> {
        let text = self.text()?;
        if text.value.trim().is_empty() {
            self.bad(format!("`{}` is empty", self.name), "");
            return None;
        }
        Some(text)
    }

    fn checked(&self, text: &str) -> Option<Located<String>> {
        if text.contains('\0') {
            // Neither an argument nor an environment variable can contain it (execve(2)).
            self.bad(format!("`{}` contains a NUL character", self.name), "");
            return None;
        }
        Some(Located {
            value: text.to_owned(),
            range: self.range.clone(),
        })
    }

    /// Reads a list of strings.
    pub(super) fn texts(&self) -> Vec<Located<String>> {
        if self.content.as_array().is_none() {
            let problem = self.wrong_type_problem("a list of strings");
            let problem = match self.content.as_str() {
                Some(text) if self.name.ends_with("_args") && text.contains(' ') => {
                    split_words(text)
                        .into_iter()
                        .fold(problem, Diagnostic::help)
                }
                Some(text) if !text.contains(['"', '\\']) => {
                    problem.help(format!("write `[\"{text}\"]`"))
                }
                _ => problem,
            };
            self.reading.at(&self.range, self.type_words(), problem);
            return Vec::new();
        }
        self.items_of("a list of strings")
    }

    /// Reads a string or a list of at least one; none of them may be empty.
    pub(super) fn text_or_texts(&self) -> Vec<Located<String>> {
        let wanted = "a string or a list of strings";
        match self.content {
            DeValue::String(_) => self.name_text().into_iter().collect(),
            DeValue::Array(items) if items.is_empty() => {
                self.bad(format!("`{}` is an empty list", self.name), "names nothing");
                Vec::new()
            }
            DeValue::Array(_) => {
                let items = self.items(wanted);
                items.iter().filter_map(Value::name_text).collect()
            }
            _ => {
                self.wrong_type(wanted);
                Vec::new()
            }
        }
    }

    fn items_of(&self, wanted: &str) -> Vec<Located<String>> {
        self.items(wanted)
            .iter()
            .filter_map(|item| {
                if let Some(text) = item.content.as_str() {
                    return item.checked(text);
                }
                item.wrong_type(wanted);
                None
            })
            .collect()
    }

    /// Reads a list of values of any type.
    pub(super) fn items(&self, wanted: &str) -> Vec<Self> {
        let Some(items) = self.content.as_array() else {
            self.wrong_type(wanted);
            return Vec::new();
        };
        items
            .iter()
            .map(|item| Self::new(self.reading, &self.name, item))
            .collect()
    }

    /// Reads a table whose keys the user chooses, in document order.
    pub(super) fn entries(&self, wanted: &str) -> Vec<(Located<String>, Self)> {
        let Some(table) = self.content.as_table() else {
            self.wrong_type(wanted);
            return Vec::new();
        };
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let name = format!("{}.{}", self.name, key.get_ref());
                let key = Located {
                    value: key.get_ref().to_string(),
                    range: key.span(),
                };
                (key, Self::new(self.reading, &name, value))
            })
            .collect();
        entries.retain(|(key, value)| value.is_sound(&key.range));
        entries.sort_by_key(|(key, _)| key.range.start);
        entries
    }

    /// Reads `true` or `false`.
    pub(super) fn switch(&self) -> Option<bool> {
        let answer = self.content.as_bool();
        if answer.is_none() {
            self.wrong_type("`true` or `false`");
        }
        answer
    }

    /// Reads an integer within a range.
    pub(super) fn integer(&self, least: i64, most: i64) -> Option<i64> {
        let Some(number) = self.content.as_integer() else {
            self.wrong_type("an integer");
            return None;
        };
        let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let fitting = number.filter(|number| (least..=most).contains(number));
        if fitting.is_none() {
            self.bad(
                format!("`{}` takes an integer from {least} to {most}", self.name),
                "",
            );
        }
        fitting
    }

    /// Reads seconds, which may have a fraction.
    pub(super) fn seconds(&self) -> Option<Duration> {
        let text = match self.content {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => {
                self.wrong_type("a number of seconds");
                return None;
            }
        };
        let seconds = text
            .parse::<f64>()
            .ok()
            .filter(|s| (SECONDS_MIN..=SECONDS_MAX).contains(s));
        let Some(seconds) = seconds else {
            self.bad(
                format!(
                    "`{}` takes seconds, from {SECONDS_MIN} to {SECONDS_MAX}",
                    self.name
                ),
                "",
            );
            return None;
        };
        Some(Duration::from_secs_f64(seconds))
    }

    /// Reads a table as a section of a known kind.
    pub(super) fn section(&self, kind: Table, title: &str) -> Option<Section<'a>> {
        let Some(table) = self.content.as_table() else {
            self.wrong_type("a table");
            return None;
        };
        Some(Section::open(
            self.reading,
            kind,
            title,
            self.range.clone(),
            table,
        ))
    }
}
