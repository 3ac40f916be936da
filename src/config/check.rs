//! Checks that need all tables at once: unknown builds, and modules that are planned twice.

use crate::config::BuildTable;
use crate::config::TestTable;
use crate::config::Variant;
use crate::config::build_selection::Entry;
use crate::config::document::Reading;
use crate::config::name_glob::NameGlob;
use crate::config::param_env;
use crate::config::suggest::closest;
use crate::config::suggest::closest_in_parts;
use crate::config::test_table::LocatedTest;
use crate::config::test_table::PLANNED_MAX;
use crate::config::test_values;
use crate::config::user_code;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::BuildName;
use crate::model::test::ModuleInVariant;
use crate::model::test::RunSettings;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Returns the problem for a build name that does not exist, without a position.
pub fn unknown_build<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a BuildName>,
) -> Diagnostic {
    let pattern = NameGlob::is_pattern(wanted);
    let message = if pattern {
        format!("no build matches `{wanted}`")
    } else {
        format!("no build is called `{wanted}`")
    };
    let problem = Diagnostic::error(Code::ConfigUnknownBuild, message);
    let mut names: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    for name in known {
        names.extend(name.names().filter(|name| seen.insert(*name)));
    }
    if let Some(advice) = advice_on_simulator(wanted, &names) {
        return problem.help(advice);
    }
    // The name within an included file.
    let with_prefix = names.iter().copied().find(|name| {
        let rest = name.strip_suffix(wanted);
        rest.is_some_and(|rest| rest.ends_with('/'))
    });
    match with_prefix.or_else(|| closest_in_parts(wanted, names.iter().copied())) {
        Some(name) => problem.help(format!("did you mean `{name}`?")),
        None => match names.as_slice() {
            [] => problem,
            [..] => problem.fact(format!("known builds: {}", known_words(&names))),
        },
    }
}

/// Returns what is probably meant by a name that ends in `@` and something that no build has there.
fn advice_on_simulator(wanted: &str, names: &[&str]) -> Option<String> {
    let (before, simulator) = wanted.rsplit_once('@')?;
    let known = names.iter().filter_map(|name| name.rsplit_once('@'));
    let mut known: Vec<&str> = known.map(|(_, simulator)| simulator).collect();
    known.dedup();
    if known.contains(&simulator) {
        return None;
    }
    if known.is_empty() {
        return Some(format!(
            "only a build for several simulators has one in its name: write `{before}`"
        ));
    }
    let meant = closest(simulator, known)?;
    Some(format!("did you mean `{before}@{meant}`?"))
}

/// Lists the base names; if there are many, only the first ones.
fn known_words(names: &[&str]) -> String {
    const SHOWN_MAX: usize = 8;
    let mut bases: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| !name.contains(['/', '@']))
        .collect();
    bases.dedup();
    let shown: Vec<String> = bases
        .iter()
        .take(SHOWN_MAX)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = bases.len().saturating_sub(SHOWN_MAX);
    if more == 0 {
        shown.join(", ")
    } else {
        format!("{} and {more} more", shown.join(", "))
    }
}

/// Reports problems that involve several tables.
///
/// Tests come with their files. What could not be read is absent here and would look like a mistake,
/// so there are none of files that such a thing could concern.
pub(super) fn check(build_tables: &[&BuildTable], tests: &[(&Reading, &LocatedTest)]) {
    let names: Vec<BuildName> = variants_of(build_tables)
        .map(|variant| variant.build.name.clone())
        .collect();
    let mut covered = Vec::with_capacity(tests.len());
    let mut planned: usize = 0;
    for (reading, test) in tests {
        check_builds(reading, &names, test);
        let selection = test.tables[0].build_selection();
        let builds: Vec<&BuildName> = names.iter().filter(|name| selection.covers(name)).collect();
        let runs = test.tables.iter().map(|table| table.modules.len()).sum();
        planned = planned.saturating_add(builds.len().saturating_mul(runs));
        if planned > PLANNED_MAX {
            let problem = Diagnostic::error(
                Code::ConfigBadValue,
                format!("the tests up to this one plan more than {PLANNED_MAX} modules"),
            );
            reading.at(&test.range, "", problem);
            return;
        }
        covered.push(builds);
    }
    for ((reading, test), builds) in tests.iter().zip(&covered) {
        let param_env = &test.tables[0].settings.param_env;
        let has_libraries = test.vpi_libraries.is_some();
        if param_env.is_none() && !has_libraries && test.texts.is_empty() {
            continue;
        }
        let builds: BTreeSet<&BuildName> = builds.iter().copied().collect();
        let variants = || variants_of(build_tables).filter(|it| builds.contains(&it.build.name));
        if let Some(param_env) = param_env {
            param_env::check(reading, &test.range, param_env, variants());
        }
        test_values::check(reading, &test.texts, variants());
        if let Some(range) = &test.vpi_libraries {
            user_code::check_vpi_libraries(reading, range, variants());
        }
    }
    check_twice(tests, &covered);
}

fn variants_of<'a>(tables: &[&'a BuildTable]) -> impl Iterator<Item = &'a Variant> {
    tables.iter().flat_map(|table| &table.variants)
}

fn check_builds(reading: &Reading, names: &[BuildName], test: &LocatedTest) {
    for build in &test.builds {
        let entry = Entry::new(&reading.full_name(&build.value));
        if !entry.is_ok_and(|entry| names.iter().any(|name| entry.covers(name))) {
            // As they are called in this file.
            let start = reading.full_name("");
            let local = |name: &BuildName| name.as_str().strip_prefix(&start).map(str::to_owned);
            let local: Vec<BuildName> = names.iter().filter_map(local).map(BuildName).collect();
            reading.at(&build.range, "", unknown_build(&build.value, &local));
        }
    }
}

/// Reports every pair of tables that plan one module on one build with different settings and no
/// variant that sets them apart.
fn check_twice(tests: &[(&Reading, &LocatedTest)], covered: &[Vec<&BuildName>]) {
    let mut first: BTreeMap<(&str, ModuleInVariant<'_>), (usize, &TestTable)> = BTreeMap::new();
    let mut clashes = BTreeMap::new();
    for (index, ((_, test), builds)) in tests.iter().zip(covered).enumerate() {
        for table in &test.tables {
            for build in builds {
                for module in &table.modules {
                    let variant = table.variant.as_ref();
                    let key = (build.as_str(), ModuleInVariant { module, variant });
                    let (earlier, other) = *first.entry(key).or_insert((index, table));
                    // Whether selections overlap is known when testcases are listed.
                    let may_be_apart = !table.testcases.is_all() && !other.testcases.is_all();
                    if earlier != index && other.settings != table.settings && !may_be_apart {
                        let clash = clashes.entry((index, earlier));
                        clash.or_insert((0, key, (table, other))).0 += 1;
                    }
                }
            }
        }
    }
    for ((index, earlier), (count, (build, module), (table, other_table))) in clashes {
        let ((reading, test), (other_reading, other)) = (tests[index], tests[earlier]);
        let message = format!(
            "module `{module}` is planned twice on build `{build}`, by tables with different settings"
        );
        let mut problem = Diagnostic::error(Code::ConfigDuplicateName, message)
            .fact(format!(
                "first at {}",
                other_reading.document.place(other.range.start)
            ))
            .fact(format!("different: {}", differences(table, other_table)));
        if count > 1 {
            problem = problem.fact(format!("{} more like this", count - 1));
        }
        let paths = |table: &TestTable| table.settings.import_path.folders.clone();
        let help = if paths(table) == paths(other_table) {
            "give each table a `name` of its own if both are to run, or narrow `build`, \
             `test_module` or the testcases of both (`testcase`, `skip_testcase`)"
        } else {
            "give each table a `name` of its own if both are to run; or name the modules by their \
             folders, as in `test_module = \"a.test_x\"` with `paths = [\"a\", \".\"]`; or narrow \
             `build`"
        };
        reading.at(&test.range, "planned again here", problem.help(help));
    }
}

/// Names the keys in which two tables differ.
fn differences(one: &TestTable, other: &TestTable) -> String {
    let RunSettings {
        timeout,
        seed,
        test_args,
        plusargs,
        env,
        param_env,
        import_path,
        project_dir,
        cwd,
        waves,
        run_files,
        isolation,
        fork,
        preload,
        checkpoints,
        vpi_libraries,
        gpi_users,
        pygpi_users,
        fail_on_hdl_error,
        fixed,
    } = &one.settings;
    let other = &other.settings;
    let keys = [
        ("timeout_s", *timeout != other.timeout),
        ("seed", *seed != other.seed),
        ("test_args", *test_args != other.test_args),
        ("plusargs", *plusargs != other.plusargs),
        ("env", *env != other.env),
        ("param_env", *param_env != other.param_env),
        ("paths", import_path.folders != other.import_path.folders),
        ("project_dir", *project_dir != other.project_dir),
        ("cwd", *cwd != other.cwd),
        ("waves", *waves != other.waves),
        ("run_files", *run_files != other.run_files),
        ("isolation", *isolation != other.isolation),
        ("fork", *fork != other.fork),
        ("preload", *preload != other.preload),
        ("checkpoint", *checkpoints != other.checkpoints),
        ("vpi_libraries", *vpi_libraries != other.vpi_libraries),
        ("gpi_users", *gpi_users != other.gpi_users),
        ("pygpi_users", *pygpi_users != other.pygpi_users),
        (
            "fail_on_hdl_error",
            *fail_on_hdl_error != other.fail_on_hdl_error,
        ),
    ];
    let differing = keys.iter().filter(|(_, differs)| *differs);
    let mut differing: Vec<String> = differing.map(|(key, _)| format!("`{key}`")).collect();
    if *fixed != other.fixed {
        // Options of the command line change the rest, even if the values are the same.
        differing.push("what `variants` or `matrix` sets".to_owned());
    }
    differing.join(", ")
}
