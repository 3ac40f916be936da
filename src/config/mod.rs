//! `runner.toml` with spans, turned into values of the model.
//!
//! Every problem of the file is reported at once, each with its line. What [`load`]
//! returns is sound: names resolve, files exist, paths are absolute, values are in range, and no
//! module is planned twice on one build with different settings. `docs/runner-toml.md` is the
//! reference of the keys.

mod build_table;
mod check;
mod coverage;
mod document;
mod file_list;
mod files;
mod keys;
mod modules;
pub mod name_glob;
mod path_set;
mod places;
pub(crate) mod suggest;
mod syntax;
mod test_table;
mod top;
mod variables;
mod variants;

pub use check::unknown_build;
pub use coverage::Coverage;
pub use places::Places;
pub use variants::Variant;

use crate::config::document::Document;
use crate::config::document::Report;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::model::build::HdlValue;
use crate::model::build::SimulatorName;
use crate::model::build::Source;
use crate::model::build::Timescale;
use crate::model::test::RunSettings;
use crate::model::test::TestModule;
use crate::sim::registry::Registry;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::time::Duration;

/// The name of the file.
pub const FILE_NAME: &str = "runner.toml";

/// All of `runner.toml`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerConfig {
    /// The file itself, absolute.
    pub path: Utf8PathBuf,
    /// Its folder, from which all relative paths start.
    pub project_dir: Utf8PathBuf,
    /// `build_dir`: where builds, runs and environments are kept, absolute; default `sim_build`.
    /// It may lie on a disk that many nodes share.
    pub build_dir: Utf8PathBuf,
    /// `jobs`: how many compiles or runs may happen at once, from 1; the command line goes first.
    pub jobs: Option<usize>,
    /// `session_timeout_s`: the limit of the whole session; none by default.
    pub session_timeout: Option<Duration>,
    /// `build_timeout_s`: the limit of one compile; default 3600.
    pub build_timeout: Duration,
    /// `lock_timeout_s`: how long to wait for another process that builds the same; default 3600.
    pub lock_timeout: Duration,
    /// `[python]`.
    pub python: PythonConfig,
    /// `[build.NAME]`, in the order of the file.
    pub builds: Vec<BuildTable>,
    /// `[[test]]`, in the order of the file.
    pub tests: Vec<TestTable>,
    /// Where keys stand, for problems that show later.
    pub places: Places,
}

/// `[python]`: what runs the testbenches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonConfig {
    /// `interpreter`: absolute, or a bare name to look for on `PATH`; whether it exists is not
    /// checked here.
    pub interpreter: Option<Utf8PathBuf>,
    /// `paths`: where test modules are imported from, absolute; default the project's folder.
    pub paths: Vec<Utf8PathBuf>,
    /// `requirements`: packages of an environment that cocorun makes itself; empty for none.
    pub requirements: Vec<String>,
}

/// `[build.NAME]`: one design, and the flavours it is built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildTable {
    /// The name in the header: letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// The line of its header, from 1.
    pub line: usize,
    /// `simulator`, or the one of the top level, or the default one; not empty.
    pub simulators: Vec<SimulatorName>,
    /// `sources` with patterns and lists followed: absolute, each once, in order; not empty.
    pub sources: Vec<Source>,
    /// `includes`, then those of the lists: absolute.
    pub includes: Vec<Utf8PathBuf>,
    /// `hdl_toplevel`.
    pub hdl_toplevel: String,
    /// `defines`.
    pub defines: BTreeMap<String, HdlValue>,
    /// `parameters`, without those of the matrix.
    pub parameters: BTreeMap<String, HdlValue>,
    /// `matrix`: parameters that multiply the build, each with at least one value.
    pub matrix: BTreeMap<String, Vec<HdlValue>>,
    /// `timescale`, for sources that state none; default `1ns/1ps`.
    pub timescale: Timescale,
    /// Arguments for each simulator's compiler: what lists add, `build_args`, and those of
    /// `[build.NAME.SIMULATOR]`, in this order.
    pub build_args: BTreeMap<SimulatorName, Vec<String>>,
    /// `env`: environment for the compiler, beside the inherited one.
    pub env: BTreeMap<String, String>,
    /// `waves`: whether the design is built so that it can write waves, whatever the tests say.
    pub waves: bool,
}

/// `[[test]]`: modules, the builds they run on, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestTable {
    /// The line of its header, from 1.
    pub line: usize,
    /// `build`: names and patterns over base names and full names; all builds where absent.
    pub builds: Option<Vec<String>>,
    /// `test_module` with patterns resolved, each once; not empty.
    pub modules: Vec<TestModule>,
    /// How each of its runs goes.
    pub settings: RunSettings,
}

impl TestTable {
    /// Returns which builds the table's modules run on.
    pub fn coverage(&self) -> Coverage {
        Coverage::new(self.builds.as_deref())
    }
}

/// Finds `runner.toml` in `start` or the nearest folder above it, or takes the one that is named.
///
/// `start` is absolute, and so is the result; `explicit` may be relative to `start`.
///
/// # Errors
/// There is none, or the named one does not exist.
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
        // A folder above may be closed to us; the search goes on as if it held nothing.
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
/// Every problem of the file, in its order.
pub fn load(path: &Utf8Path, registry: &Registry) -> Result<RunnerConfig> {
    let environment = Environment::of_this_process();
    load_from(path, &fs::current_dir()?, &environment, registry)
}

/// Reads and checks a `runner.toml`, seen from a folder and with an environment.
///
/// Messages name the file from `current_dir` where it lies below, else by its absolute path.
///
/// # Errors
/// Every problem of the file, in its order.
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
    let report = Report::new(document.clone(), damage, registry.clone());
    for slip in slips {
        let start = slip.snippet.as_ref().map_or(0, |place| place.range.start);
        report.elsewhere(start, slip);
    }
    let config = top::read(&report, &table, &path, environment);
    let problems = report.into_problems();
    if problems.is_empty() {
        return Ok(config);
    }
    Err(Problems(problems))
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
