//! Finds the files that use one another in a circle.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::arrows::Arrow;

/// Returns the largest sets of files of which each uses each other one, directly or through others.
///
/// Tests are left out: they may look at whatever they test.
pub(crate) fn circles(arrows: &[Arrow]) -> Vec<BTreeSet<&str>> {
    let mut used_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for arrow in arrows.iter().filter(|arrow| !arrow.is_test) {
        used_by.entry(&arrow.from).or_default().push(&arrow.to);
    }
    let reach: BTreeMap<&str, BTreeSet<&str>> = used_by
        .keys()
        .map(|file| (*file, reachable(&used_by, file)))
        .collect();
    let reaches = |from: &str, to: &str| reach.get(from).is_some_and(|all| all.contains(to));
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for file in reach.keys() {
        if reaches(file, file) && !found.iter().any(|circle| circle.contains(file)) {
            let others = reach[file].iter().filter(|other| reaches(other, file));
            found.push(others.copied().collect());
        }
    }
    found
}

/// Returns what a file uses, directly or through others.
fn reachable<'a>(used: &BTreeMap<&'a str, Vec<&'a str>>, file: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![file];
    while let Some(next) = open.pop() {
        for other in used.get(next).into_iter().flatten() {
            if seen.insert(*other) {
                open.push(other);
            }
        }
    }
    seen
}

/// Shows a circle with the lines that make it.
pub(crate) fn shown(circle: &BTreeSet<&str>, arrows: &[Arrow]) -> String {
    let inside = |file: &String| circle.contains(file.as_str());
    let mut lines = vec![format!("a circle of {} files:", circle.len())];
    for arrow in arrows.iter().filter(|arrow| !arrow.is_test) {
        let Arrow { from, to, .. } = arrow;
        if inside(from) && inside(to) {
            let line = format!("  {from}:{} uses {to} (`{}`)", arrow.line, arrow.path);
            lines.push(line);
        }
    }
    lines.join("\n")
}
