//! What is not installed, and one message about all of it.
//!
//! Invariant: everything that one session is missing is reported in one message, with one command
//! per platform that installs all of it.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::sim::simulator::SystemPackages;

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The package manager's command on each platform that has packages for what is missing.
const INSTALLERS: [(&str, &str); 3] = [
    ("Debian, Ubuntu", "apt install"),
    ("Fedora", "dnf install"),
    ("Arch", "pacman -S"),
];

/// Something that a session needs and that is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The code of the problem if nothing else is missing.
    pub code: Code,
    /// The program, the library or the module.
    pub name: String,
    /// What needs it, such as the C++ compiler for a simulator.
    pub purpose: String,
    /// Every place that was searched.
    pub looked_at: Vec<String>,
    /// The packages that contain it, if the platforms have any.
    pub packages: Option<SystemPackages>,
    /// Another way to get it or to do without it, as a sentence without a full stop.
    pub otherwise: Option<String>,
}

/// Why something that was searched for cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not installed.
    Missing(Box<Missing>),
    /// It was found, but does not work.
    Broken(Problems),
}

impl From<Missing> for Unusable {
    fn from(missing: Missing) -> Self {
        Self::Missing(Box::new(missing))
    }
}

impl From<Problems> for Unusable {
    fn from(problems: Problems) -> Self {
        Self::Broken(problems)
    }
}

impl From<Diagnostic> for Unusable {
    fn from(problem: Diagnostic) -> Self {
        Self::Broken(problem.into())
    }
}

impl Unusable {
    /// Returns the first problem in words.
    pub fn headline(&self) -> String {
        match self {
            Self::Missing(missing) => headline(&[missing]),
            Self::Broken(Problems(problems)) => problems
                .first()
                .map_or_else(String::new, |it| it.message.clone()),
        }
    }
}

/// Returns the problems of a session: what does not work, one by one, and one about everything that
/// is missing; `None` if there is nothing to report.
pub fn problems<'a>(unusable: impl IntoIterator<Item = &'a Unusable>) -> Option<Problems> {
    let mut problems = Vec::new();
    let mut missing: Vec<&Missing> = Vec::new();
    for it in unusable {
        match it {
            Unusable::Broken(broken) => problems.extend(broken.0.iter().cloned()),
            Unusable::Missing(it) if missing.contains(&it.as_ref()) => {}
            Unusable::Missing(it) => missing.push(it),
        }
    }
    if !missing.is_empty() {
        problems.push(report(&missing));
    }
    (!problems.is_empty()).then_some(Problems(problems))
}

fn report(missing: &[&Missing]) -> Diagnostic {
    let code = match missing {
        [only] => only.code,
        _ => Code::ToolNotFound,
    };
    let mut problem = Diagnostic::error(code, headline(missing));
    for it in missing {
        problem = problem.fact(format!("`{}`: {}", it.name, it.purpose));
    }
    let mut shown = BTreeSet::new();
    for place in missing.iter().flat_map(|it| &it.looked_at) {
        if shown.insert(place) {
            problem = problem.fact(format!("looked at: {place}"));
        }
    }
    problem.help(help(missing))
}

fn headline(missing: &[&Missing]) -> String {
    let names: Vec<String> = missing.iter().map(|it| format!("`{}`", it.name)).collect();
    match names.as_slice() {
        [only] => format!("{only} was not found"),
        [first @ .., last] => format!("{} and {last} were not found", first.join(", ")),
        [] => String::new(),
    }
}

/// Returns a line per platform with everything to install there, then other ways.
fn help(missing: &[&Missing]) -> String {
    let packages = || missing.iter().filter_map(|it| it.packages.as_ref());
    let of_platforms: [Vec<&str>; 3] = [
        packages().map(|it| it.debian.as_ref()).collect(),
        packages().map(|it| it.fedora.as_ref()).collect(),
        packages().map(|it| it.arch.as_ref()).collect(),
    ];
    let mut text = String::new();
    for ((platform, command), names) in INSTALLERS.into_iter().zip(&of_platforms) {
        let mut seen = BTreeSet::new();
        let words = names.iter().flat_map(|it| it.split_whitespace());
        let words: Vec<&str> = words.filter(|word| seen.insert(*word)).collect();
        if !words.is_empty() {
            write!(text, "\n  {platform}: {command} {}", words.join(" ")).ok();
        }
    }
    if text.is_empty() {
        let ways: BTreeSet<&str> = missing
            .iter()
            .filter_map(|it| it.otherwise.as_deref())
            .collect();
        return ways.into_iter().collect::<Vec<_>>().join("; ");
    }
    text.insert_str(0, "install what is missing, then run again");
    for it in missing {
        let of = it.packages.as_ref().map_or("for", |_| "instead of");
        if let Some(way) = &it.otherwise {
            write!(text, "\n  {of} `{}`: {way}", it.name).ok();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(name: &str, packages: Option<SystemPackages>, otherwise: Option<&str>) -> Unusable {
        Unusable::from(Missing {
            code: Code::PythonNoLibpython,
            name: name.to_owned(),
            purpose: format!("needed for {name}"),
            looked_at: vec!["PATH (/bin)".to_owned()],
            packages,
            otherwise: otherwise.map(str::to_owned),
        })
    }

    #[test]
    fn all_that_is_missing_is_one_problem_with_a_line_per_platform() {
        let broken = Diagnostic::error(Code::ToolBroken, "`x` failed");
        let unusable = [
            missing("a", Some(SystemPackages::new("a", "a-f", "all")), None),
            missing(
                "b",
                Some(SystemPackages::new("b", "", "all")),
                Some("use c"),
            ),
            missing("a", Some(SystemPackages::new("a", "a-f", "all")), None),
            missing("d", None, Some("write d")),
            broken.clone().into(),
        ];
        let found = problems(&unusable).expect("something is missing").0;
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], broken);
        assert_eq!(found[1].code, Code::ToolNotFound);
        assert_eq!(found[1].message, "`a`, `b` and `d` were not found");
        assert_eq!(
            found[1].facts,
            [
                "`a`: needed for a",
                "`b`: needed for b",
                "`d`: needed for d",
                "looked at: PATH (/bin)",
            ]
        );
        assert_eq!(
            found[1].help.as_deref(),
            Some(
                "install what is missing, then run again\n  Debian, Ubuntu: apt install a b\n  \
                 Fedora: dnf install a-f\n  Arch: pacman -S all\n  instead of `b`: use c\n  for `d`: write d"
            )
        );
    }

    #[test]
    fn a_single_missing_thing_keeps_its_code_and_without_packages_its_remedy_is_the_help() {
        let found = problems(&[missing("d", None, Some("write d"))])
            .expect("missing")
            .0;
        assert_eq!(found[0].code, Code::PythonNoLibpython);
        assert_eq!(found[0].message, "`d` was not found");
        assert_eq!(found[0].help.as_deref(), Some("write d"));
        assert_eq!(problems(&[]), None);
    }
}
