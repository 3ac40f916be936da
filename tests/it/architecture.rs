//! The floors of the house, read from the sources themselves.
//!
//! A module names only modules on lower floors, so that whatever is above can be replaced without
//! being looked at. A new module belongs into `FLOORS` here and into the list in `src/lib.rs`.

use std::fs;
use std::path::Path;

use crate::support::repository;

/// Modules by floor, lowest first.
const FLOORS: [&[&str]; 7] = [
    &["model"],
    &["diagnostic", "edge", "event"],
    &["agent", "config", "lock", "sim"],
    &["build", "plan", "report", "toolchain"],
    &["schedule"],
    &["cli"],
    &["commands"],
];
/// Who may name whom on one floor: everything that can fail says so in a diagnostic.
const NEIGHBOURS: [(&str, &str); 2] = [("edge", "diagnostic"), ("event", "diagnostic")];
/// A longer file answers for more than one thing.
const LINES_MAX: usize = 600;

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Returns the code of a line, without its comment.
///
/// A link in a doc comment is no dependency. `//` in a string cuts too much off; a path to a
/// module does not stand behind one.
fn code_of(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// Returns the first component of every `crate::` path on a line.
fn named_modules(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let is_own_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String = code[at + "crate::".len()..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if is_own_word && !name.is_empty() {
            found.push(name);
        }
    }
    found
}

/// Says what is wrong with a file's form; `path` is relative to the repository.
fn form_problems(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        problems.push(format!("{path}: {lines} lines, more than {LINES_MAX}"));
    }
    if !text.starts_with("//!") {
        problems.push(format!("{path}: does not begin with `//!`"));
    }
    for (index, line) in text.lines().enumerate() {
        let code = code_of(line).trim_start();
        let is_use = code.starts_with("use ") || code.starts_with("pub") && code.contains(" use ");
        if is_use && code.contains("crate::") && code.contains('{') {
            problems.push(format!("{path}:{}: one `use` a line", index + 1));
        }
    }
    problems
}

/// Says which modules a file of `src` names that it must not know.
fn floor_problems(path: &str, text: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/");
    if inside == "lib.rs" || inside == "main.rs" {
        return Vec::new();
    }
    let module = inside.split(['/', '.']).next().unwrap_or_default();
    let Some(own) = floor_of(module) else {
        return vec![format!("{path}: module `{module}` has no floor")];
    };
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = code_of(line);
        let place = format!("{path}:{}", index + 1);
        if code.contains("super::super::") {
            problems.push(format!(
                "{place}: `super::super::` hides which module is meant"
            ));
        }
        for named in named_modules(code) {
            let is_neighbour = NEIGHBOURS.contains(&(module, named.as_str()));
            match floor_of(&named) {
                _ if named == module || is_neighbour => {}
                Some(other) if other < own => {}
                Some(other) => problems.push(format!(
                    "{place}: `{module}` (floor {own}) names `{named}` (floor {other})"
                )),
                None => problems.push(format!("{place}: `{named}` has no floor")),
            }
        }
    }
    problems
}

/// Collects `(path, text)` of every Rust file below a folder of the repository.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![repository().join(folder)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(repository()).unwrap();
                found.push((name.display().to_string(), read(&path)));
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[track_caller]
fn expect_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_module_names_only_modules_on_lower_floors() {
    let sources = sources("src");
    assert!(
        sources.len() > 50,
        "only {} files were found",
        sources.len()
    );
    let problems: Vec<String> = sources
        .iter()
        .flat_map(|(path, text)| floor_problems(path, text))
        .collect();
    expect_none(&problems);
}

#[test]
fn every_file_is_short_says_what_it_is_for_and_names_one_thing_a_line() {
    let problems: Vec<String> = ["src", "tests"]
        .iter()
        .flat_map(|folder| sources(folder))
        .flat_map(|(path, text)| form_problems(&path, &text))
        .collect();
    expect_none(&problems);
}

#[test]
fn every_module_has_its_floor_here_and_in_the_documentation() {
    let text = read(&repository().join("src/lib.rs"));
    let docs: String = text
        .lines()
        .filter(|line| line.starts_with("//!"))
        .collect();
    let mut modules: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    for module in &modules {
        assert!(floor_of(module).is_some(), "`{module}` has no floor");
        assert!(
            docs.contains(&format!("`{module}`")),
            "`{module}` is undocumented"
        );
    }
    let mut known = FLOORS.concat();
    modules.sort_unstable();
    known.sort_unstable();
    assert_eq!(modules, known);
}

#[test]
fn the_floors_rule_sees_planted_violations() {
    let upward = [
        ("src/model/build.rs", "use crate::edge::fs;\n"),
        ("src/edge/fs.rs", "use crate::event::Event;\n"),
        ("src/sim/mod.rs", "use crate::lock::Leader;\n"),
        (
            "src/report/mod.rs",
            "    let x = crate::schedule::session::TICK;\n",
        ),
        ("src/plan/mod.rs", "pub(crate) use crate::build::ensure;\n"),
        ("src/cli/mod.rs", "use crate::commands::main;\n"),
        ("src/plan/mod.rs", "use super::super::build::ensure;\n"),
        ("src/novel/mod.rs", "use crate::model::build::Build;\n"),
        ("src/plan/mod.rs", "use crate::novel::Thing;\n"),
        ("src/schedule.rs", "fn f() -> Vec<crate::cli::Cli> {\n"),
    ];
    for (path, text) in upward {
        assert_eq!(floor_problems(path, text).len(), 1, "{path}: {text}");
    }
    let allowed = [
        ("src/edge/fs.rs", "use crate::diagnostic::Code;\n"),
        ("src/event/mod.rs", "use crate::diagnostic::Diagnostic;\n"),
        ("src/lock/mod.rs", "use crate::lock::record::Record;\n"),
        ("src/cli/mod.rs", "use crate::model::build::Simulator;\n"),
        ("src/sim/mod.rs", "/// See [`crate::build::ensure`].\n"),
        ("src/lib.rs", "pub use crate::commands::main;\n"),
    ];
    for (path, text) in allowed {
        expect_none(&floor_problems(path, text));
    }
}

#[test]
fn the_form_rule_sees_planted_violations() {
    let header = "//! Something.\n";
    let planted = [
        "use std::fmt;\n".to_owned(),
        format!("{header}use crate::{{model, edge}};\n"),
        format!("{header}use crate::model::{{Build, Seed}};\n"),
        format!("{header}pub(crate) use crate::model::{{Build, Seed}};\n"),
        header.repeat(LINES_MAX + 1),
    ];
    for text in planted {
        assert_eq!(form_problems("src/x.rs", &text).len(), 1, "{text}");
    }
    let fine = format!("{header}use crate::model::Build;\nuse std::io::{{self, Write}};\n");
    expect_none(&form_problems("src/x.rs", &fine));
    expect_none(&form_problems("src/x.rs", &header.repeat(LINES_MAX)));
}
