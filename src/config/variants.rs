//! The variants of a build table: its matrix times its simulators, each with a full name.

use crate::config::BuildTable;
use crate::model::build::BuildName;
use crate::model::build::HdlValue;
use crate::model::build::SimulatorName;

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How many variants one table may have; a matrix of a few lists can reach astronomical numbers.
pub(super) const VARIANTS_MAX: usize = 10_000;

/// One variant of a build table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its full name: `fifo`, `fifo/DEPTH=4`, `fifo/DEPTH=4@SIMULATOR`.
    pub name: BuildName,
    /// What compiles and runs it.
    pub simulator: SimulatorName,
    /// Parameters, with those of the matrix.
    pub parameters: BTreeMap<String, HdlValue>,
}

impl BuildTable {
    /// Returns every variant: the simulator varies fastest, then the last key of the matrix.
    pub fn variants(&self) -> Vec<Variant> {
        let mut flavours = vec![(self.name.clone(), self.parameters.clone())];
        for (key, values) in &self.matrix {
            let mut more = Vec::with_capacity(flavours.len() * values.len());
            for (name, parameters) in &flavours {
                for value in values {
                    let mut name = name.clone();
                    // Writing to a string cannot fail.
                    write!(name, "/{key}={}", for_name(value)).ok();
                    let mut parameters = parameters.clone();
                    parameters.insert(key.clone(), value.clone());
                    more.push((name, parameters));
                }
            }
            flavours = more;
        }
        let several = self.simulators.len() > 1;
        let mut variants = Vec::with_capacity(flavours.len() * self.simulators.len());
        for (name, parameters) in flavours {
            for simulator in self.simulators.iter().cloned() {
                let name = if several {
                    format!("{name}@{simulator}")
                } else {
                    name.clone()
                };
                let parameters = parameters.clone();
                variants.push(Variant {
                    name: BuildName(name),
                    simulator,
                    parameters,
                });
            }
        }
        variants
    }

    /// Returns how many variants there are, or `None` if the number overflows.
    pub(super) fn variant_count(&self) -> Option<usize> {
        self.matrix
            .values()
            .map(Vec::len)
            .try_fold(self.simulators.len(), usize::checked_mul)
    }
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
