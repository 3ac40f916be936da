//! Who holds lock files and pytest-cocotb locks, in words, for `cocorun locks list`.
//!
//! Invariant: nothing is written, created or locked: the kernel's table is read, and a byte-range
//! lock is queried, which places none. Text written by others is shown, never acted on.

use crate::acquire::holder_of;
use crate::error::LockError;
use crate::holder::Holder;
use crate::ledger::record::Claim;
use crate::maintenance::survey::Survey;
use crate::maintenance::tree::Tree;
use crate::pytest_cocotb::lock::Info;
use crate::pytest_cocotb::lock::PytestLock;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::file_lock;
use cocorun_edge::file_lock::LockKind;
use cocorun_edge::kernel_locks;
use cocorun_edge::kernel_locks::KernelLock;
use cocorun_edge::machine::Machine;
use cocorun_edge::machine::ProcessIdentity;
use cocorun_edge::machine::ProcessState;
use cocorun_edge::mounts;
use cocorun_edge::storage::Storage;
use std::time::Duration;
use std::time::SystemTime;

/// What a path was found to be, in words.
pub type Found = (Utf8PathBuf, String);

/// Says who holds the locked files, and who last held the free lock files.
pub fn lock_files(tree: &Tree, host: &dyn Machine) -> Vec<Found> {
    let held = kernel_locks::held();
    let mut found = Vec::new();
    for (path, inode) in &tree.files {
        let mut at_inode = held.iter().filter(|lock| lock.inode == *inode).peekable();
        let lock = if at_inode.peek().is_some() {
            let device = mounts::device_of(path);
            at_inode.find(|lock| Some(lock.device) == device)
        } else {
            None
        };
        if lock.is_none() && path.extension() != Some("lock") {
            continue;
        }
        let claim = Claim::from_text(&file_lock::text_of(path));
        if lock.is_none() && claim.token.is_empty() {
            continue;
        }
        found.push((path.clone(), file_words(path, lock, &claim, host)));
    }
    found
}

fn file_words(
    path: &Utf8Path,
    lock: Option<&KernelLock>,
    claim: &Claim,
    host: &dyn Machine,
) -> String {
    let holder = holder_of(path, host);
    let doing = holder
        .doing
        .clone()
        .map_or(String::new(), |it| format!(": {it}"));
    if let Some(lock) = lock {
        let kind = if lock.is_flock { "flock" } else { "byte-range" };
        // If a holder may not write to the file, the previous holder's text stays in it.
        return match lock.pid {
            Some(pid) if pid != claim.process.pid => {
                format!("held by {kind}: pid {pid} on this node")
            }
            _ if claim.token.is_empty() => {
                format!("held by {kind}: an unnamed process on this node")
            }
            _ => format!("held by {kind}: {}{doing}", holder.who()),
        };
    }
    let is_held_elsewhere = file_lock::is_locked(path, LockKind::ByteRange).unwrap_or(false);
    if is_held_elsewhere {
        format!("held by byte-range: {}{doing}", holder.who())
    } else if host.state_of(&claim.process) == ProcessState::Running {
        // The table does not show the locks of all containers and of all file systems.
        format!(
            "probably held: {} is alive on this node{doing}",
            holder.who()
        )
    } else {
        format!("free on this node; last held by {}", holder.who())
    }
}

/// Says who holds a pytest-cocotb lock.
///
/// # Errors
/// The file system refused or stalled.
pub fn pytest_lock(
    path: &Utf8Path,
    storage: &dyn Storage,
    host: &dyn Machine,
    survey: Option<&Survey>,
) -> Result<String, LockError> {
    let names = storage.list(path).unwrap_or_default();
    let bytes = storage.read_file(&path.join("holder.info")).ok();
    let info = bytes.as_deref().and_then(Info::from_bytes);
    let tokens = PytestLock::tokens_in(&names, info.as_ref());
    if !tokens.is_empty() {
        let claims = survey.map(Survey::claims).transpose()?.unwrap_or_default();
        let ours = claims.iter().find(|claim| tokens.contains(&claim.token));
        return Ok(match (ours, &info) {
            (Some(claim), _) => {
                let holder = Holder {
                    since: since(claim),
                    ..Holder::of(&claim.process, path.to_owned())
                };
                let state = match host.state_of(&claim.process) {
                    ProcessState::Running => "is alive on this node",
                    ProcessState::Gone => {
                        "is no longer running on this node; the next cocorun takes over"
                    }
                    ProcessState::Unknown => "is on another node",
                };
                format!("pytest-cocotb lock of cocorun: {} {state}", holder.who())
            }
            (None, Some(info)) => format!(
                "pytest-cocotb lock of cocorun: {}; whether it is alive is unknown",
                holder_in(info, path).who()
            ),
            (None, None) => "pytest-cocotb lock of cocorun; whose is unknown".to_owned(),
        });
    }
    let Some(info) = info else {
        let whose = if storage.stamp(path).is_ok_and(|stamp| stamp.is_sticky()) {
            "pytest-cocotb lock of cocorun"
        } else {
            "lock of pytest-cocotb"
        };
        return Ok(format!("{whose}: no holder is named"));
    };
    let since = info.since().unwrap_or(SystemTime::UNIX_EPOCH);
    let state = if info.hostname != host.me().host || info.pid == 0 {
        "is on another node"
    } else if host.has_no_pid(info.pid, since) {
        "is no longer running on this node"
    } else {
        "is alive on this node"
    };
    let who = holder_in(&info, path).who();
    Ok(format!("lock of pytest-cocotb: {who} {state}"))
}

fn since(claim: &Claim) -> Option<SystemTime> {
    let since = Duration::from_secs(claim.since_s);
    let since = SystemTime::UNIX_EPOCH.checked_add(since);
    since.filter(|_| claim.since_s > 0)
}

fn holder_in(info: &Info, path: &Utf8Path) -> Holder {
    Holder {
        host: info.hostname.clone(),
        pid: info.pid,
        since: info.since().filter(|_| info.timestamp > 0.0),
        ..Holder::of(&ProcessIdentity::default(), path.to_owned())
    }
}
