//! A `runner.toml` and the files that it includes, read as one configuration.
//!
//! Every file is read by the same code, with its own folder and its own problems; only checks that
//! concern several files happen afterwards. Files come in the order in which they are named, each
//! before those that it includes.

use crate::config::BuildProblems;
use crate::config::Places;
use crate::config::RunnerConfig;
use crate::config::check;
use crate::config::document::Document;
use crate::config::document::Reading;
use crate::config::document::Unplaced;
use crate::config::file_list::folder_of;
use crate::config::files;
use crate::config::include::Included;
use crate::config::include::identity;
use crate::config::syntax;
use crate::config::top;
use crate::config::top::Content;
use crate::config::top::Inherited;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::sim::registry::Registry;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;

/// One file that has been read.
struct OneFile {
    reading: Reading,
    content: Content,
}

/// Where a file was named, by its real folder and its name.
type KnownFiles = BTreeMap<Utf8PathBuf, String>;

/// Reads files into a list.
struct Reader<'a> {
    current_dir: &'a Utf8Path,
    environment: &'a Environment,
    registry: &'a Registry,
    files: Vec<OneFile>,
    known: KnownFiles,
    /// The files that are being read, from the outermost.
    open: Vec<Utf8PathBuf>,
}

/// Reads and checks a file and those that it includes.
///
/// # Errors
/// Every problem in every file, in the order of the files.
pub(super) fn read(
    path: &Utf8Path,
    current_dir: &Utf8Path,
    environment: &Environment,
    registry: &Registry,
) -> Result<RunnerConfig> {
    let path = files::join(current_dir, path.as_str());
    let mut reader = Reader {
        current_dir,
        environment,
        registry,
        files: Vec::new(),
        known: KnownFiles::new(),
        open: Vec::new(),
    };
    reader
        .read_file(&path, "", None)
        .map_err(|problem| *problem)?;
    let mut files = reader.files;
    for file in &mut files {
        file.name_own_builds();
    }
    check_all(&files);
    merge(files, path)
}

impl Reader<'_> {
    /// Reads a file, then those that it includes.
    ///
    /// # Errors
    /// It cannot be read at all.
    fn read_file(
        &mut self,
        path: &Utf8Path,
        prefix: &str,
        inherited: Option<&Inherited>,
    ) -> Unplaced<()> {
        let shown = path.strip_prefix(self.current_dir).unwrap_or(path);
        let text = read_text(path, shown)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let document = Document::new(shown, text);
        let repaired = syntax::repair(&document);
        let (table, damage, slips) = syntax::parse(&document, &repaired);
        let mut reading = Reading::new(document, damage, self.registry.clone());
        prefix.clone_into(&mut reading.prefix);
        for slip in slips {
            let start = slip.snippet.as_ref().map_or(0, |place| place.range.start);
            reading.elsewhere(start, slip);
        }
        let mut content = top::read(&reading, &table, path, inherited, self.environment);
        let own: Vec<String> = content
            .builds
            .iter()
            .map(|it| it.local_name.clone())
            .collect();
        reject_prefixes(&reading, folder_of(path), &own, &mut content.includes);
        let includes = std::mem::take(&mut content.includes);
        let for_included = Inherited::from(&content, inherited, shown);
        let index = self.files.len();
        self.files.push(OneFile { reading, content });
        let identity = identity(path);
        self.open.push(identity.clone());
        self.known.entry(identity).or_default();
        for include in includes {
            self.read_included(index, &include, &for_included);
        }
        self.open.pop();
        Ok(())
    }

    fn read_included(&mut self, parent: usize, include: &Included, inherited: &Inherited) {
        let reading = &self.files[parent].reading;
        let shown = include.path.strip_prefix(self.current_dir);
        let shown = shown.unwrap_or(&include.path).to_owned();
        let identity = identity(&include.path);
        let place = reading.document.place(include.range.start);
        let problem = if self.open.contains(&identity) {
            Some(
                Diagnostic::error(Code::ConfigInclude, format!("`{shown}` includes itself"))
                    .fact(self.circle(&identity)),
            )
        } else if let Some(first) = self.known.get(&identity) {
            Some(
                Diagnostic::error(Code::ConfigInclude, format!("`{shown}` is included twice"))
                    .fact(format!("first at {first}"))
                    .help("include it in one of the two files only"),
            )
        } else {
            let prefix = reading.full_name(&include.prefix);
            self.known.insert(identity, place);
            self.read_file(&include.path, &prefix, Some(inherited))
                .err()
                .map(|problem| *problem)
        };
        if let Some(problem) = problem {
            let reading = &self.files[parent].reading;
            reading.note_absent_builds();
            reading.at(&include.range, "", problem);
        }
    }

    /// Describes the way from a file to itself.
    fn circle(&self, identity: &Utf8Path) -> String {
        let from = self.open.iter().position(|it| it == identity);
        let shown = |path: &Utf8PathBuf| {
            let below = path.strip_prefix(self.current_dir).unwrap_or(path);
            format!("`{below}`")
        };
        let way = self.open[from.unwrap_or_default()..].iter().map(shown);
        let way: Vec<String> = way.chain([shown(&identity.to_owned())]).collect();
        way.join(" includes ")
    }
}

impl OneFile {
    /// Makes tests that name no build run on the builds of their own file.
    fn name_own_builds(&mut self) {
        let own: Vec<String> = self
            .content
            .builds
            .iter()
            .map(|it| it.name.clone())
            .collect();
        if !self.content.has_includes && self.reading.prefix.is_empty() {
            return;
        }
        for test in &mut self.content.tests {
            let names_none = test.tables.iter().any(|table| table.builds.is_none());
            if names_none && own.is_empty() && self.reading.is_whole() {
                let message = "this `[[test]]` names no build, and its file defines none";
                let problem = Diagnostic::error(Code::ConfigMissingKey, message).help(
                    "name builds of included files with their prefixes: `build = \"fifo/top\"`",
                );
                self.reading.at(&test.range, "needs `build`", problem);
            }
            for table in &mut test.tables {
                table.builds.get_or_insert_with(|| own.clone());
            }
        }
    }

    /// Says whether `other` is this file or included by it.
    fn contains(&self, other: &Self) -> bool {
        let rest = other.reading.prefix.strip_prefix(&self.reading.prefix);
        self.reading.prefix.is_empty()
            || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Reports and removes files whose builds could have the same names as others.
fn reject_prefixes(
    reading: &Reading,
    folder: &Utf8Path,
    own: &[String],
    includes: &mut Vec<Included>,
) {
    let is_below = |name: &str, other: &str| {
        let rest = name.strip_prefix(other);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut accepted: Vec<(String, Utf8PathBuf)> = Vec::new();
    includes.retain(|include| {
        let prefix = &include.prefix;
        let path = &include.path;
        let help = if include.by_pattern {
            let file = path.strip_prefix(folder).unwrap_or(path);
            format!("put `{{ file = \"{file}\", prefix = \"…\" }}` before the pattern")
        } else {
            "give one of them another prefix: `{ file = \"…\", prefix = \"…\" }`".to_owned()
        };
        let build = own.iter().find(|name| is_below(prefix, name));
        let clash = accepted
            .iter()
            .find(|(other, _)| is_below(prefix, other) || is_below(other, prefix));
        let message = if let Some(build) = build {
            format!("the prefix `{prefix}` and build `{build}` of this file have one name")
        } else if let Some((other, other_path)) = clash {
            let message = if other == prefix {
                format!("two files have the prefix `{prefix}`")
            } else {
                let (short, long) = (prefix.min(other), prefix.max(other));
                format!("the prefix `{long}` begins with that of another file, `{short}`")
            };
            let problem = Diagnostic::error(Code::ConfigInclude, message)
                .fact(other_path.to_string())
                .fact(path.to_string());
            reading.at(&include.range, "", problem.help(help));
            reading.note_absent_builds();
            return false;
        } else {
            accepted.push((prefix.clone(), path.clone()));
            return true;
        };
        let problem = Diagnostic::error(Code::ConfigInclude, message).fact(path.to_string());
        reading.at(&include.range, "", problem.help(help));
        reading.note_absent_builds();
        false
    });
}

/// Reports problems that involve several tables, where nothing is missing that would cause them.
fn check_all(files: &[OneFile]) {
    let has_gap = |file: &OneFile| {
        let mut below = files.iter().filter(|it| file.contains(it));
        below.any(|it| !it.reading.is_whole() || it.reading.lacks_builds())
    };
    let builds = files.iter().flat_map(|file| &file.content.builds);
    let tests = files.iter().filter(|file| !has_gap(file));
    let tests = tests.flat_map(|file| file.content.tests.iter().map(|it| (&file.reading, it)));
    check::check(&builds.collect::<Vec<_>>(), &tests.collect::<Vec<_>>());
}

/// Makes one configuration of all files.
fn merge(files: Vec<OneFile>, path: Utf8PathBuf) -> Result<RunnerConfig> {
    let mut places = Places::default();
    let mut problems = Vec::new();
    let mut builds = Vec::new();
    let mut tests = Vec::new();
    let mut session = None;
    for OneFile { reading, content } in files {
        places.add(&reading.prefix, &reading.document);
        problems.extend(reading.into_problems());
        builds.extend(content.builds);
        tests.extend(content.tests.into_iter().flat_map(|test| test.tables));
        session.get_or_insert(content.session);
    }
    let session = session.expect("the first file was read");
    Ok(RunnerConfig {
        project_dir: folder_of(&path).to_owned(),
        path,
        build_dir: session.build_dir,
        jobs: session.jobs,
        session_timeout: session.session_timeout,
        build_timeout: session.build_timeout,
        lock_timeout: session.lock_timeout,
        python: session.python,
        builds,
        tests,
        places,
        build_problems: BuildProblems::new(problems)?,
    })
}

fn read_text(path: &Utf8Path, shown: &Utf8Path) -> Unplaced<String> {
    let unreadable = |why: &str| {
        Diagnostic::error(
            Code::ConfigUnreadable,
            format!("cannot read `{shown}`: {why}"),
        )
    };
    let bytes = match fs::stamp(path).map_err(Diagnostic::from)? {
        None => {
            let message = format!("`{shown}` does not exist");
            return Err(Diagnostic::error(Code::ConfigNotFound, message).into());
        }
        Some(stamp) if stamp.is_dir => return Err(unreadable("it is a directory").into()),
        Some(_) => fs::read(path).map_err(|error| {
            let words = error.message.as_str();
            unreadable(words.rsplit(": ").next().unwrap_or(words))
        })?,
    };
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        unreadable(&format!("line {line} is not UTF-8")).into()
    })
}
