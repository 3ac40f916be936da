//! What the command line selects from a plan, in two steps.
//!
//! Before cocotb has listed the testcases of a module, only build and module are known; then
//! [`Selection::may_select_module`] says what could still be selected and never rules out too
//! much. Afterwards [`Selection::selects`] decides, and only about modules the first step let
//! through: a selected testcase is in a module that may be selected, on a build that is needed.

use crate::config::BuildSelection;
use crate::config::name_glob::NameGlob;
use crate::config::unknown_build;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::model::build::Build;
use crate::model::build::BuildName;
use crate::model::build::SimulatorName;
use crate::model::test::ModuleInVariant;
use crate::model::test::PlannedModule;
use crate::model::test::TestcaseId;
use crate::plan::Plan;
use crate::plan::advice;
use crate::plan::advice::KnownNames;
use crate::plan::claims::Claims;
use crate::plan::claims::ListedNames;
use crate::plan::claims::TableClaim;
use crate::plan::filter::Filter;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// How many known names are listed if none is similar to the wanted one.
const SHOWN_MAX: usize = 8;

/// The selecting arguments, as the user wrote them. An empty list selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectionArgs {
    /// Positional: substrings of `BUILD::MODULE::TESTCASE`, or patterns (`*?[`) that match all of
    /// it. One of them has to match. One that names builds says nothing about names of testcases.
    pub filters: Vec<String>,
    /// `--build`: names and patterns, as of `build` in `[[test]]`; `fifo` selects `fifo/DEPTH=4`
    /// and `fifo@SIMULATOR` too.
    pub builds: Vec<String>,
    /// `--module`: names of modules; `test_fifo` selects `test_fifo/VARIANT` too, except on builds
    /// where it is the full name of one.
    pub modules: Vec<String>,
    /// `--testcase`: names of testcases; `grants` selects `grants/x=1` too.
    pub testcases: Vec<String>,
    /// `--simulator`: only builds for it.
    pub simulator: Option<SimulatorName>,
}

/// What becomes of a listed testcase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestcaseChoice {
    /// The table that lists it does not run it; it is not mentioned.
    NotPlanned,
    /// It is planned, but a filter leaves it out.
    Deselected,
    /// It runs, or is reported as skipped if it is marked so.
    Selected,
    /// It runs, however it is marked.
    SelectedByName,
}

/// A checked selection over one plan.
#[derive(Clone, Debug)]
pub struct Selection {
    args: SelectionArgs,
    filters: Vec<Filter>,
    builds: BuildSelection,
    simulators: BTreeMap<BuildName, SimulatorName>,
    needed: BTreeSet<BuildName>,
    modules: BTreeSet<String>,
    claims: Claims,
    /// The builds on which a module is planned under exactly a name that `--module` gives.
    exact: BTreeSet<(BuildName, String)>,
}

impl Selection {
    /// Checks the arguments against a plan.
    ///
    /// # Errors
    /// Every invalid filter, and every build and module that the plan does not have.
    /// Testcases are not known yet; [`Self::unmatched`] reports them later.
    pub fn new(args: SelectionArgs, plan: &Plan) -> Result<Self> {
        let mut problems = Vec::new();
        let mut filters = Vec::new();
        for text in &args.filters {
            match Filter::new(text, plan.builds.iter().map(|build| &build.name)) {
                Ok(filter) => filters.push(filter),
                Err(problem) => problems.push(*problem),
            }
        }
        for wanted in &args.builds {
            problems.extend(refused_build(wanted, plan));
        }
        let modules = known_modules(plan);
        for wanted in &args.modules {
            let mut known = modules.iter();
            if !known.any(|name| designates(wanted, name)) {
                problems.push(unknown_module(wanted, &modules, plan));
            }
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let simulators = plan
            .builds
            .iter()
            .map(|build| (build.name.clone(), build.simulator.clone()))
            .collect();
        let wanted = (!args.builds.is_empty()).then_some(args.builds.as_slice());
        let mut selection = Self {
            builds: BuildSelection::new(wanted),
            args,
            filters,
            simulators,
            needed: BTreeSet::new(),
            modules,
            claims: plan.claims.clone(),
            exact: BTreeSet::new(),
        };
        selection.exact = plan
            .modules
            .iter()
            .map(|planned| (&planned.build, planned.module_in_variant().to_string()))
            .filter(|(_, name)| selection.args.modules.contains(name))
            .map(|(build, name)| (build.clone(), name))
            .collect();
        selection.needed = selection
            .modules(plan)
            .map(|module| module.build.clone())
            .collect();
        Ok(selection)
    }

    /// Says whether any testcase of this build may be selected, so that `test` has to build it.
    pub fn needs_build(&self, build: &BuildName) -> bool {
        self.needed.contains(build)
    }

    /// Says whether a build itself is selected by `--build` and `--simulator`, tests or not.
    pub fn selects_build(&self, build: &Build) -> bool {
        self.admits_build(&build.name)
    }

    /// Says whether some testcase of this module on this build may be selected.
    pub fn may_select_module(&self, build: &BuildName, module: ModuleInVariant<'_>) -> bool {
        if !self.admits_build(build) || !self.admits_module(build, module) {
            return false;
        }
        self.filters.is_empty()
            || self
                .filters
                .iter()
                .any(|filter| filter.may_match(build, module))
    }

    /// Returns the modules of a plan that may be selected, in its order.
    pub fn modules<'a>(&self, plan: &'a Plan) -> impl Iterator<Item = &'a PlannedModule> {
        plan.modules
            .iter()
            .filter(|planned| self.may_select_module(&planned.build, planned.module_in_variant()))
    }

    /// Says what becomes of a testcase that is listed for this table.
    pub fn choose(&self, table: usize, id: &TestcaseId) -> TestcaseChoice {
        match self.claims.of(table, id) {
            TableClaim::None | TableClaim::Clashes(_) => TestcaseChoice::NotPlanned,
            _ if !self.selects(id) => TestcaseChoice::Deselected,
            TableClaim::Selects => TestcaseChoice::Selected,
            TableClaim::Names => TestcaseChoice::SelectedByName,
        }
    }

    /// Returns the table that runs a selected testcase instead of this one, although their settings
    /// differ.
    pub fn clash(&self, table: usize, id: &TestcaseId) -> Option<usize> {
        match self.claims.of(table, id) {
            TableClaim::Clashes(other) => self.selects(id).then_some(other),
            TableClaim::None | TableClaim::Selects | TableClaim::Names => None,
        }
    }

    /// Returns what takes the testcases that are listed.
    pub fn listed_names(&self) -> ListedNames {
        ListedNames::new(&self.claims)
    }

    /// Returns the errors about names in tables that match none of the testcases listed for them.
    pub fn unmatched_names(&self, listed: &ListedNames) -> Vec<Diagnostic> {
        listed.unmatched(&self.claims)
    }

    /// Says whether the command line selects a testcase.
    pub fn selects(&self, id: &TestcaseId) -> bool {
        let module = id.module_in_variant();
        if !self.admits_testcase(&id.testcase) || !self.may_select_module(&id.build, module) {
            return false;
        }
        self.filters.is_empty() || self.filters.iter().any(|filter| filter.is_match(id))
    }

    /// Returns the filters and the `--testcase` names that match none of the listed testcases.
    pub fn unmatched<'a>(&self, listed: impl IntoIterator<Item = &'a TestcaseId>) -> Vec<String> {
        let mut filters: Vec<(&String, &Filter)> =
            self.args.filters.iter().zip(&self.filters).collect();
        let mut testcases: BTreeSet<&str> =
            self.args.testcases.iter().map(String::as_str).collect();
        for id in listed {
            if filters.is_empty() && testcases.is_empty() {
                break;
            }
            testcases.retain(|wanted| !designates(wanted, &id.testcase));
            filters.retain(|(_, filter)| !filter.is_match(id));
        }
        let filters = filters.into_iter().map(|(text, _)| text.clone());
        filters
            .chain(testcases.into_iter().map(str::to_owned))
            .collect()
    }

    /// Returns what is probably wrong with a filter or a `--testcase` that selects nothing, given the
    /// names of the testcases that were listed.
    pub fn advice_on(&self, filter: &str, testcases: &BTreeSet<String>) -> Option<String> {
        let known = self.known_names(testcases);
        if self.args.filters.iter().any(|it| it == filter) {
            advice::on_filter(filter, &known)
        } else {
            advice::on_testcase(filter, &known)
        }
    }

    fn known_names<'a>(&'a self, testcases: &'a BTreeSet<String>) -> KnownNames<'a> {
        KnownNames {
            builds: self.simulators.keys().map(BuildName::as_str).collect(),
            modules: self.modules.iter().map(String::as_str).collect(),
            testcases: testcases.iter().map(String::as_str).collect(),
        }
    }

    /// Returns advice for a selection that is empty, given the names of the testcases that were
    /// listed.
    pub fn advice(&self, testcases: &BTreeSet<String>) -> String {
        let known: BTreeSet<&SimulatorName> = self.simulators.values().collect();
        if let Some(wanted) = &self.args.simulator
            && !known.contains(wanted)
        {
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            return format!("`runner.toml` has builds for {} only", names.join(" and "));
        }
        let mut given = self.args.filters.iter().chain(&self.args.testcases);
        given
            .find_map(|text| self.advice_on(text, testcases))
            .unwrap_or_else(|| "run `cocorun list` to see what there is".to_owned())
    }

    fn admits_build(&self, build: &BuildName) -> bool {
        let by_simulator = self
            .args
            .simulator
            .as_ref()
            .is_none_or(|simulator| self.simulators.get(build) == Some(simulator));
        by_simulator && self.builds.covers(build)
    }

    fn admits_module(&self, build: &BuildName, module: ModuleInVariant<'_>) -> bool {
        if self.args.modules.is_empty() {
            return true;
        }
        let name = module.to_string();
        let is_exact = |wanted: &String| self.exact.contains(&(build.clone(), wanted.clone()));
        self.args
            .modules
            .iter()
            .any(|wanted| *wanted == name || designates(wanted, &name) && !is_exact(wanted))
    }

    fn admits_testcase(&self, testcase: &str) -> bool {
        let mut wanted = self.args.testcases.iter();
        self.args.testcases.is_empty() || wanted.any(|name| designates(name, testcase))
    }
}

/// Returns the names of all planned modules, without and with their variants.
fn known_modules(plan: &Plan) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for planned in &plan.modules {
        if !known.contains(&planned.module.0) {
            known.insert(planned.module.0.clone());
        }
        if planned.variant.is_some() {
            known.insert(planned.module_in_variant().to_string());
        }
    }
    known
}

/// Says whether `wanted` selects a testcase or a module: by its name, or by a part of it before a
/// parameter or a variant.
fn designates(wanted: &str, name: &str) -> bool {
    let rest = name.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the problem with a build name or pattern.
fn refused_build(wanted: &str, plan: &Plan) -> Option<Diagnostic> {
    if NameGlob::is_pattern(wanted)
        && let Err(why) = NameGlob::new(wanted)
    {
        let text = format!("invalid build pattern `{wanted}`: {why}");
        return Some(Diagnostic::error(Code::UsageBadArgument, text));
    }
    let selected = BuildSelection::new(Some(&[wanted.to_owned()]));
    let mut names = plan.builds.iter().map(|build| &build.name);
    let is_there = names.clone().any(|name| selected.covers(name));
    (!is_there).then(|| unknown_build(wanted, &mut names))
}

fn unknown_module(wanted: &str, known: &BTreeSet<String>, plan: &Plan) -> Diagnostic {
    let problem = Diagnostic::error(
        Code::UsageBadArgument,
        format!("no `[[test]]` runs a module called `{wanted}`"),
    );
    let builds = plan.builds.iter().map(|build| build.name.as_str());
    let names = KnownNames {
        builds: builds.collect(),
        modules: known.iter().map(String::as_str).collect(),
        testcases: Vec::new(),
    };
    if let Some(advice) = advice::on_module(wanted, &names) {
        return problem.help(advice);
    }
    let shown = known.iter().take(SHOWN_MAX);
    let names: Vec<String> = shown.map(|name| format!("`{name}`")).collect();
    let more = if known.len() > SHOWN_MAX { ", …" } else { "" };
    problem.fact(format!("known modules: {}{more}", names.join(", ")))
}
