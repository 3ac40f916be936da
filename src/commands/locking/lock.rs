//! `cocorun lock`: holds a lock while a command runs, or builds a target.
//!
//! If cocorun itself fails, the exit code is 125; any other code is the command's.

use crate::cli::LockArgs;
use crate::commands::locking::hold::Got;
use crate::commands::locking::hold::LockSession;
use crate::commands::locking::hold::exit_code;
use crate::commands::locking::hold::lost;
use crate::commands::locking::hold::release;
use crate::commands::locking::target;
use crate::commands::locking::waiting::WaitSettings;
use crate::commands::reporting::Console;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::env::Environment;
use crate::edge::interrupt::Interrupt;
use crate::model::exit_code::ExitCode;

/// Runs `cocorun lock`; our own problems are reported here.
pub(in crate::commands) fn lock(
    args: &LockArgs,
    environment: &Environment,
    console: Console,
) -> ExitCode {
    let outcome = Interrupt::on_signals_with_cleanup().map_err(Problems::from);
    let outcome = outcome.and_then(|interrupt| {
        let session = LockSession {
            args,
            settings: WaitSettings::new(environment),
            interrupt,
        };
        match &args.target {
            Some(target) => target::make(&session, target),
            None => hold(&session),
        }
    });
    outcome.unwrap_or_else(|problems| {
        console.problems(&problems);
        ExitCode::Guard
    })
}

fn hold(session: &LockSession) -> Result<ExitCode> {
    let path = session.args.path.clone().unwrap_or_default();
    match session.acquire(&path)? {
        Got::Stop(code) => Ok(code),
        Got::Lock(guard, _) => {
            let exit = session.run(&session.args.command, &guard)?;
            if !release(guard) {
                return Err(lost().into());
            }
            Ok(exit_code(exit))
        }
    }
}
