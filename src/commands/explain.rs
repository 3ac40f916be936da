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
    let session = format!(
        "A session that this ends has exit code {}.",
        code.exit_code().code()
    );
    let guard = "`cocorun lock` and `cocorun once` end with 125 for this.";
    let ends = match code {
        Code::LockLost | Code::LockNoOutput | Code::LockTarget | Code::LockStrategy => {
            guard.to_owned()
        }
        Code::LockTimeout
        | Code::LockStorage
        | Code::UsageBadArgument
        | Code::DiskUnwritable
        | Code::DiskUnreadable
        | Code::DiskFull
        | Code::DiskIo => format!("{session} {guard}"),
        _ => session,
    };
    let (name, text) = (code.name(), code.explanation());
    Ok(format!("{name}\n\n{text}\n\n{ends}\n"))
}

/// Tells that there is no such code, and which ones could be meant.
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
