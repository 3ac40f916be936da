//! Which processes of a project live, seen from outside: through proc(5), not through cocorun.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

/// Often enough to see nearly every simulator, and seldom enough not to be felt.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A live process that belongs to a project.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its process id.
    pub(crate) pid: i32,
    /// Its process group.
    pub(crate) group: i32,
    /// Its arguments, with spaces between them.
    pub(crate) command: String,
}

impl Found {
    /// Reads a process, unless it is gone or a zombie.
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, so fields are counted from its end.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let is_dead = matches!(fields[0], "Z" | "X");
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        // A thread of the kernel has no command line.
        (!is_dead && !command.is_empty()).then(|| Self {
            pid,
            group: fields[2].parse().unwrap(),
            command: String::from_utf8_lossy(&command).replace('\0', " "),
        })
    }

    /// Says whether it works in this folder, or was told of it by arguments or environment.
    fn knows(&self, folder: &Path) -> bool {
        let pid = self.pid;
        let name = folder.to_str().unwrap();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        cwd.starts_with(folder)
            || self.command.contains(name)
            || String::from_utf8_lossy(&environment).contains(name)
    }
}

/// Lists all processes but this one and its threads.
fn all() -> Vec<Found> {
    let own = i32::try_from(std::process::id()).unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter_map(Found::read)
        .collect()
}

/// Lists the live processes that know a project.
pub(crate) fn of_project(folder: &Path) -> Vec<Found> {
    all()
        .into_iter()
        .filter(|found| found.knows(folder))
        .collect()
}

/// The process groups of a project.
#[derive(Default)]
struct Groups {
    /// Those that have members. One without is forgotten: its number may come back as that of
    /// strangers, of which a busy machine starts tens of thousands in minutes.
    live: BTreeSet<i32>,
    seen: usize,
}

impl Groups {
    /// Takes in what lives now.
    fn update(&mut self, all: &[Found], folder: &Path) {
        self.live
            .retain(|group| all.iter().any(|found| found.group == *group));
        let own = nix::unistd::getpgrp().as_raw();
        for found in all {
            if found.group != own && found.knows(folder) && self.live.insert(found.group) {
                self.seen += 1;
            }
        }
    }
}

/// Looks at a project's processes all the time and remembers their groups.
pub(crate) struct Watch {
    folder: PathBuf,
    groups: Arc<Mutex<Groups>>,
    is_over: Arc<AtomicBool>,
    looker: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to look; `folder` must be one that nothing else on the machine uses.
    pub(crate) fn over(folder: &Path) -> Self {
        let folder = folder.canonicalize().unwrap();
        let groups = Arc::new(Mutex::new(Groups::default()));
        let is_over = Arc::new(AtomicBool::new(false));
        let looker = thread::spawn({
            let (folder, groups, is_over) = (folder.clone(), groups.clone(), is_over.clone());
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    groups.lock().unwrap().update(&all(), &folder);
                    thread::sleep(LOOK_EVERY);
                }
            }
        });
        Self {
            folder,
            groups,
            is_over,
            looker: Some(looker),
        }
    }

    /// Lists the live processes that know the project or are in a group that did.
    pub(crate) fn alive(&self) -> Vec<Found> {
        let groups = self.groups.lock().unwrap();
        all()
            .into_iter()
            .filter(|found| groups.live.contains(&found.group) || found.knows(&self.folder))
            .collect()
    }

    /// Says how many process groups were seen, so that a test knows that it saw something.
    pub(crate) fn groups_seen(&self) -> usize {
        self.groups.lock().unwrap().seen
    }

    /// Checks that nothing is left, at once.
    #[track_caller]
    pub(crate) fn expect_nothing_left(&self) {
        let alive = self.alive();
        assert!(alive.is_empty(), "left behind: {alive:#?}");
    }

    /// Checks that nothing is left within `limit`: what the kernel kills dies a moment later.
    #[track_caller]
    pub(crate) fn expect_nothing_left_within(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while !self.alive().is_empty() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        self.expect_nothing_left();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(looker) = self.looker.take() {
            looker.join().ok();
        }
    }
}
