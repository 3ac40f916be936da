//! Mounts that cannot outlive their test, however it ends.
//!
//! Invariants: everything is mounted in a mount namespace of the test's own thread, which the
//! kernel removes together with the last thread and child in it. A test that is killed while one of
//! its threads waits for an answer from its own file system would never end, since that thread
//! keeps open the device whose end it waits for: a separate process then ends the mounts by force.

use crate::client::Client;
use crate::passthrough::Passthrough;
use crate::support::skip;
use crate::weather::Weather;

use fuser::BackgroundSession;
use fuser::Config;
use fuser::MountOption;
use fuser::SessionACL;
use nix::errno::Errno;
use nix::mount::MntFlags;
use nix::mount::MsFlags;
use nix::mount::mount;
use nix::mount::umount2;
use nix::sched::CloneFlags;
use nix::sched::unshare;
use std::fs;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// A shared file system in memory, and the clients that mount it.
pub(crate) struct Shore {
    temp: TempDir,
    guardian: Child,
}

/// Names the process whose mounts [`guardian_child`] ends if it is killed.
const WARD: &str = "COCORUN_FAULTFS_WARD";

/// Starts a process in the namespace of this thread, outside our process group so that it survives
/// a kill of that.
fn guardian() -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["mount::guardian_child", "--exact"])
        .env(WARD, std::process::id().to_string())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Ends the mounts of a test that was killed.
#[test]
fn guardian_child() {
    let Ok(ward) = std::env::var(WARD) else {
        return;
    };
    let lives = || {
        let stat = fs::read_to_string(format!("/proc/{ward}/stat")).unwrap_or_default();
        let is_zombie = stat
            .rsplit_once(") ")
            .is_none_or(|it| it.1.starts_with('Z'));
        std::os::unix::process::parent_id().to_string() == ward && !is_zombie
    };
    while lives() {
        thread::sleep(Duration::from_millis(200));
    }
    for line in fs::read_to_string("/proc/self/mounts").unwrap().lines() {
        if let Some(rest) = line.strip_prefix("faultfs ")
            && let Some((at, _)) = rest.split_once(' ')
        {
            let at = at.replace("\\040", " ");
            umount2(at.as_str(), MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).ok();
        }
    }
}

impl Shore {
    /// Moves the calling thread into a mount namespace of its own; what it starts is there as well.
    /// `None` if that is not allowed, and then it says so.
    pub(crate) fn new() -> Option<Self> {
        if let Err(reason) = may_mount() {
            skip(&reason);
            return None;
        }
        let nothing: Option<&str> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(nothing, "/", nothing, private, nothing).unwrap();
        let temp = tempfile::tempdir().unwrap();
        let shore = Self {
            temp,
            guardian: guardian(),
        };
        fs::create_dir(shore.backing()).unwrap();
        let flags = MsFlags::empty();
        mount(
            Some("backing"),
            &shore.backing(),
            Some("tmpfs"),
            flags,
            nothing,
        )
        .unwrap();
        Some(shore)
    }

    /// Returns the directory behind all mounts: the true state.
    pub(crate) fn backing(&self) -> PathBuf {
        self.temp.path().join("backing")
    }

    /// Mounts the whole of it as the client of a name.
    pub(crate) fn mount(&self, name: &str, client: Client) -> Mount {
        let at = self.temp.path().join(name);
        fs::create_dir_all(&at).unwrap();
        Mount::new(&self.backing(), &at, client)
    }
}

impl Drop for Shore {
    fn drop(&mut self) {
        self.guardian.kill().ok();
        self.guardian.wait().ok();
        umount2(&self.backing(), MntFlags::MNT_DETACH).ok();
    }
}

/// Moves the calling thread into a mount namespace of its own, or says why it cannot mount there: a
/// container's root may not be allowed to, and its kernel may have no FUSE.
fn may_mount() -> Result<(), String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Err("only root can mount".to_owned());
    }
    let device = File::options().read(true).write(true).open("/dev/fuse");
    device.map_err(|error| format!("there is no FUSE here: {error}"))?;
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(Errno::EPERM) => Err("mounting is not allowed here".to_owned()),
        outcome => outcome.map_err(|errno| panic!("cannot unshare: {errno}")),
    }
}

/// One client's view, there as long as the value lives.
pub(crate) struct Mount {
    /// What goes wrong here.
    pub(crate) weather: Arc<Weather>,
    at: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mount {
    fn new(backing: &Path, at: &Path, client: Client) -> Self {
        let weather = Arc::new(Weather::default());
        let passthrough = Passthrough::new(backing.to_owned(), client, Arc::clone(&weather));
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("faultfs".to_owned()),
            MountOption::DefaultPermissions,
        ];
        config.acl = SessionACL::All;
        // A late answer keeps one thread busy; others must still get theirs.
        config.n_threads = Some(6);
        let session = fuser::spawn_mount(passthrough, at, &config).unwrap();
        Self {
            weather,
            at: at.to_owned(),
            session: Some(session),
        }
    }

    /// Returns where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.weather.clear_up();
        // By force, because a caller may hang in a request: this ends all requests.
        umount2(&self.at, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).ok();
        drop(self.session.take());
    }
}
