//! Small projects in temporary folders, and cocorun run on them as a user runs it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

use tempfile::TempDir;

/// The cocotb versions that are promised to work; `tests/run` makes an environment of each.
pub(crate) const COCOTB_VERSIONS: [&str; 3] = ["1.9.2", "2.0.1", "2.1.0"];
/// The version for tests that are not about versions.
pub(crate) const COCOTB: &str = "2.1.0";

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the Python interpreter that has this cocotb.
pub(crate) fn python(cocotb: &str) -> PathBuf {
    let path = repository().join(format!("target/test-env/cocotb-{cocotb}/bin/python"));
    assert!(
        path.exists(),
        "{} is missing: run tests/run",
        path.display()
    );
    path
}

/// Reports that something cannot be tested on this machine; under `COCORUN_TEST_NO_SKIP`, which CI
/// sets, that is a failure.
pub(crate) fn skip(reason: &str) {
    let may_skip = std::env::var_os("COCORUN_TEST_NO_SKIP").is_none();
    assert!(may_skip, "cannot be tested here: {reason}");
    let mut stderr = std::io::stderr();
    writeln!(stderr, "SKIPPED: {reason}").unwrap();
}

/// Returns the program under test: the release build of `tests/run`, or what cargo built for this test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("COCORUN_TEST_BINARY").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_cocorun")),
        PathBuf::from,
    )
}

/// A project in a temporary folder that is removed at the end.
pub(crate) struct Project {
    dir: TempDir,
}

impl Project {
    /// Makes an empty project.
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Makes a project whose `runner.toml` begins with the interpreter of a cocotb version.
    pub(crate) fn with_cocotb(cocotb: &str, runner_toml: &str) -> Self {
        let project = Self::new();
        let mut text = String::new();
        // Keys of the top level stand before the first table.
        let (top, tables) = match runner_toml.find("\n[") {
            Some(at) => runner_toml.split_at(at + 1),
            None => (runner_toml, ""),
        };
        let interpreter = python(cocotb);
        write!(
            text,
            "{top}\n[python]\ninterpreter = \"{}\"\n{tables}",
            interpreter.display()
        )
        .unwrap();
        project.file("runner.toml", &text);
        project
    }

    /// Lets builds here use the runtime that builds of other tests have compiled, which takes ten of the
    /// twelve seconds of a small build: for tests that are not about compiling it.
    pub(crate) fn share_runtime(&self) -> &Self {
        let shared = repository().join("target/test-cache/objects");
        fs::create_dir_all(&shared).unwrap();
        fs::create_dir(self.path("sim_build")).unwrap();
        symlink(shared, self.path("sim_build/objects")).unwrap();
        self
    }

    /// Writes a file; folders are made.
    pub(crate) fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Returns the path of something in the project.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the command that runs cocorun here.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.dir.path());
        command
    }

    /// Runs cocorun to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }
}

/// The result of a run of cocorun.
pub(crate) struct Ran {
    /// The exit code; an end by a signal fails the test.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
    /// What a person reads: the report, wherever it goes, and errors.
    pub(crate) text: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let is_for_programs = stdout.starts_with(['{', '<']);
        let report = if is_for_programs { "" } else { &stdout };
        Self {
            code: output.status.code().expect("cocorun exits by itself"),
            text: format!("{report}{stderr}"),
            stdout,
            stderr,
        }
    }
}

impl Ran {
    /// Checks the exit code; shows all output if it differs.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Returns the NDJSON events of `--format json`.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
