//! What a user sees while another process holds a lock, and when the wait ends.

use crate::commands::reporting::can_draw;
use crate::commands::reporting::line;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::interrupt::Interrupt;
use crate::edge::terminal;
use crate::lock::WaitProgress;

use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

/// Without a terminal, the first line is printed after this long: a log that stays silent for half a
/// minute looks like a hang.
const FIRST_LINE: Duration = Duration::from_secs(2);

/// Settings for waiting from the environment, under compiletools' names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct WaitSettings {
    /// Time between two looks.
    pub(super) sleep_interval: Option<Duration>,
    /// Time between two lines.
    warn_interval: Duration,
    /// After this long, a line is a warning; the wait continues.
    long_after: Duration,
    /// Whether to report each lock.
    pub(super) is_verbose: bool,
    /// Whether a terminal, if there is one, can rewrite a line.
    can_draw: bool,
}

impl WaitSettings {
    /// Reads the environment; a bad value is reported and the default used.
    pub(super) fn new(environment: &Environment) -> Self {
        let seconds = |name: &str, default: f64| {
            let Some(text) = environment.get(name) else {
                return default;
            };
            let value = text.parse::<f64>().ok();
            value
                .filter(|value| (0.001..=1e9).contains(value))
                .unwrap_or_else(|| {
                    line(&format!(
                        "warning: invalid `{name}={text}`: not a number of seconds; using {default}"
                    ));
                    default
                })
        };
        let sleep = environment
            .get(env::CT_LOCK_SLEEP_INTERVAL)
            .map(|_| Duration::from_secs_f64(seconds(env::CT_LOCK_SLEEP_INTERVAL, 0.05)));
        let verbose = environment.get(env::CT_LOCK_VERBOSE).unwrap_or("0");
        let level = verbose.parse::<u32>().unwrap_or_else(|_| {
            let name = env::CT_LOCK_VERBOSE;
            line(&format!(
                "warning: invalid `{name}={verbose}`: not a number; using 0"
            ));
            0
        });
        Self {
            sleep_interval: sleep,
            warn_interval: Duration::from_secs_f64(seconds(env::CT_LOCK_WARN_INTERVAL, 30.0)),
            long_after: Duration::from_secs_f64(seconds(env::CT_LOCK_TIMEOUT, 600.0)),
            is_verbose: level > 0,
            can_draw: can_draw(environment),
        }
    }

    /// Returns how long to wait before the first line: a short wait is not worth a flicker or a
    /// line.
    fn first_line_after(&self, is_terminal: bool) -> Duration {
        if is_terminal {
            Duration::from_millis(500)
        } else {
            FIRST_LINE.min(self.warn_interval)
        }
    }
}

/// Shows one wait: on a terminal a line that is rewritten, otherwise a line from time to time.
pub(super) struct WaitView<'a> {
    interrupt: &'a Interrupt,
    settings: WaitSettings,
    what: String,
    is_terminal: bool,
    next: Duration,
    is_drawn: bool,
}

impl<'a> WaitView<'a> {
    pub(super) fn new(interrupt: &'a Interrupt, settings: WaitSettings, what: &str) -> Self {
        let is_terminal = io::stderr().is_terminal() && settings.can_draw;
        Self {
            interrupt,
            settings,
            what: what.to_owned(),
            is_terminal,
            next: settings.first_line_after(is_terminal),
            is_drawn: false,
        }
    }

    /// Shows the current state of the wait; `Break` once a signal has arrived.
    pub(super) fn on_wait(&mut self, waiting: &WaitProgress) -> ControlFlow<()> {
        if self.interrupt.raised().is_some() {
            self.clear();
            return ControlFlow::Break(());
        }
        if waiting.waited >= self.next {
            let is_long = waiting.waited >= self.settings.long_after;
            let seconds = waiting.waited.as_secs();
            let text = format!(
                "{}waiting {seconds} s for `{}`: held by {}",
                if is_long { "warning: " } else { "" },
                self.what,
                waiting.holder
            );
            if self.is_terminal {
                self.draw(&text);
                self.next = waiting.waited + Duration::from_secs(1);
            } else {
                line(&text);
                self.next = waiting.waited + self.settings.warn_interval;
            }
        }
        ControlFlow::Continue(())
    }

    fn draw(&mut self, text: &str) {
        let columns = usize::from(terminal::size_of_stderr().columns);
        let fitting: String = text.chars().take(columns.saturating_sub(1)).collect();
        let mut stderr = io::stderr();
        write!(stderr, "\r{fitting}\x1b[K").ok();
        stderr.flush().ok();
        self.is_drawn = true;
    }

    /// Clears the line.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let mut stderr = io::stderr();
            write!(stderr, "\r\x1b[K").ok();
            stderr.flush().ok();
        }
    }
}

impl Drop for WaitView<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_value_counts_as_the_default() {
        let environment = Environment::from_pairs([
            ("CT_LOCK_WARN_INTERVAL", "often"),
            ("CT_LOCK_SLEEP_INTERVAL", "-1"),
            ("CT_LOCK_VERBOSE", "loud"),
        ]);
        let settings = WaitSettings::new(&environment);
        assert_eq!(settings.warn_interval, Duration::from_secs(30));
        assert_eq!(settings.sleep_interval, Some(Duration::from_millis(50)));
        assert!(!settings.is_verbose);
        assert_eq!(settings.first_line_after(false), Duration::from_secs(2));
    }

    #[test]
    fn good_values_are_taken() {
        let environment = Environment::from_pairs([
            ("CT_LOCK_WARN_INTERVAL", "2"),
            ("CT_LOCK_SLEEP_INTERVAL", "0.2"),
            ("CT_LOCK_VERBOSE", "2"),
        ]);
        let settings = WaitSettings::new(&environment);
        assert_eq!(settings.warn_interval, Duration::from_secs(2));
        assert_eq!(settings.sleep_interval, Some(Duration::from_millis(200)));
        assert!(settings.is_verbose);
        assert_eq!(settings.first_line_after(false), Duration::from_secs(2));
    }
}
