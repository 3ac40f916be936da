//! Compiles a build into an attempt's directory and writes the manifest of the result.
//!
//! Invariant: what is recorded was compiled from contents that did not change meanwhile. The
//! declared inputs are digested again after the compiler ends; if a file was touched while it ran,
//! the attempt is repeated.

use crate::build::compile_error::compile_error;
use crate::build::context::BuildContext;
use crate::build::dependencies::read_dependencies;
use crate::build::dependencies::without_parents;
use crate::build::fingerprint;
use crate::build::fingerprint::Fingerprint;
use crate::build::fingerprint::digest_file;
use crate::build::links::Links;
use crate::build::manifest::Input;
use crate::build::manifest::Manifest;
use crate::build::manifest::Output;
use crate::build::progress::Progress;
use crate::build::shadowed_includes;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::edge::env;
use crate::edge::fs;
use crate::edge::jobs::JobShare;
use crate::edge::process::CommandSpec;
use crate::edge::process::Completion;
use crate::edge::process::complete;
use crate::lock::FailureKind;
use crate::lock::Leader;
use crate::model::build::Build;
use crate::model::build::UnknownParameters;
use crate::model::step::StepFile;
use crate::sim::complaint::unknown_parameters;
use crate::sim::recipe::BuildDirs;
use crate::sim::recipe::CompileStep;
use crate::sim::recipe::Recipe;
use crate::sim::recipe::Word;
use crate::sim::tools::InstalledSimulator;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::SystemTime;

/// The compiler's log, in the attempt's directory.
pub(super) const LOG: &str = "build.log";
/// A file whose modification time is when the compilers ended, by the clock of the disk.
const ENDED_MARK: &str = "compiled";

pub(super) fn interrupted(build: &Build) -> Diagnostic {
    Diagnostic::error(
        Code::SessionInterrupted,
        format!("build `{}` was interrupted", build.name),
    )
}

/// Why a compile produced nothing, and whether repeating it would help.
pub(super) type Failed = (FailureKind, Problems);

fn transient(problems: impl Into<Problems>) -> Failed {
    (FailureKind::Transient, problems.into())
}

/// A result to publish.
pub(super) struct Compiled {
    pub(super) record: serde_json::Value,
    /// Parameters that the toplevel does not have, and that were left out.
    pub(super) ignored_parameters: Vec<String>,
}

/// Compiles into the leader's directory and returns the record to publish.
pub(super) fn compile(
    build: &Build,
    context: &BuildContext<'_>,
    print: &Fingerprint,
    leader: &Leader,
) -> Result<Compiled, Failed> {
    let out = leader.dir().to_owned();
    let places = BuildDirs::new(build, &out);
    let recipe = &print.recipe;
    let installed = context
        .tools
        .simulator(&build.simulator)
        .map_err(transient)?;
    let log = out.join(LOG);
    fs::write(&log, "").map_err(transient)?;
    // The file server sets this time and those of the sources next to it.
    let started = fs::stamp(&log)
        .map_err(transient)?
        .and_then(|stamp| stamp.modified);
    let attempt = Attempt {
        build,
        context,
        installed,
        places,
        links: Links::new(context.links_dir.as_deref()),
        log: &log,
        leader,
    };
    for file in &recipe.files {
        let text = attempt.render(&file.content)?;
        fs::write(&out.join(&file.path), text).map_err(transient)?;
    }
    attempt.run_steps(recipe)?;
    let ignored_parameters = attempt.unknown_parameters();
    if !ignored_parameters.is_empty() && build.unknown_parameters == UnknownParameters::Error {
        let problem = compile_error(build, context, &log, "");
        return Err((FailureKind::Deterministic, problem.into()));
    }
    let discovered = read_dependencies(recipe, places);
    let discovered = discovered.iter().map(|name| attempt.links.original(name));
    let discovered: Vec<String> = discovered.collect();
    let paths = input_paths(build, &discovered, &out, &installed.tool.compiler);
    // By the same server's clock: a file with a time in the future was not touched now.
    let ended_mark = out.join(ENDED_MARK);
    fs::write(&ended_mark, "").map_err(transient)?;
    let ended = fs::stamp(&ended_mark)
        .map_err(transient)?
        .and_then(|stamp| stamp.modified);
    let inputs = digest_inputs(build, &paths, started..=ended)?;
    let absent = shadowed_includes::absences(build, &paths);
    let again = fingerprint::fingerprint(build, context).map_err(transient)?;
    if again.key != print.key {
        return Err(transient(changed_under_us(build)));
    }
    let outputs = digest_outputs(build, recipe, &out, &log)?;
    let manifest = Manifest {
        name: build.name.clone(),
        parts: print.parts.clone(),
        inputs,
        absent,
        outputs,
        made_at: jiff::Timestamp::try_from(context.edges.clock.wall())
            .map(|time| time.to_string())
            .unwrap_or_default(),
    };
    let record = serde_json::to_value(manifest).map_err(|error| {
        transient(Diagnostic::error(
            Code::DiskIo,
            format!("cannot write the manifest: {error}"),
        ))
    })?;
    Ok(Compiled {
        record,
        ignored_parameters,
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

/// One compile in progress.
struct Attempt<'a> {
    build: &'a Build,
    context: &'a BuildContext<'a>,
    installed: &'a InstalledSimulator,
    places: BuildDirs<'a>,
    links: Links<'a>,
    log: &'a Utf8Path,
    leader: &'a Leader,
}

impl Attempt<'_> {
    fn run_steps(&self, recipe: &Recipe) -> Result<(), Failed> {
        let Some(job) = self.context.jobs.take() else {
            return Err(transient(interrupted(self.build)));
        };
        let share = job.share();
        recipe
            .steps
            .iter()
            .try_for_each(|step| self.run_step(step, &share))
    }

    fn run_step(&self, step: &CompileStep, share: &JobShare) -> Result<(), Failed> {
        let (build, context, log) = (self.build, self.context, self.log);
        let spec = self.command(step, share)?;
        let clock = context.edges.clock.as_ref();
        let began = clock.now();
        let until = began + context.build_timeout;
        let (mut progress, first) = Progress::of(&step.name, log.to_owned(), began);
        self.leader.note(&first);
        let mut goes_on = || {
            if let Some(news) = progress.news(clock.now()) {
                self.leader.note(&news);
            }
            !self.leader.is_lost()
        };
        let completion = complete(
            context.edges.host.as_ref(),
            clock,
            &spec,
            until,
            &mut goes_on,
        )
        .map_err(transient)?;
        match completion {
            Completion::Left(exit) if exit.is_success() => Ok(()),
            Completion::Left(exit) => {
                if let Some(fewer) = self.without_unknown_parameters(step) {
                    return self.run_step(&fewer, share);
                }
                let took = clock.now().saturating_duration_since(began);
                let how = format!("`{}`: {exit}, {:.1} s", step.name, took.as_secs_f64());
                let problem = compile_error(build, context, log, &how);
                Err((failure_kind(exit, log), problem.into()))
            }
            Completion::TimedOut => Err(transient(timed_out(build, &step.name, context, log))),
            Completion::Stopped(_) | Completion::Abandoned => Err(transient(interrupted(build))),
        }
    }

    /// Returns the build's parameters that, by the compiler's log, its toplevel does not have.
    fn unknown_parameters(&self) -> Vec<String> {
        let log = fs::read_if_there(self.log).unwrap_or_default();
        let simulator = self.installed.simulator.as_ref();
        let names = unknown_parameters(simulator, self.build, &log);
        names.into_iter().map(str::to_owned).collect()
    }

    /// Returns a step that failed without the parameters that the toplevel does not have, if that
    /// is wanted and there are any.
    fn without_unknown_parameters(&self, step: &CompileStep) -> Option<CompileStep> {
        if self.build.unknown_parameters == UnknownParameters::Error {
            return None;
        }
        let unknown = self.unknown_parameters();
        let mut fewer = step.clone();
        let is_kept = |word: &Word| {
            unknown
                .iter()
                .all(|name| word.label != Word::parameter(name))
        };
        fewer.args.retain(is_kept);
        (fewer.args.len() < step.args.len()).then_some(fewer)
    }

    /// Returns how to start a step: what is part of the key, and additions that change no output.
    fn command(&self, step: &CompileStep, share: &JobShare) -> Result<CommandSpec, Failed> {
        let words = step.args.iter().map(|word| self.render(word));
        let mut args = words.collect::<Result<Vec<String>, Failed>>()?;
        let mut env = step_env(&step.env, share);
        for (name, value) in &self.installed.tool.env {
            let value = self.spell(Utf8Path::new(value)).map_err(transient)?;
            env.insert(name.clone(), value.into_string());
        }
        if let (Some(variable), Some(cache)) = (&step.launcher_variable, self.context.object_cache)
        {
            args.push(format!("{variable}={}", cache.launcher));
            env.extend(cache.env.clone());
            env.insert(
                env::COCORUN_OBJECT_TOOLS.to_owned(),
                self.object_tools(step),
            );
            env.insert(env::COCORUN_OBJECT_JOBS.to_owned(), share.address());
        }
        Ok(CommandSpec {
            program: self.program(&step.program)?,
            args,
            env,
            // Flags of a make that started cocorun are not meant for the make started here, which
            // uses another jobserver.
            env_remove: [
                "MAKEFLAGS",
                "MFLAGS",
                "MAKELEVEL",
                "MAKEFILES",
                "GNUMAKEFLAGS",
            ]
            .map(str::to_owned)
            .to_vec(),
            cwd: self.build.project_dir.clone(),
            log: self.log.to_owned(),
            channel_env: None,
            inherits: share.descriptors().to_vec(),
        })
    }

    fn render(&self, word: &Word) -> Result<String, Failed> {
        word.render(self.places, |path| self.spell(path))
            .map_err(transient)
    }

    /// Returns the program to start: some list themselves among the files that they have read.
    fn program(&self, program: &Utf8Path) -> Result<Utf8PathBuf, Failed> {
        if program.is_absolute() {
            return self.spell(program).map_err(transient);
        }
        Ok(program.to_owned())
    }

    /// Returns a path as the compiler can handle it.
    fn spell(&self, path: &Utf8Path) -> crate::diagnostic::Result<Utf8PathBuf> {
        if self.installed.simulator.splits_paths_at_blanks() {
            self.links.without_blanks(path)
        } else {
            Ok(path.to_owned())
        }
    }

    /// Returns everything that a shared object depends on besides its command line.
    fn object_tools(&self, step: &CompileStep) -> String {
        let tool = &self.installed.tool;
        let mut variables = self.context.inherited(self.installed.simulator.as_ref());
        let step_env = step.env.clone().into_iter();
        // Those of cocorun itself change no object.
        variables.extend(step_env.filter(|(name, _)| !name.starts_with("COCORUN_")));
        format!("{} {:?} {variables:?}", tool.identity, tool.helpers)
    }
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

fn timed_out(build: &Build, step: &str, context: &BuildContext<'_>, log: &Utf8Path) -> Diagnostic {
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

/// Says whether the same compile would fail again.
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

/// Lists what the compiler has read, without the files that it generated itself.
///
/// So is the compiler, which some list too: the key holds its identity already, and reading its 16 MB for every
/// build took three quarters of a check of four builds.
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
    paths.extend(build.sources.iter().map(|source| source.path.clone()));
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Returns the record of a file that a step has written. The key holds its content already; with its
/// place in the manifest as well, the build would be tied to one attempt of the step.
fn step_file<'a>(build: &'a Build, path: &Utf8Path) -> Option<&'a StepFile> {
    let plain = without_parents(path);
    let (step, inside) = build.step_of(&plain)?;
    let mut files = build.step_results.get(step)?.files.iter();
    files.find(|file| file.path == inside)
}

/// Digests what the compiler has read, unless one of the files was touched meanwhile, or is not as a
/// step wrote it.
fn digest_inputs(
    build: &Build,
    paths: &[Utf8PathBuf],
    while_compiling: RangeInclusive<Option<SystemTime>>,
) -> Result<Vec<Input>, Failed> {
    let (started, ended) = while_compiling.into_inner();
    paths
        .par_iter()
        .filter_map(|path| {
            let digest = match digest_unless_touched(build, path, started, ended) {
                Ok(digest) => digest,
                Err(failed) => return Some(Err(failed)),
            };
            match step_file(build, path) {
                Some(file) if file.digest == digest => None,
                Some(_) => Some(Err(transient(changed_under_us(build)))),
                None => {
                    let path = path.strip_prefix(&build.project_dir).unwrap_or(path);
                    let path = path.to_owned();
                    Some(Ok(Input { path, digest }))
                }
            }
        })
        .collect()
}

/// Digests a file, unless it was touched after a time and not after another.
fn digest_unless_touched(
    build: &Build,
    path: &Utf8Path,
    started: Option<SystemTime>,
    ended: Option<SystemTime>,
) -> Result<String, Failed> {
    let stamp = fs::stamp(path).map_err(transient)?;
    let touched = |time: Option<SystemTime>| time > started && time <= ended;
    let is_touched = stamp.is_some_and(|stamp| touched(stamp.modified) || touched(stamp.changed));
    if started.is_some() && is_touched {
        return Err(transient(changed_under_us(build)));
    }
    digest_file(path).map_err(transient)
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
        .map(|name| {
            let path = &out.join(name);
            let stamp = fs::stamp(path).map_err(transient)?;
            let Some(stamp) = stamp else {
                return Err(transient(
                    Diagnostic::error(
                        Code::BuildNoArtifact,
                        format!("the compiler of build `{}` wrote no `{path}`", build.name),
                    )
                    .fact(format!("log: {log}"))
                    .log(log),
                ));
            };
            let digest = digest_file(path).map_err(transient)?;
            Ok(Output {
                path: name.clone(),
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
    use crate::model::build::SimulatorName;
    use crate::model::build::Source;
    use crate::model::build::UnknownParameters;
    use crate::model::step::StepResult;

    use std::collections::BTreeSet;

    #[test]
    fn neither_the_compiler_nor_what_it_wrote_is_an_input() {
        let build = Build {
            name: BuildName("top".to_owned()),
            table: "top".to_owned(),
            simulator: SimulatorName("any".to_owned()),
            sources: [Source::new(Utf8PathBuf::from("/p/top.sv"))].into(),
            includes: [].into(),
            hdl_toplevel: "top".to_owned(),
            extra_toplevels: Vec::new(),
            defines: BTreeMap::new(),
            parameters: BTreeMap::new(),
            timescale: None,
            build_args: Vec::new(),
            waves: false,
            unknown_parameters: UnknownParameters::Error,
            build_env: BTreeMap::new(),
            steps: Vec::new(),
            step_results: BTreeMap::new(),
            run_files: BTreeSet::new(),
            project_dir: Utf8PathBuf::from("/p"),
        };
        let discovered = [
            "/v/bin/compiler",
            "/v/include/std.sv",
            "top.sv",
            "inc/defs.svh",
            "/p/out/cpp/Vtop.h",
        ]
        .map(str::to_owned);
        let paths = input_paths(
            &build,
            &discovered,
            Utf8Path::new("/p/out"),
            Utf8Path::new("/v/bin/compiler"),
        );
        let expected = ["/p/inc/defs.svh", "/p/top.sv", "/v/include/std.sv"];
        assert_eq!(paths, expected);
    }

    #[test]
    fn a_design_is_not_kept_if_a_generated_file_is_not_as_its_step_wrote_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = Utf8Path::from_path(dir.path()).expect("UTF-8");
        let path = dir.join("out/regs.sv");
        fs::create_dirs(&dir.join("out")).expect("local");
        fs::write(&path, "wire a;").expect("local");
        let file = StepFile {
            path: "regs.sv".into(),
            size: 7,
            digest: digest_file(&path).expect("local"),
        };
        let mut build = Build::plain(dir.as_str(), &[]);
        let result = StepResult {
            is_reused: false,
            dir: dir.join("out"),
            files: vec![file],
        };
        build.step_results = BTreeMap::from([("regs".to_owned(), result)]);
        let inputs = |paths: &[Utf8PathBuf]| digest_inputs(&build, paths, None..=None);
        let paths = [path.clone(), dir.join("other.sv")];
        fs::write(&paths[1], "").expect("local");
        let listed = inputs(&paths).unwrap_or_else(|_| panic!("nothing has changed"));
        let names: Vec<&str> = listed.iter().map(|input| input.path.as_str()).collect();
        assert_eq!(names, ["other.sv"], "the key holds the other one");
        fs::write(&path, "wire b;").expect("local");
        let failed = inputs(&paths).expect_err("it was edited");
        assert_eq!(failed.1.0[0].code, Code::BuildSourcesChanged);
    }
}
