//! Which `[[test]]` tables select which testcases of their modules; pure.
//!
//! Invariant: a testcase of a variant of a module on a build belongs to one table at most: the first
//! of those with equal settings that select it. If others with different settings do as well, that
//! is reported and not run.

use crate::config::TestTable;
use crate::config::TestcaseName;
use crate::config::TestcaseNames;
use crate::config::suggest::closest;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Snippet;
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

/// What is listed for one table: the one that runs the module, and the module.
type ListingKey = (usize, Key);

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

/// A `[[test]]` that names testcases, as it is written: all of its variants together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NamingTable {
    names: Arc<TestcaseNames>,
    /// Its header.
    place: Snippet,
    /// Where its modules are listed, also by an equal table; never empty.
    listings: Vec<ListingKey>,
}

impl Claims {
    /// Records that a table plans a module, run by the planned one. Tables come in their order.
    pub(super) fn add(&mut self, planned: &PlannedModule, table: &TestTable) {
        let key = key(&planned.build, &planned.module, planned.variant.as_ref());
        let names = Arc::clone(&table.testcases);
        if !names.is_all() {
            let listing = (planned.table, key.clone());
            // The variants of a table follow each other.
            let last = self.tables.last_mut();
            match last.filter(|it| Arc::ptr_eq(&it.names, &names)) {
                Some(known) => known.listings.push(listing),
                None => self.tables.push(NamingTable {
                    names: Arc::clone(&names),
                    place: table.place.clone(),
                    listings: vec![listing],
                }),
            }
        }
        let claimants = self.by_module.entry(key).or_default();
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
    all: BTreeSet<String>,
    /// Those of the tables that name testcases; empty for what was not listed.
    by_listing: BTreeMap<ListingKey, BTreeSet<String>>,
}

impl ListedNames {
    /// Prepares for the listings of tables.
    pub(super) fn new(claims: &Claims) -> Self {
        let listings = claims.tables.iter().flat_map(|table| &table.listings);
        Self {
            all: BTreeSet::new(),
            by_listing: listings
                .map(|listing| (listing.clone(), BTreeSet::new()))
                .collect(),
        }
    }

    /// Takes a testcase that is listed for a table.
    pub fn take(&mut self, table: usize, id: &TestcaseId) {
        if !self.all.contains(&id.testcase) {
            self.all.insert(id.testcase.clone());
        }
        if self.by_listing.is_empty() {
            return;
        }
        let listing = (table, key(&id.build, &id.module, id.variant.as_ref()));
        if let Some(names) = self.by_listing.get_mut(&listing) {
            names.insert(id.testcase.clone());
        }
    }

    /// Returns the names of all testcases.
    pub fn testcases(&self) -> &BTreeSet<String> {
        &self.all
    }

    /// Returns the errors about names that match no testcase of their table, about tables whose
    /// `testcase` matches none on a build, and about those that select nothing at all.
    ///
    /// What was not listed may have any testcase, so nothing is said about it.
    pub(super) fn unmatched(&self, claims: &Claims) -> Vec<Diagnostic> {
        let tables = claims.tables.iter();
        tables.flat_map(|table| self.unmatched_of(table)).collect()
    }

    fn unmatched_of(&self, table: &NamingTable) -> Vec<Diagnostic> {
        let mut all = Some(BTreeSet::new());
        let mut on_builds: BTreeMap<_, Option<BTreeSet<&str>>> = BTreeMap::new();
        for listing in &table.listings {
            let (_, (build, _, variant)) = listing;
            let on_build = on_builds.entry((build, variant));
            let on_build = on_build.or_insert_with(|| Some(BTreeSet::new()));
            let names = self.by_listing.get(listing).filter(|it| !it.is_empty());
            for known in [&mut all, on_build] {
                match names {
                    Some(names) => known.iter_mut().for_each(|it| it.extend(texts(names))),
                    None => *known = None,
                }
            }
        }
        let is_unknown = |name: &TestcaseName| {
            let mut all = all.iter();
            all.any(|known| !known.iter().any(|it| name.selects(it)))
        };
        let unknown = table.names.all().filter(|name| is_unknown(name));
        let known = all.iter().flatten().copied().collect();
        let mut problems: Vec<Diagnostic> =
            unknown.map(|name| unknown_testcase(name, &known)).collect();
        let mut wanted = table.names.wanted.iter().flatten();
        // Otherwise that is all there is to say.
        if !wanted.all(is_unknown) {
            let selects_none =
                |known: &BTreeSet<&str>| !known.iter().any(|it| table.names.names(it));
            let on_builds = on_builds.iter().filter_map(|((build, variant), known)| {
                let known = known.as_ref().filter(|it| selects_none(it))?;
                Some((*build, variant.as_ref(), known))
            });
            problems.extend(selects_nothing(table, on_builds));
        }
        let is_left_out = |known: &BTreeSet<&str>| !known.iter().any(|it| table.names.selects(it));
        if problems.is_empty() && all.as_ref().is_some_and(is_left_out) {
            let words = "this table selects no testcase: `skip_testcase` leaves all of them out";
            let problem = Diagnostic::error(Code::ConfigUnknownTestcase, words);
            let problem = problem.at(table.place.clone());
            problems.push(problem.help("narrow `skip_testcase`, or remove the table"));
        }
        problems
    }
}

fn texts(names: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str)
}

/// Returns the error about a table whose `testcase` matches none of what these builds have.
fn selects_nothing<'a>(
    table: &NamingTable,
    mut on_builds: impl Iterator<
        Item = (
            &'a BuildName,
            Option<&'a TestVariant>,
            &'a BTreeSet<&'a str>,
        ),
    >,
) -> Option<Diagnostic> {
    let (build, variant, known) = on_builds.next()?;
    let variant = variant.map_or_else(String::new, |it| format!(" in variant `{it}`"));
    let words = format!("`testcase` of this table matches nothing on build `{build}`{variant}");
    let problem = Diagnostic::error(Code::ConfigUnknownTestcase, words)
        .at(table.place.clone())
        .fact(known_testcases(known))
        .help("narrow `build`, or name a testcase that this build has");
    Some(match on_builds.count() {
        0 => problem,
        more => problem.fact(format!("{more} more like this")),
    })
}

fn unknown_testcase(name: &TestcaseName, known: &BTreeSet<&str>) -> Diagnostic {
    let words = format!(
        "`{}` matches no testcase of the modules of its table",
        name.text
    );
    let problem = Diagnostic::error(Code::ConfigUnknownTestcase, words).at(name.place.clone());
    let bare = known
        .iter()
        .map(|it| it.split('/').next().unwrap_or_default());
    match closest(&name.text, bare.chain(known.iter().copied())) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.fact(known_testcases(known)),
    }
}

/// Lists names; if there are many, only the first ones.
fn known_testcases(known: &BTreeSet<&str>) -> String {
    const SHOWN_MAX: usize = 8;
    let shown = known.iter().take(SHOWN_MAX);
    let shown: Vec<String> = shown.map(|name| format!("`{name}`")).collect();
    let more = if known.len() > SHOWN_MAX { ", …" } else { "" };
    format!("known testcases: {}{more}", shown.join(", "))
}
