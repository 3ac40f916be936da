//! The advice in errors about arguments: only what helps.

use crate::cli::Cli;

use clap::Command;
use clap::CommandFactory;
use clap::builder::StyledStr;
use clap::error::ContextKind;
use clap::error::ContextValue;
use clap::error::Error;

/// Removes misleading advice from a parser error, and names the commands that have the option.
///
/// By itself the parser suggests putting an unknown option after `--`, where it would become the name
/// of a build, a filter or a command, and suggests `--quiet` for `--junit`.
pub fn advised(mut error: Error) -> Error {
    error.remove(ContextKind::Suggested);
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let Some(wanted) = context(ContextKind::InvalidArg) else {
        return error;
    };
    let meant = context(ContextKind::SuggestedArg);
    if meant.is_some_and(|meant| strsim::damerau_levenshtein(&wanted, &meant) <= TYPOS_MAX) {
        return error;
    }
    let mut all = Cli::command();
    all.build();
    if error.remove(ContextKind::SuggestedArg).is_some()
        && let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage)
        && let Some(usage) = own_usage(&mut all, &usage.to_string())
    {
        // The usage was that of the suggested option.
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    let commands: Vec<String> = all
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && has_option(command, &wanted))
        .map(|command| format!("'cocorun {}'", command.get_name()))
        .collect();
    if !commands.is_empty() {
        let tip = format!("'{wanted}' is an option of {}", commands.join(", "));
        let tips = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// Maximum number of typing errors for which an option counts as the one that was meant.
const TYPOS_MAX: usize = 2;

fn has_option(command: &Command, option: &str) -> bool {
    let Some(long) = option.strip_prefix("--") else {
        return false;
    };
    command
        .get_arguments()
        .any(|arg| arg.get_long() == Some(long))
}

/// Returns the whole usage of the command that a shortened usage belongs to.
fn own_usage(all: &mut Command, usage: &str) -> Option<StyledStr> {
    let mut words = usage
        .split_whitespace()
        .skip_while(|word| *word != "cocorun");
    words.next()?;
    let mut command = all;
    while let Some(word) = words
        .next()
        .filter(|word| command.find_subcommand(word).is_some())
    {
        command = command.find_subcommand_mut(word)?;
    }
    Some(command.render_usage())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn message(args: &[&str]) -> String {
        let words = [&["cocorun"], args].concat();
        let error = Cli::try_parse_from(words).expect_err("an error");
        advised(error).to_string()
    }

    #[test]
    fn no_error_suggests_putting_an_option_after_the_dashes() {
        for args in [
            &["build", "--bogus"][..],
            &["test", "--seed", "-1"],
            &["test", "-1"],
            &["list", "--jobs", "-2"],
            &["lock", "--bogus"],
            &["once", "-x"],
        ] {
            let text = message(args);
            assert!(!text.contains("-- -"), "{text}");
        }
    }

    #[test]
    fn the_command_that_has_an_option_is_named() {
        let text = message(&["build", "--junit", "report.xml"]);
        assert!(
            text.contains("'--junit' is an option of 'cocorun test'"),
            "{text}"
        );
        assert!(!text.contains("--quiet"), "{text}");
        assert!(text.contains("cocorun build [OPTIONS]"), "{text}");
    }

    #[test]
    fn the_option_that_a_typo_meant_is_suggested() {
        let text = message(&["test", "--simulater", "icarus"]);
        assert!(text.contains("'--simulator'"), "{text}");
    }

    #[test]
    fn a_negative_number_is_rejected_as_a_value() {
        for (args, words) in [
            (&["test", "--seed", "-1"], "'-1' for '--seed"),
            (&["test", "--timeout", "-1"], "'-1' for '--timeout"),
            (&["list", "--jobs", "-1"], "'-1' for '--jobs"),
        ] {
            let text = message(args);
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn the_usage_of_lock_shows_its_two_forms_separately() {
        let text = message(&["lock", "--target=a.o", "x", "--", "true"]);
        assert!(!text.contains("--target <OUT> [PATH]"), "{text}");
        assert!(
            text.contains("cocorun lock [OPTIONS] --target <OUT> -- <CMD>..."),
            "{text}"
        );
        assert!(
            text.contains("cocorun lock [OPTIONS] <PATH> -- <CMD>..."),
            "{text}"
        );
    }
}
