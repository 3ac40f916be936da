//! Foreign text made fit for a terminal, an XML file and a line of limited width.
//!
//! Logs and messages come from designs, testcases and compilers. Whatever bytes they hold, what
//! leaves here cannot move the cursor, change a colour, hide a word or break XML 1.0.

use camino::Utf8Path;
use std::borrow::Cow;
use std::fmt;
use std::fmt::Write;
use std::time::Duration;
use unicode_width::UnicodeWidthChar;
use unicode_width::UnicodeWidthStr;

/// Returns the text with colour sequences removed and every other control character escaped.
///
/// Line feeds stay, CR LF becomes LF, a tab becomes four spaces. Bidirectional overrides count as
/// control characters, because they let a line read as something else than it says.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    let is_plain_ascii = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain_ascii || !text.chars().any(|c| c != '\n' && is_harmful(c)) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\u{1b}' => after_color(after).unwrap_or_else(|| {
                clean.push_str("\\x1b");
                after
            }),
            '\r' if after.starts_with('\n') => after,
            '\t' => {
                clean.push_str("    ");
                after
            }
            _ => {
                push_visible(&mut clean, c);
                after
            }
        };
    }
    Cow::Owned(clean)
}

fn push_visible(clean: &mut String, c: char) {
    if c == '\n' || !is_harmful(c) {
        clean.push(c);
        return;
    }
    let code = u32::from(c);
    if code < 0x100 {
        add(clean, format_args!("\\x{code:02x}"));
    } else {
        add(clean, format_args!("\\u{{{code:x}}}"));
    }
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Not characters; XML 1.0 forbids them.
            | '\u{fffe}' | '\u{ffff}'
        )
}

/// Returns what follows a colour sequence (`[…m`, the escape character already taken).
fn after_color(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix('[')?;
    let end = parameters.find(|c: char| !matches!(c, '0'..='9' | ';' | ':'))?;
    parameters[end..].strip_prefix('m')
}

/// Returns the first line that is not blank, made visible; empty where there is none.
pub(super) fn first_line(text: &str) -> Cow<'_, str> {
    visible(
        text.lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or_default(),
    )
}

/// Returns how many cells the text takes.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// Cuts the end of a line that is wider than `limit` cells; `…` stands for what is gone.
pub(super) fn cut_end(line: &str, limit: usize) -> Cow<'_, str> {
    if line.width() <= limit {
        return Cow::Borrowed(line);
    }
    if limit == 0 {
        return Cow::Borrowed("");
    }
    Cow::Owned(format!("{}…", head(line, limit - 1)))
}

/// Cuts the middle of a line that is wider than `limit` cells, since names differ at their ends.
pub(super) fn cut_middle(line: &str, limit: usize) -> Cow<'_, str> {
    if line.width() <= limit {
        return Cow::Borrowed(line);
    }
    if limit < 8 {
        return cut_end(line, limit);
    }
    let front = limit / 3;
    Cow::Owned(format!(
        "{}…{}",
        head(line, front),
        tail(line, limit - 1 - front)
    ))
}

/// Cuts a line that may begin with `BUILD::MODULE::` where it is wider than `limit` cells.
///
/// Lines differ by their testcases, so the build and the module are cut first.
pub(super) fn cut_name(line: &str, limit: usize) -> Cow<'_, str> {
    if line.width() <= limit {
        return Cow::Borrowed(line);
    }
    let Some((at, _)) = line.match_indices("::").nth(1) else {
        return cut_end(line, limit);
    };
    let (module, testcase) = line.split_at(at);
    let room = limit.saturating_sub(testcase.width());
    if room >= 8 {
        Cow::Owned(format!("{}{testcase}", cut_end(module, room)))
    } else {
        cut_middle(&testcase[2..], limit)
    }
}

/// Returns the longest start of a text that takes at most `limit` cells.
fn head(text: &str, limit: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > limit {
            return &text[..at];
        }
    }
    text
}

/// Returns the longest end of a text that takes at most `limit` cells.
fn tail(text: &str, limit: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices().rev() {
        used += c.width().unwrap_or(0);
        if used > limit {
            return &text[at + c.len_utf8()..];
        }
    }
    text
}

/// Returns the last `limit` bytes of a text or a little less, from the start of a character.
pub(super) fn last_bytes(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// Adds formatted text to a string.
pub(super) fn add(text: &mut String, words: fmt::Arguments<'_>) {
    text.write_fmt(words)
        .expect("writing to a string cannot fail");
}

/// Returns a count with its noun: `1 testcase`, `2 testcases`.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Returns a text in which paths below a folder are relative to it.
pub(super) fn relative(text: &str, dir: &Utf8Path) -> String {
    let prefix = format!("{}/", dir.as_str().trim_end_matches('/'));
    // Not the root, and not a relative path that is below anything.
    if prefix.len() < 2 || !prefix.starts_with('/') {
        return text.to_owned();
    }
    let mut shorter = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&prefix) {
        let (before, after) = (&rest[..at], &rest[at + prefix.len()..]);
        shorter.push_str(before);
        let is_start = |c: char| !c.is_alphanumeric() && !"/._-~".contains(c);
        // A path that begins here, and has something below the folder.
        if !before.chars().next_back().is_none_or(is_start)
            || after.starts_with(|c: char| c.is_whitespace() || "/`'\":,;)".contains(c))
            || after.is_empty()
        {
            shorter.push_str(&prefix);
        }
        rest = after;
    }
    shorter.push_str(rest);
    shorter
}

/// Returns a duration with its unit: milliseconds where hundredths of a second say too little.
pub(super) fn duration(took: Duration) -> String {
    if took < SHORT {
        format!("{:.1} ms", took.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", took.as_secs_f64())
    }
}

/// Durations below this are shown in milliseconds.
pub(super) const SHORT: Duration = Duration::from_millis(10);

/// Quotes a word for a POSIX shell, readable and harmless on a terminal.
///
/// A word with control characters takes the `$'…'` form of bash, ksh, zsh and POSIX 2024.
pub(super) fn shell_word(word: &str) -> Cow<'_, str> {
    if !word.chars().any(is_harmful) {
        return shell_words::quote(word);
    }
    let mut quoted = String::from("$'");
    for c in word.chars() {
        let code = u32::from(c);
        match c {
            '\'' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            // Bytes, since `\u` depends on the locale, and octal, since it ends after 3 digits.
            _ if is_harmful(c) && code < 0x80 => push_octal(&mut quoted, &[c as u8]),
            _ if is_harmful(c) => push_octal(&mut quoted, c.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => quoted.push(c),
        }
    }
    quoted.push('\'');
    Cow::Owned(quoted)
}

fn push_octal(quoted: &mut String, bytes: &[u8]) {
    for byte in bytes {
        add(quoted, format_args!("\\{byte:03o}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelt_out_and_colours_are_dropped() {
        let check = |input: &str, expect: &str| assert_eq!(visible(input), expect, "{input:?}");
        check("plain", "plain");
        check("two\nlines", "two\nlines");
        check("dos\r\nline", "dos\nline");
        check("a\tb", "a    b");
        check("\u{1b}[1;31mred\u{1b}[0m", "red");
        check("\u{1b}[2Jgone", "\\x1b[2Jgone");
        check("\u{1b}]0;title\u{7}", "\\x1b]0;title\\x07");
        check("\u{1b}", "\\x1b");
        check("\u{1b}[", "\\x1b[");
        check("over\rwritten", "over\\x0dwritten");
        check("\u{9b}2J", "\\x9b2J");
        check("abc\u{202e}fed", "abc\\u{202e}fed");
        check("\u{0}\u{fffe}", "\\x00\\u{fffe}");
    }

    #[test]
    fn a_line_is_cut_by_cells_and_not_by_bytes() {
        assert_eq!(cut_end("abcdef", 6), "abcdef");
        assert_eq!(cut_end("abcdef", 5), "abcd…");
        assert_eq!(cut_end("国国国", 5), "国国…");
        assert_eq!(cut_end("国国国", 4), "国…");
        assert_eq!(cut_end("abc", 0), "");
        assert_eq!(
            cut_middle("fifo::tests.test_fifo::burst_write", 18),
            "fifo::…burst_write"
        );
        let line = "fifo/DEPTH=4::tests.国国国::burst_write/width=8";
        assert_eq!(
            cut_name(line, 40),
            "fifo/DEPTH=4::test…::burst_write/width=8"
        );
        assert_eq!(cut_name(line, 18), "burst_…ite/width=8");
        assert_eq!(
            cut_name("fifo (icarus) for pid 1 on node07", 20),
            "fifo (icarus) for p…"
        );
        for limit in 0..50 {
            assert!(columns(&cut_name(line, limit)) <= limit, "{limit}");
            assert!(columns(&cut_middle(line, limit)) <= limit, "{limit}");
            assert!(columns(&cut_end(line, limit)) <= limit, "{limit}");
        }
    }

    #[test]
    fn paths_below_a_folder_become_relative_and_all_others_stay() {
        let check = |text: &str, expect: &str| {
            assert_eq!(relative(text, Utf8Path::new("/p/a")), expect, "{text}");
        };
        check("at /p/a/test_a.py:3", "at test_a.py:3");
        check("\"/p/a/x\" and (/p/a/y/z)", "\"x\" and (y/z)");
        check("/p/a/b/p/a/c /q/p/a/d", "b/p/a/c /q/p/a/d");
        check("/p/a /p/a/ /p/ab/c ~/p/a/x", "/p/a /p/a/ /p/ab/c ~/p/a/x");
        assert_eq!(relative("/a/b", Utf8Path::new("/")), "/a/b");
        assert_eq!(relative("x//b", Utf8Path::new("")), "x//b");
    }

    #[test]
    fn short_durations_are_in_milliseconds() {
        let check = |micros: u64, expect: &str| {
            assert_eq!(duration(Duration::from_micros(micros)), expect);
        };
        check(0, "0.0 ms");
        check(4_200, "4.2 ms");
        check(9_960, "10.0 ms");
        check(10_000, "0.01 s");
        check(63_250_000, "63.25 s");
    }

    #[test]
    fn the_last_bytes_begin_with_a_whole_character() {
        assert_eq!(last_bytes("aéb", 2), "b");
        assert_eq!(last_bytes("aéb", 3), "éb");
        assert_eq!(last_bytes("aéb", 30), "aéb");
    }

    #[test]
    fn a_quoted_word_is_the_same_word_to_a_shell() {
        let words = [
            "plain",
            "two words",
            "it's",
            "a\"b$c`d",
            "x/y=1",
            "",
            "back\\slash",
            "*",
        ];
        for word in words {
            let line = format!("cmd {}", shell_word(word));
            assert_eq!(
                shell_words::split(&line).expect("it is quoted"),
                ["cmd", word]
            );
        }
        assert_eq!(shell_word("a\u{1b}[2J'\n"), "$'a\\033[2J\\'\\012'");
        assert_eq!(shell_word("\u{202e}1"), "$'\\342\\200\\2561'");
    }
}
