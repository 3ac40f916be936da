//! The testcase's own part of a run's log, in portions that fit a report.
//!
//! A log may be larger than memory: only the last bytes of a span are ever read.

use super::text;

use crate::agent::machinery::is_machinery;
use crate::edge::fs;
use crate::model::outcome::LogSpan;

use camino::Utf8Path;

/// How much of a log is read for its last lines.
const TAIL_BYTES: u64 = 32 * 1024;

/// How the line above the frames of a stack ends, where faulthandler wrote it.
const STACK_HEAD: &str = "(most recent call first):";

/// The first line of a traceback.
const TRACEBACK: &str = "Traceback (most recent call last):";

/// How a simulator's notes on its wave file begin; the report names the file itself.
const WAVE_NOTES: [&str; 2] = ["FST info: ", "VCD info: "];

/// At least so many spaces begin a further line of a record.
const CONTINUATION_COLUMNS_MIN: usize = 24;

/// How wide a quoted log line may be, in cells.
const LINE_COLUMNS_MAX: usize = 400;

/// What a testcase printed last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PrintedLines {
    /// The last lines, made visible and cut to a sane width.
    pub(super) lines: Vec<String>,
    /// Whether it printed more.
    pub(super) is_cut: bool,
}

/// Returns the last lines of a span, at most `lines_max`.
///
/// Left out are blank lines at the end, cocotb's frames in Python's stack, and what cocotb itself
/// logs about the course of a testcase: where it begins, its traceback, the table. A log that cannot
/// be read has no lines.
pub(super) fn last_lines(span: &LogSpan, testcase: &str, lines_max: usize) -> PrintedLines {
    let (text, is_part) = last_part(&span.path, span.start, span.end, TAIL_BYTES);
    let (own, is_begun) = own_lines(&text, testcase);
    let first = own.len().saturating_sub(lines_max);
    let lines = own[first..]
        .iter()
        .map(|line| text::cut_end(&text::visible(line), LINE_COLUMNS_MAX).into_owned())
        .collect();
    PrintedLines {
        lines,
        is_cut: first > 0 || (is_part && !is_begun),
    }
}

/// Returns the lines of the testcase itself, and whether its first one is among them.
fn own_lines<'a>(text: &'a str, testcase: &str) -> (Vec<&'a str>, bool) {
    let all: Vec<&str> = text.trim_end().lines().collect();
    let begins = |line: &&str| {
        record_of(line).is_some_and(|(logger, words)| {
            // The next testcase of a process may have begun already.
            let name = words
                .strip_prefix("running ")
                .and_then(|it| it.split(' ').next());
            let is_it = |name: &str| name.rsplit('.').next() == Some(testcase) || name == testcase;
            logger == "cocotb.regression" && name.is_some_and(is_it)
        })
    };
    let begin = all.iter().rposition(begins);
    let mut own: Vec<&str> = Vec::new();
    let mut lines = all[begin.map_or(0, |at| at + 1)..]
        .iter()
        .copied()
        .peekable();
    while let Some(line) = lines.next() {
        if WAVE_NOTES.iter().any(|note| line.starts_with(note)) {
            continue;
        }
        let mut more: Vec<&str> = Vec::new();
        if let Some((logger, _)) = record_of(line) {
            while let Some(next) = lines.next_if(|next| is_continuation(next)) {
                more.push(next);
            }
            // cocotb 2.0 logs a failure under the name of the task, of which it shows the end.
            let is_of_a_task = logger == "cocotb.Test" || logger.starts_with("..");
            let is_failure = is_of_a_task && more.iter().any(|it| it.contains(TRACEBACK));
            if logger == "cocotb.regression" || is_failure {
                continue;
            }
        }
        for line in std::iter::once(line).chain(more) {
            // Where no frame is the user's, the innermost one still says what is going on.
            let is_innermost = own.last().is_some_and(|it| it.ends_with(STACK_HEAD));
            if is_innermost || !is_cocotbs_frame(line) {
                own.push(line);
            }
        }
    }
    while own.last().is_some_and(|line| line.trim().is_empty()) {
        own.pop();
    }
    (own, begin.is_some())
}

/// Returns the first word of the logger's name and the message of a line that cocotb's logger wrote:
/// `     0.00ns INFO     cocotb.regression     running …`.
fn record_of(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start();
    let (time, rest) = rest.split_once(' ')?;
    let is_time = time.ends_with('s') && time.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let (level, rest) = rest.trim_start().split_once(' ')?;
    let is_level = level.len() > 2 && level.bytes().all(|byte| byte.is_ascii_uppercase());
    let (logger, words) = rest.trim_start().split_once(' ')?;
    (is_time && is_level).then_some((logger, words.trim_start()))
}

/// Says whether a line goes on with the record above it: cocotb indents those to its message.
fn is_continuation(line: &str) -> bool {
    line.len() >= CONTINUATION_COLUMNS_MIN
        && line.as_bytes()[..CONTINUATION_COLUMNS_MIN]
            .iter()
            .all(|byte| *byte == b' ')
}

/// Says whether a line is a frame of what runs the testcase, in a stack that faulthandler wrote
/// (`File "…", line 4 in name`; the comma of a traceback is missing).
fn is_cocotbs_frame(line: &str) -> bool {
    let Some((path, at)) = line
        .strip_prefix("  File \"")
        .and_then(|rest| rest.split_once("\", line "))
    else {
        return false;
    };
    let is_of_a_stack = at.trim_start_matches(|c: char| c.is_ascii_digit());
    is_of_a_stack.starts_with(" in ") && is_machinery(path)
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

    fn lines(span: &LogSpan, lines_max: usize) -> Vec<String> {
        last_lines(span, "t", lines_max).lines
    }

    #[test]
    fn only_the_span_is_quoted_and_only_its_last_lines() {
        let (_dir, mut span) = span_of(b"before\none\ntwo\nthree\n\nafter\n");
        span.start = 7;
        span.end = 22;
        assert_eq!(lines(&span, 2), ["two", "three"]);
        assert_eq!(lines(&span, 20), ["one", "two", "three"]);
        assert!(last_lines(&span, "t", 2).is_cut && !last_lines(&span, "t", 3).is_cut);
        assert_eq!(lines(&span, 0), Vec::<String>::new());
    }

    /// A log as each version of cocotb writes it, around what the testcase itself printed.
    #[test]
    fn what_cocotb_logs_about_the_testcase_is_left_out() {
        const FURTHER: &str = "                                                        ";
        let own = [
            "2 ** 3 is 8",
            " 0.00ns INFO     cocotb.top          said by the log",
            "****",
        ];
        let begins = "  0.00ns INFO     cocotb.initialize   Seeding\n\
            \x20 0.00ns INFO     cocotb.regression   running test_a.t (1/1)\n";
        let traceback = format!("{FURTHER}{TRACEBACK}\n{FURTHER}  File \"t.py\", line 1, in t\n");
        let table = format!(
            "  1.00ns INFO     cocotb.regression   **********\n{FURTHER}** TEST  STATUS **\n\
             {FURTHER}**********\n{FURTHER}** TESTS=1 PASS=1 **\n"
        );
        for failure in [
            format!("  1.00ns WARNING  cocotb.regression   test_a.t failed\n{traceback}"),
            format!("  1.00ns WARNING  cocotb.Test t.t     expected 1\n{traceback}"),
            format!("  1.00ns WARNING  ..b.Test a_long.a_long expected 1\n{traceback}"),
        ] {
            let note = "VCD info: dumpfile waves.vcd opened for output.\n";
            let log = format!("{begins}{note}{}\n{failure}{table}last\n", own.join("\n"));
            let (_dir, span) = span_of(log.as_bytes());
            let expect = [&own[..], &["last"]].concat();
            assert_eq!(lines(&span, 20), expect, "{log}");
            assert!(!last_lines(&span, "t", 20).is_cut);
        }
    }

    #[test]
    fn of_a_stack_the_users_frames_are_quoted_and_the_innermost() {
        let machinery = "  File \"/v/lib/site-packages/cocotb/task.py\", line 9 in _resume\n\
            \x20 File \"<cocorun_agent.boot>\", line 64 in start\n";
        let head = "Current thread 0x7 (most recent call first):\n";
        let user = "  File \"/p/cocotb/test_a.py\", line 4 in busy\n";
        let (_dir, span) = span_of(format!("{head}{user}{machinery}{head}{machinery}").as_bytes());
        assert_eq!(
            lines(&span, 20),
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
        assert_eq!(lines(&span, 20), [traceback]);
    }

    #[test]
    fn bytes_that_are_not_utf_8_and_endless_lines_do_no_harm() {
        let (_dir, span) = span_of(&[b"\xff\xfe\x1b[2J \x00".as_slice(), &[b'x'; 2000]].concat());
        let lines = last_lines(&span, "t", 20).lines;
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
        assert_eq!(lines(&span, 20), Vec::<String>::new());
    }
}
