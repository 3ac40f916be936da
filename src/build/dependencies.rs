//! Reads the compilers' own dependency lists; names are then relative to the project.
//!
//! Invariant: `..` in a name relative to another folder is resolved before the name is compared with
//! a folder. `OUT/cpp/../../../hdl/a.h` starts with `OUT`, but is a file of the project.

use crate::edge::fs;
use crate::sim::dependencies::read_lines;
use crate::sim::dependencies::read_make_rule;
use crate::sim::recipe::BuildDirs;
use crate::sim::recipe::Dependencies;
use crate::sim::recipe::Recipe;

use camino::Utf8Component;
use camino::Utf8Path;
use camino::Utf8PathBuf;

/// Reads the dependency lists of a recipe; names are absolute or relative to the project. Some may
/// be files that the commands generated.
pub(super) fn read_dependencies(recipe: &Recipe, dirs: BuildDirs<'_>) -> Vec<String> {
    let read = |path: &Utf8Path| fs::read_if_there(&dirs.output.join(path)).unwrap_or_default();
    let is_listed = |path: &Utf8Path| {
        let mut lists = recipe.dependencies.iter();
        lists.any(|list| matches!(list, Dependencies::MakeRule(other) if other == path))
    };
    let read_list = |list: &Dependencies| match list {
        Dependencies::Lines(path) => read_lines(&read(path)),
        Dependencies::MakeRule(path) => read_make_rule(&read(path)),
        Dependencies::MakeRulesIn(dir) => make_rules_in(&dirs.output.join(dir))
            .iter()
            .map(|name| dir.join(name))
            // A list with its own entry has names relative to the project.
            .filter(|path| !is_listed(path))
            .flat_map(|path| read_make_rule(&read(&path)))
            .filter_map(|name| from_project(&name, &dirs.output.join(dir), dirs))
            .collect(),
    };
    recipe.dependencies.iter().flat_map(read_list).collect()
}

/// Returns the names of the `*.d` files that a C++ compiler wrote; they list headers of the user's
/// own C++.
fn make_rules_in(dir: &Utf8Path) -> Vec<String> {
    let mut names = fs::list(dir).unwrap_or_default();
    names.retain(|name| Utf8Path::new(name).extension() == Some("d"));
    names
}

/// Makes a name relative to `dir` relative to the project; `None` if the file is in the output
/// directory. Absolute names are returned unchanged.
///
/// The result is relative even for a file outside the project: another checkout that shares the
/// build has its own copy of it.
fn from_project(name: &str, dir: &Utf8Path, dirs: BuildDirs<'_>) -> Option<String> {
    let path = Utf8Path::new(name);
    if path.is_absolute() {
        return Some(name.to_owned());
    }
    let path = without_parents(&dir.join(path));
    if path.starts_with(dirs.output) || path.starts_with(real(dirs.output)) {
        return None;
    }
    Some(relative(&path, &real(dirs.project)).to_string())
}

/// Resolves every `..` as the kernel does, or lexically if the folder does not exist. Links after the
/// last `..` are kept: if a link to a header changes, so does what the compiler reads.
pub(super) fn without_parents(path: &Utf8Path) -> Utf8PathBuf {
    let mut plain = Utf8PathBuf::new();
    let mut is_real = false;
    for component in path.components() {
        if component == Utf8Component::ParentDir {
            if !is_real {
                plain = real(&plain);
                is_real = true;
            }
            plain.pop();
        } else {
            plain.push(component);
            is_real = false;
        }
    }
    plain
}

fn real(path: &Utf8Path) -> Utf8PathBuf {
    fs::real_path(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns an absolute path relative to an absolute folder, with leading `..` if it is not below it.
fn relative(path: &Utf8Path, dir: &Utf8Path) -> Utf8PathBuf {
    let mut up = Utf8PathBuf::new();
    for ancestor in dir.ancestors() {
        if let Ok(rest) = path.strip_prefix(ancestor) {
            return up.join(rest);
        }
        up.push("..");
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_relative_to_the_output_directory_are_resolved_and_generated_files_are_left_out()
    -> Result<(), Box<dyn std::error::Error>> {
        let temporary = tempfile::tempdir()?;
        let root = Utf8Path::from_path(temporary.path()).ok_or("a UTF-8 path")?;
        // The build directory is a link to another disk; `..` starts from the real one.
        fs::create_dirs(&root.join("home/p/hdl"))?;
        fs::create_dirs(&root.join("disk/one/out/cpp"))?;
        symlink(root.join("disk/one"), root.join("home/p/sim_build"))?;
        fs::write(&root.join("home/p/hdl/a.h"), "")?;
        let project = root.join("home/p");
        let output = project.join("sim_build/out");
        let dirs = BuildDirs {
            output: &output,
            project: &project,
            steps: &BTreeMap::new(),
        };
        let named = |name: &str| from_project(name, &output.join("cpp"), dirs);
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(named("../../../../home/p/hdl/a.h"), is("hdl/a.h"));
        assert_eq!(named("../../../../home/shared/b.h"), is("../shared/b.h"));
        assert_eq!(named("/opt/include/c.h"), is("/opt/include/c.h"));
        assert_eq!(named("Vtop.h"), None);
        assert_eq!(named("../cpp/Vtop.h"), None);
        Ok(())
    }

    #[test]
    fn a_link_to_a_header_is_recorded_and_not_its_target() -> Result<(), Box<dyn std::error::Error>>
    {
        let temporary = tempfile::tempdir()?;
        let root = Utf8Path::from_path(temporary.path()).ok_or("a UTF-8 path")?;
        fs::create_dirs(&root.join("out/cpp"))?;
        fs::write(&root.join("a_v1.h"), "")?;
        symlink("a_v1.h", root.join("a.h"))?;
        let output = root.join("out");
        let dirs = BuildDirs {
            output: &output,
            project: root,
            steps: &BTreeMap::new(),
        };
        let named = from_project("../../a.h", &output.join("cpp"), dirs);
        assert_eq!(named.as_deref(), Some("a.h"));
        Ok(())
    }
}
