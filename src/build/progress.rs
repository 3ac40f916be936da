//! What a compile is doing, for the processes that wait for it: the last line of its log.
//!
//! Invariant: nothing is reported twice, so that no file is written if nothing changed. The guard's
//! heartbeat limits how often it is sent.

use crate::edge::fs;

use camino::Utf8PathBuf;
use std::time::Duration;
use std::time::Instant;

/// How often the log is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much of the log's end is read, bytes.
const TAIL_BYTES: u64 = 4096;
/// Longest line that is reported, characters.
const LINE_CHARS_MAX: usize = 120;

/// The progress of one step of a compile.
pub(super) struct Progress {
    step: String,
    log: Utf8PathBuf,
    /// Where this step's part of the log begins.
    start: u64,
    next_look: Instant,
    reported: String,
}

impl Progress {
    /// Begins with a step that has printed nothing yet; also returns the first text to report.
    pub(super) fn of(step: &str, log: Utf8PathBuf, now: Instant) -> (Self, String) {
        let reported = format!("running {step}");
        let progress = Self {
            step: step.to_owned(),
            start: size_of(&log),
            log,
            next_look: now,
            reported: reported.clone(),
        };
        (progress, reported)
    }

    /// Returns the text to report, if it is time to look and the log has a new line.
    pub(super) fn news(&mut self, now: Instant) -> Option<String> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK_EVERY;
        let end = size_of(&self.log);
        let from = self.start.max(end.saturating_sub(TAIL_BYTES));
        let text = fs::read_range_lossy(&self.log, from, end.saturating_sub(from));
        let line = text
            .lines()
            .rev()
            .map(str::trim)
            .find(|it| !it.is_empty())?;
        let line: String = line
            .chars()
            .filter(|character| !character.is_control())
            .take(LINE_CHARS_MAX)
            .collect();
        let news = format!("running {}: {line}", self.step);
        if news == self.reported {
            return None;
        }
        self.reported.clone_from(&news);
        Some(news)
    }
}

fn size_of(log: &Utf8PathBuf) -> u64 {
    fs::stamp(log).ok().flatten().map_or(0, |stamp| stamp.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::edge::clock::Clock;
    use crate::edge::clock::SystemClock;

    #[test]
    fn the_last_line_of_this_step_is_reported_once_without_control_characters() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = Utf8PathBuf::try_from(dir.path().join("log")).expect("a UTF-8 path");
        let said = "what the step before said\n";
        fs::write(&log, said).expect("a local directory");
        let now = SystemClock.now();
        let (mut progress, first) = Progress::of("make", log.clone(), now);
        assert_eq!(first, "running make");
        assert_eq!(progress.news(now), None, "it has said nothing yet");
        let filler = "x".repeat(10_000);
        fs::write(&log, format!("{said}{filler}\n g++ -c\u{1b}[1m a.cpp\n\n")).expect("local");
        assert_eq!(progress.news(now), None, "it was looked at just now");
        let later = now + LOOK_EVERY;
        let news = progress.news(later).expect("something was said");
        assert_eq!(news, "running make: g++ -c[1m a.cpp");
        assert_eq!(progress.news(later + LOOK_EVERY), None, "nothing new was");
    }
}
