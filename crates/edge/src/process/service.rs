//! A process on a thread of its own, with a socket for requests and a pipe for its output.
//!
//! Invariant: one thread starts the process, watches it and reaps it, since the kernel kills a
//! child with the thread that started it.

use crate::Result;
use crate::fs::io_problem;
use crate::interrupt::Interrupt;
use crate::process::contract::CommandSpec;
use crate::process::contract::Listener;
use crate::process::contract::Process;
use crate::process::contract::ProcessEvent;
use crate::process::contract::Service;
use crate::process::spawn::spawn;
use crate::process::tree;

use nix::errno::Errno;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::ControlMessage;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::Shutdown;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::sendmsg;
use nix::sys::socket::shutdown;
use nix::sys::socket::socketpair;
use std::io;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a service that is no longer wanted may take to end by itself.
const END_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    /// It runs under this process id, and is not reaped.
    Running(i32),
    Gone,
}

#[derive(Debug)]
struct Shared {
    phase: Mutex<Phase>,
    changed: Condvar,
}

impl Shared {
    fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        self.changed.notify_all();
    }
}

pub(super) struct SystemService {
    shared: Arc<Shared>,
    socket: OwnedFd,
    follower: Option<JoinHandle<()>>,
}

impl SystemService {
    /// Starts a service; the listener is notified of its output and its end.
    pub(super) fn start(
        spec: CommandSpec,
        socket_env: &str,
        listener: Box<dyn Listener>,
        interrupt: Interrupt,
    ) -> Result<Self> {
        let program = spec.program.clone();
        let failed = |error: &io::Error| io_problem(error, "start", &program);
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .map_err(|errno| failed(&io::Error::from(errno)))?;
        let shared = Arc::new(Shared {
            phase: Mutex::new(Phase::Starting),
            changed: Condvar::new(),
        });
        let follower = {
            let (shared, name) = (Arc::clone(&shared), socket_env.to_owned());
            thread::Builder::new()
                .name("service".to_owned())
                .spawn(move || follow(&spec, &name, theirs, &interrupt, listener, &shared))
                .map_err(|error| failed(&error))?
        };
        Ok(Self {
            shared,
            socket: ours,
            follower: Some(follower),
        })
    }
}

impl Service for SystemService {
    fn request(&self, message: &str, attached: BorrowedFd<'_>) -> io::Result<()> {
        let fds = [attached.as_raw_fd()];
        let attached = [ControlMessage::ScmRights(&fds)];
        let message = [IoSlice::new(message.as_bytes())];
        loop {
            let flags = MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(self.socket.as_raw_fd(), &message, &attached, flags, None) {
                Err(Errno::EINTR) => {}
                outcome => return Ok(outcome.map(|_| ())?),
            }
        }
    }
}

impl Drop for SystemService {
    fn drop(&mut self) {
        shutdown(self.socket.as_raw_fd(), Shutdown::Both).ok();
        // An orderly end takes milliseconds; a service that hangs is killed.
        let shared = &self.shared;
        let mut phase = shared.phase.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            (phase, _) = shared
                .changed
                .wait_timeout_while(phase, END_LIMIT, |phase| *phase != Phase::Gone)
                .unwrap_or_else(PoisonError::into_inner);
            if let Phase::Running(pid) = *phase {
                tree::kill_tree(pid);
            }
        }
        drop(phase);
        if let Some(follower) = self.follower.take() {
            follower.join().ok();
        }
    }
}

/// Starts the process and passes on its output until it is gone.
fn follow(
    spec: &CommandSpec,
    socket_env: &str,
    socket: OwnedFd,
    interrupt: &Interrupt,
    mut listener: Box<dyn Listener>,
    shared: &Shared,
) {
    let started = spawn(spec, Some((socket_env, &socket)), interrupt);
    drop(socket);
    let mut process = match started {
        Ok(process) => process,
        Err(problems) => {
            shared.enter(Phase::Gone);
            listener.ended(&problems.to_string());
            return;
        }
    };
    shared.enter(Phase::Running(process.id().cast_signed()));
    let exit = loop {
        match process.next_event_to_the_end() {
            Some(ProcessEvent::Line(line)) => listener.line(&line),
            Some(ProcessEvent::Exited(exit)) => break exit,
            Some(ProcessEvent::Lost | ProcessEvent::Stop(_)) | None => {}
        }
    };
    // It is reaped next, and its PID may go to another process, which must not be killed.
    shared.enter(Phase::Gone);
    let mut lines = Vec::new();
    process.end_tree(Duration::ZERO, &mut lines);
    for line in lines {
        listener.line(&line);
    }
    listener.ended(&exit.in_words());
}
