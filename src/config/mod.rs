//! `runner.toml` with spans, turned into values of the model.
//!
//! Every problem in the file is reported at once, each with its line. What [`load`]
//! returns is valid: names resolve, files exist, paths are absolute, values are in range, and no
//! module is planned twice on one build with different settings. `docs/runner-toml.md` is the
//! reference of the keys.

mod ambiguous;
mod build_selection;
mod build_table;
mod check;
mod document;
mod draft;
mod expansion;
mod expression;
mod file_list;
mod files;
mod hdl_values;
mod keys;
mod modules;
pub mod name_glob;
mod parameters;
mod path_set;
mod places;
mod problems;
mod run_values;
pub(crate) mod suggest;
mod syntax;
mod tables;
mod template;
mod test_table;
mod test_variants;
mod testcase_names;
mod timescale;
mod top;
mod variables;
mod variants;

pub use build_selection::BuildSelection;
pub use check::unknown_build;
pub use places::Places;
pub use problems::BuildProblems;
pub use run_values::plusarg;
pub use run_values::refused_variable;
pub use tables::BuildTable;
pub use tables::PythonConfig;
pub use tables::RunnerConfig;
pub use tables::TestTable;
pub use tables::Variant;
pub use testcase_names::TestcaseName;
pub use testcase_names::TestcaseNames;

use crate::config::document::Document;
use crate::config::document::Reading;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::sim::registry::Registry;

use camino::Utf8Path;
use camino::Utf8PathBuf;

/// The name of the file.
pub const FILE_NAME: &str = "runner.toml";

/// Finds `runner.toml` in `start` or the nearest folder above it, or takes the one that is named.
///
/// `start` is absolute, and so is the result; `explicit` may be relative to `start`.
///
/// # Errors
/// None was found, or the named one does not exist.
pub fn find(start: &Utf8Path, explicit: Option<&Utf8Path>) -> Result<Utf8PathBuf> {
    if let Some(named) = explicit {
        let path = files::join(start, named.as_str());
        if fs::stamp(&path)?.is_some() {
            return Ok(path);
        }
        let problem = Diagnostic::error(Code::ConfigNotFound, format!("`{named}` does not exist"));
        return Err(problem.fact(format!("looked for `{path}`")).into());
    }
    for dir in start.ancestors() {
        let path = dir.join(FILE_NAME);
        // A folder above may be unreadable; the search continues as if it were empty.
        if fs::exists(&path) {
            return Ok(path);
        }
    }
    Err(Diagnostic::error(
        Code::ConfigNotFound,
        format!("no `{FILE_NAME}` here or in any folder above"),
    )
    .fact(format!("looked from `{start}` upwards"))
    .help("go into the project's folder, or name the file with `--config FILE`")
    .into())
}

/// Reads and checks a `runner.toml`; environment and current folder are those of this process.
///
/// # Errors
/// Every problem in the file, in its order.
pub fn load(path: &Utf8Path, registry: &Registry) -> Result<RunnerConfig> {
    let environment = Environment::of_this_process();
    load_from(path, &fs::current_dir()?, &environment, registry)
}

/// Reads and checks a `runner.toml`, with a given current folder and environment.
///
/// Messages name the file relative to `current_dir` if it is below, else by its absolute path.
///
/// # Errors
/// Every problem in the file, in its order. Problems with the files of builds are kept in
/// [`RunnerConfig::build_problems`] if there are no others: they must not stop a session that does
/// not need these builds.
pub fn load_from(
    path: &Utf8Path,
    current_dir: &Utf8Path,
    environment: &Environment,
    registry: &Registry,
) -> Result<RunnerConfig> {
    let path = files::join(current_dir, path.as_str());
    let shown = path.strip_prefix(current_dir).unwrap_or(&path);
    let text = read_text(&path, shown)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let document = Document::new(shown, text);
    let repaired = syntax::repair(&document);
    let (table, damage, slips) = syntax::parse(&document, &repaired);
    let reading = Reading::new(document.clone(), damage, registry.clone());
    for slip in slips {
        let start = slip.snippet.as_ref().map_or(0, |place| place.range.start);
        reading.elsewhere(start, slip);
    }
    let mut config = top::read(&reading, &table, &path, environment);
    config.build_problems = BuildProblems::new(reading.into_problems())?;
    Ok(config)
}

fn read_text(path: &Utf8Path, shown: &Utf8Path) -> Result<String> {
    let unreadable = |why: &str| {
        Diagnostic::error(
            Code::ConfigUnreadable,
            format!("cannot read `{shown}`: {why}"),
        )
    };
    let bytes = match fs::stamp(path)? {
        None => {
            let message = format!("`{shown}` does not exist");
            return Err(Diagnostic::error(Code::ConfigNotFound, message).into());
        }
        Some(stamp) if stamp.is_dir => return Err(unreadable("it is a directory").into()),
        Some(_) => fs::read(path).map_err(|error| {
            let words = error.message.as_str();
            unreadable(words.rsplit(": ").next().unwrap_or(words))
        })?,
    };
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        unreadable(&format!("line {line} is not UTF-8")).into()
    })
}

#[cfg(test)]
mod tests;
