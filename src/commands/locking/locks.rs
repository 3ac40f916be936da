//! `cocorun locks`: who holds, who waits and who is dead, below a directory.
//!
//! Invariants: `list` writes nothing; `break` and `clean` end an attempt through its register, as a
//! successor would, and no register is removed; text written by others reaches no shell and no
//! other program, and the terminal only without control characters.

use crate::cli::LocksAction;
use crate::cli::LocksArgs;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::clock::SystemClock;
use crate::edge::fs;
use crate::edge::machine::ProcessState;
use crate::edge::machine::SystemMachine;
use crate::edge::publish;
use crate::edge::storage::SystemStorage;
use crate::lock::maintenance::Action;
use crate::lock::maintenance::Cleaning;
use crate::lock::maintenance::EntryStage;
use crate::lock::maintenance::OpenEntry;
use crate::lock::maintenance::Survey;
use crate::lock::maintenance::Tree;
use crate::lock::maintenance::inspect;
use crate::lock::plain;
use crate::model::exit_code::ExitCode;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// How long a holder on another node is watched; its signs of life are at most 5 s apart.
const WATCH: Duration = Duration::from_secs(6);

/// Runs `cocorun locks`.
///
/// # Errors
/// The directory cannot be read, or holds no ledger where one was named.
pub(in crate::commands) fn locks(args: &LocksArgs) -> Result<ExitCode> {
    match &args.action {
        LocksAction::List { dir } => list(dir),
        LocksAction::Clean {
            dry_run,
            retired,
            watch,
            dir,
        } => clean(
            dir,
            &Cleaning {
                storage: Arc::new(SystemStorage),
                clock: Arc::new(SystemClock),
                host: Arc::new(SystemMachine),
                is_dry_run: *dry_run,
                takes_retired: *retired,
                lease_max: *watch,
            },
        ),
        LocksAction::Break { ledger } => end_all(ledger),
    }
}

fn say(text: &str) {
    // If the reader has closed its end, there is nothing left to report.
    writeln!(io::stdout(), "{}", plain(text)).ok();
}

fn survey(path: &Utf8Path) -> Option<Survey> {
    let (storage, clock) = (Arc::new(SystemStorage), Arc::new(SystemClock));
    Survey::of(storage, clock, Arc::new(SystemMachine), path)
}

fn list(dir: &Utf8Path) -> Result<ExitCode> {
    let tree = Tree::below(dir)?;
    let mut found = Vec::new();
    for path in &tree.ledgers {
        let Some(survey) = survey(path) else {
            continue;
        };
        match survey.open() {
            Ok(open) => found.push((path, survey, open)),
            Err(error) => say(&format!("{path}: could not be read: {error}")),
        }
    }
    let is_unknown = |entry: &OpenEntry| entry.fate == ProcessState::Unknown;
    if found.iter().any(|(_, _, open)| open.iter().any(is_unknown)) {
        // Only an observed change shows that a process on another node is alive.
        SystemClock.sleep(WATCH);
    }
    for (path, survey, before) in &found {
        if before.is_empty() {
            say(&format!("{path}: free"));
            continue;
        }
        let after = if before.iter().any(is_unknown) {
            match survey.open() {
                Ok(after) => after,
                Err(error) => {
                    // A holder that can no longer be seen has not necessarily ended.
                    say(&format!("{path}: could not be read again: {error}"));
                    continue;
                }
            }
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
    for path in &tree.pytest_locks {
        let ledger = path.with_extension("ledger");
        let survey = found.iter().find(|(path, ..)| **path == ledger);
        let survey = survey.map(|(_, survey, _)| survey);
        let words = inspect::pytest_lock(path, &SystemStorage, &SystemMachine, survey);
        let words = words.unwrap_or_else(|error| format!("could not be read: {error}"));
        say(&format!("{path}: {words}"));
    }
    for (path, words) in inspect::lock_files(&tree, &SystemMachine) {
        say(&format!("{path}: {words}"));
    }
    for (path, why) in &tree.unseen {
        say(&format!("{path}: could not be read: {why}"));
    }
    Ok(ExitCode::Success)
}

/// Describes the state of an entry that was looked at twice.
fn state(before: &OpenEntry, now: Option<&OpenEntry>) -> String {
    let stage = match now.unwrap_or(before).stage {
        EntryStage::Works => "works",
        EntryStage::Holds => "holds",
        EntryStage::Waits => "waits",
    };
    let life = match (before.fate, now) {
        (_, None) => "has just ended",
        (ProcessState::Running, _) => "alive on this node",
        (ProcessState::Gone, _) => "no longer running on this node; the next caller takes over",
        (ProcessState::Unknown, Some(now)) if now.sign != before.sign => "alive on another node",
        (ProcessState::Unknown, Some(_)) => "no sign of life while it was watched",
    };
    format!("{stage}, {life}")
}

fn end_all(path: &Utf8Path) -> Result<ExitCode> {
    let path = &ledger_of(path);
    let Some(survey) = survey(path).filter(|_| fs::exists(path)) else {
        let text = format!("`{path}` is not a ledger");
        let help = if publish::is_regular(path) {
            "kernel locks cannot be broken: they end with the process that holds them, which \
             `cocorun locks list` names"
        } else {
            "name a `.locks/NAME.ledger` from `cocorun locks list`"
        };
        return Err(Diagnostic::error(Code::UsageBadArgument, text)
            .help(help)
            .into());
    };
    let mut is_any = false;
    for entry in survey.open()? {
        let is_ours = survey.revoke(entry.number)?;
        let word = if is_ours { "revoked" } else { "had ended" };
        is_any |= is_ours;
        say(&format!(
            "{path}: {} {word}: {}",
            entry.number, entry.holder
        ));
    }
    if is_any {
        say(
            "a revoked holder that is still alive stops within 5 s, at its next sign of life; until \
             then its command runs at the same time as the next one",
        );
    }
    Ok(ExitCode::Success)
}

/// Returns the ledger of a lock, given the path that `cocorun lock` takes.
fn ledger_of(path: &Utf8Path) -> Utf8PathBuf {
    let (dir, name) = (path.parent().unwrap_or(Utf8Path::new("")), path.file_name());
    let ledger = dir
        .join(".locks")
        .join(format!("{}.ledger", name.unwrap_or_default()));
    if fs::exists(&ledger) {
        ledger
    } else {
        path.to_owned()
    }
}

/// Removes files left by dead processes, reports each one, and ends with the totals.
fn clean(dir: &Utf8Path, cleaning: &Cleaning) -> Result<ExitCode> {
    let tree = Tree::below(dir)?;
    let mut counts: BTreeMap<Action, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    cleaning.clean(&tree, &mut |action, path, words| {
        *counts.entry(action).or_default() += 1;
        say(&format!(
            "{} {path}: {words}",
            word(action, cleaning.is_dry_run)
        ));
        if action == Action::Failed {
            let text = format!("cannot clean `{}`: {}", plain(path.as_str()), plain(words));
            failures.push(Diagnostic::error(Code::LockStorage, text));
        }
    });
    let count = |action: Action| counts.get(&action).copied().unwrap_or(0);
    let (ended, removed) = if cleaning.is_dry_run {
        ("would end", "would remove")
    } else {
        ("ended", "removed")
    };
    say(&format!(
        "{ended} {}, {removed} {} attempt directories, {} pytest-cocotb locks and {} files; \
         {} kept, {} failed",
        count(Action::Ended),
        count(Action::RemovedAttempt),
        count(Action::RemovedPytestLock),
        count(Action::RemovedFile),
        count(Action::Kept),
        count(Action::Failed),
    ));
    if failures.is_empty() {
        Ok(ExitCode::Success)
    } else {
        Err(Problems(failures))
    }
}

fn word(action: Action, is_dry_run: bool) -> &'static str {
    match (action, is_dry_run) {
        (Action::Ended, false) => "ended",
        (Action::Ended, true) => "would end",
        (Action::Kept, _) => "kept",
        (Action::Failed, _) => "failed",
        (_, false) => "removed",
        (_, true) => "would remove",
    }
}
