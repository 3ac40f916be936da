//! Who holds a lock, in words that a waiting person can use.

use camino::Utf8PathBuf;
use cocorun_edge::machine::ProcessIdentity;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

/// The process that a caller waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its node.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// Its user.
    pub user: String,
    /// When it took the lock, by its own wall clock; `None` if it did not say.
    pub since: Option<SystemTime>,
    /// How long ago its last sign of life was; for people only, since it compares the clock of the
    /// file server with ours.
    pub last_sign_of_life: Duration,
    /// What it is doing, in its own words.
    pub doing: Option<String>,
    /// The lock's path on disk.
    pub path: Utf8PathBuf,
}

impl Holder {
    /// Makes one from a process that just gave a sign of life.
    pub(crate) fn of(process: &ProcessIdentity, path: Utf8PathBuf) -> Self {
        Self {
            host: process.host.clone(),
            pid: process.pid,
            user: process.user.clone(),
            since: None,
            last_sign_of_life: Duration::ZERO,
            doing: None,
            path,
        }
    }
}

impl Holder {
    /// Says only who it is.
    pub fn name(&self) -> String {
        let host = plain(&self.host);
        let user = match plain(&self.user) {
            user if user.is_empty() => user,
            user => format!(" ({user})"),
        };
        format!("pid {} on {}{user}", self.pid, or_unknown(&host))
    }

    /// Says who it is and since when.
    pub fn who(&self) -> String {
        match self.since_in("%Y-%m-%d %H:%M:%S") {
            Some(since) => format!("{} since {since}", self.name()),
            None => self.name(),
        }
    }

    /// Says who it is, since when, and when it was last seen.
    pub fn seen(&self) -> String {
        let ago = span(self.last_sign_of_life);
        format!("{}; last sign of life {ago} ago", self.who())
    }

    /// Says since when, as briefly as possible at this time; nothing if that is unknown.
    pub fn since_shortly(&self, now: SystemTime) -> Option<String> {
        let today = Timestamp::try_from(now).ok()?.to_zoned(TimeZone::system());
        let is_today = self.since_in("%Y-%m-%d")? == today.strftime("%Y-%m-%d").to_string();
        self.since_in(if is_today {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M"
        })
    }

    fn since_in(&self, format: &str) -> Option<String> {
        let since = self.since.and_then(|time| Timestamp::try_from(time).ok())?;
        let local = since.to_zoned(TimeZone::system());
        Some(local.strftime(format).to_string())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.seen())?;
        if let Some(doing) = &self.doing {
            write!(f, ": {}", plain(doing))?;
        }
        Ok(())
    }
}

/// Removes characters that could control a terminal: anybody may write into a shared directory.
///
/// Also removes marks that change the writing direction, which can make a line read differently.
pub fn plain(text: &str) -> String {
    let is_harmless = |character: &char| {
        !character.is_control()
            && !matches!(
                character,
                '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            )
    };
    text.chars().filter(is_harmless).collect()
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() {
        "an unknown node"
    } else {
        text
    }
}

/// Formats a duration for people: `12 s`, `9 min 58 s`, `2 h 5 min`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_reads_as_a_sentence() {
        let holder = Holder {
            host: "node07".to_owned(),
            pid: 41822,
            user: "anna".to_owned(),
            since: None,
            last_sign_of_life: Duration::from_secs(598),
            doing: Some("verilator, 63 of 80 files".to_owned()),
            path: "/nfs/lock".into(),
        };
        assert_eq!(
            holder.to_string(),
            "pid 41822 on node07 (anna); last sign of life 9 min 58 s ago: \
             verilator, 63 of 80 files"
        );
    }

    #[test]
    fn the_day_is_told_only_where_it_is_another_one() {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let holder = Holder {
            since: Some(since),
            ..Holder::of(&ProcessIdentity::default(), "/nfs/lock".into())
        };
        let short = holder.since_shortly(since).expect("it is known");
        assert_eq!(short.len(), "07:41:33".len(), "{short}");
        let later = since + Duration::from_secs(200_000);
        let long = holder.since_shortly(later).expect("it is known");
        assert_eq!(long.len(), "2026-11-21 07:41".len(), "{long}");
        assert!(holder.who().ends_with(&short));
    }

    #[test]
    fn what_others_wrote_cannot_control_the_terminal() {
        let holder = Holder {
            host: "node\u{1b}[2J".to_owned(),
            pid: 1,
            user: "\u{7}anna".to_owned(),
            since: None,
            last_sign_of_life: Duration::ZERO,
            doing: Some("\r\nok\u{202e}".to_owned()),
            path: "/nfs/lock".into(),
        };
        let said = holder.to_string();
        assert!(!said.contains(char::is_control), "{holder:?}");
        assert!(!said.contains('\u{202e}'), "{holder:?}");
    }

    #[test]
    fn durations_are_said_in_two_units_at_most() {
        let words = [0, 59, 60, 3599, 7500].map(|s| span(Duration::from_secs(s)));
        assert_eq!(
            words,
            ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "2 h 5 min"]
        );
    }
}
