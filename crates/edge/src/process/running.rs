//! A running child: waiting for its lines, its end, a limit or a stop, on one thread.
//!
//! Invariant: the child is reaped only in [`Running::end_tree`] (or on drop), after its tree was
//! killed; until then its process id and group cannot be reused.

use crate::interrupt::Interrupt;
use crate::process::contract::Exit;
use crate::process::contract::Process;
use crate::process::contract::ProcessEvent;
use crate::process::forked_end::ForkedEnd;
use crate::process::forked_end::SharedEnd;
use crate::process::tree;

use nix::errno::Errno;
use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use nix::fcntl::fcntl;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use nix::sys::wait::Id;
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::waitid;
use nix::unistd;
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// A line longer than this is cut: a test that writes to our pipe must not exhaust our memory.
const LINE_BYTES_MAX: usize = 16 << 20;
/// How many bytes are read at once: as much as the kernel lets a pipe hold, so that one look reads
/// everything that was written before it, and endless lines still let the limit be seen.
const DRAIN_BYTES_MAX: usize = 1 << 20;
/// How long a service may take to report that a killed child is gone. A child in an uninterruptible
/// wait (a file server that does not answer) does not die sooner.
const REPORTED_END_MAX: Duration = Duration::from_secs(30);

/// Who reaps a child, and how its end is noticed.
enum Origin {
    /// This process started it.
    Own(Child),
    /// A service forked it, and reports how it ended.
    Forked { pid: i32, end: Arc<SharedEnd> },
}

pub(super) struct Running {
    origin: Origin,
    channel: Option<OwnedFd>,
    ended: OwnedFd,
    interrupt: Interrupt,
    partial: Vec<u8>,
    lines: VecDeque<String>,
    exit: Option<Exit>,
    has_ended: bool,
    is_reaped: bool,
    /// Whether the channel was read since the caller's limit has passed.
    has_read_at_limit: bool,
}

impl Running {
    /// Takes over a child that was just started.
    pub(super) fn watch(
        mut child: Child,
        channel: Option<OwnedFd>,
        interrupt: Interrupt,
    ) -> io::Result<Self> {
        match Self::watched(&child, channel.as_ref()) {
            Ok(ended) => Ok(Self {
                origin: Origin::Own(child),
                channel,
                ended,
                interrupt,
                partial: Vec::new(),
                lines: VecDeque::new(),
                exit: None,
                has_ended: false,
                is_reaped: false,
                has_read_at_limit: false,
            }),
            Err(error) => {
                tree::kill_tree(child.id().cast_signed());
                tree::reap(&mut child).ok();
                Err(error)
            }
        }
    }

    /// Starts the thread that notices when the child has ended, without reaping it.
    fn watched(child: &Child, channel: Option<&OwnedFd>) -> io::Result<OwnedFd> {
        if let Some(channel) = channel {
            fcntl(channel, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        tree::watch_end(Pid::from_raw(child.id().cast_signed()))
    }

    /// Takes over a child that a service has forked; `ended` is readable once `end` is settled.
    pub(super) fn forked(
        pid: i32,
        end: Arc<SharedEnd>,
        channel: OwnedFd,
        ended: OwnedFd,
        interrupt: Interrupt,
    ) -> io::Result<Self> {
        fcntl(&channel, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self {
            origin: Origin::Forked { pid, end },
            channel: Some(channel),
            ended,
            interrupt,
            partial: Vec::new(),
            lines: VecDeque::new(),
            exit: None,
            has_ended: false,
            is_reaped: false,
            has_read_at_limit: false,
        })
    }

    fn pid(&self) -> i32 {
        match &self.origin {
            Origin::Own(child) => child.id().cast_signed(),
            Origin::Forked { pid, .. } => *pid,
        }
    }

    /// Reads what is in the channel now, at most [`DRAIN_BYTES_MAX`].
    fn drain(&mut self) {
        let mut chunk = [0_u8; 16 << 10];
        let mut drained = 0;
        while let Some(channel) = &self.channel
            && drained < DRAIN_BYTES_MAX
        {
            match unistd::read(channel, &mut chunk) {
                Ok(0) => self.channel = None,
                Ok(count) => {
                    drained += count;
                    self.split(count, &chunk);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => self.channel = None,
            }
        }
    }

    fn split(&mut self, count: usize, chunk: &[u8]) {
        for byte in &chunk[..count] {
            if *byte == b'\n' {
                let line = String::from_utf8_lossy(&self.partial).into_owned();
                self.lines.push_back(line);
                self.partial.clear();
            } else if self.partial.len() < LINE_BYTES_MAX {
                self.partial.push(*byte);
            }
        }
    }

    /// Waits until something is readable; says which of (channel, end, interrupt).
    fn poll(&self, timeout: PollTimeout, with_interrupt: bool) -> (bool, bool, bool) {
        let mut fds = vec![PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        if with_interrupt {
            fds.push(PollFd::new(self.interrupt.as_fd(), PollFlags::POLLIN));
        }
        if let Some(channel) = &self.channel {
            fds.push(PollFd::new(channel.as_fd(), PollFlags::POLLIN));
        }
        if poll(&mut fds, timeout).is_err() {
            return (false, false, false);
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        let ended = ready[0];
        let stopped = with_interrupt && ready[1];
        let channel = self.channel.is_some() && ready[ready.len() - 1];
        (channel, ended, stopped)
    }

    /// Waits once, at most `limit`, for an event; `Stop` only if `with_interrupt`.
    fn wait(&mut self, limit: Option<Duration>, with_interrupt: bool) -> Option<ProcessEvent> {
        if let Some(event) = self.present_event(with_interrupt) {
            return Some(event);
        }
        let is_at_limit = limit == Some(Duration::ZERO);
        if is_at_limit && self.has_read_at_limit {
            return None;
        }
        self.has_read_at_limit = is_at_limit;
        let (channel, ended, _) = self.poll(round_up(limit), with_interrupt);
        if channel || ended {
            self.drain();
        }
        self.has_ended |= ended;
        self.present_event(with_interrupt)
    }

    /// Returns what has happened already.
    fn present_event(&mut self, with_interrupt: bool) -> Option<ProcessEvent> {
        if let Some(line) = self.lines.pop_front() {
            return Some(ProcessEvent::Line(line));
        }
        if self.has_ended {
            return Some(match &self.origin {
                Origin::Forked { end, .. } if end.get() == ForkedEnd::Lost => ProcessEvent::Lost,
                _ => ProcessEvent::Exited(self.reaped_or_peeked()),
            });
        }
        let reason = self.interrupt.raised().filter(|_| with_interrupt);
        reason.map(ProcessEvent::Stop)
    }

    /// Collects lines until the child has ended, in real time, at most `limit`.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a killed process may take is real time, whatever the clock"
    )]
    fn await_death(&mut self, limit: Duration, lines: &mut Vec<String>) {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.wait(Some(left), false) {
                Some(ProcessEvent::Line(line)) => lines.push(line),
                Some(_) => return,
                None => {}
            }
            if left.is_zero() {
                return;
            }
        }
    }

    /// Returns how the child ended without reaping it.
    fn reaped_or_peeked(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        if matches!(self.origin, Origin::Forked { .. }) {
            return self.reap();
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let exit = match waitid(Id::Pid(Pid::from_raw(self.pid())), flags) {
            Ok(nix::sys::wait::WaitStatus::Exited(_, code)) => Exit::Code(code),
            Ok(nix::sys::wait::WaitStatus::Signaled(_, signal, _)) => Exit::Signal(signal as i32),
            // A real-time signal has no name in the enumeration; reaping returns its number.
            _ => return self.reap(),
        };
        self.exit = Some(exit);
        exit
    }

    fn reap(&mut self) -> Exit {
        self.is_reaped = true;
        let exit = match &mut self.origin {
            Origin::Own(child) => match tree::reap(child) {
                Ok(status) => status
                    .code()
                    .map(Exit::Code)
                    .or_else(|| status.signal().map(Exit::Signal))
                    .unwrap_or(Exit::Code(-1)),
                Err(_) => Exit::Code(-1),
            },
            // Its service reaps it, and kills what it left.
            Origin::Forked { end, .. } => match end.get() {
                ForkedEnd::Ended(exit) => exit,
                ForkedEnd::Alive | ForkedEnd::Lost => Exit::Signal(libc::SIGKILL),
            },
        };
        *self.exit.get_or_insert(exit)
    }
}

impl Process for Running {
    fn id(&self) -> u32 {
        self.pid().cast_unsigned()
    }

    fn next_event(&mut self, limit: Option<Duration>) -> Option<ProcessEvent> {
        self.wait(limit, true)
    }

    fn next_event_to_the_end(&mut self) -> Option<ProcessEvent> {
        self.wait(None, false)
    }

    fn signal(&mut self, number: i32) -> bool {
        // The PID of a child that has ended may belong to another process.
        !self.has_ended && !self.is_reaped && tree::signal(self.pid(), number)
    }

    fn end_tree(&mut self, grace: Duration, lines: &mut Vec<String>) -> Exit {
        if !self.has_ended && !grace.is_zero() {
            tree::terminate_group(self.pid());
            self.await_death(grace, lines);
        }
        let is_forked = matches!(self.origin, Origin::Forked { .. });
        // A forked child's PID is free once its service has reaped it.
        let is_free = self.is_reaped || is_forked && self.has_ended;
        if !is_free {
            tree::kill_tree(self.pid());
        }
        if is_forked {
            // Its service, if alive, reports the end at once.
            self.await_death(REPORTED_END_MAX, lines);
        }
        let exit = self.reap();
        if !is_forked {
            tree::kill_orphans();
        }
        self.has_ended = true;
        self.drain();
        lines.extend(self.lines.drain(..));
        exit
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.end_tree(Duration::ZERO, &mut Vec::new());
        }
    }
}

/// Turns a remaining time into poll's milliseconds, rounded up so that a wait is never too short.
fn round_up(left: Option<Duration>) -> PollTimeout {
    let Some(left) = left else {
        return PollTimeout::NONE;
    };
    let ms = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    use nix::unistd::pipe2;
    use std::io::Seek as _;
    use std::io::Write as _;

    /// No process has this number: it exceeds the kernel's limit.
    const NOBODY: i32 = i32::MAX;

    /// A line, and how many of them are a flood: more than may be read at a limit.
    const LINE: &str = "garbage\n";
    const FLOOD_LINES: usize = 4 * DRAIN_BYTES_MAX / LINE.len();

    /// Returns a forked child that is only a channel. Its end is known once the descriptor is
    /// dropped.
    fn child(channel: OwnedFd) -> (Running, OwnedFd) {
        let (ended, notifier) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        let end = Arc::new(SharedEnd::default());
        end.settle(ForkedEnd::Ended(Exit::Code(0)));
        let interrupt = Interrupt::new().expect("a pipe");
        let running = Running::forked(NOBODY, end, channel, ended, interrupt);
        (running.expect("its channel can be read"), notifier)
    }

    /// Returns a channel that is never empty while a flood is read: a file.
    fn flood() -> OwnedFd {
        let mut file = tempfile::tempfile().expect("a file");
        let text = LINE.repeat(FLOOD_LINES);
        file.write_all(text.as_bytes()).expect("a written file");
        file.rewind().expect("its beginning");
        file.into()
    }

    /// Counts the lines that are returned although the limit has passed.
    fn lines_after_the_limit(process: &mut dyn Process) -> usize {
        let mut count = 0;
        while let Some(event) = process.next_event(Some(Duration::ZERO)) {
            assert!(matches!(event, ProcessEvent::Line(_)), "{event:?}");
            count += 1;
        }
        count
    }

    #[test]
    fn what_was_written_before_the_limit_is_returned_after_it() {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        let write = |text: &str| unistd::write(&writer, text.as_bytes()).expect("there is room");
        let (mut process, notifier) = child(reader);
        write("one\ntwo\nthr");
        assert_eq!(lines_after_the_limit(&mut process), 2);
        write("ee\n");
        let line = process.next_event(Some(Duration::from_secs(60)));
        assert_eq!(line, Some(ProcessEvent::Line("three".to_owned())));
        drop(notifier);
    }

    #[test]
    fn endless_lines_do_not_outlive_the_limit() {
        let (mut process, notifier) = child(flood());
        let count = lines_after_the_limit(&mut process);
        assert_eq!(count, DRAIN_BYTES_MAX / LINE.len());
        drop(notifier);
    }

    #[test]
    fn endless_lines_do_not_outlive_the_grace_of_a_process_that_is_killed() {
        let (mut process, notifier) = child(flood());
        let mut lines = Vec::new();
        process.await_death(Duration::ZERO, &mut lines);
        assert_eq!(lines.len(), 1);
        drop(notifier);
    }
}
