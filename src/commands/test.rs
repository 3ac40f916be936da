//! `cocorun test`: build what is needed, run the testcases, report.

use crate::cli::Global;
use crate::cli::SelectArgs;
use crate::cli::TestArgs;
use crate::commands::reporting::Console;
use crate::commands::run::Work;
use crate::commands::run::nothing_selected;
use crate::commands::run::run;
use crate::commands::workspace::Surroundings;
use crate::commands::workspace::Workspace;
use crate::commands::workspace::rerun_prefix;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::model::build::Build;
use crate::model::exit_code::ExitCode;
use crate::model::test::PlannedModule;
use crate::model::test::Seed;
use crate::plan;
use crate::plan::Plan;
use crate::plan::Selection;
use crate::plan::SelectionArgs;

use std::time::Duration;

/// Runs the selected testcases.
///
/// # Errors
/// Configuration, tools and disks; verdicts are in the exit code.
pub(super) fn test(
    args: &TestArgs,
    global: &Global,
    surroundings: Surroundings,
    console: Console,
) -> Result<ExitCode> {
    let workspace = Workspace::open(global, &args.work, surroundings)?;
    let mut plan = plan::expand(&workspace.config);
    apply_overrides(args, &mut plan);
    let (selection, builds, modules) = select(&args.select, &plan)?;
    let toolbox = workspace.tools(&builds, console)?;
    let mut reports = console.reports(
        args.work.explain,
        args.format,
        args.junit.as_deref(),
        &repeats(args, global),
    );
    let work = Work {
        builds: &builds,
        modules: &modules,
        selects: &|id| selection.selects(id),
        only_lists: false,
        seed: args.seed,
    };
    let (exit_code, _) = run(&workspace, &toolbox, &work, &mut reports, &|tally| {
        unmatched(&selection, &tally.listed)
    })?;
    Ok(exit_code)
}

/// Returns how a command that repeats a testcase of this session begins.
fn repeats(args: &TestArgs, global: &Global) -> String {
    let mut command = rerun_prefix(global);
    for (is_given, flag) in [(args.waves, " --waves"), (args.no_fork, " --no-fork")] {
        if is_given {
            command.push_str(flag);
        }
    }
    command
}

/// Lets the command line have the last word on how runs go.
fn apply_overrides(args: &TestArgs, plan: &mut Plan) {
    for module in &mut plan.modules {
        let settings = &mut module.settings;
        settings.seed = args.seed.map(Seed).or(settings.seed);
        settings.waves |= args.waves;
        settings.fork &= !args.no_fork;
        if let Some(limit) = args.timeout {
            settings.timeout = Duration::from_secs_f64(limit);
        }
    }
    for build in &mut plan.builds {
        build.waves |= args.waves;
    }
}

/// Picks the builds and modules that hold selected testcases.
///
/// # Errors
/// A filter that cannot be used, an unknown build or module, or nothing is left.
pub(super) fn select(
    args: &SelectArgs,
    plan: &Plan,
) -> Result<(Selection, Vec<Build>, Vec<PlannedModule>)> {
    let selection = Selection::new(
        SelectionArgs {
            filters: args.filters.clone(),
            builds: args.build.clone(),
            modules: args.module.clone(),
            testcases: args.testcase.clone(),
            simulator: args.simulator,
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
        return Err(nothing_selected().into());
    }
    Ok((selection, builds, modules))
}

/// Warns of filters that matched nothing while others did.
pub(super) fn unmatched(
    selection: &Selection,
    listed: &[crate::model::test::TestcaseId],
) -> Vec<Diagnostic> {
    if listed.is_empty() {
        return Vec::new();
    }
    selection
        .unmatched(listed)
        .into_iter()
        .map(|filter| {
            Diagnostic::warning(
                Code::NothingSelected,
                format!("`{filter}` selects no testcase"),
            )
        })
        .collect()
}
