//! Children: compilers, installers, simulators. What a child is given is data, so that a fake
//! host can stand in for the real one; what it leaves behind is killed.
//!
//! Invariants of the real host:
//! - a child has its own process group, `/dev/null` as standard input, and one log for both
//!   output streams;
//! - a child is a subreaper, so that daemons it starts stay below it while it lives; when it is
//!   gone they become children of this process, which kills every child it did not start itself;
//! - a child dies with the thread that started it (`PR_SET_PDEATHSIG`), so also with a cocorun
//!   that is killed.

mod capture;
mod complete;
mod foreground;
mod running;
mod server;
mod tree;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::fs::io_problem;
use crate::interrupt::Interrupt;
use crate::interrupt::StopReason;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

pub use capture::Captured;
pub use capture::capture;
pub use complete::Completion;
pub use complete::complete;
pub use foreground::foreground;
pub use tree::kill_everything;
pub use tree::processors;

/// Becomes another program; returns only if that fails.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
pub fn replace_this_process(command: &[String]) -> Error {
    let Some((program, args)) = command.split_first() else {
        return Error::new(ErrorKind::NotStartable, "there is no command to run");
    };
    let error = Command::new(program).args(args).exec();
    io_problem(&error, "start", Utf8Path::new(program))
}

/// What to start, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program, by absolute path.
    pub program: Utf8PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set beside the inherited ones.
    pub env: BTreeMap<String, String>,
    /// Inherited variables the child must not see.
    pub env_remove: Vec<String>,
    /// Its working directory.
    pub cwd: Utf8PathBuf,
    /// The file that both output streams are appended to.
    pub log: Utf8PathBuf,
    /// The variable that names a pipe's descriptor to the child; what it writes there comes back
    /// as [`ProcessEvent::Line`]. `None`: no pipe.
    pub channel_env: Option<String>,
    /// Descriptors that the child gets too, under the same numbers.
    pub inherits: Vec<RawFd>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It left with this status.
    Code(i32),
    /// A signal of this number ended it.
    Signal(i32),
}

impl Exit {
    /// Says whether it left with status 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(number) => {
                let name = nix::sys::signal::Signal::try_from(*number);
                write!(f, "signal {number}")?;
                name.map_or(Ok(()), |name| write!(f, " ({name})"))
            }
        }
    }
}

/// What a wait for a child ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// The child wrote a line to its channel; without the line feed.
    Line(String),
    /// The child itself is gone; every line it wrote was delivered before. Descendants may live.
    Exited(Exit),
    /// The child is gone with the server that had forked it; nobody knows how it ended.
    Lost,
    /// The given moment came first.
    Deadline,
    /// The session must stop. Returned at every call from then on until the child is gone.
    Stop(StopReason),
}

/// Asks a simulator for Python's stack. Users' own code takes SIGUSR1 more often.
pub const STACK_SIGNAL: i32 = libc::SIGUSR2;
/// Asks a simulator that is not in Python what its testcase awaits. It is ignored by who does not
/// know it.
pub const WAIT_SIGNAL: i32 = libc::SIGURG;

/// A child that was started.
pub trait Process: Send {
    /// Returns its process id, for messages.
    fn id(&self) -> u32;

    /// Waits for the next event, at the longest until `until`.
    fn next_event(&mut self, until: Option<Instant>) -> ProcessEvent;

    /// Sends [`STACK_SIGNAL`] or [`WAIT_SIGNAL`] to the child alone, and says whether it was sent.
    ///
    /// A child that has installed no handler for the first dies of it.
    fn ask(&mut self, _signal: i32) -> bool {
        false
    }

    /// Ends the child and everything it has started, and returns how the child itself ended.
    ///
    /// Where the child still runs, its group gets SIGTERM first and `grace` to go; a zero grace
    /// kills at once. Lines that the child wrote meanwhile are appended to `lines`.
    fn end_tree(&mut self, grace: Duration, lines: &mut Vec<String>) -> Exit;
}

/// Where children are started.
pub trait ProcessHost: Send + Sync {
    /// Starts a child.
    ///
    /// # Errors
    /// The program cannot be started, or the log cannot be opened; nothing runs then.
    fn spawn(&self, spec: &CommandSpec) -> Result<Box<dyn Process>>;

    /// Starts a process that forks children on request, and waits until it takes requests, at most
    /// `limit`.
    ///
    /// The variable `socket_env` names its end of a socket; `docs/agent.md` tells what is said on
    /// it. It is started on one processor: a thread pool that it would make does not survive a
    /// fork.
    ///
    /// # Errors
    /// It cannot be started, or says that it cannot serve: with its reason as the message.
    fn serve(
        &self,
        spec: &CommandSpec,
        socket_env: &str,
        limit: Duration,
    ) -> Result<Box<dyn ForkServer>> {
        let _ = (spec, socket_env, limit);
        Err(Error::new(ErrorKind::Broken, "this host forks nothing"))
    }
}

/// A process that forks a child for each request. Dropping it ends it with all its children.
pub trait ForkServer: Send + Sync {
    /// Asks for a child; `request` names `run` as its own `run`.
    ///
    /// # Errors
    /// The server refuses, or is gone; no child was made then.
    fn fork(&self, run: u32, request: &str) -> std::result::Result<Box<dyn Process>, ForkError>;

    /// Returns what could not be prepared, as sentences without an end.
    fn complaints(&self) -> Vec<String>;
}

/// Why a server made no child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForkError {
    /// It will not make this one; others may work.
    Refused(String),
    /// It does not answer any more; another server may.
    Gone(String),
}

/// The operating system.
#[derive(Clone, Debug)]
pub struct SystemHost {
    interrupt: Interrupt,
}

impl SystemHost {
    /// Makes a host whose waits end when `interrupt` is raised.
    pub fn new(interrupt: Interrupt) -> Self {
        Self { interrupt }
    }

    /// Makes this process the one that inherits, and kills, what its children leave behind.
    ///
    /// For the program only: a library's caller may have children of its own.
    pub fn adopt_orphans() {
        tree::become_subreaper();
    }
}

impl ProcessHost for SystemHost {
    fn spawn(&self, spec: &CommandSpec) -> Result<Box<dyn Process>> {
        Ok(Box::new(spawn(spec, None, &self.interrupt)?))
    }

    fn serve(
        &self,
        spec: &CommandSpec,
        socket_env: &str,
        limit: Duration,
    ) -> Result<Box<dyn ForkServer>> {
        let interrupt = self.interrupt.clone();
        let server = server::Server::start(spec.clone(), socket_env, limit, interrupt)?;
        Ok(Box::new(server))
    }
}

/// Starts a child, with a socket of its own where it is a server.
fn spawn(
    spec: &CommandSpec,
    socket: Option<(&str, &OwnedFd)>,
    interrupt: &Interrupt,
) -> Result<running::Running> {
    let (mut command, channel) = prepare(spec)?;
    let mut inherited = spec.inherits.clone();
    inherited.extend(channel.iter().map(|ends| ends.writer.as_raw_fd()));
    if let Some((name, socket)) = socket {
        command.env(name, socket.as_raw_fd().to_string());
        inherited.push(socket.as_raw_fd());
    }
    let child = start(command, inherited, socket.is_some(), spec)?;
    let reader = channel.map(|ends| ends.reader);
    running::Running::watch(child, reader, interrupt.clone())
        .map_err(|error| io_problem(&error, "watch", &spec.program))
}

/// A pipe's two ends: ours to read, the child's to write.
struct Channel {
    reader: OwnedFd,
    writer: OwnedFd,
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn prepare(spec: &CommandSpec) -> Result<(Command, Option<Channel>)> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&spec.log)
        .map_err(|error| io_problem(&error, "open log", &spec.log))?;
    let log_twin = log
        .try_clone()
        .map_err(|error| io_problem(&error, "open log", &spec.log))?;
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .current_dir(&spec.cwd)
        .process_group(0);
    for name in &spec.env_remove {
        command.env_remove(name);
    }
    command.envs(&spec.env);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(log))
        .stderr(Stdio::from(log_twin));
    let mut channel = None;
    if let Some(name) = &spec.channel_env {
        let (reader, writer) =
            nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|errno| {
                io_problem(&io::Error::from(errno), "make a pipe for", &spec.program)
            })?;
        command.env(name, writer.as_raw_fd().to_string());
        channel = Some(Channel { reader, writer });
    }
    Ok((command, channel))
}

fn start(
    mut command: Command,
    inherited: Vec<RawFd>,
    on_one_processor: bool,
    spec: &CommandSpec,
) -> Result<std::process::Child> {
    let parent = nix::unistd::getpid();
    let in_child = move || tree::prepare_child(parent, &inherited, on_one_processor);
    #[expect(unsafe_code, reason = "a child is prepared between fork and exec")]
    // SAFETY: the closure makes only async-signal-safe system calls (prctl, getppid, fcntl, sched_*affinity) and
    // allocates nothing.
    unsafe {
        command.pre_exec(in_child);
    }
    tree::spawn_registered(&mut command).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Error::new(
                ErrorKind::NotFound,
                format!("cannot start `{}`: not found", spec.program),
            )
        } else {
            io_problem(&error, "start", &spec.program)
        }
    })
}
