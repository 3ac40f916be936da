//! Compiling a build into an attempt's directory, and the manifest of what came of it.
//!
//! Invariant: what is recorded was compiled from contents that did not change meanwhile. The
//! declared inputs are digested again after the compiler ended; a file that was touched while it
//! ran sends the attempt back.

use crate::build::ensure::Context;
use crate::build::fingerprint;
use crate::build::fingerprint::Fingerprint;
use crate::build::fingerprint::Tools;
use crate::build::fingerprint::digest_file;
use crate::build::manifest::Input;
use crate::build::manifest::Manifest;
use crate::build::manifest::Output;
use crate::build::progress::Progress;
use crate::build::refusal::refusal;
use crate::build::shadow;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::edge::fs;
use crate::edge::jobs::JobShare;
use crate::edge::process::CommandSpec;
use crate::edge::process::Completion;
use crate::edge::process::complete;
use crate::lock::FailureKind;
use crate::lock::Leader;
use crate::model::build::Build;
use crate::model::build::Simulator;
use crate::sim::compile::Recipe;
use crate::sim::compile::Toolset;
use crate::sim::compile::read_dependencies;
use crate::sim::compile::recipe;
use crate::sim::complaint::unknown_parameters;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::SystemTime;

/// The compiler's log, in the attempt's directory.
pub(super) const LOG: &str = "build.log";
/// A file whose time tells when the compilers had ended, by the clock of the disk.
const ENDED_MARK: &str = "compiled";

pub(super) fn interrupted(build: &Build) -> Diagnostic {
    Diagnostic::error(
        Code::SessionInterrupted,
        format!("build `{}` was interrupted", build.name),
    )
}

/// Why a compile gave nothing, and whether it would again.
pub(super) type Failed = (FailureKind, Problems);

fn transient(problems: impl Into<Problems>) -> Failed {
    (FailureKind::Transient, problems.into())
}

/// Compiles into the leader's directory and returns the record to publish.
pub(super) fn compile(
    build: &Build,
    tools: Tools<'_>,
    context: &Context<'_>,
    print: &Fingerprint,
    leader: &Leader,
) -> Result<serde_json::Value, Failed> {
    let out = leader.dir().to_owned();
    let toolset = Toolset {
        tool: tools.simulator,
        python: tools.python,
        object_cache: context.object_cache,
        object_env: context.object_env,
    };
    let recipe = recipe(build, toolset, &out);
    let log = out.join(LOG);
    fs::write(&log, "").map_err(transient)?;
    // The file's server stamps this time and those of the sources beside it.
    let started = fs::stamp(&log)
        .map_err(transient)?
        .and_then(|stamp| stamp.modified);
    for file in &recipe.files {
        fs::write(&file.path, &file.text).map_err(transient)?;
    }
    run_steps(build, context, &recipe, &log, leader)?;
    let said = fs::read_if_there(&log).unwrap_or_default();
    if !unknown_parameters(build, &said).is_empty() {
        let problem = refusal(build, context, &log, "");
        return Err((FailureKind::Deterministic, problem.into()));
    }
    let text = fs::read_if_there(&recipe.dependencies).unwrap_or_default();
    let mut discovered = read_dependencies(build.simulator, &text);
    if let Some(dir) = &recipe.make_dependencies {
        discovered.extend(made_from(dir));
    }
    let paths = input_paths(build, &discovered, &out, &tools.simulator.compiler);
    // By the same server's clock: a file that carries a time of the future was not touched now.
    let ended_mark = out.join(ENDED_MARK);
    fs::write(&ended_mark, "").map_err(transient)?;
    let ended = fs::stamp(&ended_mark)
        .map_err(transient)?
        .and_then(|stamp| stamp.modified);
    let inputs = digest_inputs(build, &paths, started..=ended)?;
    let absent = shadow::absences(build, &paths);
    let again = fingerprint::fingerprint(build, tools).map_err(transient)?;
    if again.key != print.key {
        return Err(transient(changed_under_us(build)));
    }
    let outputs = digest_outputs(build, &recipe, &out, &log)?;
    let manifest = Manifest {
        name: build.name.clone(),
        parts: print.parts.clone(),
        inputs,
        absent,
        outputs,
        made_at: jiff::Timestamp::try_from(context.clock.wall())
            .map(|time| time.to_string())
            .unwrap_or_default(),
    };
    serde_json::to_value(manifest).map_err(|error| {
        transient(Diagnostic::error(
            Code::DiskIo,
            format!("cannot write the manifest: {error}"),
        ))
    })
}

fn changed_under_us(build: &Build) -> Diagnostic {
    Diagnostic::error(
        Code::BuildSourcesChanged,
        format!(
            "a source of build `{}` changed while it was compiled",
            build.name
        ),
    )
}

fn run_steps(
    build: &Build,
    context: &Context<'_>,
    recipe: &Recipe,
    log: &Utf8Path,
    leader: &Leader,
) -> Result<(), Failed> {
    let Some(job) = context.jobs.take() else {
        return Err(transient(interrupted(build)));
    };
    let share = job.share();
    for step in &recipe.steps {
        let spec = CommandSpec {
            program: step.program.clone(),
            args: step.args.clone(),
            env: step_env(&step.env, &share),
            // Flags of a make that started us are not meant for ours, and its jobserver is not the
            // one that ours shall use.
            env_remove: [
                "MAKEFLAGS",
                "MFLAGS",
                "MAKELEVEL",
                "MAKEFILES",
                "GNUMAKEFLAGS",
            ]
            .map(str::to_owned)
            .to_vec(),
            cwd: build.project_dir.clone(),
            log: log.to_owned(),
            channel_env: None,
            inherits: share.descriptors().to_vec(),
        };
        let began = context.clock.now();
        let until = began + context.build_timeout;
        let (mut progress, told) = Progress::of(step.name, log.to_owned(), began);
        leader.note(&told);
        let mut goes_on = || {
            if let Some(news) = progress.news(context.clock.now()) {
                leader.note(&news);
            }
            !leader.is_lost()
        };
        let completion = complete(
            context.host,
            context.clock.as_ref(),
            &spec,
            until,
            &mut goes_on,
        )
        .map_err(transient)?;
        match completion {
            Completion::Left(exit) if exit.is_success() => {}
            Completion::Left(exit) => {
                let took = context.clock.now().saturating_duration_since(began);
                let how = format!("{exit}, {:.1} s", took.as_secs_f64());
                let problem = refusal(build, context, log, &format!("`{}`: {how}", step.name));
                return Err((failure_kind(exit, log), problem.into()));
            }
            Completion::TimedOut => {
                return Err(transient(timed_out(build, step.name, context, log)));
            }
            Completion::Stopped(_) | Completion::Abandoned => {
                return Err(transient(interrupted(build)));
            }
        }
    }
    Ok(())
}

/// Returns a step's variables with those by which it takes part in the job budget.
fn step_env(env: &BTreeMap<String, String>, share: &JobShare) -> BTreeMap<String, String> {
    let mut env = env.clone();
    let flags = env.entry("MAKEFLAGS".to_owned()).or_default();
    // `make` wants single letters, which the user may have set, before long words.
    flags.push(' ');
    flags.push_str(&share.make_flags());
    env
}

fn timed_out(build: &Build, step: &str, context: &Context<'_>, log: &Utf8Path) -> Diagnostic {
    let limit = context.build_timeout.as_secs();
    Diagnostic::error(
        Code::BuildTimeout,
        format!(
            "`{step}` for build `{}` ran longer than {limit} s and was stopped",
            build.name
        ),
    )
    .fact(format!("log: {log}"))
    .log(log)
    .help("raise `build_timeout_s` in runner.toml")
}

/// Says whether compiling the same again would fail again.
fn failure_kind(exit: crate::edge::process::Exit, log: &Utf8Path) -> FailureKind {
    const CIRCUMSTANCES: [&str; 8] = [
        "no space left",
        "disk quota exceeded",
        "cannot allocate memory",
        "out of memory",
        "virtual memory exhausted",
        "resource temporarily unavailable",
        "killed signal",
        "licen",
    ];
    let crate::edge::process::Exit::Code(_) = exit else {
        return FailureKind::Transient;
    };
    let text = fs::read_if_there(log).unwrap_or_default().to_lowercase();
    if CIRCUMSTANCES.iter().any(|words| text.contains(words)) {
        FailureKind::Transient
    } else {
        FailureKind::Deterministic
    }
}

/// Names what the compiler has read; the files it generated itself are left out.
///
/// So is the compiler, which Verilator names too: the key holds its identity already, and reading
/// its 16 MB for every build took three quarters of a check of four builds.
fn input_paths(
    build: &Build,
    discovered: &[String],
    out: &Utf8Path,
    compiler: &Utf8Path,
) -> Vec<Utf8PathBuf> {
    let mut paths: Vec<Utf8PathBuf> = discovered
        .iter()
        .map(|name| build.project_dir.join(name))
        .filter(|path| !path.starts_with(out) && path != compiler)
        .collect();
    paths.extend(build.sources.iter().cloned());
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Reads the `*.d` files that the C++ compiler wrote: headers of the user's own C++ among them.
fn made_from(dir: &Utf8Path) -> Vec<String> {
    let names = fs::list(dir).unwrap_or_default();
    names
        .iter()
        .filter(|name| Utf8Path::new(name).extension() == Some("d"))
        .filter_map(|name| fs::read_if_there(&dir.join(name)))
        .flat_map(|text| read_dependencies(Simulator::Verilator, &text))
        .map(|name| dir.join(name).to_string())
        .collect()
}

/// Digests what the compiler has read, unless one of the files was touched meanwhile.
fn digest_inputs(
    build: &Build,
    paths: &[Utf8PathBuf],
    while_compiling: RangeInclusive<Option<SystemTime>>,
) -> Result<Vec<Input>, Failed> {
    let (started, ended) = while_compiling.into_inner();
    paths
        .par_iter()
        .map(|path| {
            let stamp = fs::stamp(path).map_err(transient)?;
            let touched = |time: Option<SystemTime>| time > started && time <= ended;
            let is_touched =
                stamp.is_some_and(|stamp| touched(stamp.modified) || touched(stamp.changed));
            if started.is_some() && is_touched {
                return Err(transient(changed_under_us(build)));
            }
            let digest = digest_file(path).map_err(transient)?;
            let path = path
                .strip_prefix(&build.project_dir)
                .unwrap_or(path)
                .to_owned();
            Ok(Input { path, digest })
        })
        .collect()
}

fn digest_outputs(
    build: &Build,
    recipe: &Recipe,
    out: &Utf8Path,
    log: &Utf8Path,
) -> Result<Vec<Output>, Failed> {
    recipe
        .outputs
        .iter()
        .map(|path| {
            let stamp = fs::stamp(path).map_err(transient)?;
            let Some(stamp) = stamp else {
                return Err(transient(
                    Diagnostic::error(
                        Code::BuildNoArtifact,
                        format!("the compiler of build `{}` left no `{path}`", build.name),
                    )
                    .fact(format!("log: {log}"))
                    .log(log),
                ));
            };
            let digest = digest_file(path).map_err(transient)?;
            let path = path.strip_prefix(out).unwrap_or(path).to_owned();
            Ok(Output {
                path,
                size: stamp.size,
                digest,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::build::BuildName;

    #[test]
    fn neither_the_compiler_nor_what_it_wrote_is_an_input() {
        let build = Build {
            name: BuildName("top".to_owned()),
            simulator: Simulator::Verilator,
            sources: vec![Utf8PathBuf::from("/p/top.sv")],
            includes: Vec::new(),
            hdl_toplevel: "top".to_owned(),
            defines: BTreeMap::new(),
            parameters: BTreeMap::new(),
            timescale: None,
            build_args: Vec::new(),
            waves: false,
            build_env: BTreeMap::new(),
            project_dir: Utf8PathBuf::from("/p"),
        };
        let discovered = [
            "/v/bin/verilator_bin",
            "/v/include/verilated_std.sv",
            "top.sv",
            "inc/defs.svh",
            "/p/out/cpp/Vtop.h",
        ]
        .map(str::to_owned);
        let paths = input_paths(
            &build,
            &discovered,
            Utf8Path::new("/p/out"),
            Utf8Path::new("/v/bin/verilator_bin"),
        );
        let expected = [
            "/p/inc/defs.svh",
            "/p/top.sv",
            "/v/include/verilated_std.sv",
        ];
        assert_eq!(paths, expected);
    }
}
