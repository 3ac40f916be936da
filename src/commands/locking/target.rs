//! `cocorun lock --target=OUT`: one process builds a file that several may want to build.
//!
//! Invariants: the file never appears incomplete under its name; the temporary file is gone before
//! the lock is; a command that cannot be made to write to a temporary name is not run. A link is
//! followed to its file; what is not a regular file (a device, a FIFO, a folder) is never replaced.

use crate::commands::locking::hold::Got;
use crate::commands::locking::hold::LockSession;
use crate::commands::locking::hold::exit_code;
use crate::commands::locking::hold::lost;
use crate::commands::locking::hold::release;
use crate::commands::reporting::line;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::fs;
use crate::edge::machine::SystemMachine;
use crate::edge::output_file::follow_to_regular;
use crate::edge::publish;
use crate::edge::publish::FileIdentity;
use crate::lock::acquire::Guard;
use crate::lock::acquire::Strategy;
use crate::lock::temporary_name;
use crate::model::exit_code::ExitCode;

use camino::Utf8Path;
use camino::Utf8PathBuf;

/// Builds the target, unless another process built it while we waited.
///
/// # Errors
/// The lock, the file system, a target that is not a file, or a command that cannot be guarded.
pub(super) fn make(session: &LockSession, named: &Utf8Path) -> Result<ExitCode> {
    let target = &follow_to_regular(named)
        .map_err(|error| Diagnostic::error(Code::LockTarget, error.message))?;
    let private = temporary_name::next_to(target, &SystemMachine);
    let command = rewritten(&session.args.command, named, &private)?;
    let before = publish::identity(target);
    if let Some(dir) = target.parent() {
        publish::create_team_dirs(dir)?;
    }
    let lock_path = Utf8PathBuf::from(format!("{target}.lock"));
    match session.acquire(&lock_path)? {
        Got::Stop(code) => Ok(code),
        Got::Lock(guard, strategy) => {
            let outcome = if is_made(session, target, before) {
                if session.settings.is_verbose {
                    line(&format!("another process built `{target}`"));
                }
                Ok(ExitCode::Success)
            } else {
                let outcome = run(session, &command, target, &private, &guard, strategy);
                fs::remove(&private);
                // The command may have created a folder of that name, which is not an output.
                fs::remove_dir(&private);
                outcome
            };
            if !release(guard) && outcome.is_ok() {
                line("warning: the lock was taken over just after the target was published");
            }
            outcome
        }
    }
}

/// Whether the target no longer needs to be built.
fn is_made(session: &LockSession, target: &Utf8Path, before: Option<FileIdentity>) -> bool {
    let now = publish::identity(target);
    if now.is_none() {
        return false;
    }
    let others = &session.args.skip_if_newer_than;
    // A target built meanwhile may come from older prerequisites than ours, so these decide if
    // known.
    session.args.skip_if_exists
        || if others.is_empty() {
            now != before
        } else {
            is_newer(target, others)
        }
}

/// Repeats make's check: no prerequisite is newer than the target.
fn is_newer(target: &Utf8Path, than: &[Utf8PathBuf]) -> bool {
    let time = |path: &Utf8Path| {
        publish::ask_server(path);
        fs::stamp(path).ok().flatten()?.modified
    };
    let made = time(target);
    made.is_some()
        && than
            .iter()
            .all(|path| time(path).is_some_and(|time| Some(time) <= made))
}

fn run(
    session: &LockSession,
    command: &[String],
    target: &Utf8Path,
    private: &Utf8PathBuf,
    guard: &Guard,
    strategy: Strategy,
) -> Result<ExitCode> {
    if is_archiver(command) && fs::exists(target) {
        // An archiver adds to the existing file.
        publish::copy(target, private)?;
    }
    let exit = session.run(command, guard)?;
    if !exit.is_success() {
        return Ok(exit_code(exit));
    }
    if !publish::is_regular(private) {
        let text = format!("the command wrote no file for `{target}`");
        return Err(Diagnostic::error(Code::LockNoOutput, text).into());
    }
    let is_shared = strategy != Strategy::Flock;
    if is_shared {
        // This can take long, so the lock is checked again afterwards.
        publish::bring_to_disk(private)?;
        if guard.is_lost_now() {
            return Err(lost().into());
        }
    }
    let trial = is_shared.then(|| temporary_name::trial_next_to(target, &SystemMachine));
    publish::publish(private, target, trial.as_ref())?;
    Ok(ExitCode::Success)
}

fn is_archiver(command: &[String]) -> bool {
    let name = command
        .first()
        .map(|program| Utf8Path::new(program).file_name());
    let is_ar = |name: &str| name == "ar" || name.ends_with("-ar") || name == "gcc-ar";
    name.flatten().is_some_and(is_ar)
}

/// Whether the command is a compiler, perhaps behind a cache, for which `-c` means "compile".
fn is_compiler(command: &[String]) -> bool {
    let mut names = command
        .iter()
        .map(|word| Utf8Path::new(word).file_name().unwrap_or(""))
        .skip_while(|name| ["ccache", "sccache", "distcc"].contains(name));
    let name = names.next().unwrap_or("");
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let last = plain.rsplit('-').next().unwrap_or("");
    ["cc", "c++", "gcc", "g++", "clang", "clang++"].contains(&last)
}

/// Replaces the target's name by the temporary one.
///
/// A compiler derives the name and the text of a dependency file from its output, so both are then
/// given explicitly, as they would have been.
///
/// # Errors
/// The command does not name the target.
fn rewritten(command: &[String], target: &Utf8Path, private: &Utf8Path) -> Result<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut is_named = false;
    for (index, word) in command.iter().enumerate() {
        let is_program = index == 0;
        let prefix = ["", "-o", "--output="]
            .into_iter()
            .find(|prefix| word.strip_prefix(prefix) == Some(target.as_str()));
        // `-MF OUT` or `-MT OUT` name the target but do not write it.
        let is_value_of_another = index > 0
            && ["-MT", "-MQ", "-MF", "-include", "-I"].contains(&command[index - 1].as_str());
        match prefix {
            Some(prefix) if !is_program && !is_value_of_another => {
                is_named = true;
                words.push(format!("{prefix}{private}"));
            }
            _ => words.push(word.clone()),
        }
    }
    let has = |options: &[&str]| command.iter().any(|word| options.contains(&word.as_str()));
    if !is_named
        && has(&["-c"])
        && is_compiler(command)
        && !command.iter().any(|word| word.starts_with("-o"))
    {
        // As compiletools' helper does for compilers without an output option.
        is_named = true;
        words.extend(["-o".to_owned(), private.to_string()]);
    }
    if !is_named {
        let text = format!("the command does not name `{target}`");
        return Err(Diagnostic::error(Code::LockTarget, text)
            .help("pass the target as an argument of its own, spelled as in `--target`")
            .into());
    }
    if has(&["-MD", "-MMD"]) {
        let starts = |option: &str| command.iter().any(|word| word.starts_with(option));
        if !starts("-MF") {
            words.extend(["-MF".to_owned(), target.with_extension("d").to_string()]);
        }
        if !starts("-MT") && !starts("-MQ") {
            words.extend(["-MQ".to_owned(), target.to_string()]);
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(line: &str) -> Option<String> {
        let command: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let words = rewritten(&command, Utf8Path::new("d/a.o"), Utf8Path::new("d/P.o"));
        words.ok().map(|words| words.join(" "))
    }

    #[test]
    fn every_way_to_name_the_output_is_understood() {
        for (given, wanted) in [
            ("cc -c a.c -o d/a.o", "cc -c a.c -o d/P.o"),
            ("cc -c a.c -od/a.o", "cc -c a.c -od/P.o"),
            ("tool --output=d/a.o", "tool --output=d/P.o"),
            ("cp a d/a.o", "cp a d/P.o"),
            ("cc -c a.c", "cc -c a.c -o d/P.o"),
        ] {
            assert_eq!(rewrite(given).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn a_command_that_does_not_name_the_target_is_refused() {
        assert_eq!(rewrite("make all"), None);
        assert_eq!(rewrite("sh -c make"), None);
        assert_eq!(rewrite("cc -c a.c -o d/b.o"), None);
    }

    #[test]
    fn dependency_files_keep_the_names_they_would_have_had() {
        assert_eq!(
            rewrite("cc -MMD -c a.c -o d/a.o").as_deref(),
            Some("cc -MMD -c a.c -o d/P.o -MF d/a.d -MQ d/a.o")
        );
        assert_eq!(
            rewrite("cc -MD -MF x.d -MT d/a.o -c a.c -o d/a.o").as_deref(),
            Some("cc -MD -MF x.d -MT d/a.o -c a.c -o d/P.o")
        );
    }
}
