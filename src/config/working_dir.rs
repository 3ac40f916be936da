//! `cwd` of a `[[test]]`: the folder that its simulators start in.

use crate::config::document::Section;
use crate::config::files::Files;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;
use crate::model::test::ImportPath;
use crate::model::test::TestModule;

use camino::Utf8PathBuf;

/// Returns the modules of a table by the folder that their simulators start in; `None` stands for
/// each run's own directory.
pub(super) fn read(
    section: &Section<'_>,
    files: &Files<'_>,
    import_path: &ImportPath,
    modules: Vec<TestModule>,
) -> Vec<(Option<Utf8PathBuf>, Vec<TestModule>)> {
    let Some(value) = section.get("cwd") else {
        return vec![(None, modules)];
    };
    let Some(text) = value.text() else {
        return vec![(None, modules)];
    };
    let groups = match text.value.as_str() {
        "run" => return vec![(None, modules)],
        "project" => vec![(Some(files.project_dir.to_owned()), modules)],
        "module" => by_folder(section, import_path, modules),
        _ => {
            let words = format!("invalid working directory `{}`", text.value);
            let problem = Diagnostic::error(Code::ConfigBadValue, words);
            let help = "write `\"run\"`, `\"project\"` or `\"module\"`";
            section.reading.at(&text.range, "", problem.help(help));
            return vec![(None, modules)];
        }
    };
    if let Some(run_files) = section.get("run_files") {
        let words = format!("`run_files` has no use with `cwd = \"{}\"`", text.value);
        let problem = Diagnostic::error(Code::ConfigBadValue, words).help(
            "they are linked into each run's own directory, where the design does not look then",
        );
        section.reading.at(&run_files.range, "", problem);
    }
    groups
}

fn by_folder(
    section: &Section<'_>,
    import_path: &ImportPath,
    modules: Vec<TestModule>,
) -> Vec<(Option<Utf8PathBuf>, Vec<TestModule>)> {
    let mut groups: Vec<(Option<Utf8PathBuf>, Vec<TestModule>)> = Vec::new();
    for module in modules {
        let Some(folder) = folder_of(&module, import_path) else {
            let words =
                format!("`cwd = \"module\"`: there is no file of module `{module}` in `paths`");
            let problem = Diagnostic::error(Code::ConfigBadValue, words);
            let problem = problem.help("add its folder to `paths`, or write `cwd = \"project\"`");
            let range = section.get("cwd").map(|value| value.range);
            section
                .reading
                .at(&range.unwrap_or_else(|| section.range.clone()), "", problem);
            continue;
        };
        match groups
            .iter_mut()
            .find(|(known, _)| known.as_ref() == Some(&folder))
        {
            Some((_, modules)) => modules.push(module),
            None => groups.push((Some(folder), vec![module])),
        }
    }
    if groups.is_empty() {
        groups.push((None, Vec::new()));
    }
    groups
}

/// Returns the folder of a module's file; that of a package is the package itself.
fn folder_of(module: &TestModule, import_path: &ImportPath) -> Option<Utf8PathBuf> {
    let path = module.0.replace('.', "/");
    import_path.folders.iter().find_map(|folder| {
        let package = folder.join(&path);
        if fs::exists(&package.join("__init__.py")) {
            return Some(package);
        }
        let file = folder.join(format!("{path}.py"));
        let folder = file.parent()?.to_owned();
        fs::exists(&file).then_some(folder)
    })
}
