//! Files that did not exist: a new file earlier on the search path hides the one that was read.
//!
//! A compiler lists the files it has read, not the places where it found nothing. So for every file
//! found by searching, the paths that would have taken precedence are recorded as absent. Recording
//! too many costs a needless compile at worst: the compiler need not have looked for each of them.

use crate::edge::fs;
use crate::model::build::Build;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Returns the paths that would have hidden one of `inputs` and do not exist, sorted; relative to
/// the project if they are below it.
pub(super) fn absences(build: &Build, inputs: &[Utf8PathBuf]) -> Vec<Utf8PathBuf> {
    let dirs = search_dirs(build);
    let mut absent = BTreeSet::new();
    // Sources are named by their full path and not searched for.
    let is_source = |input: &Utf8Path| build.sources.iter().any(|source| source.path == input);
    for input in inputs.iter().filter(|input| !is_source(input)) {
        for (place, dir) in dirs.iter().enumerate() {
            let Ok(name) = input.strip_prefix(dir) else {
                continue;
            };
            absent.extend(dirs[..place].iter().map(|earlier| earlier.join(name)));
        }
    }
    let present: BTreeSet<Utf8PathBuf> =
        appeared(&build.project_dir, &absent).into_iter().collect();
    absent
        .into_iter()
        .filter(|path| !present.contains(path))
        .map(|path| match path.strip_prefix(&build.project_dir) {
            Ok(inside) => inside.to_owned(),
            Err(_) => path,
        })
        .collect()
}

/// Returns those of `paths` that exist.
///
/// Each directory is listed once: a design of a thousand headers and fifty include directories
/// would otherwise cost fifty thousand requests to a file server.
pub(super) fn appeared<'a>(
    project_dir: &Utf8Path,
    paths: impl IntoIterator<Item = &'a Utf8PathBuf>,
) -> Vec<Utf8PathBuf> {
    let mut by_dir: BTreeMap<Utf8PathBuf, Vec<&Utf8PathBuf>> = BTreeMap::new();
    for path in paths {
        let whole = project_dir.join(path);
        let dir = whole.parent().unwrap_or(project_dir).to_owned();
        by_dir.entry(dir).or_default().push(path);
    }
    let mut found = Vec::new();
    for (dir, paths) in by_dir {
        let names = fs::list(&dir);
        found.extend(
            paths
                .into_iter()
                .filter(|path| match (&names, path.file_name()) {
                    (Ok(names), Some(name)) => names
                        .binary_search_by(|known| known.as_str().cmp(name))
                        .is_ok(),
                    // The directory does not exist, or its name is not UTF-8.
                    _ => fs::exists(&project_dir.join(path)),
                })
                .cloned(),
        );
    }
    found
}

/// Returns where the compilers look for a file, in search order.
///
/// They look in their working directory first (seen with `strace`), and some look in the folders of
/// the sources last.
fn search_dirs(build: &Build) -> Vec<Utf8PathBuf> {
    let mut dirs = vec![build.project_dir.clone()];
    dirs.extend(build.includes.iter().cloned());
    let mut args = build.build_args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        if arg == "-y" || arg == "-I" {
            dirs.extend(args.next().map(|dir| build.project_dir.join(dir)));
        } else if let Some(list) = arg.strip_prefix("+incdir+") {
            dirs.extend(list.split('+').map(|dir| build.project_dir.join(dir)));
        } else if let Some(dir) = arg.strip_prefix("-I").or_else(|| arg.strip_prefix("-y")) {
            dirs.push(build.project_dir.join(dir));
        }
    }
    let sources = build
        .sources
        .iter()
        .filter_map(|source| source.path.parent());
    dirs.extend(sources.map(ToOwned::to_owned));
    let mut seen = BTreeSet::new();
    dirs.retain(|dir| seen.insert(dir.clone()));
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::build::BuildName;
    use crate::model::build::SimulatorName;
    use crate::model::build::Source;
    use crate::model::build::UnknownParameters;

    fn build(project_dir: &str, includes: &[&str], build_args: &[&str]) -> Build {
        let project_dir = Utf8PathBuf::from(project_dir);
        Build {
            name: BuildName("top".to_owned()),
            table: "top".to_owned(),
            simulator: SimulatorName("any".to_owned()),
            sources: [Source::new(project_dir.join("hdl/top.sv"))].into(),
            includes: includes.iter().map(|dir| project_dir.join(dir)).collect(),
            hdl_toplevel: "top".to_owned(),
            extra_toplevels: Vec::new(),
            defines: BTreeMap::new(),
            parameters: BTreeMap::new(),
            timescale: None,
            build_args: build_args.iter().map(|arg| (*arg).to_owned()).collect(),
            waves: false,
            unknown_parameters: UnknownParameters::Error,
            build_env: BTreeMap::new(),
            steps: Vec::new(),
            step_results: BTreeMap::new(),
            run_files: BTreeSet::new(),
            project_dir,
        }
    }

    #[test]
    fn every_earlier_place_of_a_found_file_is_recorded_as_absent() {
        let build = build("/p", &["a", "b"], &["-y", "lib_a", "+incdir+c", "-Id"]);
        let found = |input: &str| absences(&build, &[Utf8PathBuf::from(input)]);
        assert_eq!(found("/p/b/x.svh"), ["a/x.svh", "x.svh"]);
        assert_eq!(
            found("/p/d/sub/x.svh"),
            [
                "a/sub/x.svh",
                "b/sub/x.svh",
                "c/sub/x.svh",
                "lib_a/sub/x.svh",
                "sub/x.svh"
            ]
        );
        assert_eq!(found("/p/x.svh"), [""; 0]);
        // Found next to a source, after everything else.
        assert_eq!(found("/p/hdl/x.svh").len(), 6);
        assert_eq!(found("/p/hdl/top.sv"), [""; 0]);
    }

    #[test]
    fn a_file_that_was_there_already_is_not_new() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let project = Utf8Path::from_path(dir.path()).ok_or("a UTF-8 path")?;
        fs::create_dirs(&project.join("a"))?;
        fs::write(&project.join("a/x.svh"), "")?;
        let build = build(project.as_str(), &["a", "b"], &[]);
        let absent = absences(&build, &[project.join("b/x.svh")]);
        assert_eq!(absent, ["x.svh"]);
        assert_eq!(appeared(project, &absent), [""; 0]);
        fs::write(&project.join("x.svh"), "")?;
        assert_eq!(appeared(project, &absent), ["x.svh"]);
        Ok(())
    }
}
