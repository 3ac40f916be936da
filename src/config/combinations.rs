//! Combinations of values: how lists multiply, and what rules remove and add; pure.
//!
//! The rules are those of the matrices of CI systems: first every `exclude` removes what it
//! matches, then each `include` in turn is added to what it does not contradict, or is a
//! combination of its own.

use crate::model::build::HdlValue;

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How many characters of a value appear in a name; longer ones end in a digest.
const VALUE_MAX: usize = 24;

/// Values by the names of parameters.
pub(super) type Values = BTreeMap<String, HdlValue>;

/// One combination of values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Combination {
    /// The name of the variant that it comes from, if it has one.
    pub(super) name: Option<String>,
    /// All its values.
    pub(super) values: Values,
    /// Those that the name of the variant stands for.
    named: Values,
    /// Those that `include` has added; a later one may replace them.
    added: Values,
}

impl Combination {
    /// Makes one of the values of a variant.
    pub(super) fn variant(name: Option<String>, values: Values) -> Self {
        Self {
            named: name.as_ref().map(|_| values.clone()).unwrap_or_default(),
            name,
            values,
            added: Values::new(),
        }
    }

    /// Returns what it adds to the name of its table: `/small`, `/DEPTH=4/WIDTH=8`, or nothing.
    pub(super) fn suffix(&self) -> String {
        let mut suffix = String::new();
        // Writing to a string cannot fail.
        if let Some(name) = &self.name {
            write!(suffix, "/{name}").ok();
        }
        for (key, value) in &self.values {
            if !self.named.contains_key(key) {
                write!(suffix, "/{key}={}", for_name(value)).ok();
            }
        }
        suffix
    }

    /// Says whether it has all these values.
    pub(super) fn matches(&self, values: &Values) -> bool {
        let mut wanted = values.iter();
        wanted.all(|(key, value)| self.values.get(key) == Some(value))
    }

    /// Adds values and says whether that changed it; `None` if one would replace an original one.
    fn extend(&mut self, values: &Values) -> Option<bool> {
        let contradicts = |(key, value): (&String, &HdlValue)| {
            !self.added.contains_key(key) && self.values.get(key).is_some_and(|own| own != value)
        };
        if values.iter().any(contradicts) {
            return None;
        }
        let mut is_changed = false;
        for (key, value) in values {
            if !self.values.contains_key(key) || self.added.contains_key(key) {
                self.added.insert(key.clone(), value.clone());
                let before = self.values.insert(key.clone(), value.clone());
                is_changed |= before.as_ref() != Some(value);
            }
        }
        Some(is_changed)
    }
}

/// Combines lists of values with each of these; the last key varies fastest.
pub(super) fn product(
    mut combinations: Vec<Combination>,
    matrix: &BTreeMap<String, Vec<HdlValue>>,
) -> Vec<Combination> {
    for (key, values) in matrix {
        let extended = combinations.iter().flat_map(|combination| {
            values.iter().map(|value| {
                let mut combination = combination.clone();
                combination.values.insert(key.clone(), value.clone());
                combination
            })
        });
        combinations = extended.collect();
    }
    combinations
}

/// Adds the values of one `include` to every original combination that they do not contradict, or
/// appends a combination if there is none. `originals` is how many there were before any.
///
/// Says whether that changed anything.
pub(super) fn include(
    combinations: &mut Vec<Combination>,
    originals: usize,
    values: &Values,
) -> bool {
    let fitting = combinations
        .iter_mut()
        .take(originals)
        .filter_map(|it| it.extend(values));
    let changes: Vec<bool> = fitting.collect();
    if changes.is_empty() {
        combinations.push(Combination::variant(None, values.clone()));
        return true;
    }
    changes.contains(&true)
}

/// Formats a value as part of a name, without separators, blanks or pattern characters.
pub(super) fn for_name(value: &HdlValue) -> String {
    let fit = |c: char| {
        if c.is_ascii_alphanumeric() || "_-.+".contains(c) {
            c
        } else {
            '-'
        }
    };
    let text = value.to_string();
    let name: String = text.chars().map(fit).collect();
    if name.len() <= VALUE_MAX {
        return name;
    }
    let digest = blake3::hash(text.as_bytes()).to_hex();
    format!("{}-{}", &name[..VALUE_MAX - 9], &digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn values(pairs: &[(&str, i64)]) -> Values {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), HdlValue::Integer(*value)))
            .collect()
    }

    #[test]
    fn what_is_included_extends_what_it_does_not_contradict_or_is_new() {
        let lists = BTreeMap::from([
            ("A".to_owned(), [1, 2].map(HdlValue::Integer).to_vec()),
            ("B".to_owned(), [1, 2].map(HdlValue::Integer).to_vec()),
        ]);
        let mut all = product(vec![Combination::default()], &lists);
        all.retain(|it| !it.matches(&values(&[("A", 2), ("B", 2)])));
        for included in [
            [("C", 1_i64)].as_slice(),
            &[("A", 1), ("C", 2)],
            &[("A", 1), ("B", 1), ("D", 1)],
            &[("A", 3)],
            &[("A", 3), ("C", 3)],
        ] {
            assert!(include(&mut all, 3, &values(included)), "{included:?}");
        }
        let names: Vec<String> = all.iter().map(Combination::suffix).collect();
        // As the matrices of GitHub's workflows do; a new combination is not extended again.
        assert_eq!(
            names,
            [
                "/A=1/B=1/C=2/D=1",
                "/A=1/B=2/C=2",
                "/A=2/B=1/C=1",
                "/A=3",
                "/A=3/C=3",
            ]
        );
    }

    #[test]
    fn a_named_variant_shows_what_its_name_does_not_stand_for() {
        let small = Combination::variant(Some("small".to_owned()), values(&[("PORTS", 1)]));
        let lists = BTreeMap::from([("W".to_owned(), vec![HdlValue::Integer(8)])]);
        let all = product(vec![small], &lists);
        assert_eq!(all[0].suffix(), "/small/W=8");
        assert!(all[0].matches(&values(&[("PORTS", 1), ("W", 8)])));
    }

    #[test]
    fn a_long_value_is_shortened_and_stays_distinct() {
        let name = |text: &str| for_name(&HdlValue::Text(text.to_owned()));
        let (a, b) = (name(&"x/y".repeat(30)), name(&"x:y".repeat(30)));
        assert_eq!((a.len(), b.len()), (24, 24));
        assert!(a.starts_with("x-yx-yx-yx-yx-y-"), "{a}");
        assert_ne!(a, b);
        assert_eq!(name("vectors/a_b+c 1.hex"), "vectors-a_b+c-1.hex");
    }

    proptest! {
        #[test]
        fn a_matrix_multiplies_and_every_name_is_unique(
            lists in prop::collection::btree_map(
                "[A-C]", prop::collection::btree_set(-3_i64..9, 1..4), 0..3,
            ),
        ) {
            let integers = |(key, values): (&String, &BTreeSet<i64>)| {
                let values = values.iter().copied().map(HdlValue::Integer).collect();
                (key.clone(), values)
            };
            let matrix = lists.iter().map(integers).collect();
            let combinations = product(vec![Combination::default()], &matrix);
            let count: usize = lists.values().map(BTreeSet::len).product();
            prop_assert_eq!(combinations.len(), count);
            let names: BTreeSet<String> = combinations.iter().map(Combination::suffix).collect();
            prop_assert_eq!(names.len(), count);
            prop_assert!(combinations.iter().all(|it| it.values.keys().eq(lists.keys())));
        }
    }
}
