//! The variants of a build table: the combinations of its matrix, each with the part of a build's
//! name that tells it from the others.

use crate::config::document::Section;
use crate::config::hdl_values::ValueUse;
use crate::config::hdl_values::check_identifier;
use crate::config::hdl_values::hdl_value;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::HdlValue;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// How many builds one table may make; a matrix of a few lists can reach astronomical numbers.
const BUILDS_MAX: usize = 10_000;

/// One combination of values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Combination {
    /// What it adds to the name of its table: `/DEPTH=4/WIDTH=8`, or nothing.
    pub(super) suffix: String,
    /// The values by the names of parameters.
    pub(super) values: BTreeMap<String, HdlValue>,
}

/// Reads the combinations of a build table; never empty, so that each table has builds.
pub(super) fn read(section: &Section<'_>, table: &str, simulators: usize) -> Vec<Combination> {
    let matrix = read_matrix(section, table);
    let lengths = matrix.values().map(Vec::len);
    let count = lengths.fold(simulators, usize::saturating_mul);
    if count <= BUILDS_MAX {
        return product(&matrix);
    }
    if let Some(value) = section.get("matrix") {
        let title = &section.title;
        value.bad(
            format!("the matrix of `{title}` makes more than {BUILDS_MAX} builds"),
            "",
        );
    }
    vec![Combination::default()]
}

/// Combines lists of values; the last key varies fastest.
fn product(matrix: &BTreeMap<String, Vec<HdlValue>>) -> Vec<Combination> {
    let mut combinations = vec![Combination::default()];
    for (key, values) in matrix {
        let mut more = Vec::with_capacity(combinations.len() * values.len());
        for combination in &combinations {
            for value in values {
                let mut combination = combination.clone();
                // Writing to a string cannot fail.
                write!(combination.suffix, "/{key}={}", for_name(value)).ok();
                combination.values.insert(key.clone(), value.clone());
                more.push(combination);
            }
        }
        combinations = more;
    }
    combinations
}

fn read_matrix(section: &Section<'_>, table: &str) -> BTreeMap<String, Vec<HdlValue>> {
    let mut matrix = BTreeMap::new();
    let Some(lists) = section.get("matrix") else {
        return matrix;
    };
    for (name, value) in lists.entries("a table of lists") {
        check_identifier(section.reading, &name);
        let items = value.items("a list of values");
        if value
            .content
            .as_array()
            .is_some_and(|items| items.is_empty())
        {
            value.bad(
                format!("`{}` is an empty list", value.name),
                "holds no value",
            );
        }
        let values: Vec<HdlValue> = items
            .iter()
            .filter_map(|item| hdl_value(item, ValueUse::Parameter))
            .collect();
        let mut seen = BTreeSet::new();
        let mut names = values.iter().map(for_name);
        if let Some(text) = names.find(|text| !seen.insert(text.clone())) {
            let full = format!("{table}/{}={text}", name.value);
            let problem = Diagnostic::error(
                Code::ConfigDuplicateName,
                format!(
                    "two values of `{}` give builds the same name, `{full}`",
                    value.name
                ),
            );
            section.reading.at(&value.range, "", problem);
        }
        if !values.is_empty() {
            matrix.insert(name.value, values);
        }
    }
    matrix
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
    value.to_string().chars().map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

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
            let combinations = product(&matrix);
            let count: usize = lists.values().map(BTreeSet::len).product();
            prop_assert_eq!(combinations.len(), count);
            let names: BTreeSet<&str> =
                combinations.iter().map(|it| it.suffix.as_str()).collect();
            prop_assert_eq!(names.len(), count);
            prop_assert!(combinations.iter().all(|it| it.values.keys().eq(lists.keys())));
        }
    }
}
