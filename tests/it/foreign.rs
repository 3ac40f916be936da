//! Source distributions from `PyPI`, and what their own methods say of their testcases.
//!
//! They are downloaded into `target/test-cache`, where they stay.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::seen::Session;
use crate::support::Project;
use crate::support::python;
use crate::support::repository;

/// Outcomes by testcase: `passed`, `failed`, `errored`, `skipped`.
pub(crate) type Outcomes = BTreeMap<String, String>;

#[track_caller]
pub(crate) fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns the folder in which everything about a distribution is kept.
pub(crate) fn cache(name: &str) -> PathBuf {
    let cache = repository().join("target/test-cache").join(name);
    fs::create_dir_all(&cache).unwrap();
    cache
}

/// Returns the folder of the unpacked distribution, downloading it where it is not there yet.
pub(crate) fn distribution(name: &str, version: &str) -> PathBuf {
    let cache = cache(name);
    let lock = File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    let folder = format!("{}-{version}", name.replace('-', "_"));
    let unpacked = cache.join(&folder);
    if !unpacked.join("PKG-INFO").exists() {
        succeed(
            Command::new(python("1.9.2"))
                .args(["-m", "pip", "download", "--quiet", "--no-binary", ":all:"])
                .args(["--no-deps", "--dest", ".", &format!("{name}=={version}")])
                .current_dir(&cache),
        );
        succeed(
            Command::new("tar")
                .args(["xzf", &format!("{folder}.tar.gz")])
                .current_dir(&cache),
        );
    }
    unpacked
}

/// Says whether everything is run, and not what fits into the usual run.
pub(crate) fn runs_all() -> bool {
    std::env::var_os("COCORUN_TEST_ALL").is_some()
}

/// Makes a project of a distribution's `tests` and the `runner.toml` for them, `tests/foreign/NAME.toml`,
/// which begins with the lines of `top`. Its build directory stays, with the environment in it.
pub(crate) fn foreign_project(name: &str, version: &str, cocotb: &str, top: &str) -> Project {
    let project = Project::new();
    let suites = distribution(name, version).join("tests");
    let into = project.path("tests");
    succeed(Command::new("cp").arg("-r").arg(suites).arg(into));
    let toml = repository().join(format!("tests/foreign/{name}.toml"));
    let build_dir = cache(name).join("sim_build");
    let head = format!("build_dir = \"{}\"\n{top}\n", build_dir.display());
    let interpreter = python(cocotb);
    let interpreter = format!("[python]\ninterpreter = \"{}\"\n", interpreter.display());
    let text = fs::read_to_string(toml).unwrap();
    let text = text.replacen("[python]\n", &interpreter, 1);
    project.file("runner.toml", &format!("{head}{text}"));
    project
}

/// Returns the environment that cocorun made of the requirements, below its build directory.
pub(crate) fn environment(build_dir: &Path) -> PathBuf {
    // `python-KEY/attempts/ATTEMPT/…/venv`
    let below = |dirs: Vec<PathBuf>| -> Vec<PathBuf> {
        let entries = dirs.iter().filter_map(|dir| fs::read_dir(dir).ok());
        entries
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect()
    };
    let keys = below(vec![build_dir.to_owned()]).into_iter();
    let attempts = keys.map(|dir| dir.join("attempts")).collect();
    let mut open = below(attempts);
    for _ in 0..2 {
        if let Some(found) = open
            .iter()
            .find(|dir| dir.join("bin/cocotb-config").exists())
        {
            return found.clone();
        }
        open = below(open);
    }
    panic!("no environment below {}", build_dir.display());
}

/// Reads what a `results.xml` of cocotb says.
pub(crate) fn outcomes_of(results_xml: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for element in results_xml.split("<testcase").skip(1) {
        let name = element.split(" name=\"").nth(1).unwrap();
        let name = name.split('"').next().unwrap();
        let body = element.split("</testcase>").next().unwrap();
        let kinds = [
            ("<failure", "failed"),
            ("<error", "errored"),
            ("<skipped", "skipped"),
        ];
        let outcome = kinds.iter().find(|(tag, _)| body.contains(tag));
        let outcome = outcome.map_or("passed", |(_, outcome)| outcome);
        outcomes.insert(name.to_owned(), outcome.to_owned());
    }
    outcomes
}

/// Returns the outcomes of a session by build.
pub(crate) fn outcomes_by_build(session: &Session) -> BTreeMap<String, Outcomes> {
    let mut by_build: BTreeMap<String, Outcomes> = BTreeMap::new();
    for (key, seen) in &session.seen {
        // `BUILD::MODULE::TESTCASE NUMBER`
        let id = key
            .strip_suffix(" 0")
            .expect("one result for each testcase");
        let [build, _, testcase] = id.split("::").collect::<Vec<_>>()[..] else {
            panic!("{id}");
        };
        let outcome = seen.verdict["outcome"].as_str().unwrap().to_owned();
        let outcomes = by_build.entry(build.to_owned()).or_default();
        outcomes.insert(testcase.to_owned(), outcome);
    }
    by_build
}
