//! What to run: modules on builds, and what the command line selects from them; pure.
//!
//! [`expand`] turns a checked configuration into a plan and cannot fail, because `config`
//! rejects what has no plan. The order is that of `runner.toml`: builds by table, combination
//! and simulator; modules by table, then build, then name as the table gives them.

mod advice;
mod claims;
mod filter;
mod selection;

pub use claims::ListedNames;
pub use selection::Selection;
pub use selection::SelectionArgs;
pub use selection::TestcaseChoice;

use crate::config::RunnerConfig;
use crate::config::Variant;
use crate::config::settings_on;
use crate::model::build::Build;
use crate::model::step;
use crate::model::test::PlannedModule;
use crate::plan::claims::Claims;

use std::collections::BTreeMap;

/// Everything that `runner.toml` describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every build, whether or not a test runs on it; names are unique.
    pub builds: Vec<Build>,
    /// Every test module on every build it runs on, in every variant; no two are the same.
    pub modules: Vec<PlannedModule>,
    /// Which testcases of them the tables select.
    pub claims: Claims,
}

/// Puts every test on the builds that it runs on.
///
/// A build can dump waves if its table says so, or a test that runs on it does. A module
/// that several tables plan on one build with the same settings is planned once, for the first.
pub fn expand(config: &RunnerConfig) -> Plan {
    let tables = config.builds.iter();
    let variants: Vec<&Variant> = tables.flat_map(|table| &table.variants).collect();
    let mut builds: Vec<Build> = variants.iter().map(|it| it.build.clone()).collect();
    let mut modules: Vec<PlannedModule> = Vec::new();
    let mut claims = Claims::default();
    // The indices of a module that tables with different settings plan.
    let mut planned: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, table) in config.tests.iter().enumerate() {
        let selected = table.build_selection();
        for (number, build) in builds.iter_mut().enumerate() {
            if !selected.covers(&build.name) {
                continue;
            }
            build.waves |= table.settings.waves;
            let settings = settings_on(&table.settings, variants[number]);
            let of_steps = settings
                .files()
                .filter(|path| step::is_marked(path.as_str()));
            build.run_files.extend(of_steps.cloned());
            for module in &table.modules {
                let alike = planned.entry((number, module, &table.variant)).or_default();
                let known = alike.iter().find(|at| modules[**at].settings == settings);
                let at = known.copied().unwrap_or(modules.len());
                if at == modules.len() {
                    alike.push(at);
                    modules.push(PlannedModule {
                        build: build.name.clone(),
                        module: module.clone(),
                        variant: table.variant.clone(),
                        table: index,
                        settings: settings.clone(),
                    });
                }
                claims.add(&modules[at], table);
            }
        }
    }
    claims.settle();
    Plan {
        builds,
        modules,
        claims,
    }
}

#[cfg(test)]
mod tests;
