//! `cocorun once`: runs a command exactly once per directory and name.

use crate::cli::OnceArgs;
use crate::commands::locking::hold::exit_code;
use crate::commands::locking::waiting::WaitSettings;
use crate::commands::locking::waiting::WaitView;
use crate::commands::reporting::Console;
use crate::commands::reporting::line;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::clock::SystemClock;
use crate::edge::env::Environment;
use crate::edge::interrupt::Interrupt;
use crate::edge::interrupt::StopReason;
use crate::edge::machine::Machine;
use crate::edge::machine::SystemMachine;
use crate::edge::process;
use crate::edge::process::Exit;
use crate::edge::storage::SystemStorage;
use crate::lock::CallOnce;
use crate::lock::Failure;
use crate::lock::FailureKind;
use crate::lock::Leader;
use crate::lock::OnceStep;
use crate::lock::Options;
use crate::lock::StepError;
use crate::lock::WaitProgress;
use crate::model::exit_code::ExitCode;

use std::ops::ControlFlow;
use std::sync::Arc;

/// Runs `cocorun once`; our own problems are reported here.
pub(in crate::commands) fn once(
    args: &OnceArgs,
    environment: &Environment,
    console: Console,
) -> ExitCode {
    run(args, environment).unwrap_or_else(|problems| {
        console.problems(&problems);
        ExitCode::Guard
    })
}

fn run(args: &OnceArgs, environment: &Environment) -> Result<ExitCode> {
    // A session of its own: steps that failed for others are tried again.
    let session = format!("{:032x}", SystemMachine.random());
    let mut step = CallOnce::new(
        Arc::new(SystemStorage),
        Arc::new(SystemClock),
        camino::absolute_utf8(&args.dir).unwrap_or_else(|_| args.dir.clone()),
        &args.name,
        Options::new(&session),
    );
    if args.clean {
        let count = step.clean()?;
        line(&match count {
            0 => format!("`{}` has no result here, nothing to forget", args.name),
            1 => format!("forgot 1 result of `{}`", args.name),
            _ => format!("forgot {count} results of `{}`", args.name),
        });
        return Ok(ExitCode::Success);
    }
    let interrupt = Interrupt::on_signals_with_cleanup()?;
    let settings = WaitSettings::new(environment);
    let mut view = WaitView::new(&interrupt, settings, &args.name);
    let mut command = CommandStep {
        args,
        interrupt: &interrupt,
        view: &mut view,
        rounds: 0,
    };
    let done = step.ensure_done(&mut command, args.timeout.0);
    view.clear();
    match done {
        Ok(_) => Ok(ExitCode::Success),
        Err(StepError::Step(CommandFailure::Exit(exit))) => Ok(exit_code(exit)),
        Err(StepError::Step(CommandFailure::Problems(problems))) => Err(problems),
        Err(StepError::Elsewhere(record)) => {
            line(&format!(
                "`{}` failed elsewhere: {}",
                args.name, record.text
            ));
            Ok(exit_code(exit_in(&record.text)))
        }
        Err(StepError::Interrupted) => Ok(match interrupt.raised() {
            Some(StopReason::Signal(number)) => ExitCode::Signal(number),
            _ => ExitCode::Guard,
        }),
        Err(StepError::Lock(error)) => Err(error.into()),
    }
}

/// The command as a step.
struct CommandStep<'a, 'view> {
    args: &'a OnceArgs,
    interrupt: &'a Interrupt,
    view: &'a mut WaitView<'view>,
    rounds: u32,
}

/// Why the command did not complete the step.
enum CommandFailure {
    /// It failed with an exit status or a signal.
    Exit(Exit),
    /// It could not be run.
    Problems(Problems),
}

impl OnceStep for CommandStep<'_, '_> {
    type Error = CommandFailure;

    fn run(
        &mut self,
        leader: &Leader,
    ) -> std::result::Result<serde_json::Value, Failure<CommandFailure>> {
        self.rounds += 1;
        if self.rounds > 1 {
            tell_again(&self.args.name);
        }
        let command = &self.args.command;
        leader.note(&command.join(" "));
        let exit = process::foreground(command, &[], self.interrupt, &mut || !leader.is_lost());
        match exit {
            Ok(exit) if exit.is_success() => Ok(serde_json::json!({ "exit": 0 })),
            Ok(exit) => Err(failure(command, exit, self.interrupt.raised().is_some())),
            Err(error) => {
                let problems = Problems::from(error);
                Err(Failure {
                    kind: FailureKind::Transient,
                    text: problems.to_string(),
                    error: CommandFailure::Problems(problems),
                })
            }
        }
    }

    fn on_wait(&mut self, progress: &WaitProgress) -> ControlFlow<()> {
        self.view.on_wait(progress)
    }
}

/// Warns of a second run: the command's side effects happen twice.
fn tell_again(name: &str) {
    line(&format!(
        "warning: another process took over `{name}` while the command ran; its work does not \
         count, and it runs again"
    ));
}

/// Makes the record of a failure; a signal, from us or elsewhere, is not the command's fault.
fn failure(command: &[String], exit: Exit, was_stopped: bool) -> Failure<CommandFailure> {
    let kind = match exit {
        Exit::Code(_) if !was_stopped => FailureKind::Deterministic,
        _ => FailureKind::Transient,
    };
    let program = command.first().map_or("", String::as_str);
    let text = match exit {
        Exit::Code(code) => format!("`{program}` ended with exit status {code}"),
        Exit::Signal(_) => format!("`{program}` ended by {exit}"),
    };
    Failure {
        kind,
        text,
        error: CommandFailure::Exit(exit),
    }
}

/// Reads the exit status from another process's record.
fn exit_in(text: &str) -> Exit {
    let number = text.rsplit_once("exit status ").map(|(_, number)| number);
    let code = number.and_then(|number| number.trim().parse().ok());
    Exit::Code(code.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_waited_learn_the_exit_status() {
        let command = ["cc".to_owned()];
        let failed = failure(&command, Exit::Code(3), false);
        assert_eq!(failed.kind, FailureKind::Deterministic);
        assert_eq!(exit_in(&failed.text), Exit::Code(3));
        assert_eq!(exit_in("something else"), Exit::Code(1));
    }

    #[test]
    fn a_signal_is_a_transient_failure() {
        let command = ["cc".to_owned()];
        let killed = failure(&command, Exit::Signal(9), false);
        assert_eq!(killed.kind, FailureKind::Transient);
        let stopped = failure(&command, Exit::Code(130), true);
        assert_eq!(stopped.kind, FailureKind::Transient);
    }
}
