//! The architecture, read from the sources of `src` and `crates` themselves.
//!
//! - A module uses only modules on lower floors, so that what is above can be replaced without
//!   being looked at.
//! - No files use one another in a circle, so that each can be read, tested and replaced alone.
//! - One type name means one thing.
//! - A file is short, says what it is for, and has one `use` a line.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, and reads files itself"
)]

mod arrows;
mod circles;
mod docs;
mod floors;
mod form;
mod names;
mod planted;
mod surroundings;
mod tiers;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use arrows::Arrow;
use tree::Source;
use tree::Tree;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Collects every Rust file below a folder of the repository; none if there is no such folder.
fn sources_below(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![repository().join(folder)];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            assert!(!dir.exists(), "cannot read {}", dir.display());
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(repository()).unwrap();
                found.push(Source {
                    path: name.display().to_string(),
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Returns the files of `src` and of each `crates/*/src`.
fn workspace_sources() -> Vec<Source> {
    let mut all = sources_below("src");
    all.extend(
        sources_below("crates")
            .into_iter()
            .filter(|source| source.path.split('/').nth(2) == Some("src")),
    );
    all
}

/// The workspace, parsed once for all tests, with its arrows and unresolved paths.
static WORKSPACE: LazyLock<(Tree, Vec<Arrow>, Vec<String>)> = LazyLock::new(|| {
    let tree = Tree::parse(workspace_sources());
    let (arrows, lost) = arrows::arrows(&tree);
    (tree, arrows, lost)
});

fn workspace() -> (&'static Tree, &'static [Arrow]) {
    let (tree, arrows, lost) = &*WORKSPACE;
    expect_none(lost);
    assert!(tree.orphans.is_empty(), "no `mod` for {:?}", tree.orphans);
    (tree, arrows)
}

#[track_caller]
fn expect_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_module_uses_only_modules_on_lower_floors() {
    let (_, arrows) = workspace();
    expect_none(&floors::floor_problems(arrows));
}

#[test]
fn no_path_hides_which_module_it_means() {
    let (tree, _) = workspace();
    expect_none(&arrows::hidden_paths(tree));
}

#[test]
fn no_files_use_one_another_in_a_circle() {
    let (tree, arrows) = workspace();
    let circles = circles::circles(arrows);
    let counts = format!(
        "architecture: {} files, {} arrows, {} circles\n",
        tree.sources.len(),
        arrows.iter().filter(|arrow| !arrow.is_test).count(),
        circles.len()
    );
    // Past the capture of the test harness, so that every run of the tests shows it.
    std::io::stderr().write_all(counts.as_bytes()).unwrap();
    let problems: Vec<String> = circles
        .iter()
        .map(|circle| circles::shown(circle, arrows))
        .collect();
    expect_none(&problems);
}

/// Names that Rust's own usage gives to several types: each package has its own.
const CONVENTIONAL_NAMES: [&str; 1] = ["Result"];

#[test]
fn one_type_name_means_one_thing() {
    let (tree, _) = workspace();
    let ambiguous = names::ambiguous_names(&tree.types);
    let mut problems: Vec<String> = ambiguous
        .iter()
        .filter(|(name, _)| !CONVENTIONAL_NAMES.contains(name))
        .map(|(name, places)| format!("`{name}` is several types: {}", places.join(", ")))
        .collect();
    for name in CONVENTIONAL_NAMES {
        if !ambiguous.contains_key(name) {
            problems.push(format!(
                "`{name}` is one type now: delete it from CONVENTIONAL_NAMES"
            ));
        }
    }
    expect_none(&problems);
}

#[test]
fn every_file_is_short_says_what_it_is_for_and_has_one_use_a_line() {
    let problems: Vec<String> = ["src", "crates", "tests"]
        .iter()
        .flat_map(|folder| sources_below(folder))
        .flat_map(|source| form::form_problems(&source))
        .collect();
    expect_none(&problems);
}

#[test]
fn every_module_has_its_floor_here_and_in_the_documentation() {
    let text = fs::read_to_string(repository().join("src/lib.rs")).unwrap();
    let docs: String = text
        .lines()
        .filter(|line| line.starts_with("//!"))
        .collect();
    let page = fs::read_to_string(repository().join("docs/architecture.md")).unwrap();
    let sources = workspace_sources();
    let areas: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| floors::area_of(&source.path))
        .collect();
    assert!(areas.len() > 10, "only {areas:?} were found");
    for area in &areas {
        let quoted = format!("`{area}`");
        assert!(docs.contains(&quoted), "src/lib.rs does not name {quoted}");
        assert!(page.contains(&quoted), "docs/architecture.md: no {quoted}");
    }
    let known: BTreeSet<&str> = floors::FLOORS.concat().into_iter().collect();
    assert_eq!(areas, known);
}

#[test]
fn a_package_in_crates_is_called_after_its_folder() {
    for source in workspace_sources() {
        let Some((folder, _)) = source.path.split_once("/src/lib.rs") else {
            continue;
        };
        let manifest = fs::read_to_string(repository().join(folder).join("Cargo.toml")).unwrap();
        let name = folder.replace("crates/", "cocorun-");
        assert!(
            manifest.contains(&format!("\nname = \"{name}\"\n")),
            "{folder}: paths of this package cannot be resolved"
        );
    }
}
