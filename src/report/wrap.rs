//! Lines of limited width, broken and cut between words.
//!
//! Colour sequences take no room. A command in backticks is never broken, so that it can be copied, and
//! neither is other code in backticks that fits into a line.

use crate::report::text;

use std::ops::Range;
use unicode_width::UnicodeWidthChar;

/// A space at which no line ends; it becomes a plain one.
pub(super) const JOINT: char = '\u{a0}';

/// How a command begins that must stay in one piece.
const COMMAND: &str = "`cocorun ";

/// Breaks every line that is wider than `columns` cells; what follows is indented.
///
/// The indentation is `hang` cells, or where that is `None`, two more than the line's own. A word that
/// does not fit into a line by itself stays whole. Quoted source (`3 | code`) is left alone.
pub fn wrapped(text: &str, columns: usize, hang: Option<usize>) -> String {
    let mut all = String::new();
    for line in text.split_inclusive('\n') {
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (line, ""),
        };
        if is_source(line) {
            all.push_str(line);
        } else {
            let own = line.len() - line.trim_start().len();
            push_wrapped(&mut all, line, columns, hang.unwrap_or(own + 2));
        }
        all.push_str(end);
    }
    all.replace(JOINT, " ")
}

/// Says whether a line is source with its number, as a diagnostic quotes it.
fn is_source(line: &str) -> bool {
    let rest = line
        .trim_start()
        .trim_start_matches(|c: char| c.is_ascii_digit());
    rest.starts_with(" | ") || rest.starts_with("| ")
}

fn push_wrapped(all: &mut String, line: &str, columns: usize, hang: usize) {
    let kept = code_of(line, columns.saturating_sub(hang));
    let indent = line.len() - line.trim_start().len();
    // A narrow terminal needs its cells for words.
    let hang = hang.min(columns / 3);
    let (mut start, mut used, mut space) = (0, 0, None);
    for (at, c, cells) in cells_of(line) {
        if c == ' ' && at > indent && !kept.iter().any(|range| range.contains(&at)) {
            space = Some((at, used));
        }
        used += cells;
        if used > columns
            && let Some((end, before)) = space.filter(|(end, _)| *end > start)
        {
            all.push_str(line[start..end].trim_end_matches(' '));
            all.push('\n');
            all.push_str(&" ".repeat(hang));
            start = end + 1;
            used = hang + used - before - 1;
            space = None;
        }
    }
    all.push_str(&line[start..]);
}

/// Returns the places of the commands in a line, and of other code that is not wider than `columns`.
fn code_of(line: &str, columns: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = line[from..].find('`') {
        let start = from + at;
        let end = line[start + 1..].find('`').map(|at| start + 1 + at);
        let is_command = line[start..].starts_with(COMMAND);
        from = end.map_or(line.len(), |end| end + 1);
        let is_code = end.is_some() && text::columns(&line[start..from]) <= columns;
        if is_command || is_code {
            found.push(start..from);
        }
    }
    found
}

/// Returns the characters of a line with their places and widths; those of colours have none.
fn cells_of(line: &str) -> impl Iterator<Item = (usize, char, usize)> {
    let mut in_color = false;
    line.char_indices().map(move |(at, c)| {
        let starts = c == '\u{1b}';
        let has_width = !in_color && !starts;
        in_color = starts || (in_color && c != 'm');
        let cells = if has_width { c.width().unwrap_or(0) } else { 0 };
        (at, c, cells)
    })
}

/// Cuts a plain text that is wider than `limit` cells after a word; `…` stands for what is gone.
///
/// Empty where not even a short word fits.
pub(super) fn cut_at_word(line: &str, limit: usize) -> String {
    if text::columns(line) <= limit {
        return line.to_owned();
    }
    let head = text::cut_end(line, limit);
    let head = head.trim_end_matches('…');
    match head.rfind(' ') {
        Some(at) if at > head.len() / 2 => format!("{} …", head[..at].trim_end()),
        _ if limit < 8 => String::new(),
        // One long word, such as a number of many digits.
        _ => text::cut_end(line, limit).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, columns: usize, expect: &[&str]) {
        assert_eq!(wrapped(line, columns, None), expect.join("\n"), "{columns}");
    }

    #[test]
    fn a_line_ends_between_words_and_goes_on_indented() {
        check("one two three", 13, &["one two three"]);
        check("one two three", 12, &["one two", "  three"]);
        check("  at one two three", 12, &["  at one two", "    three"]);
        check("one\ntwo three\n", 6, &["one", "two", "  three\n"]);
        check("国国 国国 国国", 9, &["国国 国国", "  国国"]);
        check(
            "a verylongwordthatdoesnotfit b",
            9,
            &["a", "  verylongwordthatdoesnotfit", "  b"],
        );
        let line = "        FAIL [   0.41s] a::b::c: one two";
        let expect = "        FAIL [   0.41s] a::b::c: one\n             two";
        assert_eq!(wrapped(line, 39, Some(13)), expect);
    }

    #[test]
    fn colours_take_no_room_and_counts_are_not_broken() {
        let red = "\u{1b}[31mtwo\u{1b}[0m";
        check(
            &format!("one {red} three"),
            13,
            &[&format!("one {red} three")],
        );
        check(
            &format!("one {red} three"),
            12,
            &[&format!("one {red}"), "  three"],
        );
        check(
            "x: 12\u{a0}passed, 3\u{a0}failed",
            14,
            &["x: 12 passed,", "  3 failed"],
        );
    }

    #[test]
    fn commands_and_quoted_source_stay_in_one_piece() {
        let help = "help: rerun it alone: `cocorun test --build a --seed 7` now";
        let command = "  `cocorun test --build a --seed 7`";
        check(help, 30, &["help: rerun it alone:", command, "  now"]);
        check(
            "write `a b c` or `d e f`",
            14,
            &["write `a b c`", "  or `d e f`"],
        );
        check(
            "`one two three four`",
            12,
            &["`one two", "  three", "  four`"],
        );
        check("a ` b c d", 5, &["a ` b", " c d"]);
        let source = "12 | assign a = b + c + d;";
        check(source, 10, &[source]);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_unless_a_word_is() {
        let line = "  error: the words of this line are short ones, and so is each line made of it";
        for columns in 12..100 {
            for part in wrapped(line, columns, None).lines() {
                assert!(text::columns(part) <= columns, "{columns}: {part}");
            }
            assert!(
                text::columns(&cut_at_word(line, columns)) <= columns,
                "{columns}"
            );
        }
    }

    #[test]
    fn a_text_is_cut_after_a_word() {
        assert_eq!(
            cut_at_word("expected three, got four", 24),
            "expected three, got four"
        );
        assert_eq!(
            cut_at_word("expected three, got four", 23),
            "expected three, got …"
        );
        assert_eq!(
            cut_at_word("expected three, got four", 17),
            "expected three, …"
        );
        assert_eq!(
            cut_at_word("123456789012345678901234", 17),
            "1234567890123456…"
        );
        assert_eq!(cut_at_word("expected three", 5), "");
    }
}
