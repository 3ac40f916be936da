//! The problems of a `runner.toml`: which ones matter to a session, and which say the same.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::diagnostic::Severity;
use crate::model::build::BuildName;

use std::collections::BTreeMap;

/// How many further places of a folded problem are named.
const PLACES_MAX: usize = 3;

/// The fact by which problems with one cause, a wrong folder, are recognised.
pub(super) const NO_FOLDER: &str = "there is no folder";

/// A problem, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundProblem {
    /// The byte offset in its file that it is sorted by.
    pub(super) order: usize,
    /// The name, with its prefix, of the table of builds whose files it is about; it matters only if
    /// one of them is needed. `None` if it always matters.
    pub(super) build: Option<String>,
    pub(super) problem: Diagnostic,
}

impl FoundProblem {
    /// Says whether nothing can be done before it is solved.
    fn is_fatal(&self) -> bool {
        self.build.is_none() && is_error(&self.problem)
    }
}

/// Problems with the files of builds: they matter to sessions that need the build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildProblems(Vec<FoundProblem>);

impl BuildProblems {
    /// Keeps problems for later if each of them is a warning or about one build.
    ///
    /// # Errors
    /// All of them, folded, if one is an error whatever is built.
    pub(super) fn new(found: Vec<FoundProblem>) -> Result<Self> {
        if found.iter().any(FoundProblem::is_fatal) {
            let problems = found.into_iter().map(|it| it.problem);
            return Err(Problems(folded(problems)));
        }
        Ok(Self(found))
    }

    /// Returns the warnings about these builds.
    ///
    /// # Errors
    /// Every error about one of them, and then the warnings too.
    pub fn of<'a>(
        &self,
        builds: impl IntoIterator<Item = &'a BuildName>,
    ) -> Result<Vec<Diagnostic>> {
        let builds: Vec<&BuildName> = builds.into_iter().collect();
        let is_needed = |it: &&FoundProblem| {
            let table = it.build.as_deref();
            table.is_none_or(|table| builds.iter().any(|build| build.is_named_by(table)))
        };
        let needed = self.0.iter().filter(is_needed);
        let problems = folded(needed.map(|it| it.problem.clone()));
        if problems.iter().any(is_error) {
            return Err(Problems(problems));
        }
        Ok(problems)
    }
}

fn is_error(problem: &Diagnostic) -> bool {
    problem.severity == Severity::Error
}

/// What makes two problems one: the folder that is missing, or everything they say.
type Cause = (Severity, Code, String, Vec<String>, Option<String>);

fn cause(problem: &Diagnostic) -> Cause {
    let Diagnostic {
        severity,
        code,
        message,
        facts,
        help,
        ..
    } = problem;
    let no_folder = facts.iter().find(|fact| fact.starts_with(NO_FOLDER));
    match no_folder {
        Some(fact) => (*severity, *code, String::new(), vec![fact.clone()], None),
        None => (
            *severity,
            *code,
            message.clone(),
            facts.clone(),
            help.clone(),
        ),
    }
}

/// The first of problems with one cause, and the others.
struct Folded {
    first: Diagnostic,
    others: usize,
    /// Places of the others, up to one more than are shown.
    places: Vec<String>,
}

/// Keeps the first of problems with one cause, and names the places of the others there.
fn folded(problems: impl IntoIterator<Item = Diagnostic>) -> Vec<Diagnostic> {
    let mut kept: Vec<Folded> = Vec::new();
    let mut first_by_cause = BTreeMap::new();
    for problem in problems {
        let index = *first_by_cause.entry(cause(&problem)).or_insert(kept.len());
        let Some(known) = kept.get_mut(index) else {
            kept.push(Folded {
                first: problem,
                others: 0,
                places: Vec::new(),
            });
            continue;
        };
        known.others += 1;
        if known.places.len() <= PLACES_MAX {
            known.places.extend(place(&problem));
            // Several entries of a list may be on one line.
            known.places.dedup();
        }
    }
    kept.into_iter().map(Folded::into_diagnostic).collect()
}

impl Folded {
    fn into_diagnostic(self) -> Diagnostic {
        let Self {
            first,
            others,
            places,
        } = self;
        if others == 0 {
            return first;
        }
        let shown: Vec<&str> = places.iter().take(PLACES_MAX).map(String::as_str).collect();
        let more = if places.len() > PLACES_MAX {
            ", …"
        } else {
            ""
        };
        first.fact(format!(
            "{others} more like this: {}{more}",
            shown.join(", ")
        ))
    }
}

/// Returns `FILE:LINE` of a problem.
fn place(problem: &Diagnostic) -> Option<String> {
    let snippet = problem.snippet.as_ref()?;
    let before = &snippet.text[..snippet.range.start];
    let line = snippet.first_line + before.matches('\n').count();
    Some(format!("{}:{line}", snippet.path))
}
