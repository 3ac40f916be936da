//! Reads the top level and `[python]`, and passes the other tables to their readers.

use crate::config::BuildProblems;
use crate::config::BuildTable;
use crate::config::Places;
use crate::config::PythonConfig;
use crate::config::RunnerConfig;
use crate::config::build_table;
use crate::config::check;
use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::draft::plain;
use crate::config::draft::read_simulators;
use crate::config::file_list::folder_of;
use crate::config::files::Files;
use crate::config::files::join;
use crate::config::files::non_empty;
use crate::config::keys::Table;
use crate::config::test_table;
use crate::config::test_table::Defaults;
use crate::config::test_table::LocatedTest;
use crate::config::test_table::import_path;
use crate::config::test_table::read_isolation;
use crate::config::test_table::read_paths;
use crate::config::variables;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::env::Environment;
use crate::model::build::SimulatorName;

use camino::Utf8Component;
use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeTable;

const BUILD_DIR: &str = "sim_build";
const TIMEOUT: Duration = Duration::from_secs(600);
const BUILD_TIMEOUT: Duration = Duration::from_secs(3600);
const LOCK_TIMEOUT: Duration = Duration::from_secs(3600);

/// A larger number of processes is a typing error.
const JOBS_MAX: i64 = 4096;

/// Reads the whole document; problems are recorded in `reading`.
pub(super) fn read<'a>(
    reading: &'a Reading,
    table: &'a Spanned<DeTable<'a>>,
    path: &Utf8Path,
    environment: &Environment,
) -> RunnerConfig {
    let project_dir = folder_of(path);
    let top = Section::open(reading, Table::Top, "runner.toml", 0..0, table.get_ref());
    let build_dir = read_build_dir(&top, project_dir, environment);
    let files = Files::new(project_dir, &build_dir, environment);
    let simulators = match top.get("simulator") {
        Some(value) => read_simulators(&value),
        None => vec![reading.registry.default_name()],
    };
    let defaults = Defaults {
        timeout: top.seconds("timeout_s").unwrap_or(TIMEOUT),
        isolation: top
            .get("isolation")
            .and_then(|value| read_isolation(&value))
            .unwrap_or_default(),
        fork: top.switch("fork", true),
    };
    let python = read_python(&top, &files);
    let builds = read_builds(&top, &files, &simulators);
    let tests = read_tests(&top, &files, &python.paths, defaults);
    check::check(reading, &builds, &tests);
    RunnerConfig {
        path: path.to_owned(),
        project_dir: project_dir.to_owned(),
        jobs: top
            .get("jobs")
            .and_then(|value| value.integer(1, JOBS_MAX))
            .and_then(|jobs| usize::try_from(jobs).ok()),
        session_timeout: top.seconds("session_timeout_s"),
        build_timeout: top.seconds("build_timeout_s").unwrap_or(BUILD_TIMEOUT),
        lock_timeout: top.seconds("lock_timeout_s").unwrap_or(LOCK_TIMEOUT),
        python,
        builds,
        tests: tests.into_iter().flat_map(|test| test.tables).collect(),
        build_dir,
        places: Places::new(&reading.document.shown, &reading.document.text),
        build_problems: BuildProblems::default(),
    }
}

fn read_build_dir(
    top: &Section<'_>,
    project_dir: &Utf8Path,
    environment: &Environment,
) -> Utf8PathBuf {
    let default = project_dir.join(BUILD_DIR);
    let Some(text) = top.get("build_dir").and_then(|value| value.name_text()) else {
        return default;
    };
    let refuse = |message: String| {
        let problem = Diagnostic::error(Code::ConfigBadValue, message);
        top.reading.at(&text.range, "", problem);
    };
    let path = match variables::expand(&text.value, environment) {
        Ok(expanded) => join(project_dir, &expanded),
        Err(error) => {
            refuse(error.message());
            return default;
        }
    };
    if project_dir.starts_with(without_parents(&path)) {
        refuse(format!(
            "`build_dir` is the project's own folder or one above it, `{path}`"
        ));
        return default;
    }
    path
}

/// Resolves `..` lexically, only to recognise a folder and not to open it.
fn without_parents(path: &Utf8Path) -> Utf8PathBuf {
    let mut plain = Utf8PathBuf::new();
    for component in path.components() {
        if component == Utf8Component::ParentDir {
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}

fn read_python(top: &Section<'_>, files: &Files<'_>) -> PythonConfig {
    let default = || vec![files.project_dir.to_owned()];
    let section = top
        .get("python")
        .and_then(|value| value.section(Table::Python, "[python]"));
    let Some(section) = section else {
        return PythonConfig {
            interpreter: None,
            paths: default(),
            requirements: Vec::new(),
        };
    };
    let paths = read_paths(&section, files);
    PythonConfig {
        interpreter: section
            .get("interpreter")
            .and_then(|value| read_interpreter(&value, files)),
        paths: paths.unwrap_or_else(default),
        requirements: read_requirements(&section),
    }
}

fn read_interpreter(value: &Value<'_>, files: &Files<'_>) -> Option<Utf8PathBuf> {
    let text = value.text()?;
    match non_empty(&text.value).and_then(|path| files.expand(path)) {
        // A bare name is searched on PATH, as a shell would.
        Ok(path) if !path.contains('/') => Some(Utf8PathBuf::from(path)),
        Ok(path) => Some(join(files.project_dir, &path)),
        Err(problem) => {
            value.reading.at(&value.range, "", *problem);
            None
        }
    }
}

fn read_requirements(section: &Section<'_>) -> Vec<String> {
    let texts = section.texts("requirements");
    for text in &texts {
        let trimmed = text.value.trim();
        if trimmed.is_empty() || trimmed.starts_with('-') || trimmed.contains('\n') {
            let problem = Diagnostic::error(
                Code::ConfigBadValue,
                format!("invalid requirement `{}`", text.value),
            )
            .help("write one package each, such as `\"cocotb==2.1.0\"`");
            section.reading.at(&text.range, "", problem);
        }
    }
    plain(texts)
}

fn read_builds(
    top: &Section<'_>,
    files: &Files<'_>,
    simulators: &[SimulatorName],
) -> Vec<BuildTable> {
    let reading = top.reading;
    let Some(value) = top.get("build") else {
        if reading.is_whole() {
            let problem =
                Diagnostic::error(Code::ConfigMissingKey, "`runner.toml` defines no build")
                    .help("add a `[build.NAME]` with `sources` and `hdl_toplevel`");
            reading.at(&(0..0), "", problem);
        }
        return Vec::new();
    };
    if !value.content.is_table() {
        let problem = value.wrong_type_problem("tables, one for each build");
        let help = "give each build a name: `[build.NAME]`";
        reading.at(&value.range, value.type_words(), problem.help(help));
        return Vec::new();
    }
    let entries: Vec<(Located<String>, Value<'_>)> = value.entries("tables");
    if entries.is_empty() && reading.is_whole() {
        let problem = Diagnostic::error(Code::ConfigMissingKey, "`[build]` defines no build");
        reading.at(
            &value.range,
            "",
            problem.help("give each build a name: `[build.NAME]`"),
        );
    }
    entries
        .iter()
        .filter_map(|(name, value)| build_table::read(reading, files, simulators, name, value))
        .collect()
}

fn read_tests(
    top: &Section<'_>,
    files: &Files<'_>,
    python_paths: &[Utf8PathBuf],
    defaults: Defaults,
) -> Vec<LocatedTest> {
    let Some(value) = top.get("test") else {
        return Vec::new();
    };
    if value.content.as_array().is_none() {
        let problem = value.wrong_type_problem("a list of tables");
        let help = "write `[[test]]`, with two brackets";
        top.reading
            .at(&value.range, value.type_words(), problem.help(help));
        return Vec::new();
    }
    let default_path = import_path(files, python_paths.to_vec());
    value
        .items("a list of tables")
        .iter()
        .filter_map(|item| test_table::read(item, files, &default_path, defaults))
        .collect()
}
