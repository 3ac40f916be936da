//! Where the history of durations is stored, and how sessions share it:
//! `BUILD_DIR/history/SESSION.ndjson`.
//!
//! Invariants:
//! - a file is created once, under its own session's name, and never changed; no lock is taken;
//! - its last line is the digest of all lines before it: a truncated, half-written or damaged file
//!   is ignored;
//! - a session writes down all it has read together with its own measurements and only then removes
//!   what it has read, so sessions that end at once lose nothing of one another;
//! - problems with these files are never reported: they only affect an order.

use crate::edge::fs;
use crate::schedule::history::History;
use crate::schedule::history::Record;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeSet;

/// The format of the files; no other is read.
const HEADER: &str = "{\"cocorun_history\":1}";
/// How many files may be there. Each session leaves one and removes those it has read, so there are
/// as many as sessions that ended at once; beyond this, the oldest are removed unread.
const FILES_MAX: usize = 64;
/// A larger file is not a history file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The extension of history files.
const SUFFIX: &str = ".ndjson";

/// A history and the files it came from.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) history: History,
    dir: Utf8PathBuf,
    read: BTreeSet<String>,
}

/// Reads and merges the existing files. `now_s` bounds times: another node's clock may be ahead.
pub(super) fn load(dir: &Utf8Path, now_s: u64) -> Loaded {
    let mut loaded = Loaded {
        history: History::default(),
        dir: dir.to_owned(),
        read: BTreeSet::new(),
    };
    for name in newest_names(dir) {
        let text = fs::read_range_lossy(&dir.join(&name), 0, FILE_BYTES_MAX);
        let Some(lines) = body(&text) else {
            continue;
        };
        for record in lines.lines().filter_map(parse) {
            loaded.history.take(no_later_than(now_s, record));
        }
        loaded.read.insert(name);
    }
    loaded.history.settle();
    loaded
}

impl Loaded {
    /// Adds what a session has measured, writes everything under the session's own name, and
    /// removes the files it was read from.
    pub(super) fn save(mut self, session_id: &str, measured: Vec<Record>) {
        for record in measured {
            self.history.take(record);
        }
        let own = format!("{session_id}{SUFFIX}");
        let mut text = format!("{HEADER}\n");
        for record in self.history.records() {
            if let Ok(line) = serde_json::to_string(&record) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text.push_str(&digest(&text));
        text.push('\n');
        let is_written = fs::create_dirs(&self.dir).is_ok()
            && fs::write_new(&self.dir.join(&own), text.as_bytes()).is_ok_and(|is_new| is_new);
        if !is_written {
            return;
        }
        for name in self.read.iter().filter(|name| **name != own) {
            fs::remove(&self.dir.join(name));
        }
        // Damaged ones are never read, so they are removed by age.
        let all = names(&self.dir);
        let surplus = all.len().saturating_sub(FILES_MAX);
        for name in all.iter().take(surplus) {
            fs::remove(&self.dir.join(name));
        }
    }
}

/// Names of history files, the oldest first: a session's name begins with the time of its start.
fn names(dir: &Utf8Path) -> Vec<String> {
    let mut names: Vec<String> = fs::entries(dir)
        .unwrap_or_default()
        .into_iter()
        .filter(|entry| entry.is_utf8 && entry.kind != fs::EntryKind::Dir)
        .map(|entry| entry.name)
        .collect();
    names.retain(|name| name.ends_with(SUFFIX));
    names
}

fn newest_names(dir: &Utf8Path) -> Vec<String> {
    let mut names = names(dir);
    names.drain(..names.len().saturating_sub(FILES_MAX));
    names
}

/// Returns the records of a file, if it is complete.
fn body(text: &str) -> Option<&str> {
    let (all, last) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let digested = &text[..=all.len()];
    let records = digested.strip_prefix(HEADER)?.strip_prefix('\n')?;
    (digest(digested) == last).then_some(records)
}

fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}

/// Reads a line; one of a kind that a later version knows is passed over.
fn parse(line: &str) -> Option<Record> {
    serde_json::from_str(line).ok()
}

fn no_later_than(now_s: u64, mut record: Record) -> Record {
    match &mut record {
        Record::Testcase { at_s, .. } | Record::Build { at_s, .. } => *at_s = now_s.min(*at_s),
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::model::build::BuildName;
    use crate::model::test::ModuleInVariant;
    use crate::model::test::TestModule;

    use std::time::Duration;

    const NOW_S: u64 = 1_000;

    fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8PathBuf::try_from(dir.path().join("history")).expect("UTF-8");
        (dir, path)
    }

    fn record(build: &str, duration_s: f64, at_s: u64) -> Record {
        Record::Testcase {
            build: BuildName(build.to_owned()),
            key: "k".to_owned(),
            module: TestModule("m".to_owned()),
            variant: None,
            testcase: "t".to_owned(),
            duration_s,
            is_bad: false,
            at_s,
        }
    }

    fn session(dir: &Utf8Path, id: &str, record: Record) {
        load(dir, NOW_S).save(id, vec![record]);
    }

    fn seconds(dir: &Utf8Path, build: &str) -> Option<u64> {
        let module = TestModule("m".to_owned());
        let history = load(dir, NOW_S).history;
        let module = ModuleInVariant {
            module: &module,
            variant: None,
        };
        let longest = history.longest(&BuildName(build.to_owned()), [module]);
        longest.as_ref().map(Duration::as_secs)
    }

    #[test]
    fn a_session_passes_on_what_it_has_read_and_leaves_one_file() {
        let (_guard, dir) = temp();
        session(&dir, "1", record("a", 3.0, 1));
        session(&dir, "2", record("b", 4.0, 2));
        assert_eq!(names(&dir), ["2.ndjson"]);
        assert_eq!(seconds(&dir, "a"), Some(3));
        assert_eq!(seconds(&dir, "b"), Some(4));
    }

    #[test]
    fn sessions_that_end_at_once_lose_nothing_of_one_another() {
        let (_guard, dir) = temp();
        session(&dir, "0", record("old", 1.0, 1));
        let (first, second) = (load(&dir, NOW_S), load(&dir, NOW_S));
        first.save("1", vec![record("a", 3.0, 2)]);
        second.save("2", vec![record("b", 4.0, 2)]);
        assert_eq!(names(&dir), ["1.ndjson", "2.ndjson"]);
        for (build, wanted) in [("old", 1), ("a", 3), ("b", 4)] {
            assert_eq!(seconds(&dir, build), Some(wanted), "{build}");
        }
    }

    #[test]
    fn a_file_that_is_truncated_at_any_byte_or_damaged_is_ignored() {
        let (_guard, dir) = temp();
        session(&dir, "1", record("a", 3.0, 1));
        let whole = fs::read(&dir.join("1.ndjson")).expect("it was written");
        for length in 0..whole.len() {
            fs::write(&dir.join("1.ndjson"), &whole[..length]).expect("written");
            assert_eq!(seconds(&dir, "a"), None, "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x80;
            fs::write(&dir.join("1.ndjson"), &damaged).expect("written");
            assert_eq!(seconds(&dir, "a"), None, "damaged at {at}");
        }
        session(&dir, "2", record("a", 5.0, 1));
        assert_eq!(seconds(&dir, "a"), Some(5));
    }

    #[test]
    fn a_name_is_used_once() {
        let (_guard, dir) = temp();
        session(&dir, "1", record("a", 3.0, 1));
        session(&dir, "1", record("a", 9.0, 2));
        assert_eq!(seconds(&dir, "a"), Some(3));
    }

    #[test]
    fn files_that_cannot_be_read_do_not_pile_up() {
        let (_guard, dir) = temp();
        fs::create_dirs(&dir).expect("made");
        for number in 0..2 * FILES_MAX {
            let path = dir.join(format!("{number:03}{SUFFIX}"));
            fs::write(&path, "damaged").expect("written");
        }
        session(&dir, "9", record("a", 3.0, 1));
        assert_eq!(names(&dir).len(), FILES_MAX);
        assert_eq!(seconds(&dir, "a"), Some(3));
    }

    #[test]
    fn a_record_of_a_clock_ahead_does_not_outlive_what_is_measured_later() {
        let (_guard, dir) = temp();
        session(&dir, "1", record("a", 3.0, u64::MAX));
        session(&dir, "2", record("a", 5.0, NOW_S));
        assert_eq!(seconds(&dir, "a"), Some(5));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_not_a_problem() {
        let (guard, _) = temp();
        let file = Utf8PathBuf::try_from(guard.path().join("file")).expect("UTF-8");
        fs::write(&file, "").expect("written");
        session(&file.join("history"), "1", record("a", 3.0, 1));
        assert_eq!(seconds(&file, "a"), None);
    }
}
