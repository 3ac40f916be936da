//! Tracebacks of Python as a person wants them: frames of what runs the testcase are folded.

use crate::agent::machinery::is_machinery;
use crate::report::text;

/// The head of a frame: `File "PATH", line N, in NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head<'a> {
    indent: usize,
    path: &'a str,
    line: u32,
}

impl<'a> Head<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let text = line.trim_start();
        let (path, at) = text.strip_prefix("File \"")?.split_once("\", line ")?;
        let digits = at.find(|c: char| !c.is_ascii_digit()).unwrap_or(at.len());
        // faulthandler writes no comma; such a stack is part of a log and not of a traceback.
        at[digits..].starts_with(',').then_some(())?;
        Some(Self {
            indent: line.len() - text.len(),
            path,
            line: at[..digits].parse().ok()?,
        })
    }
}

/// Returns a text in which neighbouring frames of cocotb are one line.
///
/// Where all frames of a traceback are cocotb's, the innermost one stays: it says what happened.
pub(super) fn folded(text: &str) -> String {
    let mut folded = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(head) = Head::of(line) else {
            push(&mut folded, line);
            continue;
        };
        // All frames up to the exception, each with its lines of source.
        let mut frames = vec![(head, vec![line])];
        while let Some(next) = lines.peek() {
            match Head::of(next) {
                Some(head) => frames.push((head, Vec::new())),
                None if indent_of(next) > head.indent || is_repetition(next) => {}
                None => break,
            }
            if let (Some((_, source)), Some(next)) = (frames.last_mut(), lines.next()) {
                source.push(next);
            }
        }
        push_frames(&mut folded, &frames);
    }
    folded
}

fn push_frames(folded: &mut String, frames: &[(Head<'_>, Vec<&str>)]) {
    let hides = |head: &Head<'_>| is_machinery(head.path);
    let kept = if frames.iter().all(|(head, _)| hides(head)) {
        frames.len() - 1
    } else {
        frames.len()
    };
    let mut hidden = 0;
    for (number, (head, lines)) in frames.iter().enumerate() {
        if hides(head) && number != kept {
            hidden += 1;
            let is_last = frames
                .get(number + 1)
                .is_none_or(|(next, _)| !hides(next) || number + 1 == kept);
            if is_last {
                let words = text::count(hidden, "frame");
                push(
                    folded,
                    &format!("{:1$}… {words} of cocotb", "", head.indent),
                );
                hidden = 0;
            }
            continue;
        }
        for line in lines {
            push(folded, line);
        }
    }
}

fn push(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Python's words for a frame that is repeated.
fn is_repetition(line: &str) -> bool {
    line.trim_start().starts_with("[Previous line repeated ")
}

/// Returns where a traceback was last in a file: the line, and its source where it is quoted.
pub(super) fn last_place<'a>(text: &'a str, file: &str) -> Option<(u32, Option<&'a str>)> {
    let mut lines = text.lines().peekable();
    let mut last = None;
    while let Some(line) = lines.next() {
        if let Some(head) = Head::of(line).filter(|head| head.path == file) {
            let source = lines.peek().filter(|next| indent_of(next) > head.indent);
            last = Some((head.line, source.map(|next| next.trim())));
        }
    }
    last
}

/// The first line of a traceback.
const TRACEBACK: &str = "Traceback (most recent call last):";

/// A traceback of one exception, in two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// The first line and the frames.
    pub(super) frames: &'a str,
    /// The exception's type and message, as they end the traceback.
    pub(super) exception: &'a str,
}

/// Divides a traceback; `None` if it is not one, or has several exceptions in it.
pub(super) fn parts(text: &str) -> Option<Parts<'_>> {
    let rest = text.strip_prefix(TRACEBACK)?;
    if rest.contains(TRACEBACK) {
        return None;
    }
    // Frames are indented, and the exception that follows them is not.
    let mut at = TRACEBACK.len();
    for line in rest.split_inclusive('\n') {
        if line.starts_with(|c: char| !c.is_whitespace()) {
            let (frames, exception) = text.split_at(at);
            return Some(Parts {
                frames: frames.trim_end(),
                exception,
            });
        }
        at += line.len();
    }
    None
}

/// Returns where a stack whose innermost frame comes first is in a file.
pub(super) fn first_place<'a>(text: &'a str, file: &str) -> Option<(u32, Option<&'a str>)> {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(head) = Head::of(line).filter(|head| head.path == file) {
            let source = lines.peek().filter(|next| indent_of(next) > head.indent);
            return Some((head.line, source.map(|next| next.trim())));
        }
    }
    None
}

/// Returns the frames that are not cocotb's, as `PATH:LINE` each: equal tracebacks have equal ones.
pub(super) fn route(text: &str) -> Vec<String> {
    let heads = text.lines().filter_map(Head::of);
    heads
        .filter(|head| !is_machinery(head.path))
        .map(|head| format!("{}:{}", head.path, head.line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "/v/lib/python3.11/site-packages/cocotb/task.py";

    fn frame(path: &str, line: u32, source: &str) -> String {
        format!("  File \"{path}\", line {line}, in f\n    {source}\n")
    }

    #[test]
    fn neighbouring_frames_of_cocotb_are_one_line() {
        let own = frame("/p/test_a.py", 30, "await task");
        let deep = frame("/p/test_a.py", 29, "raise ValueError(\"deep\\ntwo lines\")");
        let machinery = frame(TASK, 700, "return self.result()\n           ^^^^^^^^^^^^^");
        let head = "Traceback (most recent call last):\n";
        let end = "ValueError: deep\ntwo lines";
        let text = format!("{head}{own}{machinery}{machinery}{deep}{end}");
        let expect = format!("{head}{own}  … 2 frames of cocotb\n{deep}{end}");
        assert_eq!(folded(&text), expect);
        assert_eq!(route(&text), ["/p/test_a.py:30", "/p/test_a.py:29"]);
        let source = "raise ValueError(\"deep\\ntwo lines\")";
        assert_eq!(last_place(&text, "/p/test_a.py"), Some((29, Some(source))));
        assert_eq!(last_place(&text, "/p/other.py"), None);
    }

    #[test]
    fn a_traceback_of_one_exception_has_two_parts() {
        let own = frame("/p/test_a.py", 30, "await task");
        let text = format!("{TRACEBACK}\n{own}AssertionError: two\n +  where");
        let frames = format!("{TRACEBACK}\n{own}");
        let expect = Parts {
            frames: frames.trim_end(),
            exception: "AssertionError: two\n +  where",
        };
        assert_eq!(parts(&text), Some(expect));
        for other in [
            format!("{text}\n\n{text}"),
            frames.clone(),
            "E: x".to_owned(),
        ] {
            assert_eq!(parts(&other), None, "{other}");
        }
        assert_eq!(
            first_place(&text, "/p/test_a.py"),
            Some((30, Some("await task")))
        );
    }

    #[test]
    fn where_all_frames_are_cocotbs_the_innermost_stays() {
        let (outer, inner) = (frame(TASK, 7, "outer()"), frame(TASK, 9, "raise X"));
        let text = format!("Traceback:\n{outer}{outer}{inner}X");
        let expect = format!("Traceback:\n  … 2 frames of cocotb\n{inner}X");
        assert_eq!(folded(&text), expect);
        let alone = format!("Traceback:\n{inner}X");
        assert_eq!(folded(&alone), alone);
    }

    #[test]
    fn a_chain_of_exceptions_keeps_every_part_and_text_without_frames_stays() {
        let own = frame("/p/test_a.py", 3, "a()");
        let machinery = frame(TASK, 1, "x\n  [Previous line repeated 3 more times]");
        let part = format!("Traceback:\n{own}{machinery}E: x\n");
        let text = format!("{part}\nDuring handling:\n\n{part}");
        let one = format!("Traceback:\n{own}  … 1 frame of cocotb\nE: x\n");
        let expect = format!("{one}\nDuring handling:\n\n{one}");
        assert_eq!(folded(&text), expect.trim_end());
        for text in [
            "",
            "a\n\nb",
            "File \"",
            "  File \"x\", line y, in z",
            "  File \"é",
        ] {
            assert_eq!(folded(text), text);
        }
    }
}
