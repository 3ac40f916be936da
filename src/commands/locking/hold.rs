//! Waiting for a lock and running a command while it is held.
//!
//! Invariant: the command runs only while the lock is held, and is reaped before it is released.

use crate::cli::LockArgs;
use crate::commands::locking::waiting::WaitSettings;
use crate::commands::locking::waiting::WaitView;
use crate::commands::reporting::line;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::clock::SystemClock;
use crate::edge::env;
use crate::edge::fs;
use crate::edge::interrupt::Interrupt;
use crate::edge::interrupt::StopReason;
use crate::edge::process;
use crate::edge::process::Exit;
use crate::lock::Options;
use crate::lock::acquire;
use crate::lock::acquire::Guard;
use crate::lock::acquire::Lock;
use crate::lock::acquire::Strategy;
use crate::model::exit_code::ExitCode;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often a lock is checked by default.
const KERNEL_POLL: Duration = Duration::from_millis(50);
const REGISTER_POLL: Duration = Duration::from_secs(5);

/// One call of `cocorun lock`.
pub(super) struct LockSession<'a> {
    pub(super) args: &'a LockArgs,
    pub(super) settings: WaitSettings,
    pub(super) interrupt: Interrupt,
}

/// The outcome of waiting.
pub(super) enum Got {
    /// The lock, and by which strategy.
    Lock(Guard, Strategy),
    /// A signal.
    Stop(ExitCode),
}

impl LockSession<'_> {
    /// Waits for the lock of this path.
    pub(super) fn acquire(&self, path: &Utf8Path) -> Result<Got> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let dir = match path.parent() {
            Some(dir) if !dir.as_str().is_empty() => dir.to_owned(),
            _ => Utf8PathBuf::from("."),
        };
        let Some(name) = path.file_name() else {
            let text = format!("`{path}` is not a file name");
            return Err(Diagnostic::error(Code::UsageBadArgument, text).into());
        };
        if !fs::exists(&dir) {
            let text = format!("there is no directory `{dir}` for the lock `{path}`");
            return Err(Diagnostic::error(Code::UsageBadArgument, text)
                .help("create it first, or name another path")
                .into());
        }
        let choice = acquire::choose(&dir, self.args.strategy)?;
        if let Some(doubt) = &choice.doubt {
            line(&format!("warning: {doubt}"));
        }
        let asked = self.args.poll_interval.or(self.settings.sleep_interval);
        let usual = match choice.strategy {
            Strategy::Flock | Strategy::ByteRange => KERNEL_POLL,
            Strategy::Ledger | Strategy::ExclusiveCreate => REGISTER_POLL,
        };
        let options = Options {
            lease: self.args.stale_timeout,
            heartbeat: (self.args.stale_timeout / 6).min(Duration::from_secs(5)),
            poll_max: asked.unwrap_or(usual),
            ..Options::new(&self.args.command.join(" "))
        };
        let path = dir.join(name);
        let lock = Lock::new(choice.strategy, clock, &path, options);
        let mut lock = lock.with_flock(choice.also_flock);
        let mut view = WaitView::new(&self.interrupt, self.settings, path.as_str());
        let got = lock.acquire(&mut |waiting| view.on_wait(waiting), self.args.timeout.0);
        view.clear();
        Ok(match got? {
            Some(guard) => {
                if self.settings.is_verbose {
                    line(&format!("locked `{path}` by {}", choice.strategy));
                }
                Got::Lock(guard, choice.strategy)
            }
            None => Got::Stop(self.stopped()),
        })
    }

    /// Returns the exit code of a wait that a signal ended.
    fn stopped(&self) -> ExitCode {
        match self.interrupt.raised() {
            Some(StopReason::Signal(number)) => ExitCode::Signal(number),
            _ => ExitCode::Guard,
        }
    }

    /// Runs the command while the lock is held.
    pub(super) fn run(&self, command: &[String], guard: &Guard) -> Result<Exit> {
        let fence = guard.fence().map(|fence| fence.to_string());
        let env: Vec<_> = fence
            .map(|fence| (env::COCORUN_LOCK_FENCE, fence))
            .into_iter()
            .collect();
        let exit = process::foreground(command, &env, &self.interrupt, &mut || !guard.is_lost())?;
        if guard.is_lost() {
            return Err(lost().into());
        }
        Ok(exit)
    }
}

/// The problem reported when somebody took the lock over.
pub(super) fn lost() -> Diagnostic {
    Diagnostic::error(
        Code::LockLost,
        "the lock was taken over while the command ran",
    )
    .help("check whether somebody ran `cocorun locks break`; if not, raise `--stale-timeout`")
}

/// Releases the lock; `true` if nobody had taken it over. If the release cannot be recorded, others
/// wait for the lease, and a warning says so.
pub(super) fn release(guard: Guard) -> bool {
    guard.release().unwrap_or_else(|error| {
        let problems = Problems::from(error);
        line(&format!("warning: {problems}"));
        true
    })
}

/// Returns the exit code that a shell would report for the command.
pub(super) fn exit_code(exit: Exit) -> ExitCode {
    match exit {
        Exit::Code(code) => ExitCode::Command(u8::try_from(code).unwrap_or(u8::MAX)),
        Exit::Signal(number) => ExitCode::Signal(u8::try_from(number).unwrap_or(0)),
    }
}
