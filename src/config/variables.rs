//! `$VAR`, `${VAR}` and `$(VAR)` in paths, `${VAR}` in commands; a variable that is not set is an
//! error, never empty.

use crate::edge::env::Environment;

/// Expands the variables in a text; `$$` becomes one `$`.
///
/// # Errors
/// The name of the first variable that is unset or empty, or of a `${` that is never closed.
pub(super) fn expand(text: &str, environment: &Environment) -> Result<String, Unexpanded> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let closing = match rest.chars().next() {
            Some('{') => Some('}'),
            Some('(') => Some(')'),
            _ => None,
        };
        let name = if let Some(closing) = closing {
            let end = rest
                .find(closing)
                .ok_or_else(|| Unexpanded::Unclosed(format!("${rest}")))?;
            let name = &rest[1..end];
            rest = &rest[end + 1..];
            name
        } else {
            let end = rest.find(|c: char| !is_name_char(c)).unwrap_or(rest.len());
            let name = &rest[..end];
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                expanded.push('$');
                continue;
            }
            rest = &rest[end..];
            name
        };
        match environment.get(name) {
            Some(value) => expanded.push_str(value),
            None => return Err(Unexpanded::Unset(name.to_owned())),
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Expands `${VAR}` in a word of a command; `$${` becomes `${`. All else with `$` is a shell's.
///
/// # Errors
/// The name of the first variable that `value_of` has no value for, or of a `${` that is never
/// closed.
pub(super) fn expand_in_braces<'v>(
    text: &str,
    value_of: impl Fn(&str) -> Option<&'v str>,
) -> Result<String, Unexpanded> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            expanded.extend([before, "${"]);
            rest = &from[2..];
            continue;
        }
        let end = from
            .find('}')
            .ok_or_else(|| Unexpanded::Unclosed(from.to_owned()))?;
        let name = &from[2..end];
        let is_name =
            name.chars().all(is_name_char) && !name.starts_with(|c: char| c.is_ascii_digit());
        expanded.push_str(before);
        expanded.push_str(if is_name {
            value_of(name).ok_or_else(|| Unexpanded::Unset(name.to_owned()))?
        } else {
            &from[..=end]
        });
        rest = &from[end + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Why a text could not be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unexpanded {
    /// The variable is not set, or is empty.
    Unset(String),
    /// A bracket is never closed.
    Unclosed(String),
}

impl Unexpanded {
    /// Returns it as the message of a problem.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Unset(name) => format!("the environment variable `{name}` is unset or empty"),
            Self::Unclosed(text) => format!("`{text}` opens a bracket that is never closed"),
        }
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, Unexpanded> {
        expand(
            text,
            &Environment::from_pairs([("A", "x"), ("A_B", "y"), ("EMPTY", "")]),
        )
    }

    #[test]
    fn all_three_spellings_expand() {
        assert_eq!(
            expanded("$A/${A}b/$(A_B)-$A_B.v").as_deref(),
            Ok("x/xb/y-y.v")
        );
    }

    #[test]
    fn a_dollar_that_names_nothing_stays() {
        assert_eq!(expanded("a$/$1/$$A$").as_deref(), Ok("a$/$1/$A$"));
    }

    #[test]
    fn an_unset_or_empty_variable_is_an_error() {
        assert_eq!(
            expanded("$NOPE/a"),
            Err(Unexpanded::Unset("NOPE".to_owned()))
        );
        assert_eq!(
            expanded("${EMPTY}"),
            Err(Unexpanded::Unset("EMPTY".to_owned()))
        );
        assert_eq!(expanded("${}"), Err(Unexpanded::Unset(String::new())));
        assert_eq!(
            expanded("a/${A"),
            Err(Unexpanded::Unclosed("${A".to_owned()))
        );
    }

    #[test]
    fn a_command_has_only_what_is_in_braces_expanded() {
        let environment = Environment::from_pairs([("A", "x"), ("EMPTY", "")]);
        let expanded = |text: &str| expand_in_braces(text, |name| environment.get(name));
        assert_eq!(
            expanded("${A}/$A-$(A)-$$-$0-${A}").as_deref(),
            Ok("x/$A-$(A)-$$-$0-x")
        );
        assert_eq!(
            expanded("for f; do echo $${A} ${f%.v} ${1}; done").as_deref(),
            Ok("for f; do echo ${A} ${f%.v} ${1}; done")
        );
        for (text, error) in [
            ("${NOPE}", Unexpanded::Unset("NOPE".to_owned())),
            ("x${EMPTY}", Unexpanded::Unset("EMPTY".to_owned())),
            ("x${A", Unexpanded::Unclosed("${A".to_owned())),
        ] {
            assert_eq!(expanded(text), Err(error));
        }
    }
}
