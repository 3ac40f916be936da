//! The header of a simulator's runtime, precompiled once for all sources that begin with it.
//!
//! Of a small model and of cocotb's `main`, two thirds of the time go into this header, which is the
//! same for all builds with the same flags. Invariants:
//! - It is used only for a source that includes it before anything else that could matter, so the
//!   object is the same.
//! - No part of the runtime makes it, since one is what a first build waits for longest.
//! - Nobody waits for it: while another process makes it, the compiler runs without. Only one that
//!   seems to be dead is watched, to take over.
//! - A compiler that rejects it runs once more without it, and only then do users see its messages.

use crate::commands::objcache::call::CompilerCall;
use crate::commands::objcache::call::run;
use crate::commands::objcache::call::size_if_made;
use crate::commands::objcache::contents::Contents;
use crate::commands::objcache::leading_include::macros_before_runtime;
use crate::commands::objcache::store::Store;
use crate::edge::clock::SystemClock;
use crate::edge::fs;
use crate::edge::process::Completion;
use crate::edge::process::Exit;
use crate::edge::yieldable_job::YieldableJob;
use crate::lock::Acceptance;
use crate::lock::Failure;
use crate::lock::FailureKind;
use crate::lock::Leader;
use crate::lock::OnceStep;
use crate::lock::Published;
use crate::lock::WaitProgress;
use crate::sim::dependencies::read_make_rule;
use crate::sim::registry::Registry;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::io;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::time::Duration;

/// The step's name in a header's directory.
const STEP: &str = "header";
/// A header that includes the runtime's; compilers look for the precompiled one next to it.
const HEADER: &str = "runtime.h";
/// Where GCC and Clang both look if they are to include `runtime.h` first.
const PRECOMPILED: &str = "runtime.h.gch";
const DEPENDENCIES: &str = "runtime.d";

/// A process that makes the header and has been silent for three of its signs of life.
const SILENT_AFTER: Duration = Duration::from_secs(15);

/// A header that may be precompiled, for one call of the compiler.
#[derive(Debug)]
pub(super) struct SharedHeader<'a> {
    store: &'a Store,
    /// The header's name, as sources include it.
    name: &'static str,
    /// The runtime's folder.
    dir: Utf8PathBuf,
    /// The compiler and its options.
    words: Vec<String>,
    key: String,
    /// What the source defines before it.
    macros: Vec<String>,
}

/// A precompiled header.
pub(super) struct Precompiled {
    /// What to include; the compiler finds the precompiled file next to it.
    pub(super) path: Utf8PathBuf,
    /// Files of the runtime that are in it: the compiler does not list them.
    pub(super) listed: Vec<Utf8PathBuf>,
}

/// What is published.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Made {
        size: u64,
        contents: Contents,
    },
    /// The compiler did not precompile it, or it read a file that may have changed meanwhile, such as
    /// one from the future by the disk's clock. This keeps the rest of the session from trying again.
    Refused {
        session_id: String,
    },
}

impl<'a> SharedHeader<'a> {
    /// Returns the header that a source begins with, if it is one that may be precompiled.
    pub(super) fn of(
        call: &CompilerCall<'_>,
        store: &'a Store,
        registry: &Registry,
    ) -> Option<Self> {
        if store.has_hidden_folders {
            return None;
        }
        let dirs: Vec<&Utf8Path> = call.include_dirs().collect();
        let headers = registry.iter().filter_map(|it| it.runtime_header());
        let mut found = headers.filter_map(|header| {
            let is_there = |name: &str, dir: &Utf8Path| fs::exists(&dir.join(name));
            let is_home = |dir: &&Utf8Path| {
                dir.is_absolute() && is_there(header.name, dir) && is_there(header.marker, dir)
            };
            Some((header.name, *dirs.iter().copied().find(is_home).as_ref()?))
        });
        let (name, dir) = found.next()?;
        let words = call.header_words(dir)?;
        let cwd = fs::current_dir().ok()?;
        let macros = macros_before_runtime(call.source(), &cwd, &dirs, dir)?;
        let key = store.key(name, words.iter().map(String::as_str));
        Some(Self {
            store,
            name,
            dir: dir.to_owned(),
            words,
            key,
            macros,
        })
    }

    /// Compiles a source after this header; `None` if the compiler has to do it without.
    pub(super) fn compile(&self, call: &CompilerCall<'_>) -> Option<()> {
        let header = self.provide()?;
        let output = call.output();
        let log = output.with_extension("log");
        let words = call.with(output, Some(&header.path));
        let cwd = fs::current_dir().ok()?;
        let done = run(&words, cwd, &log, &SystemClock, &mut || true);
        let messages = fs::read(&log);
        fs::remove(&log);
        size_if_made(done, output)?;
        self.complete_dependencies(&output.with_extension("d"), output, &header)?;
        io::stderr().lock().write_all(&messages.ok()?).ok()
    }

    /// Adds what is in the precompiled header to the list of files that the compiler has read.
    fn complete_dependencies(
        &self,
        list: &Utf8Path,
        output: &Utf8Path,
        header: &Precompiled,
    ) -> Option<()> {
        let names = read_make_rule(&fs::read_if_there(list)?);
        let mut names: Vec<String> = names
            .into_iter()
            .filter(|name| !self.store.contains(Utf8Path::new(name)))
            .collect();
        for file in &header.listed {
            if !names.iter().any(|name| name == file) {
                names.push(file.to_string());
            }
        }
        let names = names.iter().map(|name| name.replace(' ', "\\ "));
        let names: Vec<String> = names.collect();
        fs::write(list, format!("{output}: {}\n", names.join(" \\\n "))).ok()
    }

    /// Returns the precompiled header if it is there.
    pub(super) fn existing(&self) -> Option<Precompiled> {
        let results = self.store.once(&self.key, STEP).results().ok()?;
        let mut results = results.into_iter();
        self.precompiled(&results.find(|it| self.accept(it) == Acceptance::Use)?)
    }

    /// Returns the precompiled header, and makes it before if that pays and nobody else does.
    fn provide(&self) -> Option<Precompiled> {
        if !self.store.makes_headers {
            return self.existing();
        }
        let mut making = Making {
            header: self,
            job: self.store.own_job(),
        };
        let mut once = self.store.once(&self.key, STEP);
        let done = once.ensure_done(&mut making, None).ok()?;
        self.precompiled(&done.published())
    }

    fn precompiled(&self, published: &Published) -> Option<Precompiled> {
        let Ok(Record::Made { contents, .. }) = Record::deserialize(&published.record) else {
            return None;
        };
        if contents.mentions_any(&self.macros) {
            return None;
        }
        let files = contents.files.into_iter();
        Some(Precompiled {
            path: published.dir.join(HEADER),
            listed: files.filter(|file| file.starts_with(&self.dir)).collect(),
        })
    }

    /// Precompiles the header; `None` if it may work next time.
    fn precompile(&self, leader: &Leader) -> Option<Record> {
        // Where `-I.` finds nothing of a build.
        let dir = leader.dir();
        let header = dir.join(HEADER);
        fs::write(&header, format!("#include \"{}\"\n", self.name)).ok()?;
        // By the clock of the disk.
        let began = fs::stamp(&header).ok().flatten()?.modified;
        let mut words = self.words.clone();
        let output = ["-x", "c++-header", HEADER, "-o", PRECOMPILED];
        words.extend(output.map(str::to_owned));
        words.extend(["-MD", "-MF", DEPENDENCIES].map(str::to_owned));
        let log = dir.join("compile.log");
        let goes_on = &mut || !leader.is_lost();
        let done = run(&words, dir.to_owned(), &log, &SystemClock, goes_on);
        let session_id = self.store.session_id.clone();
        let Some(size) = size_if_made(done, &dir.join(PRECOMPILED)) else {
            let refused = matches!(done, Some(Completion::Left(Exit::Code(_))));
            return refused.then_some(Record::Refused { session_id });
        };
        let files = read_make_rule(&fs::read_if_there(&dir.join(DEPENDENCIES))?);
        let files = files.into_iter().map(Utf8PathBuf::from);
        let files = files.filter(|file| file != HEADER).collect();
        let contents = Contents::of(files, began);
        Some(match contents {
            Some(contents) => Record::Made { size, contents },
            None => Record::Refused { session_id },
        })
    }

    fn accept(&self, published: &Published) -> Acceptance {
        let (size, contents) = match Record::deserialize(&published.record) {
            Ok(Record::Made { size, contents }) => (size, contents),
            Ok(Record::Refused { session_id }) if session_id == self.store.session_id => {
                return Acceptance::Use;
            }
            Ok(Record::Refused { .. }) => {
                return Acceptance::Broken("it was refused in another session".to_owned());
            }
            Err(_) => return Acceptance::Broken("its record cannot be read".to_owned()),
        };
        match fs::stamp(&published.dir.join(PRECOMPILED)) {
            Ok(Some(stamp)) if stamp.size == size && contents.is_current() => Acceptance::Use,
            Ok(Some(stamp)) if stamp.size == size => Acceptance::Foreign,
            _ => Acceptance::Broken("the precompiled header is gone".to_owned()),
        }
    }
}

/// Making the header.
struct Making<'a> {
    header: &'a SharedHeader<'a>,
    job: Option<YieldableJob>,
}

impl OnceStep for Making<'_> {
    type Error = &'static str;

    fn run(&mut self, leader: &Leader) -> Result<serde_json::Value, Failure<&'static str>> {
        let transient = |why| Failure::new(FailureKind::Transient, why);
        if let Some(job) = &mut self.job {
            job.take_again();
        }
        let record = self.header.precompile(leader);
        let record = record.ok_or_else(|| transient("the compiler was stopped"))?;
        serde_json::to_value(record).map_err(|_| transient("its record cannot be written"))
    }

    fn accept(&mut self, published: &Published) -> Acceptance {
        self.header.accept(published)
    }

    /// Waits only to take over from a process that is probably dead.
    fn on_wait(&mut self, progress: &WaitProgress) -> ControlFlow<()> {
        if progress.holder.last_sign_of_life < SILENT_AFTER {
            return ControlFlow::Break(());
        }
        if let Some(job) = &mut self.job {
            job.give_back();
        }
        ControlFlow::Continue(())
    }
}
