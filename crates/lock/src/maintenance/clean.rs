//! Removing files left by dead processes in shared directories.
//!
//! The order keeps the protocol. First attempts and tickets of dead processes are ended through
//! their registers, as a successor would; a register is never removed. What belongs to an attempt
//! is touched only after its end was read back, so an attempt that published in the meantime keeps
//! its directory. pytest-cocotb locks come next, since others wait for them; a result is announced
//! before its lock is removed. Temporary directories and files are last. Invariants: what is not
//! known to be dead stays; a dry run judges as any other one.

use crate::error::LockError;
use crate::holder::span;
use crate::ledger::record::Claim;
use crate::ledger::record::Commit;
use crate::maintenance::entry_watch::EntryWatch;
use crate::maintenance::entry_watch::Finding;
use crate::maintenance::survey::OpenEntry;
use crate::maintenance::survey::Past;
use crate::maintenance::survey::Survey;
use crate::maintenance::tree::Tree;
use crate::pytest_cocotb::lock::Info;
use crate::pytest_cocotb::lock::PytestLock;
use crate::temporary_name;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::fs::os_words;
use cocorun_edge::machine::Machine;
use cocorun_edge::machine::ProcessState;
use cocorun_edge::pinned::PinnedDir;
use cocorun_edge::storage::Storage;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long a vanished process must stay vanished before its files go.
const GONE_MIN: Duration = Duration::from_secs(1);

/// What was done, or would be done, with one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// An attempt or ticket was ended.
    Ended,
    /// The directory of an attempt was removed.
    RemovedAttempt,
    /// A pytest-cocotb lock was cleared.
    RemovedPytestLock,
    /// A temporary file was removed.
    RemovedFile,
    /// It stays, because it may be in use.
    Kept,
    /// It should have been removed and could not be.
    Failed,
}

/// Receives each action, its path and the reason.
pub type OnAction<'a> = &'a mut dyn FnMut(Action, &Utf8Path, &str);

/// Removes what dead processes left in a tree.
pub struct Cleaning {
    /// The shared disk.
    pub storage: Arc<dyn Storage>,
    /// Time, for watching holders elsewhere.
    pub clock: Arc<dyn Clock>,
    /// The machine.
    pub host: Arc<dyn Machine>,
    /// Whether to change nothing on disk.
    pub is_dry_run: bool,
    /// Whether to remove directories of superseded results as well.
    pub takes_retired: bool,
    /// Longest lease for which a holder on another node is watched.
    pub lease_max: Duration,
}

/// One ledger and what is known of it.
struct Site {
    path: Utf8PathBuf,
    survey: Survey,
    open: Vec<OpenEntry>,
    /// Those found dead; except in a dry run, `past` says how they ended.
    dead: BTreeSet<u32>,
    past: Vec<Past>,
}

impl Site {
    fn is_over(&self, past: &Past) -> bool {
        past.is_over || self.dead.contains(&past.number)
    }

    fn runs_here(&self, past: &Past) -> bool {
        self.survey.host.state_of(&past.claim.process) == ProcessState::Running
    }
}

impl Cleaning {
    /// Cleans it, and reports each item that was removed or kept.
    pub fn clean(&self, tree: &Tree, report: OnAction) {
        for (path, why) in &tree.unseen {
            report(Action::Kept, path, why);
        }
        let first_look = self.clock.now();
        let gone = self.files_of_the_gone(tree);
        let mut sites = self.sites(tree, report);
        self.watch(&mut sites, report);
        for site in &mut sites {
            if let Err(error) = self.end(site, report) {
                report(Action::Failed, &site.path, &error.to_string());
            }
        }
        for path in &tree.pytest_locks {
            self.pytest_lock(path, &sites, report);
        }
        for path in &tree.attempts {
            self.attempt(tree, path, &sites, report);
        }
        if !gone.is_empty() {
            let passed = self.clock.now().saturating_duration_since(first_look);
            self.clock.sleep(GONE_MIN.saturating_sub(passed));
        }
        for (path, is_dir) in &tree.private {
            let was_gone = gone.contains(path);
            self.private(tree, (path.as_path(), *is_dir), was_gone, &sites, report);
        }
        for site in &sites {
            self.scraps(tree, site, report);
        }
    }

    fn files_of_the_gone(&self, tree: &Tree) -> BTreeSet<Utf8PathBuf> {
        let paths = tree.private.iter().map(|(path, _)| path);
        let is_gone = |path: &&Utf8PathBuf| self.state_of_owner(path) == ProcessState::Gone;
        paths.filter(is_gone).cloned().collect()
    }

    fn state_of_owner(&self, path: &Utf8Path) -> ProcessState {
        let read = temporary_name::read(path.file_name().unwrap_or_default());
        read.map_or(ProcessState::Unknown, |(maker, _)| {
            maker.state_of(&*self.host)
        })
    }

    fn sites(&self, tree: &Tree, report: OnAction) -> Vec<Site> {
        let mut sites = Vec::new();
        for path in &tree.ledgers {
            let survey = Survey::of(
                Arc::clone(&self.storage),
                Arc::clone(&self.clock),
                Arc::clone(&self.host),
                path,
            );
            let Some(survey) = survey else { continue };
            match survey.open() {
                Ok(open) => sites.push(Site {
                    path: path.clone(),
                    survey,
                    open,
                    dead: BTreeSet::new(),
                    past: Vec::new(),
                }),
                Err(error) => report(Action::Kept, path, &error.to_string()),
            }
        }
        sites
    }

    /// Finds the dead; that can take as long as the longest lease.
    fn watch(&self, sites: &mut [Site], report: OnAction) {
        let mut watches: Vec<(usize, EntryWatch)> = Vec::new();
        for (index, site) in sites.iter().enumerate() {
            for entry in &site.open {
                match EntryWatch::of(&site.survey, entry, self.lease_max) {
                    Ok(watch) => watches.push((index, watch)),
                    Err(why) => report(Action::Kept, &site.path, &about(entry, &why)),
                }
            }
        }
        while !watches.is_empty() {
            let mut pause = Duration::MAX;
            watches.retain_mut(|(index, watch)| {
                let site = &mut sites[*index];
                match watch.look(&site.survey) {
                    Finding::Undecided(retry_in) => {
                        pause = pause.min(retry_in);
                        return true;
                    }
                    Finding::Ended => {}
                    Finding::Kept(why) => {
                        report(Action::Kept, &site.path, &about(&watch.entry, &why));
                    }
                    Finding::Dead => {
                        site.dead.insert(watch.entry.number);
                    }
                }
                false
            });
            if !watches.is_empty() {
                self.clock.sleep(pause);
            }
        }
    }

    /// Ends the attempts of dead processes, then reads how everything ended.
    fn end(&self, site: &mut Site, report: OnAction) -> Result<(), LockError> {
        for entry in &site.open {
            if !site.dead.contains(&entry.number) {
                continue;
            }
            let why = if entry.fate == ProcessState::Gone {
                "its process is no longer running on this node".to_owned()
            } else {
                let lease = span(entry.lease);
                format!("it gave no sign of life for its whole lease of {lease}")
            };
            let words = about(entry, &why);
            if self.is_dry_run || site.survey.revoke(entry.number)? {
                report(Action::Ended, &site.path, &words);
            } else {
                report(Action::Kept, &site.path, &about(entry, "it had just ended"));
            }
        }
        site.past = site.survey.past()?;
        Ok(())
    }

    /// Clears a pytest-cocotb lock all of whose guards belong to attempts that have ended.
    fn pytest_lock(&self, path: &Utf8Path, sites: &[Site], report: OnAction) {
        let (Ok(names), Ok(stamp)) = (self.storage.list(path), self.storage.stamp(path)) else {
            return;
        };
        let bytes = self.storage.read_file(&path.join("holder.info")).ok();
        let info = bytes.as_deref().and_then(Info::from_bytes);
        let tokens = PytestLock::tokens_in(&names, info.as_ref());
        let site = sites
            .iter()
            .find(|site| site.survey.ledger.pytest_lock_path() == path);
        let is_forsaken = |site: &Site| site.past.iter().all(|past| site.is_over(past));
        if tokens.is_empty() {
            if names.is_empty() && stamp.is_sticky() && site.is_some_and(is_forsaken) {
                self.removed(
                    Action::RemovedPytestLock,
                    path,
                    "it is an empty lock of a dead cocorun process",
                    || unless_taken(self.storage.remove_dir(path)),
                    report,
                );
            } else {
                report(Action::Kept, path, "it is not a lock of cocorun");
            }
            return;
        }
        let (mut ended, mut is_left) = (Vec::new(), true);
        for token in &tokens {
            let past = site.and_then(|site| {
                let mut past = site.past.iter();
                Some((site, past.find(|past| past.claim.token == *token)?))
            });
            match past {
                Some((site, past)) if site.is_over(past) && !site.runs_here(past) => {
                    ended.push((site, past));
                    continue;
                }
                Some((site, past)) if site.is_over(past) => {
                    report(
                        Action::Kept,
                        path,
                        "its process is still running on this node",
                    );
                }
                // Its holder was already reported.
                Some(_) => {}
                None => report(Action::Kept, path, "its owner is unknown"),
            }
            is_left = false;
        }
        if ended.is_empty() {
            return;
        }
        ended.sort_by_key(|(_, past)| past.number);
        let numbers: Vec<String> = ended.iter().map(|it| it.1.number.to_string()).collect();
        let (word, verb) = if ended.len() == 1 {
            ("attempt", "has")
        } else {
            ("attempts", "have")
        };
        let why = format!("{word} {} {verb} ended", numbers.join(" and "));
        let clear = || {
            let mut each = ended.iter();
            each.try_for_each(|(site, past)| self.clear_pytest_lock(site, past))
        };
        // Next to one that is still at work, only the others' files are removed.
        let action = if is_left {
            Action::RemovedPytestLock
        } else {
            Action::RemovedFile
        };
        self.removed(action, path, &why, clear, report);
    }

    fn clear_pytest_lock(&self, site: &Site, past: &Past) -> io::Result<()> {
        let ledger = &site.survey.ledger;
        let is_result = matches!(past.commit, Some(Commit::Done { .. })) && !past.is_retired;
        // The next to enter must find the result that was published under this lock.
        if is_result && !ledger.is_marked(past.number).unwrap_or(true) {
            ledger
                .mark(past.number, &past.claim.token)
                .map_err(|error| io::Error::other(error.to_string()))?;
        }
        let host = Arc::clone(&self.host);
        unless_taken(PytestLock::new(ledger, host, &past.claim.token, past.number).clear())
    }

    /// Removes the directory of an attempt that has ended without a result.
    fn attempt(&self, tree: &Tree, path: &Utf8Path, sites: &[Site], report: OnAction) {
        let owner = sites.iter().find_map(|site| {
            let is_its = |past: &&Past| {
                let ledger = &site.survey.ledger;
                ledger.attempt_dir(past.number, &past.claim.token) == path
            };
            site.past.iter().find(is_its).map(|past| (site, past))
        });
        let Some((site, past)) = owner else {
            report(Action::Kept, path, "its owner is unknown");
            return;
        };
        if !site.is_over(past) {
            return;
        }
        let is_newest = site.past.last().map(|last| last.number) == Some(past.number);
        let why = match &past.commit {
            Some(Commit::Done { .. }) if !past.is_retired => return,
            Some(Commit::Done { .. }) if !self.takes_retired => {
                let why = "a session may still be using this superseded result; see `--retired`";
                report(Action::Kept, path, why);
                return;
            }
            Some(Commit::Failed { .. }) if is_newest => {
                report(
                    Action::Kept,
                    path,
                    "its log shows why the last attempt failed",
                );
                return;
            }
            Some(Commit::Unknown) => {
                report(Action::Kept, path, "how it ended is unknown");
                return;
            }
            _ if site.runs_here(past) => {
                report(
                    Action::Kept,
                    path,
                    "its process is still running on this node",
                );
                return;
            }
            Some(commit) => format!("the attempt was {}", end_word(commit)),
            None => format!("the attempt was {}", end_word(&Commit::Revoked)),
        };
        let name = path.file_name().unwrap_or_default();
        let remove = || PinnedDir::above(&tree.root, path)?.remove_tree(name);
        self.removed(Action::RemovedAttempt, path, &why, remove, report);
    }

    /// Removes a temporary file of a process that is gone, or of an attempt that has ended.
    fn private(
        &self,
        tree: &Tree,
        (path, is_dir): (&Utf8Path, bool),
        was_gone: bool,
        sites: &[Site],
        report: OnAction,
    ) {
        let name = path.file_name().unwrap_or_default();
        let fate = self.state_of_owner(path);
        if is_dir && temporary_name::hangs_beside(path, &*self.host) {
            report(Action::Kept, path, "a rename inside it never returned");
            return;
        }
        let why = if fate == ProcessState::Gone && was_gone {
            "its process is no longer running on this node"
        } else if fate == ProcessState::Unknown && has_ended(path, sites) {
            "the lock it was made under was released"
        } else {
            if fate != ProcessState::Running {
                let why = "its process may still be running";
                report(Action::Kept, path, why);
            }
            return;
        };
        let remove = || {
            let dir = PinnedDir::above(&tree.root, path)?;
            if is_dir {
                dir.remove_tree(name)
            } else {
                dir.remove_file(name)
            }
        };
        self.removed(Action::RemovedFile, path, why, remove, report);
    }

    /// Removes an unfinished register whose writer is gone.
    fn scraps(&self, tree: &Tree, site: &Site, report: OnAction) {
        let names = self.storage.list(&site.path).unwrap_or_default();
        for name in names.iter().filter(|name| name.contains(".tmp.")) {
            let path = site.path.join(name);
            let bytes = self.storage.read_file(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let claim = Claim::from_text(text.trim_end());
            let is_of = |past: &&Past| text.contains(&format!(";t={};", past.claim.token));
            let process = if claim.token.is_empty() {
                let past = site.past.iter().find(is_of);
                past.map(|past| past.claim.process.clone())
            } else {
                Some(claim.process)
            };
            let fate = process.map_or(ProcessState::Unknown, |process| {
                self.host.state_of(&process)
            });
            match fate {
                ProcessState::Gone => {
                    let remove = || PinnedDir::above(&tree.root, &path)?.remove_file(name);
                    let why = "its process is no longer running on this node";
                    self.removed(Action::RemovedFile, &path, why, remove, report);
                }
                ProcessState::Unknown => {
                    report(Action::Kept, &path, "its process may still be running");
                }
                ProcessState::Running => {}
            }
        }
    }

    /// Removes one item, unless this is a dry run, and reports the outcome.
    fn removed(
        &self,
        action: Action,
        path: &Utf8Path,
        why: &str,
        remove: impl FnOnce() -> io::Result<()>,
        report: OnAction,
    ) {
        let outcome = if self.is_dry_run { Ok(()) } else { remove() };
        match outcome {
            // Another cleaner was faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                report(Action::Failed, path, &os_words(&error));
            }
            _ => report(action, path, why),
        }
    }
}

/// If another process entered a pytest-cocotb lock just before its directory was removed, that is
/// not a failure.
fn unless_taken(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => other,
    }
}

/// Whether a temporary file was made under a lock that its maker lost or released.
fn has_ended(path: &Utf8Path, sites: &[Site]) -> bool {
    let read = temporary_name::read(path.file_name().unwrap_or_default());
    let Some((maker, Some(target))) = read else {
        return false;
    };
    let dir = path.parent().unwrap_or(Utf8Path::new(""));
    let ledger = dir.join(".locks").join(format!("{target}.lock.ledger"));
    let Some(site) = sites.iter().find(|site| site.path == ledger) else {
        return false;
    };
    let mut its = site
        .past
        .iter()
        .filter(|past| maker == temporary_name::OwnerTag::of(&past.claim.process))
        .peekable();
    its.peek().is_some() && its.all(|past| site.is_over(past))
}

fn about(entry: &OpenEntry, why: &str) -> String {
    format!("{} of {}: {why}", entry.number, entry.holder.who())
}

/// Says how an attempt ended, for people.
fn end_word(commit: &Commit) -> &'static str {
    match commit {
        Commit::Done { .. } => "retired",
        Commit::Failed { .. } => "a failure",
        Commit::Revoked => "taken over",
        Commit::Released | Commit::Unknown => "given up",
    }
}
