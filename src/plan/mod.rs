//! What to run: builds times modules, and what the command line selects from them; pure.
//!
//! [`expand`] turns a checked configuration into a plan and cannot fail, because `config`
//! rejects what has no plan. The order is that of `runner.toml`: builds by table, matrix and
//! simulator; modules by table, then build, then name as the table gives them.

mod advice;
mod filter;
mod selection;

pub use selection::Selection;
pub use selection::SelectionArgs;

use crate::config::BuildTable;
use crate::config::RunnerConfig;
use crate::config::Variant;
use crate::model::build::Build;
use crate::model::test::PlannedModule;

use std::collections::BTreeSet;

/// Everything that `runner.toml` describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every build, whether or not a test runs on it; names are unique.
    pub builds: Vec<Build>,
    /// Every test module on every build it runs on, in every variant; no two are the same.
    pub modules: Vec<PlannedModule>,
}

/// Expands matrices, simulators and tests.
///
/// A build can dump waves if its table says so, or a test that runs on it does. A module
/// that several tables plan on one build with the same settings is planned once, for the first.
pub fn expand(config: &RunnerConfig) -> Plan {
    let mut builds: Vec<Build> = Vec::new();
    for table in &config.builds {
        let variants = table.variants();
        builds.extend(
            variants
                .into_iter()
                .map(|variant| build(config, table, variant)),
        );
    }
    let mut modules = Vec::new();
    let mut planned = BTreeSet::new();
    for (index, table) in config.tests.iter().enumerate() {
        let selected = table.build_selection();
        for (number, build) in builds.iter_mut().enumerate() {
            if !selected.covers(&build.name) {
                continue;
            }
            build.waves |= table.settings.waves;
            for module in &table.modules {
                if planned.insert((number, module, &table.variant)) {
                    modules.push(PlannedModule {
                        build: build.name.clone(),
                        module: module.clone(),
                        variant: table.variant.clone(),
                        table: index,
                        settings: table.settings.clone(),
                    });
                }
            }
        }
    }
    Plan { builds, modules }
}

fn build(config: &RunnerConfig, table: &BuildTable, variant: Variant) -> Build {
    Build {
        name: variant.name,
        build_args: table
            .build_args
            .get(&variant.simulator)
            .cloned()
            .unwrap_or_default(),
        simulator: variant.simulator,
        sources: table.sources.clone(),
        includes: table.includes.clone(),
        hdl_toplevel: table.hdl_toplevel.clone(),
        defines: table.defines.clone(),
        parameters: variant.parameters,
        unknown_parameters: table.unknown_parameters,
        timescale: Some(table.timescale.clone()),
        waves: table.waves,
        build_env: table.env.clone(),
        project_dir: config.project_dir.clone(),
    }
}

#[cfg(test)]
mod tests;
