//! Forked or spawned must make no difference: every testbench of the repository runs both ways, and
//! verdicts, seeds, simulated times, logs and files are compared testcase by testcase.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::seen::Session;
use crate::seen::expect_alike;
use crate::seen::expect_forked_like_spawned;
use crate::support::COCOTB;
use crate::support::Project;
use crate::support::python;
use crate::support::repository;

/// One build of each core; `COCORUN_TEST_ALL=1` runs all, which takes minutes.
const USUAL_CORES: [&str; 5] = [
    "fifo/DEPTH=7/WIDTH=9",
    "uart/CLKS_PER_BIT=4/DATA_BITS=7",
    "spi_master/CLKS_PER_HALF_BIT=1/WIDTH=2",
    "axis_register_slice/DATA_WIDTH=8@icarus",
    "round_robin_arbiter/PORTS=3",
];

/// Copies something of the repository into a project.
fn copy(name: &str, into: &Path) {
    fs::create_dir_all(into).unwrap();
    let from = repository().join(name);
    let copied = Command::new("cp").arg("-r").arg(from).arg(into).status();
    assert!(copied.unwrap().success());
}

/// Gives each testcase a process of its own, spawned or not, and all projects one build directory.
fn prepare(toml: &Path) {
    let text = fs::read_to_string(toml).unwrap();
    fs::write(toml, format!("isolation = \"testcase\"\n{text}")).unwrap();
    let shared = repository().join("target/test-env/examples");
    fs::create_dir_all(&shared).unwrap();
    let own = toml.parent().unwrap().join("sim_build");
    fs::remove_dir_all(&own).ok();
    symlink(shared, own).unwrap();
}

/// Runs everything with one seed.
#[track_caller]
fn session(project: &Project, toml: &Path, args: &[&str]) -> Session {
    let toml = toml.to_str().unwrap();
    let always = ["--seed", "4711", "--config", toml];
    Session::of(project, &[&always, args].concat())
}

/// Runs everything both ways and compares; returns how many testcases there were.
#[track_caller]
fn expect_no_difference(project: &Project, toml: &Path, args: &[&str]) -> usize {
    let forked = session(project, toml, args);
    let spawned = session(project, toml, &[args, &["--no-fork"]].concat());
    let count = spawned.seen.len();
    assert_eq!(forked.seen.len(), count);
    expect_forked_like_spawned(&forked, &spawned);
    count
}

#[test]
fn the_root_project_runs_alike_forked_and_spawned() {
    let project = Project::new();
    for name in ["hdl", "runner.toml"] {
        copy(name, &project.path("."));
    }
    copy("tests/cocotb", &project.path("tests"));
    let toml = project.path("runner.toml");
    prepare(&toml);
    assert!(expect_no_difference(&project, &toml, &[]) > 20);
}

#[test]
fn the_cores_run_alike_forked_and_spawned_on_icarus() {
    let project = Project::new();
    copy("hdl", &project.path("."));
    copy("tests/cocotb", &project.path("tests"));
    let toml = project.path("tests/cocotb/icarus.toml");
    prepare(&toml);
    let mut args = vec!["--simulator", "icarus"];
    if std::env::var_os("COCORUN_TEST_ALL").is_none() {
        args.extend(USUAL_CORES.iter().flat_map(|build| ["--build", build]));
    }
    assert!(expect_no_difference(&project, &toml, &args) > 50);
}

#[test]
fn the_examples_run_alike_forked_and_spawned() {
    let project = Project::new();
    copy("examples", &project.path("."));
    let mut count = 0;
    for name in [
        "icarus-counter",
        "verilator-alu",
        "parameter-matrix",
        "mixed-python-packages",
        "makefile",
    ] {
        let toml = project.path("examples").join(name).join("runner.toml");
        prepare(&toml);
        count += expect_no_difference(&project, &toml, &[]);
    }
    assert!(count > 40, "{count}");
}

/// Makes the project whose only purpose is to show differences.
fn telltale(cocotb: &str, build_keys: &str) -> Project {
    let project = Project::new();
    project.share_runtime();
    for name in ["top.sv", "contents.hex", "test_sees.py"] {
        copy(&format!("tests/differential/{name}"), &project.path("."));
    }
    let text = format!(
        "simulator = [\"icarus\", \"verilator\"]\nisolation = \"testcase\"\n\n[python]\n\
         interpreter = \"{}\"\n\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n{build_keys}\n\
         [build.top.verilator]\nbuild_args = [\"-Wno-fatal\"]\n\n[[test]]\n\
         test_module = \"test_sees\"\nplusargs = [\"+loud\", \"+depth=7\"]\n\
         run_files = [\"contents.hex\"]\n",
        python(cocotb).display()
    );
    project.file("runner.toml", &text);
    project
}

#[track_caller]
fn expect_nothing_told(cocotb: &str) {
    // Servers of two builds of one simulator are forked from a starter.
    let project = telltale(
        cocotb,
        "\n[build.twin]\nsimulator = \"icarus\"\nsources = [\"top.sv\"]\n\
         hdl_toplevel = \"top\"\ndefines = { TWIN = 1 }\n",
    );
    let toml = project.path("runner.toml");
    assert_eq!(expect_no_difference(&project, &toml, &[]), 21);
    assert_eq!(starters(&project), 1);
}

/// Counts the simulators of all sessions from which servers of builds were forked.
fn starters(project: &Project) -> usize {
    let folders = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|it| it.is_dir() && !it.is_symlink()).collect()
    };
    let sessions = folders(&project.path("sim_build/runs"));
    let builds = sessions.iter().flat_map(|session| folders(session));
    let runs = builds.flat_map(|build| folders(&build));
    runs.filter(|run| {
        run.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("starter-")
    })
    .count()
}

#[test]
fn nothing_that_a_testcase_sees_tells_that_it_was_forked_with_cocotb_1_9_2() {
    expect_nothing_told("1.9.2");
}

#[test]
fn nothing_that_a_testcase_sees_tells_that_it_was_forked_with_cocotb_2_0_1() {
    expect_nothing_told("2.0.1");
}

#[test]
fn nothing_that_a_testcase_sees_tells_that_it_was_forked_with_cocotb_2_1_0() {
    expect_nothing_told("2.1.0");
}

/// Runs with and without waves, and checks the wave files themselves by `is_wave_file`.
#[track_caller]
fn expect_waves_change_nothing(simulator: &str, name: &str, is_wave_file: fn(&str) -> bool) {
    // One build that can write waves, so that nothing is compiled twice.
    let project = telltale("2.1.0", "waves = true");
    let toml = project.path("runner.toml");
    let run = |args: &[&str]| {
        session(
            &project,
            &toml,
            &[&["--simulator", simulator], args].concat(),
        )
    };
    let with = run(&["--waves", "--verbose"]);
    expect_alike(&with, &run(&["--waves", "--no-fork"]));
    assert_eq!(with.spawned_because, ["waves are written"; 7]);
    assert_eq!(with.forked, 0);
    let told = with.stderr.matches("spawned: waves are written").count();
    assert_eq!(told, 7, "{}", with.stderr);
    let without = run(&[]);
    assert_eq!(without.forked, 7);
    assert_eq!(with.seen.len(), 7);
    for (key, seen) in &with.seen {
        let other = &without.seen[key];
        assert_eq!(seen.verdict, other.verdict, "{key}");
        let logs = [seen, other].map(|seen| without_mention(&seen.log, name));
        for (with, without) in logs[0].iter().zip(&logs[1]) {
            assert_eq!(with, without, "{key}");
        }
        assert_eq!(logs[0].len(), logs[1].len(), "{key}");
        assert!(
            is_wave_file(&seen.files[name]),
            "{key}: {:?}",
            seen.files.keys()
        );
        assert!(!other.files.contains_key(name), "{key}");
    }
}

/// Leaves out what Icarus says of a wave file, and its name in lists of plusargs, open files and of
/// a folder.
fn without_mention(log: &str, name: &str) -> Vec<String> {
    let mut text = log.replace("'dumpfile_path': 'RUN/waves.fst', ", "");
    for said in [
        format!("FST info: dumpfile {name} opened for output.\n"),
        "VCD info: dumping is suppressed.\n".to_owned(),
        format!(", 'RUN/{name}'"),
        format!(", 'RUN/{name}.hier'"),
        format!(", '{name}'"),
        format!(", '{name}.hier'"),
    ] {
        text = text.replace(&said, "");
    }
    // Two `$dumpvars`, the design's and ours, look at the same signals.
    let is_warning = |line: &&str| {
        line.starts_with("FST warning: ")
            || line.ends_with(&format!(" using existing file ({name})."))
    };
    let lines = text.lines().filter(|line| !is_warning(line));
    lines.map(str::to_owned).collect()
}

#[test]
fn waves_make_no_difference_on_icarus_but_that_nothing_is_forked() {
    // The design's own `$dumpfile` has the last word on the name. Only what is no text is escaped.
    expect_waves_change_nothing("icarus", "own.vcd", |file| {
        file.starts_with(r"\x00\x00\x00") && file.len() > 1_000
    });
}

#[test]
fn waves_make_no_difference_on_verilator_but_that_nothing_is_forked() {
    expect_waves_change_nothing("verilator", "waves.vcd", |file| {
        file.contains("$enddefinitions") && file.contains(" drawn ") && file.contains("\n#")
    });
}

/// A design that writes waves itself, in the format that `test_args` name, and a file that it never
/// closes.
const WRITES: &str = "\
module top (input clk);
  reg [7:0] n = 0;
  integer file;
  always @(posedge clk) begin n <= n + 1; $fdisplay(file, \"%0d\", n); end
  initial begin
    file = $fopen(\"written.txt\");
    $dumpfile(\"waves.dump\"); $dumpvars(0, top);
  end
  final $display(\"final %0d\", n);
endmodule
";

/// Some of Icarus Verilog's writers close their files only when the process exits.
#[test]
fn files_that_the_hdl_writes_are_whole_forked_and_spawned() {
    let mut toml = "\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n".to_owned();
    for format in ["lxt", "lxt2", "fst"] {
        write!(
            toml,
            "\n[[test]]\nname = \"{format}\"\nbuild = \"top\"\ntest_module = \"test_counts\"\n\
             test_args = [\"-{format}\"]\n"
        )
        .unwrap();
    }
    let project = Project::with_cocotb(COCOTB, &toml);
    project.file("top.sv", WRITES).file(
        "test_counts.py",
        "import cocotb\nfrom cocotb.clock import Clock\nfrom cocotb.triggers import ClockCycles\n\
         @cocotb.test()\nasync def counts(dut):\n    \
         cocotb.start_soon(Clock(dut.clk, 10, 'ns').start())\n    \
         await ClockCycles(dut.clk, 300)\n",
    );
    let toml = project.path("runner.toml");
    let forked = session(&project, &toml, &[]);
    for (name, seen) in &forked.seen {
        let written = seen.files["written.txt"].lines().count();
        assert!(written >= 299, "{name}: {written} lines");
        assert!(seen.log.contains("\nfinal "), "{name}: {}", seen.log);
    }
    let spawned = session(&project, &toml, &["--no-fork"]);
    assert_eq!(spawned.seen.len(), 3);
    expect_forked_like_spawned(&forked, &spawned);
}
