//! A process that forks children on request: asking it, and following what it tells.
//!
//! Invariants: one thread starts the server, follows it and reaps it, since the kernel kills a
//! child with the thread that started it. Every child's fate is settled exactly once: by the
//! server's word, or as lost when the server is gone.

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::fs::io_problem;
use crate::interrupt::Interrupt;
use crate::process::CommandSpec;
use crate::process::Exit;
use crate::process::ForkError;
use crate::process::ForkServer;
use crate::process::Process;
use crate::process::ProcessEvent;
use crate::process::running::Fate;
use crate::process::running::Known;
use crate::process::running::Running;
use crate::process::tree;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::ControlMessage;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::Shutdown;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::sendmsg;
use nix::sys::socket::shutdown;
use nix::sys::socket::socketpair;
use nix::unistd;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

/// The server answers a request at once, unless its processor is taken away.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long a server that is no longer wanted may take to end by itself.
const END_LIMIT: Duration = Duration::from_secs(2);
/// How often a wait looks whether the session stops.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a server says on its channel; `docs/agent.md`.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Serving {},
    CannotServe { message: String },
    PreloadError { module: String, message: String },
    ChildStarted { run: u32, pid: i32 },
    ChildExited { run: u32, status: i32 },
    Refused { run: Option<u32>, message: String },
}

enum Phase {
    Starting,
    Serving,
    Gone(String),
}

/// A child from its request to its end.
struct Child {
    pid: Option<i32>,
    refusal: Option<String>,
    fate: Arc<Fate>,
    has_ended: bool,
    /// Whether somebody holds it as a process.
    is_held: bool,
    /// Dropping it makes the other end readable.
    teller: Option<OwnedFd>,
}

impl Child {
    fn settle(&mut self, known: Known) {
        self.fate.settle(known);
        drop(self.teller.take());
    }
}

struct State {
    phase: Phase,
    /// The server's process id, from its start until it is reaped.
    pid: Option<i32>,
    children: BTreeMap<u32, Child>,
    /// What it could not prepare, for people.
    complaints: Vec<String>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, line: Line) {
        let mut state = self.locked();
        match line {
            Line::Serving {} => state.phase = Phase::Serving,
            Line::CannotServe { message } => state.phase = Phase::Gone(message),
            Line::PreloadError { module, message } => {
                let words = format!("`{module}` cannot be imported before the fork: {message}");
                state.complaints.push(words);
            }
            Line::ChildStarted { run, pid } => {
                if let Some(child) = state.children.get_mut(&run) {
                    child.pid = Some(pid);
                }
            }
            Line::ChildExited { run, status } => {
                if let Some(child) = state.children.get_mut(&run) {
                    child.settle(Known::Ended(exit_of(status)));
                    child.has_ended = true;
                    // It may end before the one who asked for it has seen it start.
                    if child.is_held {
                        state.children.remove(&run);
                    }
                }
            }
            Line::Refused { run, message } => {
                if let Some(child) = run.and_then(|run| state.children.get_mut(&run)) {
                    child.refusal = Some(message);
                }
            }
        }
        self.changed.notify_all();
    }

    fn gone(&self, why: &str) {
        let mut state = self.locked();
        if !matches!(state.phase, Phase::Gone(_)) {
            state.phase = Phase::Gone(why.to_owned());
        }
        state.pid = None;
        for child in state.children.values_mut() {
            child.settle(Known::Lost);
        }
        state.children.clear();
        self.changed.notify_all();
    }
}

/// Reads a status as wait(2) gives it.
fn exit_of(status: i32) -> Exit {
    let signal = status & 0x7f;
    if signal == 0 {
        Exit::Code((status >> 8) & 0xff)
    } else {
        Exit::Signal(signal)
    }
}

pub(super) struct Server {
    shared: Arc<Shared>,
    socket: OwnedFd,
    interrupt: Interrupt,
    follower: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server and waits until it serves, at most `limit`.
    pub(super) fn start(
        spec: CommandSpec,
        socket_env: &str,
        limit: Duration,
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
        let state = State {
            phase: Phase::Starting,
            pid: None,
            children: BTreeMap::new(),
            complaints: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let follower = {
            let (shared, name, stop) = (
                Arc::clone(&shared),
                socket_env.to_owned(),
                interrupt.clone(),
            );
            thread::Builder::new()
                .name("fork-server".to_owned())
                .spawn(move || follow(&spec, &name, theirs, &stop, &shared))
                .map_err(|error| failed(&error))?
        };
        let server = Self {
            shared,
            socket: ours,
            interrupt,
            follower: Some(follower),
        };
        server.await_serving(limit)?;
        Ok(server)
    }

    /// Waits until `waits` is false, the limit has passed, or the session stops.
    fn await_while(
        &self,
        limit: Duration,
        waits: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let mut state = self.shared.locked();
        let mut left = limit;
        while waits(&state) && !left.is_zero() && self.interrupt.raised().is_none() {
            let step = left.min(LOOK_EVERY);
            left -= step;
            (state, _) = self
                .shared
                .changed
                .wait_timeout_while(state, step, |state| waits(state))
                .unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn await_serving(&self, limit: Duration) -> Result<()> {
        let state = self.await_while(limit, |state| matches!(state.phase, Phase::Starting));
        match &state.phase {
            Phase::Serving => Ok(()),
            Phase::Gone(why) => Err(Error::new(ErrorKind::Broken, why.clone())),
            Phase::Starting => {
                let words = format!(
                    "the fork server did not come to serve within {} s",
                    limit.as_secs()
                );
                Err(Error::new(ErrorKind::Broken, words))
            }
        }
    }

    fn send(&self, request: &str, pipe: &OwnedFd) -> nix::Result<()> {
        let fds = [pipe.as_raw_fd()];
        let attached = [ControlMessage::ScmRights(&fds)];
        let message = [IoSlice::new(request.as_bytes())];
        loop {
            let flags = MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(self.socket.as_raw_fd(), &message, &attached, flags, None) {
                Err(Errno::EINTR) => {}
                outcome => return outcome.map(|_| ()),
            }
        }
    }

    /// Waits until a child is started or refused, and returns its process id.
    fn await_answer(&self, run: u32) -> std::result::Result<i32, ForkError> {
        let mut state = self.await_while(ANSWER_LIMIT, |state| {
            let child = state.children.get(&run);
            child.is_some_and(|child| child.pid.is_none() && child.refusal.is_none())
        });
        match state.children.get_mut(&run) {
            Some(child) => match (child.pid, child.refusal.clone()) {
                (Some(pid), _) => {
                    child.is_held = true;
                    if child.has_ended {
                        state.children.remove(&run);
                    }
                    Ok(pid)
                }
                (None, refusal) => {
                    state.children.remove(&run);
                    Err(refusal.map_or_else(
                        || ForkError::Gone("the fork server is silent".to_owned()),
                        ForkError::Refused,
                    ))
                }
            },
            None => Err(ForkError::Gone("the fork server is gone".to_owned())),
        }
    }
}

impl ForkServer for Server {
    fn fork(&self, run: u32, request: &str) -> std::result::Result<Box<dyn Process>, ForkError> {
        let failed =
            |error: io::Error| ForkError::Gone(format!("the fork server cannot be asked: {error}"));
        let (reader, writer) =
            unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let (ended, teller) =
            unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let fate = Arc::new(Fate::default());
        {
            let mut state = self.shared.locked();
            if let Phase::Gone(why) = &state.phase {
                return Err(ForkError::Gone(why.clone()));
            }
            let child = Child {
                pid: None,
                refusal: None,
                fate: Arc::clone(&fate),
                has_ended: false,
                is_held: false,
                teller: Some(teller),
            };
            state.children.insert(run, child);
        }
        if let Err(errno) = self.send(request, &writer) {
            self.shared.locked().children.remove(&run);
            return Err(failed(errno.into()));
        }
        drop(writer);
        let pid = self.await_answer(run)?;
        let interrupt = self.interrupt.clone();
        let child = Running::forked(pid, fate, reader, ended, interrupt).map_err(failed)?;
        Ok(Box::new(child))
    }

    fn complaints(&self) -> Vec<String> {
        self.shared.locked().complaints.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        shutdown(self.socket.as_raw_fd(), Shutdown::Both).ok();
        // An orderly end takes milliseconds; a server that hangs is killed.
        let mut state = self.shared.locked();
        for _ in 0..2 {
            (state, _) = self
                .shared
                .changed
                .wait_timeout_while(state, END_LIMIT, |state| {
                    state.pid.is_some() || matches!(state.phase, Phase::Starting)
                })
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(pid) = state.pid {
                tree::kill_tree(pid);
            }
        }
        drop(state);
        if let Some(follower) = self.follower.take() {
            follower.join().ok();
        }
    }
}

/// Starts the server and takes in what it says until it is gone.
fn follow(
    spec: &CommandSpec,
    socket_env: &str,
    socket: OwnedFd,
    interrupt: &Interrupt,
    shared: &Shared,
) {
    let started = super::spawn(spec, Some((socket_env, &socket)), interrupt);
    drop(socket);
    let mut process = match started {
        Ok(process) => process,
        Err(problems) => return shared.gone(&problems.to_string()),
    };
    shared.locked().pid = Some(process.id().cast_signed());
    let mut lines = Vec::new();
    let exit = loop {
        match process.next_event_to_the_end() {
            ProcessEvent::Line(line) => {
                if let Ok(line) = serde_json::from_str(&line) {
                    shared.take(line);
                }
            }
            ProcessEvent::Exited(exit) => break exit,
            ProcessEvent::Lost | ProcessEvent::Deadline | ProcessEvent::Stop(_) => {}
        }
    };
    // It is reaped next, and its number may go to another process: nobody is to kill that.
    shared.locked().pid = None;
    process.end_tree(Duration::ZERO, &mut lines);
    shared.gone(&format!("the fork server ended with {exit}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::clock::Clock;
    use crate::clock::SystemClock;

    use camino::Utf8PathBuf;

    #[test]
    fn a_server_that_never_serves_is_given_up_at_its_limit() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        let spec = CommandSpec {
            program: Utf8PathBuf::from("sleep"),
            args: vec!["1000".to_owned()],
            env: BTreeMap::new(),
            env_remove: Vec::new(),
            log: dir.join("log"),
            cwd: dir,
            channel_env: None,
            inherits: Vec::new(),
        };
        let began = SystemClock.now();
        let interrupt = Interrupt::new().expect("a pipe");
        let started = Server::start(spec, "SOCKET", Duration::from_secs(1), interrupt);
        let problems = started.err().expect("it never served").to_string();
        assert!(problems.contains("within 1 s"), "{problems}");
        let took = SystemClock.now().saturating_duration_since(began);
        assert!(took < Duration::from_secs(60), "{took:?}");
    }
}
