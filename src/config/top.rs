//! Reads the top level and `[python]` of a file, and passes the other tables to their readers.
//!
//! Some settings of an included file are those of the session instead; where that could matter, it
//! is reported.

use crate::config::BuildTable;
use crate::config::PythonConfig;
use crate::config::build_steps::BuildSteps;
use crate::config::build_table;
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
use crate::config::files::without_parents;
use crate::config::include;
use crate::config::include::Included;
use crate::config::keys::Table;
use crate::config::param_env;
use crate::config::step_table::StepTables;
use crate::config::test_table;
use crate::config::test_table::Defaults;
use crate::config::test_table::FoundPaths;
use crate::config::test_table::ImportFolders;
use crate::config::test_table::LocatedTest;
use crate::config::test_table::read_isolation;
use crate::config::test_table::read_paths;
use crate::config::variables;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::model::build::SimulatorName;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeTable;

const BUILD_DIR: &str = "sim_build";
const TIMEOUT: Duration = Duration::from_secs(600);
const BUILD_TIMEOUT: Duration = Duration::from_secs(3600);
const LOCK_TIMEOUT: Duration = Duration::from_secs(3600);

/// A larger number of processes is a typing error.
const JOBS_MAX: i64 = 4096;

/// What one file says.
#[derive(Debug)]
pub(super) struct Content {
    /// Its settings for a session that is started with it.
    pub(super) session: SessionSettings,
    /// Defaults of its tests.
    pub(super) defaults: Defaults,
    /// Defaults of its builds.
    pub(super) simulators: Vec<SimulatorName>,
    pub(super) builds: Vec<BuildTable>,
    pub(super) tests: Vec<LocatedTest>,
    /// The files that it includes.
    pub(super) includes: Vec<Included>,
    /// Whether it has `include`, even if that cannot be read.
    pub(super) has_includes: bool,
}

/// Settings of which a session has one.
#[derive(Clone, Debug)]
pub(super) struct SessionSettings {
    pub(super) build_dir: Utf8PathBuf,
    pub(super) jobs: Option<usize>,
    pub(super) session_timeout: Option<Duration>,
    pub(super) build_timeout: Duration,
    pub(super) lock_timeout: Duration,
    pub(super) python: PythonConfig,
}

/// What an included file gets from those above it.
#[derive(Clone, Debug)]
pub(super) struct Inherited {
    defaults: Defaults,
    simulators: Vec<SimulatorName>,
    /// Settings of the file that the session is started with.
    session: SessionSettings,
    /// That file, as the user would name it.
    shown: Utf8PathBuf,
}

impl Inherited {
    /// Returns what the files that a file includes get, given what it has got itself.
    pub(super) fn from(content: &Content, above: Option<&Self>, shown: &Utf8Path) -> Self {
        Self {
            defaults: content.defaults.clone(),
            simulators: content.simulators.clone(),
            session: above.map_or(&content.session, |it| &it.session).clone(),
            shown: above.map_or(shown, |it| &it.shown).to_owned(),
        }
    }
}

/// Reads a whole document; problems are recorded in `reading`.
pub(super) fn read<'a>(
    reading: &'a Reading,
    table: &'a Spanned<DeTable<'a>>,
    path: &Utf8Path,
    inherited: Option<&Inherited>,
    environment: &Environment,
) -> Content {
    let project_dir = folder_of(path);
    let top = Section::open(reading, Table::Top, "runner.toml", 0..0, table.get_ref());
    let build_dir = read_build_dir(&top, project_dir, environment);
    let mut files = Files::new(project_dir, &build_dir, environment);
    if let Some(above) = inherited {
        files = files.without(&above.session.build_dir);
    }
    let simulators = match (top.get("simulator"), inherited) {
        (Some(value), _) => read_simulators(&value),
        (None, Some(above)) => above.simulators.clone(),
        (None, None) => vec![reading.registry.default_name()],
    };
    let above = inherited.map(|above| &above.defaults);
    let defaults = Defaults {
        timeout: top
            .seconds("timeout_s")
            .unwrap_or(above.map_or(TIMEOUT, |above| above.timeout)),
        isolation: top
            .get("isolation")
            .and_then(|value| read_isolation(&value))
            .unwrap_or(above.map(|above| above.isolation).unwrap_or_default()),
        fork: top.switch("fork", above.is_none_or(|above| above.fork)),
        param_env: match top.get("param_env") {
            Some(value) => param_env::read(&value),
            None => above.and_then(|above| above.param_env.clone()),
        },
        strict_file_lists: top.switch(
            "strict_file_lists",
            above.is_some_and(|above| above.strict_file_lists),
        ),
    };
    files.strict_lists = defaults.strict_file_lists;
    let python = read_python(&top, &files);
    let includes = include::read(&top, &files, path);
    let builds = read_builds(&top, &files, &simulators);
    let tests = read_tests(&top, &files, python.paths.clone(), &defaults);
    drop(files);
    let session = SessionSettings {
        jobs: top
            .get("jobs")
            .and_then(|value| value.integer(1, JOBS_MAX))
            .and_then(|jobs| usize::try_from(jobs).ok()),
        session_timeout: top.seconds("session_timeout_s"),
        build_timeout: top.seconds("build_timeout_s").unwrap_or(BUILD_TIMEOUT),
        lock_timeout: top.seconds("lock_timeout_s").unwrap_or(LOCK_TIMEOUT),
        build_dir,
        python: python.config.clone(),
    };
    if let Some(above) = inherited {
        report_unused(&top, &session, above);
        compare_python(reading, &python, above);
    }
    Content {
        session,
        defaults,
        simulators,
        builds,
        tests,
        includes,
        has_includes: table.get_ref().contains_key("include"),
    }
}

/// Warns about another build directory, and about limits that are wider in the session, or narrower,
/// than this file asks for.
fn report_unused(top: &Section<'_>, own: &SessionSettings, above: &Inherited) {
    let session = &above.session;
    let fewer_jobs = own
        .jobs
        .is_some_and(|own| session.jobs.is_none_or(|jobs| own < jobs));
    let shorter_session = own
        .session_timeout
        .is_some_and(|own| session.session_timeout.is_none_or(|it| own < it));
    for (key, matters) in [
        (
            "build_dir",
            !is_same_folder(&own.build_dir, &session.build_dir),
        ),
        ("jobs", fewer_jobs),
        ("session_timeout_s", shorter_session),
        ("build_timeout_s", own.build_timeout > session.build_timeout),
        ("lock_timeout_s", own.lock_timeout > session.lock_timeout),
    ] {
        if let (true, Some(value)) = (matters, top.get(key)) {
            let message = format!("`{key}` of an included file has no effect");
            let problem = Diagnostic::warning(Code::ConfigInclude, message).help(format!(
                "set it in `{}`, for the whole session",
                above.shown
            ));
            let label = "used only if the session is started with this file";
            top.reading.at(&value.range, label, problem);
        }
    }
}

/// Says whether two folders are one, even if they do not exist yet.
fn is_same_folder(one: &Utf8Path, other: &Utf8Path) -> bool {
    let real = |path: &Utf8Path| fs::real_path(path).ok();
    without_parents(one) == without_parents(other)
        || real(one).is_some_and(|one| real(other) == Some(one))
}

/// Reports what this file needs of Python and the session does not have.
fn compare_python(reading: &Reading, own: &LocatedPython, above: &Inherited) {
    let session = &above.session.python;
    let report = |range: &Range<usize>, key: &str, message: String, fact: Option<String>| {
        let problem = Diagnostic::error(Code::ConfigInclude, message).help(format!(
            "a session has one Python environment: set `{key}` in `[python]` of `{}`, or run this \
             file alone",
            above.shown
        ));
        let problem = fact.into_iter().fold(problem, Diagnostic::fact);
        reading.at(range, "", problem);
    };
    if let Some(interpreter) = &own.config.interpreter {
        let theirs = session.interpreter.as_deref();
        if theirs.is_none_or(|theirs| !is_same_program(interpreter, theirs)) {
            let message = format!("`interpreter` is not that of `{}`", above.shown);
            let fact = match theirs {
                Some(theirs) => format!("there it is `{theirs}`"),
                None => "there it is not set".to_owned(),
            };
            report(&own.interpreter, "interpreter", message, Some(fact));
        }
    }
    for text in &own.requirements {
        if !session.requirements.contains(&text.value) {
            let (name, shown) = (&text.value, &above.shown);
            let message = format!("`{name}` is not in `requirements` of `{shown}`");
            report(&text.range, "requirements", message, None);
        }
    }
}

/// Says whether two interpreters are one. The file itself may be a link that all environments have
/// to one program, so only the way to it is resolved.
fn is_same_program(one: &Utf8Path, other: &Utf8Path) -> bool {
    let real = |path: &Utf8Path| {
        let folder = path.parent().filter(|_| path.is_absolute());
        let folder = folder.and_then(|folder| fs::real_path(folder).ok());
        folder.map_or_else(
            || path.to_owned(),
            |folder| folder.join(path.file_name().unwrap_or_default()),
        )
    };
    real(one) == real(other)
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

/// `[python]` with the positions of what a session has one of.
struct LocatedPython {
    config: PythonConfig,
    paths: FoundPaths,
    interpreter: Range<usize>,
    requirements: Vec<Located<String>>,
}

fn read_python(top: &Section<'_>, files: &Files<'_>) -> LocatedPython {
    let own_folder = FoundPaths {
        folders: vec![files.project_dir.to_owned()],
        are_all_there: true,
    };
    let section = top
        .get("python")
        .and_then(|value| value.section(Table::Python, "[python]"));
    let Some(section) = section else {
        return LocatedPython {
            config: PythonConfig {
                interpreter: None,
                paths: own_folder.folders.clone(),
                requirements: Vec::new(),
            },
            paths: own_folder,
            interpreter: 0..0,
            requirements: Vec::new(),
        };
    };
    let paths = read_paths(&section, files).unwrap_or(own_folder);
    let interpreter = section.get("interpreter");
    let requirements = read_requirements(&section);
    LocatedPython {
        config: PythonConfig {
            interpreter: interpreter
                .as_ref()
                .and_then(|value| read_interpreter(value, files)),
            paths: paths.folders.clone(),
            requirements: plain(requirements.clone()),
        },
        paths,
        interpreter: interpreter.map_or(0..0, |value| value.range),
        requirements,
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

fn read_requirements(section: &Section<'_>) -> Vec<Located<String>> {
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
    texts
}

fn read_builds(
    top: &Section<'_>,
    files: &Files<'_>,
    simulators: &[SimulatorName],
) -> Vec<BuildTable> {
    let reading = top.reading;
    let steps = StepTables::read(top);
    let Some(value) = top.get("build") else {
        if top.get("include").is_some() {
            BuildSteps::check_unneeded(top, files, &steps);
        }
        if reading.is_whole() && top.get("include").is_none() {
            let problem =
                Diagnostic::error(Code::ConfigMissingKey, "`runner.toml` defines no build")
                    .help("add a `[build.NAME]` with `sources` and `hdl_toplevel`");
            reading.at(&(0..0), "", problem);
            reading.note_absent_builds();
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
    let read = |(name, value): &(Located<String>, Value<'_>)| {
        build_table::read(reading, files, simulators, &steps, name, value)
    };
    let tables = entries.iter().filter_map(read).collect();
    BuildSteps::check_unneeded(top, files, &steps);
    tables
}

fn read_tests(
    top: &Section<'_>,
    files: &Files<'_>,
    python_paths: FoundPaths,
    defaults: &Defaults,
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
    let default_folders = ImportFolders::new(files, python_paths);
    value
        .items("a list of tables")
        .iter()
        .filter_map(|item| test_table::read(item, files, &default_folders, defaults))
        .collect()
}
