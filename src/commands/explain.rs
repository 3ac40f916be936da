//! `cocorun explain`: what an error code means.

use crate::cli::ExplainArgs;
use crate::commands::reporting::print;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::ExitEffect;
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

/// Returns what this problem means for the exit code, from what decides it.
fn consequence(code: Code) -> String {
    let words = match code.effect() {
        ExitEffect::Warning => "unchanged; this is always a warning".to_owned(),
        ExitEffect::Signal => {
            "128 plus the number of the signal, such as 130 for SIGINT (Ctrl-C)".to_owned()
        }
        ExitEffect::Exit(exit) => exit_in_words(exit, code),
    };
    format!("Exit code: {words}.")
}

fn exit_in_words(exit: ExitCode, code: Code) -> String {
    // Problems that the commands `lock` and `once` can have too.
    const SHARED: [&str; 4] = ["lock", "disk", "tool", "usage"];
    let number = exit.code();
    let area = code.name().split("::").next().unwrap_or_default();
    let is_shared = SHARED.contains(&area);
    let guard = ExitCode::Guard.code();
    let failed_build = ExitCode::BuildFailed.code();
    match exit {
        ExitCode::Guard => format!("{number}, from `cocorun lock` and `cocorun once`"),
        ExitCode::NothingSelected => {
            format!("{number}, unless a testcase or a build failed as well or the environment did")
        }
        ExitCode::TestFailed => format!(
            "{number}, unless a build failed as well ({failed_build}) or the environment did ({})",
            ExitCode::Environment.code()
        ),
        _ if is_shared => {
            format!("{number}; {guard} from `cocorun lock` and `cocorun once`")
        }
        ExitCode::Environment => {
            format!("{number}, unless a build failed as well ({failed_build})")
        }
        _ => number.to_string(),
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
