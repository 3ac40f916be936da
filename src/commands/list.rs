//! `cocorun list`: the testcases as cocotb itself finds them, on standard output.

use crate::cli::Format;
use crate::cli::Global;
use crate::cli::ListArgs;
use crate::commands::execute::Work;
use crate::commands::execute::execute;
use crate::commands::repeat::rerun_prefix;
use crate::commands::reporting::Console;
use crate::commands::reporting::print;
use crate::commands::resolved::Resolved;
use crate::commands::resolved::Startup;
use crate::commands::session::Session;
use crate::commands::test::select;
use crate::commands::test::without_effect;
use crate::diagnostic::Result;
use crate::event::Event;
use crate::event::SessionCommand;
use crate::event::SessionState;
use crate::event::listed_testcase;
use crate::model::exit_code::ExitCode;
use crate::model::test::Testcase;
use crate::plan;
use crate::plan::TestcaseChoice;
use crate::report::Report;

use std::time::Instant;

/// Lists the selected testcases.
///
/// # Errors
/// Configuration, tools and disks; a module that cannot be listed only sets the exit code.
pub(super) fn list(
    args: &ListArgs,
    global: &Global,
    startup: Startup,
    console: Console,
) -> Result<ExitCode> {
    let warnings = without_effect(&startup.edges.environment);
    let resolved = Resolved::open(global, &args.work, startup)?;
    let plan = plan::expand(&resolved.config);
    let (selection, builds, modules) = select(&args.select, &plan, &resolved)?;
    let session = Session::inspect(resolved, &builds, &modules, console)?;
    let mut reports = Listing {
        inner: console.list_report(args.work.explain),
        found: Vec::new(),
    };
    let work = Work {
        builds: &builds,
        modules: &modules,
        selection: &selection,
        command: SessionCommand::List,
        seed: None,
        rerun_prefix: rerun_prefix(global),
        warnings,
    };
    let exit_code = execute(&session, &work, &mut reports)?;
    // Modules come in the order in which simulators answered; people and diffs need plan order.
    let place = |testcase: &Testcase| {
        modules.iter().position(|module| {
            let is_module = module.module_in_variant() == testcase.id.module_in_variant();
            let is_of_table =
                || selection.choose(module.table, &testcase.id) != TestcaseChoice::NotPlanned;
            is_module && module.build == testcase.id.build && is_of_table()
        })
    };
    reports.found.sort_by_key(place);
    let lines: String = reports
        .found
        .iter()
        .map(|found| line(found, args.format))
        .collect();
    print(&lines)?;
    Ok(exit_code)
}

/// Writes one testcase as a line.
fn line(testcase: &Testcase, format: Format) -> String {
    match format {
        Format::Human if testcase.skip => format!("{} (skipped)\n", testcase.id),
        Format::Human => format!("{}\n", testcase.id),
        Format::Json => listed_testcase(testcase),
    }
}

/// Records what was listed, and passes every event on.
struct Listing {
    inner: Box<dyn Report>,
    found: Vec<Testcase>,
}

impl Report for Listing {
    fn on_event(&mut self, event: &Event, state: &SessionState) {
        if let Event::ModuleListed { selected, .. } = event {
            self.found.extend(selected.iter().cloned());
        }
        self.inner.on_event(event, state);
    }

    fn tick(&mut self, now: Instant, state: &SessionState) {
        self.inner.tick(now, state);
    }

    fn finish(&mut self, state: &SessionState) -> Result<()> {
        self.inner.finish(state)
    }
}
