//! What `runner.toml` says, as checked values: one type per table.

use crate::config::places::Places;
use crate::config::problems::BuildProblems;
use crate::config::testcase_names::TestcaseNames;
use crate::diagnostic::Snippet;
use crate::model::build::Build;
use crate::model::build::HdlValue;
use crate::model::test::RunSettings;
use crate::model::test::TestModule;
use crate::model::test::TestVariant;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The whole of `runner.toml`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerConfig {
    /// The file that the session is started with, absolute.
    pub path: Utf8PathBuf,
    /// Its folder, from which its relative paths start.
    pub project_dir: Utf8PathBuf,
    /// `build_dir`: where builds, runs and environments are kept, absolute; default `sim_build`.
    /// It may be on a disk that many nodes share.
    pub build_dir: Utf8PathBuf,
    /// `jobs`: how many compiles or runs may happen at once, from 1; the command line takes precedence.
    pub jobs: Option<usize>,
    /// `session_timeout_s`: the limit of the whole session; none by default.
    pub session_timeout: Option<Duration>,
    /// `build_timeout_s`: the limit of one compile; default 3600.
    pub build_timeout: Duration,
    /// `lock_timeout_s`: how long to wait while another process makes the same build; default 3600.
    pub lock_timeout: Duration,
    /// `[python]`.
    pub python: PythonConfig,
    /// `[build.NAME]`, in the order of the files; those of an included file come after those of the
    /// file that includes it.
    pub builds: Vec<BuildTable>,
    /// `[[test]]`, in the same order, each variant as one.
    pub tests: Vec<TestTable>,
    /// Where the keys are, for problems found later.
    pub places: Places,
    /// What is wrong with the files of builds; a session asks for the builds that it needs.
    pub build_problems: BuildProblems,
}

/// `[python]`: what runs the testbenches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonConfig {
    /// `interpreter`: absolute, or a bare name to look for on `PATH`; whether it exists is not
    /// checked here.
    pub interpreter: Option<Utf8PathBuf>,
    /// `paths`: where test modules are imported from, absolute; default the project's folder.
    pub paths: Vec<Utf8PathBuf>,
    /// `requirements`: packages of an environment that cocorun creates itself; empty for none.
    pub requirements: Vec<String>,
}

/// `[build.NAME]`: one design, and every variant it is built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildTable {
    /// What the names of its builds begin with: the prefix of its file and [`Self::local_name`].
    pub name: String,
    /// The name in the header: letters, digits, `_`, `-`, `.`.
    pub local_name: String,
    /// The line of its header, from 1.
    pub line: usize,
    /// Its builds: each combination of its values on each of its simulators; at most 10000.
    pub variants: Vec<Variant>,
}

/// One build of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The build, whole, as it is compiled if no test needs waves.
    pub build: Build,
    /// Values that only stand in braces, by their names; the parameters are those of the build.
    pub variables: BTreeMap<String, HdlValue>,
    /// What `{OUT}` and `{OUT:NAME}` stand for: markers of the directories of steps.
    pub outs: BTreeMap<String, HdlValue>,
    /// Parameters whose values could not be read; none in a configuration without errors.
    pub unknown: BTreeSet<String>,
}

impl Variant {
    /// Returns what names in braces stand for: variables and parameters.
    pub fn values(&self) -> impl Iterator<Item = (&String, &HdlValue)> {
        self.variables.iter().chain(&self.build.parameters)
    }
}

/// `[[test]]`: modules, the builds they run on, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestTable {
    /// Its header, in its file.
    pub place: Snippet,
    /// `build`: names and patterns, with the prefix of its file; all builds if absent and no file is
    /// included.
    pub builds: Option<Vec<String>>,
    /// `test_module` with patterns resolved, each once; not empty.
    pub modules: Vec<TestModule>,
    /// `testcase` and `skip_testcase`; the variants of one table share them.
    pub testcases: Arc<TestcaseNames>,
    /// What sets its runs apart from others of the same modules: `name`, and one of what `variants`
    /// and `matrix` lead to, each of which is a table of its own here.
    pub variant: Option<TestVariant>,
    /// How each of its runs goes.
    pub settings: RunSettings,
}
