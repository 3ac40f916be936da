//! A child, its host and a service, as their owners see them: data and traits, so that a fake host
//! can replace the real one.

use crate::Error;
use crate::ErrorKind;
use crate::Result;
use crate::clock::Clock;
use crate::interrupt::StopReason;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::fd::RawFd;
use std::time::Duration;
use std::time::Instant;

/// What to start, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program, by absolute path.
    pub program: Utf8PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set in addition to the inherited ones.
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
    /// Descriptors that the child inherits, under the same numbers.
    pub inherits: Vec<RawFd>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// A signal with this number ended it.
    Signal(i32),
}

impl Exit {
    /// Whether it exited with status 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// Returns what happened as the end of a sentence: `exited with status 1`, `was killed by
    /// SIGSEGV`.
    pub fn in_words(self) -> String {
        match self {
            Self::Code(code) => format!("exited with status {code}"),
            Self::Signal(number) => nix::sys::signal::Signal::try_from(number).map_or_else(
                |_| format!("was killed by signal {number}"),
                |name| format!("was killed by {name}"),
            ),
        }
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

/// Something that happened to a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// The child wrote a line to its channel; without the line feed.
    Line(String),
    /// The child itself is gone; every line it wrote was delivered before. Descendants may still
    /// run.
    Exited(Exit),
    /// The child is gone with the service that had forked it; nobody knows how it ended.
    Lost,
    /// The session must stop. Returned at every call from then on until the child is gone.
    Stop(StopReason),
}

/// A child that was started.
pub trait Process: Send {
    /// Returns its process id, for messages.
    fn id(&self) -> u32;

    /// Waits for the next event, at most `limit`; `None` if nothing has happened.
    ///
    /// It may return `None` earlier: only the caller's clock knows how much time has passed, see
    /// [`await_event`]. A zero limit returns what has happened already, line by line, and then
    /// `None`, even if the child never stops writing lines.
    fn next_event(&mut self, limit: Option<Duration>) -> Option<ProcessEvent>;

    /// Waits for the next event even if the session must stop: for services, which end last.
    fn next_event_to_the_end(&mut self) -> Option<ProcessEvent>;

    /// Sends a signal only to the child; `true` if it was sent.
    ///
    /// A child that has installed no handler may die of it.
    fn signal(&mut self, _number: i32) -> bool {
        false
    }

    /// Ends the child and everything it has started, and returns how the child itself ended.
    ///
    /// If the child still runs, its group first gets SIGTERM and then `grace` to end; a zero grace
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

    /// Starts a process that takes requests on a socket; the variable `socket_env` names its end.
    /// What it writes to its channel goes to `listener`, on a thread of its own.
    ///
    /// It is started on one processor: a thread pool, which it would otherwise make, does not
    /// survive a fork.
    ///
    /// # Errors
    /// There are no sockets or threads left. If the program cannot be started, the listener is
    /// notified of the end.
    fn serve(
        &self,
        spec: &CommandSpec,
        socket_env: &str,
        listener: Box<dyn Listener>,
    ) -> Result<Box<dyn Service>> {
        let _ = (spec, socket_env);
        drop(listener);
        Err(Error::new(ErrorKind::Broken, "this host has no services"))
    }
}

/// A process that takes requests. Dropping it ends it with everything it has started.
pub trait Service: Send + Sync {
    /// Sends a request, with descriptors of ours attached.
    ///
    /// # Errors
    /// It no longer takes requests.
    fn request(&self, message: &str, attached: &[BorrowedFd<'_>]) -> io::Result<()>;
}

/// Receives what a service writes, on one thread and in order.
pub trait Listener: Send {
    /// The service wrote a line to its channel; without the line feed.
    fn line(&mut self, line: &str);

    /// The service is gone, or could not be started: how, in words. Called once, and last.
    fn ended(&mut self, how: &str);
}

/// Waits for an event until a time of this clock; `None` if that comes first.
///
/// Lines written before that time are returned after it too; a child that never stops writing does
/// not postpone the `None` for ever.
pub fn await_event(
    process: &mut dyn Process,
    clock: &dyn Clock,
    until: Instant,
) -> Option<ProcessEvent> {
    loop {
        let left = until.saturating_duration_since(clock.now());
        let event = process.next_event(Some(left));
        if event.is_some() || clock.now() >= until {
            return event;
        }
    }
}
