//! The look of a line: status word, duration, label; colours only where they are wanted.

use crate::report::text;
use crate::report::wording;

use crate::model::outcome::Outcome;
use crate::model::test::TestcaseId;

use anstyle::AnsiColor;
use anstyle::Style;
use std::time::Duration;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTABLE: Style = AnsiColor::Yellow.on_default().bold();
const WORK: Style = AnsiColor::Cyan.on_default().bold();
const NAME: Style = Style::new().bold();
const MODULE: Style = AnsiColor::Cyan.on_default();

/// What a status word means, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineStyle {
    /// As it should be.
    Good,
    /// Keeps the session from being a success.
    Bad,
    /// Worth a look.
    Notable,
    /// Under way.
    Work,
}

impl LineStyle {
    /// Returns the style of an outcome.
    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Passed => Self::Good,
            Outcome::Failed | Outcome::Errored | Outcome::TimedOut => Self::Bad,
            Outcome::Skipped | Outcome::NotRun => Self::Notable,
        }
    }
}

/// Paints text, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    /// Whether there is colour at all.
    pub(super) color: bool,
}

impl Palette {
    fn paint(self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// Paints text in the colour of its style.
    pub(super) fn styled(self, style: LineStyle, text: &str) -> String {
        let style = match style {
            LineStyle::Good => GOOD,
            LineStyle::Bad => BAD,
            LineStyle::Notable => NOTABLE,
            LineStyle::Work => WORK,
        };
        self.paint(style, text)
    }

    /// Paints what is the point of a line.
    pub(super) fn name(self, text: &str) -> String {
        self.paint(NAME, text)
    }

    /// Paints a testcase's name: build and module, then the testcase itself.
    pub(super) fn id(self, id: &TestcaseId) -> String {
        let name = wording::name(id);
        match name.match_indices("::").nth(1) {
            Some((at, _)) => {
                let (module, testcase) = name.split_at(at + 2);
                format!(
                    "{}{}",
                    self.paint(MODULE, module),
                    self.paint(NAME, testcase)
                )
            }
            None => self.paint(MODULE, &name),
        }
    }

    /// Returns a whole line: status word to the right of twelve cells, duration, label.
    ///
    /// The label is printed as it is: it must be harmless, and may be painted already.
    pub(super) fn line(
        self,
        style: LineStyle,
        word: &str,
        took: Option<Duration>,
        label: &str,
    ) -> String {
        let word = self.styled(style, &format!("{word:>12}"));
        match took {
            Some(took) => format!("{word} {} {label}", seconds(took)),
            None => format!("{word} {label}"),
        }
    }

    /// Returns a line whose plain label is cut so that it takes at most `columns` cells.
    pub(super) fn cut_line(
        self,
        style: LineStyle,
        word: &str,
        took: Duration,
        label: &str,
        columns: usize,
    ) -> String {
        let took = seconds(took);
        let head_columns = 12 + 1 + took.len() + 1;
        // On a narrow terminal the name is worth more than the duration.
        if columns < head_columns + 12 {
            let word = format!("{word:>12}");
            if columns <= 13 {
                return self.styled(style, &text::cut_end(&word, columns));
            }
            let label = text::cut_name(label, columns - 13);
            return format!("{} {label}", self.styled(style, &word));
        }
        let label = text::cut_name(label, columns - head_columns);
        format!(
            "{} {took} {label}",
            self.styled(style, &format!("{word:>12}"))
        )
    }
}

/// Returns a duration in brackets, `[   0.41s]` or `[   4.2ms]`.
pub(super) fn seconds(duration: Duration) -> String {
    if duration < text::SHORT {
        return format!("[{:>6.1}ms]", duration.as_secs_f64() * 1e3);
    }
    format!("[{:>7.2}s]", duration.as_secs_f64())
}
