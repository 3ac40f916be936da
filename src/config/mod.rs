//! `runner.toml` with spans, turned into values of the model.
//!
//! Every problem in the files is reported at once, each with its line. What [`load`]
//! returns is valid: names resolve, files exist, paths are absolute, values are in range, and no
//! module is planned twice on one build with different settings. `docs/runner-toml.md` is the
//! reference of the keys.

mod ambiguous;
mod build_selection;
mod build_steps;
mod build_table;
mod check;
mod checkpoints;
mod combinations;
mod document;
mod doubtful_values;
mod draft;
mod expansion;
mod expression;
mod file_list;
mod files;
mod hdl_values;
mod include;
mod keys;
mod modules;
pub mod name_glob;
mod named_files;
mod param_env;
mod parameters;
mod path_set;
mod places;
mod problems;
mod run_values;
mod step_table;
pub(crate) mod suggest;
mod syntax;
mod tables;
mod template;
mod test_table;
mod test_values;
mod test_variants;
mod testcase_names;
mod timescale;
mod top;
mod toplevel_variables;
mod tree;
mod user_code;
mod variables;
mod variants;
mod vendor_options;
mod working_dir;

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
pub use test_values::settings_on;
pub use testcase_names::TestcaseName;
pub use testcase_names::TestcaseNames;
pub use user_code::refused_gpi_user;

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

/// Reads and checks a `runner.toml` and the files that it includes; environment and current folder are those of this process.
///
/// # Errors
/// Every problem in the files, in their order.
pub fn load(path: &Utf8Path, registry: &Registry) -> Result<RunnerConfig> {
    let environment = Environment::of_this_process();
    load_from(path, &fs::current_dir()?, &environment, registry)
}

/// Reads and checks a `runner.toml` and the files that it includes, with a given current folder and environment.
///
/// Messages name a file relative to `current_dir` if it is below, else by its absolute path.
///
/// # Errors
/// Every problem in the files, in their order. Problems with the files of builds are kept in
/// [`RunnerConfig::build_problems`] if there are no others: they must not stop a session that does
/// not need these builds.
pub fn load_from(
    path: &Utf8Path,
    current_dir: &Utf8Path,
    environment: &Environment,
    registry: &Registry,
) -> Result<RunnerConfig> {
    tree::read(path, current_dir, environment, registry)
}

#[cfg(test)]
mod tests;
