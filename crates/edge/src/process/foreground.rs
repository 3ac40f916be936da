//! A command that uses this process's standard streams: `cocorun lock` and `once` run one.
//!
//! Invariants: the command is reaped before this returns, so it no longer holds anything. Processes
//! that it left running are not touched, since a compiler cache starts its server this way. The
//! command dies with this process (`PR_SET_PDEATHSIG`), whose lock then ends, too.

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::fs::io_problem;
use crate::interrupt::Interrupt;
use crate::interrupt::StopReason;
use crate::process::contract::Exit;
use crate::process::tree;

use camino::Utf8Path;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::sys::signal::killpg;
use nix::unistd;
use nix::unistd::Pid;
use nix::unistd::getpgid;
use std::io;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::process::Command;

/// How often the owner of a running command is asked whether to go on, milliseconds.
const LOOK_EVERY_MS: u16 = 250;

/// Runs a command to its end on the streams of this process: in our process group on a terminal,
/// otherwise in its own group.
///
/// The first signal that raises `interrupt` is passed on, unless the terminal has done so.
/// `goes_on` is asked four times a second; `false` kills the command and everything it has started.
///
/// # Errors
/// It cannot be started.
pub fn foreground(
    command: &[String],
    env: &[(&str, String)],
    interrupt: &Interrupt,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Exit> {
    let Some((program, args)) = command.split_first() else {
        return Err(Error::new(
            ErrorKind::NotStartable,
            "there is no command to run",
        ));
    };
    let problem = |error: &io::Error| io_problem(error, "start", Utf8Path::new(program));
    let mut child = start(program, args, env).map_err(|error| {
        let problem = problem(&error);
        match error.kind() {
            // The caller's command line is at fault, not a disk or a tool of ours.
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Error {
                kind: ErrorKind::NotStartable,
                ..problem
            },
            _ => problem,
        }
    })?;
    let waited = await_end(&child, interrupt, goes_on);
    if waited.is_err() {
        tree::kill_tree(child.id().cast_signed());
    }
    let status = tree::reap(&mut child).map_err(|error| problem(&error))?;
    waited.map_err(|error| problem(&error))?;
    let signal = status.signal().map(Exit::Signal);
    Ok(signal.unwrap_or_else(|| Exit::Code(status.code().unwrap_or(-1))))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn start(program: &str, args: &[String], env: &[(&str, String)]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(args);
    // On a terminal the command stays in our group: in another one it would be stopped when it
    // reads.
    if !io::stdin().is_terminal() {
        command.process_group(0);
    }
    command.envs(env.iter().map(|(name, value)| (name, value)));
    let parent = unistd::getpid();
    let in_child = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if unistd::getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        }
    };
    #[expect(unsafe_code, reason = "a child is prepared between fork and exec")]
    // SAFETY: the closure makes only async-signal-safe system calls (prctl, getppid) and allocates
    // nothing.
    unsafe {
        command.pre_exec(in_child);
    }
    tree::spawn_registered(&mut command)
}

fn await_end(
    child: &Child,
    interrupt: &Interrupt,
    goes_on: &mut dyn FnMut() -> bool,
) -> io::Result<()> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let ended = tree::watch_end(pid)?;
    let has_group = getpgid(Some(pid)) == Ok(pid);
    let mut is_passed_on = false;
    let mut is_killed = false;
    loop {
        let mut fds = vec![PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        if !is_passed_on {
            fds.push(PollFd::new(interrupt.as_fd(), PollFlags::POLLIN));
        }
        poll(&mut fds, PollTimeout::from(LOOK_EVERY_MS)).ok();
        if fds[0].any().unwrap_or(false) {
            return Ok(());
        }
        if !is_passed_on && let Some(StopReason::Signal(number)) = interrupt.raised() {
            is_passed_on = true;
            let signal = Signal::try_from(i32::from(number)).unwrap_or(Signal::SIGTERM);
            if has_group {
                killpg(pid, signal).ok();
            } else if !matches!(signal, Signal::SIGINT | Signal::SIGQUIT) {
                // The terminal sends these two to the whole group.
                kill(pid, signal).ok();
            }
        }
        if !is_killed && !goes_on() {
            is_killed = true;
            tree::kill_tree(pid.as_raw());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn the_end_of_the_command_is_returned_as_it_was() -> Result<()> {
        let interrupt = Interrupt::new()?;
        let run = |script: &str| foreground(&sh(script), &[], &interrupt, &mut || true);
        assert_eq!(run("exit 7")?, Exit::Code(7));
        assert_eq!(run("kill -9 $$")?, Exit::Signal(9));
        Ok(())
    }

    #[test]
    fn a_signal_is_passed_on_to_the_whole_group() -> Result<()> {
        let interrupt = Interrupt::new()?;
        interrupt.raise(StopReason::Signal(15));
        let exit = foreground(
            &sh("trap 'exit 3' TERM; while :; do sleep 0.1; done"),
            &[],
            &interrupt,
            &mut || true,
        )?;
        // The shell may be killed before it has set its trap.
        assert!([Exit::Code(3), Exit::Signal(15)].contains(&exit), "{exit}");
        Ok(())
    }

    #[test]
    fn a_command_that_nobody_wants_any_more_is_killed() -> Result<()> {
        let interrupt = Interrupt::new()?;
        let exit = foreground(&sh("sleep 60"), &[], &interrupt, &mut || false)?;
        assert_eq!(exit, Exit::Signal(9));
        Ok(())
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() -> Result<()> {
        let interrupt = Interrupt::new()?;
        let command = ["/nowhere/cc".to_owned()];
        let problem = foreground(&command, &[], &interrupt, &mut || true).expect_err("not there");
        assert!(problem.to_string().contains("cannot start `/nowhere/cc`"));
        Ok(())
    }
}
