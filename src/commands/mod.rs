//! The composition root: one file per subcommand, and the only place that names the real edges.

mod build;
mod execute;
mod explain;
mod find_tools;
mod list;
#[cfg(feature = "lock-commands")]
mod locking;
mod objcache;
mod quiet;
mod repeat;
mod reporting;
mod resolved;
mod session;
mod session_folders;
mod shared_folders;
mod test;

use crate::cli::Cli;
use crate::cli::Command;
use crate::cli::advised;
use crate::commands::reporting::Console;
use crate::commands::resolved::Startup;
use crate::diagnostic::Result;
use crate::edge::edges::Edges;
use crate::edge::env::Environment;
use crate::edge::interrupt::Interrupt;
use crate::edge::interrupt::StopReason;
use crate::edge::jobs::OuterJobs;
use crate::edge::process::SystemHost;
use crate::model::exit_code::ExitCode;
use crate::sim::registry::Registry;

use clap::Parser;
use clap::error::ErrorKind;
use std::ffi::OsString;

/// Runs the program with these simulators and arguments (program name first) and returns the exit
/// code.
pub fn main(registry: Registry, arguments: Vec<OsString>) -> ExitCode {
    let environment = Environment::of_this_process();
    let is_guard = is_guard(&arguments);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let error = advised(error);
            // If the streams are closed, nobody can read an error.
            error.print().ok();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::Success,
                _ if is_guard => ExitCode::Guard,
                _ => ExitCode::Usage,
            };
        }
    };
    let console = Console::new(&cli.global, &environment);
    let outcome = match &cli.command {
        Command::Explain(args) => explain::explain(args),
        Command::Objcache(args) => objcache::objcache(args, &environment, &registry),
        #[cfg(feature = "lock-commands")]
        Command::Lock(args) => Ok(locking::lock(args, &environment, console)),
        #[cfg(feature = "lock-commands")]
        Command::Locks(args) => locking::locks(args),
        #[cfg(feature = "lock-commands")]
        Command::Once(args) => Ok(locking::once(args, &environment, console)),
        _ => session(&cli, environment, registry, console),
    };
    outcome.unwrap_or_else(|problems| {
        console.problems(&problems);
        problems.exit_code()
    })
}

/// Says whether cocorun was asked to run a command, whose exit codes it must not use itself.
fn is_guard(arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().skip(1);
    let first = words.find(|word| !word.as_encoded_bytes().starts_with(b"-"));
    first.is_some_and(|word| word == "lock" || word == "once")
}

/// Runs a subcommand that starts children, after taking over signals and orphans.
fn session(
    cli: &Cli,
    environment: Environment,
    registry: Registry,
    console: Console,
) -> Result<ExitCode> {
    // This comes first: a jobserver is identified by descriptor numbers.
    let outer_jobs = OuterJobs::of_this_process();
    let interrupt = Interrupt::on_signals()?;
    SystemHost::adopt_orphans();
    let startup = Startup {
        edges: Edges::of_the_system(environment, interrupt.clone()),
        outer_jobs,
        registry,
    };
    let outcome = match &cli.command {
        Command::Test(args) => test::test(args, &cli.global, startup, console),
        Command::Build(args) => build::build(args, &cli.global, startup, console),
        Command::List(args) => list::list(args, &cli.global, startup, console),
        _ => unreachable!("every other command has no session"),
    };
    match (outcome, interrupt.raised()) {
        // A stop before the session began is not an error of whatever it interrupted.
        (Err(problems), Some(StopReason::Signal(number))) => {
            console.problems(&problems);
            Ok(ExitCode::Signal(number))
        }
        (outcome, _) => outcome,
    }
}
