//! A simulator is named in its own folder and in the registry, and nowhere else in the sources.

use std::fs;
use std::path::Path;

use crate::support::repository;

/// Names of simulators and of their programs, in lower case.
const NAMES: [&str; 5] = ["icarus", "iverilog", "verilated", "verilator", "vvp"];
/// What may name them: a simulator's own folder, the list of folders, and the registry.
const HOMES: [&str; 4] = [
    "src/sim/icarus/",
    "src/sim/verilator/",
    "src/sim/registry.rs",
    "src/sim/mod.rs",
];

/// Returns the lines of a file, with their numbers, that name a simulator.
///
/// What follows `#[cfg(test)]` is a test.
fn naming_lines(text: &str) -> Vec<(usize, &str)> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let names_one = |line: &str| {
        let lower = line.to_lowercase();
        let words = || lower.split(|c: char| !c.is_ascii_alphanumeric());
        NAMES.iter().any(|name| words().any(|word| word == *name))
    };
    let lines = code.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| names_one(line))
        .collect()
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || ["/expected.rs", "/fixture.rs"]
            .iter()
            .any(|it| path.ends_with(it))
}

fn files_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(repository()).unwrap();
                found.push(name.display().to_string());
            }
        }
    }
    found
}

#[test]
fn no_source_names_a_simulator_but_its_own_folder_and_the_registry() {
    let mut problems = Vec::new();
    let mut looked_at = 0;
    for folder in ["src", "crates"] {
        for path in files_below(&repository().join(folder)) {
            let extension = Path::new(&path).extension();
            let is_source = extension.is_some_and(|it| it == "rs" || it == "py");
            let is_home = HOMES.iter().any(|home| path.starts_with(home));
            if !is_source || is_home || is_test(&path) {
                continue;
            }
            looked_at += 1;
            let text = fs::read_to_string(repository().join(&path)).unwrap();
            let lines = naming_lines(&text).into_iter();
            problems.extend(lines.map(|(number, line)| format!("{path}:{number}: {line}")));
        }
    }
    assert!(looked_at > 100, "only {looked_at} files were looked at");
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_name_counts_in_code_and_comments_and_not_in_tests() {
    let text = "// As Verilator does.\nlet name = \"icarus\";\nlet verilators = 2;\n\
                #[cfg(test)]\nmod tests { const NAME: &str = \"vvp\"; }\n";
    let lines: Vec<usize> = naming_lines(text).into_iter().map(|it| it.0).collect();
    assert_eq!(lines, [1, 2]);
}
