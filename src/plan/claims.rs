//! Which `[[test]]` tables select which testcases of their modules; pure.
//!
//! Invariant: a testcase of a variant of a module on a build belongs to one table at most: the first
//! of those with equal settings that select it. If others with different settings do as well, that
//! is reported and not run.

use crate::config::RunnerConfig;
use crate::config::TestcaseName;
use crate::config::TestcaseNames;
use crate::config::suggest::closest;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::BuildName;
use crate::model::test::PlannedModule;
use crate::model::test::TestModule;
use crate::model::test::TestVariant;
use crate::model::test::TestcaseId;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a table has to do with a testcase of one of its modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableClaim {
    /// It is not one of its testcases, or an equal table runs it.
    None,
    /// It is one of them.
    Selects,
    /// It is one of those that `testcase` names: it runs even if it is marked as skipped.
    Names,
    /// So it is, but of another table with other settings too, the one given.
    Clashes(usize),
}

/// A module on a build, in a variant.
type Key = (BuildName, TestModule, Option<TestVariant>);

/// Tables with equal settings that plan one module: the one that runs it, and what they select.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claimant {
    table: usize,
    names: Vec<Arc<TestcaseNames>>,
}

/// The selections of all tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    by_module: BTreeMap<Key, Vec<Claimant>>,
    tables: Vec<NamingTable>,
}

/// A `[[test]]` as it is written, all of its variants together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NamingTable {
    names: Arc<TestcaseNames>,
    modules: Vec<TestModule>,
}

impl Claims {
    /// Collects the names of a configuration.
    pub(super) fn new(config: &RunnerConfig) -> Self {
        let mut tables: Vec<NamingTable> = Vec::new();
        for table in &config.tests {
            if table.testcases.is_all() {
                continue;
            }
            let mut known = tables.iter_mut();
            if let Some(known) = known.find(|it| Arc::ptr_eq(&it.names, &table.testcases)) {
                known.modules.extend(table.modules.iter().cloned());
            } else {
                tables.push(NamingTable {
                    names: Arc::clone(&table.testcases),
                    modules: table.modules.clone(),
                });
            }
        }
        Self {
            by_module: BTreeMap::new(),
            tables,
        }
    }

    /// Records that a table plans a module, run by the planned one.
    pub(super) fn add(&mut self, planned: &PlannedModule, names: &Arc<TestcaseNames>) {
        let key = key(&planned.build, &planned.module, planned.variant.as_ref());
        let claimants = self.by_module.entry(key).or_default();
        let names = Arc::clone(names);
        match claimants.iter_mut().find(|it| it.table == planned.table) {
            Some(known) => known.names.push(names),
            None => claimants.push(Claimant {
                table: planned.table,
                names: vec![names],
            }),
        }
    }

    /// Forgets the modules of which every testcase is selected, which are nearly all.
    pub(super) fn settle(&mut self) {
        let is_all = |claimant: &Claimant| claimant.names.iter().any(|it| it.is_all());
        self.by_module
            .retain(|_, claimants| claimants.len() > 1 || !claimants.iter().all(is_all));
    }

    /// Says what a table that runs a module has to do with one of its testcases.
    pub(super) fn of(&self, table: usize, id: &TestcaseId) -> TableClaim {
        let key = key(&id.build, &id.module, id.variant.as_ref());
        let Some(claimants) = self.by_module.get(&key) else {
            return TableClaim::Selects;
        };
        let testcase = &id.testcase;
        let claims = |it: &Claimant| it.names.iter().any(|names| names.selects(testcase));
        let Some(own) = claimants.iter().find(|it| it.table == table && claims(it)) else {
            return TableClaim::None;
        };
        let mut earlier = claimants.iter().take_while(|it| it.table != table);
        if let Some(other) = earlier.find(|it| claims(it)) {
            return TableClaim::Clashes(other.table);
        }
        let mut own = own.names.iter();
        if own.any(|it| it.selects(testcase) && it.names(testcase)) {
            TableClaim::Names
        } else {
            TableClaim::Selects
        }
    }
}

fn key(build: &BuildName, module: &TestModule, variant: Option<&TestVariant>) -> Key {
    (build.clone(), module.clone(), variant.cloned())
}

/// The testcases that a session has listed, as far as they matter for the names in tables.
#[derive(Clone, Debug, Default)]
pub struct ListedNames {
    by_module: BTreeMap<TestModule, BTreeSet<String>>,
}

impl ListedNames {
    /// Takes a listed testcase.
    pub fn take(&mut self, id: &TestcaseId) {
        if !self.by_module.contains_key(&id.module) {
            self.by_module.insert(id.module.clone(), BTreeSet::new());
        }
        if let Some(names) = self.by_module.get_mut(&id.module)
            && !names.contains(&id.testcase)
        {
            names.insert(id.testcase.clone());
        }
    }

    /// Returns the names of all testcases.
    pub fn testcases(&self) -> BTreeSet<String> {
        self.by_module.values().flatten().cloned().collect()
    }

    /// Returns the errors about names that match no testcase of any module of their table.
    ///
    /// A table of which a module was not listed may mean testcases of that one.
    pub(super) fn unknown(&self, claims: &Claims) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for table in &claims.tables {
            let listed = table
                .modules
                .iter()
                .map(|module| self.by_module.get(module));
            let Some(listed) = listed.collect::<Option<Vec<_>>>() else {
                continue;
            };
            let known: BTreeSet<&str> = listed.into_iter().flatten().map(String::as_str).collect();
            let is_unknown = |name: &&TestcaseName| !known.iter().any(|it| name.selects(it));
            let unknown = table.names.all().filter(is_unknown);
            problems.extend(unknown.map(|name| unknown_testcase(name, &known)));
        }
        problems
    }
}

fn unknown_testcase(name: &TestcaseName, known: &BTreeSet<&str>) -> Diagnostic {
    /// How many known names are listed.
    const SHOWN_MAX: usize = 8;
    let words = format!(
        "`{}` matches no testcase of the modules of its table",
        name.text
    );
    let problem = Diagnostic::error(Code::ConfigUnknownTestcase, words).at(name.place.clone());
    let bare = known
        .iter()
        .map(|it| it.split('/').next().unwrap_or_default());
    if let Some(near) = closest(&name.text, bare.chain(known.iter().copied())) {
        return problem.help(format!("did you mean `{near}`?"));
    }
    let shown = known.iter().take(SHOWN_MAX);
    let shown: Vec<String> = shown.map(|name| format!("`{name}`")).collect();
    let more = if known.len() > SHOWN_MAX { ", …" } else { "" };
    problem.fact(format!("known testcases: {}{more}", shown.join(", ")))
}
