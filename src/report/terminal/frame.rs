//! What is under way, as lines of limited number and width. Pure: state in, text out.

use crate::edge::terminal::TerminalSize;
use crate::model::outcome::Counts;
use crate::report::terminal::style::LineStyle;
use crate::report::terminal::style::Palette;
use crate::report::terminal::style::seconds;
use crate::report::text;
use crate::report::wrap::JOINT;

use std::time::Duration;

/// One thing under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Status word.
    pub(super) word: &'static str,
    /// For how long.
    pub(super) elapsed: Duration,
    /// What, harmless and not painted.
    pub(super) label: String,
    /// More of it, for a line of its own; may be empty.
    pub(super) detail: String,
}

/// Everything the live part shows.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// What is under way, most interesting first.
    pub(super) rows: Vec<Row>,
    /// Testcases by outcome so far.
    pub(super) counts: Counts,
    /// Modules whose testcases are not known, by outcome so far.
    pub(super) modules: Counts,
    /// How many testcases are known so far.
    pub(super) planned: usize,
    /// Whether more testcases may become known: modules are still to be listed.
    pub(super) is_open: bool,
    /// How many of them run right now.
    pub(super) running: usize,
    /// How many builds are under way.
    pub(super) building: usize,
    /// For how long the session lasts.
    pub(super) elapsed: Duration,
    /// Whether the session is being ended.
    pub(super) stopping: bool,
}

/// Rows beyond this number say little, however tall the terminal is.
const ROWS_MAX: usize = 24;
const BAR_COLUMNS: usize = 20;

impl Frame {
    /// Lays the frame out for a terminal: rows, then one line for the whole session.
    pub(super) fn lines(&self, palette: Palette, size: TerminalSize) -> Vec<String> {
        // The last column stays free: a character there leaves the cursor in a state that terminals
        // treat differently.
        let columns = usize::from(size.columns).saturating_sub(1);
        // One row for the session, one for the cursor.
        let room = usize::from(size.rows).saturating_sub(2).min(ROWS_MAX);
        let shown = if self.rows.len() <= room {
            self.rows.len()
        } else {
            room.saturating_sub(1)
        };
        let details = self.rows.iter().filter(|row| !row.detail.is_empty());
        // Where not all of them fit, it matters more that each row is there.
        let has_room = self.rows.len() + details.count() <= room;
        let mut lines = Vec::new();
        for row in &self.rows[..shown] {
            let line =
                palette.cut_line(LineStyle::Work, row.word, row.elapsed, &row.label, columns);
            lines.push(line);
            if has_room && !row.detail.is_empty() {
                let detail = format!("{:>12} {}", "", row.detail);
                lines.push(text::cut_end(&detail, columns).into_owned());
            }
        }
        if shown < self.rows.len() && room > 0 {
            let more = format!("{:>12} … and {} more", "", self.rows.len() - shown);
            lines.push(text::cut_end(&more, columns).into_owned());
        }
        lines.push(self.session_line(palette, columns));
        lines
    }

    /// Returns what the session is doing, as a word with its style, and how far it is.
    ///
    /// Before the first result, the number of testcases is still growing and says nothing.
    pub(super) fn activity(&self) -> (LineStyle, &'static str, String) {
        let done = self.counts.total();
        let found = text::count(self.planned, "testcase");
        if self.stopping {
            return (LineStyle::Notable, "Stopping", self.progress_words());
        }
        match (done, self.rows.is_empty()) {
            (0, true) => (LineStyle::Work, "Listing", format!("{found} found")),
            (0, false) if self.planned == 0 => (LineStyle::Work, "Building", String::new()),
            _ => {
                let style = if self.counts.bad() + self.modules.bad() > 0 {
                    LineStyle::Bad
                } else {
                    LineStyle::Work
                };
                // Where all that is known has run, the session is not over but waits for a build.
                let is_waiting = self.running == 0 && self.building > 0;
                let word = if is_waiting { "Building" } else { "Running" };
                (style, word, self.progress_words())
            }
        }
    }

    fn progress_words(&self) -> String {
        let mut words = summary_words(&self.counts, Palette { color: false });
        if modules_failed(&self.modules) > 0 {
            let number = text::count(modules_failed(&self.modules), "module");
            words.push(format!("{number} {COULD_NOT_RUN}"));
        }
        for (number, word) in [(self.running, "running"), (self.building, "building")] {
            if number > 0 {
                words.push(format!("{number} {word}"));
            }
        }
        let line = format!(
            "{}/{}{}: {}",
            self.counts.total(),
            self.planned,
            if self.is_open { " so far" } else { "" },
            words.join(", ").replace(JOINT, " ")
        );
        line.trim_end_matches([':', ' ']).to_owned()
    }

    fn session_line(&self, palette: Palette, columns: usize) -> String {
        let (style, word, tail) = self.activity();
        let head = format!(" {} ", seconds(self.elapsed));
        let free = columns.saturating_sub(12 + head.len());
        if free < 12 {
            let line = format!("{word:>12} {tail}");
            return text::cut_end(&line, columns).into_owned();
        }
        let word = palette.styled(style, &format!("{word:>12}"));
        // A full bar would look finished while testcases are still being found.
        let has_bar = !self.is_open && (self.counts.total() > 0 || self.running > 0);
        if !has_bar || free < BAR_COLUMNS + 3 + text::columns(&tail) {
            return format!("{word}{head}{}", text::cut_end(&tail, free));
        }
        format!("{word}{head}{} {tail}", self.bar(palette, style))
    }

    fn bar(&self, palette: Palette, style: LineStyle) -> String {
        let done = (self.counts.total() * BAR_COLUMNS)
            .checked_div(self.planned)
            .unwrap_or(0);
        let done = done.min(BAR_COLUMNS);
        let full = palette.styled(style, &"=".repeat(done));
        format!("[{full}{}]", " ".repeat(BAR_COLUMNS - done))
    }
}

/// What happened to a module whose testcases are not known.
pub(super) const COULD_NOT_RUN: &str = "could not run";

/// Returns how many modules failed as a whole.
pub(super) fn modules_failed(modules: &Counts) -> usize {
    modules.bad() - modules.not_run
}

/// Returns the counts that are not zero, in words: `21 passed`, `1 failed`.
pub(super) fn summary_words(counts: &Counts, palette: Palette) -> Vec<String> {
    let numbers = [
        (counts.passed, LineStyle::Good, "passed"),
        (counts.failed, LineStyle::Bad, "failed"),
        (counts.errored, LineStyle::Bad, "errored"),
        (counts.timed_out, LineStyle::Bad, "timed out"),
        (counts.skipped, LineStyle::Notable, "skipped"),
        (counts.not_run, LineStyle::Notable, "not run"),
    ];
    numbers
        .into_iter()
        .filter(|(number, _, _)| *number > 0)
        .map(|(number, style, word)| count_words(palette, style, &format!("{number} {word}")))
        .collect()
}

/// Paints a count with its words and keeps them in one line.
pub(super) fn count_words(palette: Palette, style: LineStyle, words: &str) -> String {
    palette.styled(style, &words.replace(' ', &JOINT.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(rows: usize) -> Frame {
        let row = |number| Row {
            word: "RUNNING",
            elapsed: Duration::from_millis(410),
            label: format!("fifo::tests.test_fifo::burst_write/width={number}"),
            detail: String::new(),
        };
        Frame {
            rows: (0..rows).map(row).collect(),
            counts: Counts {
                passed: 11,
                failed: 1,
                ..Counts::default()
            },
            modules: Counts::default(),
            planned: 24,
            is_open: false,
            running: rows,
            building: 0,
            elapsed: Duration::from_secs(63),
            stopping: false,
        }
    }

    fn lines(frame: &Frame, columns: u16, rows: u16) -> Vec<String> {
        frame.lines(Palette { color: false }, TerminalSize { columns, rows })
    }

    #[test]
    fn a_wide_terminal_shows_names_counts_and_a_bar() {
        let expect = [
            "     RUNNING [   0.41s] fifo::tests.test_fifo::burst_write/width=0",
            "     RUNNING [   0.41s] fifo::tests.test_fifo::burst_write/width=1",
            "     Running [  63.00s] [==========          ] 12/24: 11 passed, 1 failed, 2 running",
        ];
        assert_eq!(lines(&frame(2), 120, 24), expect);
    }

    #[test]
    fn a_narrow_terminal_keeps_the_testcase_and_the_counts() {
        let expect = [
            "     RUNNING [   0.41s] burst…te/width=0",
            "     Running [  63.00s] 12/24: 11 passe…",
        ];
        assert_eq!(lines(&frame(1), 41, 24), expect);
    }

    #[test]
    fn no_line_reaches_the_last_column_and_the_frame_never_fills_the_terminal() {
        for columns in 1..120 {
            for rows in [1, 2, 3, 10, 30] {
                let lines = lines(&frame(40), columns, rows);
                assert!(
                    lines.len() < usize::from(rows.max(2)),
                    "{columns} by {rows}"
                );
                for line in lines {
                    assert!(
                        text::columns(&line) < usize::from(columns),
                        "{columns}: {line}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_counted() {
        let lines = lines(&frame(40), 80, 10);
        assert_eq!(lines.len(), 9);
        assert_eq!(lines[7], "             … and 33 more");
    }

    #[test]
    fn what_a_holder_is_doing_has_a_line_of_its_own_where_there_is_room() {
        let mut waiting = frame(2);
        waiting.rows[0].detail = "since 07:41:33: g++ -c Vtop.cpp".to_owned();
        let all = lines(&waiting, 40, 24);
        assert_eq!(all.len(), 4);
        assert_eq!(all[1], "             since 07:41:33: g++ -c Vt…");
        assert_eq!(lines(&waiting, 40, 4).len(), 3);
        assert!(
            lines(&waiting, 40, 4)
                .iter()
                .all(|it| !it.contains("since"))
        );
    }

    #[test]
    fn before_the_first_result_the_line_says_what_the_session_is_doing() {
        let mut young = frame(1);
        young.counts = Counts::default();
        (young.planned, young.running) = (0, 0);
        assert_eq!(lines(&young, 80, 24)[1], "    Building [  63.00s] ");
        young.rows.clear();
        young.planned = 226;
        assert_eq!(
            lines(&young, 80, 24),
            ["     Listing [  63.00s] 226 testcases found"]
        );
        young.stopping = true;
        assert_eq!(lines(&young, 80, 24), ["    Stopping [  63.00s] 0/226"]);
    }

    #[test]
    fn what_is_known_so_far_does_not_look_finished_while_more_is_being_built() {
        let mut open = frame(0);
        open.counts = Counts {
            passed: 3,
            ..Counts::default()
        };
        (open.planned, open.is_open, open.building) = (3, true, 1);
        open.rows = vec![Row {
            word: "BUILDING",
            ..frame(1).rows[0].clone()
        }];
        let words = "3/3 so far: 3 passed, 1 building".to_owned();
        assert_eq!(open.activity(), (LineStyle::Work, "Building", words));
        let last = "    Building [  63.00s] 3/3 so far: 3 passed, 1 building";
        assert_eq!(lines(&open, 100, 24)[1], last);
        (open.is_open, open.building) = (false, 0);
        assert!(lines(&open, 100, 24)[1].ends_with("[====================] 3/3: 3 passed"));
    }
}
