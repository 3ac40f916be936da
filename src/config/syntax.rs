//! Syntax errors of the TOML parser, reduced so that one mistake gives one message.
//!
//! The parser recovers and continues, which finds several mistakes in one pass, but a missing
//! bracket makes it complain about everything that follows. Within one value only the complaints
//! before that point count.

use crate::config::document::Damage;
use crate::config::document::Document;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;

use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;
use toml::de::Error;

/// A complaint from the parser, with a range within the text.
#[derive(Clone)]
struct Complaint {
    message: String,
    range: Range<usize>,
}

/// How often a text is repaired and parsed again; further mistakes are not reported.
const REPAIRS_MAX: usize = 50;

/// A text in which whatever stops the parser is blanked out, at unchanged offsets.
pub(super) struct Repaired {
    text: String,
    complaints: Vec<Complaint>,
    lines_blanked: BTreeSet<usize>,
}

/// Blanks out the lines that have a key and no value, after which the parser gives up.
pub(super) fn repair(document: &Document) -> Repaired {
    let mut bytes = document.text.as_bytes().to_vec();
    let mut complaints = Vec::new();
    let mut lines_blanked = BTreeSet::new();
    for _ in 0..REPAIRS_MAX {
        // Whole lines are replaced by as many spaces, so that the text stays UTF-8.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (_, errors) = DeTable::parse_recoverable(&text);
        let stop = errors
            .iter()
            .find(|error| error.message().starts_with("key with no value"));
        let Some(stop) = stop.map(|error| complaint(&document.text, error)) else {
            return Repaired {
                text,
                complaints,
                lines_blanked,
            };
        };
        let line = document.line(stop.range.start);
        let range = document.line_range(line);
        if bytes[range.clone()].iter().all(|byte| *byte == b' ') {
            break;
        }
        bytes[range].fill(b' ');
        // The lines after a list that was not understood add nothing new.
        if !lines_blanked.contains(&(line - 1)) {
            complaints.push(stop);
        }
        lines_blanked.insert(line);
    }
    Repaired {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        complaints,
        lines_blanked,
    }
}

/// Parses a document; returns what could be read, what became unreliable, and a diagnostic per mistake.
pub(super) fn parse<'a>(
    document: &Document,
    repaired: &'a Repaired,
) -> (Spanned<DeTable<'a>>, Damage, Vec<Diagnostic>) {
    let (table, errors) = DeTable::parse_recoverable(&repaired.text);
    let mut complaints: Vec<Complaint> = errors
        .iter()
        .map(|error| complaint(&document.text, error))
        .chain(repaired.complaints.iter().cloned())
        .collect();
    // The bracket that closes a list whose start is blanked out.
    complaints.retain(|complaint| {
        let above = document.line(complaint.range.start) - 1;
        !complaint.message.starts_with("missing table open")
            || !repaired.lines_blanked.contains(&above)
    });
    complaints.sort_by_key(|complaint| complaint.range.start);
    let mut values = Vec::new();
    collect_values(table.get_ref(), &mut values);
    let damage = Damage {
        errors: complaints
            .iter()
            .map(|complaint| complaint.range.clone())
            .collect(),
        doubtful_from: complaints
            .iter()
            .find(|complaint| breaks_a_header(document, complaint))
            .map(|complaint| complaint.range.start),
    };
    let problems = report(document, &complaints, &values);
    (table, damage, problems)
}

fn complaint(text: &str, error: &Error) -> Complaint {
    let range = error.span().unwrap_or(0..0);
    let end = floor_boundary(text, range.end);
    Complaint {
        message: error.message().to_owned(),
        range: floor_boundary(text, range.start).min(end)..end,
    }
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Collects the ranges of the outermost arrays and inline tables with their keys, in which
/// mistakes cascade.
fn collect_values(table: &DeTable<'_>, ranges: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        // A table opened by a header spans that header, which begins before its key.
        let by_header = value.span().start < key.span().end;
        match value.get_ref() {
            DeValue::Table(inner) if by_header => collect_values(inner, ranges),
            DeValue::Array(items) if by_header => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                tables.for_each(|table| collect_values(table, ranges));
            }
            DeValue::Array(_) | DeValue::Table(_) => {
                ranges.push(key.span().start..value.span().end);
            }
            _ => {}
        }
    }
}

fn breaks_a_header(document: &Document, complaint: &Complaint) -> bool {
    document.is_header(document.line(complaint.range.start)) && complaint.message != "duplicate key"
}

/// Says whether everything after this complaint, within its value, may be a consequence.
fn cascades(complaint: &Complaint) -> bool {
    ["missing", "unclosed", "unexpected", "extra"]
        .iter()
        .any(|word| complaint.message.starts_with(word))
}

fn report(
    document: &Document,
    complaints: &[Complaint],
    values: &[Range<usize>],
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut line_reported = 0;
    let mut silent_until = 0;
    let mut repeated_until = 0;
    for complaint in complaints {
        let line = document.line(complaint.range.start);
        if line == line_reported || complaint.range.start < silent_until {
            continue;
        }
        line_reported = line;
        if complaint.message == "duplicate key" {
            if line < repeated_until {
                continue;
            }
            // The keys of a table that is defined twice are not separate mistakes.
            if document.is_header(line) {
                let mut after = line + 1..=document.lines();
                let header = after.find(|next| document.is_header(*next));
                repeated_until = header.unwrap_or(usize::MAX);
            }
        }
        let home = values.iter().find(|range| {
            range.start <= complaint.range.start && complaint.range.start <= range.end
        });
        let Some(home) = home.filter(|_| cascades(complaint)) else {
            problems.push(diagnose(document, complaint));
            continue;
        };
        silent_until = home.end + 1;
        let unclosed = complaints.iter().any(|other| {
            other.message.starts_with("unclosed")
                && home.contains(&other.range.start.saturating_sub(1))
        });
        problems.push(if unclosed {
            diagnose_unclosed(document, home)
        } else {
            diagnose(document, complaint)
        });
    }
    problems
}

fn diagnose_unclosed(document: &Document, home: &Range<usize>) -> Diagnostic {
    let text = &document.text[home.clone()];
    let first = text.find(['[', '{']).unwrap_or_default();
    let key = text[..first].split('=').next().unwrap_or_default().trim();
    let open = unclosed(text).unwrap_or(first);
    let message = if open == first {
        format!("the value of `{key}` is never closed")
    } else {
        let bracket = &text[open..=open];
        format!("a `{bracket}` in the value of `{key}` is never closed")
    };
    let open = home.start + open;
    Diagnostic::error(Code::ConfigSyntax, message)
        .at(document.snippet(&(open..open + 1), "opened here"))
}

/// Finds the bracket in a value that is closed by one of the other kind, or not at all; of several,
/// the innermost.
fn unclosed(value: &str) -> Option<usize> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut quote = None;
    let mut is_escaped = false;
    let mut is_comment = false;
    for (at, c) in value.char_indices() {
        // No string in it spans lines: TOML's own do not, but for those with three quotes.
        let ends_line = c == '\n';
        match (quote, c) {
            _ if is_comment => is_comment = !ends_line,
            _ if is_escaped => is_escaped = false,
            (Some('"'), '\\') => is_escaped = true,
            (Some(mark), _) if c == mark || ends_line => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') => is_comment = true,
            (None, '[' | '{') => open.push((at, c)),
            (None, ']' | '}') => {
                let expected = if c == ']' { '[' } else { '{' };
                if open.pop_if(|(_, opened)| *opened == expected).is_none() {
                    break;
                }
            }
            _ => {}
        }
    }
    open.last().map(|(at, _)| *at)
}

fn diagnose(document: &Document, complaint: &Complaint) -> Diagnostic {
    let range = &complaint.range;
    let words = document.text[range.clone()].trim_end();
    if complaint.message == "duplicate key" {
        return diagnose_duplicate(document, range, words);
    }
    let word_start = document.text[..range.start]
        .rfind(|c: char| c.is_whitespace() || "=[,{".contains(c))
        .map_or(0, |at| {
            at + document.text[at..].chars().next().map_or(1, char::len_utf8)
        });
    let value_kind = [
        "string values",
        "invalid boolean",
        "invalid float",
        "invalid integer",
    ];
    let about_a_value = value_kind
        .iter()
        .any(|kind| complaint.message.starts_with(kind));
    let word = document.text[word_start..range.end.max(word_start)].trim_end();
    if about_a_value && word.starts_with(|c: char| c.is_alphabetic() || "./~_$*".contains(c)) {
        return diagnose_unquoted(document, &(word_start..word_start + word.len()), word);
    }
    if about_a_value && word.is_empty() || complaint.message.starts_with("key with no value") {
        let problem = Diagnostic::error(Code::ConfigSyntax, "a key has no value");
        return problem.at(document.snippet(range, "expected `= VALUE`"));
    }
    if [
        "invalid basic string, expected `\"`",
        "invalid literal string, expected `'`",
    ]
    .contains(&complaint.message.as_str())
    {
        return Diagnostic::error(Code::ConfigSyntax, "a string is never closed")
            .at(document.snippet(range, "closing quote expected"));
    }
    Diagnostic::error(
        Code::ConfigSyntax,
        format!("cannot read this as TOML: {}", complaint.message),
    )
    .at(document.snippet(range, ""))
}

fn diagnose_unquoted(document: &Document, range: &Range<usize>, word: &str) -> Diagnostic {
    let problem = Diagnostic::error(Code::ConfigSyntax, format!("`{word}` is not a value"));
    let (label, help) = match word.to_lowercase().as_str() {
        "true" | "yes" | "on" => (
            "strings need quotes, switches are `true` or `false`",
            "write `true`".to_owned(),
        ),
        "false" | "no" | "off" => (
            "strings need quotes, switches are `true` or `false`",
            "write `false`".to_owned(),
        ),
        _ => ("strings need quotes", format!("write `\"{word}\"`")),
    };
    problem.at(document.snippet(range, label)).help(help)
}

fn diagnose_duplicate(document: &Document, range: &Range<usize>, key: &str) -> Diagnostic {
    let line = document.line_text(range.start).trim();
    let header = line.split('#').next().unwrap_or_default().trim();
    let build = header
        .strip_prefix("[build.")
        .and_then(|rest| rest.strip_suffix(']'));
    let (code, message) = match build {
        Some(name) if !name.contains('.') => (
            Code::ConfigDuplicateName,
            format!("build `{name}` is defined twice"),
        ),
        _ => (Code::ConfigSyntax, format!("`{key}` is defined twice")),
    };
    let problem = Diagnostic::error(code, message).at(document.snippet(range, "again here"));
    let earlier = document.text[..range.start]
        .match_indices(header)
        .map(|(at, _)| at)
        .find(|at| {
            let same = document
                .line_text(*at)
                .split('#')
                .next()
                .unwrap_or_default()
                .trim()
                == header;
            same && document.line(*at) != document.line(range.start)
        });
    match earlier.filter(|_| header.starts_with('[')) {
        Some(at) => problem.fact(format!("first at {}", document.place(at))),
        None if header == "[test]" => problem.help("write `[[test]]`, with two brackets"),
        None => problem,
    }
}
