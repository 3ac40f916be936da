//! The programs of steps: where they are, what identifies them, and the environment they run in.
//!
//! `python3` and `python` are the session's interpreter, and its folder comes first on PATH unless
//! PATH leads to it anyway: a generator sees the packages that the testbenches see.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::edge::programs;
use crate::model::build::Build;
use crate::model::step;
use crate::model::step::Step;
use crate::model::tool::PythonEnv;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Names that mean the session's interpreter.
const INTERPRETERS: [&str; 2] = ["python3", "python"];
/// The file that makes a folder a virtual environment.
const VENV_MARK: &str = "pyvenv.cfg";

/// The environment in which programs of steps are found and run.
#[derive(Clone, Copy, Debug)]
pub struct Programs<'a> {
    /// The session's Python.
    pub python: &'a PythonEnv,
    /// The inherited environment.
    pub environment: &'a Environment,
}

impl Programs<'_> {
    /// Returns the file of a command's first word; `None` if there is none.
    pub(super) fn find(&self, name: &str, project_dir: &Utf8Path) -> Option<Utf8PathBuf> {
        if INTERPRETERS.contains(&name) {
            return Some(self.python.interpreter.clone());
        }
        if name.contains('/') {
            let path = project_dir.join(name);
            return fs::exists(&path).then_some(path);
        }
        programs::on_path(name, &self.path())
    }

    /// Returns what changes when a program does: of the interpreter, its packages too.
    pub(super) fn identity(&self, program: &Utf8Path) -> String {
        if program != self.python.interpreter {
            return programs::identity(program);
        }
        let python = self.python;
        let (identity, version) = (programs::identity(program), &python.python_version);
        format!("{identity}\n{version}\n{:?}", python.distributions)
    }

    /// Returns the variables that make children find the interpreter and its packages.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::from([
            (env::PATH.to_owned(), self.path()),
            // What it prints is in the log at once, and in its order.
            ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
        ]);
        if fs::exists(&self.python.prefix.join(VENV_MARK)) {
            let prefix = self.python.prefix.to_string();
            variables.insert("VIRTUAL_ENV".to_owned(), prefix);
        }
        variables
    }

    fn path(&self) -> String {
        let inherited = self.environment.get(env::PATH).unwrap_or_default();
        let interpreter = &self.python.interpreter;
        let first = programs::on_path(INTERPRETERS[0], inherited);
        match interpreter.parent() {
            Some(dir) if first.as_ref() != Some(interpreter) => format!("{dir}:{inherited}"),
            _ => inherited.to_owned(),
        }
    }

    /// Returns a problem for each program that a step of these builds starts and that is missing.
    pub fn missing(&self, builds: &[Build]) -> Vec<Diagnostic> {
        let mut known = BTreeSet::new();
        let mut problems = Vec::new();
        for (build, step) in builds.iter().flat_map(steps_of) {
            for name in step.commands.iter().filter_map(|words| words.first()) {
                if self.find(name, &step.project_dir).is_none() && known.insert(name) {
                    problems.push(self.not_found(name, step, build));
                }
            }
        }
        problems
    }

    fn not_found(&self, name: &str, step: &Step, build: &Build) -> Diagnostic {
        let name = step::shown(name);
        let message = format!("`{name}` was not found");
        let purpose = format!("needed for step `{}` of build `{}`", step.name, build.name);
        let problem = Diagnostic::error(Code::ToolNotFound, message).fact(purpose);
        if name.contains('/') {
            return problem.fact(format!("looked for `{}`", step.project_dir.join(&name)));
        }
        problem
            .fact(format!("looked in PATH ({})", self.path()))
            .help("install it, or name a program of the project by its path, such as `./gen.sh`")
    }
}

fn steps_of(build: &Build) -> impl Iterator<Item = (&Build, &Step)> {
    build.steps.iter().map(move |step| (build, step))
}
