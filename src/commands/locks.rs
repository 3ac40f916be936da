//! `cocorun locks`: who holds, who waits, and who is gone, below a directory.
//!
//! Invariant: nothing is removed. `break` ends an attempt through its register, as a successor
//! would; what stands in a register reaches no shell and no other program.

use crate::cli::LocksAction;
use crate::cli::LocksArgs;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::clock::SystemClock;
use crate::edge::fs;
use crate::edge::fs::EntryKind;
use crate::edge::host::Fate;
use crate::edge::host::SystemHost;
use crate::edge::storage::SystemStorage;
use crate::lock::LockError;
use crate::lock::survey::OpenEntry;
use crate::lock::survey::Survey;
use crate::model::exit_code::ExitCode;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::io;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// For how long a holder elsewhere is watched; its signs of life are at most 5 s apart.
const WATCH: Duration = Duration::from_secs(6);

/// Runs `cocorun locks`.
///
/// # Errors
/// The directory cannot be read, or holds no ledger where one was named.
pub(super) fn locks(args: &LocksArgs) -> Result<ExitCode> {
    match &args.action {
        LocksAction::List { dir } => list(dir),
        LocksAction::Break { ledger } => end_all(ledger),
    }
}

fn say(text: &str) {
    // A reader that has gone away has read enough.
    writeln!(io::stdout(), "{text}").ok();
}

fn survey(path: &Utf8Path) -> Option<Survey> {
    let (storage, clock) = (Arc::new(SystemStorage), Arc::new(SystemClock));
    Survey::of(storage, clock, Arc::new(SystemHost), path)
}

fn list(dir: &Utf8Path) -> Result<ExitCode> {
    let mut found = Vec::new();
    for path in ledgers(dir)? {
        let Some(survey) = survey(&path) else {
            continue;
        };
        let open = survey.open().map_err(LockError::into_problems)?;
        found.push((path, survey, open));
    }
    let is_unknown = |entry: &OpenEntry| entry.fate == Fate::Unknown;
    if found.iter().any(|(_, _, open)| open.iter().any(is_unknown)) {
        // Only a change that was seen tells that somebody elsewhere lives.
        SystemClock.sleep(WATCH);
    }
    for (path, survey, before) in &found {
        if before.is_empty() {
            say(&format!("{path}: free"));
            continue;
        }
        let after = if before.iter().any(is_unknown) {
            survey.open().map_err(LockError::into_problems)?
        } else {
            before.clone()
        };
        for entry in before {
            let now = after.iter().find(|now| now.number == entry.number);
            say(&format!(
                "{path}: {} {}: {}",
                entry.number,
                state(entry, now),
                entry.holder
            ));
        }
    }
    Ok(ExitCode::Success)
}

/// Says in a few words how it stands with an entry that was looked at twice.
fn state(before: &OpenEntry, now: Option<&OpenEntry>) -> &'static str {
    match (before.fate, now) {
        (_, None) => "has just ended",
        (Fate::Running, _) => "lives on this node",
        (Fate::Gone, _) => "is gone from this node; the next caller takes over",
        (Fate::Unknown, Some(now)) if now.sign != before.sign => "lives elsewhere",
        (Fate::Unknown, Some(_)) => "gave no sign of life while it was watched",
    }
}

fn end_all(path: &Utf8Path) -> Result<ExitCode> {
    let Some(survey) = survey(path).filter(|_| fs::exists(path)) else {
        let text = format!("`{path}` is no ledger");
        return Err(Diagnostic::error(Code::UsageBadArgument, text)
            .help("name a `.locks/NAME.ledger`, as `cocorun locks list` shows it")
            .into());
    };
    for entry in survey.open().map_err(LockError::into_problems)? {
        let is_ours = survey
            .revoke(entry.number)
            .map_err(LockError::into_problems)?;
        let word = if is_ours { "revoked" } else { "had ended" };
        say(&format!(
            "{path}: {} {word}: {}",
            entry.number, entry.holder
        ));
    }
    Ok(ExitCode::Success)
}

/// Finds the ledgers below a directory; links are not followed.
fn ledgers(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::entries(&dir)? {
            if entry.kind != EntryKind::Dir || !entry.is_utf8 {
                continue;
            }
            let path = dir.join(&entry.name);
            if dir.file_name() == Some(".locks") && entry.name.ends_with(".ledger") {
                found.push(path);
            } else {
                open.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
