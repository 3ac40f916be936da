//! A simulator that forks a child for each run: sending it requests and reading its events.
//!
//! Invariant: every child's end is reported exactly once: by the server's event, or as lost if
//! the server is gone.

use crate::agent::event::ServerEvent;
use crate::agent::event::Unreadable;
use crate::agent::event::read_server_event;
use crate::agent::request::REQUEST_FD_ENV;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::interrupt::Interrupt;
use crate::edge::process::CommandSpec;
use crate::edge::process::Exit;
use crate::edge::process::ForkReport;
use crate::edge::process::Listener;
use crate::edge::process::PendingFork;
use crate::edge::process::Process;
use crate::edge::process::ProcessHost;
use crate::edge::process::Service;
use crate::edge::process::adopt_service;
use crate::edge::process::request_sockets;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// The server answers a request at once, unless it gets no processor time.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How many complaints are kept: a testcase may write to the channel without end.
const COMPLAINTS_MAX: usize = 20;
/// How often a wait checks the clock and whether the session stops.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a server created no child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForkError {
    /// It rejects this request; others may work.
    Refused(String),
    /// It no longer answers; another server may.
    Gone(String),
}

/// A problem that deserves a warning but prevents no run; a sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// A module of `preload` cannot be imported, or is not safe to have imported, before the fork.
    Preload(String),
    /// The agent failed, or sent something that cannot be read.
    Agent(String),
}

/// What a wait for a server needs from the session.
#[derive(Clone, Copy)]
pub struct Waits<'a> {
    /// The clock of the limits.
    pub clock: &'a dyn Clock,
    /// Ends waits when raised.
    pub interrupt: &'a Interrupt,
}

enum Phase {
    Starting,
    Serving,
    Gone(String),
}

/// A child, from its request to its end.
#[derive(Default)]
struct Child {
    pid: Option<i32>,
    refusal: Option<String>,
    /// Whether a caller holds it as a process.
    is_held: bool,
    /// Present until it has ended.
    report: Option<ForkReport>,
}

struct State {
    phase: Phase,
    children: BTreeMap<u32, Child>,
    /// Complaints not yet taken.
    complaints: Vec<Complaint>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn new(phase: Phase) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                phase,
                children: BTreeMap::new(),
                complaints: Vec::new(),
            }),
            changed: Condvar::new(),
        })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: ServerEvent) {
        let mut state = self.locked();
        match event {
            ServerEvent::Hello(_) => {}
            ServerEvent::Serving { .. } => {
                if matches!(state.phase, Phase::Starting) {
                    state.phase = Phase::Serving;
                }
            }
            ServerEvent::CannotServe { message } => state.phase = Phase::Gone(message),
            ServerEvent::StartupError(error) => {
                let words = format!("{}: {}", error.error_type, error.message);
                state.phase = Phase::Gone(words);
            }
            ServerEvent::PreloadError(error) => state.complaints.push(Complaint::Preload(format!(
                "`{}` cannot be imported before the fork: {}",
                error.module, error.message
            ))),
            ServerEvent::AgentError(error) => {
                state.complaints.push(Complaint::Agent(error.in_words()));
            }
            ServerEvent::ChildStarted { run, pid } => {
                if let Some(child) = state.children.get_mut(&run) {
                    child.pid = Some(pid);
                }
            }
            ServerEvent::ChildExited { run, status, .. } => {
                if let Some(child) = state.children.get_mut(&run) {
                    if let Some(report) = child.report.take() {
                        report.ended(exit_of(status));
                    }
                    // It may end before the requester has seen it start.
                    if child.is_held {
                        state.children.remove(&run);
                    }
                }
            }
            ServerEvent::Refused { run, message } => {
                let child = run.and_then(|run| state.children.get_mut(&run));
                match child {
                    Some(child) => child.refusal = Some(message),
                    None => state.complaints.push(Complaint::Agent(format!(
                        "the fork server refused a request that it could not read: {message}"
                    ))),
                }
            }
        }
        self.changed.notify_all();
    }

    fn gone(&self, why: String) {
        let mut state = self.locked();
        if !matches!(state.phase, Phase::Gone(_)) {
            state.phase = Phase::Gone(why);
        }
        // Dropping the children's senders reports the children as lost.
        state.children.clear();
        self.changed.notify_all();
    }
}

/// Reads the server's events on its own thread.
struct ServerListener(Arc<Shared>);

impl Listener for ServerListener {
    fn line(&mut self, line: &str) {
        match read_server_event(line) {
            Ok(event) => self.0.take(event),
            Err(why @ Unreadable::Protocol(_)) => self.0.gone(why.to_string()),
            // An empty line ends the rest of a line that a signal has split.
            Err(_) if line.is_empty() => {}
            Err(why) => {
                let mut state = self.0.locked();
                if state.complaints.len() < COMPLAINTS_MAX {
                    state.complaints.push(Complaint::Agent(why.to_string()));
                }
            }
        }
    }

    fn ended(&mut self, how: &str) {
        self.0.gone(format!("the fork server {how}"));
    }
}

/// Decodes a status as wait(2) returns it.
fn exit_of(status: i32) -> Exit {
    let signal = status & 0x7f;
    if signal == 0 {
        Exit::Code((status >> 8) & 0xff)
    } else {
        Exit::Signal(signal)
    }
}

/// A child that lists a module, and may serve it then.
pub struct ModuleFork {
    /// The child: its events are those of a listing, until it serves.
    pub process: Box<dyn Process>,
    /// Where it gets its requests once it serves.
    pub socket: OwnedFd,
}

/// A running server. Dropping it ends it with all its children.
pub struct ForkServer {
    shared: Arc<Shared>,
    service: Box<dyn Service>,
}

impl fmt::Debug for ForkServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkServer").finish_non_exhaustive()
    }
}

impl ForkServer {
    /// Starts a server and waits until it accepts requests, at most `limit`.
    ///
    /// # Errors
    /// It cannot be started, or reports that it cannot serve, with its reason as the message.
    pub fn start(
        host: &dyn ProcessHost,
        spec: &CommandSpec,
        waits: Waits<'_>,
        limit: Duration,
    ) -> Result<Self> {
        let shared = Shared::new(Phase::Starting);
        let service = host.serve(
            spec,
            REQUEST_FD_ENV,
            Box::new(ServerListener(Arc::clone(&shared))),
        )?;
        let server = Self { shared, service };
        server.await_serving(waits, limit)?;
        Ok(server)
    }

    /// Takes over a child that has listed its module and serves it now.
    ///
    /// # Errors
    /// There are no threads left; the child is ended then.
    pub fn of_module(fork: ModuleFork) -> io::Result<Self> {
        let shared = Shared::new(Phase::Serving);
        let listener = Box::new(ServerListener(Arc::clone(&shared)));
        let service = adopt_service(fork.process, fork.socket, listener)?;
        Ok(Self { shared, service })
    }

    /// Takes over a child that is about to serve, and waits for that as [`start`](Self::start).
    ///
    /// # Errors
    /// As of [`start`](Self::start), or there are no threads left; the child is ended then.
    pub fn of_starting(fork: ModuleFork, waits: Waits<'_>, limit: Duration) -> Result<Self> {
        let shared = Shared::new(Phase::Starting);
        let listener = Box::new(ServerListener(Arc::clone(&shared)));
        let service = adopt_service(fork.process, fork.socket, listener);
        let service =
            service.map_err(|error| Diagnostic::error(Code::ToolBroken, error.to_string()))?;
        let server = Self { shared, service };
        server.await_serving(waits, limit)?;
        Ok(server)
    }

    /// Waits until `waits_for` is false, the limit has passed, or the session stops.
    fn await_while(
        &self,
        waits: Waits<'_>,
        limit: Duration,
        waits_for: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let until = waits.clock.now() + limit;
        let mut state = self.shared.locked();
        while waits_for(&state) && waits.clock.now() < until && waits.interrupt.raised().is_none() {
            (state, _) = self
                .shared
                .changed
                .wait_timeout_while(state, LOOK_EVERY, |state| waits_for(state))
                .unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn await_serving(&self, waits: Waits<'_>, limit: Duration) -> Result<()> {
        let state = self.await_while(waits, limit, |it| matches!(it.phase, Phase::Starting));
        let why = match &state.phase {
            Phase::Serving => return Ok(()),
            Phase::Gone(why) => why.clone(),
            Phase::Starting => {
                format!("the fork server was not ready within {} s", limit.as_secs())
            }
        };
        Err(Diagnostic::error(Code::ToolBroken, why).into())
    }

    /// Requests a child; the `run` in `request` must equal `run`.
    ///
    /// # Errors
    /// The server rejects the request, or is gone; no child was created then.
    pub fn fork(
        &self,
        waits: Waits<'_>,
        run: u32,
        request: &str,
    ) -> std::result::Result<Box<dyn Process>, ForkError> {
        self.fork_with(waits, run, request, None)
    }

    /// Requests a child that serves a module; the `run` in `request` must equal `run`.
    ///
    /// # Errors
    /// As [`fork`](Self::fork).
    pub fn fork_module(
        &self,
        waits: Waits<'_>,
        run: u32,
        request: &str,
    ) -> std::result::Result<ModuleFork, ForkError> {
        let sockets = request_sockets();
        let (socket, theirs) =
            sockets.map_err(|error| ForkError::Refused(format!("no socket: {error}")))?;
        let process = self.fork_with(waits, run, request, Some(theirs.as_fd()))?;
        Ok(ModuleFork { process, socket })
    }

    fn fork_with(
        &self,
        waits: Waits<'_>,
        run: u32,
        request: &str,
        socket: Option<BorrowedFd<'_>>,
    ) -> std::result::Result<Box<dyn Process>, ForkError> {
        let failed =
            |error: io::Error| ForkError::Gone(format!("cannot send to the fork server: {error}"));
        let (pending, report) = PendingFork::new(waits.interrupt.clone()).map_err(failed)?;
        {
            let mut state = self.shared.locked();
            if let Phase::Gone(why) = &state.phase {
                return Err(ForkError::Gone(why.clone()));
            }
            let child = Child {
                report: Some(report),
                ..Child::default()
            };
            state.children.insert(run, child);
        }
        let attached: Vec<_> = [pending.writer()].into_iter().chain(socket).collect();
        if let Err(error) = self.service.request(request, &attached) {
            self.shared.locked().children.remove(&run);
            return Err(failed(error));
        }
        let pid = self.await_answer(waits, run)?;
        pending.into_process(pid).map_err(failed)
    }

    /// Waits until a child is started or rejected, and returns its process id.
    fn await_answer(&self, waits: Waits<'_>, run: u32) -> std::result::Result<i32, ForkError> {
        let mut state = self.await_while(waits, ANSWER_LIMIT, |state| {
            let child = state.children.get(&run);
            child.is_some_and(|child| child.pid.is_none() && child.refusal.is_none())
        });
        let Some(child) = state.children.get_mut(&run) else {
            return Err(ForkError::Gone("the fork server is gone".to_owned()));
        };
        if let Some(pid) = child.pid {
            child.is_held = true;
            if child.report.is_none() {
                state.children.remove(&run);
            }
            return Ok(pid);
        }
        let refusal = child.refusal.take();
        state.children.remove(&run);
        Err(refusal.map_or_else(
            || ForkError::Gone("the fork server does not answer".to_owned()),
            ForkError::Refused,
        ))
    }

    /// Says whether it has so many children, requested ones included.
    pub fn has_children(&self, count: usize) -> bool {
        self.shared.locked().children.len() == count
    }

    /// Takes the warnings since the last call.
    pub fn take_complaints(&self) -> Vec<Complaint> {
        mem::take(&mut self.shared.locked().complaints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::edge::clock::SystemClock;
    use crate::edge::process::SystemHost;

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
        let interrupt = Interrupt::new().expect("a pipe");
        let host = SystemHost::new(interrupt.clone());
        let clock = SystemClock;
        let began = clock.now();
        let waits = Waits {
            clock: &clock,
            interrupt: &interrupt,
        };
        let started = ForkServer::start(&host, &spec, waits, Duration::from_secs(1));
        let problems = started.expect_err("it never served").to_string();
        assert!(problems.contains("within 1 s"), "{problems}");
        let took = clock.now().saturating_duration_since(began);
        assert!(took < Duration::from_secs(60), "{took:?}");
    }

    /// Returns the listener of a server that has sent nothing yet.
    fn listener() -> ServerListener {
        ServerListener(Shared::new(Phase::Starting))
    }

    #[test]
    fn a_server_of_another_protocol_is_not_used() {
        let mut server = listener();
        server.line(r#"{"event":"hello","protocol":99,"cocotb":"2.1.0"}"#);
        server.line(r#"{"event":"serving","pid":7}"#);
        let state = server.0.locked();
        let Phase::Gone(why) = &state.phase else {
            panic!("it serves");
        };
        assert!(why.contains("protocol 99"), "{why}");
    }

    #[test]
    fn unknown_events_of_a_server_become_complaints() {
        let mut server = listener();
        server.line("");
        server.line(r#"{"event":"novel"}"#);
        let complaints = mem::take(&mut server.0.locked().complaints);
        let [Complaint::Agent(complaint)] = complaints.as_slice() else {
            panic!("one complaint: {complaints:?}");
        };
        assert!(complaint.contains("`novel`"), "{complaint}");
    }
}
