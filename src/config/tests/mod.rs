//! How `runner.toml` is read, and the messages for every mistake in it.

mod any_text;
mod braces;
mod checkpoints;
mod consequences;
mod doubtful_values;
mod import_paths;
mod include;
mod mistakes;
mod patterns;
mod step_advice;
mod steps;
mod test_variants;
mod user_code;
mod values;
mod variants;

use super::*;

use crate::diagnostic::Problems;
use crate::diagnostic::render::to_text;
use crate::model::build::BuildName;
use crate::model::build::HdlValue;
use crate::model::build::SimulatorName;
use crate::model::build::Source;

use std::collections::BTreeMap;

/// A project on disk.
struct Project {
    _dir: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl Project {
    /// Creates a project of empty files.
    fn new(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        let project = Self { _dir: dir, root };
        for name in names {
            project.put(name, "");
        }
        project
    }

    /// Creates a project of two sources and two test modules.
    fn fifo() -> Self {
        Self::new(&[
            "hdl/fifo.sv",
            "hdl/fifo_pkg.sv",
            "tests/test_fifo.py",
            "tests/test_ram.py",
        ])
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.root.join(name);
        fs::create_dirs(path.parent().expect("a folder")).expect("created");
        fs::write(&path, text).expect("written");
    }

    fn load(&self, text: &str) -> Result<RunnerConfig> {
        self.put(FILE_NAME, text);
        let environment = Environment::from_pairs([("SCRATCH", "/scratch"), ("IP", "ip")]);
        let registry = Registry::builtin();
        let config = load_from(
            Utf8Path::new(FILE_NAME),
            &self.root,
            &environment,
            &registry,
        )?;
        let all: Vec<BuildName> = config
            .builds
            .iter()
            .map(|build| BuildName(build.name.clone()))
            .collect();
        config.build_problems.of(&all)?;
        Ok(config)
    }

    /// Loads a valid file.
    fn fine(&self, text: &str) -> RunnerConfig {
        let reported = self.reported(text);
        self.load(text)
            .unwrap_or_else(|_| panic!("{text}\n{reported}"))
    }

    /// Returns what a user reads.
    fn reported(&self, text: &str) -> String {
        let problems = self.load(text).err().map(|problems| problems.0);
        let texts = problems.into_iter().flatten();
        texts
            .map(|problem| to_text(&problem, false))
            .collect::<String>()
            .replace(self.root.as_str(), "[ROOT]")
    }

    /// Returns each problem as `LINE CODE: MESSAGE (help: HELP)`.
    fn brief(&self, text: &str) -> Vec<String> {
        let problems = self.load(text).err().map(|problems| problems.0);
        let brief = |problem: Diagnostic| {
            let snippet = problem.snippet.expect("every problem has its place");
            let line = snippet.text[..snippet.range.start].matches('\n').count() + 1;
            let line = match snippet.path.as_str() {
                FILE_NAME => line.to_string(),
                other => format!("{other}:{line}"),
            };
            let code = problem.code.name().trim_start_matches("config::");
            let help = problem.help.map(|help| format!(" (help: {help})"));
            let help = help.unwrap_or_default();
            format!("{line} {code}: {}{help}", problem.message)
                .replace(self.root.as_str(), "[ROOT]")
        };
        problems.into_iter().flatten().map(brief).collect()
    }

    /// Returns sources relative to the project.
    fn source_names(&self, sources: &[Source]) -> Vec<String> {
        let paths: Vec<Utf8PathBuf> = sources.iter().map(|source| source.path.clone()).collect();
        self.names(&paths)
    }

    /// Returns paths relative to the project.
    fn names(&self, paths: &[Utf8PathBuf]) -> Vec<String> {
        let name = |path: &Utf8PathBuf| path.strip_prefix(&self.root).unwrap_or(path).to_string();
        paths.iter().map(name).collect()
    }
}

/// Checks pairs of a text and its messages; `BUILD` is a valid build.
fn check(project: &Project, cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        let text = text.replace("BUILD", BUILD);
        let reported = project.brief(&text);
        assert_eq!(
            reported,
            *expected,
            "in\n{text}\n{}",
            project.reported(&text)
        );
    }
}

fn owned(pairs: &[(&str, HdlValue)]) -> BTreeMap<String, HdlValue> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn simulator(name: &str) -> SimulatorName {
    SimulatorName(name.to_owned())
}

/// A valid build, to put before the text that a test is about.
const BUILD: &str = "[build.fifo]\nsources = ['hdl/fifo.sv']\nhdl_toplevel = 'fifo'\n";

/// A file that uses every key.
const EVERY_KEY: &str = r#"
build_dir = "$SCRATCH/sim"
simulator = ["icarus", "verilator"]
jobs = 4
timeout_s = 1.5
session_timeout_s = 3600
build_timeout_s = 60
lock_timeout_s = 0.5
isolation = "build"

[python]
interpreter = ".venv/bin/python"
paths = ["tests"]
requirements = ["cocotb==2.1.0"]

[build.fifo]
sources = ["hdl/fifo_pkg.sv", "hdl/*.sv"]
includes = ["hdl"]
hdl_toplevel = "fifo"
defines = { SIM = "", WIDTH = 8, FAST = true, NAME = "a b" }
parameters = { LOG = false, FILE = "x.hex", EMPTY = "" }
matrix = { WIDTH = [8, 16], DEPTH = [4] }
timescale = "10 ns / 100 ps"
build_args = ["-Wall"]
env = { CC = "gcc", N = 1 }
waves = true

[build.fifo.verilator]
build_args = ["-Wno-WIDTH"]

[build.single]
sources = ["hdl/fifo.sv"]
hdl_toplevel = "fifo"
simulator = "verilator"

[[test]]
build = ["fifo", "sing*"]
test_module = ["test_*", "installed.tests"]
paths = ["tests"]
timeout_s = 60
seed = 4294967295
test_args = ["-v"]
plusargs = ["dump", "+level=3"]
env = { MODE = "fast" }
waves = true
run_files = ["hdl/*.sv"]
isolation = "testcase"
fail_on_hdl_error = false

[[test]]
test_module = "test_ram"
build = "single"
timeout_s = 60
seed = 4294967295
test_args = ["-v"]
plusargs = ["+dump", "level=3"]
env = { MODE = "fast" }
waves = true
run_files = ["hdl/*.sv"]
isolation = "testcase"
fail_on_hdl_error = false
"#;
