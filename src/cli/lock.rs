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
    /// What to lock; a file of this name or registers beside it stand for the lock
    #[arg(value_name = "PATH", required_unless_present = "target")]
    pub path: Option<Utf8PathBuf>,
    /// Run a command that makes this file, under a private name, and publish the file whole
    #[arg(long, value_name = "OUT", conflicts_with = "path")]
    pub target: Option<Utf8PathBuf>,
    /// Do nothing where the target exists once the lock is held
    #[arg(long, requires = "target")]
    pub skip_if_exists: bool,
    /// Do nothing where the target is as new as this file once the lock is held; may be repeated
    #[arg(long, value_name = "FILE", requires = "target")]
    pub skip_if_newer_than: Vec<Utf8PathBuf>,
    /// How to lock: ledger, exclusive-create, flock or byte-range; default: by the file system
    #[arg(long, value_name = "S", value_parser = strategy)]
    pub strategy: Option<Strategy>,
    /// How long to wait for the lock, seconds; -1 waits for ever
    #[arg(long, value_name = "S", default_value = "-1", allow_hyphen_values = true, value_parser = limit)]
    pub timeout: Limit,
    /// Longest time between two looks at the lock, seconds
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = span)]
    pub poll_interval: Option<Duration>,
    /// After which silence a holder counts as dead, seconds; ledger and exclusive-create only
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
    /// How long to wait for somebody else who does it, seconds; -1 waits for ever
    #[arg(long, value_name = "S", default_value = "-1", allow_hyphen_values = true, value_parser = limit)]
    pub timeout: Limit,
    /// Forget that it was done, and do nothing
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
    /// List ledgers, gates and lock files below a directory: who holds or waits, and whether they live
    List {
        /// Where to look
        #[arg(value_name = "DIR", default_value = ".")]
        dir: Utf8PathBuf,
    },
    /// Remove what the dead left below a directory; what is not known to be dead stays
    Clean {
        /// Tell what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Remove also the directories of results that no longer count; no session may use them
        #[arg(long)]
        retired: bool,
        /// Longest lease for which a holder elsewhere is watched, seconds
        #[arg(long, value_name = "S", default_value = "120", allow_negative_numbers = true, value_parser = span)]
        watch: Duration,
        /// Where to look
        #[arg(value_name = "DIR", default_value = ".")]
        dir: Utf8PathBuf,
    },
    /// Take a ledger from everybody who holds it or waits for it
    Break {
        /// The ledger, as `list` shows it
        #[arg(value_name = "LEDGER")]
        ledger: Utf8PathBuf,
    },
}

/// A time limit; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

fn strategy(text: &str) -> Result<Strategy, String> {
    Strategy::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Strategy::ALL.iter().map(|known| known.name()).collect();
        format!("known are {}; also lockdir, cifs, fcntl", names.join(", "))
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
    fn minus_one_waits_for_ever_and_zero_not_at_all() {
        assert_eq!(limit("-1"), Ok(Limit(None)));
        assert_eq!(limit("0"), Ok(Limit(Some(Duration::ZERO))));
        assert!(limit("nan").is_err());
        assert!(limit("soon").is_err());
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_directory() {
        assert!(name("compile").is_ok());
        for bad in ["", "..", "a/b", ".locks"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
