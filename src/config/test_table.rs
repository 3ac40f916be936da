//! Reads `[[test]]`.

use crate::config::TestTable;
use crate::config::ambiguous;
use crate::config::build_selection::Entry;
use crate::config::checkpoints;
use crate::config::document::Located;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::draft::plain;
use crate::config::draft::read_env;
use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::config::keys::Table;
use crate::config::modules;
use crate::config::param_env;
use crate::config::run_values::plusarg;
use crate::config::run_values::refused_variable;
use crate::config::test_values;
use crate::config::test_values::TestText;
use crate::config::test_variants;
use crate::config::testcase_names;
use crate::config::user_code;
use crate::config::working_dir;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::test::FixedSettings;
use crate::model::test::ImportPath;
use crate::model::test::Isolation;
use crate::model::test::ParamEnv;
use crate::model::test::RunSettings;
use crate::model::test::Seed;
use crate::model::test::TestModule;
use crate::model::test::TestVariant;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Defaults of a `[[test]]`.
#[derive(Clone, Debug)]
pub(super) struct Defaults {
    pub(super) timeout: Duration,
    pub(super) isolation: Isolation,
    pub(super) fork: bool,
    pub(super) param_env: Option<ParamEnv>,
    pub(super) strict_file_lists: bool,
}

/// The folders that `paths` names.
#[derive(Clone, Debug)]
pub(super) struct FoundPaths {
    pub(super) folders: Vec<Utf8PathBuf>,
    /// Whether each entry could be found; what could not is reported.
    pub(super) are_all_there: bool,
}

/// How many modules a plan may have, over all builds.
pub(super) const PLANNED_MAX: usize = 1_000_000;

/// The folders that the runs of a table import from.
#[derive(Clone, Debug)]
pub(super) struct ImportFolders {
    pub(super) path: ImportPath,
    /// As in [`FoundPaths`].
    are_all_there: bool,
}

/// A `[[test]]` with the positions that later checks point at.
#[derive(Clone, Debug)]
pub(super) struct LocatedTest {
    /// One for each variant and working directory, never empty; they differ in `variant`, `modules`
    /// and `settings`.
    pub(super) tables: Vec<TestTable>,
    /// Its header.
    pub(super) range: Range<usize>,
    /// The entries of `build`.
    pub(super) builds: Vec<Located<String>>,
    /// Its strings that depend on the build.
    pub(super) texts: Vec<TestText>,
    /// Where `vpi_libraries` is, if there are any.
    pub(super) vpi_libraries: Option<Range<usize>>,
}

/// Reads one `[[test]]`.
pub(super) fn read(
    value: &Value<'_>,
    files: &Files<'_>,
    default_folders: &ImportFolders,
    defaults: &Defaults,
) -> Option<LocatedTest> {
    let section = value.section(Table::Test, "[[test]]")?;
    let reading = section.reading;
    let builds = read_builds(&section);
    let folders = read_paths(&section, files).map_or_else(
        || default_folders.clone(),
        |folders| ImportFolders::new(files, folders),
    );
    let modules = read_modules(&section, files, &folders);
    let settings = read_settings(&section, files, folders.path, defaults);
    checkpoints::check(&section, &settings);
    let testcases = Arc::new(testcase_names::read(&section));
    let groups = working_dir::read(&section, files, &settings.import_path, modules);
    let table =
        |cwd: &Option<Utf8PathBuf>,
         modules: &[TestModule],
         (variant, settings): (Option<TestVariant>, RunSettings)| TestTable {
            place: reading.document.snippet(&section.range, ""),
            builds: section.get("build").map(|_| {
                let names = builds.iter().map(|build| reading.full_name(&build.value));
                names.collect()
            }),
            modules: modules.to_vec(),
            testcases: Arc::clone(&testcases),
            variant,
            settings: RunSettings {
                cwd: cwd.clone(),
                ..settings
            },
        };
    let mut variants = test_variants::read(&section, &settings);
    let planned: usize = groups.iter().map(|(_, modules)| modules.len()).sum();
    // Each variant has its own copy of the modules.
    if planned.saturating_mul(variants.len()) > PLANNED_MAX {
        let words = format!("this `[[test]]` plans more than {PLANNED_MAX} modules");
        let problem = Diagnostic::error(Code::ConfigBadValue, words);
        reading.at(&section.range, "", problem);
        variants.truncate(1);
    }
    Some(LocatedTest {
        tables: variants
            .into_iter()
            .flat_map(|variant| {
                let groups = groups.iter();
                groups.map(move |(cwd, modules)| table(cwd, modules, variant.clone()))
            })
            .collect(),
        range: section.range.clone(),
        builds,
        texts: test_values::read(&section),
        vpi_libraries: section.get("vpi_libraries").map(|value| value.range),
    })
}

fn read_settings(
    section: &Section<'_>,
    files: &Files<'_>,
    import_path: ImportPath,
    defaults: &Defaults,
) -> RunSettings {
    RunSettings {
        timeout: section.seconds("timeout_s").unwrap_or(defaults.timeout),
        seed: section
            .get("seed")
            .and_then(|value| value.integer(0, i64::from(u32::MAX)))
            .and_then(|seed| u32::try_from(seed).ok())
            .map(Seed),
        test_args: plain(section.texts("test_args")),
        plusargs: read_plusargs(section),
        env: read_env(section, refused_variable)
            .into_iter()
            .map(|(name, text)| (name, text.value))
            .collect(),
        param_env: match section.get("param_env") {
            Some(value) => param_env::read(&value),
            None => defaults.param_env.clone(),
        },
        import_path,
        project_dir: files.project_dir.to_owned(),
        cwd: None,
        waves: section.switch("waves", false),
        run_files: read_run_files(section, files),
        isolation: section
            .get("isolation")
            .and_then(|value| read_isolation(&value))
            .unwrap_or(defaults.isolation),
        fork: section.switch("fork", defaults.fork),
        preload: read_preload(section),
        checkpoints: checkpoints::read(section),
        vpi_libraries: user_code::read_vpi_libraries(section, files),
        gpi_users: user_code::read_gpi_users(section, files),
        pygpi_users: user_code::read_pygpi_users(section),
        fail_on_hdl_error: section.switch("fail_on_hdl_error", true),
        fixed: FixedSettings::default(),
    }
}

fn read_builds(section: &Section<'_>) -> Vec<Located<String>> {
    let mut builds = section
        .get("build")
        .map(|value| value.text_or_texts())
        .unwrap_or_default();
    builds.retain(|build| {
        if let Err(why) = Entry::new(&build.value) {
            let problem = Diagnostic::error(
                Code::ConfigBadValue,
                format!("invalid pattern `{}`: {why}", build.value),
            );
            section.reading.at(&build.range, "", problem);
            return false;
        }
        true
    });
    builds
}

impl ImportFolders {
    /// Finds out what is ambiguous in these folders.
    pub(super) fn new(files: &Files<'_>, found: FoundPaths) -> Self {
        Self {
            path: ImportPath {
                ambiguous: ambiguous::find(files, &found.folders),
                folders: found.folders,
            },
            are_all_there: found.are_all_there,
        }
    }
}

/// Reads `paths`: folders that modules are imported from; the project's own if none is named that
/// exists.
pub(super) fn read_paths(section: &Section<'_>, files: &Files<'_>) -> Option<FoundPaths> {
    let value = section.get("paths")?;
    let problems = section.reading.problem_count();
    let paths = files.find_all(section.reading, &value.texts(), PathKind::Dir);
    if let Some(path) = paths.iter().find(|path| path.as_str().contains(':')) {
        let problem = Diagnostic::error(
            Code::ConfigBadValue,
            format!("`{path}` contains `:`, which separates the folders of `PYTHONPATH`"),
        );
        let problem = problem.help("rename the folder, or make a link to it with another name");
        section.reading.at(&value.range, "", problem);
    }
    let are_all_there = section.reading.problem_count() == problems;
    if paths.is_empty() && are_all_there {
        return None;
    }
    Some(FoundPaths {
        folders: paths,
        are_all_there,
    })
}

fn read_modules(
    section: &Section<'_>,
    files: &Files<'_>,
    folders: &ImportFolders,
) -> Vec<TestModule> {
    let import_path = &folders.path;
    let texts = section
        .require("test_module")
        .map(|value| value.text_or_texts())
        .unwrap_or_default();
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    for text in texts {
        match modules::resolve(files, &import_path.folders, &text.value) {
            Ok(names) => {
                if let Some(problem) = ambiguous_module(files, import_path, &names) {
                    section.reading.at(&text.range, "", problem);
                }
                found.extend(names.into_iter().filter(|name| known.insert(name.clone())));
            }
            // In a folder that is not there it could be.
            Err(problem) if problem.code == Code::ConfigEmptyGlob && !folders.are_all_there => {}
            Err(problem) => section.reading.at(&text.range, "", *problem),
        }
    }
    found.into_iter().map(TestModule).collect()
}

/// Returns the problem if one of these modules could be several files.
fn ambiguous_module(
    files: &Files<'_>,
    import_path: &ImportPath,
    names: &[String],
) -> Option<Diagnostic> {
    /// How many of the files are shown.
    const SHOWN_MAX: usize = 8;
    let mut found = names
        .iter()
        .filter_map(|name| ambiguous::of_module(files, import_path, name));
    let (name, candidates) = found.next()?;
    let shown = |path: &Utf8Path| {
        let relative = path.strip_prefix(files.project_dir);
        let relative = relative.unwrap_or(path).to_string();
        if relative.is_empty() {
            ".".to_owned()
        } else {
            relative
        }
    };
    let mut problem = Diagnostic::error(
        Code::ConfigAmbiguousModule,
        format!(
            "module `{name}` is ambiguous: {} files have this name",
            candidates.len()
        ),
    );
    for file in candidates.iter().take(SHOWN_MAX) {
        problem = problem.fact(shown(file));
    }
    let rest = candidates.len().saturating_sub(SHOWN_MAX);
    if rest > 0 {
        problem = problem.fact(format!("{rest} more"));
    }
    let more = found.count();
    if more > 0 {
        problem = problem.fact(format!("{more} more modules like this"));
    }
    let folder_of = |file: &Utf8PathBuf| {
        let folders = import_path.folders.iter();
        folders
            .filter(|it| file.starts_with(it))
            .max_by_key(|it| it.as_str().len())
    };
    let mut folders: Vec<&Utf8PathBuf> = candidates.iter().filter_map(folder_of).collect();
    folders.dedup();
    Some(match folders.as_slice() {
        [first, _, ..] => problem.help(format!(
            "say in this `[[test]]` which folder it means: `paths = [\"{}\"]`",
            shown(first)
        )),
        _ => problem.help("rename one of them"),
    })
}

fn read_preload(section: &Section<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for text in section.texts("preload") {
        if user_code::is_dotted_name(&text.value) {
            names.push(text.value);
            continue;
        }
        let words = format!("`{}` is not the name of a Python module", text.value);
        let problem = Diagnostic::error(Code::ConfigBadValue, words)
            .help("write it as `import` does: `\"numpy\"`, `\"cocotbext.axi\"`");
        section.reading.at(&text.range, "", problem);
    }
    names
}

fn read_plusargs(section: &Section<'_>) -> Vec<String> {
    let mut plusargs = Vec::new();
    for text in section.texts("plusargs") {
        let Some(plusarg) = plusarg(&text.value) else {
            let problem = Diagnostic::error(
                Code::ConfigBadValue,
                format!("invalid plusarg `{}`", text.value),
            );
            section.reading.at(
                &text.range,
                "",
                problem.help("write `\"name\"` or `\"name=value\"`"),
            );
            continue;
        };
        plusargs.push(plusarg);
    }
    plusargs
}

/// Files that a run writes in its own directory.
const RUN_FILES_OF_OURS: [&str; 8] = [
    "coverage.dat",
    "events.ndjson",
    "request.json",
    "results.xml",
    "sim.log",
    "sim_build",
    "waves.fst",
    "waves.vcd",
];

/// Reads `run_files`; no two may have the same name, since all are linked into one directory.
fn read_run_files(section: &Section<'_>, files: &Files<'_>) -> Vec<Utf8PathBuf> {
    let texts = section.texts("run_files");
    let paths = test_values::find_files(section.reading, files, &texts, PathKind::Either);
    let mut first = BTreeMap::new();
    for path in &paths {
        let Some(name) = path.file_name() else {
            continue;
        };
        if let (true, Some(value)) = (RUN_FILES_OF_OURS.contains(&name), section.get("run_files")) {
            let problem = Diagnostic::error(
                Code::ConfigBadValue,
                format!("`run_files` cannot contain `{name}`, which each run writes itself"),
            );
            let help = problem.help("give the file another name");
            section
                .reading
                .at(&value.range, "would be written to", help);
        }
        if let (Some(other), Some(value)) = (first.insert(name, path), section.get("run_files")) {
            let problem = Diagnostic::error(
                Code::ConfigDuplicateName,
                format!("two `run_files` have the same name, `{name}`"),
            );
            let problem = problem.fact(other.to_string()).fact(path.to_string());
            section.reading.at(
                &value.range,
                "both are linked into each run's directory",
                problem,
            );
        }
    }
    paths
}

/// Reads `isolation`: how many testcases share a process.
pub(super) fn read_isolation(value: &Value<'_>) -> Option<Isolation> {
    let text = value.text()?;
    let isolation = Isolation::from_name(&text.value);
    if isolation.is_none() {
        value.bad(
            format!("invalid isolation `{}`", text.value),
            "one process per `testcase`, `module` or `build`",
        );
    }
    isolation
}
