//! Which files, lists and modules the entries of `runner.toml` select.

use super::*;

#[test]
fn patterns_match_what_a_shell_would_and_nothing_in_the_build_dir() {
    let project = Project::new(&[
        "hdl/b.sv",
        "hdl/a.sv",
        "hdl/.hidden.sv",
        "hdl/sub/c.sv",
        "hdl/sub/deep/d.sv",
        "hdl/e.v",
        "hdl/.git/f.sv",
        "sim_build/copy.sv",
    ]);
    let round = project.root.join("hdl/sub/round");
    fs::link(&project.root.join("hdl"), &round).expect("linked");
    let below_hdl: &[&str] = &["hdl/a.sv", "hdl/b.sv", "hdl/sub/c.sv", "hdl/sub/deep/d.sv"];
    for (pattern, expected) in [
        ("hdl/*.sv", &["hdl/a.sv", "hdl/b.sv"] as &[&str]),
        ("hdl/**/*.sv", below_hdl),
        ("**/*.sv", below_hdl),
        ("*/*/*.sv", &["hdl/sub/c.sv"]),
        ("hdl/sub/*/a.sv", &["hdl/sub/round/a.sv"]),
        ("./hdl/{a,e}.{sv,v}", &["hdl/a.sv", "hdl/e.v"]),
        ("hdl/[!a].*", &["hdl/b.sv", "hdl/e.v"]),
        ("hdl/.h*.sv", &["hdl/.hidden.sv"]),
        ("{hdl,hdl/sub}/[ac].sv", &["hdl/a.sv", "hdl/sub/c.sv"]),
    ] {
        let text = format!("[build.b]\nsources = ['{pattern}']\nhdl_toplevel = 'b'\n");
        let config = project.fine(&text);
        let found = project.source_names(&config.builds[0].variants[0].build.sources);
        assert_eq!(found, expected, "`{pattern}`");
    }
}

#[test]
fn a_match_that_is_not_utf8_is_reported_and_other_files_are_ignored() {
    use std::os::unix::ffi::OsStrExt;

    let project = Project::fifo();
    let odd = std::ffi::OsStr::from_bytes(b"hdl/\xff.v");
    let odd = project.root.as_std_path().join(odd);
    std::os::unix::fs::symlink("fifo.sv", odd).expect("linked");
    let text = |pattern| format!("[build.b]\nsources = ['{pattern}']\nhdl_toplevel = 'b'\n");
    project.fine(&text("hdl/*.sv"));
    let expected = "2 non-utf8-path: `hdl/*.v` matches `[ROOT]/hdl/\u{fffd}.v`, whose name is \
                    not UTF-8 (help: rename it, or narrow the pattern)";
    assert_eq!(project.brief(&text("hdl/*.v")), [expected]);
}

#[test]
fn file_lists_are_expanded_in_place() {
    let project = Project::new(&[
        "top.sv",
        "hdl/a.sv",
        "hdl/my b.sv",
        "ip/c.v",
        "ip/deep/d.v",
        "ip/inc/y.svh",
        "ip/ipc.v",
        "inc/x.svh",
        "lib/cell.v",
    ]);
    let list = "// from the project's folder\n+incdir+inc+ip/inc/\n\"hdl/my b.sv\" hdl/a.sv\n\
                -F ip/ip.f\n+define+WIDTH=8+FAST -DDEPTH=4\n-v lib/cell.v -y lib +libext+.v+.sv\n\
                hdl/a.sv\n";
    project.put("list.f", list);
    let own = "c.v # its own folder\n-f deep/d.f\n-I inc\n${IP}c.v\n";
    project.put("ip/ip.f", own);
    project.put("ip/deep/d.f", "$IP/deep/d.v\n");
    let config = project.fine(
        "simulator = ['icarus', 'verilator']\n[build.b]\nsources = ['list.f', 'top.sv']\nhdl_toplevel = 'top'\nincludes = ['ip/inc']\n\
         defines = { WIDTH = 16 }\nbuild_args = ['-z']\n",
    );
    let variants = &config.builds[0].variants;
    let build = &variants[0].build;
    let sources = [
        "hdl/my b.sv",
        "hdl/a.sv",
        "ip/c.v",
        "ip/deep/d.v",
        "ip/ipc.v",
        "top.sv",
    ];
    assert_eq!(project.source_names(&build.sources), sources);
    assert_eq!(project.names(&build.includes), ["ip/inc", "inc"]);
    let defines = build.defines.iter();
    let defines: Vec<String> = defines
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(defines, ["DEPTH=4", "FAST=", "WIDTH=16"]);
    let root = &project.root;
    let args = |name: &str| {
        let of = |variant: &&Variant| variant.build.simulator == simulator(name);
        let variant = variants.iter().find(of).expect("a build of it");
        variant.build.build_args.join(" ")
    };
    let icarus = format!("-l {root}/lib/cell.v -y {root}/lib -Y.v -Y.sv -z");
    assert_eq!(args("icarus"), icarus);
    let verilator = format!("-v {root}/lib/cell.v -y {root}/lib +libext+.v +libext+.sv -z");
    assert_eq!(args("verilator"), verilator);
}

#[test]
fn a_list_named_with_its_option_reads_paths_from_its_own_folder() {
    let project = Project::new(&["ip/c.v"]);
    project.put("ip/ip.txt", "c.v\n");
    let text = "[build.b]\nsources = ['-F ip/ip.txt']\nhdl_toplevel = 'c'\n";
    let config = project.fine(text);
    assert_eq!(
        project.source_names(&config.builds[0].variants[0].build.sources),
        ["ip/c.v"]
    );
}

#[test]
fn a_cycle_of_lists_through_dots_ends() {
    let project = Project::new(&["ip/c.v"]);
    project.put("ip/a.f", "c.v -F ../ip/a.f -F ../ip/../ip/a.f\n");
    let reported = project.brief("[build.b]\nsources = ['-F ip/a.f']\nhdl_toplevel = 'c'\n");
    assert!(reported[0].contains("file lists"), "{}", reported[0]);
}

#[test]
fn module_patterns_find_files_and_packages_once() {
    let project = Project::new(&[
        "tests/__init__.py",
        "tests/test_b.py",
        "tests/test_a.py",
        "tests/test_pkg/__init__.py",
        "tests/test_pkg/test_inner.py",
        "tests/test_notes.txt",
        "more/test_c.py",
    ]);
    let (target, link) = ("tests/test_a.py", "more/test_a.py");
    fs::link(&project.root.join(target), &project.root.join(link)).expect("linked");
    let text = |paths: &str, modules: &str| {
        format!(
            "[python]\npaths = {paths}\n[build.b]\nsources = ['tests/test_a.py']\n\
             hdl_toplevel = 'b'\n[[test]]\ntest_module = {modules}\n"
        )
    };
    let both = "['tests', 'more']";
    for (paths, modules, expected) in [
        (
            both,
            "'test_*'",
            &["test_a", "test_b", "test_c", "test_pkg"] as &[&str],
        ),
        (
            both,
            "['test_c', 'test_?', 'test_c']",
            &["test_c", "test_a", "test_b"],
        ),
        (
            "['.']",
            "'tests.*'",
            &["tests.test_a", "tests.test_b", "tests.test_pkg"],
        ),
        (
            "['.']",
            "'test*.test_pkg.test_*'",
            &["tests.test_pkg.test_inner"],
        ),
        ("['.']", "'installed.somewhere'", &["installed.somewhere"]),
    ] {
        let config = project.fine(&text(paths, modules));
        let found = config.tests[0].modules.iter().map(|name| name.0.as_str());
        assert_eq!(found.collect::<Vec<_>>(), expected, "{modules} in {paths}");
    }
    project.put("tests/test_a.orig.py", "");
    let expected = "7 bad-value: `test_*` matches `test_a.orig.py`, which `import` cannot name \
                    (help: rename the file, or narrow the pattern)";
    assert_eq!(project.brief(&text("['tests']", "'test_*'")), [expected]);
}

#[test]
fn vhdl_is_rejected_wherever_it_is_named() {
    let project = Project::new(&["hdl/a.sv", "hdl/b.vhd", "hdl/c.VHDL", "vhd/d.sv"]);
    project.put("all.f", "hdl/a.sv\nhdl/b.vhd\n");
    let text = |source| format!("[build.b]\nsources = ['{source}']\nhdl_toplevel = 'b'\n");
    project.fine(&text("vhd/d.sv"));
    for (source, place, name) in [
        ("hdl/b.vhd", "2", "b.vhd"),
        ("hdl/[ac].*", "2", "c.VHDL"),
        ("all.f", "all.f:2", "b.vhd"),
    ] {
        let expected = format!(
            "{place} bad-value: `[ROOT]/hdl/{name}` is VHDL, which cannot be compiled by `icarus` (help: \
             translate it to Verilog, for example with `ghdl synth --out=verilog`)"
        );
        assert_eq!(project.brief(&text(source)), [expected], "{source}");
    }
}

#[test]
fn options_of_other_tools_are_translated_or_skipped_with_one_warning_per_kind() {
    let project = Project::new(&["hdl/a.sv", "inc/x.svh", "other.f"]);
    let list = "-full64 -sverilog +lint=all +lint=TFIPC\n-timescale=10ns/1ns\n-incdir inc\n\
                -define WIDTH=8\n+access+rwc -l comp.log -work work\n-full64 hdl/a.sv\n";
    project.put("vendor.f", list);
    let text = "[build.b]\nsources = ['vendor.f']\nhdl_toplevel = 'b'\n";
    let config = project.fine(text);
    let build = &config.builds[0].variants[0].build;
    assert_eq!(project.source_names(&build.sources), ["hdl/a.sv"]);
    assert_eq!(project.names(&build.includes), ["inc"]);
    assert_eq!(build.defines["WIDTH"].to_string(), "8");
    let timescale = build.timescale.as_ref().map(ToString::to_string);
    assert_eq!(timescale.as_deref(), Some("10ns/1ns"));
    let warnings = config
        .build_problems
        .of([&build.name])
        .expect("warnings only");
    let texts: Vec<&str> = warnings.iter().map(|it| it.message.as_str()).collect();
    let skipped = ["-full64", "-sverilog", "+lint", "+access", "-l", "-work"];
    let skipped = skipped.map(|kind| format!("the option `{kind}` in a file list is skipped"));
    assert_eq!(texts, skipped);
    // What the build says itself takes precedence.
    let own = format!("{text}timescale = '1ns/1ps'\n");
    let config = project.fine(&own);
    let timescale = config.builds[0].variants[0].build.timescale.as_ref();
    assert_eq!(
        timescale.map(ToString::to_string).as_deref(),
        Some("1ns/1ps")
    );
    let refused = project.brief(&format!("strict_file_lists = true\n{text}"));
    assert_eq!(refused.len(), 10, "{refused:#?}");
    assert_eq!(
        refused[0],
        "vendor.f:1 file-list: the option `-full64` in a file list is one of another tool (help: remove it)"
    );
}

#[test]
fn a_strict_list_says_once_for_each_option_what_to_write_instead() {
    let project = Project::new(&["a.v", "inc/x.vh"]);
    let text = "strict_file_lists = true\n[build.b]\nsources = ['vendor.f']\nhdl_toplevel = 'b'\n";
    let list = "-incdir inc\n-timescale 1ns/1ps\n-timescale=1ns/1ps\n-l log.txt\n-define X=1\na.v\n--bogus\n";
    project.put("vendor.f", list);
    let said = |line: usize, option: &str, help: &str| {
        format!(
            "vendor.f:{line} file-list: the option `{option}` in a file list is one of another tool (help: {help})"
        )
    };
    let timescale = "write `timescale = \"1ns/1ps\"` in the `[build.NAME]`";
    let expected = [
        said(1, "-incdir", "write `+incdir+inc`"),
        said(2, "-timescale", timescale),
        said(3, "-timescale=1ns/1ps", timescale),
        said(4, "-l", "remove it with its argument, `log.txt`"),
        said(5, "-define", "write `+define+X=1`"),
        "vendor.f:7 file-list: unknown option `--bogus` in a file list (help: remove it here, and give it \
         in `build_args` if the simulator supports it)"
            .to_owned(),
    ];
    assert_eq!(project.brief(text), expected);
}

#[test]
fn a_skipped_option_takes_nothing_from_the_design() {
    let project = Project::new(&["a.v", "b.v", "c", "notes.txt"]);
    let text = "[build.b]\nsources = ['vendor.f']\nhdl_toplevel = 'b'\n";
    let list = "-mfcu_log\na.v\n-mfcu_log +define+STRICT\n-covoverwrite b.v -mfcu_log c\n\
                -mfcu_log mfcu.log -l notes.txt -access +rwc\n";
    project.put("vendor.f", list);
    let config = project.fine(text);
    let build = &config.builds[0].variants[0].build;
    assert_eq!(project.source_names(&build.sources), ["a.v", "b.v", "c"]);
    assert_eq!(build.defines["STRICT"], HdlValue::Flag);
    let warnings = config.build_problems.of([&build.name]).expect("warnings");
    let logs = warnings.iter().find(|it| it.message.contains("`-l`"));
    assert_eq!(
        logs.expect("a warning").facts[0],
        "its argument is `notes.txt`"
    );
    let list = "-coverage\na.v\n-l\nb.v\n-work +define+X\n-log c.f\n";
    project.put("vendor.f", list);
    project.put("c.f", "");
    let problems = project.brief(text);
    let expected = [
        "vendor.f:1 file-list: unknown option `-coverage` in a file list",
        "vendor.f:3 file-list: `-l` is missing its argument",
        "vendor.f:5 file-list: `-work` is missing its argument",
        "vendor.f:6 file-list: `-log` is missing its argument",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(expected) {
        assert!(problem.starts_with(start), "{problem}");
    }
}

#[test]
fn lists_with_different_timescales_and_options_without_their_values_are_errors() {
    let project = Project::new(&["hdl/a.sv"]);
    project.put("a.f", "-timescale=1ns/1ps hdl/a.sv\n");
    project.put(
        "b.f",
        "-timescale 1ns/1ns\n-timescale=1ns\n-assert disable\n-l\n",
    );
    let text = "[build.b]\nsources = ['a.f', 'b.f']\nhdl_toplevel = 'b'\n";
    assert_eq!(
        project.brief(text),
        [
            "b.f:1 file-list: the timescale `1ns/1ns` contradicts `1ns/1ps` of another list (help: \
             choose one: `timescale` of the build takes precedence over those of lists)",
            "b.f:2 file-list: invalid timescale `1ns`: it has no `/`",
            "b.f:3 file-list: unknown option `-assert` in a file list (help: remove it here, and give \
             it in `build_args` if the simulator supports it)",
            "b.f:3 missing-file: `disable` does not exist",
            "b.f:4 file-list: `-l` is missing its argument",
        ]
    );
}
