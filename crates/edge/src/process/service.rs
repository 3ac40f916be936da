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
use std::os::fd::RawFd;
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
        let (ours, theirs) = request_sockets().map_err(|error| failed(&error))?;
        let name = socket_env.to_owned();
        Self::on_thread(ours, Phase::Starting, move |shared| {
            start_and_follow(&spec, &name, theirs, &interrupt, listener, shared);
        })
        .map_err(|error| failed(&error))
    }

    /// Takes over a process that serves already, and the caller's end of its socket.
    pub(super) fn adopt(
        process: Box<dyn Process>,
        socket: OwnedFd,
        listener: Box<dyn Listener>,
    ) -> io::Result<Self> {
        let running = Phase::Running(process.id().cast_signed());
        Self::on_thread(socket, running, move |shared| {
            follow(process, listener, shared);
        })
    }

    fn on_thread(
        socket: OwnedFd,
        phase: Phase,
        work: impl FnOnce(&Shared) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            phase: Mutex::new(phase),
            changed: Condvar::new(),
        });
        let follower = {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name("service".to_owned());
            thread.spawn(move || work(&shared))?
        };
        Ok(Self {
            shared,
            socket,
            follower: Some(follower),
        })
    }
}

/// Makes the socket on which a service gets its requests: our end, and the service's.
///
/// # Errors
/// The process is out of descriptors.
pub fn request_sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        flags,
    )?)
}

/// Makes a service of a process that serves already, and the caller's end of its socket. What it
/// writes from now on goes to `listener`, on a thread of its own.
///
/// # Errors
/// There are no threads left; the process is ended then.
pub fn adopt_service(
    process: Box<dyn Process>,
    socket: OwnedFd,
    listener: Box<dyn Listener>,
) -> io::Result<Box<dyn Service>> {
    Ok(Box::new(SystemService::adopt(process, socket, listener)?))
}

impl Service for SystemService {
    fn request(&self, message: &str, attached: &[BorrowedFd<'_>]) -> io::Result<()> {
        let fds: Vec<RawFd> = attached.iter().map(AsRawFd::as_raw_fd).collect();
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
fn start_and_follow(
    spec: &CommandSpec,
    socket_env: &str,
    socket: OwnedFd,
    interrupt: &Interrupt,
    mut listener: Box<dyn Listener>,
    shared: &Shared,
) {
    let started = spawn(spec, Some((socket_env, &socket)), interrupt);
    drop(socket);
    let process = match started {
        Ok(process) => process,
        Err(problems) => {
            shared.enter(Phase::Gone);
            listener.ended(&problems.to_string());
            return;
        }
    };
    shared.enter(Phase::Running(process.id().cast_signed()));
    follow(Box::new(process), listener, shared);
}

/// Passes on the output of a process until it is gone.
fn follow(mut process: Box<dyn Process>, mut listener: Box<dyn Listener>, shared: &Shared) {
    let how = loop {
        match process.next_event_to_the_end() {
            Some(ProcessEvent::Line(line)) => listener.line(&line),
            Some(ProcessEvent::Exited(exit)) => break exit.in_words(),
            Some(ProcessEvent::Lost) => break "is gone with what had forked it".to_owned(),
            Some(ProcessEvent::Stop(_)) | None => {}
        }
    };
    // It is reaped next, and its PID may go to another process, which must not be killed.
    shared.enter(Phase::Gone);
    let mut lines = Vec::new();
    process.end_tree(Duration::ZERO, &mut lines);
    for line in lines {
        listener.line(&line);
    }
    listener.ended(&how);
}
