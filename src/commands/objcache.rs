//! `cocorun __objcache`: the launcher that `make` puts before the C++ compiler.
//!
//! A simulator's runtime is the same for every design, yet takes most of the time of a small build.
//! Each of its objects is compiled once per compiler, simulator and flags, under
//! [`CallOnce`](crate::lock::CallOnce), and copied into every build. What is left is mostly the
//! parsing of the runtime's header, so that is precompiled once where it pays. Everything else goes
//! directly to the compiler, through `ccache` or `sccache` if one is installed.
//!
//! Invariant: a problem with the store never fails a build; the compiler simply runs instead. And no
//! object depends on what the store has: a precompiled header is used only where it changes nothing.

mod call;
mod contents;
mod leading_include;
mod object;
mod shared_header;
mod store;

use crate::cli::ObjcacheArgs;
use crate::commands::objcache::call::CompilerCall;
use crate::commands::objcache::object::RuntimeObject;
use crate::commands::objcache::shared_header::SharedHeader;
use crate::commands::objcache::store::Store;
use crate::diagnostic::Result;
use crate::edge::env;
use crate::edge::env::Environment;
use crate::edge::process;
use crate::edge::programs;
use crate::model::exit_code::ExitCode;
use crate::sim::registry::Registry;

use camino::Utf8PathBuf;

/// Compiles, or copies an object that is already compiled.
///
/// # Errors
/// The compiler cannot be started.
pub(super) fn objcache(
    args: &ObjcacheArgs,
    environment: &Environment,
    registry: &Registry,
) -> Result<ExitCode> {
    let mut command = launcher(environment);
    // A cache for compilers has better keys than a header that it cannot look into.
    let may_precompile = command.is_empty();
    if provide(&args.command, may_precompile, environment, registry).is_some() {
        return Ok(ExitCode::Success);
    }
    command.extend(args.command.iter().cloned());
    Err(process::replace_this_process(&command).into())
}

/// Makes the object with what builds share; `None` if the compiler has to do it alone.
fn provide(
    command: &[String],
    may_precompile: bool,
    environment: &Environment,
    registry: &Registry,
) -> Option<()> {
    let store = Store::of(environment)?;
    let call = CompilerCall::of(command)?;
    let header = may_precompile
        .then(|| SharedHeader::of(&call, &store, registry))
        .flatten();
    match RuntimeObject::recognise(&call, &store, registry) {
        Some(object) => object.provide(header.as_ref()),
        None => header?.compile(&call),
    }
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

/// Returns the launcher that `make` puts before the compiler: this program.
pub(super) fn program() -> Option<Utf8PathBuf> {
    let path = std::env::current_exe().ok()?;
    Utf8PathBuf::from_path_buf(path).ok()
}
