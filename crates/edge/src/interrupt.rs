//! Stopping a session: the first signal asks all parts to end, the second ends them at once.
//!
//! Invariant: once a stop was requested, its descriptor stays readable forever, so every thread
//! that polls it wakes, however late it looks.

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::fs;
use crate::process::tree::kill_everything;

use camino::Utf8Path;
use nix::fcntl::OFlag;
use nix::unistd;
use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGQUIT;
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

/// Why a session must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A signal of this number arrived.
    Signal(u8),
    /// `session_timeout_s` has passed.
    SessionLimit,
}

/// A flag that is raised at most once, with a descriptor to wait on.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<StopFlag>);

#[derive(Debug)]
struct StopFlag {
    reason: Mutex<Option<StopReason>>,
    readable_when_raised: OwnedFd,
    raiser: OwnedFd,
}

impl Interrupt {
    /// Makes a flag that only [`Interrupt::raise`] raises.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new() -> Result<Self> {
        let (readable_when_raised, raiser) = unistd::pipe2(OFlag::O_CLOEXEC)
            .map_err(|errno| Error::new(ErrorKind::Io, format!("cannot make a pipe: {errno}")))?;
        Ok(Self(Arc::new(StopFlag {
            reason: Mutex::new(None),
            readable_when_raised,
            raiser,
        })))
    }

    /// Makes a flag that SIGINT, SIGTERM, SIGHUP and SIGQUIT raise.
    ///
    /// A second signal kills every child with its group and ends the process with 128+n.
    ///
    /// # Errors
    /// The handlers or the thread that serves them cannot be installed.
    pub fn on_signals() -> Result<Self> {
        Self::heed(2)
    }

    /// Makes a flag like [`Interrupt::on_signals`] for a process that must clean up: the second
    /// signal kills every child with its group, and only the third ends the process.
    ///
    /// # Errors
    /// The handlers or the thread that serves them cannot be installed.
    pub fn on_signals_with_cleanup() -> Result<Self> {
        Self::heed(3)
    }

    /// Raises the flag at the first signal, kills at the second, ends at the `last`.
    fn heed(last: u32) -> Result<Self> {
        let failed = |error: &std::io::Error| {
            Error::new(
                ErrorKind::Io,
                format!("cannot install signal handlers: {error}"),
            )
        };
        let flag = Self::new()?;
        let all = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];
        let heeded = all.into_iter().filter(|signal| !is_ignored(*signal));
        let mut signals = Signals::new(heeded).map_err(|error| failed(&error))?;
        let raised = flag.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for (count, signal) in (1..).zip(signals.forever()) {
                    let number = u8::try_from(signal).unwrap_or(0);
                    raised.raise(StopReason::Signal(number));
                    if count >= 2 {
                        kill_everything();
                    }
                    if count >= last {
                        signal_hook::low_level::exit(128 + signal);
                    }
                }
            })
            .map_err(|error| failed(&error))?;
        Ok(flag)
    }

    /// Raises the flag; `false` if it was raised already (the first reason stays).
    pub fn raise(&self, reason: StopReason) -> bool {
        let mut current = self.0.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_some() {
            return false;
        }
        *current = Some(reason);
        // A pipe that cannot take one byte is already readable, which is all we need.
        unistd::write(&self.0.raiser, b"!").ok();
        true
    }

    /// Returns why to stop, once a stop was requested.
    pub fn raised(&self) -> Option<StopReason> {
        *self.0.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the descriptor that becomes readable when the flag is raised.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.readable_when_raised.as_fd()
    }
}

/// Whether the caller asked for this signal to be ignored, as `nohup` does (proc(5), `SigIgn`).
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_if_there(Utf8Path::new("/proc/self/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let bits = mask.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> (signal - 1) & 1 == 1)
}
