//! Which process this is, on which machine, and whether another one is still alive.
//!
//! A host name is not an identity: containers share it, DHCP changes it. A process is named by boot
//! id, PID namespace, PID and start time; only where all of these can be compared is a verdict
//! given, everything else is [`ProcessState::Unknown`].

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use nix::unistd::Uid;
use nix::unistd::User;
use std::fs;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::io;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use std::time::SystemTime;

/// A process's identity, which no other process ever has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// The node's name, for people.
    pub host: String,
    /// The user's name, for people.
    pub user: String,
    /// The process id in its namespace.
    pub pid: u32,
    /// Start time in clock ticks since boot, field 22 of `/proc/PID/stat`; 0 where unknown.
    pub start_ticks: u64,
    /// The kernel's random name of this boot; empty where unknown.
    pub boot_id: String,
    /// Inode of the PID namespace; 0 where unknown.
    pub pid_namespace: u64,
    /// Inode of the time namespace, which shifts `start_ticks`; 0 where unknown.
    pub time_namespace: u64,
}

impl ProcessIdentity {
    /// Whether the PIDs of the two can be compared.
    pub fn is_comparable(&self, other: &Self) -> bool {
        !self.boot_id.is_empty()
            && self.boot_id == other.boot_id
            && self.pid_namespace != 0
            && self.pid_namespace == other.pid_namespace
            && self.time_namespace == other.time_namespace
    }
}

/// What is known about another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It is running.
    Running,
    /// It is gone, or its PID now belongs to another process.
    Gone,
    /// It is on another machine, or cannot be identified.
    Unknown,
}

/// The machine, as seen by this process.
pub trait Machine: Send + Sync {
    /// Returns this process.
    fn me(&self) -> ProcessIdentity;
    /// Returns the state of another process.
    fn state_of(&self, of: &ProcessIdentity) -> ProcessState;
    /// Whether a process with this PID that was alive at `since` is gone from this machine.
    ///
    /// Meant for locks of other programs, which name a process only by its PID.
    fn has_no_pid(&self, pid: u32, since: SystemTime) -> bool;
    /// Returns 128 random bits, never the same twice in the world.
    fn random(&self) -> u128;
    /// Becomes the one process of this user on this machine that watches `what`; `None` while
    /// another one does.
    fn local_watcher(&self, what: &str) -> Option<LocalWatcher>;
}

/// The right to watch something for all processes of this machine, until it is dropped.
///
/// It is a name in the kernel's table of abstract sockets: it leaves nothing on any disk, ends
/// with the process, and does not cross machines or network namespaces.
#[derive(Debug, Default)]
pub struct LocalWatcher {
    _name: Option<UnixDatagram>,
}

/// The real machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemMachine;

impl Machine for SystemMachine {
    fn me(&self) -> ProcessIdentity {
        let pid = std::process::id();
        ProcessIdentity {
            host: hostname::get()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            user: User::from_uid(Uid::effective())
                .ok()
                .flatten()
                .map_or_else(|| Uid::effective().to_string(), |user| user.name),
            pid,
            start_ticks: start_of(pid).map_or(0, |(ticks, _)| ticks),
            boot_id: read("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            pid_namespace: inode("/proc/self/ns/pid"),
            time_namespace: inode("/proc/self/ns/time"),
        }
    }

    fn local_watcher(&self, what: &str) -> Option<LocalWatcher> {
        let name = format!("cocorun-{}-{what}", Uid::effective());
        let bound =
            SocketAddr::from_abstract_name(name).and_then(|it| UnixDatagram::bind_addr(&it));
        match bound {
            Ok(socket) => Some(LocalWatcher {
                _name: Some(socket),
            }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            // Without such sockets, every process watches for itself.
            Err(_) => Some(LocalWatcher::default()),
        }
    }

    fn state_of(&self, of: &ProcessIdentity) -> ProcessState {
        if !self.me().is_comparable(of) || of.pid == 0 {
            return ProcessState::Unknown;
        }
        let Ok(pid) = i32::try_from(of.pid) else {
            return ProcessState::Unknown;
        };
        if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
            return ProcessState::Gone;
        }
        // With `hidepid` the entry of another user's process is invisible: no verdict then.
        match start_of(of.pid) {
            Some((ticks, _)) if of.start_ticks != 0 && ticks != of.start_ticks => {
                ProcessState::Gone
            }
            // A zombie no longer does anything, although `kill` still finds it.
            Some((_, 'Z' | 'X')) => ProcessState::Gone,
            Some(_) => ProcessState::Running,
            None => ProcessState::Unknown,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge that others must go through"
    )]
    fn has_no_pid(&self, pid: u32, since: SystemTime) -> bool {
        let Ok(number) = i32::try_from(pid) else {
            return false;
        };
        if kill(Pid::from_raw(number), None) == Err(Errno::ESRCH) {
            return true;
        }
        let (Some((ticks, state)), Some(up_s)) = (start_of(pid), uptime_s()) else {
            return false;
        };
        // Ticks of `/proc` are hundredths of a second on every Linux. Two seconds of grace cover
        // rounding and a slightly adjusted wall clock.
        #[expect(
            clippy::cast_precision_loss,
            reason = "a boot lasts less than 2^52 ticks"
        )]
        let age_s = (up_s - ticks as f64 / 100.0).max(0.0);
        let started = SystemTime::now().checked_sub(Duration::from_secs_f64(age_s));
        let is_younger = started.is_some_and(|at| at > since + Duration::from_secs(2));
        matches!(state, 'Z' | 'X') || is_younger
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge that others must go through"
    )]
    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        if read.is_ok() {
            return u128::from_le_bytes(bytes);
        }
        // The keys of `RandomState` come from the kernel as well, once per thread.
        let state = RandomState::new();
        let high = state.hash_one(("high", std::process::id()));
        let low = state.hash_one(("low", std::process::id()));
        (u128::from(high) << 64) | u128::from(low)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn inode(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |found| found.ino())
}

/// Returns the seconds since boot.
fn uptime_s() -> Option<f64> {
    read("/proc/uptime")
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Returns start time, in clock ticks since boot, and state of a process.
pub(crate) fn start_of(pid: u32) -> Option<(u64, char)> {
    parse_stat(&read(&format!("/proc/{pid}/stat")))
}

/// Reads `/proc/PID/stat`, whose second field may itself contain blanks and parentheses.
fn parse_stat(text: &str) -> Option<(u64, char)> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3 and the start time field 22.
    let ticks = fields.nth(18)?.parse().ok()?;
    Some((ticks, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_running_by_its_own_judgement() {
        let me = SystemMachine.me();
        assert_ne!(me.start_ticks, 0);
        assert_eq!(SystemMachine.state_of(&me), ProcessState::Running);
    }

    #[test]
    fn a_recycled_pid_is_not_the_process_that_had_it() {
        let me = SystemMachine.me();
        let earlier = ProcessIdentity {
            start_ticks: me.start_ticks - 1,
            ..me
        };
        assert_eq!(SystemMachine.state_of(&earlier), ProcessState::Gone);
    }

    #[test]
    fn no_verdict_is_given_across_boots_and_namespaces() {
        let me = SystemMachine.me();
        let gone = ProcessIdentity {
            pid: 0x7fff_fff0,
            ..me.clone()
        };
        assert_eq!(SystemMachine.state_of(&gone), ProcessState::Gone);
        for elsewhere in [
            ProcessIdentity {
                boot_id: "other".to_owned(),
                ..gone.clone()
            },
            ProcessIdentity {
                boot_id: String::new(),
                ..gone.clone()
            },
            ProcessIdentity {
                pid_namespace: 1,
                ..gone.clone()
            },
            ProcessIdentity {
                time_namespace: 1,
                ..gone
            },
        ] {
            assert_eq!(SystemMachine.state_of(&elsewhere), ProcessState::Unknown);
        }
    }

    #[test]
    fn the_start_time_is_found_behind_a_name_with_parentheses() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 424242 1 1";
        assert_eq!(parse_stat(text), Some((424_242, 'S')));
        assert_eq!(parse_stat("7 (cut"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "compares with the real clock")]
    fn a_bare_pid_counts_as_gone_if_its_process_is_younger_than_the_lock() {
        let me = std::process::id();
        let now = SystemTime::now();
        assert!(!SystemMachine.has_no_pid(me, now));
        assert!(SystemMachine.has_no_pid(me, now - Duration::from_secs(1_000_000_000)));
        assert!(SystemMachine.has_no_pid(0x7fff_fff0, now));
        assert!(!SystemMachine.has_no_pid(u32::MAX, now));
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(SystemMachine.random(), SystemMachine.random());
    }
}
