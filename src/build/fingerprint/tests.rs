//! What changes the key of a build, what does not, and how changes are explained.

use super::*;

use crate::model::build::BuildName;
use crate::model::build::HdlValue;
use crate::model::build::SimulatorName;
use crate::model::build::Source;
use crate::model::build::Timescale;
use crate::model::build::UnknownParameters;
use crate::model::step::StepFile;
use crate::model::step::StepResult;
use crate::model::tool::CocotbVersion;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;
use crate::sim::registry::Registry;

use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Fields of the ingredients that are not digested, by the last name in their path, and why.
const LEFT_OUT: [(&str, &str); 1] = [(
    "program",
    "the path to a program differs between nodes; the identity of the real file is used",
)];

fn build(simulator: &SimulatorName, project: &str) -> Build {
    let project_dir = Utf8PathBuf::from(project);
    let number = HdlValue::Integer;
    Build {
        name: BuildName("fifo".to_owned()),
        table: "fifo".to_owned(),
        simulator: simulator.clone(),
        sources: ["hdl/fifo.sv", "hdl/ram.sv"]
            .map(|name| Source::new(project_dir.join(name)))
            .into(),
        includes: [project_dir.join("inc")].into(),
        hdl_toplevel: "fifo".to_owned(),
        extra_toplevels: Vec::new(),
        defines: BTreeMap::from([
            ("SIM".to_owned(), HdlValue::Flag),
            ("MODE".to_owned(), number(1)),
        ]),
        parameters: BTreeMap::from([("DEPTH".to_owned(), number(4))]),
        timescale: Some(Timescale {
            unit: "1ns".to_owned(),
            precision: "1ps".to_owned(),
        }),
        build_args: vec![
            "-Wall".to_owned(),
            "-y".to_owned(),
            project_dir.join("lib").to_string(),
        ],
        waves: true,
        unknown_parameters: UnknownParameters::Error,
        build_env: BTreeMap::from([("LICENCE".to_owned(), "x".to_owned())]),
        steps: Vec::new(),
        step_results: BTreeMap::new(),
        run_files: BTreeSet::new(),
        project_dir,
    }
}

/// Returns the ingredients of a build whose files have these digests.
fn ingredients(build: &Build) -> Ingredients {
    let registry = Registry::builtin();
    let simulator = registry.get(build.simulator.as_str()).expect("registered");
    let text = |text: &str| text.to_owned();
    let tool = SimulatorTool {
        simulator: build.simulator.clone(),
        compiler: Utf8PathBuf::from("/usr/bin/compiler"),
        runtime: None,
        env: BTreeMap::from([(text("ROOT"), text("/opt/simulator"))]),
        version: text("version 1"),
        identity: text("identity"),
        helpers: BTreeMap::from([(text("C++ compiler"), text("compiler 1"))]),
    };
    let python = PythonEnv {
        interpreter: Utf8PathBuf::from("/venv/bin/python"),
        prefix: Utf8PathBuf::from("/venv"),
        python_version: text("3.11.2"),
        cocotb: CocotbVersion::parse("2.1.0").expect("a version"),
        libs_dir: Utf8PathBuf::from("/venv/libs"),
        share_dir: Utf8PathBuf::from("/venv/share"),
        libpython: Utf8PathBuf::from("/usr/lib/libpython3.11.so"),
        simulator_extension: None,
        packages: BTreeMap::new(),
        distributions: BTreeMap::new(),
    };
    let digests = build.sources.iter().map(|source| {
        let inside = source.path.strip_prefix(&build.project_dir);
        let inside = inside.expect("a source of the project");
        (inside.to_owned(), format!("digest of {inside}"))
    });
    Ingredients {
        omits_unknown_parameters: build.unknown_parameters == UnknownParameters::Warn,
        simulator: build.simulator.to_string(),
        simulator_version: tool.version.clone(),
        simulator_identity: tool.identity.clone(),
        helpers: tool.helpers.clone(),
        cocotb_version: python.cocotb.text.clone(),
        inherited: BTreeMap::from([(text("CXXFLAGS"), text("-O2"))]),
        tool_env: tool.env.clone(),
        recipe: simulator.recipe(build, &tool, &python),
        inputs: digests.collect(),
        step_files: step_files(build),
    }
}

/// Returns a build that also compiles what a step has written, in this attempt's directory.
fn with_step(simulator: &SimulatorName, dir: &str, digest: &str) -> Build {
    let mut build = build(simulator, "/p");
    let file = |path: &str, digest: &str| StepFile {
        path: Utf8PathBuf::from(path),
        size: 1,
        digest: digest.to_owned(),
    };
    let result = StepResult {
        is_reused: false,
        dir: Utf8PathBuf::from(dir),
        files: vec![file("defs.svh", digest), file("regs.sv", "same")],
    };
    build.includes = [result.dir.clone()].into();
    build.step_results = BTreeMap::from([("regs".to_owned(), result)]);
    build
}

fn builds() -> Vec<Build> {
    let names = Registry::builtin().names();
    names.iter().map(|name| build(name, "/p")).collect()
}

type Change = fn(&mut Build);

/// The path to a field of a JSON value: names, and indices in lists.
type Way = Vec<String>;

/// Lists the paths to everything in a value that can be altered: scalars, lists, and keys of maps.
fn ways(value: &Value, way: &Way, found: &mut Vec<Way>) {
    let mut deeper = |step: String, inner: &Value| {
        let way: Way = way.iter().cloned().chain([step]).collect();
        ways(inner, &way, found);
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, inner)| deeper(name.clone(), inner)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                deeper(index.to_string(), item);
            }
            found.push(way.clone());
        }
        Value::String(_) | Value::Bool(_) | Value::Null => found.push(way.clone()),
        Value::Number(_) => unreachable!("a recipe is made of texts"),
    }
}

/// Returns the value with one field altered: text gets longer, a list loses its last item or
/// repeats its first one, a switch is turned, an absent value appears.
fn altered(value: &Value, way: &Way) -> Option<Value> {
    let mut value = value.clone();
    let field = way.iter().fold(&mut value, |value, step| match value {
        Value::Array(items) => &mut items[step.parse::<usize>().expect("a place in a list")],
        other => &mut other[step.as_str()],
    });
    match field {
        Value::String(text) => text.push('x'),
        Value::Bool(switch) => *switch = !*switch,
        Value::Null => *field = Value::String("x".to_owned()),
        Value::Array(items) => drop(items.pop()?),
        _ => unreachable!("`ways` leads to nothing else"),
    }
    Some(value)
}

#[test]
fn every_field_of_what_is_run_changes_the_key_but_those_that_are_listed() {
    for build in builds() {
        let before = ingredients(&build);
        let key = digest(before.clone()).key;
        let value = serde_json::to_value(&before).expect("JSON");
        let mut found = Vec::new();
        ways(&value, &Vec::new(), &mut found);
        assert!(found.len() > 60, "only {} fields were found", found.len());
        let mut left_out = 0;
        for way in &found {
            let Some(after) = altered(&value, way) else {
                continue;
            };
            let after: Ingredients = serde_json::from_value(after).expect("still ingredients");
            let last = way.last().map_or("", String::as_str);
            let is_left_out = LEFT_OUT.iter().any(|(name, _)| *name == last);
            left_out += usize::from(is_left_out);
            let same = digest(after).key == key;
            assert_eq!(same, is_left_out, "{}: {}", build.simulator, way.join("/"));
        }
        assert_eq!(left_out, before.recipe.steps.len());
    }
}

#[test]
fn every_field_of_a_build_that_a_compiler_gets_changes_the_key() {
    let changes: [(&str, Change); 11] = [
        ("the order of sources", |build| {
            Arc::make_mut(&mut build.sources).reverse();
        }),
        ("an include directory", |build| build.includes = [].into()),
        ("the toplevel", |build| build.hdl_toplevel.push('2')),
        ("another toplevel", |build| {
            build.extra_toplevels.push("glbl".to_owned());
        }),
        ("a parameter in SystemVerilog", |build| {
            let text = HdlValue::Sv("8'h4".to_owned());
            build.parameters.insert("DEPTH".to_owned(), text);
        }),
        ("a define", |build| drop(build.defines.remove("SIM"))),
        ("a parameter", |build| {
            let text = HdlValue::Text("4".to_owned());
            build.parameters.insert("DEPTH".to_owned(), text);
        }),
        ("the timescale", |build| build.timescale = None),
        ("an argument", |build| drop(build.build_args.pop())),
        ("waves", |build| build.waves = false),
        ("a variable", |build| build.build_env.clear()),
    ];
    for build in builds() {
        let key = digest(ingredients(&build)).key;
        let registry = Registry::builtin();
        let simulator = registry.get(build.simulator.as_str()).expect("registered");
        for (what, change) in changes {
            let mut other = build.clone();
            change(&mut other);
            if !other.extra_toplevels.is_empty() && simulator.refused_toplevels().is_some() {
                continue;
            }
            let other_key = digest(ingredients(&other)).key;
            assert_ne!(other_key, key, "{}: {what}", build.simulator);
        }
    }
}

#[test]
fn two_checkouts_and_two_names_share_a_key() {
    for simulator in Registry::builtin().names() {
        let here = digest(ingredients(&build(&simulator, "/home/a/p")));
        let mut there = build(&simulator, "/home/b/q");
        there.name = BuildName("other".to_owned());
        assert_eq!(here.key, digest(ingredients(&there)).key, "{simulator}");
    }
}

#[test]
fn what_a_step_has_written_is_in_the_key_and_where_is_not() {
    for simulator in Registry::builtin().names() {
        let key = |dir, content| digest(ingredients(&with_step(&simulator, dir, content)));
        let first = key("/p/b/step-regs-1/attempts/1/out", "a");
        assert_eq!(first.key, key("/p/b/step-regs-1/attempts/2/out", "a").key);
        assert_eq!(first.key, key("/elsewhere/out", "a").key);
        let edited = key("/p/b/step-regs-1/attempts/1/out", "b");
        let line = "content of `{OUT:regs}/defs.svh` changed";
        assert_eq!(
            differences(&first.parts, &edited.parts),
            [line],
            "{simulator}"
        );
        let without = digest(ingredients(&build(&simulator, "/p")));
        assert_ne!(first.key, without.key);
    }
}

#[test]
fn a_change_is_explained_by_what_the_user_wrote() {
    let changes: [(Change, &str); 5] = [
        (
            |build| {
                let eight = HdlValue::Integer(8);
                build.parameters.insert("DEPTH".to_owned(), eight);
            },
            "parameter `DEPTH` changed: 4 -> 8",
        ),
        (
            |build| {
                let fast = HdlValue::Integer(2);
                build.defines.insert("FAST".to_owned(), fast);
            },
            "define `FAST` is new: 2",
        ),
        (
            |build| drop(build.defines.remove("MODE")),
            "define `MODE` is gone: 1",
        ),
        (
            |build| build.includes = [Utf8PathBuf::from("/p/inc2")].into(),
            "includes[0] changed: inc -> inc2",
        ),
        (
            |build| {
                if let Some(timescale) = &mut build.timescale {
                    timescale.unit = "10ns".to_owned();
                }
            },
            "timescale changed: 1ns/1ps -> 10ns/1ps",
        ),
    ];
    for build in builds() {
        let before = digest(ingredients(&build)).parts;
        for (change, line) in changes {
            let mut other = build.clone();
            change(&mut other);
            let after = digest(ingredients(&other)).parts;
            assert_eq!(differences(&before, &after), [line], "{}", build.simulator);
        }
        let mut edited = ingredients(&build);
        edited
            .inputs
            .insert(Utf8PathBuf::from("hdl/fifo.sv"), "other".to_owned());
        let after = digest(edited).parts;
        let line = "content of `hdl/fifo.sv` changed";
        assert_eq!(differences(&before, &after), [line], "{}", build.simulator);
    }
}

#[test]
fn a_define_that_was_a_flag_is_explained_without_the_compilers_option() {
    for build in builds() {
        let before = digest(ingredients(&build)).parts;
        let mut other = build.clone();
        let one = HdlValue::Integer(1);
        other.defines.insert("SIM".to_owned(), one);
        let after = digest(ingredients(&other)).parts;
        assert_eq!(differences(&before, &after), ["define `SIM` changed"]);
        other.defines.remove("SIM");
        let after = digest(ingredients(&other)).parts;
        assert_eq!(differences(&before, &after), ["define `SIM` is gone"]);
    }
}

#[test]
fn a_variable_of_several_commands_is_explained_once() {
    for build in builds() {
        let before = digest(ingredients(&build)).parts;
        let mut other = build.clone();
        let value = "-DQ".to_owned();
        other.build_env.insert("OPT".to_owned(), value);
        let after = digest(ingredients(&other)).parts;
        let line = "environment `OPT` is new: -DQ";
        assert_eq!(differences(&before, &after), [line], "{}", build.simulator);
    }
}

#[test]
fn what_cocorun_chooses_itself_is_explained_only_if_nothing_else_differs() {
    let icarus = SimulatorName("icarus".to_owned());
    let with = build(&icarus, "/p");
    let mut without = with.clone();
    without.timescale = None;
    let before = digest(ingredients(&without)).parts;
    let after = digest(ingredients(&with)).parts;
    let line = "timescale is new: 1ns/1ps";
    assert_eq!(differences(&before, &after), [line]);
    let mut renamed = ingredients(&without);
    renamed.recipe.files[0].path = Utf8PathBuf::from("other.v");
    let after = digest(renamed).parts;
    let lines = [
        "generated file `other.v` is new",
        "generated file `cocorun_dump.v` is gone",
    ];
    assert_eq!(differences(&before, &after), lines);
}

#[test]
fn two_spellings_of_the_simulators_folder_are_one()
-> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let root = fs::real_path(Utf8Path::from_path(dir.path()).ok_or("a UTF-8 path")?)?;
    let spelt = |value: String| with_real_paths(&BTreeMap::from([("ROOT".to_owned(), value)]));
    let plain = spelt(root.to_string());
    assert_eq!(plain["ROOT"], root);
    assert_eq!(spelt(format!("{root}/")), plain);
    assert_eq!(
        spelt(format!("{root}/../{}", root.file_name().ok_or("a name")?)),
        plain
    );
    assert_eq!(spelt("relative".to_owned())["ROOT"], "relative");
    Ok(())
}

#[test]
fn names_in_a_command_file_are_found_where_its_flag_says()
-> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let project = Utf8Path::from_path(dir.path()).ok_or("a UTF-8 path")?;
    fs::create_dirs(&project.join("sub/deep"))?;
    fs::write(&project.join("sub/list.f"), "d.cpp -F deep/more.f\n")?;
    fs::write(&project.join("sub/d.cpp"), "")?;
    // The second list names the first one again.
    fs::write(&project.join("sub/deep/more.f"), "e.cpp -F ../list.f")?;
    fs::write(&project.join("sub/deep/e.cpp"), "")?;
    let mut build = build(&SimulatorName("verilator".to_owned()), project.as_str());
    let mut named = |args: &[&str]| {
        build.build_args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut names: Vec<String> = named_files(&build)
            .iter()
            .filter_map(|path| Some(path.strip_prefix(project).ok()?.to_string()))
            .collect();
        names.sort_unstable();
        names
    };
    let all = [
        "sub/d.cpp",
        "sub/deep/e.cpp",
        "sub/deep/more.f",
        "sub/list.f",
    ];
    assert_eq!(named(&["-F", "sub/list.f"]), all);
    assert_eq!(named(&["-f", "sub/list.f"]), ["sub/list.f"]);
    assert_eq!(named(&["-f", "sub/list.f", "-F", "sub/list.f"]), all);
    Ok(())
}
