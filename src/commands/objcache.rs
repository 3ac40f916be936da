//! `cocorun __objcache`: the launcher that `make` puts before the C++ compiler.
//!
//! A simulator's runtime is the same for every design, yet takes most of the time of a small build.
//! Each of its objects is compiled once per compiler, simulator and flags, under [`CallOnce`], and
//! copied into every build. Everything else goes directly to the compiler, through `ccache` or
//! `sccache` if one is installed.
//!
//! Invariant: a problem with the store never fails a build; the compiler simply runs instead.

use crate::cli::ObjcacheArgs;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::clock::SystemClock;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::fs;
use crate::edge::interrupt::Interrupt;
use crate::edge::process;
use crate::edge::process::CommandSpec;
use crate::edge::process::Completion;
use crate::edge::process::SystemHost;
use crate::edge::process::complete;
use crate::edge::programs;
use crate::edge::storage::SystemStorage;
use crate::lock::Acceptance;
use crate::lock::CallOnce;
use crate::lock::Failure;
use crate::lock::FailureKind;
use crate::lock::Leader;
use crate::lock::OnceStep;
use crate::lock::Options;
use crate::lock::Published;
use crate::lock::StepError;
use crate::model::exit_code::ExitCode;
use crate::sim::registry::Registry;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The step's name in an object's directory.
const STEP: &str = "object";
/// The object's name in an attempt's directory.
const OBJECT: &str = "runtime.o";
/// One object takes seconds; minutes if the compiler is swapped out.
const LIMIT: Duration = Duration::from_secs(1800);

/// Compiles, or copies an object that is already compiled.
///
/// # Errors
/// The compiler cannot be started.
pub(super) fn objcache(
    args: &ObjcacheArgs,
    environment: &Environment,
    registry: &Registry,
) -> Result<ExitCode> {
    if let Some(object) = RuntimeObject::recognise(&args.command, environment, registry) {
        let copied = object.provide(environment).unwrap_or(false);
        if copied {
            return Ok(ExitCode::Success);
        }
    }
    let mut command = launcher(environment);
    command.extend(args.command.iter().cloned());
    Err(process::replace_this_process(&command).into())
}

/// Picks the launcher to put before the compiler: the user's own choice, else an installed cache.
fn launcher(environment: &Environment) -> Vec<String> {
    if let Some(chosen) = environment.get(env::COCORUN_OBJECT_LAUNCHER) {
        // Shell words, as in makefiles.
        return shell_words::split(chosen).unwrap_or_else(|_| vec![chosen.to_owned()]);
    }
    let path = environment.get(env::PATH).unwrap_or_default();
    ["ccache", "sccache"]
        .into_iter()
        .find_map(|name| programs::on_path(name, path))
        .map(Utf8PathBuf::into_string)
        .into_iter()
        .collect()
}

/// A request to compile a part of a simulator's runtime.
#[derive(Debug, PartialEq, Eq)]
struct RuntimeObject<'a> {
    command: &'a [String],
    output: &'a str,
    store: Utf8PathBuf,
    key: String,
}

impl<'a> RuntimeObject<'a> {
    /// Recognises `CXX … -c -o OBJECT … SOURCE` with a source of a simulator's runtime.
    fn recognise(
        command: &'a [String],
        environment: &Environment,
        registry: &Registry,
    ) -> Option<Self> {
        let store = Utf8PathBuf::from(environment.get(env::COCORUN_OBJECT_STORE)?);
        let identity = environment.get(env::COCORUN_OBJECT_TOOLS)?;
        let source = Utf8Path::new(command.last()?);
        let mut markers = registry.iter().filter_map(|it| it.runtime_marker(source));
        let is_runtime = markers.any(|marker| fs::exists(&marker));
        let at = command.iter().position(|word| word == "-o")?;
        let output = command.get(at + 1)?;
        if !is_runtime || !command.iter().any(|word| word == "-c") {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        let words = command
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != at + 1);
        for word in words.map(|(_, word)| word.as_str()).chain([identity]) {
            hasher.update(&(word.len() as u64).to_le_bytes());
            hasher.update(word.as_bytes());
        }
        let key = format!(
            "{}-{}",
            source.file_stem()?,
            &hasher.finalize().to_hex()[..16]
        );
        Some(Self {
            command,
            output,
            store,
            key,
        })
    }

    /// Puts the object where `make` expects it; `false` if the store cannot provide it.
    fn provide(&self, environment: &Environment) -> Result<bool> {
        let interrupt = Interrupt::new()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let session = environment
            .get(env::COCORUN_SESSION_ID)
            .unwrap_or("objcache");
        let options = Options {
            pytest_cocotb: false,
            ..Options::new(session)
        };
        let mut once = CallOnce::new(
            Arc::new(SystemStorage),
            Arc::clone(&clock),
            self.store.join(&self.key),
            STEP,
            options,
        );
        let mut step = Compilation {
            object: self,
            clock: clock.as_ref(),
            interrupt: &interrupt,
        };
        match once.ensure_done(&mut step, Some(LIMIT)) {
            Ok(done) => {
                let object = fs::read(&done.published().dir.join(OBJECT))?;
                fs::write(Utf8Path::new(self.output), object)?;
                Ok(true)
            }
            Err(StepError::Lock(error)) => Err(error.into()),
            Err(StepError::Step(_) | StepError::Elsewhere(_) | StepError::Interrupted) => Ok(false),
        }
    }

    fn compile(
        &self,
        leader: &Leader,
        clock: &dyn Clock,
        interrupt: &Interrupt,
    ) -> std::result::Result<serde_json::Value, Failure<&'static str>> {
        let transient = |why| Failure::new(FailureKind::Transient, why);
        let object = leader.dir().join(OBJECT);
        let mut words = self.command.to_vec();
        if let Some(at) = words.iter().position(|word| word == "-o") {
            words[at + 1] = object.to_string();
        }
        let Ok(cwd) = fs::current_dir() else {
            return Err(transient("the current folder is not known"));
        };
        let spec = CommandSpec {
            program: Utf8PathBuf::from(&words[0]),
            args: words[1..].to_vec(),
            env: BTreeMap::new(),
            env_remove: Vec::new(),
            cwd,
            log: leader.dir().join("compile.log"),
            channel_env: None,
            inherits: Vec::new(),
        };
        let host = SystemHost::new(interrupt.clone());
        let until = clock.now() + LIMIT;
        let done = complete(&host, clock, &spec, until, &mut || !leader.is_lost());
        let succeeded = matches!(done, Ok(Completion::Left(exit)) if exit.is_success());
        let size = fs::stamp(&object).ok().flatten().map(|stamp| stamp.size);
        match size {
            Some(size) if succeeded => Ok(serde_json::json!({ "size": size })),
            // The caller then compiles itself, and the user sees the compiler's messages.
            _ => Err(transient("the compiler wrote no object")),
        }
    }
}

/// Compiling one object.
struct Compilation<'a> {
    object: &'a RuntimeObject<'a>,
    clock: &'a dyn Clock,
    interrupt: &'a Interrupt,
}

impl OnceStep for Compilation<'_> {
    type Error = &'static str;

    fn run(
        &mut self,
        leader: &Leader,
    ) -> std::result::Result<serde_json::Value, Failure<&'static str>> {
        self.object.compile(leader, self.clock, self.interrupt)
    }

    fn accept(&mut self, published: &Published) -> Acceptance {
        match fs::stamp(&published.dir.join(OBJECT)) {
            Ok(Some(stamp)) if published.record["size"] == stamp.size => Acceptance::Use,
            _ => Acceptance::Broken("the object is gone".to_owned()),
        }
    }
}

/// Returns the launcher that `make` puts before the compiler: this program.
pub(super) fn program() -> Option<Utf8PathBuf> {
    let path = std::env::current_exe().ok()?;
    Utf8PathBuf::from_path_buf(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // The path of a temporary folder may contain a blank.
        let line = |flag: &str, output: &str, source: &str| {
            ["c++", flag, "-c", "-o", output, source].map(str::to_owned)
        };
        let registry = Registry::builtin();
        let runtime = include.join("verilated_vpi.cpp");
        fs::write(&runtime, "").expect("written");
        let key = |command: &[String]| {
            RuntimeObject::recognise(command, &environment, &registry).map(|object| object.key)
        };
        let plain = key(&line("-Os", "a.o", runtime.as_str()));
        assert!(plain.is_some());
        assert_eq!(plain, key(&line("-Os", "b.o", runtime.as_str())));
        assert_ne!(plain, key(&line("-O0", "a.o", runtime.as_str())));
        assert_eq!(None, key(&line("-Os", "a.o", "Vtop__ALL.cpp")));
        assert_eq!(None, key(&line("-Os", "a.o", "/elsewhere/verilated.cpp")));
    }
}
