//! `cocorun test`: builds what is needed, runs the testcases, reports.

use crate::cli::Global;
use crate::cli::SelectArgs;
use crate::cli::TestArgs;
use crate::commands::execute::Work;
use crate::commands::execute::execute;
use crate::commands::execute::nothing_selected;
use crate::commands::repeat::rerun_prefix;
use crate::commands::reporting::Console;
use crate::commands::reporting::junit_file;
use crate::commands::reporting::junit_report;
use crate::commands::resolved::Resolved;
use crate::commands::resolved::Startup;
use crate::commands::session::Session;
use crate::config;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::edge::env::Environment;
use crate::edge::output_file::OutputFile;
use crate::event::SessionCommand;
use crate::model::build::Build;
use crate::model::exit_code::ExitCode;
use crate::model::test::PlannedModule;
use crate::model::test::Seed;
use crate::plan;
use crate::plan::Plan;
use crate::plan::Selection;
use crate::plan::SelectionArgs;
use crate::sim::launch::TYPED_VARIABLES;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Runs the selected testcases; from the start, the JUnit file is this session's.
///
/// # Errors
/// Configuration, tools and disks, and a report that cannot be written; verdicts only set the exit
/// code.
pub(super) fn test(
    args: &TestArgs,
    global: &Global,
    startup: Startup,
    console: Console,
) -> Result<ExitCode> {
    let Some(path) = &args.junit else {
        return session(args, global, startup, console, None);
    };
    let file = junit_file(path, args.format)?;
    let report = || junit_report(&file);
    report().write_placeholder()?;
    session(args, global, startup, console, Some(&file)).map_err(|mut problems| {
        // Reports are written last, so if one of them fails, this one exists or cannot be written.
        let is_of_reports = |problem: &Diagnostic| problem.code == Code::ReportUnwritable;
        if !problems.0.iter().any(is_of_reports)
            && let Err(more) = report().write_errors(&problems.0)
        {
            problems.0.extend(more.0);
        }
        problems
    })
}

fn session(
    args: &TestArgs,
    global: &Global,
    startup: Startup,
    console: Console,
    junit: Option<&Arc<OutputFile>>,
) -> Result<ExitCode> {
    let mut without_effect = without_effect(&startup.edges.environment);
    let resolved = Resolved::open(global, &args.work, startup)?;
    let mut plan = plan::expand(&resolved.config);
    let typed = typed_settings(args)?;
    apply_overrides(args, &typed, &mut plan);
    let (selection, builds, modules) = select(&args.select, &plan, &resolved)?;
    without_effect.extend(kept_by_variants(args, &typed, &modules));
    let session = Session::inspect(resolved, &builds, &modules, console)?;
    let mut reports = console.reports(args, junit);
    let work = Work {
        builds: &builds,
        modules: &modules,
        selection: &selection,
        command: SessionCommand::Test,
        seed: args.seed,
        rerun_prefix: repeats(args, global),
        warnings: without_effect,
    };
    execute(&session, &work, &mut reports)
}

/// Warns about variables that plain cocotb would have used to select something else.
pub(super) fn without_effect(environment: &Environment) -> Vec<Diagnostic> {
    let is_set = |name: &str| environment.get(name).is_some();
    TYPED_VARIABLES
        .into_iter()
        .filter(|(name, _)| is_set(name))
        .map(|(name, instead)| {
            let text = format!("`{name}` is set in the environment and has no effect");
            Diagnostic::warning(Code::SelectVariable, text).help(instead)
        })
        .collect()
}

/// Returns the beginning of a command that repeats a testcase of this session.
fn repeats(args: &TestArgs, global: &Global) -> String {
    let mut command = rerun_prefix(global);
    for (is_given, flag) in [(args.waves, " --waves"), (args.no_fork, " --no-fork")] {
        if is_given {
            command.push_str(flag);
        }
    }
    if let Some(isolation) = args.isolation {
        command.extend([" --isolation ", isolation.name()]);
    }
    if let Some(limit) = args.timeout {
        command.extend([" --timeout ", &limit.to_string()]);
    }
    let plusargs = args.plusarg.iter().map(|text| (" --plusarg ", text));
    let env = args.env.iter().map(|text| (" --env ", text));
    for (option, text) in plusargs.chain(env) {
        command.extend([option, &shell_words::quote(text)]);
    }
    command
}

/// What `--plusarg` and `--env` give every run.
struct TypedSettings {
    /// With the leading `+`.
    plusargs: Vec<String>,
    env: BTreeMap<String, String>,
}

/// Checks what is given with `--plusarg` and `--env`.
///
/// # Errors
/// Everything that is wrong with one of them.
fn typed_settings(args: &TestArgs) -> Result<TypedSettings> {
    let mut problems = Vec::new();
    let mut refuse = |text: String, help: String| {
        problems.push(Diagnostic::error(Code::UsageBadArgument, text).help(help));
    };
    let mut plusargs = Vec::new();
    for text in &args.plusarg {
        match config::plusarg(text) {
            Some(plusarg) => plusargs.push(plusarg),
            None => refuse(
                format!("invalid plusarg `{text}`"),
                "write `--plusarg NAME` or `--plusarg NAME=VALUE`".to_owned(),
            ),
        }
    }
    let mut env = BTreeMap::new();
    for text in &args.env {
        let name = text.split('=').next().unwrap_or_default();
        match (text.split_once('='), config::refused_variable(name)) {
            (Some((name, _)), Some(help)) => {
                refuse(format!("`{name}` is set by cocorun itself"), help);
            }
            (Some((name, value)), None) if !name.is_empty() => {
                env.insert(name.to_owned(), value.to_owned());
            }
            _ => refuse(
                format!("invalid environment variable `{text}`"),
                "write `--env NAME=VALUE`".to_owned(),
            ),
        }
    }
    if problems.is_empty() {
        return Ok(TypedSettings { plusargs, env });
    }
    Err(Problems(problems))
}

/// Applies the options of the command line to the plan.
fn apply_overrides(args: &TestArgs, typed: &TypedSettings, plan: &mut Plan) {
    let typed_names: Vec<String> = typed.plusargs.iter().map(|it| plusarg_name(it)).collect();
    for module in &mut plan.modules {
        let settings = &mut module.settings;
        // What a variant is named after stays.
        let fixed = settings.fixed.clone();
        if !fixed.seed {
            settings.seed = args.seed.map(Seed).or(settings.seed);
        }
        settings.waves |= args.waves;
        settings.fork &= !args.no_fork;
        // Simulators use the first of several values.
        let is_fixed = |plusarg: &str| fixed.plusargs.contains(&plusarg_name(plusarg));
        let is_kept = |it: &String| is_fixed(it) || !typed_names.contains(&plusarg_name(it));
        settings.plusargs.retain(is_kept);
        let plusargs = typed.plusargs.iter().filter(|it| !is_fixed(it));
        settings.plusargs.extend(plusargs.cloned());
        let env = typed
            .env
            .iter()
            .filter(|(name, _)| !fixed.env.contains(*name));
        settings
            .env
            .extend(env.map(|(name, value)| (name.clone(), value.clone())));
        settings.isolation = args.isolation.unwrap_or(settings.isolation);
        if let Some(limit) = args.timeout {
            settings.timeout = Duration::from_secs_f64(limit);
        }
    }
    for build in &mut plan.builds {
        build.waves |= args.waves;
    }
}

/// Warns about options that do not change the values that variants are named after.
fn kept_by_variants(
    args: &TestArgs,
    typed: &TypedSettings,
    modules: &[PlannedModule],
) -> Vec<Diagnostic> {
    let seed = args.seed.map(Seed);
    let mut kept: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for planned in modules {
        let settings = &planned.settings;
        let fixed = &settings.fixed;
        let mut keep = |option: String| {
            let module = planned.module_in_variant().to_string();
            kept.entry(option).or_default().insert(module);
        };
        if let Some(seed) = seed.filter(|seed| fixed.seed && settings.seed != Some(*seed)) {
            keep(format!("--seed {seed}"));
        }
        let plusargs = typed.plusargs.iter().filter(|it| {
            fixed.plusargs.contains(&plusarg_name(it)) && !settings.plusargs.contains(it)
        });
        plusargs.for_each(|it| keep(format!("--plusarg {}", &it[1..])));
        let env = typed.env.iter().filter(|(name, value)| {
            fixed.env.contains(*name) && settings.env.get(*name) != Some(value)
        });
        env.for_each(|(name, value)| keep(format!("--env {name}={value}")));
    }
    let warning = |(option, modules): (String, BTreeSet<String>)| {
        let first = modules.first().map_or("", String::as_str);
        let others = match modules.len() - 1 {
            0 => String::new(),
            1 => " and 1 other variant".to_owned(),
            number => format!(" and {number} other variants"),
        };
        let words = format!("`{option}` does not change `{first}`{others}");
        Diagnostic::warning(Code::SelectVariant, words)
            .help("`cocorun list` shows the variants; select others with `--module`")
    };
    kept.into_iter().map(warning).collect()
}

/// Returns the part of a plusarg before its value, with the leading `+`.
fn plusarg_name(plusarg: &str) -> String {
    plusarg.split('=').next().unwrap_or_default().to_owned()
}

/// Picks the builds and modules that have selected testcases.
///
/// # Errors
/// An invalid filter, an unknown build or module, or nothing is selected.
pub(super) fn select(
    args: &SelectArgs,
    plan: &Plan,
    resolved: &Resolved,
) -> Result<(Selection, Vec<Build>, Vec<PlannedModule>)> {
    let selection = Selection::new(
        SelectionArgs {
            filters: args.filters.clone(),
            builds: args.build.clone(),
            modules: args.module.clone(),
            testcases: args.testcase.clone(),
            simulator: resolved.known_simulator(args.simulator.as_ref())?,
        },
        plan,
    )?;
    let modules: Vec<PlannedModule> = selection.modules(plan).cloned().collect();
    let builds: Vec<Build> = plan
        .builds
        .iter()
        .filter(|build| selection.needs_build(&build.name))
        .cloned()
        .collect();
    if plan.modules.is_empty() {
        let problem = Diagnostic::error(Code::NothingSelected, "`runner.toml` has no `[[test]]`");
        return Err(problem
            .help("add one with `test_module`, see docs/runner-toml.md")
            .into());
    }
    if modules.is_empty() {
        return Err(nothing_selected(&selection.advice(&BTreeSet::new())).into());
    }
    Ok((selection, builds, modules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_with_a_value_are_reported_to_have_no_effect() {
        let warned = |value| {
            let pairs = TYPED_VARIABLES.map(|(name, _)| (name, value));
            without_effect(&Environment::from_pairs(pairs)).len()
        };
        assert_eq!([warned(""), warned("7")], [0, TYPED_VARIABLES.len()]);
    }
}
