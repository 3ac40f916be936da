//! Failed builds and testcases in full: what is equal is one block with all its names.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::event::SessionState;
use crate::model::build::BuildName;
use crate::model::outcome::Cause;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::report::log;
use crate::report::terminal::frame::COULD_NOT_RUN;
use crate::report::text;
use crate::report::traceback;
use crate::report::wording;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::time::Duration;

/// Details of more failures than this are not kept: the ending would not show them.
pub(super) const DETAILED_FAILURES_MAX: usize = 500;
/// How much of one message or traceback is kept, in bytes, from its end.
pub(super) const DETAIL_BYTES_MAX: usize = 16 * 1024;
/// More names than this are left to the list below.
const NAMES_MAX: usize = 20;
/// No more failures than this are shown in full, whatever they are.
const BLOCKS_MAX: usize = 100;

/// What makes failures equal: how they ended, in which words, and by which way through the code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Equality {
    outcome: Outcome,
    cause: Option<Cause>,
    words: String,
    route: Vec<String>,
    /// The module, where all of it failed.
    module: Option<String>,
}

impl Equality {
    fn of(result: &TestcaseResult) -> Self {
        let is_whole_module = result.id.is_whole_module();
        let details = result.details.as_deref().unwrap_or_default();
        Self {
            outcome: result.outcome,
            cause: result.cause,
            words: comparable_words(result),
            route: traceback::route(details),
            module: is_whole_module.then(|| result.id.module.0.clone()),
        }
    }
}

/// Returns what a result says, without what differs between equal failures: addresses, and when a
/// hang was looked at.
fn comparable_words(result: &TestcaseResult) -> String {
    let first = wording::message_line(result).unwrap_or_default();
    let rest = result.message.as_deref().and_then(|it| it.split_once('\n'));
    let words = without_addresses(&format!("{first}\n{}", rest.map_or("", |(_, rest)| rest)));
    let Some((before, at)) = words.split_once(", at ") else {
        return words;
    };
    match at.split_once(" ns of simulated time") {
        Some((ns, after)) if ns.parse::<f64>().is_ok() => format!("{before}{after}"),
        _ => words,
    }
}

/// Returns a text in which no two addresses differ: `<object at 0x7f…>`.
fn without_addresses(text: &str) -> String {
    let mut parts = text.split("0x");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("0x");
        let digits = part
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(part.len());
        // A short number is a value.
        plain.push_str(&part[if digits < 8 { 0 } else { digits }..]);
    }
    plain
}

/// What makes failures of builds equal: the code, and the words without names.
type BuildEquality = (Code, Vec<String>);

/// A build that failed.
pub(super) struct FailedBuild {
    pub(super) build: BuildName,
    pub(super) label: String,
    pub(super) problem: Diagnostic,
    pub(super) duration: Duration,
    pub(super) log: Option<Utf8PathBuf>,
}

impl FailedBuild {
    /// Returns what equal failures of builds have in common.
    fn equality(&self) -> BuildEquality {
        let name = self.build.as_str();
        // In parentheses stands how long it took.
        let message = self.problem.message.split(" (").next().unwrap_or_default();
        let facts = self.problem.facts.iter().map(String::as_str);
        // Each has a log of its own.
        let facts = facts.filter(|fact| !fact.starts_with("log: "));
        let words = std::iter::once(message)
            .chain(facts)
            .chain(self.problem.help.as_deref())
            .map(|words| words.replace(name, ""));
        (self.problem.code, words.collect())
    }
}

/// A failed testcase that is kept for the end, and which other ones it equals.
pub(super) struct FailedTestcase {
    pub(super) result: TestcaseResult,
    group: usize,
}

/// What failed, within bounds.
#[derive(Default)]
pub(super) struct Failures {
    pub(super) builds: Vec<FailedBuild>,
    pub(super) testcases: Vec<FailedTestcase>,
    groups: BTreeMap<Equality, usize>,
}

/// Failures laid out.
pub(super) struct FailureBlocks {
    pub(super) problems: Vec<Diagnostic>,
    /// How many are not among them, although nothing equals them.
    pub(super) left_out: usize,
}

impl Failures {
    /// Keeps a bad result.
    pub(super) fn keep(&mut self, result: &TestcaseResult) {
        let next = self.groups.len();
        let group = *self.groups.entry(Equality::of(result)).or_insert(next);
        let mut kept = result.clone();
        let has_room = self.testcases.len() < DETAILED_FAILURES_MAX;
        let shorten = |long: &mut Option<String>| {
            *long = long
                .take()
                .filter(|_| has_room)
                .map(|long| text::last_bytes(&long, DETAIL_BYTES_MAX).to_owned());
        };
        // The headline is all of the message that the ending needs of those it does not show.
        let headline = wording::message_line(&kept);
        shorten(&mut kept.details);
        if !has_room
            || kept
                .message
                .as_ref()
                .is_some_and(|long| long.len() > DETAIL_BYTES_MAX)
        {
            kept.message = headline.map(|line| text::cut_end(&line, 400).into_owned());
        }
        self.testcases.push(FailedTestcase {
            result: kept,
            group,
        });
    }

    /// Removes what an earlier attempt of a testcase left.
    pub(super) fn supersede(&mut self, result: &TestcaseResult) {
        let is_former =
            |it: &FailedTestcase| it.result.id == result.id && it.result.attempt < result.attempt;
        if result.attempt > 1
            && let Some(at) = self.testcases.iter().position(is_former)
        {
            self.testcases.remove(at);
        }
    }

    /// Says whether a failed build explains all there is to say about this result.
    pub(super) fn is_explained_by_build(&self, result: &TestcaseResult) -> bool {
        result.cause == Some(Cause::Build)
            && self
                .builds
                .iter()
                .any(|failed| failed.build == result.id.build)
    }

    /// Lays out the failed builds: one block for those that failed equally.
    pub(super) fn build_blocks(&self, state: &SessionState) -> Vec<Diagnostic> {
        let mut groups: Vec<(BuildEquality, Vec<&FailedBuild>)> = Vec::new();
        for failed in &self.builds {
            let equality = failed.equality();
            match groups.iter_mut().find(|(known, _)| *known == equality) {
                Some((_, group)) => group.push(failed),
                None => groups.push((equality, vec![failed])),
            }
        }
        groups
            .iter()
            .map(|(_, group)| self.build_block(group, state))
            .collect()
    }

    fn build_block(&self, group: &[&FailedBuild], state: &SessionState) -> Diagnostic {
        let first = group[0];
        let mut problem = first.problem.clone();
        if let Some(log) = &first.log
            && !problem.facts.iter().any(|fact| fact.contains(log.as_str()))
        {
            problem = problem.fact(text::visible(&format!("log: {log}")));
        }
        if group.len() > 1 {
            let others = group[1..].iter().map(|other| format!("`{}`", other.build));
            let others = others.collect::<Vec<_>>().join(", ");
            let number = text::count(group.len() - 1, "more build");
            problem = problem.fact(text::visible(&format!("the same in {number}: {others}")));
        }
        let is_lost = |it: &&FailedTestcase| {
            it.result.cause == Some(Cause::Build)
                && group
                    .iter()
                    .any(|failed| failed.build == it.result.id.build)
        };
        let (modules, testcases): (Vec<_>, Vec<_>) = self
            .testcases
            .iter()
            .filter(is_lost)
            .partition(|it| it.result.id.is_whole_module());
        for (lost, noun) in [(modules, "module"), (testcases, "testcase")] {
            if !lost.is_empty() {
                let number = text::count(lost.len(), noun);
                problem = problem.fact(format!("{number} {COULD_NOT_RUN}"));
            }
        }
        wording::build_problem(&problem, &first.build, state.started())
    }

    /// Lays out the failed testcases, in the order in which the first of equal ones failed.
    pub(super) fn testcase_blocks(&self, state: &SessionState, log_lines: usize) -> FailureBlocks {
        let mut blocks = FailureBlocks {
            problems: Vec::new(),
            left_out: 0,
        };
        let mut groups: Vec<Vec<&TestcaseResult>> = Vec::new();
        let mut place_of: BTreeMap<usize, usize> = BTreeMap::new();
        for failure in &self.testcases {
            if self.is_explained_by_build(&failure.result) {
                continue;
            }
            let next = groups.len();
            let place = *place_of.entry(failure.group).or_insert(next);
            if place == next {
                groups.push(Vec::new());
            }
            groups[place].push(&failure.result);
        }
        for results in groups {
            if blocks.problems.len() == BLOCKS_MAX {
                blocks.left_out += 1;
                continue;
            }
            let mut problem = testcase_block(results[0], state, log_lines);
            // One that is not shown may depend on the order, where this one does not.
            let mut found = results
                .iter()
                .filter_map(|it| state.order_dependence(&it.id));
            if let Some(found) = found.next() {
                problem = problem.fact(wording::order_dependence(found));
            }
            if results.len() > 1 {
                problem = problem.fact(others_in_words(results[0], &results[1..]));
            }
            blocks.problems.push(problem);
        }
        blocks
    }
}

fn testcase_block(result: &TestcaseResult, state: &SessionState, log_lines: usize) -> Diagnostic {
    let code = state.code_of(result).unwrap_or(Code::TestNoResult);
    let prefix = state.started().map_or("", |session| &session.rerun_prefix);
    // What cannot be imported, or has no testcases, has printed nothing of its own; cocotb has.
    let is_empty = result.cause == Some(Cause::NoTestcases);
    let has_output = !(result.id.is_whole_module() && (result.details.is_some() || is_empty));
    let output = result
        .log
        .as_ref()
        .filter(|_| has_output)
        .map(|span| log::last_lines(span, &result.id.testcase, log_lines))
        .unwrap_or_default();
    wording::diagnostic(result, code, prefix, &output)
}

/// Names those that failed in the same way as the one that is shown.
fn others_in_words(shown: &TestcaseResult, others: &[&TestcaseResult]) -> String {
    if shown.id.is_whole_module() {
        let builds = others.iter().map(|other| format!("`{}`", other.id.build));
        let builds = builds.collect::<Vec<_>>().join(", ");
        return text::visible(&format!("the same on {builds}")).into_owned();
    }
    let number = text::count(others.len(), "more testcase");
    let mut words = format!("the same in {number}:");
    for other in others.iter().take(NAMES_MAX) {
        text::add(&mut words, format_args!("\n  {}", wording::name(&other.id)));
    }
    if others.len() > NAMES_MAX {
        let rest = others.len() - NAMES_MAX;
        text::add(
            &mut words,
            format_args!("\n  … and {rest} more, named below"),
        );
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_make_no_difference_and_values_do() {
        let text = "<a at 0x7f0011223344>, q 0xff at 0x";
        assert_eq!(without_addresses(text), "<a at 0x>, q 0xff at 0x");
        assert_eq!(without_addresses("plain"), "plain");
    }
}
