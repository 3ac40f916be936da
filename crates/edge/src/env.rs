//! The environment cocorun is started in, read once, and every variable name it knows.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Turns colour off when it is set and not empty (<https://no-color.org>).
pub const NO_COLOR: &str = "NO_COLOR";
/// The terminal's type; `dumb` is one that can only print lines.
pub const TERM: &str = "TERM";
/// The active virtual environment.
pub const VIRTUAL_ENV: &str = "VIRTUAL_ENV";
/// Where Python searches for modules.
pub const PYTHONPATH: &str = "PYTHONPATH";
/// Where programs are searched for.
pub const PATH: &str = "PATH";
/// Decides the order of sets of strings (Python's manual, "Command line and environment").
pub const PYTHONHASHSEED: &str = "PYTHONHASHSEED";
/// The user's wrapper for the C++ compiler, in the makefiles of some simulators.
pub const OBJCACHE: &str = "OBJCACHE";
/// Set for `make`: the user's `OBJCACHE`, since `make` passes its own value of that name down.
pub const COCORUN_OBJECT_LAUNCHER: &str = "COCORUN_OBJECT_LAUNCHER";
/// Set for `make`: where compiled parts of simulators' runtimes are kept.
pub const COCORUN_OBJECT_STORE: &str = "COCORUN_OBJECT_STORE";
/// Set for `make`: identity of the C++ compiler and of the simulator.
pub const COCORUN_OBJECT_TOOLS: &str = "COCORUN_OBJECT_TOOLS";
/// Set for `make`: where a process that only waits gives its job back.
pub const COCORUN_OBJECT_JOBS: &str = "COCORUN_OBJECT_JOBS";
/// Set for `make` if a precompiled header is worth making.
pub const COCORUN_OBJECT_HEADERS: &str = "COCORUN_OBJECT_HEADERS";
/// How many compilers and simulators run at once, unless `--jobs` says.
pub const COCORUN_JOBS: &str = "COCORUN_JOBS";
/// Set in every run: the session's name.
pub const COCORUN_SESSION_ID: &str = "COCORUN_SESSION_ID";
/// Set in every run: its number in the session, from 1.
pub const COCORUN_RUN_ID: &str = "COCORUN_RUN_ID";
/// Set in every run: its slot, from 0; no two concurrent runs share one.
pub const COCORUN_SLOT: &str = "COCORUN_SLOT";
/// Set in every run: the folder of `runner.toml`.
pub const COCORUN_PROJECT_DIR: &str = "COCORUN_PROJECT_DIR";
/// Set for the command of `cocorun lock`: the number of the holder, if the strategy has one.
pub const COCORUN_LOCK_FENCE: &str = "COCORUN_LOCK_FENCE";
/// Seconds between two looks at a lock that is held; compiletools' name.
pub const CT_LOCK_SLEEP_INTERVAL: &str = "CT_LOCK_SLEEP_INTERVAL";
/// Seconds between two lines about a wait; compiletools' name.
pub const CT_LOCK_WARN_INTERVAL: &str = "CT_LOCK_WARN_INTERVAL";
/// Seconds after which such a line is a warning; compiletools' name.
pub const CT_LOCK_TIMEOUT: &str = "CT_LOCK_TIMEOUT";
/// 1 and above: report each lock; compiletools' name.
pub const CT_LOCK_VERBOSE: &str = "CT_LOCK_VERBOSE";

/// A copy of the environment; variables missing from it are not seen by the process.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Copies the environment of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge that others must go through"
    )]
    pub fn of_this_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// Makes one from pairs, for tests.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    /// Returns a variable that is set, not empty, and UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(&OsString::from(name))?
            .to_str()
            .filter(|value| !value.is_empty())
    }

    /// Returns the same with another value of one variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Returns all variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter()
    }
}
