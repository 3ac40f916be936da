//! A child that a service forks for us: its pipe, and the report on how it ended.
//!
//! Invariant: a child's end is reported exactly once, as lost if nobody reports it.

use crate::interrupt::Interrupt;
use crate::process::contract::Exit;
use crate::process::contract::Process;
use crate::process::forked_end::ForkedEnd;
use crate::process::forked_end::SharedEnd;
use crate::process::running::Running;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A child that does not exist yet.
#[derive(Debug)]
pub struct PendingFork {
    reader: OwnedFd,
    writer: OwnedFd,
    ended: OwnedFd,
    end: Arc<SharedEnd>,
    interrupt: Interrupt,
}

/// The obligation to report how a forked child ended; dropping it reports the child as lost.
#[derive(Debug)]
pub struct ForkReport {
    end: Arc<SharedEnd>,
    /// Dropping it makes the other end readable, after the end is settled.
    _notifier: OwnedFd,
}

impl PendingFork {
    /// Makes the pipe of a child and the report on it; waits for the child end when `interrupt` is
    /// raised.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(interrupt: Interrupt) -> io::Result<(Self, ForkReport)> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        let (ended, notifier) = pipe2(OFlag::O_CLOEXEC)?;
        let end = Arc::new(SharedEnd::default());
        let report = ForkReport {
            end: Arc::clone(&end),
            _notifier: notifier,
        };
        let pending = Self {
            reader,
            writer,
            ended,
            end,
            interrupt,
        };
        Ok((pending, report))
    }

    /// Returns the end of the pipe that is the child's.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// Takes over the child once the service has named it; its end of the pipe is closed here.
    ///
    /// # Errors
    /// Its pipe cannot be read without blocking.
    pub fn into_process(self, pid: i32) -> io::Result<Box<dyn Process>> {
        drop(self.writer);
        let child = Running::forked(pid, self.end, self.reader, self.ended, self.interrupt)?;
        Ok(Box::new(child))
    }
}

impl ForkReport {
    /// Reports how the child ended.
    pub fn ended(self, exit: Exit) {
        self.end.settle(ForkedEnd::Ended(exit));
    }
}

impl Drop for ForkReport {
    fn drop(&mut self) {
        self.end.settle(ForkedEnd::Lost);
    }
}
