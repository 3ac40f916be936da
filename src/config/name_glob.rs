//! Patterns for names (builds, modules, testcases), where `*` crosses every separator.
//!
//! These are not file globs: a name is one text, and `/` and `::` have no special meaning.

/// A compiled pattern: `*` any text, `?` one character, `[abc]`, `[a-z]`, `[!abc]`.
///
/// A name that equals the pattern's text literally matches too, so that a name with brackets can be
/// given as it is printed.
#[derive(Clone, Debug)]
pub struct NameGlob {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(char),
    One,
    Many,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::One | Self::Many => true,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

impl NameGlob {
    /// Says whether a text is a pattern, and not just a name.
    pub fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?', '['])
    }

    /// Compiles a pattern.
    ///
    /// # Errors
    /// A `[` without its `]`, or a reversed range; the text says which.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                // Two stars in a row mean the same as one, and cost more.
                '*' if parts.last() == Some(&Part::Many) => continue,
                '*' => Part::Many,
                '?' => Part::One,
                '[' => {
                    let (class, rest) = class(chars.as_str())?;
                    chars = rest.chars();
                    class
                }
                literal => Part::Literal(literal),
            });
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// Says whether the whole name matches.
    pub fn is_match(&self, name: &str) -> bool {
        self.text == name || self.states_after(name).last() == Some(&self.parts.len())
    }

    /// Says whether some name that starts with `prefix` could match, given that what follows the
    /// prefix contains no `separator`.
    pub fn may_match_after(&self, prefix: &str, separator: &str) -> bool {
        let literally = self
            .text
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.contains(separator));
        literally
            || self
                .states_after(prefix)
                .into_iter()
                .any(|state| !self.needs(state, separator))
    }

    /// Says whether everything that the parts from `state` on can match contains `separator`.
    fn needs(&self, state: usize, separator: &str) -> bool {
        let wanted: Vec<Part> = separator.chars().map(Part::Literal).collect();
        self.parts[state..]
            .windows(wanted.len())
            .any(|window| window == wanted)
    }

    /// Returns, in ascending order, how many parts may be used up after a text.
    fn states_after(&self, text: &str) -> Vec<usize> {
        let mut states = vec![0];
        self.skip_stars(&mut states);
        for c in text.chars() {
            let mut next = Vec::with_capacity(states.len() + 1);
            for state in states {
                let Some(part) = self.parts.get(state).filter(|part| part.takes(c)) else {
                    continue;
                };
                let after = if *part == Part::Many {
                    state
                } else {
                    state + 1
                };
                if next.last() != Some(&after) {
                    next.push(after);
                }
            }
            self.skip_stars(&mut next);
            states = next;
        }
        states
    }

    /// Adds the states that are reached because a star may match nothing.
    fn skip_stars(&self, states: &mut Vec<usize>) {
        let mut index = 0;
        while let Some(state) = states.get(index).copied() {
            if self.parts.get(state) == Some(&Part::Many)
                && states.get(index + 1) != Some(&(state + 1))
            {
                states.insert(index + 1, state + 1);
            }
            index += 1;
        }
    }
}

/// Reads a class after its `[`; returns it and the text after its `]`.
fn class(text: &str) -> Result<(Part, &str), String> {
    let negated = text.starts_with(['!', '^']);
    let body = if negated { &text[1..] } else { text };
    // A leading `]` is a member of the class, as in the shell.
    let skip = usize::from(body.starts_with(']'));
    let end = body[skip..].find(']').ok_or("a `[` is never closed")? + skip;
    let members: Vec<char> = body[..end].chars().collect();
    let mut ranges = Vec::new();
    let mut index = 0;
    while let Some(low) = members.get(index).copied() {
        let high = members
            .get(index + 2)
            .filter(|_| members.get(index + 1) == Some(&'-'));
        let (high, step) = high.map_or((low, 1), |high| (*high, 3));
        if high < low {
            return Err(format!("the range `{low}-{high}` runs backwards"));
        }
        ranges.push((low, high));
        index += step;
    }
    Ok((Part::Class { negated, ranges }, &body[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        NameGlob::new(pattern).expect(pattern).is_match(name)
    }

    #[test]
    fn patterns_match_as_in_the_shell_but_cross_separators() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("fifo*", "fifo/DEPTH=4@icarus", true),
            ("*::burst", "fifo::test_fifo::burst", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("abc", "abcd", false),
            ("ü?", "üä", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "`{pattern}` on `{name}`");
        }
    }

    #[test]
    fn a_broken_class_is_refused_in_words() {
        assert_eq!(
            NameGlob::new("a[b").err().as_deref(),
            Some("a `[` is never closed")
        );
        assert_eq!(
            NameGlob::new("[z-a]").err().as_deref(),
            Some("the range `z-a` runs backwards")
        );
    }

    #[test]
    fn a_prefix_rules_out_what_can_no_longer_match() {
        let may = |pattern: &str, prefix: &str| {
            NameGlob::new(pattern)
                .expect(pattern)
                .may_match_after(prefix, "::")
        };
        assert!(may("fifo::*", "fifo::test_a::"));
        assert!(!may("fifo::*", "uart::test_a::"));
        assert!(may("*::test_a::*", "fifo::test_a::"));
        assert!(!may("*::test_a::*", "fifo::test_b::"));
        assert!(may("*burst*", "fifo::test_b::"));
        assert!(may("fifo::test_a::t[1]", "fifo::test_a::"));
    }

    #[test]
    fn many_stars_do_not_explode() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
        assert!(matches(&"*a".repeat(200), &"a".repeat(5_000)));
    }

    /// The textbook definition, for comparison.
    fn reference(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                (0..=name.len()).any(|skipped| reference(rest, &name[skipped..]))
            }
            (Some(('?', rest)), Some((_, name))) => reference(rest, name),
            (Some((literal, rest)), Some((c, name))) => literal == c && reference(rest, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_matcher_agrees_with_the_definition(pattern in "[ab*?:]{0,8}", name in "[ab:]{0,8}") {
            let letters: Vec<char> = pattern.chars().collect();
            let expected = reference(&letters, &name.chars().collect::<Vec<_>>());
            prop_assert_eq!(matches(&pattern, &name), expected);
        }

        #[test]
        fn a_prefix_of_a_match_is_never_ruled_out(
            pattern in "[ab*?:]{0,8}", prefix in "[ab:]{0,5}", rest in "[ab]{0,5}",
        ) {
            let glob = NameGlob::new(&pattern).expect("no class in it");
            if glob.is_match(&format!("{prefix}{rest}")) {
                prop_assert!(glob.may_match_after(&prefix, "::"));
            }
        }
    }
}
