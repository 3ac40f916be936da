//! The tiers of tests: what `cargo test` runs anywhere, and what `tests/run` adds.
//!
//! A target of tests is in the unit tier unless its manifest says `test = false`; then it is in the
//! full tier, which `tests/run` runs because it names all targets. So a test cannot be left out of
//! both, as long as each file of tests belongs to a target. `tests/run` counts them as well.

use std::fs;
use std::io::Write as _;

use super::repository;
use super::sources_below;
use super::tree::Source;
use super::tree::Tree;

/// Targets of the full tier, and what they need.
const FULL_TIER: [(&str, &str); 2] = [
    (
        "it",
        "simulators, Python environments with cocotb, virtual machines",
    ),
    ("faultfs", "root and FUSE"),
];
/// What selects every target there is.
const ALL_TARGETS: &str = "(--workspace --lib --bins --examples --test '*')";

/// Returns the folders of all packages, relative to the repository.
fn packages() -> Vec<String> {
    let crates = fs::read_dir(repository().join("crates")).unwrap();
    let mut found: Vec<String> = crates
        .map(|entry| format!("crates/{}", entry.unwrap().file_name().display()))
        .collect();
    found.sort();
    found.insert(0, ".".to_owned());
    found
}

fn manifest(package: &str) -> toml::Table {
    let path = repository().join(package).join("Cargo.toml");
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// Returns what may keep a test from being run, of one manifest.
fn manifest_problems(package: &str, manifest: &toml::Table, full_tier: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    let package_keys = manifest.get("package").and_then(toml::Value::as_table);
    if package_keys.is_some_and(|keys| keys.contains_key("autotests")) {
        problems.push(format!("{package}: `autotests` hides targets"));
    }
    let tables = ["lib", "bin", "test"].into_iter().flat_map(|kind| {
        let tables = match manifest.get(kind) {
            Some(toml::Value::Array(tables)) => tables.clone(),
            Some(table) => vec![table.clone()],
            None => Vec::new(),
        };
        tables.into_iter().map(move |table| (kind, table))
    });
    for (kind, table) in tables {
        let name = table.get("name").and_then(toml::Value::as_str);
        let name = name.unwrap_or(kind);
        let is_left_out = table.get("test").and_then(toml::Value::as_bool) == Some(false);
        let is_full = kind == "test" && full_tier.contains(&name);
        if is_left_out != is_full {
            problems.push(format!("{package}: `{name}` and FULL_TIER disagree"));
        }
        for key in ["required-features", "harness"] {
            if table.get(key).is_some() {
                problems.push(format!("{package}: `{key}` of `{name}` hides tests"));
            }
        }
    }
    problems
}

/// Returns the roots and all files of the targets of integration tests.
fn test_sources() -> (Vec<String>, Vec<Source>) {
    let mut sources = sources_below("tests");
    sources.extend(
        sources_below("crates")
            .into_iter()
            .filter(|source| source.path.split('/').nth(2) == Some("tests")),
    );
    let is_root = |path: &str| {
        let (_, inside) = path.split_once("tests/").unwrap();
        match inside.split_once('/') {
            None => true,
            Some((_, rest)) => rest == "main.rs",
        }
    };
    let paths = sources.iter().map(|source| source.path.clone());
    let roots = paths.filter(|path| is_root(path)).collect();
    (roots, sources)
}

#[test]
fn every_target_of_tests_is_run_by_a_tier() {
    let full_tier: Vec<&str> = FULL_TIER.iter().map(|(name, _)| *name).collect();
    let mut named = 0;
    for package in packages() {
        let manifest = manifest(&package);
        let problems = manifest_problems(&package, &manifest, &full_tier);
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
        let workspace = manifest.get("workspace").and_then(toml::Value::as_table);
        if let Some(members) = workspace.and_then(|keys| keys.get("default-members")) {
            let members = members.clone().try_into::<Vec<String>>().unwrap();
            assert_eq!(members, packages(), "`cargo test` leaves out a package");
        }
        let tests = manifest.get("test").and_then(toml::Value::as_array);
        named += tests.map_or(0, |tests| {
            let is_full = |test: &&toml::Value| test.get("test").is_some();
            tests.iter().filter(is_full).count()
        });
    }
    assert_eq!(named, full_tier.len(), "FULL_TIER names what is not there");
    let script = fs::read_to_string(repository().join("tests/run")).unwrap();
    assert!(script.contains(ALL_TARGETS), "tests/run: {ALL_TARGETS}");
}

#[test]
fn every_file_of_tests_belongs_to_a_target() {
    let (roots, sources) = test_sources();
    assert!(roots.len() >= FULL_TIER.len(), "{roots:?}");
    let tree = Tree::parse_roots(sources, |path| {
        let is_root = roots.iter().any(|root| root == path);
        is_root.then(|| path.to_owned())
    });
    assert!(tree.orphans.is_empty(), "no `mod` for {:?}", tree.orphans);
}

#[test]
fn the_unit_tier_says_what_the_full_tier_adds() {
    let (_, sources) = test_sources();
    let mut lines = vec!["\nThis is the unit tier. `tests/run` adds:".to_owned()];
    for (name, needs) in FULL_TIER {
        let folder = format!("tests/{name}/");
        let count = sources
            .iter()
            .filter(|source| source.path.contains(&folder))
            .flat_map(|source| source.text.lines())
            .filter(|line| line.trim() == "#[test]")
            .count();
        assert!(count > 0, "{name} has no test");
        lines.push(format!(
            "  {count:>4} tests of `{name}`, which need {needs}"
        ));
    }
    lines.push("and `tests/run --lab` those that are ignored. See CONTRIBUTING.md.\n\n".to_owned());
    // Past the capture of the test harness.
    let text = lines.join("\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

#[test]
fn what_hides_tests_is_seen() {
    let hiding = [
        "[[test]]\nname = 'novel'\ntest = false\n",
        "[[test]]\nname = 'it'\n",
        "[[test]]\nname = 'novel'\nrequired-features = ['novel']\n",
        "[[test]]\nname = 'novel'\nharness = false\n",
        "[lib]\ntest = false\n",
        "[package]\nautotests = false\n",
    ];
    for text in hiding {
        let problems = manifest_problems(".", &text.parse().unwrap(), &["it"]);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    }
    let fine = "[[test]]\nname = 'it'\ntest = false\n[[test]]\nname = 'unit'\n[lib]\n";
    let problems = manifest_problems(".", &fine.parse().unwrap(), &["it"]);
    assert!(problems.is_empty(), "{problems:?}");
}
