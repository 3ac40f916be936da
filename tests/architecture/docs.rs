//! The documentation names files that exist.

use std::fs;
use std::path::Path;

use super::expect_none;
use super::repository;

/// Folders of this repository that no example in the documentation uses.
const OWN_FOLDERS: [&str; 3] = ["benches/", "crates/", "src/"];

/// Returns the pages of the documentation, relative to the repository.
fn pages() -> Vec<String> {
    let mut found = Vec::new();
    for folder in [".", "docs", "crates/lock"] {
        for entry in fs::read_dir(repository().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(repository()).unwrap();
                found.push(name.display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Returns the files that a page names, in backticks or as the targets of links, relative to the
/// repository or, in backticks, to the package that the page belongs to.
fn named_files(page: &str, text: &str) -> Vec<String> {
    let in_backticks = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| OWN_FOLDERS.iter().any(|own| word.starts_with(own)))
        .filter(|word| !word.contains([' ', '*', '<', '…']))
        .map(ToOwned::to_owned);
    let folder = Path::new(page).parent().unwrap();
    let linked = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .map(|target| folder.join(target).display().to_string());
    in_backticks.chain(linked).collect()
}

#[test]
fn the_documentation_names_files_that_exist() {
    let mut count = 0;
    let mut problems = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(repository().join(&page)).unwrap();
        for name in named_files(&page, &text) {
            count += 1;
            let here = repository().join(&page).with_file_name(&name);
            if !repository().join(&name).exists() && !here.exists() {
                problems.push(format!("{page}: `{name}` does not exist"));
            }
        }
    }
    assert!(count > 20, "only {count} names were found");
    expect_none(&problems);
}

#[test]
fn a_file_that_a_page_names_is_found() {
    let text = "See `src/gone.rs`, [page](gone.md#part), `src/*.rs`, `gone` and \
                [home](https://example.org/x.md).";
    assert_eq!(
        named_files("docs/page.md", text),
        ["src/gone.rs", "docs/gone.md"]
    );
}
