//! Renaming where rename(2) may never return.
//!
//! A hanging rename blocks more than itself. The kernel holds the lock of the directory meanwhile,
//! so every other change there hangs as well (seen with FUSE: a link, made instead after five
//! seconds, never returned either). And a thread inside cannot be killed, so its process never
//! ends. Invariants: no rename is done in a shared directory before a trial rename in a private
//! directory has returned; each is done by a child that holds nothing of ours, which can be
//! abandoned.

use nix::errno::Errno;
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::WaitStatus;
use nix::sys::wait::waitpid;
use nix::unistd::ForkResult;
use nix::unistd::fork;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::ffi::CString;
use std::fs;
use std::io;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Pauses between two looks at the child, shortest and longest.
const PAUSES: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(20));

/// Where to try whether a rename returns.
#[derive(Clone, Debug)]
pub struct Trial {
    /// A directory with a name nobody else uses, for the duration of the trial.
    pub dir: Utf8PathBuf,
    /// A directory for a second trial.
    pub dir_of_second: Utf8PathBuf,
    /// A file that is created if a rename did not return; all processes of a node agree on it, so
    /// that only the first ones wait.
    pub marker: Utf8PathBuf,
    /// A private name next to the target, used to try links.
    pub link: Utf8PathBuf,
}

/// Tries whether a rename returns on the file system of a directory.
///
/// # Errors
/// The trial cannot be made.
pub(super) fn returns(trial: &Trial, limit: Duration) -> io::Result<bool> {
    if fs::symlink_metadata(&trial.marker).is_ok() {
        return Ok(false);
    }
    returns_in(&trial.dir, trial, limit)
}

/// The same, ignoring earlier results: a server may only have been slow.
///
/// # Errors
/// The trial cannot be made.
pub(super) fn returns_now(trial: &Trial, limit: Duration) -> io::Result<bool> {
    returns_in(&trial.dir_of_second, trial, limit)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn returns_in(dir: &Utf8Path, trial: &Trial, limit: Duration) -> io::Result<bool> {
    fs::create_dir(dir)?;
    let (from, to) = (dir.join("from"), dir.join("to"));
    let outcome = fs::write(&from, "").and_then(|()| apart(&from, &to, limit));
    if matches!(outcome, Ok(None)) {
        // Removing anything in there would hang as well.
        fs::write(&trial.marker, "a rename did not return here\n").ok();
        return Ok(false);
    }
    fs::remove_file(&from).ok();
    fs::remove_file(&to).ok();
    fs::remove_dir(dir).ok();
    Ok(outcome?.is_some_and(|renamed| renamed.is_ok()))
}

/// Renames in a separate child; `None` if it has not returned within the limit, and the child is
/// abandoned.
///
/// # Errors
/// The child cannot be started.
#[expect(
    unsafe_code,
    reason = "only a process can be left behind in a system call; a thread keeps its process"
)]
#[expect(
    clippy::disallowed_methods,
    reason = "a hanging system call is real, whatever the clock"
)]
pub(super) fn apart(
    from: &Utf8Path,
    to: &Utf8Path,
    limit: Duration,
) -> io::Result<Option<io::Result<()>>> {
    let name = |path: &Utf8Path| {
        CString::new(path.as_str())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "path with a zero byte"))
    };
    let (from, to) = (name(from)?, name(to)?);
    let started = Instant::now();
    // SAFETY: the child makes only system calls, allocates nothing and returns to nobody.
    let child = match unsafe { fork() }.map_err(io::Error::from)? {
        ForkResult::Parent { child } => child,
        // SAFETY: close_range, rename and _exit are async-signal-safe, and the two strings were made
        // before the fork.
        ForkResult::Child => unsafe {
            // A reader of our output would wait for its end as long as the child had it open.
            libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
            let status = if libc::rename(from.as_ptr(), to.as_ptr()) == 0 {
                0
            } else {
                Errno::last_raw()
            };
            libc::_exit(status)
        },
    };
    let mut pause = PAUSES.0;
    while started.elapsed() < limit {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, 0)) => return Ok(Some(Ok(()))),
            Ok(WaitStatus::Exited(_, errno)) => {
                return Ok(Some(Err(io::Error::from_raw_os_error(errno))));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            // Whatever ended it, the file system shows whether it was done.
            _ => return Ok(Some(Err(io::Error::from_raw_os_error(libc::EIO)))),
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::fs::exists;
    use crate::fs::write;

    /// No local rename takes this long unless it hangs, even on a busy machine.
    const LIMIT: Duration = Duration::from_secs(120);

    fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = Utf8PathBuf::try_from(dir.path().to_path_buf()).expect("a UTF-8 path");
        (dir, path)
    }

    #[test]
    fn a_child_renames_and_tells_what_was_in_the_way() {
        let (_guard, dir) = temp();
        let (from, to) = (dir.join("from"), dir.join("to"));
        let absent = apart(&from, &to, LIMIT).expect("a child").expect("in time");
        let error = absent.expect_err("there is nothing to rename");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        write(&from, "text").expect("a local directory");
        let done = apart(&from, &to, LIMIT).expect("a child").expect("in time");
        assert!(done.is_ok() && exists(&to) && !exists(&from));
        assert!(matches!(apart(&to, &from, Duration::ZERO), Ok(None)));
    }

    #[test]
    fn a_trial_leaves_nothing_where_a_rename_returns() {
        let (_guard, dir) = temp();
        let trial = Trial {
            dir: dir.join("trial"),
            dir_of_second: dir.join("second"),
            marker: dir.join("marker"),
            link: dir.join("link"),
        };
        assert!(returns(&trial, LIMIT).expect("a local directory"));
        assert!(!exists(&trial.dir) && !exists(&trial.marker));
        // A process that comes after one that did not return does not try.
        assert!(!returns(&trial, Duration::ZERO).expect("a local directory"));
        assert!(exists(&trial.dir) && exists(&trial.marker));
        assert!(!returns(&trial, LIMIT).expect("a local directory"));
    }
}
