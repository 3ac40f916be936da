//! What the dead left in shared directories, and taking it away.
//!
//! The order keeps the protocol. First attempts and tickets of the dead are ended through their
//! registers, as a successor would; a register is never removed. What hangs on an attempt is
//! touched only after its end was read back, so an attempt that published meanwhile keeps its
//! directory. Gates come next, since others wait for them; a result is announced before its gate
//! goes. Private directories and files are last. Invariants: what is not known to be dead stays;
//! without [`Cleaning::is_dry_run`] or with it, the same is judged.

use crate::LockError;
use crate::gate::Gate;
use crate::gate::Info;
use crate::holder::span;
use crate::private_name;
use crate::record::Claim;
use crate::record::Commit;
use crate::survey::OpenEntry;
use crate::survey::Past;
use crate::survey::Survey;
use crate::tree::Tree;
use crate::vigil::Sighting;
use crate::vigil::Vigil;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::fs::os_words;
use cocorun_edge::host::Fate;
use cocorun_edge::host::Host;
use cocorun_edge::pinned::PinnedDir;
use cocorun_edge::storage::Storage;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long a vanished process must stay vanished before its files go.
const GONE_MIN: Duration = Duration::from_secs(1);

/// What was done, or would be, with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// An attempt or ticket was ended.
    Ended,
    /// The directory of an attempt was removed.
    RemovedAttempt,
    /// A gate was cleared.
    RemovedGate,
    /// A private file was removed.
    RemovedFile,
    /// It stays, since it may be somebody's.
    Kept,
    /// It should have gone and could not.
    Failed,
}

/// Takes note of what was done with what, and why.
pub type Tell<'a> = &'a mut dyn FnMut(Deed, &Utf8Path, &str);

/// Clears a tree of what the dead left there.
pub struct Cleaning {
    /// The shared disk.
    pub storage: Arc<dyn Storage>,
    /// Time, for watching holders elsewhere.
    pub clock: Arc<dyn Clock>,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// Whether nothing on the disk is changed.
    pub is_dry_run: bool,
    /// Whether directories of results that no longer count go as well.
    pub takes_retired: bool,
    /// Longest lease for which a holder elsewhere is watched.
    pub lease_max: Duration,
}

/// One ledger and what is known of it.
struct Site {
    path: Utf8PathBuf,
    survey: Survey,
    open: Vec<OpenEntry>,
    /// Those found dead; without a dry run their ends stand in `past`.
    dead: BTreeSet<u32>,
    past: Vec<Past>,
}

impl Site {
    fn is_over(&self, past: &Past) -> bool {
        past.is_over || self.dead.contains(&past.number)
    }

    fn runs_here(&self, past: &Past) -> bool {
        self.survey.host.fate(&past.claim.process) == Fate::Running
    }
}

impl Cleaning {
    /// Clears it, and tells each thing that was done or left.
    pub fn clean(&self, tree: &Tree, tell: Tell) {
        for (path, why) in &tree.unseen {
            tell(Deed::Kept, path, why);
        }
        let first_look = self.clock.now();
        let gone = self.files_of_the_gone(tree);
        let mut sites = self.sites(tree, tell);
        self.watch(&mut sites, tell);
        for site in &mut sites {
            if let Err(error) = self.end(site, tell) {
                tell(Deed::Failed, &site.path, &error.to_string());
            }
        }
        for path in &tree.gates {
            self.gate(path, &sites, tell);
        }
        for path in &tree.attempts {
            self.attempt(tree, path, &sites, tell);
        }
        if !gone.is_empty() {
            let passed = self.clock.now().saturating_duration_since(first_look);
            self.clock.sleep(GONE_MIN.saturating_sub(passed));
        }
        for (path, is_dir) in &tree.private {
            let was_gone = gone.contains(path);
            self.private(tree, (path.as_path(), *is_dir), was_gone, &sites, tell);
        }
        for site in &sites {
            self.scraps(tree, site, tell);
        }
    }

    fn files_of_the_gone(&self, tree: &Tree) -> BTreeSet<Utf8PathBuf> {
        let paths = tree.private.iter().map(|(path, _)| path);
        let is_gone = |path: &&Utf8PathBuf| self.fate_of_maker(path) == Fate::Gone;
        paths.filter(is_gone).cloned().collect()
    }

    fn fate_of_maker(&self, path: &Utf8Path) -> Fate {
        let read = private_name::read(path.file_name().unwrap_or_default());
        read.map_or(Fate::Unknown, |(maker, _)| maker.fate(&*self.host))
    }

    fn sites(&self, tree: &Tree, tell: Tell) -> Vec<Site> {
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
                Err(error) => tell(Deed::Kept, path, &error.to_string()),
            }
        }
        sites
    }

    /// Finds out who is dead; that can take as long as the longest lease.
    fn watch(&self, sites: &mut [Site], tell: Tell) {
        let mut vigils: Vec<(usize, Vigil)> = Vec::new();
        for (index, site) in sites.iter().enumerate() {
            for entry in &site.open {
                match Vigil::of(&site.survey, entry, self.lease_max) {
                    Ok(vigil) => vigils.push((index, vigil)),
                    Err(why) => tell(Deed::Kept, &site.path, &about(entry, &why)),
                }
            }
        }
        while !vigils.is_empty() {
            let mut pause = Duration::MAX;
            vigils.retain_mut(|(index, vigil)| {
                let site = &mut sites[*index];
                match vigil.look(&site.survey) {
                    Sighting::Undecided(retry_in) => {
                        pause = pause.min(retry_in);
                        return true;
                    }
                    Sighting::Ended => {}
                    Sighting::Kept(why) => {
                        tell(Deed::Kept, &site.path, &about(&vigil.entry, &why));
                    }
                    Sighting::Dead => {
                        site.dead.insert(vigil.entry.number);
                    }
                }
                false
            });
            if !vigils.is_empty() {
                self.clock.sleep(pause);
            }
        }
    }

    /// Ends what the dead hold, then reads how everything ended.
    fn end(&self, site: &mut Site, tell: Tell) -> Result<(), LockError> {
        for entry in &site.open {
            if !site.dead.contains(&entry.number) {
                continue;
            }
            let why = if entry.fate == Fate::Gone {
                "its process is gone from this node".to_owned()
            } else {
                let lease = span(entry.lease);
                format!("it gave no sign of life for its whole lease of {lease}")
            };
            let words = about(entry, &why);
            if self.is_dry_run || site.survey.revoke(entry.number)? {
                tell(Deed::Ended, &site.path, &words);
            } else {
                tell(Deed::Kept, &site.path, &about(entry, "it had just ended"));
            }
        }
        site.past = site.survey.past()?;
        Ok(())
    }

    /// Clears a gate all of whose guards belong to attempts that have ended.
    fn gate(&self, path: &Utf8Path, sites: &[Site], tell: Tell) {
        let (Ok(names), Ok(stamp)) = (self.storage.list(path), self.storage.stamp(path)) else {
            return;
        };
        let bytes = self.storage.read_file(&path.join("holder.info")).ok();
        let info = bytes.as_deref().and_then(Info::from_bytes);
        let tokens = Gate::tokens_in(&names, info.as_ref());
        let site = sites
            .iter()
            .find(|site| site.survey.ledger.gate_path() == path);
        let is_forsaken = |site: &Site| site.past.iter().all(|past| site.is_over(past));
        if tokens.is_empty() {
            if names.is_empty() && stamp.is_sticky() && site.is_some_and(is_forsaken) {
                self.removed(
                    Deed::RemovedGate,
                    path,
                    "cocorun made it and is gone",
                    || unless_taken(self.storage.remove_dir(path)),
                    tell,
                );
            } else {
                tell(Deed::Kept, path, "it is not cocorun's");
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
                    tell(Deed::Kept, path, "its process runs on this node");
                }
                // Its holder was told of already.
                Some(_) => {}
                None => tell(Deed::Kept, path, "no claim tells whose it is"),
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
            each.try_for_each(|(site, past)| self.clear_gate(site, past))
        };
        // Beside one that goes on, only what the others put in goes.
        let deed = if is_left {
            Deed::RemovedGate
        } else {
            Deed::RemovedFile
        };
        self.removed(deed, path, &why, clear, tell);
    }

    fn clear_gate(&self, site: &Site, past: &Past) -> io::Result<()> {
        let ledger = &site.survey.ledger;
        let is_result = matches!(past.commit, Some(Commit::Done { .. })) && !past.is_retired;
        // Who enters next must find the result that was published behind this gate.
        if is_result && !ledger.is_marked(past.number).unwrap_or(true) {
            ledger
                .mark(past.number, &past.claim.token)
                .map_err(|error| io::Error::other(error.to_string()))?;
        }
        let host = Arc::clone(&self.host);
        unless_taken(Gate::new(ledger, host, &past.claim.token, past.number).clear())
    }

    /// Removes the directory of an attempt that has ended and is no result.
    fn attempt(&self, tree: &Tree, path: &Utf8Path, sites: &[Site], tell: Tell) {
        let owner = sites.iter().find_map(|site| {
            let is_its = |past: &&Past| {
                let ledger = &site.survey.ledger;
                ledger.attempt_dir(past.number, &past.claim.token) == path
            };
            site.past.iter().find(is_its).map(|past| (site, past))
        });
        let Some((site, past)) = owner else {
            tell(Deed::Kept, path, "no claim tells whose it is");
            return;
        };
        if !site.is_over(past) {
            return;
        }
        let is_newest = site.past.last().map(|last| last.number) == Some(past.number);
        let why = match &past.commit {
            Some(Commit::Done { .. }) if !past.is_retired => return,
            Some(Commit::Done { .. }) if !self.takes_retired => {
                let why = "it was a result and a session may still use it; see `--retired`";
                tell(Deed::Kept, path, why);
                return;
            }
            Some(Commit::Failed { .. }) if is_newest => {
                tell(
                    Deed::Kept,
                    path,
                    "its log tells why the last attempt failed",
                );
                return;
            }
            Some(Commit::Unknown) => {
                tell(Deed::Kept, path, "how it ended is not known");
                return;
            }
            _ if site.runs_here(past) => {
                tell(Deed::Kept, path, "its process runs on this node");
                return;
            }
            Some(commit) => format!("the attempt was {}", end_word(commit)),
            None => format!("the attempt was {}", end_word(&Commit::Revoked)),
        };
        let name = path.file_name().unwrap_or_default();
        let remove = || PinnedDir::above(&tree.root, path)?.remove_tree(name);
        self.removed(Deed::RemovedAttempt, path, &why, remove, tell);
    }

    /// Removes a private file of a process that is gone, or of an attempt that has ended.
    fn private(
        &self,
        tree: &Tree,
        (path, is_dir): (&Utf8Path, bool),
        was_gone: bool,
        sites: &[Site],
        tell: Tell,
    ) {
        let name = path.file_name().unwrap_or_default();
        let fate = self.fate_of_maker(path);
        if is_dir && private_name::hangs_beside(path, &*self.host) {
            tell(Deed::Kept, path, "a rename did not return in it");
            return;
        }
        let why = if fate == Fate::Gone && was_gone {
            "its process is gone from this node"
        } else if fate == Fate::Unknown && has_ended(path, sites) {
            "the lock under which it was made was given up"
        } else {
            if fate != Fate::Running {
                let why = "its process is not known to be gone";
                tell(Deed::Kept, path, why);
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
        self.removed(Deed::RemovedFile, path, why, remove, tell);
    }

    /// Removes what was to become a register, where its writer is gone.
    fn scraps(&self, tree: &Tree, site: &Site, tell: Tell) {
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
            let fate = process.map_or(Fate::Unknown, |process| self.host.fate(&process));
            match fate {
                Fate::Gone => {
                    let remove = || PinnedDir::above(&tree.root, &path)?.remove_file(name);
                    let why = "its process is gone from this node";
                    self.removed(Deed::RemovedFile, &path, why, remove, tell);
                }
                Fate::Unknown => {
                    tell(Deed::Kept, &path, "its process is not known to be gone");
                }
                Fate::Running => {}
            }
        }
    }

    /// Removes one thing, unless this is a dry run, and tells what came of it.
    fn removed(
        &self,
        deed: Deed,
        path: &Utf8Path,
        why: &str,
        remove: impl FnOnce() -> io::Result<()>,
        tell: Tell,
    ) {
        let outcome = if self.is_dry_run { Ok(()) } else { remove() };
        match outcome {
            // Another cleaner was faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tell(Deed::Failed, path, &os_words(&error));
            }
            _ => tell(deed, path, why),
        }
    }
}

/// Takes it for no failure that somebody entered a gate just before its directory was removed.
fn unless_taken(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => other,
    }
}

/// Says whether a private file was made under a lock that was taken from its maker or let go.
fn has_ended(path: &Utf8Path, sites: &[Site]) -> bool {
    let read = private_name::read(path.file_name().unwrap_or_default());
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
        .filter(|past| maker == private_name::Maker::of(&past.claim.process))
        .peekable();
    its.peek().is_some() && its.all(|past| site.is_over(past))
}

fn about(entry: &OpenEntry, why: &str) -> String {
    format!("{} of {}: {why}", entry.number, entry.holder.who())
}

/// Says how an attempt ended, as people say it.
fn end_word(commit: &Commit) -> &'static str {
    match commit {
        Commit::Done { .. } => "retired",
        Commit::Failed { .. } => "a failure",
        Commit::Revoked => "taken over",
        Commit::Released | Commit::Unknown => "given up",
    }
}
