//! Small workspaces with planted faults, to see that the checks look.

use super::arrows;
use super::arrows::Arrow;
use super::circles;
use super::expect_none;
use super::floors;
use super::form::LINES_MAX;
use super::form::form_problems;
use super::names;
use super::tree::Source;
use super::tree::Tree;

fn source(path: &str, text: &str) -> Source {
    Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

/// The sound part of every small workspace.
const SOUND: [(&str, &str); 9] = [
    (
        "src/lib.rs",
        "pub mod model;\npub mod plan;\npub mod schedule;\npub use cocorun_edge as edge;\n",
    ),
    ("src/main.rs", "fn main() { cocorun::schedule::start(); }\n"),
    ("src/model/mod.rs", "pub mod build;\n"),
    (
        "src/model/build.rs",
        "pub struct Build;\npub enum Kind { Fast }\n",
    ),
    ("src/plan/mod.rs", "mod pick;\npub use pick::Pick;\n"),
    (
        "src/plan/pick.rs",
        "use crate::model::build::Build;\npub struct Pick(Build);\n",
    ),
    (
        "src/schedule/mod.rs",
        "mod run;\npub(crate) use run::Run;\npub fn start() {}\n",
    ),
    (
        "src/schedule/run.rs",
        "use crate::plan::Pick;\nuse crate::edge::clock;\npub struct Run(Pick);\n\
         fn wait() { clock::wait(); }\n",
    ),
    ("crates/edge/src/lib.rs", "pub mod clock;\n"),
];

/// Parses the sound workspace with some files replaced or added.
fn planted(changes: &[(&str, &str)]) -> (Tree, Vec<Arrow>, Vec<String>) {
    let mut files = SOUND.to_vec();
    files.push(("crates/edge/src/clock.rs", "pub fn wait() {}\n"));
    for change in changes {
        files.retain(|(path, _)| *path != change.0);
        files.push(*change);
    }
    let sources = files.iter().map(|(path, text)| source(path, text));
    let tree = Tree::parse(sources.collect());
    let (arrows, lost) = arrows::arrows(&tree);
    (tree, arrows, lost)
}

fn circle_count(changes: &[(&str, &str)]) -> usize {
    let (_, arrows, lost) = planted(changes);
    expect_none(&lost);
    circles::circles(&arrows).len()
}

#[test]
fn arrows_lead_to_the_file_that_defines_what_is_used() {
    let (_, arrows, lost) = planted(&[]);
    expect_none(&lost);
    let found: Vec<(&str, &str)> = arrows
        .iter()
        .map(|arrow| (arrow.from.as_str(), arrow.to.as_str()))
        .collect();
    let mut expected = [
        ("src/main.rs", "src/schedule/mod.rs"),
        ("src/plan/pick.rs", "src/model/build.rs"),
        ("src/schedule/run.rs", "src/plan/pick.rs"),
        ("src/schedule/run.rs", "crates/edge/src/clock.rs"),
    ];
    let mut found = found;
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(circles::circles(&arrows).is_empty());
    expect_none(&floors::floor_problems(&arrows));
}

/// Lines in `src/plan/mod.rs`, where `pick.rs` uses what they define, that close a circle.
const CLOSING: [&str; 8] = [
    "use pick::Pick;\n",
    "use self::pick::Pick;\n",
    "use crate::plan::pick::Pick;\n",
    "use pick::*;\n",
    "pub use pick::Pick;\nfn f(_: Pick) {}\n",
    "fn f() { let _ = pick::make(); }\n",
    "fn f() { assert!(pick::make() == Vec::new()); }\n",
    "mod inside { fn f() -> super::pick::Pick { super::pick::make() } }\n",
];

#[test]
fn a_planted_circle_is_seen_however_it_is_written() {
    for uses in ["use super::Plan;\n", "use crate::plan::Plan;\n"] {
        let pick = format!("{uses}pub struct Pick(Plan);\npub fn make() -> Pick {{ loop {{}} }}\n");
        let count = |line: &str| {
            let plan = format!("mod pick;\npub struct Plan;\n{line}");
            circle_count(&[
                ("src/plan/mod.rs", &plan),
                ("src/plan/pick.rs", &pick),
                ("src/schedule/run.rs", "pub struct Run;\n"),
            ])
        };
        for line in CLOSING {
            assert_eq!(count(line), 1, "{line}");
        }
        for line in [
            "",
            "pub use pick::Pick;\n",
            "/// See [`pick::Pick`].\nfn f() {}\n",
            "const TEXT: &str = \"pick::make()\";\n",
            "#[cfg(test)]\nmod tests { use super::pick::Pick; }\n",
        ] {
            assert_eq!(count(line), 0, "{line}");
        }
    }
}

#[test]
fn a_planted_circle_of_three_files_is_one_circle_with_its_lines() {
    let changes = [
        ("src/plan/mod.rs", "mod a;\nmod b;\nmod c;\n"),
        ("src/plan/a.rs", "use super::b::B;\npub struct A(B);\n"),
        ("src/plan/b.rs", "use super::c::C;\npub struct B(C);\n"),
        ("src/plan/c.rs", "\nuse super::a::A;\npub struct C(A);\n"),
        ("src/schedule/run.rs", "pub struct Run;\n"),
    ];
    let files = SOUND.iter().filter(|(path, _)| *path == "src/plan/pick.rs");
    assert_eq!(files.count(), 1, "the planted workspace leaves it out");
    let mut files: Vec<Source> = SOUND
        .iter()
        .filter(|(path, _)| *path != "src/plan/pick.rs")
        .filter(|(path, _)| !changes.iter().any(|change| change.0 == *path))
        .map(|(path, text)| source(path, text))
        .collect();
    files.extend(changes.iter().map(|(path, text)| source(path, text)));
    files.push(source("crates/edge/src/clock.rs", ""));
    let (arrows, lost) = arrows::arrows(&Tree::parse(files));
    expect_none(&lost);
    let found = circles::circles(&arrows);
    let shown: Vec<String> = found
        .iter()
        .map(|circle| circles::shown(circle, &arrows))
        .collect();
    assert_eq!(
        shown,
        ["a circle of 3 files:\n  \
          src/plan/a.rs:1 uses src/plan/b.rs (`super::b::B`)\n  \
          src/plan/b.rs:1 uses src/plan/c.rs (`super::c::C`)\n  \
          src/plan/c.rs:2 uses src/plan/a.rs (`super::a::A`)"]
    );
}

#[test]
fn a_planted_upward_arrow_is_seen_however_it_is_written() {
    let upward = [
        ("src/model/build.rs", "use crate::plan::Pick;\n"),
        ("src/model/build.rs", "use super::super::plan::Pick;\n"),
        ("src/model/build.rs", "use crate::edge::clock;\n"),
        ("src/model/build.rs", "use cocorun_edge::clock::wait;\n"),
        (
            "src/model/build.rs",
            "fn f() { crate::schedule::start() }\n",
        ),
        (
            "src/model/build.rs",
            "fn f() { assert!(crate::plan::Pick) }\n",
        ),
        (
            "src/plan/pick.rs",
            "#[cfg(test)]\nuse crate::schedule::start;\n",
        ),
        (
            "src/plan/pick.rs",
            "#[with(crate::schedule::start)]\nfn f() {}\n",
        ),
    ];
    for (path, text) in upward {
        let whole = format!("{text}pub struct Build;\npub struct Pick;\n");
        let (_, arrows, lost) = planted(&[(path, &whole)]);
        expect_none(&lost);
        let problems = floors::floor_problems(&arrows);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].contains(path), "{problems:?}");
    }
    let novel = [
        (
            "src/lib.rs",
            "mod model;\nmod plan;\nmod schedule;\nmod novel;\n",
        ),
        ("src/novel.rs", "use crate::model::build::Build;\n"),
        ("src/main.rs", "fn main() {}\n"),
        ("src/schedule/run.rs", "pub struct Run;\n"),
    ];
    let (_, arrows, _) = planted(&novel);
    let problems = floors::floor_problems(&arrows);
    assert!(problems[0].contains("`novel` has no floor"), "{problems:?}");
}

#[test]
fn a_planted_path_through_two_parents_is_seen() {
    let line = "use super::super::plan::Pick;\npub struct Build;\n";
    let (tree, _, _) = planted(&[("src/model/build.rs", line)]);
    let problems = arrows::hidden_paths(&tree);
    assert_eq!(
        problems,
        ["src/model/build.rs:1: super::super::plan::Pick: write `crate::…`"]
    );
    assert!(arrows::hidden_paths(&planted(&[]).0).is_empty());
}

#[test]
fn a_path_that_cannot_be_resolved_is_reported() {
    let line = "use crate::model::build::Gone;\npub struct Pick;\n";
    let (_, _, lost) = planted(&[("src/plan/pick.rs", line)]);
    assert_eq!(lost, ["src/plan/pick.rs:1: crate::model::build::Gone"]);
}

#[test]
fn a_file_that_no_module_declares_is_reported() {
    let (tree, _, _) = planted(&[("src/plan/unused.rs", "")]);
    assert_eq!(tree.orphans, ["src/plan/unused.rs"]);
}

#[test]
fn a_planted_second_type_of_one_name_is_seen() {
    let (tree, _, _) = planted(&[]);
    assert!(names::ambiguous_names(&tree.types).is_empty());
    let private = "struct Build;\n#[cfg(test)]\npub struct Pick;\npub fn wait() {}\n";
    let (tree, _, _) = planted(&[("crates/edge/src/clock.rs", private)]);
    assert!(names::ambiguous_names(&tree.types).is_empty());
    let shared = "pub fn wait() {}\npub(crate) enum Build {}\n";
    let (tree, _, _) = planted(&[("crates/edge/src/clock.rs", shared)]);
    let ambiguous = names::ambiguous_names(&tree.types);
    let places = ["src/model/build.rs:1", "crates/edge/src/clock.rs:2"];
    let places_of_build = &ambiguous["Build"];
    assert!(places.iter().all(|place| places_of_build.contains(place)));
    assert_eq!(ambiguous.len(), 1, "{ambiguous:?}");
}

#[test]
fn a_planted_fault_of_form_is_seen() {
    let header = "//! Something.\n";
    let faulty = [
        "use std::fmt;\n".to_owned(),
        format!("{header}use crate::{{model, edge}};\n"),
        format!("{header}use crate::model::{{Build, Seed}};\n"),
        format!("{header}pub(crate) use crate::model::{{Build, Seed}};\n"),
        format!("{header}use cocorun_edge::{{clock, fs}};\n"),
        format!("{header}use super::{{clock, fs}};\n"),
        header.repeat(LINES_MAX + 1),
    ];
    for text in faulty {
        let problems = form_problems(&source("src/x.rs", &text));
        assert_eq!(problems.len(), 1, "{text}");
    }
    let fine = format!("{header}use crate::model::Build;\nuse std::io::{{self, Write}};\n");
    expect_none(&form_problems(&source("src/x.rs", &fine)));
    expect_none(&form_problems(&source(
        "src/x.rs",
        &header.repeat(LINES_MAX),
    )));
}
