//! `cocorun explain`: what an error code means.

use crate::cli::ExplainArgs;
use crate::commands::reporting::print;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::model::exit_code::ExitCode;

/// Prints one explanation, or the list of all codes.
///
/// # Errors
/// There is no such code, or standard output cannot be written.
pub(super) fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    let text = match &args.code {
        None => all_codes(),
        Some(name) => explanation(name)?,
    };
    print(&text)?;
    Ok(ExitCode::Success)
}

fn all_codes() -> String {
    let lines = Code::ALL.iter().map(|code| {
        let first = code.explanation().split(". ").next().unwrap_or_default();
        format!("{:28} {}\n", code.name(), first.trim_end_matches('.'))
    });
    lines.collect()
}

fn explanation(name: &str) -> Result<String> {
    let Some(code) = Code::from_name(name) else {
        return Err(unknown(name).into());
    };
    let ends = consequence(code);
    let (name, text) = (code.name(), code.explanation());
    Ok(format!("{name}\n\n{text}\n\n{ends}\n"))
}

/// Returns what this problem means for the exit code.
fn consequence(code: Code) -> String {
    const GUARD: &str = "`cocorun lock` and `cocorun once` exit with 125.";
    let number = code.exit_code().code();
    let session = format!("If this ends the session, the exit code is {number}.");
    match code {
        Code::SelectVariable | Code::TestPreload | Code::TestAgent => {
            "This is reported as a warning; the session goes on.".to_owned()
        }
        Code::NothingSelected => format!(
            "If nothing is selected at all, the exit code is {number}. A filter that selects nothing \
             while others do is reported as a warning."
        ),
        Code::SessionInterrupted => {
            "The exit code is 128 plus the number of the signal, such as 130 for SIGINT (Ctrl-C)."
                .to_owned()
        }
        Code::LockLost | Code::LockNoOutput | Code::LockTarget | Code::LockStrategy => {
            GUARD.to_owned()
        }
        Code::LockTimeout
        | Code::LockStorage
        | Code::UsageBadArgument
        | Code::DiskUnwritable
        | Code::DiskUnreadable
        | Code::DiskFull
        | Code::DiskIo => format!("{session} {GUARD}"),
        _ if code.exit_code() == ExitCode::TestFailed => format!(
            "The exit code is {number}, unless a build failed as well (3) or the environment did (5)."
        ),
        _ => session,
    }
}

/// Returns an error that names the codes that could be meant.
fn unknown(name: &str) -> Diagnostic {
    let names = || Code::ALL.iter().map(|code| code.name());
    let wanted = name.to_lowercase();
    let mut meant: Vec<&str> = names().filter(|known| known.contains(&wanted)).collect();
    if meant.is_empty() {
        let distance = |known: &&str| strsim::damerau_levenshtein(known, &wanted);
        let close = names().filter(|known| distance(known) <= 3);
        meant = close.min_by_key(distance).into_iter().collect();
    }
    let problem = Diagnostic::error(Code::UsageBadArgument, format!("there is no code `{name}`"));
    if meant.is_empty() {
        problem.help("`cocorun explain` lists all codes")
    } else {
        problem.help(format!("did you mean `{}`?", meant.join("`, `")))
    }
}
