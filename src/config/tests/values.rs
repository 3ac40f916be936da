//! How a valid file is read, and how the file is found.

use super::*;

use crate::model::build::Timescale;
use crate::model::test::Isolation;

use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn every_key_of_the_top_level_and_of_python_arrives() {
    let project = Project::fifo();
    let config = project.fine(EVERY_KEY);
    assert_eq!(config.path, project.root.join("runner.toml"));
    assert_eq!(config.project_dir, project.root);
    assert_eq!(config.build_dir, "/scratch/sim");
    assert_eq!(config.jobs, Some(4));
    assert_eq!(config.session_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(config.build_timeout, Duration::from_secs(60));
    assert_eq!(config.lock_timeout, Duration::from_millis(500));
    let python = project.root.join(".venv/bin/python");
    assert_eq!(config.python.interpreter, Some(python));
    assert_eq!(project.names(&config.python.paths), ["tests"]);
    assert_eq!(config.python.requirements, ["cocotb==2.1.0"]);
}

#[test]
fn every_key_of_a_build_arrives() {
    let project = Project::fifo();
    let config = project.fine(EVERY_KEY);
    let table = &config.builds[0];
    assert_eq!((table.name.as_str(), table.line), ("fifo", 16));
    let simulators: BTreeSet<&SimulatorName> = table
        .variants
        .iter()
        .map(|it| &it.build.simulator)
        .collect();
    assert!(simulators.into_iter().eq(&Registry::builtin().names()));
    let fifo = &table.variants[0].build;
    let sources = ["hdl/fifo_pkg.sv", "hdl/fifo.sv"];
    assert_eq!(project.source_names(&fifo.sources), sources);
    assert_eq!(project.names(&fifo.includes), ["hdl"]);
    assert_eq!(fifo.hdl_toplevel, "fifo");
    let text = |text: &str| HdlValue::Text(text.to_owned());
    let defines = [
        ("FAST", HdlValue::Boolean(true)),
        ("NAME", text("a b")),
        ("SIM", HdlValue::Flag),
        ("WIDTH", HdlValue::Integer(8)),
    ];
    assert_eq!(fifo.defines, owned(&defines));
    let parameters = [
        ("DEPTH", HdlValue::Integer(4)),
        ("EMPTY", text("")),
        ("FILE", text("x.hex")),
        ("LOG", HdlValue::Boolean(false)),
        ("WIDTH", HdlValue::Integer(8)),
    ];
    assert_eq!(fifo.parameters, owned(&parameters));
    assert_eq!(shown(fifo.timescale.as_ref()), "10ns/100ps");
    assert_eq!(fifo.build_args, ["-Wall"]);
    let of_verilator = &table.variants[1].build;
    assert_eq!(of_verilator.build_args, ["-Wall", "-Wno-WIDTH"]);
    assert_eq!(fifo.build_env["N"], "1");
    assert!(fifo.waves);
}

fn shown(timescale: Option<&Timescale>) -> String {
    timescale.map(ToString::to_string).unwrap_or_default()
}

#[test]
fn builds_are_named_by_matrix_and_simulator() {
    let config = Project::fifo().fine(EVERY_KEY);
    let variants = config.builds.iter().flat_map(|table| &table.variants);
    let names: Vec<&str> = variants.map(|it| it.build.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "fifo/DEPTH=4/WIDTH=8@icarus",
            "fifo/DEPTH=4/WIDTH=8@verilator",
            "fifo/DEPTH=4/WIDTH=16@icarus",
            "fifo/DEPTH=4/WIDTH=16@verilator",
            "single",
        ]
    );
}

#[test]
fn every_key_of_a_test_arrives() {
    let config = Project::fifo().fine(EVERY_KEY);
    let test = &config.tests[0];
    let modules: Vec<&str> = test.modules.iter().map(|name| name.0.as_str()).collect();
    assert_eq!(modules, ["test_fifo", "test_ram", "installed.tests"]);
    assert_eq!(test.settings.plusargs, ["+dump", "+level=3"]);
    assert_eq!(test.settings.test_args, ["-v"]);
    assert_eq!(test.settings.timeout, Duration::from_secs(60));
    let seed = test.settings.seed.map(|seed| seed.0);
    assert_eq!(seed, Some(u32::MAX));
    assert_eq!(test.settings.env["MODE"], "fast");
    assert_eq!(test.settings.run_files.len(), 2);
    assert_eq!(test.settings.isolation, Isolation::Testcase);
    assert!(test.settings.waves && !test.settings.fail_on_hdl_error);
    // The second table plans `test_ram` on `single` again, which equal settings allow.
    assert_eq!(test.settings, config.tests[1].settings);
}

#[test]
fn what_is_left_out_has_the_defaults_of_the_reference() {
    let project = Project::fifo();
    let config = project.fine(&format!("{BUILD}[[test]]\ntest_module = 'a.b'\n"));
    assert_eq!(config.build_dir, project.root.join("sim_build"));
    assert_eq!((config.jobs, config.session_timeout), (None, None));
    assert_eq!(config.build_timeout, Duration::from_secs(3600));
    assert_eq!(config.lock_timeout, Duration::from_secs(3600));
    assert_eq!(config.python.interpreter, None);
    assert_eq!(
        config.python.paths.as_slice(),
        std::slice::from_ref(&project.root)
    );
    let [variant] = config.builds[0].variants.as_slice() else {
        panic!("one simulator, no matrix");
    };
    let build = &variant.build;
    assert_eq!(build.simulator, simulator("icarus"));
    assert_eq!(shown(build.timescale.as_ref()), "1ns/1ps");
    assert!(!build.waves);
    let test = &config.tests[0];
    assert_eq!(test.builds, None);
    let settings = &test.settings;
    assert_eq!(settings.timeout, Duration::from_secs(600));
    assert_eq!(settings.isolation, Isolation::Testcase);
    assert!(settings.fork);
    assert!(settings.fail_on_hdl_error && !settings.waves && settings.seed.is_none());
}

#[test]
fn limits_and_isolation_of_the_top_level_apply_to_tests_without_their_own() {
    let text =
        format!("timeout_s = 1.5\nisolation = 'build'\n{BUILD}[[test]]\ntest_module = 'm'\n");
    let config = Project::fifo().fine(&text);
    let settings = &config.tests[0].settings;
    assert_eq!(settings.timeout, Duration::from_millis(1500));
    assert_eq!(settings.isolation, Isolation::Build);
}

#[test]
fn a_bare_interpreter_is_left_to_path() {
    let text = format!("[python]\ninterpreter = 'python3.11'\n{BUILD}");
    let config = Project::fifo().fine(&text);
    let interpreter = config.python.interpreter;
    assert_eq!(interpreter.as_deref(), Some(Utf8Path::new("python3.11")));
}

#[test]
fn the_file_is_found_in_the_folder_or_above_it_or_by_its_name() {
    let project = Project::new(&["runner.toml", "deep/er/x", "other/mine.toml"]);
    let root = &project.root;
    let expected = Ok(root.join("runner.toml"));
    assert_eq!(find(root, None), expected);
    assert_eq!(find(&root.join("deep/er"), None), expected);
    let named = find(
        &root.join("deep"),
        Some(Utf8Path::new("../other/mine.toml")),
    );
    assert_eq!(named, Ok(root.join("deep/../other/mine.toml")));
    let missing = find(root, Some(Utf8Path::new("none.toml"))).expect_err("absent");
    let reported = "`none.toml` does not exist [config::not-found]";
    assert_eq!(missing.to_string(), reported);
    let missing = find(Utf8Path::new("/proc/self/task"), None).expect_err("absent");
    assert_eq!(missing.0[0].code, Code::ConfigNotFound);
}

#[test]
fn a_file_that_cannot_be_read_is_reported() {
    let project = Project::fifo();
    project.put("bad.toml", b"a = 1\nb = '\xe9'\n");
    for (name, expected) in [
        (
            "none.toml",
            "`none.toml` does not exist [config::not-found]",
        ),
        (
            "hdl",
            "cannot read `hdl`: it is a directory [config::unreadable]",
        ),
        (
            "bad.toml",
            "cannot read `bad.toml`: line 2 is not UTF-8 [config::unreadable]",
        ),
    ] {
        let (here, environment) = (&project.root, Environment::default());
        let reported = load_from(
            Utf8Path::new(name),
            here,
            &environment,
            &Registry::builtin(),
        );
        assert_eq!(reported.expect_err("unreadable").to_string(), expected);
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let project = Project::fifo();
    let text = format!("\u{feff}{}", EVERY_KEY.replace('\n', "\r\n"));
    let values = |text: &str| {
        let mut config = project.fine(text);
        config.places = Places::default();
        let mut lines = Vec::new();
        for table in &mut config.tests {
            lines.push(table.place.file_and_line());
            table.place.text = "".into();
            table.place.range = 0..0;
        }
        (config, lines)
    };
    assert_eq!(values(&text), values(EVERY_KEY));
    let reported = project.reported(&format!("\u{feff}jbos = 1\r\n{BUILD}"));
    assert!(reported.contains("runner.toml:1:1\n"), "{reported}");
}

#[test]
fn the_examples_of_the_reference_are_valid() {
    let page = include_str!("../../../docs/runner-toml.md");
    let project = Project::fifo();
    project.put("rtl/uart.f", "hdl/fifo.sv");
    project.put("hdl/uart_wrap.sv", "");
    project.put("hdl/uart.sv", "");
    project.put("hdl/ram.sv", "");
    project.put("blocks/fifo/checks.py", "");
    project.put("blocks/uart/checks.py", "");
    project.put("rtl/soc.sv", "");
    project.put("hdl/router.sv", "");
    project.put("hdl/alu.sv", "");
    project.put("tests/test_bus_protocol.py", "");
    for block in ["fifo", "uart"] {
        let text = "[build.top]\nsources = ['top.sv']\nhdl_toplevel = 'top'\n";
        project.put(&format!("blocks/{block}/runner.toml"), text);
        project.put(&format!("blocks/{block}/top.sv"), "");
    }
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).collect();
    for name in [
        "hdl/ram_single.sv",
        "hdl/ram_dual.sv",
        "hdl/core.sv",
        "hdl/chip.sv",
        "lib/models.vpi",
        "lib/watch.so",
        "hdl/cordic.sv",
        "hdl/glbl.sv",
        "gen_table.sh",
        "gen_rom.sh",
        "rom.txt",
        "ip/dma/sim/dma.sv",
        "lib/spec.py",
    ] {
        project.put(name, "");
    }
    project.put(
        "ip/dma/sim/runner.toml",
        "[build.top]\nsources = ['dma.sv']\nhdl_toplevel = 'dma'\n",
    );
    assert_eq!(blocks.len(), page.matches("```toml").count());
    assert!(!blocks.is_empty());
    for block in blocks {
        project.fine(block.split("```").next().unwrap_or_default());
    }
}

#[test]
fn ten_thousand_tables_are_read_and_their_one_mistake_is_reported_once() {
    let project = Project::fifo();
    let table = |index| format!("[[test]]\ntest_module = 'm{index}'\nseed = {index}\n");
    let tables: Vec<String> = (0..10_000).map(table).collect();
    let text = format!("{BUILD}{}", tables.concat());
    assert_eq!(project.fine(&text).tests.len(), 10_000);
    let refused = project.load(&text.replace("seed", "sede"));
    let problems = refused.expect_err("unknown keys").0;
    let [problem] = problems.as_slice() else {
        panic!("equal problems are one: {problems:?}");
    };
    let facts = ["9999 more like this: runner.toml:9, runner.toml:12, runner.toml:15, …"];
    assert_eq!(problem.facts, facts);
}

#[test]
fn problems_with_the_files_of_a_build_matter_only_to_sessions_that_need_it() {
    let project = Project::fifo();
    project.put("hdl/other.f", "gone.sv\n+incdir+nowhere\n");
    let text = "[build.fifo]\nsources = ['hdl/fifo.sv']\nhdl_toplevel = 'fifo'\nincludes = ['inc']\n\
                [build.b]\nsources = ['hdl/gone.sv', 'x*.sv', '$NOPE/a.sv', 'hdl/other.f']\n\
                hdl_toplevel = 'b'\nincludes = ['inc', 'i*']\n";
    project.put(FILE_NAME, text);
    let path = project.root.join(FILE_NAME);
    let environment = Environment::from_pairs([("HOME", "/")]);
    let registry = Registry::builtin();
    let config = load_from(&path, &project.root, &environment, &registry).expect("kept for later");
    let of = |names: &[&str]| {
        let names: Vec<BuildName> = names.iter().map(|it| BuildName((*it).to_owned())).collect();
        config.build_problems.of(&names)
    };
    let warnings = of(&["fifo"]).expect("only warnings");
    let texts: Vec<&str> = warnings.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(texts, ["the include folder `inc` does not exist"]);
    assert_eq!(
        project.names(&config.builds[0].variants[0].build.includes),
        ["inc"],
        "it may be made later"
    );
    let problems = of(&["fifo", "b"]).expect_err("errors").0;
    let texts: Vec<&str> = problems.iter().map(|it| it.message.as_str()).collect();
    let expected = [
        "the include folder `inc` does not exist",
        "`hdl/gone.sv` does not exist",
        "`x*.sv` matches no file",
        "the environment variable `NOPE` is unset or empty",
        "`gone.sv` does not exist",
        "the include folder `nowhere` does not exist",
        "`i*` matches no directory",
    ];
    assert_eq!(texts, expected);
    assert!(
        problems[0]
            .facts
            .iter()
            .any(|fact| fact == "1 more like this: runner.toml:8")
    );
}

#[test]
fn a_wrong_folder_is_one_problem_however_many_files_are_in_it() {
    let project = Project::fifo();
    let sources: Vec<String> = (0..50)
        .map(|index| format!("'gone/{index}/a.sv'"))
        .collect();
    let table = |name| {
        format!(
            "[build.{name}]\nsources = [{}]\nhdl_toplevel = 'a'\n",
            sources.join(",\n")
        )
    };
    let problems = project
        .load(&(table("a") + &table("b")))
        .expect_err("gone")
        .0;
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    assert_eq!(problem.message, "`gone/0/a.sv` does not exist");
    let folder = format!("there is no folder `{}`", project.root.join("gone"));
    let others = "99 more like this: runner.toml:3, runner.toml:4, runner.toml:5, …";
    assert_eq!(problem.facts, [folder.as_str(), others]);
}
