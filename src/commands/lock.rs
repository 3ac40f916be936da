//! `cocorun lock`: holds a lock while a command runs.
//!
//! Whatever goes wrong on our side is exit code 125; every other one is the command's.

use crate::cli::LockArgs;
use crate::commands::held_lock::Got;
use crate::commands::held_lock::LockSession;
use crate::commands::held_lock::exit_code;
use crate::commands::held_lock::lost;
use crate::commands::held_lock::release;
use crate::commands::reporting::Console;
use crate::commands::target;
use crate::commands::waiting::WaitSettings;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::env::Environment;
use crate::edge::interrupt::Interrupt;
use crate::model::exit_code::ExitCode;

/// Runs `cocorun lock`, and prints errors of cocorun itself.
pub(super) fn lock(args: &LockArgs, environment: &Environment, console: Console) -> ExitCode {
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

/// Holds the lock while the command runs.
fn hold(session: &LockSession<'_>) -> Result<ExitCode> {
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
