//! The lock of pytest-cocotb, held in addition to our own so that its processes stay out.
//!
//! Its format is `DIR/.locks/NAME.lock/holder.info`: the directory is the lock, the file says who.
//! Only the leader of an epoch touches pytest-cocotb's lock, so cocorun never contends with itself here.
//!
//! pytest-cocotb breaks a lock by removing file and directory, and may do so while its holder is
//! alive. Therefore the lock's directory also holds a *guard*, an empty file with our epoch and
//! token: while it exists nobody else's `rmdir` succeeds, so a pytest-cocotb lock is taken over in
//! place. Invariants: our guard is put only into a directory that looks free; `holder.info` is read
//! again after that; a name that another program made is removed only after its holder counts as
//! dead. All paths stay valid because the guard pins the directory.

use crate::error::LockError;
use crate::holder::Holder;
use crate::ledger::Ledger;
use crate::ledger::disk::Disk;

use camino::Utf8PathBuf;
use cocorun_edge::machine::Machine;
use cocorun_edge::machine::ProcessIdentity;
use cocorun_edge::storage::Stamp;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// Start of a guard's name.
const GUARD: &str = "cocorun.guard.";
/// Size of our `holder.info`, fixed so that it can be overwritten at equal length, bytes.
const INFO_BYTES: usize = 512;
/// How long a process that is gone from this host must stay gone.
const GONE_MIN: Duration = Duration::from_secs(10);
/// How long a directory without a readable holder must stay as it is. The slowest process between
/// its `mkdir` and its first write must be faster.
const NAMELESS_MIN: Duration = Duration::from_secs(30);
/// How long a holder on another host must stay silent: pytest-cocotb's own `stale_timeout`.
const REMOTE_MIN: Duration = Duration::from_secs(7200);
/// How long to wait for a late `holder.info` after a guard was put into a foreign directory.
const SETTLE: Duration = Duration::from_secs(2);
/// Time between two looks at a foreign holder.
const POLL: Duration = Duration::from_secs(1);
/// How long a removed but open file may keep the directory from being removed.
const REMOVE_MAX: Duration = Duration::from_secs(2);

/// What `holder.info` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Info {
    pub hostname: String,
    pub pid: u32,
    /// Wall-clock time of the holder, seconds since 1970.
    pub timestamp: f64,
    /// Our token, if cocorun wrote it.
    pub token: Option<String>,
}

impl Info {
    /// Reads what anybody may have written; `None` if pytest-cocotb would not see a holder either.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let object = value.as_object()?;
        let timestamp = match object.get("timestamp") {
            Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
            Some(other) => other.as_f64(),
            None => Some(0.0),
        };
        Some(Self {
            hostname: object
                .get("hostname")
                .and_then(|it| it.as_str())
                .unwrap_or("")
                .to_owned(),
            pid: object
                .get("pid")
                .and_then(serde_json::Value::as_u64)
                .and_then(|pid| pid.try_into().ok())
                .unwrap_or(0),
            timestamp: timestamp
                .filter(|time: &f64| time.is_finite())
                .unwrap_or(0.0),
            token: object
                .get("cocorun")
                .and_then(|ours| ours.get("token"))
                .and_then(|token| token.as_str())
                .map(str::to_owned),
        })
    }

    pub(crate) fn since(&self) -> Option<SystemTime> {
        let since = Duration::try_from_secs_f64(self.timestamp).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(since)
    }
}

/// Writes a `holder.info` whose first part is what Python's `json.dumps` writes, byte for byte.
pub(crate) fn info_text(process: &ProcessIdentity, at_s: f64, token: &str, epoch: u32) -> String {
    let mut host = String::new();
    for unit in process.host.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some(c @ ('"' | '\\')) => write!(host, "\\{c}").ok(),
            Some(c) if c.is_ascii() && !c.is_ascii_control() => write!(host, "{c}").ok(),
            _ => write!(host, "\\u{unit:04x}").ok(),
        };
    }
    let pid = process.pid;
    let mut text = format!(
        "{{\"hostname\": \"{host}\", \"pid\": {pid}, \"timestamp\": {at_s:?}, \
         \"cocorun\": {{\"v\": 1, \"token\": \"{token}\", \"epoch\": {epoch}}}}}"
    );
    while text.len() < INFO_BYTES - 1 {
        text.push(' ');
    }
    text.push('\n');
    text
}

/// The observed state of a pytest-cocotb lock that another process may hold.
#[derive(Clone, Debug, PartialEq)]
struct Sight {
    inode: u64,
    changed: (i64, u32),
    names: BTreeSet<String>,
    info: Option<Vec<u8>>,
}

/// What the waiting leader remembers between two looks.
#[derive(Default)]
pub(crate) struct PytestLockWatch {
    sight: Option<(Sight, Instant)>,
    settling: Option<Instant>,
}

/// The outcome of one attempt to enter pytest-cocotb's lock.
#[derive(Debug)]
pub(crate) enum PytestLockEntry {
    /// It is ours.
    Held,
    /// Another process holds it.
    Wait {
        holder: Box<Holder>,
        retry_in: Duration,
    },
}

/// pytest-cocotb's lock of one step, as one leader uses it.
#[derive(Clone)]
pub(crate) struct PytestLock {
    ledger: Ledger,
    disk: Disk,
    host: Arc<dyn Machine>,
    me: ProcessIdentity,
    dir: Utf8PathBuf,
    token: String,
    epoch: u32,
}

fn is_absent<T>(result: &io::Result<T>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

impl PytestLock {
    pub(crate) fn new(ledger: &Ledger, host: Arc<dyn Machine>, token: &str, epoch: u32) -> Self {
        let me = host.me();
        Self {
            ledger: ledger.clone(),
            disk: ledger.disk.clone(),
            host,
            me,
            dir: ledger.pytest_lock_path(),
            token: token.to_owned(),
            epoch,
        }
    }

    fn info_path(&self) -> Utf8PathBuf {
        self.dir.join("holder.info")
    }

    fn guard_path(&self) -> Utf8PathBuf {
        let (epoch, token) = (self.epoch, &self.token);
        self.dir.join(format!("{GUARD}{epoch:08}.{token}"))
    }

    /// Tries once to enter.
    pub(crate) fn enter(&self, watch: &mut PytestLockWatch) -> Result<PytestLockEntry, LockError> {
        if let Some(since) = watch.settling {
            return self.settle(watch, since);
        }
        let is_fresh = self.disk.create_sticky_dir(&self.dir)?;
        let Some(sight) = self.look()? else {
            return Ok(self.wait(None, Duration::ZERO));
        };
        if let Some(wait) = self.occupied(watch, &sight).filter(|_| !is_fresh) {
            return Ok(wait);
        }
        let seen_before = sight.info;
        match self.disk.create_once(&self.guard_path(), b"") {
            Ok(()) => {}
            // The directory was removed meanwhile: its holder left, so try again.
            Err(LockError::Storage { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(self.wait(None, Duration::ZERO));
            }
            Err(error) => return Err(error),
        }
        // From here on this directory stays; what it holds now decides.
        let Some(sight) = self.look()? else {
            return Ok(self.wait(None, Duration::ZERO));
        };
        let is_ours_by_birth = self.disk.stamp(&self.dir).is_ok_and(|dir| dir.is_sticky());
        let is_known = sight.info.is_some() && sight.info == seen_before;
        if is_ours_by_birth || is_known {
            return self.take(watch);
        }
        // Another program may be between its `mkdir` and its first write.
        watch.settling = Some(self.disk.clock.now());
        let info = sight.info.as_deref().and_then(Info::from_bytes);
        Ok(self.wait(info.as_ref(), SETTLE))
    }

    /// Waits for a late writer before it takes pytest-cocotb's lock.
    fn settle(
        &self,
        watch: &mut PytestLockWatch,
        since: Instant,
    ) -> Result<PytestLockEntry, LockError> {
        let left = SETTLE.saturating_sub(self.disk.clock.now().saturating_duration_since(since));
        if !left.is_zero() {
            return Ok(self.wait(None, left));
        }
        watch.settling = None;
        self.take(watch)
    }

    /// Takes pytest-cocotb's lock with our guard in it, or leaves it to a live holder.
    fn take(&self, watch: &mut PytestLockWatch) -> Result<PytestLockEntry, LockError> {
        let Some(sight) = self.look()? else {
            return Ok(self.wait(None, Duration::ZERO));
        };
        let is_ours_by_birth = self.disk.stamp(&self.dir).is_ok_and(|dir| dir.is_sticky());
        // A directory without a name has settled; only the name of a live holder counts now.
        let has_name = sight.info.as_deref().and_then(Info::from_bytes).is_some();
        let without_guards = Sight {
            names: BTreeSet::new(),
            ..sight.clone()
        };
        let wait = self.occupied(watch, &without_guards);
        if let Some(wait) = wait.filter(|_| has_name && !is_ours_by_birth) {
            self.disk.storage.remove_file(&self.guard_path()).ok();
            return Ok(wait);
        }
        self.write_info()?;
        self.sweep(&sight)?;
        Ok(PytestLockEntry::Held)
    }

    /// Removes the guards of earlier leaders. One of a later epoch belongs to our successor, which
    /// only it keeps apart from pytest-cocotb, unless the ledger does not know it (any more).
    fn sweep(&self, sight: &Sight) -> Result<(), LockError> {
        for name in &sight.names {
            let Some((epoch, token)) = guard_of(name) else {
                continue;
            };
            if token == self.token {
                continue;
            }
            let is_earlier = epoch < self.epoch;
            let claim = if is_earlier {
                None
            } else {
                // A client may take a new claim to be absent until it asks for the directory.
                self.ledger.refresh();
                self.ledger.claim(epoch)?
            };
            if claim.is_none_or(|claim| claim.token != token) {
                self.disk.storage.remove_file(&self.dir.join(name)).ok();
            }
        }
        Ok(())
    }

    /// Looks at the directory; `None` if it is gone.
    fn look(&self) -> Result<Option<Sight>, LockError> {
        let stamp: io::Result<Stamp> = self.disk.stamp(&self.dir);
        if is_absent(&stamp) {
            return Ok(None);
        }
        let Some(names) = self.disk.list(&self.dir)? else {
            return Ok(None);
        };
        let info = self.disk.read(&self.info_path())?;
        let (inode, changed) = stamp.map_or((0, (0, 0)), |stamp| (stamp.inode, stamp.changed));
        Ok(Some(Sight {
            inode,
            changed,
            names: names.into_iter().collect(),
            info,
        }))
    }

    /// Returns the holder to wait for; `None` if the directory is free to be taken.
    fn occupied(&self, watch: &mut PytestLockWatch, sight: &Sight) -> Option<PytestLockEntry> {
        // A guard belongs to an earlier leader, whose epoch was closed before ours began.
        if sight.names.iter().any(|name| name.starts_with(GUARD)) {
            return None;
        }
        let is_empty = sight.names.is_empty() && sight.info.is_none();
        if is_empty && self.disk.stamp(&self.dir).is_ok_and(|dir| dir.is_sticky()) {
            return None;
        }
        let info = sight.info.as_deref().and_then(Info::from_bytes);
        if info.as_ref().is_some_and(|info| info.token.is_some()) {
            return None;
        }
        let now = self.disk.clock.now();
        let since = match &watch.sight {
            Some((seen, since)) if seen.same_holder(sight) => *since,
            _ => {
                watch.sight = Some((sight.clone(), now));
                now
            }
        };
        let enough = match &info {
            None => NAMELESS_MIN,
            Some(info) if info.hostname == self.me.host && info.pid != 0 => {
                let since = info.since().unwrap_or(SystemTime::UNIX_EPOCH);
                if !self.host.has_no_pid(info.pid, since) {
                    watch.sight = None;
                    return Some(self.wait(Some(info), POLL));
                }
                GONE_MIN
            }
            Some(_) => REMOTE_MIN,
        };
        if now.saturating_duration_since(since) >= enough {
            return None;
        }
        Some(self.wait(info.as_ref(), POLL))
    }

    fn wait(&self, info: Option<&Info>, retry_in: Duration) -> PytestLockEntry {
        let holder = Holder {
            host: info.map(|info| info.hostname.clone()).unwrap_or_default(),
            pid: info.map_or(0, |info| info.pid),
            user: String::new(),
            since: info.and_then(Info::since),
            last_sign_of_life: Duration::ZERO,
            doing: Some("pytest-cocotb".to_owned()),
            path: self.dir.clone(),
        };
        let retry_in = retry_in.max(Duration::from_millis(50));
        PytestLockEntry::Wait {
            holder: Box::new(holder),
            retry_in,
        }
    }

    fn write_info(&self) -> Result<(), LockError> {
        let now = self
            .disk
            .clock
            .wall()
            .duration_since(SystemTime::UNIX_EPOCH);
        let now_s = now.unwrap_or_default().as_secs_f64();
        let text = info_text(&self.me, now_s, &self.token, self.epoch);
        self.disk.write(&self.info_path(), text.as_bytes())
    }

    /// Puts `holder.info` back if a breaker removed it, and refreshes its time; needs our guard.
    pub(crate) fn beat(&self) {
        if self.disk.stamp(&self.guard_path()).is_err() {
            return;
        }
        let bytes = self
            .disk
            .storage
            .read_file(&self.info_path())
            .unwrap_or_default();
        let info = Info::from_bytes(&bytes);
        let now = self
            .disk
            .clock
            .wall()
            .duration_since(SystemTime::UNIX_EPOCH);
        let now_s = now.unwrap_or_default().as_secs_f64();
        let is_ours = info.as_ref().and_then(|info| info.token.as_ref()) == Some(&self.token);
        let is_fresh = info
            .as_ref()
            .is_some_and(|info| now_s - info.timestamp < 60.0);
        // A foreign name means that another process slipped in between our guard and our name; it
        // does its own work in its own place and loses nothing if we continue.
        if info.is_none() || (is_ours && !is_fresh) {
            let text = info_text(&self.me, now_s, &self.token, self.epoch);
            self.disk
                .storage
                .write_file(&self.info_path(), text.as_bytes())
                .ok();
        }
    }

    /// Releases the pytest-cocotb lock that we held and removes our files in it; after an error the
    /// next leader does it.
    pub(crate) fn leave(&self) {
        self.remove_name();
        // Without our guard the directory now belongs to another process.
        if self.disk.storage.remove_file(&self.guard_path()).is_ok() {
            self.remove_dir();
        }
    }

    /// Releases the lock on behalf of a dead leader. It may have died before it held
    /// pytest-cocotb's lock: then the directory belongs to another process.
    fn leave_for_the_dead(&self) {
        if self.remove_name() {
            self.leave();
        } else {
            self.abandon();
        }
    }

    /// Removes `holder.info` if it is ours; `true` if it was.
    fn remove_name(&self) -> bool {
        let storage = &self.disk.storage;
        let info = storage.read_file(&self.info_path()).ok();
        let info = info.as_deref().and_then(Info::from_bytes);
        let is_ours = info.and_then(|info| info.token).as_ref() == Some(&self.token);
        if is_ours {
            storage.remove_file(&self.info_path()).ok();
        }
        is_ours
    }

    /// Withdraws before pytest-cocotb's lock was entered: the directory may not be ours.
    pub(crate) fn abandon(&self) {
        let was_there = self.disk.storage.remove_file(&self.guard_path()).is_ok();
        if was_there && self.disk.stamp(&self.dir).is_ok_and(|dir| dir.is_sticky()) {
            self.disk.storage.remove_dir(&self.dir).ok();
        }
    }

    /// Removes the directory that was ours until now.
    fn remove_dir(&self) {
        let started = self.disk.clock.now();
        loop {
            let Err(error) = self.disk.storage.remove_dir(&self.dir) else {
                return;
            };
            let names = self.disk.storage.list(&self.dir).unwrap_or_default();
            // Only a file that is removed but open somewhere on this node is worth waiting for.
            let is_open = error.kind() == io::ErrorKind::DirectoryNotEmpty
                && names.iter().all(|name| name.starts_with(".nfs"));
            let passed = self.disk.clock.now().saturating_duration_since(started);
            if !is_open || passed >= REMOVE_MAX {
                return;
            }
            self.disk.clock.sleep(Duration::from_millis(50));
        }
    }

    #[cfg(feature = "locks")]
    /// Removes what the leader with this token left after its end; returns what is in the way.
    pub(crate) fn clear(&self) -> io::Result<()> {
        self.leave_for_the_dead();
        let storage = &self.disk.storage;
        match storage.remove_file(&self.guard_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A process that took the lock meanwhile has put something in, or is not cocorun.
        let is_left = self.disk.stamp(&self.dir).is_ok_and(|dir| dir.is_sticky())
            && storage.list(&self.dir).is_ok_and(|names| names.is_empty());
        if is_left {
            storage.remove_dir(&self.dir)
        } else {
            Ok(())
        }
    }

    #[cfg(feature = "locks")]
    /// Returns the tokens that a pytest-cocotb lock names: those of its guards, and that of its holder.
    pub(crate) fn tokens_in(names: &[String], info: Option<&Info>) -> BTreeSet<String> {
        let guards = names.iter().filter_map(|name| guard_of(name));
        let holder = info.and_then(|info| info.token.as_deref());
        guards
            .map(|(_, token)| token)
            .chain(holder)
            .map(str::to_owned)
            .collect()
    }

    /// Removes what a leader left that died after it had closed its epoch.
    pub(crate) fn clear_after_the_dead(&self, is_closed: &mut dyn FnMut(&str) -> bool) {
        let Ok(names) = self.disk.storage.list(&self.dir) else {
            return;
        };
        for name in &names {
            let Some((epoch, token)) = guard_of(name).filter(|(_, token)| is_closed(token)) else {
                continue;
            };
            Self {
                token: token.to_owned(),
                epoch,
                ..self.clone()
            }
            .leave_for_the_dead();
        }
        // A leader that is about to put its guard here finds the directory gone and starts again.
        if names.is_empty() && self.disk.stamp(&self.dir).is_ok_and(|dir| dir.is_sticky()) {
            self.disk.storage.remove_dir(&self.dir).ok();
        }
    }
}

/// Reads epoch and token out of a guard's name.
fn guard_of(name: &str) -> Option<(u32, &str)> {
    let (epoch, token) = name.strip_prefix(GUARD)?.split_once('.')?;
    Some((epoch.parse().ok()?, token))
}

impl Sight {
    /// Whether nothing suggests a change of holder; a guard that came and went does not.
    fn same_holder(&self, later: &Self) -> bool {
        self.inode == later.inode
            && self.info == later.info
            && (self.info.is_some() || self.changed == later.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn process(host: &str, pid: u32) -> ProcessIdentity {
        ProcessIdentity {
            host: host.to_owned(),
            pid,
            ..ProcessIdentity::default()
        }
    }

    #[test]
    fn the_first_part_of_our_text_is_what_python_writes() {
        // Made by json.dumps({"hostname": …, "pid": …, "timestamp": …}) of CPython 3.11.
        for (host, at_s, expected) in [
            (
                "vm",
                1_795_214_959.718_852_5,
                r#"{"hostname": "vm", "pid": 27076, "timestamp": 1795214959.7188525"#,
            ),
            (
                "kö\"\\x",
                1_795_214_959.0,
                r#"{"hostname": "k\u00f6\"\\x", "pid": 27076, "timestamp": 1795214959.0"#,
            ),
            (
                "😀",
                0.5,
                r#"{"hostname": "\ud83d\ude00", "pid": 27076, "timestamp": 0.5"#,
            ),
        ] {
            let text = info_text(&process(host, 27076), at_s, &"ab".repeat(16), 7);
            assert!(text.starts_with(expected), "{text}");
            assert_eq!(text.len(), INFO_BYTES);
            assert!(text.is_ascii() && text.ends_with(" \n"));
            let info = Info::from_bytes(text.as_bytes()).expect("our own text");
            assert_eq!((info.hostname.as_str(), info.pid), (host, 27076));
            assert_eq!(info.token, Some("ab".repeat(16)));
        }
    }

    #[test]
    fn what_crashes_the_reader_of_pytest_cocotb_is_read_calmly_here() {
        for nameless in ["", "{", "null", "[1]", "7", "\"text\"", "\u{fffd}"] {
            assert_eq!(Info::from_bytes(nameless.as_bytes()), None, "{nameless}");
        }
        let odd = r#"{"hostname": 7, "pid": "12", "timestamp": "soon", "cocorun": []}"#;
        assert_eq!(Info::from_bytes(odd.as_bytes()), Some(Info::default()));
        let text = r#"{"pid": 4294967296, "timestamp": "12.5"}"#;
        let info = Info::from_bytes(text.as_bytes()).expect("an object");
        assert_eq!(
            (info.pid, info.timestamp.to_bits()),
            (0, 12.5_f64.to_bits())
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            let info = Info::from_bytes(&bytes);
            prop_assert!(info.is_none_or(|info| info.timestamp.is_finite()));
        }
    }
}
