//! Modules that are planned several times on one build: in variants, and in parts.

use super::*;

use crate::config::TestcaseName;
use crate::config::TestcaseNames;
use crate::diagnostic::Diagnostic;
use crate::model::test::Seed;
use crate::model::test::TestVariant;

/// Tests of one module on one build: without a variant, and in these.
fn in_variants(variants: &[&str]) -> Plan {
    let table_of = |variant: Option<&str>| TestTable {
        variant: variant.map(|name| TestVariant(name.to_owned())),
        settings: RunSettings {
            seed: variant.map(|name| Seed(u32::try_from(name.len()).expect("short"))),
            ..settings(false)
        },
        ..test(None, &["tb.m"])
    };
    let variants = variants.iter().copied().map(Some);
    let tests = [None].into_iter().chain(variants).map(table_of);
    expand(&config(vec![table("b", &["icarus"], &[])], tests.collect()))
}

#[test]
fn each_variant_is_planned_and_selected_by_its_own_name() {
    let variants = ["fast", "fast/seed=1", "slow/seed=1"];
    let plan = in_variants(&variants);
    assert_eq!(plan.modules.len(), 4);
    let selected = |args: SelectionArgs| -> Vec<String> {
        let selection = Selection::new(args, &plan).expect("sound arguments");
        let modules = selection.modules(&plan);
        modules
            .map(|it| it.module_in_variant().to_string())
            .collect()
    };
    let module = |name: &str| SelectionArgs {
        modules: vec![name.to_owned()],
        ..SelectionArgs::default()
    };
    assert_eq!(selected(module("tb.m")), ["tb.m"]);
    assert_eq!(selected(module("tb.m/fast")), ["tb.m/fast"]);
    assert_eq!(selected(module("tb.m/slow")), ["tb.m/slow/seed=1"]);
    assert_eq!(selected(module("tb.m/fast/seed=1")), ["tb.m/fast/seed=1"]);
    assert_eq!(selected(filters(&["m/fast::"])), ["tb.m/fast"]);
    assert_eq!(selected(filters(&["*/seed=1::*"])).len(), 2);
    assert_eq!(selected(filters(&["b::tb.m::"])), ["tb.m"]);
    let only_variants = Plan {
        modules: plan.modules[1..].to_vec(),
        ..plan.clone()
    };
    let selection = Selection::new(module("tb.m"), &only_variants).expect("sound");
    assert_eq!(selection.modules(&only_variants).count(), 3);
}

fn names(wanted: Option<&[&str]>, left_out: &[&str]) -> Arc<TestcaseNames> {
    let name = |text: &&str| TestcaseName {
        text: (*text).to_owned(),
        place: Snippet {
            path: "runner.toml".into(),
            text: "".into(),
            first_line: 1,
            range: 0..0,
            label: String::new(),
        },
    };
    Arc::new(TestcaseNames {
        wanted: wanted.map(|names| names.iter().map(name).collect()),
        left_out: left_out.iter().map(name).collect(),
    })
}

/// A test of one module that selects testcases, with settings that a seed sets apart.
fn selecting(names: Arc<TestcaseNames>, seed: Option<u32>) -> TestTable {
    TestTable {
        testcases: names,
        settings: RunSettings {
            seed: seed.map(Seed),
            ..settings(false)
        },
        ..test(None, &["m"])
    }
}

#[test]
fn of_tables_that_select_testcases_of_one_module_each_runs_its_own() {
    let plan = expand(&config(
        vec![table("b", &["icarus"], &[])],
        vec![
            selecting(names(Some(&["a"]), &[]), None),
            selecting(names(Some(&["b", "c*"]), &["c2"]), None),
            selecting(names(None, &["a", "b"]), Some(1)),
        ],
    ));
    let tables: Vec<usize> = plan.modules.iter().map(|it| it.table).collect();
    assert_eq!(tables, [0, 2], "equal settings are planned once");
    let selection = Selection::new(SelectionArgs::default(), &plan).expect("sound");
    let choose = |table, testcase| selection.choose(table, &id("b", "m", testcase));
    for (testcase, first, other) in [
        (
            "a",
            TestcaseChoice::SelectedByName,
            TestcaseChoice::NotPlanned,
        ),
        (
            "b/x=1",
            TestcaseChoice::SelectedByName,
            TestcaseChoice::NotPlanned,
        ),
        (
            "c1",
            TestcaseChoice::SelectedByName,
            TestcaseChoice::NotPlanned,
        ),
        ("c2", TestcaseChoice::NotPlanned, TestcaseChoice::Selected),
        ("d", TestcaseChoice::NotPlanned, TestcaseChoice::Selected),
    ] {
        assert_eq!(
            (choose(0, testcase), choose(2, testcase)),
            (first, other),
            "{testcase}"
        );
    }
    assert_eq!(selection.clash(2, &id("b", "m", "c1")), Some(0));
    assert_eq!(selection.clash(0, &id("b", "m", "c1")), None);
    assert_eq!(selection.clash(2, &id("b", "m", "d")), None);
    let args = SelectionArgs {
        testcases: vec!["a".to_owned(), "c1".to_owned()],
        ..SelectionArgs::default()
    };
    let selection = Selection::new(args, &plan).expect("sound");
    assert_eq!(selection.clash(2, &id("b", "m", "c1")), Some(0));
    assert_eq!(selection.clash(2, &id("b", "m", "c3")), None, "deselected");
    assert_eq!(
        selection.choose(0, &id("b", "m", "b")),
        TestcaseChoice::Deselected
    );
}

#[test]
fn a_name_that_no_listed_module_of_its_table_has_is_an_error() {
    let two_modules = TestTable {
        modules: ["m", "n"].map(|name| TestModule(name.to_owned())).to_vec(),
        ..selecting(names(Some(&["grants", "typo"]), &["grnats"]), None)
    };
    let plan = expand(&config(
        vec![table("b", &["icarus"], &[])],
        vec![two_modules],
    ));
    let selection = Selection::new(SelectionArgs::default(), &plan).expect("sound");
    let mut listed = selection.listed_names();
    listed.take(0, &id("b", "m", "other"));
    // It may be in the other module.
    assert_eq!(selection.unmatched_names(&listed), []);
    listed.take(0, &id("b", "n", "grants/x=1"));
    let problems = selection.unmatched_names(&listed);
    let words = |problem: &Diagnostic| (problem.message.clone(), problem.help.clone());
    let words: Vec<_> = problems.iter().map(words).collect();
    let message = |name| format!("`{name}` matches no testcase of the modules of its table");
    let help = "did you mean `grants`?".to_owned();
    assert_eq!(
        words,
        [(message("typo"), None), (message("grnats"), Some(help))]
    );
    assert_eq!(
        problems[0].facts,
        ["known testcases: `grants/x=1`, `other`"]
    );
}

/// Returns the messages about names, given what was listed for each table.
fn unmatched(
    builds: &[&str],
    tests: Vec<TestTable>,
    listings: &[(usize, TestcaseId)],
) -> Vec<String> {
    let builds = builds.iter().map(|name| table(name, &["icarus"], &[]));
    let plan = expand(&config(builds.collect(), tests));
    let selection = Selection::new(SelectionArgs::default(), &plan).expect("sound");
    let mut listed = selection.listed_names();
    for (table, id) in listings {
        listed.take(*table, id);
    }
    let problems = selection.unmatched_names(&listed);
    let more = |it: &Diagnostic| it.facts.get(1).map(|fact| format!(", {fact}"));
    let words = |it: &Diagnostic| format!("{}{}", it.message, more(it).unwrap_or_default());
    problems.iter().map(words).collect()
}

#[test]
fn a_name_means_only_what_is_listed_for_its_own_table() {
    let on = |build: &str, names: Arc<TestcaseNames>, seed| TestTable {
        builds: Some(vec![build.to_owned()]),
        ..selecting(names, seed)
    };
    let only_y = on("y", names(Some(&["w"]), &[]), None);
    let of_x = on("x", names(None, &["v"]), None);
    let tests = vec![only_y, of_x];
    let listings = [
        (1, id("x", "m", "w")),
        (1, id("x", "m", "v")),
        (0, id("y", "m", "u")),
    ];
    let builds = ["x", "y"];
    let problem = ["`w` matches no testcase of the modules of its table"];
    assert_eq!(unmatched(&builds, tests.clone(), &listings), problem);
    // The build of the first table is not selected.
    assert_eq!(unmatched(&builds, tests, &listings[..2]), [""; 0]);

    // One build, one module name, but other files because of the import paths.
    let one = selecting(names(Some(&["a"]), &[]), None);
    let mut other = selecting(names(Some(&["b"]), &[]), None);
    other.settings.import_path.folders = vec!["/other".into()];
    let listings = [(0, id("x", "m", "b")), (1, id("x", "m", "b"))];
    let problem = ["`a` matches no testcase of the modules of its table"];
    assert_eq!(unmatched(&["x"], vec![one, other], &listings), problem);
}

#[test]
fn a_table_whose_names_match_nothing_on_one_build_or_in_one_variant_is_an_error() {
    let builds = ["x", "y", "z"];
    let listings = [
        (0, id("x", "m", "a")),
        (0, id("y", "m", "b")),
        (0, id("z", "m", "c")),
    ];
    let found = |wanted: Option<&[&str]>, left_out: &[&str], listed: usize| {
        let tests = vec![selecting(names(wanted, left_out), None)];
        unmatched(&builds, tests, &listings[..listed])
    };
    let nothing =
        |place: &str| format!("`testcase` of this table matches nothing on build {place}");
    assert_eq!(found(Some(&["a"]), &[], 1), [""; 0]);
    // `c` may be on the build that is not listed.
    assert_eq!(found(Some(&["a", "c"]), &[], 2), [nothing("`y`")]);
    let more = nothing("`y`, 1 more like this");
    assert_eq!(found(Some(&["a"]), &[], 3), [more]);
    assert_eq!(
        found(Some(&["?"]), &["b"], 3),
        [""; 0],
        "left out on purpose"
    );
    assert_eq!(found(None, &["a"], 3), [""; 0]);
    let empty = ["this table selects no testcase: `skip_testcase` leaves all of them out"];
    assert_eq!(found(Some(&["a", "b", "c"]), &["?"], 3), empty);
    assert_eq!(found(None, &["?"], 3), empty);
    assert_eq!(found(None, &["?"], 2), [""; 0], "`z` may have others");
    let unknown = ["`d` matches no testcase of the modules of its table"];
    assert_eq!(found(Some(&["d"]), &[], 3), unknown, "said once");

    let names = names(Some(&["a"]), &[]);
    let in_variant = |name: &str| TestTable {
        variant: Some(TestVariant(name.to_owned())),
        ..selecting(Arc::clone(&names), None)
    };
    let tests = vec![in_variant("fast"), in_variant("slow")];
    let listed = |table, name: &str, testcase| {
        let variant = Some(TestVariant(name.to_owned()));
        let id = id("x", "m", testcase);
        (table, TestcaseId { variant, ..id })
    };
    let listings = [listed(0, "fast", "a"), listed(1, "slow", "b")];
    let problem = [nothing("`x` in variant `slow`")];
    assert_eq!(unmatched(&["x"], tests, &listings), problem);
}

#[test]
fn a_mistyped_variant_gets_a_near_name() {
    let plan = in_variants(&["fast/size=1", "slow/size=1"]);
    for (wanted, meant) in [
        ("tb.m/fats", Some("tb.m/fast")),
        ("tb.m/slow/size=2", Some("tb.m/slow/size=1")),
        ("tb.m/other-one", None),
    ] {
        let args = SelectionArgs {
            modules: vec![wanted.to_owned()],
            ..SelectionArgs::default()
        };
        let problems = Selection::new(args, &plan).expect_err("it does not exist");
        let help = meant.map(|name| format!("did you mean `{name}`?"));
        assert_eq!(problems.0[0].help, help, "{wanted}");
    }
    let selection = Selection::new(filters(&["tb.m/fats"]), &plan).expect("sound");
    let help = selection.advice_on("tb.m/fats", &BTreeSet::new());
    assert_eq!(help.as_deref(), Some("did you mean `tb.m/fast`?"));
}
