//! Where builds share objects and headers, and what everything in it depends on besides a command
//! line.

use crate::edge::clock::SystemClock;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::programs;
use crate::edge::storage::SystemStorage;
use crate::edge::yieldable_job::YieldableJob;
use crate::lock::CallOnce;
use crate::lock::Options;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::sync::Arc;

/// Variables that name folders of headers (GCC's manual, "Environment Variables").
const HIDDEN_FOLDERS: [&str; 3] = ["CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH"];

/// The shared store, as `make` passes it on.
#[derive(Debug)]
pub(super) struct Store {
    dir: Utf8PathBuf,
    /// Identities of simulator and compiler, and variables that they read.
    tools: String,
    pub(super) session_id: String,
    path: String,
    /// The address of the job budget.
    jobs: String,
    /// Whether a precompiled header is worth making; one that is there is always used.
    pub(super) makes_headers: bool,
    /// Whether compilers search for headers in folders that no option names.
    pub(super) has_hidden_folders: bool,
}

impl Store {
    /// Returns the store; `None` outside of a session.
    pub(super) fn of(environment: &Environment) -> Option<Self> {
        let get = |name| environment.get(name).unwrap_or_default().to_owned();
        Some(Self {
            dir: Utf8PathBuf::from(environment.get(env::COCORUN_OBJECT_STORE)?),
            tools: environment.get(env::COCORUN_OBJECT_TOOLS)?.to_owned(),
            session_id: environment
                .get(env::COCORUN_SESSION_ID)
                .unwrap_or("objcache")
                .to_owned(),
            path: get(env::PATH),
            jobs: get(env::COCORUN_OBJECT_JOBS),
            makes_headers: environment.get(env::COCORUN_OBJECT_HEADERS).is_some(),
            has_hidden_folders: HIDDEN_FOLDERS
                .iter()
                .any(|it| environment.get(it).is_some()),
        })
    }

    /// Says whether a file is in the store.
    pub(super) fn contains(&self, path: &Utf8Path) -> bool {
        path.starts_with(&self.dir)
    }

    /// Returns the name of what is made from `stem` by a command with these words.
    pub(super) fn key<'a>(&self, stem: &str, words: impl IntoIterator<Item = &'a str>) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut compiler = None;
        let words: Vec<&str> = words.into_iter().collect();
        if let Some(word) = words.first() {
            // The session knows the compiler that it found; the makefile may call another one.
            let program = programs::on_path(word, &self.path);
            compiler = program.map(|program| programs::identity(&program));
        }
        let tools = [self.tools.as_str(), compiler.as_deref().unwrap_or_default()];
        for word in words.into_iter().chain(tools) {
            hasher.update(&(word.len() as u64).to_le_bytes());
            hasher.update(word.as_bytes());
        }
        format!("{stem}-{}", &hasher.finalize().to_hex()[..16])
    }

    /// Returns the guard of what has this key.
    pub(super) fn once(&self, key: &str, step: &str) -> CallOnce {
        let options = Options {
            pytest_cocotb: false,
            ..Options::new(&self.session_id)
        };
        CallOnce::new(
            Arc::new(SystemStorage),
            Arc::new(SystemClock),
            self.dir.join(key),
            step,
            options,
        )
    }

    /// Returns the job that this process has, if it can be given back.
    pub(super) fn own_job(&self) -> Option<YieldableJob> {
        YieldableJob::of_address(&self.jobs)
    }
}
