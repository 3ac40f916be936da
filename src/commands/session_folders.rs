//! The folders that sessions leave under `BUILD_DIR/runs`: who owns them, and which may be removed.
//!
//! Invariant: a folder is removed only if nothing writes there any more: its session recorded that
//! it has finished, or its process is provably gone (boot, namespaces, number and start time), or,
//! if that cannot be decided, it has shown no sign of life for [`SILENCE_MAX`] by the clock of the
//! disk.

use crate::diagnostic::Result;
use crate::edge::fs;
use crate::edge::machine::Machine;
use crate::edge::machine::ProcessIdentity;
use crate::edge::machine::ProcessState;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// How many finished sessions keep their folders.
const KEPT: usize = 10;
/// How long other finished sessions keep theirs as well: if a matrix of jobs shares a build
/// directory, each job's logs must stay where its report says.
const FRESH: Duration = Duration::from_secs(3600);
/// The maximum number of finished sessions that keep their folders.
const KEPT_MAX: usize = 200;
/// Marks a folder to which nothing is written any more.
const FINISHED: &str = "finished";
/// Names the session's process; its time is the session's last sign of life.
const OWNER: &str = "owner.json";
/// The link to the folder of the newest session.
const LATEST: &str = "latest";
/// How often a session shows that it is alive.
const SIGN_EVERY: Duration = Duration::from_secs(600);
/// A session of another node or boot counts as killed after this long without a sign of life.
const SILENCE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The process that writes to a folder.
#[derive(Debug, Deserialize, Serialize)]
struct Owner {
    host: String,
    pid: u32,
    start_ticks: u64,
    boot_id: String,
    pid_namespace: u64,
    time_namespace: u64,
}

impl From<ProcessIdentity> for Owner {
    fn from(process: ProcessIdentity) -> Self {
        Self {
            host: process.host,
            pid: process.pid,
            start_ticks: process.start_ticks,
            boot_id: process.boot_id,
            pid_namespace: process.pid_namespace,
            time_namespace: process.time_namespace,
        }
    }
}

impl From<Owner> for ProcessIdentity {
    fn from(owner: Owner) -> Self {
        Self {
            host: owner.host,
            user: String::new(),
            pid: owner.pid,
            start_ticks: owner.start_ticks,
            boot_id: owner.boot_id,
            pid_namespace: owner.pid_namespace,
            time_namespace: owner.time_namespace,
        }
    }
}

/// The folder of this process's session.
pub(super) struct SessionFolder {
    dir: Utf8PathBuf,
    owner: String,
    last_sign: Instant,
}

impl SessionFolder {
    /// Creates the folder and records its owner in it.
    ///
    /// # Errors
    /// It cannot be created or written.
    pub(super) fn make(dir: Utf8PathBuf, host: &dyn Machine, now: Instant) -> Result<Self> {
        fs::create_dirs(&dir)?;
        let owner = serde_json::to_string(&Owner::from(host.me()))
            .expect("strings and numbers have a form in JSON");
        fs::write(&dir.join(OWNER), &owner)?;
        Ok(Self {
            dir,
            owner,
            last_sign: now,
        })
    }

    /// Lets the link `latest` lead to this folder. Nothing depends on it, so it may fail, and if
    /// sessions start at once, one of them wins.
    pub(super) fn become_latest(&self) {
        let (Some(all), Some(name)) = (self.dir.parent(), self.dir.file_name()) else {
            return;
        };
        let link = all.join(LATEST);
        // Anything else of this name belongs to somebody else.
        if fs::is_link(&link) {
            fs::remove(&link);
        }
        fs::link(Utf8Path::new(name), &link).ok();
    }

    /// Shows that the session is alive, if it is time to.
    pub(super) fn live(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last_sign) >= SIGN_EVERY {
            self.last_sign = now;
            // A disk that fails occasionally must not end a session; the next sign serves as well.
            fs::write(&self.dir.join(OWNER), &self.owner).ok();
        }
    }

    /// Marks the folder as finished and removes those of old finished sessions; a folder with
    /// nothing worth keeping is removed at once.
    pub(super) fn tidy(self, is_worth_keeping: bool, host: &dyn Machine) {
        if !is_worth_keeping {
            fs::remove_dir(&self.dir);
            return;
        }
        let mark = self.dir.join(FINISHED);
        if fs::write(&mark, "").is_err() {
            return;
        }
        let Some(all) = self.dir.parent() else { return };
        let Some(now) = modified(&mark) else { return };
        let own = self.dir.file_name().unwrap_or_default();
        for name in surplus(all, own, host, now) {
            fs::remove_dir(&all.join(name));
        }
    }
}

/// Returns the time of a file by the clock of its disk.
fn modified(path: &Utf8Path) -> Option<SystemTime> {
    fs::stamp(path).ok().flatten()?.modified
}

/// Lists the folders to remove: all finished ones except those that ended last. `own` ends now.
fn surplus(all: &Utf8Path, own: &str, host: &dyn Machine, now: SystemTime) -> Vec<String> {
    let mut over: Vec<(SystemTime, String)> = fs::list(all)
        .unwrap_or_default()
        .into_iter()
        .filter(|name| name != own && name != LATEST && is_over(&all.join(name), host, now))
        .map(|name| (end_of(&all.join(&name)).unwrap_or(now), name))
        .collect();
    over.sort();
    let ours = usize::from(!own.is_empty());
    let certain = over.len().saturating_sub(KEPT_MAX - ours);
    over.truncate(over.len().saturating_sub(KEPT - ours));
    // A time in the future does not make a folder old.
    let is_fresh = |end| now.duration_since(end).is_ok_and(|age| age < FRESH);
    let mut index = 0;
    over.retain(|(end, _)| {
        index += 1;
        index <= certain || !is_fresh(*end)
    });
    over.into_iter().map(|(_, name)| name).collect()
}

/// Returns when a finished session last showed a sign of life.
fn end_of(dir: &Utf8Path) -> Option<SystemTime> {
    modified(&dir.join(FINISHED))
        .or_else(|| modified(&dir.join(OWNER)))
        .or_else(|| modified(dir))
}

/// Says whether a folder is named like that of a session, `20261121T084026-b08f42`; anything else
/// there belongs to somebody else.
fn is_named_as_session(dir: &Utf8Path) -> bool {
    let name = dir.file_name().unwrap_or_default();
    let Some((time, rest)) = name.split_once('-') else {
        return false;
    };
    let is_time = time.len() == 15
        && time
            .bytes()
            .enumerate()
            .all(|(at, byte)| byte.is_ascii_digit() || (at == 8 && byte == b'T'));
    is_time && rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_over(dir: &Utf8Path, host: &dyn Machine, now: SystemTime) -> bool {
    if fs::exists(&dir.join(FINISHED)) {
        return true;
    }
    let owner = dir.join(OWNER);
    let text = fs::read_if_there(&owner).unwrap_or_default();
    let process = serde_json::from_str::<Owner>(&text)
        .map(ProcessIdentity::from)
        .unwrap_or_default();
    match host.state_of(&process) {
        ProcessState::Gone => true,
        ProcessState::Running => false,
        ProcessState::Unknown if !fs::exists(&owner) && !is_named_as_session(dir) => false,
        ProcessState::Unknown => {
            // Until a session has recorded its owner, the folder itself is its only sign of life.
            let sign = modified(&owner).or_else(|| modified(dir));
            sign.and_then(|sign| now.duration_since(sign).ok())
                .is_some_and(|silence| silence >= SILENCE_MAX)
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests make old files, and compare with the real clock"
)]
mod tests {
    use super::*;

    use crate::edge::machine::SystemMachine;

    use std::fs::File;

    /// Folders of sessions in a temporary directory.
    struct Runs(tempfile::TempDir);

    impl Runs {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a temporary folder"))
        }

        fn all(&self) -> &Utf8Path {
            Utf8Path::from_path(self.0.path()).expect("UTF-8")
        }

        /// Creates the folder of a session that has not finished.
        fn open(&self, name: &str, process: ProcessIdentity) -> Utf8PathBuf {
            let dir = self.all().join(name);
            fs::create_dirs(&dir).expect("made");
            let text = serde_json::to_string(&Owner::from(process)).expect("JSON");
            fs::write(&dir.join(OWNER), text).expect("written");
            dir
        }
    }

    fn killed() -> ProcessIdentity {
        let me = SystemMachine.me();
        ProcessIdentity {
            start_ticks: me.start_ticks - 1,
            ..me
        }
    }

    fn of_another_node() -> ProcessIdentity {
        ProcessIdentity {
            boot_id: "another".to_owned(),
            ..SystemMachine.me()
        }
    }

    #[test]
    fn only_dead_sessions_of_this_boot_count_as_finished_at_once() {
        let runs = Runs::new();
        let now = SystemTime::now();
        let is_over = |name, process| is_over(&runs.open(name, process), &SystemMachine, now);
        assert!(is_over("killed", killed()));
        assert!(!is_over("living", SystemMachine.me()));
        assert!(!is_over("elsewhere", of_another_node()));
    }

    #[test]
    fn a_session_of_another_node_counts_as_finished_after_a_week_of_silence() {
        let runs = Runs::new();
        let dir = runs.open("elsewhere", of_another_node());
        let sign = modified(&dir.join(OWNER)).expect("it has a time");
        let just = sign + SILENCE_MAX;
        assert!(!is_over(
            &dir,
            &SystemMachine,
            just - Duration::from_millis(1)
        ));
        assert!(is_over(&dir, &SystemMachine, just));
        let living = runs.open("living", SystemMachine.me());
        assert!(!is_over(&living, &SystemMachine, just));
    }

    #[test]
    fn a_folder_without_an_owner_counts_as_finished_after_a_week() {
        let runs = Runs::new();
        let dir = runs.all().join("20261121T084026-b08f42");
        let strange = runs.all().join("golden-20261121");
        for dir in [&dir, &strange] {
            fs::create_dirs(dir).expect("made");
        }
        let now = SystemTime::now();
        assert!(!is_over(&dir, &SystemMachine, now));
        for dir in [&dir, &strange] {
            let opened = File::open(dir).expect("opened");
            opened.set_modified(now - SILENCE_MAX).expect("set");
        }
        assert!(is_over(&dir, &SystemMachine, now));
        assert!(!is_over(&strange, &SystemMachine, now), "it is somebody's");
    }

    #[test]
    fn a_session_shows_that_it_is_alive() {
        let runs = Runs::new();
        let now = Instant::now();
        let dir = runs.all().join("own");
        let mut folder = SessionFolder::make(dir.clone(), &SystemMachine, now).expect("made");
        let owner = dir.join(OWNER);
        let old = SystemTime::UNIX_EPOCH;
        File::options()
            .write(true)
            .open(&owner)
            .and_then(|file| file.set_modified(old))
            .expect("set");
        folder.live(now + SIGN_EVERY / 2);
        assert_eq!(modified(&owner), Some(old));
        folder.live(now + SIGN_EVERY);
        assert!(modified(&owner) > Some(old));
    }

    #[test]
    fn the_link_to_the_latest_session_follows_it_and_is_no_session() {
        let runs = Runs::new();
        let now = Instant::now();
        let link = runs.all().join(LATEST);
        for name in ["20261121T084026-b08f42", "20261121T084027-000000"] {
            let folder = SessionFolder::make(runs.all().join(name), &SystemMachine, now);
            folder.expect("made").become_latest();
            assert_eq!(fs::real_path(&link), fs::real_path(&runs.all().join(name)));
            fs::write(&runs.all().join(name).join(FINISHED), "").expect("written");
        }
        for number in 0..KEPT_MAX {
            runs.open(&format!("{number:03}"), killed());
        }
        let later = SystemTime::now() + FRESH;
        let surplus = surplus(runs.all(), "", &SystemMachine, later);
        assert_eq!(surplus.len(), KEPT_MAX + 2 - KEPT);
        assert!(!surplus.contains(&LATEST.to_owned()));
        fs::remove(&link);
        fs::create_dirs(&link).expect("made");
        let dir = runs.all().join("20261121T084028-000000");
        let folder = SessionFolder::make(dir, &SystemMachine, now).expect("made");
        folder.become_latest();
        assert!(!fs::is_link(&link), "it is somebody's");
    }

    #[test]
    fn the_newest_ten_finished_sessions_are_kept_however_they_ended() {
        let runs = Runs::new();
        runs.open("a-living", SystemMachine.me());
        let finished = runs.open("a-finished", SystemMachine.me());
        fs::write(&finished.join(FINISHED), "").expect("written");
        runs.open("a-killed", killed());
        for number in 0..8 {
            runs.open(&format!("b-{number}"), killed());
        }
        let now = SystemTime::now() + FRESH;
        let surplus = || surplus(runs.all(), "", &SystemMachine, now);
        assert_eq!(surplus(), Vec::<String>::new());
        runs.open("b-8", killed());
        assert_eq!(surplus(), ["a-finished"]);
        runs.open("b-9", killed());
        assert_eq!(surplus(), ["a-finished", "a-killed"]);
    }

    #[test]
    fn the_end_of_a_session_counts_and_not_its_start() {
        let runs = Runs::new();
        let long = runs.open("a-long", killed());
        let now = SystemTime::now() + 2 * FRESH;
        for number in 0..KEPT {
            runs.open(&format!("b-{number}"), killed());
        }
        // The session that does the cleaning is the last one, whatever its name.
        let surplus = |own| surplus(runs.all(), own, &SystemMachine, now);
        assert_eq!(surplus("a-long"), ["b-0"]);
        assert_eq!(surplus(""), ["a-long"]);
        let mark = long.join(FINISHED);
        fs::write(&mark, "").expect("written");
        let later = SystemTime::now() + FRESH / 2;
        let file = File::options().write(true).open(&mark).expect("opened");
        file.set_modified(later).expect("set");
        assert_eq!(surplus(""), ["b-0"]);
    }

    #[test]
    fn sessions_of_the_last_hour_are_kept_as_well_up_to_a_limit() {
        let runs = Runs::new();
        for number in 0..KEPT_MAX + 2 {
            runs.open(&format!("{number:03}"), killed());
        }
        let now = SystemTime::now();
        assert_eq!(surplus(runs.all(), "", &SystemMachine, now), ["000", "001"]);
        let later = surplus(runs.all(), "", &SystemMachine, now + FRESH);
        assert_eq!(later.len(), KEPT_MAX + 2 - KEPT);
    }
}
