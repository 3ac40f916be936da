//! The tree of processes below this one: starting, listing and killing it.
//!
//! Invariant: the registry holds every child this process started and has not reaped. It is locked
//! during every start, so that a child is never seen before it is registered.

use crate::machine::start_of;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CpuSet;
use nix::sched::sched_getaffinity;
use nix::sched::sched_setaffinity;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::sys::signal::killpg;
use nix::sys::wait::Id;
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::WaitStatus;
use nix::sys::wait::waitid;
use nix::sys::wait::waitpid;
use nix::unistd;
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::process::Child;
use std::process::Command;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How long to wait for a killed process: it only needs its turn on a processor.
const DEATH_MAX: Duration = Duration::from_secs(5);
/// Pause between the first two looks at a killed process; doubled after each.
const LOOK_AFTER: Duration = Duration::from_millis(1);
/// Longest pause between two looks at one that is slow to die.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Orphans that did not die in time. A PID stays with its process until that is reaped here.
static GIVEN_UP: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
/// Processes that were there before, with their start times: this program replaced a shell that had
/// started some.
static FOREIGN: Mutex<BTreeMap<i32, u64>> = Mutex::new(BTreeMap::new());
static ADOPTS_ORPHANS: AtomicBool = AtomicBool::new(false);

fn started() -> MutexGuard<'static, BTreeSet<i32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn given_up() -> MutexGuard<'static, BTreeSet<i32>> {
    GIVEN_UP.lock().unwrap_or_else(PoisonError::into_inner)
}

fn foreign() -> MutexGuard<'static, BTreeMap<i32, u64>> {
    FOREIGN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this process inherit its descendants' orphans.
///
/// Call it before anything is started: what is below this process now counts as somebody else's.
pub(super) fn become_subreaper() {
    remember_below(unistd::getpid().as_raw(), &mut foreign());
    if prctl::set_child_subreaper(true).is_ok() {
        ADOPTS_ORPHANS.store(true, Ordering::Relaxed);
    }
}

/// Runs in the child between fork and exec: see the invariants of the parent module.
///
/// # Errors
/// `parent` died meanwhile, or a system call failed.
pub(super) fn prepare_child(
    parent: Pid,
    inherited: &[RawFd],
    on_one_processor: bool,
) -> io::Result<()> {
    prctl::set_child_subreaper(true)?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if unistd::getppid() != parent {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe));
    }
    if on_one_processor {
        stay_on_one_processor()?;
    }
    for fd in inherited {
        #[expect(
            unsafe_code,
            reason = "the channel's descriptor is meant to outlive exec"
        )]
        // SAFETY: the descriptor is open in this process (the parent holds it over the fork), and
        // only its close-on-exec flag is cleared.
        let outcome = unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) };
        if outcome == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Restricts the calling process to the first processor it may use.
fn stay_on_one_processor() -> io::Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(first.unwrap_or(0))?;
    sched_setaffinity(this, &one)?;
    Ok(())
}

/// Lists the processors this process may use.
pub fn processors() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect()
}

/// Starts a child and registers it in one step.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub(super) fn spawn_registered(command: &mut Command) -> io::Result<Child> {
    let mut started = started();
    let child = command.spawn()?;
    started.insert(child.id().cast_signed());
    Ok(child)
}

/// Waits for a child to end, reaps it and removes it from the registry.
pub(super) fn reap(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    await_end(Pid::from_raw(child.id().cast_signed()));
    // Reaping and forgetting are one step: in between, the number could go to a new child.
    let mut started = started();
    let status = child.wait();
    started.remove(&child.id().cast_signed());
    status
}

/// Blocks until a child has ended, and leaves it to be reaped.
fn await_end(pid: Pid) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while waitid(Id::Pid(pid), flags) == Err(Errno::EINTR) {}
}

/// Returns a descriptor that becomes readable when a child has ended; the child is left to be
/// reaped.
pub(super) fn watch_end(pid: Pid) -> io::Result<OwnedFd> {
    let (ended, notifier) = unistd::pipe2(OFlag::O_CLOEXEC)?;
    thread::Builder::new()
        .name(format!("wait-{pid}"))
        .stack_size(64 << 10)
        .spawn(move || {
            await_end(pid);
            // Dropping the write end makes the other end readable.
            drop(notifier);
        })?;
    Ok(ended)
}

/// Kills every child with its group and its descendants. For the second signal, which ends
/// everything.
pub(crate) fn kill_everything() {
    let pids: Vec<i32> = started().iter().copied().collect();
    for pid in pids {
        kill_tree(pid);
    }
}

/// Sends SIGTERM to the group of a child.
pub(super) fn terminate_group(pid: i32) {
    killpg(Pid::from_raw(pid), Signal::SIGTERM).ok();
}

/// Sends a signal to one process; `true` if it could be sent.
pub(super) fn signal(pid: i32, number: i32) -> bool {
    let signal = Signal::try_from(number);
    signal.is_ok_and(|signal| kill(Pid::from_raw(pid), signal).is_ok())
}

/// Kills a child that is not reaped yet, its group, and every process below it.
pub(super) fn kill_tree(pid: i32) {
    // Children of a process are listed before it is killed, and again until none is new: a process
    // that forks meanwhile shows up in the next round, at the latest below the process that
    // inherits it.
    let mut seen = BTreeSet::new();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).ok();
    loop {
        let fresh: Vec<i32> = descendants(pid)
            .into_iter()
            .filter(|found| seen.insert(*found))
            .collect();
        for descendant in &fresh {
            kill(Pid::from_raw(*descendant), Signal::SIGSTOP).ok();
        }
        if fresh.is_empty() {
            break;
        }
    }
    for descendant in seen {
        kill(Pid::from_raw(descendant), Signal::SIGKILL).ok();
    }
    killpg(Pid::from_raw(pid), Signal::SIGKILL).ok();
    kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
}

/// Kills and reaps the children of this process that ended runs have left behind: those it neither
/// started itself nor had when it became a subreaper.
///
/// Returns when all of them are dead, or after [`DEATH_MAX`]; one that an earlier call has already
/// waited for is reaped if it is dead, and not waited for again.
#[expect(
    clippy::disallowed_methods,
    reason = "how long the kernel takes is real time, whatever the clock"
)]
pub(super) fn kill_orphans() {
    if !ADOPTS_ORPHANS.load(Ordering::Relaxed) {
        return;
    }
    // An orphan's own children become ours when it dies. A killed process needs a processor to die,
    // which a busy machine gives it late; one that cannot die now (its file server is down) is
    // handled when later runs end.
    let until = Instant::now() + DEATH_MAX;
    let mut pause = LOOK_AFTER;
    let mut killed = BTreeSet::new();
    loop {
        let orphans = orphans();
        for orphan in &orphans {
            if killed.insert(*orphan) {
                kill_tree(*orphan);
            }
        }
        let (alive, dead): (Vec<i32>, Vec<i32>) =
            orphans.into_iter().partition(|orphan| is_alive(*orphan));
        let mut given_up = given_up();
        let is_any_awaited = alive.iter().any(|orphan| !given_up.contains(orphan));
        // The dead processes may have left us children.
        if dead.is_empty() && !is_any_awaited || Instant::now() > until {
            given_up.extend(alive);
            return;
        }
        drop(given_up);
        if dead.is_empty() {
            thread::sleep(pause);
            pause = LOOK_EVERY.min(pause * 2);
        }
    }
}

/// Lists the children of this process that are left over from what it started.
fn orphans() -> Vec<i32> {
    let started = started();
    let mut ours = children(unistd::getpid().as_raw());
    let mut foreign = foreign();
    // The number of one that ended may go to another process.
    foreign.retain(|pid, start| start_ticks(*pid) == Some(*start));
    // What they have started since is theirs too, and becomes ours when they end.
    let known: Vec<i32> = foreign.keys().copied().collect();
    for pid in known {
        remember_below(pid, &mut foreign);
    }
    ours.retain(|pid| !started.contains(pid) && !foreign.contains_key(pid));
    ours
}

/// Adds the processes below one.
fn remember_below(pid: i32, foreign: &mut BTreeMap<i32, u64>) {
    let below = descendants(pid).into_iter();
    foreign.extend(below.filter_map(|pid| Some((pid, start_ticks(pid)?))));
}

fn start_ticks(pid: i32) -> Option<u64> {
    start_of(pid.cast_unsigned()).map(|(ticks, _)| ticks)
}

/// Whether a child is alive; a dead one is reaped and forgotten.
fn is_alive(orphan: i32) -> bool {
    // Reaping and forgetting are one step: in between, the number could go to a new child.
    let mut given_up = given_up();
    let flags = Some(WaitPidFlag::WNOHANG);
    let is_alive = waitpid(Pid::from_raw(orphan), flags) == Ok(WaitStatus::StillAlive);
    if !is_alive {
        given_up.remove(&orphan);
    }
    is_alive
}

fn descendants(pid: i32) -> Vec<i32> {
    let mut found = children(pid);
    let mut next = 0;
    while next < found.len() {
        found.extend(children(found[next]));
        next += 1;
    }
    found
}

/// Lists the children of a process, over all of its threads (proc(5), `task/TID/children`).
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}
