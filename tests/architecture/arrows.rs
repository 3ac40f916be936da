//! Resolves the paths that a file uses to the files that define what they name.
//!
//! A name that a module passes on with `use` belongs to the file that defines it. What cannot be
//! found is reported: a checker that overlooks paths would call anything free of circles.

use std::collections::BTreeMap;

use super::tree::Module;
use super::tree::PathUse;
use super::tree::Tree;

/// A chain of `use` that is longer goes round in a ring.
const DEPTH_MAX: usize = 32;

/// One file uses what another one defines; both are paths relative to the repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Whether only tests use it.
    pub(crate) is_test: bool,
    /// The first line of `from` that does.
    pub(crate) line: usize,
    /// The path as it is written there.
    pub(crate) path: String,
}

/// What a path leads to.
enum Target {
    Module(usize),
    /// Something that this file defines.
    Item(usize),
    /// A local variable, a type parameter, or another package.
    Elsewhere,
    /// A path into the workspace that leads nowhere.
    Lost,
}

/// Returns the arrows between files, one for each pair of files and each of code and tests, and the
/// paths that could not be resolved.
pub(crate) fn arrows(tree: &Tree) -> (Vec<Arrow>, Vec<String>) {
    let mut found = BTreeMap::new();
    let mut lost = Vec::new();
    for path_use in &tree.uses {
        let module = &tree.modules[path_use.module];
        let from = module.file;
        if let [word] = path_use.segments.as_slice()
            && !path_use.is_import
            && !module.passed_on.contains(word)
        {
            continue;
        }
        let to = match resolve(tree, path_use.module, &path_use.segments, 0) {
            Target::Module(module) => tree.modules[module].file,
            Target::Item(file) => file,
            Target::Elsewhere => continue,
            Target::Lost => {
                lost.push(place(tree, path_use));
                continue;
            }
        };
        if from != to {
            found
                .entry((from, to, path_use.is_test))
                .or_insert((path_use.line, path_use.segments.join("::")));
        }
    }
    let name = |file: usize| tree.sources[file].path.clone();
    let arrows = found
        .into_iter()
        .map(|((from, to, is_test), (line, path))| Arrow {
            from: name(from),
            to: name(to),
            is_test,
            line,
            path,
        })
        .collect();
    (arrows, lost)
}

/// Returns the paths that begin with `super::super::`, which hides which module is meant.
pub(crate) fn hidden_paths(tree: &Tree) -> Vec<String> {
    tree.uses
        .iter()
        .filter(|path_use| {
            path_use
                .segments
                .iter()
                .take_while(|it| *it == "super")
                .count()
                > 1
        })
        .map(|path_use| format!("{}: write `crate::…`", place(tree, path_use)))
        .collect()
}

fn place(tree: &Tree, path_use: &PathUse) -> String {
    let file = tree.modules[path_use.module].file;
    let path = &tree.sources[file].path;
    format!("{path}:{}: {}", path_use.line, path_use.segments.join("::"))
}

/// Resolves a path that stands in a module.
fn resolve(tree: &Tree, module: usize, path: &[String], depth: usize) -> Target {
    let Some((first, rest)) = path.split_first() else {
        return Target::Module(module);
    };
    let own = &tree.modules[module];
    match first.as_str() {
        "crate" => walk(tree, own.root, rest, depth),
        "self" => walk(tree, module, rest, depth),
        "super" => match (own.parent, rest) {
            (Some(parent), [next, ..]) if next == "super" => resolve(tree, parent, rest, depth),
            (Some(parent), _) => walk(tree, parent, rest, depth),
            (None, _) => Target::Lost,
        },
        name if is_known(own, name) => walk(tree, module, path, depth),
        name => match tree.crates.get(name) {
            Some(root) => walk(tree, *root, rest, depth),
            None => through_globs(tree, module, path, depth).unwrap_or(Target::Elsewhere),
        },
    }
}

fn is_known(module: &Module, name: &str) -> bool {
    module.children.contains_key(name)
        || module.items.contains(name)
        || module.imports.contains_key(name)
}

/// Follows a path downwards from a module.
fn walk(tree: &Tree, module: usize, path: &[String], depth: usize) -> Target {
    let Some((name, rest)) = path.split_first() else {
        return Target::Module(module);
    };
    let own = &tree.modules[module];
    if own.items.contains(name) && (rest.is_empty() || !own.children.contains_key(name)) {
        return Target::Item(own.file);
    }
    if let Some(child) = own.children.get(name) {
        return walk(tree, *child, rest, depth);
    }
    if let Some(import) = own.imports.get(name) {
        // `use x::y as z` where `x` is another package leads back here under the same name.
        if depth == DEPTH_MAX || import.first() == Some(name) && !tree.crates.contains_key(name) {
            return Target::Elsewhere;
        }
        return resolve(tree, module, &[import, rest].concat(), depth + 1);
    }
    through_globs(tree, module, path, depth).unwrap_or(Target::Lost)
}

/// Follows a path through `use …::*`.
fn through_globs(tree: &Tree, module: usize, path: &[String], depth: usize) -> Option<Target> {
    if depth == DEPTH_MAX {
        return None;
    }
    tree.modules[module].globs.iter().find_map(|glob| {
        let Target::Module(inside) = resolve(tree, module, glob, depth + 1) else {
            return None;
        };
        let own = &tree.modules[inside];
        (inside != module && is_known(own, &path[0])).then(|| walk(tree, inside, path, depth + 1))
    })
}
