//! The job of a process that `make` has started, which it gives back while it only waits.
//!
//! `make` counts such a process as busy until it ends. If it waits for work that another process
//! does, its token goes back to the pipe of the session, so that its own `make` or another one can
//! start a compiler, and it takes a token again before it goes on or ends. If it is killed meanwhile,
//! the pipe holds a token too many until the pool counts them.
//!
//! Invariant: nothing but that very pipe is read or written. Once the session is gone, or seen from
//! another PID namespace, its process ID and descriptors may stand for any file of the user.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::fcntl::open;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use nix::sys::stat::Mode;
use nix::sys::stat::SFlag;
use nix::sys::stat::fstat;
use nix::unistd;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

/// Device and inode of a pipe, which no other file has while a process has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PipeIdentity {
    device: u64,
    inode: u64,
}

impl PipeIdentity {
    /// Returns the identity of an open pipe; `None` if it is another kind of file.
    pub(crate) fn of(file: impl AsFd) -> Option<Self> {
        let stat = fstat(file).ok()?;
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        (kind == SFlag::S_IFIFO).then_some(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

/// Names the pipe of a session to processes that do not inherit it.
pub(crate) fn address(reader: impl AsFd, writer: impl AsFd) -> String {
    let process = std::process::id();
    let numbers = (reader.as_fd().as_raw_fd(), writer.as_fd().as_raw_fd());
    // Without its identity the address has the form of none.
    let identity = PipeIdentity::of(reader).map(|it| format!(":{}:{}", it.device, it.inode));
    let identity = identity.unwrap_or_default();
    format!("{process}:{}:{}{identity}", numbers.0, numbers.1)
}

/// A job that can be given back for a while. Dropping it takes the job again, which waits for one
/// to be free.
#[derive(Debug)]
pub struct YieldableJob {
    /// What `open` takes for the pipe's two ends.
    reader_path: String,
    writer_path: String,
    identity: PipeIdentity,
    /// The pipe, while the job is given back.
    yielded: Option<OwnedFd>,
}

impl YieldableJob {
    /// Finds the pipe that [`JobShare::address`](crate::jobs::JobShare::address) names; `None` if
    /// that is no such address.
    pub fn of_address(address: &str) -> Option<Self> {
        let mut numbers = address.split(':').map(str::parse::<u64>);
        let mut number = || numbers.next()?.ok();
        let (process, reader, writer) = (number()?, number()?, number()?);
        let (device, inode) = (number()?, number()?);
        Some(Self {
            reader_path: format!("/proc/{process}/fd/{reader}"),
            writer_path: format!("/proc/{process}/fd/{writer}"),
            identity: PipeIdentity { device, inode },
            yielded: None,
        })
    }

    /// Gives the job back until [`YieldableJob::take_again`]; does nothing if the pipe cannot be
    /// reached, or if it is given back already.
    pub fn give_back(&mut self) {
        if self.yielded.is_some() {
            return;
        }
        let Some(reader) = self.pipe_end(&self.reader_path, OFlag::O_RDONLY) else {
            return;
        };
        // It is closed at once: whoever waits for a token must see when the session is gone.
        let Some(writer) = self.pipe_end(&self.writer_path, OFlag::O_WRONLY) else {
            return;
        };
        if retried(|| unistd::write(&writer, b"+")) == Ok(1) {
            self.yielded = Some(reader);
        }
    }

    /// Opens an end of the pipe; `None` if that is not where the address leads.
    fn pipe_end(&self, path: &str, access: OFlag) -> Option<OwnedFd> {
        // Opening some devices has an effect, so look before; this file is then the one opened.
        let named = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        if PipeIdentity::of(&named) != Some(self.identity) {
            return None;
        }
        let path = format!("/proc/self/fd/{}", named.as_raw_fd());
        let flags = access | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        open(path.as_str(), flags, Mode::empty()).ok()
    }

    /// Waits for a free job and takes it, if ours was given back.
    pub fn take_again(&mut self) {
        let Some(reader) = self.yielded.take() else {
            return;
        };
        let mut token = [0];
        // Nothing to read means that another process was faster. The end of the pipe means that the
        // session and every `make` of it are gone, so nobody counts jobs any more.
        while retried(|| unistd::read(&reader, &mut token)) == Err(Errno::EAGAIN) {
            let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::NONE).ok();
        }
    }
}

impl Drop for YieldableJob {
    fn drop(&mut self) {
        self.take_again();
    }
}

fn retried(mut attempt: impl FnMut() -> nix::Result<usize>) -> nix::Result<usize> {
    loop {
        match attempt() {
            Err(Errno::EINTR) => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::fs;
    use crate::interrupt::Interrupt;
    use crate::jobs::JobPool;

    use camino::Utf8Path;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    fn pool(jobs_max: usize) -> JobPool {
        let interrupt = Interrupt::new().expect("a pipe");
        JobPool::new(jobs_max, None, interrupt).expect("a pipe")
    }

    #[test]
    fn a_job_that_is_given_back_can_be_used_by_another_until_it_is_taken_again() {
        let pool = pool(1);
        let job = pool.take().expect("no stop");
        let share = job.share();
        let mut own = YieldableJob::of_address(&share.address()).expect("an address");
        own.give_back();
        own.give_back();
        let other = pool.take().expect("no stop");
        let (sender, taken) = channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                own.take_again();
                sender.send(own).expect("the test waits");
            });
            let early = taken.recv_timeout(Duration::from_millis(50));
            assert!(early.is_err(), "the only job is in use");
            drop(other);
            let own = taken.recv().expect("it gets the job that became free");
            drop(own);
        });
    }

    #[test]
    fn nobody_waits_for_a_job_of_a_session_that_is_gone() {
        let (reader, writer) = unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        let mut own = YieldableJob::of_address(&address(&reader, &writer)).expect("an address");
        own.give_back();
        assert_eq!(unistd::read(&reader, &mut [0; 8]), Ok(1), "one token");
        drop((reader, writer));
        own.take_again();
    }

    #[test]
    fn an_address_that_leads_nowhere_is_no_job_to_give_back() {
        assert!(YieldableJob::of_address("").is_none());
        assert!(YieldableJob::of_address("1:x:3:4:5").is_none());
        assert!(YieldableJob::of_address("1:2:3").is_none());
        let mut own = YieldableJob::of_address("0:3:4:5:6").expect("its form is right");
        own.give_back();
        assert!(own.yielded.is_none());
    }

    #[test]
    fn a_file_or_pipe_that_took_the_place_of_the_sessions_pipe_stays_untouched() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8Path::from_path(dir.path())
            .expect("UTF-8")
            .join("precious");
        fs::write(&path, "precious").expect("written");
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let file = open(path.as_std_path(), flags, Mode::empty()).expect("opened");
        let (reader, writer) = unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).expect("a pipe");
        let (other_reader, other_writer) = unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        let address = address(&other_reader, &other_writer);
        let identity = address.splitn(4, ':').last().expect("an identity");
        for (read_end, write_end) in [
            (&file, &file),
            (&other_reader, &file),
            (&other_reader, &writer),
            (&file, &other_writer),
            (&reader, &writer),
        ] {
            let numbers = (read_end.as_raw_fd(), write_end.as_raw_fd());
            let place = format!("{}:{}:{}", std::process::id(), numbers.0, numbers.1);
            let mut own =
                YieldableJob::of_address(&format!("{place}:{identity}")).expect("an address");
            own.give_back();
            assert!(own.yielded.is_none(), "{place}");
        }
        assert_eq!(fs::read(&path).expect("read"), b"precious");
        let unread = unistd::read(&reader, &mut [0; 8]);
        assert_eq!(unread, Err(Errno::EAGAIN), "no token of ours");
        assert_eq!(PipeIdentity::of(&file), None);
    }
}
