//! Command-line types of `cocorun lock` and `cocorun once`.

use crate::lock::acquire::Strategy;

use camino::Utf8PathBuf;
use clap::Args;
use clap::Subcommand;
use std::time::Duration;

/// `cocorun lock`.
#[derive(Args, Debug)]
#[command(override_usage = "cocorun lock [OPTIONS] <PATH> -- <CMD>...\n       \
                            cocorun lock [OPTIONS] --target <OUT> -- <CMD>...")]
pub struct LockArgs {
    /// Path to lock; the lock is this file, or register files next to it
    #[arg(value_name = "PATH", required_unless_present = "target")]
    pub path: Option<Utf8PathBuf>,
    /// Run a command that writes this file under a temporary name, then publish it atomically
    #[arg(long, value_name = "OUT", conflicts_with = "path")]
    pub target: Option<Utf8PathBuf>,
    /// Do nothing if the target exists once the lock is held
    #[arg(long, requires = "target")]
    pub skip_if_exists: bool,
    /// Do nothing if the target is at least as new as this file once the lock is held; repeatable
    #[arg(long, value_name = "FILE", requires = "target")]
    pub skip_if_newer_than: Vec<Utf8PathBuf>,
    /// Locking method: ledger, exclusive-create, flock or byte-range; default: chosen by file system
    #[arg(long, value_name = "S", value_parser = strategy)]
    pub strategy: Option<Strategy>,
    /// Wait at most this many seconds for the lock; -1 waits forever
    #[arg(long, value_name = "S", default_value = "-1", allow_hyphen_values = true, value_parser = limit)]
    pub timeout: Limit,
    /// Check the lock at least this often, in seconds
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = span)]
    pub poll_interval: Option<Duration>,
    /// Treat a holder that is silent for this many seconds as dead; ledger and exclusive-create only
    #[arg(long, value_name = "S", default_value = "30", allow_negative_numbers = true, value_parser = span)]
    pub stale_timeout: Duration,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// `cocorun once`.
#[derive(Args, Debug)]
pub struct OnceArgs {
    /// The shared directory
    #[arg(long, value_name = "D")]
    pub dir: Utf8PathBuf,
    /// The step's name
    #[arg(long, value_name = "N", value_parser = name)]
    pub name: String,
    /// How long to wait for another process running this step, in seconds; -1 waits forever
    #[arg(long, value_name = "S", default_value = "-1", allow_hyphen_values = true, value_parser = limit)]
    pub timeout: Limit,
    /// Forget that the step was done, and run nothing
    #[arg(long, conflicts_with = "command")]
    pub clean: bool,
    /// The command and its arguments
    #[arg(last = true, required_unless_present = "clean", value_name = "CMD")]
    pub command: Vec<String>,
}

/// `cocorun locks`.
#[derive(Args, Debug)]
pub struct LocksArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: LocksAction,
}

/// What to do with locks.
#[derive(Debug, Subcommand)]
pub enum LocksAction {
    /// List locks below a directory: who holds or waits, and whether they are still alive
    List {
        /// Where to look
        #[arg(value_name = "DIR", default_value = ".")]
        dir: Utf8PathBuf,
    },
    /// Remove files left by dead processes below a directory; anything that may be in use stays
    Clean {
        /// Show what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Also remove superseded results; make sure no session is using them
        #[arg(long)]
        retired: bool,
        /// Watch a holder on another node for at most this many seconds
        #[arg(long, value_name = "S", default_value = "120", allow_negative_numbers = true, value_parser = span)]
        watch: Duration,
        /// Where to look
        #[arg(value_name = "DIR", default_value = ".")]
        dir: Utf8PathBuf,
    },
    /// Take a ledger away from its holder and all waiters
    Break {
        /// The ledger, as `list` shows it
        #[arg(value_name = "LEDGER")]
        ledger: Utf8PathBuf,
    },
}

/// A time limit; `None` waits forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

fn strategy(text: &str) -> Result<Strategy, String> {
    Strategy::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Strategy::ALL.iter().map(|known| known.name()).collect();
        format!(
            "known strategies: {}; also lockdir, cifs, fcntl",
            names.join(", ")
        )
    })
}

fn limit(text: &str) -> Result<Limit, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds < 0.0 => Ok(Limit(None)),
        Ok(seconds) if seconds <= 1e9 => Ok(Limit(Some(Duration::from_secs_f64(seconds)))),
        _ => Err("must be a number of seconds, or -1".to_owned()),
    }
}

fn span(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err("must be from 0.001 to 86400".to_owned()),
    }
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('.') || text.contains('/') {
        Err("must be a plain file name".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_one_waits_forever_and_zero_does_not_wait() {
        assert_eq!(limit("-1"), Ok(Limit(None)));
        assert_eq!(limit("0"), Ok(Limit(Some(Duration::ZERO))));
        assert!(limit("nan").is_err());
        assert!(limit("soon").is_err());
    }

    #[test]
    fn a_name_cannot_escape_the_directory() {
        assert!(name("compile").is_ok());
        for bad in ["", "..", "a/b", ".locks"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
