//! Reads `include`: the other files of a session, and what the names of their builds begin with.

use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Unplaced;
use crate::config::document::Value;
use crate::config::file_list::folder_of;
use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::config::files::is_pattern;
use crate::config::files::join;
use crate::config::files::non_empty;
use crate::config::files::without_parents;
use crate::config::keys::Table;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::ops::Range;

/// Characters of a prefix besides letters, digits and the `/` between its parts; those of names of
/// builds.
const PREFIX_MARKS: &str = "_-.";

/// A file that another one includes.
#[derive(Clone, Debug)]
pub(super) struct Included {
    /// Absolute; without `..`.
    pub(super) path: Utf8PathBuf,
    /// What the names of its builds begin with, within the file that includes it; not empty.
    pub(super) prefix: String,
    /// The entry that names it.
    pub(super) range: Range<usize>,
    /// Whether the entry is a pattern.
    pub(super) by_pattern: bool,
}

/// Reads `include` of the file `own`: every file once, at its first place.
///
/// A prefix that cannot be used is reported, and its file is left out.
pub(super) fn read(top: &Section<'_>, files: &Files<'_>, own: &Utf8Path) -> Vec<Included> {
    let Some(value) = top.get("include") else {
        return Vec::new();
    };
    if !value.content.is_array() {
        let mut problem = value.wrong_type_problem("a list of files");
        if let Some(text) = value.content.as_str() {
            problem = problem.help(format!("write `include = [\"{text}\"]`"));
        }
        top.reading.at(&value.range, value.type_words(), problem);
        top.reading.note_absent_builds();
        return Vec::new();
    }
    let entries = value.items("a list of files");
    let mut known: BTreeMap<Utf8PathBuf, usize> = BTreeMap::new();
    let mut found: Vec<Included> = Vec::new();
    for entry in &entries {
        let Some((file, prefix)) = read_entry(entry) else {
            top.reading.note_absent_builds();
            continue;
        };
        match find(&file, prefix.as_deref(), files, own) {
            Ok(included) => {
                for included in included {
                    let identity = identity(&included.path);
                    match known.get(&identity) {
                        None => {
                            known.insert(identity, found.len());
                            found.push(included);
                        }
                        // A pattern stands for the rest.
                        Some(_) if is_pattern(&file.value) => {}
                        Some(first) => check_prefix(top.reading, &found[*first], &included),
                    }
                }
            }
            Err(problem) => {
                top.reading.note_absent_builds();
                top.reading.at(&file.range, "", *problem);
            }
        }
    }
    found
}

/// Returns what makes two paths one file: links to a folder lead to the same files, but a link to a
/// file makes another one, since its paths start elsewhere.
pub(super) fn identity(path: &Utf8Path) -> Utf8PathBuf {
    let folder = folder_of(path);
    let real = fs::real_path(folder).unwrap_or_else(|_| folder.to_owned());
    real.join(path.file_name().unwrap_or_default())
}

/// Reports that a file is named again with another prefix, which it would not get.
fn check_prefix(reading: &Reading, first: &Included, again: &Included) {
    if first.prefix == again.prefix {
        return;
    }
    let words = format!(
        "a file is named twice, with the prefixes `{}` and `{}`",
        first.prefix, again.prefix
    );
    let problem = Diagnostic::error(Code::ConfigInclude, words)
        .fact(format!(
            "first at {}",
            reading.document.place(first.range.start)
        ))
        .help("remove one of the two, or put this one before the pattern that also names it");
    reading.at(&again.range, "named again here", problem);
}

/// Reads one entry: a file, or a table that also gives its prefix.
fn read_entry(entry: &Value<'_>) -> Option<(Located<String>, Option<String>)> {
    if entry.content.as_str().is_some() {
        return Some((entry.name_text()?, None));
    }
    if !entry.content.is_table() {
        entry.wrong_type("files: strings, or tables with `file` and `prefix`");
        return None;
    }
    let section = entry.section(Table::Include, "include")?;
    let file = section.require("file").and_then(|value| value.name_text());
    let prefix = section.get("prefix").map(|value| {
        let text = value.name_text()?;
        if text.value.split('/').all(is_part) {
            return Some(text.value);
        }
        let message = format!("`{}` is not a valid prefix", text.value);
        value.bad(
            message,
            "letters, digits, `_`, `-` and `.`, with `/` in between",
        );
        None
    });
    match prefix {
        Some(None) => None,
        Some(prefix) => Some((file?, prefix)),
        None => Some((file?, None)),
    }
}

fn is_part(part: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || PREFIX_MARKS.contains(c);
    !part.is_empty() && part.chars().all(fit) && part.chars().any(|c| c != '.')
}

/// Finds the files of an entry.
fn find(
    file: &Located<String>,
    prefix: Option<&str>,
    files: &Files<'_>,
    own: &Utf8Path,
) -> Unplaced<Vec<Included>> {
    let text = files.expand(non_empty(&file.value)?)?;
    let mut paths = files
        .find(files.project_dir, &text, PathKind::File)
        .map_err(|problem| with_file_name(problem, files, &text, own))?;
    if is_pattern(&text) {
        // `**/runner.toml` matches the file that it is written in.
        paths.retain(|path| path != own);
        if paths.is_empty() {
            let message = format!("`{text}` matches no file but this one");
            return Err(Diagnostic::error(Code::ConfigEmptyGlob, message).into());
        }
    }
    if !is_pattern(&text) && paths.iter().all(|path| identity(path) == identity(own)) {
        let name = own.file_name().unwrap_or_default();
        let message = format!("`{name}` includes itself");
        return Err(Diagnostic::error(Code::ConfigInclude, message).into());
    }
    let mut found = Vec::with_capacity(paths.len());
    for path in paths {
        let prefix = match prefix {
            Some(prefix) => prefix.to_owned(),
            None => prefix_of(&path, &text, files)?,
        };
        found.push(Included {
            path: without_links_to_parents(&path),
            prefix,
            range: file.range.clone(),
            by_pattern: is_pattern(&text),
        });
    }
    Ok(found)
}

/// Adds the name of the file if a folder was named.
fn with_file_name(
    problem: Box<Diagnostic>,
    files: &Files<'_>,
    text: &str,
    own: &Utf8Path,
) -> Box<Diagnostic> {
    let name = own.file_name().unwrap_or_default();
    let file = Utf8Path::new(text).join(name);
    if problem.code == Code::ConfigBadValue && fs::exists(&join(files.project_dir, file.as_str())) {
        return problem.help(format!("write `{file}`")).into();
    }
    problem
}

/// Returns the path without `..`, so that its folder is the one that a session in it would have.
fn without_links_to_parents(path: &Utf8Path) -> Utf8PathBuf {
    let folder = folder_of(path);
    if folder.components().any(|part| part.as_str() == "..")
        && let (Ok(real), Some(name)) = (fs::real_path(folder), path.file_name())
    {
        return real.join(name);
    }
    path.to_owned()
}

/// Returns what distinguishes the file from others that the entry could name: the folders that a
/// pattern leaves open, or else the folder it is in.
fn prefix_of(path: &Utf8Path, text: &str, files: &Files<'_>) -> Unplaced<String> {
    let folder = without_parents(folder_of(path));
    let open = open_part(&folder, text, files.project_dir);
    let last = (folder != files.project_dir).then(|| folder.file_name());
    let Some(name) = open.as_deref().or(last.flatten()) else {
        return Err(Diagnostic::error(
            Code::ConfigInclude,
            format!("`{text}` is in the same folder, so its builds have no prefix"),
        )
        .help(format!(
            "choose one: `{{ file = \"{text}\", prefix = \"NAME\" }}`"
        ))
        .into());
    };
    let fit = |c: char| {
        if c.is_ascii_alphanumeric() || PREFIX_MARKS.contains(c) || c == '/' {
            c
        } else {
            '-'
        }
    };
    Ok(name.chars().map(fit).collect())
}

/// Returns the part of a folder between the fixed beginning and the fixed end of a pattern.
fn open_part(folder: &Utf8Path, pattern: &str, project_dir: &Utf8Path) -> Option<String> {
    let first = pattern.find(['*', '?', '[', '{'])?;
    let last = pattern.rfind(['*', '?', ']', '}'])?;
    let root = pattern[..first].rfind('/').map_or("", |at| &pattern[..at]);
    // After the part that holds the last wildcard: the fixed folders, and the name of the file.
    let fixed = pattern[last..].matches('/').count().checked_sub(1)?;
    let root = without_parents(&join(project_dir, root));
    let below = folder.strip_prefix(root).ok()?;
    let parts: Vec<&str> = below.components().map(|part| part.as_str()).collect();
    let open = parts.get(..parts.len().checked_sub(fixed)?)?;
    (!open.is_empty()).then(|| open.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_that_a_pattern_leaves_open_are_the_prefix() {
        let open = |folder: &str, pattern: &str| {
            open_part(Utf8Path::new(folder), pattern, Utf8Path::new("/p")).unwrap_or_default()
        };
        for (folder, pattern, expected) in [
            ("/p/blocks/fifo", "blocks/*/runner.toml", "fifo"),
            ("/p/blocks/fifo", "./blocks/f*/runner.toml", "fifo"),
            ("/p/blocks/fifo/sim", "blocks/*/sim/runner.toml", "fifo"),
            ("/p/a/x/sim/y/z", "a/*/sim/*/z/runner.toml", "x/sim/y"),
            ("/p/blocks/a/b", "blocks/**/runner.toml", "a/b"),
            ("/p/blocks", "blocks/**/runner.toml", ""),
            ("/p/blocks", "**/runner.toml", "blocks"),
            ("/p/a/x", "{a/x,b}/runner.toml", "a/x"),
            ("/ip/fifo", "../ip/[ef]ifo/runner.toml", "fifo"),
            ("/ip/fifo", "/ip/*/runner.toml", "fifo"),
            ("/p/blocks", "blocks/*.toml", ""),
            ("/p/blocks", "blocks/runner.toml", ""),
        ] {
            assert_eq!(open(folder, pattern), expected, "{folder} {pattern}");
        }
    }
}
