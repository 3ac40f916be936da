//! Makes sure that a build exists: finds it, waits for it, or compiles it, under [`CallOnce`].
//!
//! Invariant: a result is returned only if its manifest matches the disk now, and no two processes
//! compile the same build at the same time.

use crate::build::compile::LOG;
use crate::build::compile::compile;
use crate::build::compile::interrupted;
use crate::build::compile_error::compile_error;
use crate::build::compile_error::ignored_parameters;
use crate::build::context::BuildContext;
use crate::build::fingerprint;
use crate::build::fingerprint::Fingerprint;
use crate::build::intermediates;
use crate::build::manifest::Judgement;
use crate::build::manifest::Manifest;
use crate::build::news::BuildNews;
use crate::build::news::OnNews;
use crate::build::records::records_under;
use crate::build::step::ensure_steps;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::fs;
use crate::lock::Acceptance;
use crate::lock::CallOnce;
use crate::lock::Done;
use crate::lock::Failure;
use crate::lock::Leader;
use crate::lock::OnceStep;
use crate::lock::Published;
use crate::lock::StepError;
use crate::lock::WaitProgress;
use crate::model::build::Build;
use crate::model::build::BuildName;
use crate::model::build::BuiltDesign;

use camino::Utf8PathBuf;
use serde::Deserialize;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The step's name in the shared directory; pytest-cocotb's users know it.
const STEP: &str = "hdl_compile";
/// How often a compile is repeated because a source changed under it.
const CHANGES_MAX: u32 = 3;

/// Where a build came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This process compiled it.
    Built,
    /// It was up to date.
    UpToDate,
    /// Another process compiled it while this one waited.
    BuiltElsewhere,
}

/// A build that may be simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The result.
    pub design: BuiltDesign,
    /// Where it came from.
    pub origin: Origin,
    /// Why it was compiled, one line each; empty unless `Built`.
    pub reasons: Vec<String>,
    /// The compiler's log.
    pub log: Utf8PathBuf,
    /// Warnings about how it was compiled; none unless `Built`.
    pub warnings: Vec<Diagnostic>,
}

/// Makes sure that `build` exists; compiles it if no other process has.
///
/// Its steps run first, unless their results are up to date.
///
/// # Errors
/// The compiler rejected the design, a limit passed, the session stops, or the disk failed. Nothing
/// is published then; logs stay in the attempt's directory.
pub fn ensure_built(
    build: &Build,
    context: &BuildContext<'_>,
    on_news: &OnNews<'_>,
) -> Result<Ready> {
    let build = &ensure_steps(build, context, on_news)?;
    let mut force = context.force;
    for _ in 0..CHANGES_MAX {
        match attempt(build, context, on_news, force)? {
            Attempt::Ready(ready) => return Ok(*ready),
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
    .help("wait until the files stop changing (a checkout, a generator), then run again")
    .into())
}

enum Attempt {
    Ready(Box<Ready>),
    SourcesChanged,
}

fn attempt(
    build: &Build,
    context: &BuildContext<'_>,
    on_news: &OnNews<'_>,
    force: bool,
) -> Result<Attempt> {
    let print = fingerprint::fingerprint(build, context)?;
    let dir = context.build_dir.join(directory_name(build, &print));
    let mut once = CallOnce::new(
        Arc::clone(&context.edges.storage),
        Arc::clone(&context.edges.clock),
        dir,
        STEP,
        context.lock.clone(),
    );
    if force {
        once.clean()?;
    }
    if context.assume_built {
        return assumed(build, &print, context, &once);
    }
    let mut step = Compilation {
        build,
        context,
        print: &print,
        on_news,
        force,
        reasons: Vec::new(),
        ignored_parameters: Vec::new(),
        has_waited: false,
    };
    let done = match once.ensure_done(&mut step, Some(context.lock_timeout)) {
        Ok(done) => done,
        Err(StepError::Step(problems)) if problems.0[0].code == Code::BuildSourcesChanged => {
            return Ok(Attempt::SourcesChanged);
        }
        Err(StepError::Step(problems)) => return Err(problems),
        Err(StepError::Elsewhere(failed)) => {
            return Err(compile_error(build, context, &failed.dir.join(LOG), &failed.text).into());
        }
        Err(StepError::Interrupted) => return Err(interrupted(build).into()),
        Err(StepError::Lock(error)) => return Err(error.into()),
    };
    let (published, origin, reasons) = match done {
        Done::Here(published) => (published, Origin::Built, step.reasons),
        Done::Elsewhere(published) if step.has_waited => {
            (published, Origin::BuiltElsewhere, Vec::new())
        }
        Done::Elsewhere(published) => (published, Origin::UpToDate, Vec::new()),
    };
    let mut ready = ready(build, context, &print, &published, (origin, reasons))?;
    if origin == Origin::Built {
        let ignored = ignored_parameters(build, context, &step.ignored_parameters);
        ready.warnings.extend(ignored);
    }
    Ok(Attempt::Ready(Box::new(ready)))
}

/// Compiling one build.
struct Compilation<'a> {
    build: &'a Build,
    context: &'a BuildContext<'a>,
    print: &'a Fingerprint,
    on_news: &'a OnNews<'a>,
    force: bool,
    /// Why no result was accepted, then why it is compiled.
    reasons: Vec<String>,
    ignored_parameters: Vec<String>,
    has_waited: bool,
}

impl OnceStep for Compilation<'_> {
    type Error = Problems;

    fn run(
        &mut self,
        leader: &Leader,
    ) -> std::result::Result<serde_json::Value, Failure<Problems>> {
        self.reasons = if self.force {
            vec!["--force was given".to_owned()]
        } else {
            explain(self.build, self.print, self.context, &self.reasons)
        };
        let compiled = compile(self.build, self.context, self.print, leader);
        if let Ok(installed) = self.context.tools.simulator(&self.build.simulator) {
            let outputs = &self.print.recipe.outputs;
            intermediates::remove(installed.simulator.as_ref(), leader.dir(), outputs);
        }
        let compiled = compiled.map_err(|(kind, problems)| Failure::new(kind, problems))?;
        self.ignored_parameters = compiled.ignored_parameters;
        Ok(compiled.record)
    }

    fn accept(&mut self, published: &Published) -> Acceptance {
        judge(published, self.build, &mut self.reasons)
    }

    fn on_wait(&mut self, progress: &WaitProgress) -> ControlFlow<()> {
        self.has_waited = true;
        (self.on_news)(&BuildNews::Waiting(progress));
        match self.context.edges.interrupt.raised() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }
}

/// Returns a result that is up to date, or says why there is none.
fn assumed(
    build: &Build,
    print: &Fingerprint,
    context: &BuildContext<'_>,
    once: &CallOnce,
) -> Result<Attempt> {
    let mut reasons = Vec::new();
    for published in once.results()? {
        if judge(&published, build, &mut reasons) == Acceptance::Use {
            let ready = ready(
                build,
                context,
                print,
                &published,
                (Origin::UpToDate, Vec::new()),
            )?;
            return Ok(Attempt::Ready(Box::new(ready)));
        }
    }
    let why = explain(build, print, context, &reasons).join("; ");
    Err(Diagnostic::error(
        Code::BuildNotBuilt,
        format!("build `{}` is not up to date: {why}", build.name),
    )
    .help("run `cocorun build` first, or leave `--assume-built` out")
    .into())
}

/// Returns a build's shared directory, named by toplevel and key, so that equal builds share it.
fn directory_name(build: &Build, print: &Fingerprint) -> String {
    format!(
        "{}-{}",
        BuildName(build.hdl_toplevel.clone()).for_path(),
        &print.key[..16]
    )
}

/// Says whether a name in the build directory is that of a build's shared directory.
pub fn is_build_folder(name: &str) -> bool {
    let key = name.rsplit_once('-').map(|(_, key)| key);
    key.is_some_and(|key| key.len() == 16 && key.bytes().all(|it| it.is_ascii_hexdigit()))
}

fn read_manifest(published: &Published) -> Option<Manifest> {
    Manifest::deserialize(&published.record).ok()
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
    context: &BuildContext<'_>,
    print: &Fingerprint,
    published: &Published,
    (origin, reasons): (Origin, Vec<String>),
) -> Result<Ready> {
    let simulator = context
        .tools
        .simulator(&build.simulator)?
        .simulator
        .as_ref();
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
    let results = build.step_results.iter();
    let dirs = results.map(|(name, result)| (name.clone(), result.dir.clone()));
    Ok(Ready {
        design: BuiltDesign {
            name: build.name.clone(),
            simulator: build.simulator.clone(),
            key: print.key.clone(),
            dir: published.dir.clone(),
            artifact: published.dir.join(&artifact.path),
            hdl_toplevel: build.hdl_toplevel.clone(),
            toplevel_language: build.toplevel_language(),
            waves: build.waves,
            has_foreign_code: simulator.has_foreign_code(build, &context.inherited(simulator)),
            step_dirs: dirs.collect(),
        },
        origin,
        reasons,
        log: published.dir.join(LOG),
        warnings: Vec::new(),
    })
}

/// Says why nothing could be reused, compared with the newest result of the same name.
fn explain(
    build: &Build,
    print: &Fingerprint,
    context: &BuildContext<'_>,
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

fn newest_of_name(build: &Build, context: &BuildContext<'_>) -> Option<Manifest> {
    let names = fs::list(context.build_dir).ok()?;
    names
        .iter()
        .flat_map(|name| records_under::<Manifest>(&context.build_dir.join(name)))
        .filter(|manifest| manifest.name == build.name)
        .max_by(|left, right| left.made_at.cmp(&right.made_at))
}
