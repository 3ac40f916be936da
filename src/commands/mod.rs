//! The composition root: one file per subcommand, and the only place that names the real edges.

mod build;
mod explain;
mod list;
mod objcache;
mod reporting;
mod run;
mod test;
mod workspace;

use crate::cli::Cli;
use crate::cli::Command;
use crate::commands::reporting::Console;
use crate::diagnostic::Result;
use crate::edge::env::Environment;
use crate::model::exit_code::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

/// Runs the program and returns what the shell shall see.
pub fn main() -> ExitCode {
    let environment = Environment::of_this_process();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to be told where the streams are closed.
            error.print().ok();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::Success,
                _ => ExitCode::Usage,
            };
        }
    };
    let console = Console::new(&cli.global, &environment);
    let outcome: Result<ExitCode> = match &cli.command {
        Command::Test(args) => test::test(args, &cli.global, environment, console),
        Command::Build(args) => build::build(args, &cli.global, environment, console),
        Command::List(args) => list::list(args, &cli.global, environment, console),
        Command::Explain(args) => explain::explain(args),
        Command::Objcache(args) => objcache::objcache(args, &environment),
    };
    outcome.unwrap_or_else(|problems| {
        console.problems(&problems);
        problems.exit_code()
    })
}
