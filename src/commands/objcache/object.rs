//! An object of a simulator's runtime, compiled once for all builds with the same flags.

use crate::commands::objcache::call::CompilerCall;
use crate::commands::objcache::call::run;
use crate::commands::objcache::call::size_if_made;
use crate::commands::objcache::contents::Contents;
use crate::commands::objcache::shared_header::SharedHeader;
use crate::commands::objcache::store::Store;
use crate::edge::clock::SystemClock;
use crate::edge::fs;
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
use std::ops::ControlFlow;
use std::time::Duration;
use std::time::SystemTime;

/// The step's name in an object's directory.
const STEP: &str = "object";
/// The object's name in an attempt's directory.
const OBJECT: &str = "runtime.o";
/// The list of files that the compiler has read, which it writes next to the object.
const DEPENDENCIES: &str = "runtime.d";
/// How long to wait for another process that compiles it.
const WAIT_MAX: Duration = Duration::from_secs(1800);

/// A request to compile a part of a simulator's runtime.
#[derive(Debug)]
pub(super) struct RuntimeObject<'a> {
    call: CompilerCall<'a>,
    store: &'a Store,
    key: String,
}

/// What is published with an object.
#[derive(Serialize, Deserialize)]
struct Record {
    size: u64,
    contents: Contents,
}

impl<'a> RuntimeObject<'a> {
    /// Recognises a call with a source of a simulator's runtime.
    pub(super) fn recognise(
        call: &CompilerCall<'a>,
        store: &'a Store,
        registry: &Registry,
    ) -> Option<Self> {
        let source = call.source();
        let mut markers = registry.iter().filter_map(|it| it.runtime_marker(source));
        let is_runtime = markers.any(|marker| fs::exists(&marker));
        let key = store.key(source.file_stem()?, call.words_without_output());
        is_runtime.then_some(Self {
            call: *call,
            store,
            key,
        })
    }

    /// Puts the object where `make` expects it; `None` if the store cannot provide it.
    pub(super) fn provide(&self, header: Option<&SharedHeader<'_>>) -> Option<()> {
        let mut compilation = Compilation {
            object: self,
            header,
            job: self.store.own_job(),
            is_provided: false,
        };
        let mut once = self.store.once(&self.key, STEP);
        let done = once.ensure_done(&mut compilation, Some(WAIT_MAX));
        let Ok(done) = done else {
            return compilation.is_provided.then_some(());
        };
        let object = fs::read(&done.published().dir.join(OBJECT)).ok()?;
        fs::write(self.call.output(), object).ok()
    }
}

/// Compiling one object.
struct Compilation<'a> {
    object: &'a RuntimeObject<'a>,
    header: Option<&'a SharedHeader<'a>>,
    /// Given back while another process compiles the object, and taken again at the end.
    job: Option<YieldableJob>,
    /// Whether `make` has an object that nobody else may use.
    is_provided: bool,
}

impl Compilation<'_> {
    /// Compiles the object; `None` if there is nothing to publish.
    fn compile(&mut self, leader: &Leader) -> Option<Record> {
        let dir = leader.dir();
        let object = dir.join(OBJECT);
        let log = dir.join("compile.log");
        fs::write(&log, "").ok()?;
        // By the clock of the disk.
        let began = fs::stamp(&log).ok().flatten()?.modified;
        let cwd = fs::current_dir().ok()?;
        let compile = |header: Option<&Utf8Path>| {
            let words = self.object.call.with(&object, header);
            let goes_on = &mut || !leader.is_lost();
            let done = run(&words, cwd.clone(), &log, &SystemClock, goes_on);
            size_if_made(done, &object)
        };
        let header = self.header.and_then(SharedHeader::existing);
        let with_header = header
            .as_ref()
            .and_then(|header| Some((compile(Some(&header.path))?, header.listed.clone())));
        // The compiler's own messages are the user's if it fails without a header too.
        let (size, precompiled) = match with_header {
            Some(done) => done,
            None => (compile(None)?, Vec::new()),
        };
        let contents = self.contents(dir, precompiled, began);
        if contents.is_none() {
            // Good for this build all the same: its own compiler would have read the same files.
            let object = fs::read(&object).ok()?;
            self.is_provided = fs::write(self.object.call.output(), object).is_ok();
        }
        contents.map(|contents| Record { size, contents })
    }

    /// Returns what the object was made from, with what is in the precompiled header.
    fn contents(
        &self,
        dir: &Utf8Path,
        precompiled: Vec<Utf8PathBuf>,
        began: Option<SystemTime>,
    ) -> Option<Contents> {
        let rule = fs::read_if_there(&dir.join(DEPENDENCIES))?;
        let files = read_make_rule(&rule).into_iter().map(Utf8PathBuf::from);
        let files = files.filter(|file| !self.object.store.contains(file));
        let mut files: Vec<Utf8PathBuf> = files.chain(precompiled).collect();
        files.sort();
        files.dedup();
        Contents::of(files, began)
    }
}

impl OnceStep for Compilation<'_> {
    type Error = &'static str;

    fn run(&mut self, leader: &Leader) -> Result<serde_json::Value, Failure<&'static str>> {
        let transient = |why| Failure::new(FailureKind::Transient, why);
        if let Some(job) = &mut self.job {
            job.take_again();
        }
        // If there is no object, the caller compiles itself, and the user sees the compiler's messages.
        let record = self.compile(leader);
        let record = record.ok_or_else(|| transient("there is no object that builds may share"))?;
        serde_json::to_value(record).map_err(|_| transient("its record cannot be written"))
    }

    fn accept(&mut self, published: &Published) -> Acceptance {
        let Ok(record) = Record::deserialize(&published.record) else {
            return Acceptance::Broken("it does not say what it was made from".to_owned());
        };
        match fs::stamp(&published.dir.join(OBJECT)) {
            Ok(Some(stamp)) if stamp.size == record.size && record.contents.is_current() => {
                Acceptance::Use
            }
            Ok(Some(stamp)) if stamp.size == record.size => Acceptance::Foreign,
            _ => Acceptance::Broken("the object is gone".to_owned()),
        }
    }

    fn on_wait(&mut self, _progress: &WaitProgress) -> ControlFlow<()> {
        if let Some(job) = &mut self.job {
            job.give_back();
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::edge::env;
    use crate::edge::env::Environment;

    #[test]
    fn only_the_runtime_is_shared_and_its_flags_are_part_of_its_key() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let include = Utf8Path::from_path(root.path())
            .expect("UTF-8")
            .join("include");
        fs::create_dirs(&include).expect("made");
        fs::write(&include.join("verilated.mk"), "").expect("written");
        let environment = Environment::from_pairs([
            (env::COCORUN_OBJECT_STORE, "/store"),
            (env::COCORUN_OBJECT_TOOLS, "tools"),
        ]);
        let store = Store::of(&environment).expect("both are set");
        // The path of a temporary folder may contain a blank.
        let line = |flag: &str, output: &str, source: &str| {
            ["c++", flag, "-c", "-o", output, source].map(str::to_owned)
        };
        let registry = Registry::builtin();
        let runtime = include.join("verilated_vpi.cpp");
        fs::write(&runtime, "").expect("written");
        let key = |command: &[String]| {
            let call = CompilerCall::of(command).expect("a compile");
            RuntimeObject::recognise(&call, &store, &registry).map(|object| object.key)
        };
        let plain = key(&line("-Os", "a.o", runtime.as_str()));
        assert!(plain.is_some());
        assert_eq!(plain, key(&line("-Os", "b.o", runtime.as_str())));
        assert_ne!(plain, key(&line("-O0", "a.o", runtime.as_str())));
        assert_eq!(None, key(&line("-Os", "a.o", "Vtop__ALL.cpp")));
        assert_eq!(None, key(&line("-Os", "a.o", "/elsewhere/verilated.cpp")));
    }
}
