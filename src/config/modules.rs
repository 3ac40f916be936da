//! Names of Python test modules, and patterns for them.
//!
//! A name is taken as it is, since the module may be installed; a pattern is resolved to the files
//! and packages in the folders of `paths`.

use crate::config::document::Unplaced;
use crate::config::file_list::folder_of;
use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::config::files::join;
use crate::config::files::without_parents;
use crate::config::name_glob::NameGlob;
use crate::config::suggest::closest;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeSet;

/// Returns the modules that a name or pattern selects, sorted; never empty.
///
/// # Errors
/// The problem, without a position.
pub(super) fn resolve(
    files: &Files<'_>,
    paths: &[Utf8PathBuf],
    text: &str,
) -> Unplaced<Vec<String>> {
    if !NameGlob::is_pattern(text) {
        check_name(files, paths, text)?;
        return Ok(vec![text.to_owned()]);
    }
    let refuse = |message: String| Diagnostic::error(Code::ConfigBadValue, message);
    if is_path(text) {
        let help = instead_of_path(files, paths, text);
        return Err(refuse(format!("`{text}` is a path, not a module pattern"))
            .help(help)
            .into());
    }
    if text.split('.').any(str::is_empty) {
        return Err(refuse(format!("`{text}` has an empty part between its dots")).into());
    }
    let mut modules = BTreeSet::new();
    let slashed = text.replace('.', "/");
    for path in paths {
        for file in files.glob(path, &format!("{slashed}.py"), PathKind::File)? {
            // A package's own file; `tests.*` asks for what is in the package.
            if file.file_name() != Some("__init__.py") {
                modules.insert(module_of(path, &file, ".py", text)?);
            }
        }
        for file in files.glob(path, &format!("{slashed}/__init__.py"), PathKind::File)? {
            modules.insert(module_of(path, &file, "/__init__.py", text)?);
        }
    }
    if modules.is_empty() {
        let problem = Diagnostic::error(
            Code::ConfigEmptyGlob,
            format!("`{text}` matches no Python module"),
        );
        if let Some(meant) = near_pattern(files, paths, text) {
            return Err(problem.help(format!("did you mean `{meant}`?")).into());
        }
        let places: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
        return Err(problem
            .fact(format!("looked in {} (`paths`)", places.join(", ")))
            .into());
    }
    Ok(modules.into_iter().collect())
}

/// Returns the pattern that is probably meant by one that matches nothing: with the beginning of a
/// module's name instead of the part before its first wildcard.
fn near_pattern(files: &Files<'_>, paths: &[Utf8PathBuf], pattern: &str) -> Option<String> {
    let fixed = pattern.find(['*', '?', '[', '{'])?;
    let (fixed, open) = pattern.split_at(fixed);
    let (package, start) = match fixed.rsplit_once('.') {
        Some((package, start)) => (format!("{package}."), start),
        None => (String::new(), fixed),
    };
    let length = start.chars().count();
    let names = modules_in(files, paths, &package);
    let starts: BTreeSet<String> = names
        .iter()
        .map(|name| name.chars().take(length).collect())
        .collect();
    let meant = closest(start, starts.iter().map(String::as_str))?;
    let glob = NameGlob::new(&format!("{meant}{open}")).ok()?;
    let is_there = names.iter().any(|name| glob.is_match(name));
    is_there.then(|| format!("{package}{meant}{open}"))
}

/// Returns the names of modules in a package, which is empty or ends in `.`.
fn modules_in(files: &Files<'_>, paths: &[Utf8PathBuf], package: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in paths {
        let folder = path.join(package.replace('.', "/"));
        let listing = files.list(&folder);
        for entry in listing.iter().flatten() {
            let file = entry.name.strip_suffix(".py");
            let is_package =
                || fs::exists(&folder.join(&entry.name).join("__init__.py")) && file.is_none();
            let name = file.or_else(|| is_package().then_some(entry.name.as_str()));
            let name = name.filter(|name| !name.starts_with("__"));
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

/// Turns a file into the name it is imported by.
fn module_of(path: &Utf8Path, file: &Utf8Path, suffix: &str, pattern: &str) -> Unplaced<String> {
    let relative = file.strip_prefix(path).unwrap_or(file).as_str();
    let stem = relative.strip_suffix(suffix).unwrap_or(relative);
    let importable = |part: &str| !part.is_empty() && !part.contains(['.', ',', ' ', '\t']);
    if stem.split('/').all(importable) {
        return Ok(stem.replace('/', "."));
    }
    Err(Diagnostic::error(
        Code::ConfigBadValue,
        format!("`{pattern}` matches `{relative}`, which `import` cannot name"),
    )
    .help("rename the file, or narrow the pattern")
    .into())
}

fn check_name(files: &Files<'_>, paths: &[Utf8PathBuf], text: &str) -> Unplaced<()> {
    let problem = Diagnostic::error(
        Code::ConfigBadValue,
        format!("`{text}` is not a module name that `import` accepts"),
    );
    if is_path(text) {
        return Err(problem.help(instead_of_path(files, paths, text)).into());
    }
    let part_is_fit = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_alphanumeric() || "_-".contains(c))
    };
    if text.split('.').all(part_is_fit) {
        Ok(())
    } else {
        Err(problem.into())
    }
}

/// Says whether a file was named instead of a module.
fn is_path(text: &str) -> bool {
    text.contains('/') || Utf8Path::new(text).extension() == Some("py")
}

/// Says what to write instead of a path or a pattern of paths, which may be relative to the project or
/// to a folder of `paths`.
fn instead_of_path(files: &Files<'_>, paths: &[Utf8PathBuf], text: &str) -> String {
    let whole = without_parents(&join(files.project_dir, text));
    let folder = folder_of(&whole);
    let is_of_project = folder != files.project_dir && fs::exists(folder);
    let below = paths
        .iter()
        .filter_map(|path| whole.strip_prefix(path).ok());
    let shortest = below.min_by_key(|below| below.components().count());
    let name = |path: &Utf8Path| dotted(path.as_str());
    match shortest {
        _ if !is_of_project => format!("write `{}`", dotted(text)),
        Some(below) => format!("write `{}`", name(below)),
        None => {
            let module = whole.file_name().unwrap_or_default();
            let folder = folder.strip_prefix(files.project_dir).unwrap_or(folder);
            format!(
                "write `{}`, and `paths = [\"{folder}\"]` in this `[[test]]`",
                name(module.into())
            )
        }
    }
}

/// Turns a path into the module's name.
fn dotted(path: &str) -> String {
    path.trim_start_matches("./")
        .trim_end_matches(".py")
        .trim_matches('/')
        .replace('/', ".")
}
