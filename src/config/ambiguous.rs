//! Names that `import` finds more than once in the folders of a `[[test]]`.
//!
//! Python takes one of them and does not mention the others, so a folder could run the testbench of
//! its neighbour. Links to one file are one module.

use crate::config::files::Files;
use crate::edge::fs;
use crate::edge::fs::DirEntry;
use crate::edge::fs::EntryKind;
use crate::model::test::ImportPath;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;

/// How deep packages are compared that lie in several folders; links may form a cycle.
const LEVELS_MAX: usize = 8;

/// What follows the name of a module that is not an extension; bytecode does without its source.
const SUFFIXES: [&str; 2] = ["py", "pyc"];
/// What makes a folder a package of its own.
const INITIAL_FILES: [&str; 2] = ["__init__.py", "__init__.pyc"];

/// The files of each ambiguous name, written as `import` does, in the order of the folders.
pub(super) type Ambiguous = BTreeMap<String, Vec<Utf8PathBuf>>;

/// What a name stands for in some folders.
#[derive(Default)]
struct Named {
    /// Files that are modules.
    files: Vec<Utf8PathBuf>,
    /// Folders, which are packages, or parts of one.
    dirs: Vec<Utf8PathBuf>,
}

/// Finds the ambiguous names in folders; what cannot be read has no names.
pub(super) fn find(files: &Files<'_>, folders: &[Utf8PathBuf]) -> Ambiguous {
    let mut found = Ambiguous::new();
    search(files, folders, "", LEVELS_MAX, &mut found);
    found
}

/// Returns what makes a module ambiguous, with its files: its own name, or that of a package above
/// it.
pub(super) fn of_module(
    files: &Files<'_>,
    import_path: &ImportPath,
    module: &str,
) -> Option<(String, Vec<Utf8PathBuf>)> {
    let dots = module.match_indices('.').map(|(at, _)| at);
    let mut ends = dots.chain([module.len()]);
    ends.find_map(|end| import_path.ambiguous.get_key_value(&module[..end]))
        .map(|(name, files)| (name.clone(), files.clone()))
        .or_else(|| in_its_package(files, &import_path.folders, module))
}

/// Finds a package and a file of one name next to each other, in a package that is in one folder.
fn in_its_package(
    files: &Files<'_>,
    folders: &[Utf8PathBuf],
    module: &str,
) -> Option<(String, Vec<Utf8PathBuf>)> {
    let (package, _) = module.rsplit_once('.')?;
    let mut found = Ambiguous::new();
    for folder in folders {
        let folder = folder.join(package.replace('.', "/"));
        search(files, &[folder], &format!("{package}."), 1, &mut found);
    }
    found.remove_entry(module)
}

fn search(
    files: &Files<'_>,
    folders: &[Utf8PathBuf],
    prefix: &str,
    levels: usize,
    found: &mut Ambiguous,
) {
    let mut by_name: BTreeMap<String, Named> = BTreeMap::new();
    for folder in folders {
        for entry in files.list(folder).iter().flatten() {
            take(entry, folder, &mut by_name);
        }
    }
    for (name, mut named) in by_name {
        if named.files.len() + named.dirs.len() < 2 {
            continue;
        }
        named.dirs.retain(|dir| !files.is_build_dir(dir));
        let initial = |dir: &Utf8PathBuf| {
            let mut files = INITIAL_FILES.iter().map(|name| dir.join(name));
            files.find(|file| fs::exists(file))
        };
        let mut modules: Vec<Utf8PathBuf> = named.dirs.iter().filter_map(initial).collect();
        modules.extend(named.files);
        let modules = distinct(modules);
        let dirs = distinct(named.dirs);
        let full = format!("{prefix}{name}");
        if modules.len() > 1 {
            let order = |file: &Utf8PathBuf| folders.iter().position(|it| file.starts_with(it));
            let mut modules = modules;
            modules.sort_by_key(order);
            found.insert(full, modules);
        } else if dirs.len() > 1 && levels > 1 {
            search(files, &dirs, &format!("{full}."), levels - 1, found);
        }
    }
}

/// Notes what an entry of a folder can be imported as.
fn take(entry: &DirEntry, folder: &Utf8Path, by_name: &mut BTreeMap<String, Named>) {
    let (name, rest) = match entry.name.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (entry.name.as_str(), None),
    };
    let importable = |c: char| c.is_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with("__") || !name.chars().all(importable) {
        return;
    }
    let path = folder.join(&entry.name);
    let is_code = |rest: &str| rest.rsplit('.').next() == Some("so") || SUFFIXES.contains(&rest);
    match rest {
        None if matches!(entry.kind, EntryKind::Dir | EntryKind::Link) => {
            by_name.entry(name.to_owned()).or_default().dirs.push(path);
        }
        Some(rest) if is_code(rest) => {
            let named = by_name.entry(name.to_owned()).or_default();
            // A compiled module and its source are one.
            if named.files.last().and_then(|it| it.parent()) != Some(folder) {
                named.files.push(path);
            }
        }
        _ => {}
    }
}

/// Leaves one path of several that lead to one file.
fn distinct(paths: Vec<Utf8PathBuf>) -> Vec<Utf8PathBuf> {
    let mut known = Vec::new();
    let mut kept = Vec::new();
    for path in paths {
        let real = fs::real_path(&path).unwrap_or_else(|_| path.clone());
        if !known.contains(&real) {
            known.push(real);
            kept.push(path);
        }
    }
    kept
}
