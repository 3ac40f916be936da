//! The testcase's own part of a run's log, in portions that fit a report.
//!
//! A log may be larger than memory: only the last bytes of a span are ever read.

use super::text;

use crate::edge::fs;
use crate::model::outcome::LogSpan;

use camino::Utf8Path;

/// How much of a log is read for its last lines.
const TAIL_BYTES: u64 = 32 * 1024;

/// How the line above the frames of a stack ends, where faulthandler wrote it.
const STACK_HEAD: &str = "(most recent call first):";

/// How wide a quoted log line may be, in cells.
const LINE_COLUMNS_MAX: usize = 400;

/// Returns the last lines of a span, at most `lines_max`, made visible and cut to a sane width.
///
/// Blank lines at the end, cocotb's table and its own frames in Python's stack are left out. A log
/// that cannot be read has no lines.
pub(super) fn last_lines(span: &LogSpan, lines_max: usize) -> Vec<String> {
    let text = last_part(&span.path, span.start, span.end, TAIL_BYTES).0;
    let mut lines: Vec<&str> = Vec::new();
    for line in text.trim_end().lines() {
        // Where no frame is the user's, the innermost one still says what is going on.
        let is_innermost = lines.last().is_some_and(|it| it.ends_with(STACK_HEAD));
        if !is_of_table(line) && (is_innermost || !is_cocotbs_frame(line)) {
            lines.push(line);
        }
    }
    lines[lines.len().saturating_sub(lines_max)..]
        .iter()
        .map(|line| text::cut_end(&text::visible(line), LINE_COLUMNS_MAX).into_owned())
        .collect()
}

/// Says whether a line is a frame of what runs the testcase, in a stack that faulthandler wrote
/// (`File "…", line 4 in name`; the comma of a traceback is missing).
fn is_cocotbs_frame(line: &str) -> bool {
    const PLACES: [&str; 5] = [
        "<cocorun_agent",
        "<frozen importlib",
        "/importlib/__init__.py",
        "-packages/cocotb/",
        "-packages/pygpi/",
    ];
    let Some((path, at)) = line
        .strip_prefix("  File \"")
        .and_then(|rest| rest.split_once("\", line "))
    else {
        return false;
    };
    let is_of_a_stack = at.trim_start_matches(|c: char| c.is_ascii_digit());
    is_of_a_stack.starts_with(" in ") && PLACES.iter().any(|place| path.contains(place))
}

/// Says whether a line belongs to the table that cocotb prints last: it has one row, which repeats the
/// result, and would push out what the testcase printed.
fn is_of_table(line: &str) -> bool {
    line.ends_with("**") && (line.contains("*****") || line.contains(" ** "))
}

/// Returns at most the last `limit` bytes of a part of a file, and whether something was left out.
///
/// Begins at a line where the part holds more than one. `end` may lie behind the file's end.
pub(super) fn last_part(path: &Utf8Path, start: u64, end: u64, limit: u64) -> (String, bool) {
    let size = fs::stamp(path).ok().flatten().map_or(0, |stamp| stamp.size);
    let end = end.min(size);
    let from = start.max(end.saturating_sub(limit));
    let text = fs::read_range_lossy(path, from, end.saturating_sub(from));
    if from == start {
        return (text, false);
    }
    let whole_lines = match text.find('\n') {
        Some(at) if at + 1 < text.len() => text[at + 1..].to_owned(),
        // The cut may have gone through a character.
        _ => text
            .trim_start_matches(char::REPLACEMENT_CHARACTER)
            .to_owned(),
    };
    (whole_lines, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    use camino::Utf8PathBuf;

    fn span_of(bytes: &[u8]) -> (tempfile::TempDir, LogSpan) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = Utf8PathBuf::from_path_buf(dir.path().join("sim.log")).expect("UTF-8");
        fs::write(&path, bytes).expect("a log");
        (
            dir,
            LogSpan {
                path,
                start: 0,
                end: bytes.len() as u64,
            },
        )
    }

    #[test]
    fn only_the_span_is_quoted_and_only_its_last_lines() {
        let (_dir, mut span) = span_of(b"before\none\ntwo\nthree\n\nafter\n");
        span.start = 7;
        span.end = 22;
        assert_eq!(last_lines(&span, 2), ["two", "three"]);
        assert_eq!(last_lines(&span, 20), ["one", "two", "three"]);
    }

    #[test]
    fn the_table_of_cocotb_is_left_out() {
        let log = b"2 ** 3 is 8\n 1.00ns INFO  cocotb.regression  **********\n\
            \x20   ** TEST  STATUS **\n    **********\n    ** TESTS=1 PASS=1 **\nlast\n";
        let (_dir, span) = span_of(log);
        assert_eq!(last_lines(&span, 20), ["2 ** 3 is 8", "last"]);
    }

    #[test]
    fn of_a_stack_the_users_frames_are_quoted_and_the_innermost() {
        let machinery = "  File \"/v/lib/site-packages/cocotb/task.py\", line 9 in _resume\n\
            \x20 File \"<cocorun_agent.boot>\", line 64 in start\n";
        let head = "Current thread 0x7 (most recent call first):\n";
        let user = "  File \"/p/cocotb/test_a.py\", line 4 in busy\n";
        let (_dir, span) = span_of(format!("{head}{user}{machinery}{head}{machinery}").as_bytes());
        assert_eq!(
            last_lines(&span, 20),
            [
                head,
                user,
                head,
                machinery.lines().next().unwrap_or_default()
            ]
            .map(str::trim_end)
        );
        let traceback = "  File \"/v/lib/site-packages/cocotb/task.py\", line 9, in _resume";
        let (_dir, span) = span_of(traceback.as_bytes());
        assert_eq!(last_lines(&span, 20), [traceback]);
    }

    #[test]
    fn bytes_that_are_not_utf_8_and_endless_lines_do_no_harm() {
        let (_dir, span) = span_of(&[b"\xff\xfe\x1b[2J \x00".as_slice(), &[b'x'; 2000]].concat());
        let lines = last_lines(&span, 20);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with("\u{fffd}\u{fffd}\\x1b[2J \\x00xxx"),
            "{lines:?}"
        );
        assert!(text::columns(&lines[0]) <= LINE_COLUMNS_MAX, "{lines:?}");
    }

    #[test]
    fn a_huge_log_is_read_only_at_its_end() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.as_file().set_len(1 << 40).expect("a sparse file");
        let path = Utf8Path::from_path(file.path()).expect("UTF-8");
        let (text, cut) = last_part(path, 0, u64::MAX, 1024);
        assert_eq!((text.len(), cut), (1024, true));
    }

    #[test]
    fn a_log_that_is_gone_has_no_lines() {
        let span = LogSpan {
            path: "/nonexistent/sim.log".into(),
            start: 0,
            end: u64::MAX,
        };
        assert_eq!(last_lines(&span, 20), Vec::<String>::new());
    }
}
