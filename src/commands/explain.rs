//! `cocorun explain`: what an error code means.

use crate::cli::ExplainArgs;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::model::exit_code::ExitCode;

use std::io;
use std::io::Write;

/// Prints one explanation, or the list of all codes.
///
/// # Errors
/// There is no such code.
pub(super) fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    let text = match &args.code {
        None => all_codes(),
        Some(name) => explanation(name)?,
    };
    // A reader that has gone away has read enough.
    io::stdout().write_all(text.as_bytes()).ok();
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
    Ok(format!(
        "{}\n\n{}\n\nA session that this ends has exit code {}.\n",
        code.name(),
        code.explanation(),
        code.exit_code().code()
    ))
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
