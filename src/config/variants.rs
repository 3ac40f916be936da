//! The flavours of a build table: its matrix, times its simulators, each with a full name.

use crate::config::BuildTable;
use crate::model::build::BuildName;
use crate::model::build::HdlValue;
use crate::model::build::SimulatorName;

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How many flavours one table may have; a matrix of a few lists can reach astronomic numbers.
pub(super) const VARIANTS_MAX: usize = 10_000;

/// One flavour of a build table.
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
    /// Returns every flavour: the last key of the matrix varies fastest but for the simulator.
    pub fn variants(&self) -> Vec<Variant> {
        let mut flavours = vec![(self.name.clone(), self.parameters.clone())];
        for (key, values) in &self.matrix {
            let mut more = Vec::with_capacity(flavours.len() * values.len());
            for (name, parameters) in &flavours {
                for value in values {
                    let mut name = name.clone();
                    // Writing into a string cannot fail.
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

    /// Returns how many flavours there are, or `None` beyond every number.
    pub(super) fn variant_count(&self) -> Option<usize> {
        self.matrix
            .values()
            .map(Vec::len)
            .try_fold(self.simulators.len(), usize::checked_mul)
    }
}

/// Writes a value as a part of a name, which holds no separator, blank or pattern.
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

/// Says whether `wanted`, as a user writes it, stands for the build called `full`: it is that name,
/// or one from which `full` goes on with a matrix value or a simulator.
pub(super) fn designates(wanted: &str, full: &BuildName) -> bool {
    full.as_str()
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '@']))
}
