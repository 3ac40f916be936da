//! `cocorun build`: brings builds up to date.

use crate::cli::BuildArgs;
use crate::cli::Global;
use crate::commands::execute::Work;
use crate::commands::execute::execute;
use crate::commands::repeat::rerun_prefix;
use crate::commands::reporting::Console;
use crate::commands::resolved::Resolved;
use crate::commands::resolved::Startup;
use crate::commands::session::Session;
use crate::commands::test::without_effect;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::event::SessionCommand;
use crate::model::build::Build;
use crate::model::exit_code::ExitCode;
use crate::plan;
use crate::plan::Selection;
use crate::plan::SelectionArgs;

use std::collections::BTreeSet;

/// Builds the named builds, or all.
///
/// # Errors
/// Configuration, tools and disks; a design that does not compile only sets the exit code.
pub(super) fn build(
    args: &BuildArgs,
    global: &Global,
    startup: Startup,
    console: Console,
) -> Result<ExitCode> {
    let warnings = without_effect(&startup.edges.environment);
    let resolved = Resolved::open(global, &args.work, startup)?;
    let plan = plan::expand(&resolved.config);
    let names = SelectionArgs {
        builds: args.names.clone(),
        simulator: resolved.known_simulator(args.simulator.as_ref())?,
        ..SelectionArgs::default()
    };
    let selection = Selection::new(names, &plan)?;
    let builds: Vec<Build> = plan
        .builds
        .iter()
        .filter(|build| selection.selects_build(build))
        .cloned()
        .collect();
    if builds.is_empty() {
        let problem = Diagnostic::error(Code::NothingSelected, "no build is selected");
        return Err(problem.help(selection.advice(&BTreeSet::new())).into());
    }
    let session = Session::inspect(resolved, &builds, &[], console)?;
    let mut reports = console.build_reports(args.work.explain, args.format);
    let work = Work {
        builds: &builds,
        modules: &[],
        selection: &selection,
        command: SessionCommand::Build,
        seed: None,
        rerun_prefix: rerun_prefix(global),
        warnings,
    };
    execute(&session, &work, &mut reports)
}
