//! How a configuration is expanded, and what arguments select from it.

mod parts;

use super::*;

use crate::config::BuildProblems;
use crate::config::BuildSelection;
use crate::config::BuildTable;
use crate::config::Places;
use crate::config::PythonConfig;
use crate::config::TestTable;
use crate::config::Variant;
use crate::diagnostic::Code;
use crate::diagnostic::Snippet;
use crate::model::build::BuildName;
use crate::model::build::HdlValue;
use crate::model::build::SimulatorName;
use crate::model::test::Isolation;
use crate::model::test::ParamEnv;
use crate::model::test::RunSettings;
use crate::model::test::TestModule;
use crate::model::test::TestcaseId;

use camino::Utf8PathBuf;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

fn settings(waves: bool) -> RunSettings {
    RunSettings {
        waves,
        isolation: Isolation::Module,
        ..RunSettings::plain(Duration::from_secs(600))
    }
}

const SIMULATORS: [&str; 2] = ["icarus", "verilator"];

fn simulator(name: &str) -> SimulatorName {
    SimulatorName(name.to_owned())
}

fn table(name: &str, simulators: &[&str], matrix: &[(&str, &[i64])]) -> BuildTable {
    let mut combinations = vec![(name.to_owned(), vec![("BASE", 1)])];
    for (key, values) in matrix {
        let extended = |(name, parameters): &(String, Vec<(_, i64)>)| {
            let (name, parameters) = (name.clone(), parameters.clone());
            values.iter().map(move |value| {
                let parameters = [parameters.clone(), vec![(*key, *value)]].concat();
                (format!("{name}/{key}={value}"), parameters)
            })
        };
        combinations = combinations.iter().flat_map(extended).collect();
    }
    let variants = combinations.iter().flat_map(|(name, parameters)| {
        simulators.iter().map(move |simulator| {
            let name = match simulators {
                [_] => name.clone(),
                _ => format!("{name}@{simulator}"),
            };
            let build = build(name, simulator, parameters);
            let variables = BTreeMap::new();
            Variant {
                build,
                variables,
                outs: BTreeMap::new(),
                unknown: BTreeSet::new(),
            }
        })
    });
    BuildTable {
        name: name.to_owned(),
        local_name: name.to_owned(),
        line: 1,
        variants: variants.collect(),
    }
}

fn build(name: String, simulator: &str, parameters: &[(&str, i64)]) -> Build {
    let parameters = parameters.iter();
    Build {
        table: "fifo".to_owned(),
        name: BuildName(name),
        simulator: SimulatorName(simulator.to_owned()),
        parameters: parameters
            .map(|(name, value)| ((*name).to_owned(), HdlValue::Integer(*value)))
            .collect(),
        ..Build::plain("/project", &["a.sv"])
    }
}

fn test(builds: Option<&[&str]>, modules: &[&str]) -> TestTable {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    TestTable {
        place: Snippet {
            path: "runner.toml".into(),
            text: "[[test]]".into(),
            first_line: 1,
            range: 0..8,
            label: String::new(),
        },
        builds: builds.map(owned),
        modules: modules
            .iter()
            .map(|name| TestModule((*name).to_owned()))
            .collect(),
        testcases: Arc::default(),
        variant: None,
        settings: settings(false),
    }
}

fn config(builds: Vec<BuildTable>, tests: Vec<TestTable>) -> RunnerConfig {
    RunnerConfig {
        build_problems: BuildProblems::default(),
        path: Utf8PathBuf::from("/project/runner.toml"),
        project_dir: Utf8PathBuf::from("/project"),
        build_dir: Utf8PathBuf::from("/project/sim_build"),
        jobs: None,
        session_timeout: None,
        build_timeout: Duration::from_secs(3600),
        lock_timeout: Duration::from_secs(3600),
        python: PythonConfig {
            interpreter: None,
            paths: vec![Utf8PathBuf::from("/project")],
            requirements: Vec::new(),
        },
        builds,
        tests,
        places: Places::default(),
    }
}

/// A matrix on both simulators, a plain build as well, and tests on one or all.
fn sample() -> Plan {
    expand(&config(
        vec![
            table("fifo", &SIMULATORS, &[("DEPTH", &[4, 16])]),
            table("uart", &["icarus"], &[]),
        ],
        vec![
            test(Some(&["fifo"]), &["test_fifo", "test_both"]),
            test(Some(&["uart"]), &["test_uart", "test_both"]),
        ],
    ))
}

fn build_names(plan: &Plan) -> Vec<&str> {
    plan.builds
        .iter()
        .map(|build| build.name.as_str())
        .collect()
}

fn id(build: &str, module: &str, testcase: &str) -> TestcaseId {
    TestcaseId {
        build: BuildName(build.to_owned()),
        module: TestModule(module.to_owned()),
        variant: None,
        testcase: testcase.to_owned(),
    }
}

#[test]
fn builds_are_those_of_the_tables_in_their_order() {
    let plan = sample();
    assert_eq!(
        build_names(&plan),
        [
            "fifo/DEPTH=4@icarus",
            "fifo/DEPTH=4@verilator",
            "fifo/DEPTH=16@icarus",
            "fifo/DEPTH=16@verilator",
            "uart",
        ]
    );
    let fifo = table("fifo", &SIMULATORS, &[("DEPTH", &[4, 16])]);
    assert_eq!(plan.builds[3], fifo.variants[3].build);
}

#[test]
fn modules_are_ordered_by_table_then_build_then_name() {
    let plan = sample();
    let pairs: Vec<String> = plan
        .modules
        .iter()
        .map(|planned| format!("{} {} {}", planned.table, planned.build, planned.module))
        .collect();
    assert_eq!(pairs[0], "0 fifo/DEPTH=4@icarus test_fifo");
    assert_eq!(pairs[1], "0 fifo/DEPTH=4@icarus test_both");
    assert_eq!(pairs[2], "0 fifo/DEPTH=4@verilator test_fifo");
    assert_eq!(pairs[8..], ["1 uart test_uart", "1 uart test_both"]);
}

#[test]
fn a_module_that_two_tables_plan_alike_is_planned_once_for_the_first() {
    let plan = expand(&config(
        vec![table("b", &["icarus"], &[])],
        vec![test(None, &["m", "n"]), test(None, &["n", "o"])],
    ));
    let planned: Vec<(usize, &str)> = plan
        .modules
        .iter()
        .map(|planned| (planned.table, planned.module.0.as_str()))
        .collect();
    assert_eq!(planned, [(0, "m"), (0, "n"), (1, "o")]);
}

#[test]
fn only_the_builds_of_a_test_with_waves_can_dump_them() {
    let mut waving = test(Some(&["a"]), &["m"]);
    waving.settings = settings(true);
    let builds = ["a", "b"].map(|name| table(name, &["icarus"], &[]));
    let plan = expand(&config(
        builds.to_vec(),
        vec![waving, test(Some(&["b"]), &["m"])],
    ));
    let waves: Vec<bool> = plan.builds.iter().map(|build| build.waves).collect();
    assert_eq!(waves, [true, false]);
}

#[test]
fn the_environment_of_a_run_has_the_parameters_of_its_build() {
    let mut named = test(None, &["m"]);
    named.settings.param_env = Some(ParamEnv {
        before: "PARAM_".to_owned(),
        after: String::new(),
    });
    let mut own = named.clone();
    own.modules = vec![TestModule("n".to_owned())];
    own.settings.env = BTreeMap::from([("PARAM_BASE".to_owned(), "mine".to_owned())]);
    let mut fifo = table("fifo", &["icarus"], &[("DEPTH", &[4, 16])]);
    let fast = ("FAST".to_owned(), HdlValue::Boolean(true));
    fifo.variants[1].variables.extend([fast]);
    let plan = expand(&config(vec![fifo], vec![named, own]));
    let env = |index: usize| format!("{:?}", plan.modules[index].settings.env).replace('"', "");
    assert_eq!(env(0), "{PARAM_BASE: 1, PARAM_DEPTH: 4}");
    assert_eq!(env(1), "{PARAM_BASE: 1, PARAM_DEPTH: 16, PARAM_FAST: 1}");
    assert_eq!(env(2), "{PARAM_BASE: mine, PARAM_DEPTH: 4}");
}

fn select(args: SelectionArgs) -> Selection {
    Selection::new(args, &sample()).expect("sound arguments")
}

fn filters(texts: &[&str]) -> SelectionArgs {
    SelectionArgs {
        filters: texts.iter().map(|text| (*text).to_owned()).collect(),
        ..SelectionArgs::default()
    }
}

#[test]
fn a_filter_is_a_substring_or_a_pattern_over_the_whole_identity() {
    let subject = id("fifo/DEPTH=4@icarus", "test_fifo", "burst/width=8");
    for (texts, expected) in [
        (&[] as &[&str], true),
        (&["burst"], true),
        (&["test_fifo::burst"], true),
        (&["DEPTH=4@icarus::test_f"], true),
        (&["Burst"], false),
        (&["fifo::burst"], true),
        (&["uart"], false),
        (&["uart", "burst"], true),
        (&["burst*"], false),
        (&["*burst*"], true),
        (&["fifo*::test_fifo::*"], true),
        (&["fifo*width=?"], true),
        (&["fifo*width=[0-7]"], false),
        (&["*@verilator::*"], false),
    ] {
        let selects = select(filters(texts)).selects(&subject);
        assert_eq!(selects, expected, "{texts:?}");
    }
}

#[test]
fn modules_and_builds_that_no_filter_can_reach_are_ruled_out_before_listing() {
    for (texts, modules, builds) in [
        (&[] as &[&str], 10, 5),
        // A testcase of any module may have this name.
        (&["burst"], 10, 5),
        (&["uart::"], 2, 1),
        (&["test_fifo::burst"], 4, 4),
        (&["DEPTH=4@icarus::"], 2, 1),
        (&["*::test_both::*"], 5, 5),
        (&["uart::test_uart::a", "*::test_uart::b"], 1, 1),
        (&["fifo/DEPTH=4*::test_fifo::burst"], 2, 2),
        (&["nothing::at::all"], 0, 0),
        // What names a build is not searched in testcases.
        (&["uart"], 2, 1),
        (&["fifo"], 8, 4),
        (&["fifo/DEPTH=4"], 4, 2),
        (&["fifo/DEPTH=16@icarus"], 2, 1),
        (&["*@icarus"], 4, 2),
        (&["fif?"], 8, 4),
        (&["*uart*"], 2, 1),
        (&["uart", "*@verilator"], 6, 3),
        (&["uart", "burst"], 10, 5),
    ] {
        let plan = sample();
        let selection = select(filters(texts));
        assert_eq!(selection.modules(&plan).count(), modules, "{texts:?}");
        let needed = plan.builds.iter();
        let needed = needed.filter(|build| selection.needs_build(&build.name));
        assert_eq!(needed.count(), builds, "{texts:?}");
    }
}

#[test]
fn a_filter_that_is_the_name_of_a_build_selects_what_the_option_does() {
    let tables = ["top", "soc/top", "chip"].map(|name| table(name, &SIMULATORS, &[]));
    let modules = &["test_top", "checks"];
    let plan = expand(&config(
        tables.into(),
        vec![test(Some(&["top", "soc/top", "chip"]), modules)],
    ));
    let needed = |args: SelectionArgs| -> Vec<String> {
        let selection = Selection::new(args, &plan).expect("valid");
        let builds = plan.builds.iter().map(|build| &build.name);
        let needed = builds.filter(|name| selection.needs_build(name));
        needed.map(BuildName::to_string).collect()
    };
    let top = ["top@icarus", "top@verilator"];
    let by_option = SelectionArgs {
        builds: vec!["top".to_owned()],
        ..SelectionArgs::default()
    };
    assert_eq!(needed(by_option), top);
    assert_eq!(needed(filters(&["top"])), top);
    let selection = Selection::new(filters(&["top"]), &plan).expect("valid");
    assert!(selection.selects(&id("top@icarus", "checks", "any")));
    for (build, module) in [("soc/top@icarus", "checks"), ("chip@icarus", "test_top")] {
        assert!(!selection.selects(&id(build, module, "top")), "{build}");
    }
    // A pattern and a part of a name are searched in all of it.
    assert_eq!(needed(filters(&["*top*"])).len(), 6);
    assert_eq!(needed(filters(&["to"])).len(), 6);
}

#[test]
fn a_filter_that_ends_in_a_slash_selects_the_builds_of_a_block_and_nothing_else() {
    let tables = ["fifo/top", "fifo/aux", "soc/fifo/top", "uart"];
    let tables = tables.map(|name| table(name, &SIMULATORS[..1], &[]));
    let plan = expand(&config(tables.into(), vec![test(None, &["test_fifo"])]));
    let needed = |text: &str| -> Vec<String> {
        let selection = Selection::new(filters(&[text]), &plan).expect("valid");
        let builds = plan.builds.iter().map(|build| &build.name);
        let needed = builds.filter(|name| selection.needs_build(name));
        needed.map(BuildName::to_string).collect()
    };
    assert_eq!(needed("fifo/"), ["fifo/top", "fifo/aux"]);
    let selection = Selection::new(filters(&["fifo/"]), &plan).expect("valid");
    assert!(selection.selects(&id("fifo/top", "test_fifo", "any")));
    assert!(!selection.selects(&id("uart", "test_fifo", "fifo/x=1")));
    // No build is below it: it is part of a name, such as that of a testcase with a parameter.
    assert_eq!(needed("grants/").len(), 4);
}

#[test]
fn named_builds_modules_and_testcases_all_have_to_agree() {
    let names = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let selection = select(SelectionArgs {
        filters: names(&["a", "b"]),
        builds: names(&["fifo/DEPTH=4"]),
        modules: names(&["test_both"]),
        testcases: names(&["bar", "foo"]),
        simulator: Some(simulator("verilator")),
    });
    let build = "fifo/DEPTH=4@verilator";
    assert!(selection.selects(&id(build, "test_both", "bar")));
    assert!(!selection.selects(&id("fifo/DEPTH=4@icarus", "test_both", "bar")));
    assert!(!selection.selects(&id("fifo/DEPTH=16@verilator", "test_both", "bar")));
    assert!(!selection.selects(&id(build, "test_fifo", "bar")));
    assert!(!selection.selects(&id(build, "test_both", "bars")));
    let plan = sample();
    let selected = plan.builds.iter();
    let selected = selected.filter(|build| selection.selects_build(build));
    assert_eq!(selected.count(), 1);
}

#[test]
fn a_build_without_tests_is_selected_but_not_needed() {
    let plan = expand(&config(vec![table("b", &["icarus"], &[])], Vec::new()));
    let selection = Selection::new(SelectionArgs::default(), &plan).expect("sound");
    assert!(selection.selects_build(&plan.builds[0]));
    assert!(!selection.needs_build(&plan.builds[0].name));
}

#[test]
fn all_invalid_arguments_are_reported() {
    let names = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let args = SelectionArgs {
        filters: names(&["a[b", "", "fine"]),
        builds: names(&["fifi", "fifo/DEPTH=5@icarus", "uart"]),
        modules: names(&["test_bot", "else"]),
        ..SelectionArgs::default()
    };
    let problems = Selection::new(args, &sample()).expect_err("mistakes").0;
    let reported: Vec<String> = problems
        .iter()
        .map(|problem| format!("{problem} {}", problem.help.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(
        reported,
        [
            "invalid filter `a[b`: a `[` is never closed [usage::bad-argument] -",
            "invalid filter ``: it is empty [usage::bad-argument] -",
            "no build is called `fifi` [config::unknown-build] did you mean `fifo`?",
            "no build is called `fifo/DEPTH=5@icarus` [config::unknown-build] did you mean \
             `fifo/DEPTH=4@icarus`?",
            "no `[[test]]` runs a module called `test_bot` [usage::bad-argument] did you mean \
             `test_both`?",
            "no `[[test]]` runs a module called `else` [usage::bad-argument] -",
        ]
    );
    assert!(problems.iter().all(|problem| {
        [Code::UsageBadArgument, Code::ConfigUnknownBuild].contains(&problem.code)
    }));
}

#[test]
fn filters_that_match_no_listed_testcase_can_be_reported() {
    let mut args = filters(&["burst", "*::nothing", "uart::"]);
    args.testcases = vec!["burst".to_owned(), "typo".to_owned()];
    let listed = [
        id("uart", "test_uart", "burst"),
        id("uart", "test_both", "idle"),
    ];
    assert_eq!(select(args).unmatched(&listed), ["*::nothing", "typo"]);
    let grants = SelectionArgs {
        testcases: vec!["grants".to_owned()],
        ..SelectionArgs::default()
    };
    let variants = [
        id("uart", "test_uart", "grants/x=1"),
        id("uart", "test_uart", "grants/x=1/y=2"),
        id("uart", "test_uart", "grants_all"),
    ];
    let selection = select(grants);
    let selected = variants.iter().map(|id| selection.selects(id));
    assert_eq!(selected.collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(selection.unmatched(&variants[2..]), ["grants"]);
    assert_eq!(selection.unmatched(&variants[..1]), [""; 0]);
    assert_eq!(select(filters(&[])).unmatched(&listed), [""; 0]);
}

#[test]
fn ten_thousand_modules_are_expanded_and_selected_in_linear_time() {
    let names: Vec<String> = (0..10_000).map(|index| format!("tests.m{index}")).collect();
    let modules: Vec<&str> = names.iter().map(String::as_str).collect();
    let depths: Vec<i64> = (0..10).collect();
    let config = config(
        vec![table("b", &SIMULATORS[..1], &[("D", &depths)])],
        vec![test(None, &modules)],
    );
    let plan = expand(&config);
    assert_eq!(plan.modules.len(), 100_000);
    let selection = Selection::new(filters(&["b/D=3::tests.m77::*"]), &plan).expect("sound");
    assert_eq!(selection.modules(&plan).count(), 1);
}

prop_compose! {
    /// Small matrices of distinct values.
    fn matrices()(
        lists in prop::collection::btree_map("[A-C]", prop::collection::btree_set(-3_i64..9, 1..4), 0..3),
    ) -> Vec<(String, Vec<i64>)> {
        lists.into_iter().map(|(key, values)| (key, values.into_iter().collect())).collect()
    }
}

fn built(name: &str, simulators: usize, matrix: &[(String, Vec<i64>)]) -> BuildTable {
    let matrix: Vec<(&str, &[i64])> = matrix
        .iter()
        .map(|(key, values)| (key.as_str(), values.as_slice()))
        .collect();
    table(name, &SIMULATORS[..simulators], &matrix)
}

proptest! {
    #[test]
    fn a_test_runs_on_each_build_that_it_names_or_on_all(
        first in matrices(), second in matrices(), simulators in 1..=2_usize,
    ) {
        let config = config(
            vec![built("a", simulators, &first), built("b", simulators, &second)],
            vec![test(None, &["m"]), test(Some(&["b"]), &["n"])],
        );
        let plan = expand(&config);
        let count = |matrix: &[(String, Vec<i64>)]| {
            matrix.iter().map(|(_, values)| values.len()).product::<usize>() * simulators
        };
        prop_assert_eq!(plan.builds.len(), count(&first) + count(&second));
        prop_assert_eq!(plan.modules.len(), plan.builds.len() + count(&second));
        // The same file gives the same plan, in the same order.
        prop_assert_eq!(expand(&config), plan);
    }

    #[test]
    fn adding_a_build_does_not_change_the_others(first in matrices(), second in matrices()) {
        let tables = vec![built("a", 1, &first), built("b", 1, &second)];
        let small = expand(&config(tables[..1].to_vec(), Vec::new()));
        let large = expand(&config(tables, Vec::new()));
        prop_assert_eq!(&large.builds[..small.builds.len()], &small.builds[..]);
    }

    #[test]
    fn the_names_of_a_testcase_select_exactly_it_and_what_adds_parameters_to_it(
        matrix in matrices(), picked in any::<prop::sample::Index>(),
        testcases in prop::collection::btree_set("[a-c\\[\\]/=]{1,4}", 1..5),
    ) {
        let plan = expand(&config(vec![built("a", 2, &matrix)], vec![test(None, &["m", "n.m"])]));
        let all: Vec<TestcaseId> = plan
            .modules
            .iter()
            .flat_map(|planned| {
                let named = |testcase: &String| TestcaseId {
                    build: planned.build.clone(),
                    module: planned.module.clone(),
                    variant: planned.variant.clone(),
                    testcase: testcase.clone(),
                };
                testcases.iter().map(named).collect::<Vec<_>>()
            })
            .collect();
        let wanted = picked.get(&all);
        let args = SelectionArgs {
            builds: vec![wanted.build.0.clone()],
            modules: vec![wanted.module.0.clone()],
            testcases: vec![wanted.testcase.clone()],
            ..SelectionArgs::default()
        };
        let selection = Selection::new(args, &plan).expect("all exist");
        let selected: Vec<&TestcaseId> = all.iter().filter(|id| selection.selects(id)).collect();
        let adds_parameters = format!("{}/", wanted.testcase);
        let is_expected = |id: &&TestcaseId| {
            (&id.build, &id.module) == (&wanted.build, &wanted.module)
                && (id.testcase == wanted.testcase || id.testcase.starts_with(&adds_parameters))
        };
        let expected: Vec<&TestcaseId> = all.iter().filter(is_expected).collect();
        prop_assert!(expected.contains(&wanted));
        prop_assert_eq!(selected, expected);
        // As a filter it is also a substring of longer identities, but always selects itself.
        if let Ok(selection) = Selection::new(filters(&[&wanted.to_string()]), &plan) {
            prop_assert!(selection.selects(wanted));
            prop_assert!(selection.needs_build(&wanted.build));
        }
    }

    #[test]
    fn the_first_step_never_rules_out_what_the_second_would_select(
        texts in prop::collection::vec("[amn:/*?1.@=]{1,6}", 1..3), testcase in "[amn1/=]{1,4}",
    ) {
        let matrix = [("A".to_owned(), vec![1, 2])];
        let plan = expand(&config(vec![built("a", 2, &matrix)], vec![test(None, &["m", "n.m"])]));
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let selection = Selection::new(filters(&texts), &plan).expect("no class in them");
        for planned in &plan.modules {
            let id = format!("{}::{}::{testcase}", planned.build, planned.module);
            let matched = texts.iter().any(|text| {
                let named = BuildSelection::new(Some(&[(*text).to_owned()]));
                let names_builds = plan.builds.iter().any(|build| named.covers(&build.name));
                let prefix = format!("{}::{}", planned.build, planned.module);
                let searched = if names_builds && !text.contains("::") { &prefix } else { &id };
                let glob = crate::config::name_glob::NameGlob::new(text).expect("no class");
                let is_match = if text.contains(['*', '?']) {
                    glob.is_match(searched)
                } else {
                    searched.contains(text)
                };
                is_match || searched == &prefix && named.covers(&planned.build)
            });
            let subject = TestcaseId {
                build: planned.build.clone(),
                module: planned.module.clone(),
                variant: planned.variant.clone(),
                testcase: testcase.clone(),
            };
            prop_assert_eq!(selection.selects(&subject), matched, "{}", id);
        }
    }
}
