//! A test module that does not exist: where it was searched, and which name may have been meant.

use crate::config::suggest::closest;
use crate::edge::fs;

use camino::Utf8Path;

/// How many neighbours of a missing module are considered.
const NEIGHBOURS_MAX: usize = 10_000;

/// Returns a message and details to replace Python's, if those say that `module` itself, or a
/// package above it, does not exist.
///
/// `python_path` is the simulation's `PYTHONPATH`, which begins with the agent's own folder.
pub(super) fn in_words(
    module: &str,
    error_type: &str,
    message: &str,
    python_path: &str,
) -> Option<(String, String)> {
    let absent = message
        .strip_prefix("No module named '")?
        .split('\'')
        .next()?;
    let is_above = |rest: &str| rest.is_empty() || rest.starts_with('.');
    if error_type != "ModuleNotFoundError" || !module.strip_prefix(absent).is_some_and(is_above) {
        return None;
    }
    let folders: Vec<&Utf8Path> = python_path
        .split(':')
        .skip(1)
        .filter(|folder| !folder.is_empty())
        .map(Utf8Path::new)
        .collect();
    let near = similar_module(absent, &folders)
        .map(|near| format!("; did you mean `{near}`?"))
        .unwrap_or_default();
    let looked: Vec<String> = folders.iter().map(|folder| format!("`{folder}`")).collect();
    Some((
        format!("there is no Python module `{absent}`{near}"),
        format!(
            "looked in {} (`paths` and `PYTHONPATH`)\n\
             and among what is installed for the interpreter",
            looked.join(", ")
        ),
    ))
}

/// Returns the module next to the missing one whose name is similar.
fn similar_module(absent: &str, folders: &[&Utf8Path]) -> Option<String> {
    let (package, name) = absent.rsplit_once('.').unwrap_or(("", absent));
    let mut names: Vec<String> = folders
        .iter()
        .filter_map(|folder| fs::list(&folder.join(package.replace('.', "/"))).ok())
        .flatten()
        .take(NEIGHBOURS_MAX)
        .map(|file| file.strip_suffix(".py").map(str::to_owned).unwrap_or(file))
        .filter(|name| !name.contains('.') && !name.starts_with("__"))
        .collect();
    names.sort();
    let near = closest(name, names.iter().map(String::as_str))?;
    Some(match package {
        "" => near.to_owned(),
        package => format!("{package}.{near}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absent_module_or_a_package_above_it_gets_the_message() {
        let words = |module, message| in_words(module, "ModuleNotFoundError", message, "/agent:");
        assert!(words("test_a", "No module named 'test_a'").is_some());
        assert!(words("tests.a", "No module named 'tests'").is_some());
        assert!(words("tests.a", "No module named 'tests.a'").is_some());
        assert_eq!(words("test_a", "No module named 'numpy'"), None);
        assert_eq!(words("test_ab", "No module named 'test_a'"), None);
        assert_eq!(words("test_a", "it moved"), None);
    }
}
