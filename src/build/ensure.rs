//! Making sure that a build exists: look, wait, or compile, under [`CallOnce`].
//!
//! Invariant: what is published was compiled from contents that did not change meanwhile. The
//! declared inputs are digested again after the compiler ended; a discovered one that is newer
//! than the start of the compile sends the attempt back.

use crate::build::fingerprint;
use crate::build::fingerprint::Fingerprint;
use crate::build::fingerprint::Tools;
use crate::build::fingerprint::digest_file;
use crate::build::manifest::Input;
use crate::build::manifest::Judgement;
use crate::build::manifest::Manifest;
use crate::build::manifest::Output;
use crate::build::shadow;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::fs;
use crate::edge::interrupt::Interrupt;
use crate::edge::process::CommandSpec;
use crate::edge::process::Completion;
use crate::edge::process::ProcessHost;
use crate::edge::process::complete;
use crate::edge::storage::Storage;
use crate::lock::Acceptance;
use crate::lock::CallOnce;
use crate::lock::Ensured;
use crate::lock::Failure;
use crate::lock::FailureKind;
use crate::lock::Leader;
use crate::lock::Options;
use crate::lock::Published;
use crate::lock::Waiting;
use crate::model::build::Build;
use crate::model::build::BuildName;
use crate::model::build::BuiltDesign;
use crate::sim::compile::Recipe;
use crate::sim::compile::Toolset;
use crate::sim::compile::complaints;
use crate::sim::compile::read_dependencies;
use crate::sim::compile::recipe;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

/// The step's name in the shared directory; pytest-cocotb's users know it.
const STEP: &str = "hdl_compile";
/// The compiler's log, in the attempt's directory.
const LOG: &str = "build.log";
/// How often a compile is repeated because a source changed under it.
const CHANGES_MAX: u32 = 3;

/// What building needs beside the build.
pub struct Context<'a> {
    /// Where children are started.
    pub host: &'a dyn ProcessHost,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The shared disk, as the guard sees it.
    pub storage: Arc<dyn Storage>,
    /// Ends waits and compiles when raised.
    pub interrupt: &'a Interrupt,
    /// The shared build directory, absolute.
    pub build_dir: &'a Utf8Path,
    /// How the guard behaves.
    pub lock: Options,
    /// For how long to wait for another process that builds the same.
    pub lock_timeout: Duration,
    /// For how long one command of a build may run.
    pub build_timeout: Duration,
    /// How many compilers a step may run at once.
    pub jobs: usize,
    /// What `make` puts before the C++ compiler, and its variables.
    pub object_cache: Option<&'a str>,
    /// Variables for that program.
    pub object_env: &'a BTreeMap<String, String>,
    /// Whether to build even what is up to date.
    pub force: bool,
}

/// How a build came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// We compiled it.
    Built,
    /// It was there.
    UpToDate,
    /// Another process compiled it while we waited.
    BuiltElsewhere,
}

/// A build that may be simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The result.
    pub design: BuiltDesign,
    /// How it came.
    pub origin: Origin,
    /// Why it was compiled, one line each; empty unless `Built`.
    pub reasons: Vec<String>,
    /// The compiler's log.
    pub log: Utf8PathBuf,
}

/// Makes sure that `build` exists, compiling it if nobody has.
///
/// `on_wait` is called several times a second while another process holds the guard.
///
/// # Errors
/// The compiler refused the design, a limit passed, the session stops, or the disk failed. Nothing
/// is published then; logs stay in the attempt's directory.
pub fn ensure_built(
    build: &Build,
    tools: Tools<'_>,
    context: &Context<'_>,
    on_wait: &dyn Fn(&Waiting<'_>),
) -> Result<Ready> {
    let mut force = context.force;
    for _ in 0..CHANGES_MAX {
        match attempt(build, tools, context, on_wait, force)? {
            Attempt::Ready(ready) => return Ok(ready),
            Attempt::SourcesChanged => force = false,
        }
    }
    Err(Diagnostic::error(
        Code::BuildSourcesChanged,
        format!(
            "the sources of build `{}` changed during each of {CHANGES_MAX} compiles",
            build.name
        ),
    )
    .help("wait until the files are at rest (a checkout, a generator), then run again")
    .into())
}

enum Attempt {
    Ready(Ready),
    SourcesChanged,
}

fn attempt(
    build: &Build,
    tools: Tools<'_>,
    context: &Context<'_>,
    on_wait: &dyn Fn(&Waiting<'_>),
    force: bool,
) -> Result<Attempt> {
    let print = fingerprint::fingerprint(build, tools)?;
    let dir = context.build_dir.join(directory_name(build, &print));
    let mut once = CallOnce::new(
        Arc::clone(&context.storage),
        Arc::clone(&context.clock),
        dir,
        STEP,
        context.lock.clone(),
    );
    if force {
        once.clean()?;
    }
    let reasons = RefCell::new(Vec::new());
    let has_waited = RefCell::new(false);
    let problem: RefCell<Option<Problems>> = RefCell::new(None);
    let mut work = |leader: &Leader| {
        let why = if force {
            vec!["--force was given".to_owned()]
        } else {
            Vec::new()
        };
        let found = explain(build, &print, context, &reasons.borrow());
        *reasons.borrow_mut() = if force { why } else { found };
        compile(build, tools, context, &print, leader).map_err(|failed| {
            let (kind, problems) = failed;
            let text = problems.to_string();
            *problem.borrow_mut() = Some(problems);
            Failure { kind, text }
        })
    };
    let ensured = once.ensure_done(
        &mut |published| judge(published, build, &mut reasons.borrow_mut()),
        &mut work,
        &mut |waiting| {
            *has_waited.borrow_mut() = true;
            on_wait(waiting);
            match context.interrupt.raised() {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        },
        Some(context.lock_timeout),
    )?;
    let (published, origin) = match ensured {
        Ensured::Built(published) => (published, Origin::Built),
        Ensured::Found(published) if has_waited.take() => (published, Origin::BuiltElsewhere),
        Ensured::Found(published) => (published, Origin::UpToDate),
        Ensured::Failed(failed) => {
            return match problem.take() {
                Some(problems) if problems.0[0].code == Code::BuildSourcesChanged => {
                    Ok(Attempt::SourcesChanged)
                }
                Some(problems) => Err(problems),
                None => Err(compile_problem(build, &failed.dir.join(LOG), &failed.text).into()),
            };
        }
        Ensured::Interrupted => return Err(interrupted(build).into()),
    };
    let reasons = if origin == Origin::Built {
        reasons.take()
    } else {
        Vec::new()
    };
    ready(build, &print, &published, origin, reasons).map(Attempt::Ready)
}

/// Names a build's shared directory: toplevel and key, so that equal builds share it.
fn directory_name(build: &Build, print: &Fingerprint) -> String {
    format!(
        "{}-{}",
        BuildName(build.hdl_toplevel.clone()).for_path(),
        &print.key[..16]
    )
}

fn interrupted(build: &Build) -> Diagnostic {
    Diagnostic::error(
        Code::SessionInterrupted,
        format!("build `{}` was interrupted", build.name),
    )
}

fn read_manifest(published: &Published) -> Option<Manifest> {
    serde_json::from_value(published.record.clone()).ok()
}

fn judge(published: &Published, build: &Build, reasons: &mut Vec<String>) -> Acceptance {
    let Some(manifest) = read_manifest(published) else {
        reasons.push("the record of the last compile cannot be read".to_owned());
        return Acceptance::Broken("unreadable manifest".to_owned());
    };
    match manifest.judge(&build.project_dir, &published.dir) {
        Judgement::Fit => Acceptance::Use,
        Judgement::OtherInputs(lines) => {
            *reasons = lines;
            Acceptance::Foreign
        }
        Judgement::Damaged(why) => {
            reasons.push(why.clone());
            Acceptance::Broken(why)
        }
    }
}

fn ready(
    build: &Build,
    print: &Fingerprint,
    published: &Published,
    origin: Origin,
    reasons: Vec<String>,
) -> Result<Ready> {
    let manifest = read_manifest(published);
    let artifact = manifest
        .as_ref()
        .and_then(|manifest| manifest.outputs.first());
    let Some(artifact) = artifact else {
        return Err(Diagnostic::error(
            Code::BuildNoArtifact,
            format!("build `{}` was published without an artifact", build.name),
        )
        .help("run `cocorun build --force`")
        .into());
    };
    Ok(Ready {
        design: BuiltDesign {
            name: build.name.clone(),
            simulator: build.simulator,
            key: print.key.clone(),
            dir: published.dir.clone(),
            artifact: published.dir.join(&artifact.path),
            hdl_toplevel: build.hdl_toplevel.clone(),
            waves: build.waves,
        },
        origin,
        reasons,
        log: published.dir.join(LOG),
    })
}

type Failed = (FailureKind, Problems);

fn transient(problems: impl Into<Problems>) -> Failed {
    (FailureKind::Transient, problems.into())
}

/// Compiles into the leader's directory and returns the record to publish.
fn compile(
    build: &Build,
    tools: Tools<'_>,
    context: &Context<'_>,
    print: &Fingerprint,
    leader: &Leader,
) -> std::result::Result<serde_json::Value, Failed> {
    let out = leader.dir().to_owned();
    let toolset = Toolset {
        tool: tools.simulator,
        python: tools.python,
        jobs: context.jobs,
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
    let text = fs::read_if_there(&recipe.dependencies).unwrap_or_default();
    let discovered = read_dependencies(build.simulator, &text);
    let paths = input_paths(build, &discovered, &out);
    let inputs = digest_inputs(build, &paths, started)?;
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
) -> std::result::Result<(), Failed> {
    for step in &recipe.steps {
        leader.note(&format!("running {}", step.name));
        let spec = CommandSpec {
            program: step.program.clone(),
            args: step.args.clone(),
            env: step.env.clone(),
            // A stray jobserver or make flag of a caller's make must not steer ours.
            env_remove: ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"]
                .map(str::to_owned)
                .to_vec(),
            cwd: build.project_dir.clone(),
            log: log.to_owned(),
            channel_env: None,
        };
        let began = context.clock.now();
        let until = began + context.build_timeout;
        let mut goes_on = || !leader.is_lost();
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
                let problem = compile_problem(build, log, &format!("`{}`: {how}", step.name));
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

fn compile_problem(build: &Build, log: &Utf8Path, how: &str) -> Diagnostic {
    let text = fs::read_if_there(log).unwrap_or_default();
    let mut problem = Diagnostic::error(
        Code::BuildCompile,
        format!(
            "build `{}` could not be compiled ({})",
            build.name,
            how.lines().next().unwrap_or("")
        ),
    );
    let mut lines = complaints(&text, 8);
    if lines.is_empty() {
        lines = text.lines().rev().take(8).map(str::to_owned).collect();
        lines.reverse();
    }
    for line in lines {
        problem = problem.fact(line);
    }
    problem.fact(format!("log: {log} ({} lines)", text.lines().count()))
}

/// Names what the compiler has read; the files it generated itself are left out.
fn input_paths(build: &Build, discovered: &[String], out: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut paths: Vec<Utf8PathBuf> = discovered
        .iter()
        .map(|name| build.project_dir.join(name))
        .filter(|path| !path.starts_with(out))
        .collect();
    paths.extend(build.sources.iter().cloned());
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Digests what the compiler has read, unless one of the files was touched since `started`.
fn digest_inputs(
    build: &Build,
    paths: &[Utf8PathBuf],
    started: Option<SystemTime>,
) -> std::result::Result<Vec<Input>, Failed> {
    paths
        .par_iter()
        .map(|path| {
            let stamp = fs::stamp(path).map_err(transient)?;
            let touched = stamp.and_then(|stamp| stamp.modified.max(stamp.changed));
            if started.is_some() && touched > started {
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
) -> std::result::Result<Vec<Output>, Failed> {
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
                    .fact(format!("log: {log}")),
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

/// Says why there was nothing to reuse: against the newest result of the same name.
fn explain(
    build: &Build,
    print: &Fingerprint,
    context: &Context<'_>,
    rejected: &[String],
) -> Vec<String> {
    if !rejected.is_empty() {
        return rejected.to_vec();
    }
    let Some(former) = newest_of_name(build, context) else {
        return vec!["it was never built here".to_owned()];
    };
    let lines = fingerprint::differences(&former.parts, &print.parts);
    if lines.is_empty() {
        vec!["its result is gone".to_owned()]
    } else {
        lines
    }
}

fn newest_of_name(build: &Build, context: &Context<'_>) -> Option<Manifest> {
    let names = fs::list(context.build_dir).ok()?;
    names
        .iter()
        .flat_map(|name| published_under(&context.build_dir.join(name)))
        .filter(|manifest| manifest.name == build.name)
        .max_by(|left, right| left.made_at.cmp(&right.made_at))
}

/// Reads the manifests below one key's directory; unfinished attempts have none.
fn published_under(dir: &Utf8Path) -> Vec<Manifest> {
    let attempts = dir.join("attempts");
    let names = fs::list(&attempts).unwrap_or_default();
    names
        .iter()
        .filter_map(|name| fs::read_if_there(&attempts.join(name).join("record.json")))
        .filter_map(|text| serde_json::from_str(&text).ok())
        .collect()
}
