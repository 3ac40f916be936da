//! The floors of the house: what may use what.
//!
//! A new module belongs in [`FLOORS`], in the list in `src/lib.rs`, and in `docs/architecture.md`.

use super::arrows::Arrow;

/// Modules of `src` and packages of `crates` by floor, lowest first.
pub(crate) const FLOORS: [&[&str]; 9] = [
    &["edge", "model"],
    &["lock"],
    &["diagnostic", "event"],
    &["agent", "sim"],
    &["config"],
    &["build", "plan", "report", "toolchain"],
    &["schedule"],
    &["cli"],
    &["commands"],
];
/// Who may use whom on one floor: everything that can fail says so in a diagnostic.
const NEIGHBOURS: [(&str, &str); 1] = [("event", "diagnostic")];

/// Returns the module or package that a file belongs to; none for `src/lib.rs` and `src/main.rs`.
pub(crate) fn area_of(path: &str) -> Option<&str> {
    let inside = path
        .strip_prefix("src/")
        .or_else(|| path.strip_prefix("crates/"))?;
    match inside {
        "lib.rs" | "main.rs" => None,
        _ => inside.split(['/', '.']).next(),
    }
}

pub(crate) fn floor_of(area: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&area))
}

/// Says which arrows lead upwards or to a neighbour.
pub(crate) fn floor_problems(arrows: &[Arrow]) -> Vec<String> {
    let mut problems = Vec::new();
    for arrow in arrows {
        let (Some(from), Some(to)) = (area_of(&arrow.from), area_of(&arrow.to)) else {
            continue;
        };
        if from == to || NEIGHBOURS.contains(&(from, to)) {
            continue;
        }
        let place = format!("{}:{}: `{}`", arrow.from, arrow.line, arrow.path);
        match (floor_of(from), floor_of(to)) {
            (Some(own), Some(other)) if other < own => {}
            (Some(own), Some(other)) => problems.push(format!(
                "{place}: `{from}` (floor {own}) uses `{to}` (floor {other})"
            )),
            (None, _) => problems.push(format!("{place}: `{from}` has no floor")),
            (_, None) => problems.push(format!("{place}: `{to}` has no floor")),
        }
    }
    problems
}
