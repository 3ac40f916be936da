//! Starting a child: its command, its log, its pipe, and the steps between fork and exec.

use crate::Error;
use crate::ErrorKind;
use crate::Result;
use crate::fs::io_problem;
use crate::interrupt::Interrupt;
use crate::process::contract::CommandSpec;
use crate::process::running::Running;
use crate::process::tree;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::Stdio;

/// Starts a child, with a socket of its own if it is a server.
pub(super) fn spawn(
    spec: &CommandSpec,
    socket: Option<(&str, &OwnedFd)>,
    interrupt: &Interrupt,
) -> Result<Running> {
    let (mut command, channel) = prepare(spec)?;
    let mut inherited = spec.inherits.clone();
    inherited.extend(channel.iter().map(|ends| ends.writer.as_raw_fd()));
    if let Some((name, socket)) = socket {
        command.env(name, socket.as_raw_fd().to_string());
        inherited.push(socket.as_raw_fd());
    }
    let child = start(command, inherited, socket.is_some(), spec)?;
    let reader = channel.map(|ends| ends.reader);
    Running::watch(child, reader, interrupt.clone())
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
