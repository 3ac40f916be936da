//! What the command line's parser adds to a refusal: only advice that leads somewhere.

use crate::cli::Cli;

use clap::Command;
use clap::CommandFactory;
use clap::builder::StyledStr;
use clap::error::ContextKind;
use clap::error::ContextValue;
use clap::error::Error;

/// Takes wrong advice out of a refusal, and says which command knows the option.
///
/// The parser tells everybody to put what it does not know behind `--`, where it would become the
/// name of a build, a filter or a command; and to write `--quiet` for `--junit`.
pub fn advised(mut error: Error) -> Error {
    error.remove(ContextKind::Suggested);
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let Some(wanted) = text(ContextKind::InvalidArg) else {
        return error;
    };
    let meant = text(ContextKind::SuggestedArg);
    if meant.is_some_and(|meant| strsim::damerau_levenshtein(&wanted, &meant) <= SLIPS_MAX) {
        return error;
    }
    let mut all = Cli::command();
    all.build();
    if error.remove(ContextKind::SuggestedArg).is_some()
        && let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage)
        && let Some(usage) = own_usage(&mut all, &usage.to_string())
    {
        // It was that of the option which was suggested.
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    let knowing: Vec<String> = all
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && knows(command, &wanted))
        .map(|command| format!("'cocorun {}'", command.get_name()))
        .collect();
    if !knowing.is_empty() {
        let tip = format!("'{wanted}' is an option of {}", knowing.join(", "));
        let tips = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// An option that differs in more letters was not meant.
const SLIPS_MAX: usize = 2;

fn knows(command: &Command, option: &str) -> bool {
    let Some(long) = option.strip_prefix("--") else {
        return false;
    };
    command
        .get_arguments()
        .any(|arg| arg.get_long() == Some(long))
}

/// Returns the usage of the command that a usage is of.
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

    fn told(args: &[&str]) -> String {
        let words = [&["cocorun"], args].concat();
        let refused = Cli::try_parse_from(words).expect_err("refused");
        advised(refused).to_string()
    }

    #[test]
    fn nobody_is_sent_behind_the_dashes() {
        for args in [
            &["build", "--bogus"][..],
            &["test", "--seed", "-1"],
            &["test", "-1"],
            &["list", "--jobs", "-2"],
            &["lock", "--bogus"],
            &["once", "-x"],
        ] {
            let said = told(args);
            assert!(!said.contains("-- -"), "{said}");
        }
    }

    #[test]
    fn an_option_of_another_command_is_known() {
        let said = told(&["build", "--junit", "report.xml"]);
        assert!(
            said.contains("'--junit' is an option of 'cocorun test'"),
            "{said}"
        );
        assert!(!said.contains("--quiet"), "{said}");
        assert!(said.contains("cocorun build [OPTIONS]"), "{said}");
    }

    #[test]
    fn a_slip_of_the_finger_is_still_understood() {
        let said = told(&["test", "--simulater", "icarus"]);
        assert!(said.contains("'--simulator'"), "{said}");
    }

    #[test]
    fn a_number_below_zero_is_refused_as_a_value() {
        for (args, words) in [
            (&["test", "--seed", "-1"], "'-1' for '--seed"),
            (&["test", "--timeout", "-1"], "'-1' for '--timeout"),
            (&["list", "--jobs", "-1"], "'-1' for '--jobs"),
        ] {
            let said = told(args);
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn the_usage_of_lock_shows_two_forms_and_not_both_in_one() {
        let said = told(&["lock", "--target=a.o", "x", "--", "true"]);
        assert!(!said.contains("--target <OUT> [PATH]"), "{said}");
        assert!(
            said.contains("cocorun lock [OPTIONS] --target <OUT> -- <CMD>..."),
            "{said}"
        );
        assert!(
            said.contains("cocorun lock [OPTIONS] <PATH> -- <CMD>..."),
            "{said}"
        );
    }
}
