//! Testcases, runs and the settings they run with.

use crate::model::build::BuildName;
use crate::model::build::BuiltDesign;
use crate::model::step;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// A Python module with testcases, as `import` names it (`tests.test_fifo`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TestModule(pub String);

impl fmt::Display for TestModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sets the runs of one `[[test]]` apart from others of the same module on the same build: its
/// `name`, then the values of its `variants` and `matrix` (`slow/MODE=fast/seed=1`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TestVariant(pub String);

impl fmt::Display for TestVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A module with its variant, as people see and select it: `MODULE` or `MODULE/VARIANT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleInVariant<'a> {
    /// The Python module.
    pub module: &'a TestModule,
    /// The variant, if its table has any.
    pub variant: Option<&'a TestVariant>,
}

impl fmt::Display for ModuleInVariant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variant {
            Some(variant) => write!(f, "{}/{variant}", self.module),
            None => self.module.fmt(f),
        }
    }
}

/// The seed of a run, from which cocotb derives each testcase's own.
///
/// cocotb 1.9 to 2.1 add a digest of the testcase's name to it, so a testcase run alone draws the
/// same random numbers as in its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u32);

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Names one testcase in a session: `BUILD::MODULE::TESTCASE`, or `BUILD::MODULE/VARIANT::TESTCASE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TestcaseId {
    /// The build it runs on.
    pub build: BuildName,
    /// Its Python module.
    pub module: TestModule,
    /// Which of the module's runs on the build it is part of, if there can be several.
    pub variant: Option<TestVariant>,
    /// cocotb's name for it, with the parametrisation (`burst/width=8`).
    pub testcase: String,
}

impl TestcaseId {
    /// Represents a module as a whole if its testcases are not known: it cannot be imported, or its
    /// build failed. No cocotb testcase can have this name.
    pub const WHOLE_MODULE: &str = "(module)";

    /// Returns its module as people see it.
    pub fn module_in_variant(&self) -> ModuleInVariant<'_> {
        ModuleInVariant {
            module: &self.module,
            variant: self.variant.as_ref(),
        }
    }

    /// Says whether this represents a module as a whole.
    pub fn is_whole_module(&self) -> bool {
        self.testcase == Self::WHOLE_MODULE
    }
}

impl fmt::Display for TestcaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let module = self.module_in_variant();
        write!(f, "{}::{module}::{}", self.build, self.testcase)
    }
}

/// A testcase as cocotb itself lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testcase {
    /// Its identity in the session.
    pub id: TestcaseId,
    /// Index among testcases of the same name in a module, from 0, in cocotb's order of discovery.
    pub occurrence: u32,
    /// The Python file that defines it, absolute, if known.
    pub file: Option<Utf8PathBuf>,
    /// The line of its definition, from 1.
    pub line: Option<u32>,
    /// First line of its docstring.
    pub doc: Option<String>,
    /// Whether it is marked `skip=True`; it is then reported as skipped and never run.
    pub skip: bool,
    /// cocotb's stage: lower ones run first within one simulator process.
    pub stage: i64,
}

impl Testcase {
    /// Creates the testcase that represents a module as a whole.
    pub fn whole_module(build: &BuildName, module: ModuleInVariant<'_>) -> Self {
        Self {
            id: TestcaseId {
                build: build.clone(),
                module: module.module.clone(),
                variant: module.variant.cloned(),
                testcase: TestcaseId::WHOLE_MODULE.to_owned(),
            },
            occurrence: 0,
            file: None,
            line: None,
            doc: None,
            skip: false,
            stage: 0,
        }
    }
}

/// How many testcases share one simulator process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// One process per testcase: nothing is shared.
    #[default]
    Testcase,
    /// One process per test module, as cocotb's own runner does.
    Module,
    /// One process for all modules of a `[[test]]` on one build.
    Build,
}

impl Isolation {
    /// All of them, the strictest first.
    pub const ALL: [Self; 3] = [Self::Testcase, Self::Module, Self::Build];

    /// Returns its name in `runner.toml` and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Testcase => "testcase",
            Self::Module => "module",
            Self::Build => "build",
        }
    }

    /// Returns the one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// Where the runs of one `[[test]]` table import modules from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportPath {
    /// Folders that come before everything else that Python searches, in order, absolute.
    pub folders: Vec<Utf8PathBuf>,
    /// Names that are not imported, because several files in the folders have them: the files by
    /// name.
    pub ambiguous: BTreeMap<String, Vec<Utf8PathBuf>>,
}

/// What a variant stands for: options of the command line leave it alone, since its name would not
/// be true otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FixedSettings {
    /// Names of environment variables.
    pub env: BTreeSet<String>,
    /// Names of plusargs, with the leading `+`.
    pub plusargs: BTreeSet<String>,
    /// Whether the seed is one.
    pub seed: bool,
}

/// Names of variables that carry parameters: `PARAM_{NAME}`, where `{NAME}` is the parameter's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParamEnv {
    /// What comes before the name.
    pub before: String,
    /// What comes after it.
    pub after: String,
}

impl ParamEnv {
    /// Returns the variable of a parameter.
    pub fn variable(&self, parameter: &str) -> String {
        format!("{}{parameter}{}", self.before, self.after)
    }
}

/// A library that cocotb's GPI loads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GpiUser {
    /// Its file, absolute, without `,` and `;`.
    pub library: Utf8PathBuf,
    /// The function without arguments that is called once it is loaded, if any.
    pub function: Option<String>,
}

/// A coroutine function that runs once before testcases are forked: `MODULE:FUNCTION`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checkpoint(pub String);

impl Checkpoint {
    /// Returns its module and its function.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or((&self.0, ""))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The settings of every run of one `[[test]]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunSettings {
    /// Wall-clock limit of one testcase; for the first one of a process, start-up included.
    pub timeout: Duration,
    /// The seed, unless the command line gives one; the session draws one when there is none.
    pub seed: Option<Seed>,
    /// Extra arguments for the simulator, in order.
    pub test_args: Vec<String>,
    /// `+name` or `+name=value`, in order, with the leading `+`.
    pub plusargs: Vec<String>,
    /// Environment for the simulator, in addition to the inherited one.
    pub env: BTreeMap<String, String>,
    /// How the environment names the parameters of the build; `env` takes precedence. `None` if
    /// they are not in it.
    pub param_env: Option<ParamEnv>,
    /// Where modules are imported from.
    pub import_path: ImportPath,
    /// The folder of its `runner.toml`, absolute.
    pub project_dir: Utf8PathBuf,
    /// The working directory of its simulators, absolute; `None` for each run's own directory.
    pub cwd: Option<Utf8PathBuf>,
    /// Whether a wave file is written.
    pub waves: bool,
    /// Files that are linked into each run's own directory (what `$readmemh` reads by a relative
    /// name), absolute.
    pub run_files: Vec<Utf8PathBuf>,
    /// How many testcases share a process, forked or not: how a process is started never changes a
    /// verdict.
    pub isolation: Isolation,
    /// Whether a fork server may be used if possible.
    pub fork: bool,
    /// Python modules that a fork server imports before it forks, in order.
    pub preload: Vec<String>,
    /// What testcases are forked from the end of, in the order in which they call it.
    pub checkpoints: Vec<Checkpoint>,
    /// VPI libraries that the simulator loads, in order, absolute.
    pub vpi_libraries: Vec<Utf8PathBuf>,
    /// Libraries that cocotb's GPI loads, in order, before it starts Python.
    pub gpi_users: Vec<GpiUser>,
    /// Python functions (`package.module:function`) that are called, in order, when cocotb is
    /// initialised, before test modules are imported.
    pub pygpi_users: Vec<String>,
    /// Whether an HDL `$error` fails a testcase that passed according to cocotb.
    pub fail_on_hdl_error: bool,
    /// Which of these the variant stands for.
    pub fixed: FixedSettings,
}

impl RunSettings {
    /// Returns the paths of files of which the simulator is given the names.
    pub fn files(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        let libraries = self.gpi_users.iter().map(|user| &user.library);
        let files = self.run_files.iter().chain(&self.vpi_libraries);
        files.chain(libraries)
    }

    /// Returns the same files, to change them.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut Utf8PathBuf> {
        let libraries = self.gpi_users.iter_mut().map(|user| &mut user.library);
        let files = self.run_files.iter_mut().chain(&mut self.vpi_libraries);
        files.chain(libraries)
    }

    /// Returns the settings on a design, with the directories of its steps in place of their markers.
    #[must_use]
    pub fn in_design(&self, design: &BuiltDesign) -> Self {
        let mut settings = self.clone();
        let real = |text: &str| {
            step::replace_markers(text, |name| {
                let dir = design.step_dirs.get(name);
                dir.map_or_else(|| step::shown(&step::marker(name)), Utf8PathBuf::to_string)
            })
        };
        let args = settings.test_args.iter_mut();
        let args = args.chain(&mut settings.plusargs);
        for text in args.chain(settings.env.values_mut()) {
            *text = real(text);
        }
        for path in settings.files_mut() {
            *path = real(path.as_str()).into();
        }
        settings
    }
}

#[cfg(test)]
impl RunSettings {
    /// Returns the default settings with this limit.
    pub(crate) fn plain(timeout: Duration) -> Self {
        Self {
            timeout,
            seed: None,
            test_args: Vec::new(),
            plusargs: Vec::new(),
            env: BTreeMap::new(),
            param_env: None,
            import_path: ImportPath::default(),
            project_dir: Utf8PathBuf::new(),
            cwd: None,
            waves: false,
            run_files: Vec::new(),
            isolation: Isolation::default(),
            fork: true,
            preload: Vec::new(),
            checkpoints: Vec::new(),
            vpi_libraries: Vec::new(),
            gpi_users: Vec::new(),
            pygpi_users: Vec::new(),
            fail_on_hdl_error: true,
            fixed: FixedSettings::default(),
        }
    }
}

/// One test module on one build, as planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedModule {
    /// The build it runs on.
    pub build: BuildName,
    /// The Python module.
    pub module: TestModule,
    /// Which of the module's runs on the build this is, if there can be several.
    pub variant: Option<TestVariant>,
    /// Which `[[test]]` table of the configuration asked for it, from 0; each variant is one.
    pub table: usize,
    /// How it runs.
    pub settings: RunSettings,
}

impl PlannedModule {
    /// Returns it as people see it.
    pub fn module_in_variant(&self) -> ModuleInVariant<'_> {
        ModuleInVariant {
            module: &self.module,
            variant: self.variant.as_ref(),
        }
    }
}
