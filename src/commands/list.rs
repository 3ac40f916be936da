//! `cocorun list`: the testcases as cocotb itself finds them, on standard output.

use crate::cli::Format;
use crate::cli::Global;
use crate::cli::ListArgs;
use crate::commands::reporting::Console;
use crate::commands::reporting::print;
use crate::commands::run::Work;
use crate::commands::run::run;
use crate::commands::test::select;
use crate::commands::test::unmatched;
use crate::commands::workspace::Surroundings;
use crate::commands::workspace::Workspace;
use crate::commands::workspace::rerun_prefix;
use crate::diagnostic::Result;
use crate::event::Event;
use crate::model::exit_code::ExitCode;
use crate::model::test::Testcase;
use crate::plan;
use crate::report::Report;

use serde_json::json;
use std::time::Instant;

/// Lists the selected testcases.
///
/// # Errors
/// Configuration, tools and disks; a module that cannot be listed is in the exit code.
pub(super) fn list(
    args: &ListArgs,
    global: &Global,
    surroundings: Surroundings,
    console: Console,
) -> Result<ExitCode> {
    let workspace = Workspace::open(global, &args.work, surroundings)?;
    let plan = plan::expand(&workspace.config);
    let (selection, builds, modules) = select(&args.select, &plan, &workspace)?;
    let tools = workspace.tools(&builds, console)?;
    let mut reports = Listing {
        inner: console.reports_without_tests(
            args.work.explain,
            Format::Human,
            &rerun_prefix(global),
        ),
        found: Vec::new(),
    };
    let work = Work {
        builds: &builds,
        modules: &modules,
        selects: &|id| selection.selects(id),
        only_lists: true,
        seed: None,
        advice: selection.advice(),
    };
    let (exit_code, _) = run(&workspace, &tools, &work, &mut reports, &|tally| {
        unmatched(&selection, tally)
    })?;
    // Modules come in the order in which simulators answered; people and diffs want theirs.
    let place = |testcase: &Testcase| {
        modules.iter().position(|module| {
            module.build == testcase.id.build && module.module == testcase.id.module
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
        Format::Json => {
            let object = json!({
                "id": testcase.id.to_string(),
                "build": testcase.id.build,
                "module": testcase.id.module,
                "testcase": testcase.id.testcase,
                "file": testcase.file,
                "line": testcase.line,
                "doc": testcase.doc,
                "skip": testcase.skip,
                "stage": testcase.stage,
            });
            format!("{object}\n")
        }
    }
}

/// Remembers what was listed and passes every other event on.
struct Listing<R> {
    inner: R,
    found: Vec<Testcase>,
}

impl<R: Report> Report for Listing<R> {
    fn on_event(&mut self, event: &Event) {
        // Nothing that is only listed is planned: a report would miss its verdict.
        if let Event::ModuleListed { selected, .. } = event {
            // A report would wait for the verdicts of these.
            self.found.extend(selected.iter().cloned());
        } else {
            self.inner.on_event(event);
        }
    }

    fn tick(&mut self, now: Instant) {
        self.inner.tick(now);
    }

    fn finish(&mut self) -> Result<()> {
        self.inner.finish()
    }
}
