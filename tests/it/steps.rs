//! Generated sources: each step runs once for its content, whoever needs it, and whatever happens.

use std::collections::BTreeMap;
use std::fs;
use std::process::Child;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::nfs::lab::Lab;
use crate::nfs::lab::tell;
use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;

/// Makes a wrapper with as many ports as its build has, and notes when it begins and ends.
const GENERATOR: &str = r#"
import argparse, os, time
import text

parser = argparse.ArgumentParser()
parser.add_argument("-p", type=int)
parser.add_argument("--out")
parser.add_argument("--regs")
args = parser.parse_args()

def note(what):
    with open("runs.txt", "a") as file:
        file.write(f"{what} {args.p}\n")

note("begin")
while os.path.exists("gate"):
    time.sleep(0.05)
assert "regs_pkg" in open(args.regs).read()
with open(args.out + "/ports.svh", "w") as file:
    file.write(f"`define PORTS {args.p}\n")
with open(args.out + "/wrap.sv", "w") as file:
    file.write(text.WRAP)
note("end")
"#;
const TEXT: &str = r#"
WRAP = """`include "ports.svh"
module wrap #(parameter P = 0);
  wire [31:0] ports = `PORTS;
  wire [31:0] first = regs_pkg::FIRST;
endmodule
"""
"#;
const REGS: &str = r#"
import sys
with open(sys.argv[2] + "/regs_pkg.sv", "w") as file:
    file.write(f"package regs_pkg; localparam FIRST = {open(sys.argv[1]).read()}; endpackage\n")
with open("runs.txt", "a") as file:
    file.write("regs\n")
"#;
const TEST_WRAP: &str = "
import cocotb
from cocotb.triggers import Timer

@cocotb.test()
async def has_the_ports_of_its_build(dut):
    await Timer(1, 'ns')
    assert int(dut.ports.value) == int(dut.P.value)
    assert int(dut.first.value) == 7
";

fn wrappers() -> Project {
    let project = Project::with_cocotb(
        COCOTB,
        r#"
[step.regs]
command = ["python3", "regs.py", "regs.txt", "{OUT}"]
outputs = ["regs_pkg.sv"]

[build.wrap]
needs = ["regs"]
prepare = [["python3", "gen/wrap.py", "-p", "{P}", "--out={OUT}", "--regs", "{OUT:regs}/regs_pkg.sv"]]
prepare_inputs = ["gen/*.py"]
sources = ["{OUT:regs}/*.sv", "{OUT:prepare}/wrap.sv"]
includes = ["{OUT:prepare}"]
hdl_toplevel = "wrap"
matrix = { P = [1, 2, 3, 4, 5, 6] }

[build.other]
sources = ["other.sv"]
hdl_toplevel = "other"

[[test]]
build = "wrap"
test_module = "test_wrap"
"#,
    );
    project
        .file("gen/wrap.py", GENERATOR)
        .file("gen/text.py", TEXT)
        .file("regs.py", REGS)
        .file("regs.txt", "7")
        .file("other.sv", "module other; endmodule\n")
        .file("test_wrap.py", TEST_WRAP);
    project
}

/// A generator that reads what nobody has listed: the name of the folder that it runs in.
const NAMES_ITS_FOLDER: &str = r#"
import os, sys
with open(sys.argv[1] + "/name.svh", "w") as file:
    file.write(f"`define NAME {os.path.basename(os.getcwd())}\n")
"#;

#[test]
fn folders_with_equal_steps_have_results_of_their_own() {
    let project = Project::with_cocotb(COCOTB, "include = [\"blocks/*/runner.toml\"]\n");
    let block = "
[step.name]
command = [\"python3\", \"gen.py\", \"{OUT}\"]
outputs = [\"name.svh\"]
[build.top]
needs = [\"name\"]
sources = [\"top.sv\"]
includes = [\"{OUT}\"]
hdl_toplevel = \"top\"
";
    for folder in ["first", "second"] {
        let file = |name: &str, text: &str| {
            project.file(&format!("blocks/{folder}/{name}"), text);
        };
        file("runner.toml", block);
        file("gen.py", NAMES_ITS_FOLDER);
        // Only what the generator of its own folder writes compiles.
        let text = format!(
            "`include \"name.svh\"\nmodule top; wire `NAME; assign {folder} = 1; endmodule\n"
        );
        file("top.sv", &format!("`default_nettype none\n{text}"));
    }
    project.run(&["build"]).expect_code(0);
}

/// Returns how often each line was noted since the last call.
fn noted(project: &Project) -> BTreeMap<String, usize> {
    let path = project.path("runs.txt");
    let text = fs::read_to_string(&path).unwrap_or_default();
    fs::remove_file(path).ok();
    counted(&text)
}

fn counted(text: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// What is noted if each wrapper is made once.
fn once_each(with_regs: bool) -> BTreeMap<String, usize> {
    let wrappers = (1..=6).flat_map(|p| [format!("begin {p}"), format!("end {p}")]);
    let regs = with_regs.then(|| "regs".to_owned());
    wrappers.chain(regs).map(|line| (line, 1)).collect()
}

/// Builds the six variants from both nodes of a lab at once.
pub(crate) fn each_variant_is_made_once_on_two_nodes(lab: &Lab, place: &str, program: &str) {
    let project = wrappers();
    for (file, text) in [("gen/wrap.py", GENERATOR), ("regs.py", REGS)] {
        // Two clients of NFS cannot append to one file.
        let text = text.replace(
            "\"runs.txt\"",
            "f\"runs-{__import__('os').uname()[1]}.txt\"",
        );
        project.file(file, &text);
    }
    let folder = format!("{place}/wrappers");
    let original = project.path("");
    let copy = format!("cp -r /mnt/host{} {folder}", original.display());
    lab.sh("n1", &copy).good();
    let begun = Instant::now();
    thread::scope(|scope| {
        for node in ["n1", "n2"] {
            let script = format!("cd {folder} && {program} build wrap");
            scope.spawn(move || {
                let built = lab.sh(node, &script).good();
                assert!(built.out.contains("6 builds"), "{built:?}");
            });
        }
    });
    let notes = lab.sh(
        "n2",
        &format!("cd {folder} && cat runs-*.txt && wc -l runs-*.txt >&2"),
    );
    let notes = notes.good();
    assert_eq!(counted(&notes.out), once_each(true), "{notes:?}");
    tell(&format!(
        "six generated wrappers on two nodes at {place}: {:.0} s, {:?}",
        begun.elapsed().as_secs_f64(),
        notes.err
    ));
}

fn start(project: &Project, args: &[&str]) -> Child {
    let mut command = project.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: Child) -> Ran {
    Ran::from(child.wait_with_output().unwrap())
}

/// Waits until a generator has noted something.
fn await_note(project: &Project, wanted: &str) {
    for _ in 0..600 {
        let text = fs::read_to_string(project.path("runs.txt")).unwrap_or_default();
        if text.contains(wanted) {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("no `{wanted}`");
}

#[test]
fn six_variants_of_a_wrapper_are_made_once_each_by_two_processes_and_tested() {
    let project = wrappers();
    let both = [(); 2].map(|()| start(&project, &["test"]));
    for child in both {
        let ran = end(child).expect_code(0);
        assert!(
            ran.text.contains("6 testcases on 6 builds: 6 passed"),
            "{}",
            ran.text
        );
    }
    assert_eq!(noted(&project), once_each(true));

    // Nothing has changed, and what does not need a step does not run it.
    project.run(&["test", "--assume-built"]).expect_code(0);
    project.file("regs.txt", "8");
    project.run(&["build", "other"]).expect_code(0);
    assert_eq!(noted(&project), BTreeMap::new());
    let ran = project
        .run(&["build", "--assume-built", "wrap/P=1"])
        .expect_code(3);
    assert!(
        ran.text
            .contains("[build::not-built]: step `regs` has not run"),
        "{}",
        ran.text
    );

    // Another text of the same meaning runs the step, and compiles nothing.
    project
        .file("regs.txt", "7")
        .file("regs.py", &format!("{REGS}\n# edited\n"));
    let ran = project.run(&["build", "--explain"]).expect_code(0);
    assert!(ran.text.contains("input `regs.py` changed"), "{}", ran.text);
    assert!(ran.text.contains("7 up to date"), "{}", ran.text);
    assert_eq!(noted(&project), BTreeMap::from([("regs".to_owned(), 1)]));

    // A file that is only included is an input of the build too.
    let edited = GENERATOR.replace("PORTS {args.p}", "PORTS ({args.p} + 0)");
    project.file("gen/wrap.py", &edited);
    let ran = project
        .run(&["list", "--format", "json", "wrap/P=6"])
        .expect_code(0);
    assert!(
        ran.stdout.contains("has_the_ports_of_its_build"),
        "{}",
        ran.stdout
    );
    let only = BTreeMap::from([("begin 6".to_owned(), 1), ("end 6".to_owned(), 1)]);
    assert_eq!(noted(&project), only);
    let ran = project
        .run(&["build", "--explain", "wrap/P=6", "--force"])
        .expect_code(0);
    assert_eq!(
        ran.text.matches("--force was given").count(),
        3,
        "{}",
        ran.text
    );
}

#[test]
fn who_is_killed_in_the_middle_of_a_step_leaves_it_to_others() {
    let project = wrappers();
    project.file("gate", "");
    let mut killed = start(&project, &["build", "wrap"]);
    await_note(&project, "begin");
    let other = start(&project, &["test", "--format", "json"]);
    thread::sleep(Duration::from_millis(300));
    killed.kill().unwrap();
    killed.wait().unwrap();
    fs::remove_file(project.path("gate")).unwrap();
    let ran = end(other).expect_code(0);
    let ends = noted(&project)
        .into_iter()
        .filter(|(line, _)| line.starts_with("end"));
    let expected = once_each(false)
        .into_iter()
        .filter(|(line, _)| line.starts_with("end"));
    assert_eq!(ends.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let steps = ran
        .events()
        .into_iter()
        .filter(|event| event["event"] == "step-finished");
    assert!(steps.clone().count() >= 6, "{}", ran.stdout);
    for event in steps {
        assert_eq!(event["outcome"], "done");
    }

    // A signal ends the session with its generators.
    project
        .file("gate", "")
        .file("gen/text.py", &format!("{TEXT}\n# edited\n"));
    let interrupted = start(&project, &["build", "wrap/P=1"]);
    await_note(&project, "begin 1");
    let id = i32::try_from(interrupted.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
    let ran = end(interrupted).expect_code(143);
    assert!(ran.text.contains("NOT BUILT"), "{}", ran.text);
    fs::remove_file(project.path("gate")).unwrap();
    thread::sleep(Duration::from_millis(200));
    assert!(
        !noted(&project).contains_key("end 1"),
        "its generator was killed"
    );
}

/// A design, its memory and what a test compares it with, all written by one generator.
const MEMORY: &str = r#"
[build.rom]
prepare = [["python3", "gen.py", "{OUT}"]]
sources = ["{OUT}/rom.sv"]
hdl_toplevel = "rom"

[[test]]
test_module = "test_rom"
run_files = ["{OUT}/words.hex"]
plusargs = ["expected={OUT}/expected.txt"]
env = { EXPECTED = "{OUT:prepare}/expected.txt" }
"#;

#[test]
fn a_test_reads_what_a_step_wrote_and_no_failure_of_a_step_lasts() {
    let project = Project::with_cocotb(COCOTB, MEMORY);
    project
        .file("gen.py", "import sys, words\nwords.write(sys.argv[1])\n")
        .file("words.py", "raise SystemExit('words.py is broken')\n")
        .file(
            "test_rom.py",
            "import os\nimport cocotb\nfrom cocotb.triggers import Timer\n\n@cocotb.test()\n\
             async def has_its_words(dut):\n    await Timer(1, 'ns')\n    \
             assert cocotb.plusargs['expected'] == os.environ['EXPECTED']\n    \
             with open(os.environ['EXPECTED']) as expected:\n        \
             assert int(dut.words[1].value) == int(expected.read())\n",
        );
    let ran = project.run(&["test"]).expect_code(3);
    assert!(ran.text.contains("words.py is broken"), "{}", ran.text);
    // `words.py` is no input of the step, so what depends on it must not last.
    let write = |hex: &str, body: &str| {
        let text = format!(
            "def write(out):\n    \
             open(f'{{out}}/rom.sv', 'w').write('module rom; reg [7:0] words[0:1]; {body} endmodule\\n')\n    \
             open(f'{{out}}/{hex}', 'w').write('11\\n2a\\n')\n    \
             open(f'{{out}}/expected.txt', 'w').write('42')\n"
        );
        project.file("words.py", &text);
    };
    let reads = "initial $readmemh(\"words.hex\", words);";
    let fails = |args: &[&str]| project.run(args).expect_code(3).text;
    write("others.hex", reads);
    let text = fails(&["test"]);
    let words = "build `rom` has the file for runs `{OUT:prepare}/words.hex`, which step `prepare` does \
                 not write";
    assert!(text.contains(words), "{text}");
    write("words.hex", "wire = ;");
    let from_earlier =
        "made from what `prepare` wrote in an earlier session; `--force` runs it again";
    let text = fails(&["test", "--explain"]);
    assert!(
        text.contains("it had not written what a build needs"),
        "{text}"
    );
    assert!(
        text.contains("syntax error") && !text.contains(from_earlier),
        "{text}"
    );
    let text = fails(&["test"]);
    assert!(text.contains(from_earlier), "{text}");
    write("words.hex", reads);
    project.run(&["test", "--force"]).expect_code(0);
    project.run(&["test", "--no-fork"]).expect_code(0);
    project.run(&["test", "--assume-built"]).expect_code(0);
}

/// Steps that fail in every way, and builds that need them.
const FAILURES: &str = r#"
[step.fails]
command = ["python3", "-c", "import sys; print('line'); sys.exit('bad field in line 3')"]
outputs = ["a.sv"]
[step.dies]
command = ["sh", "-c", "kill -9 $$"]
outputs = ["a.sv"]
[step.hangs]
command = ["sh", "-c", "sleep 300 & sleep 300"]
outputs = ["a.sv"]
timeout_s = 0.5
[step.slips]
command = ["sh", "-c", "echo > $DIR/reg.sv"]
env = { DIR = "{OUT}" }
outputs = ["regs.sv"]
[step.python]
command = ["python3", "-c", "import cocotb, sys; open(sys.argv[1] + '/a.sv', 'w')", "{OUT}"]
outputs = ["a.sv"]

[build.one]
needs = ["fails"]
sources = ["{OUT}/a.sv"]
hdl_toplevel = "a"
[build.two]
needs = ["fails"]
sources = ["{OUT}/a.sv"]
hdl_toplevel = "a"
matrix = { A = [1, 2] }
[build.dies]
needs = ["dies"]
sources = ["{OUT}/a.sv"]
hdl_toplevel = "a"
[build.hangs]
needs = ["hangs"]
sources = ["{OUT}/a.sv"]
hdl_toplevel = "a"
[build.slips]
needs = ["slips"]
sources = ["{OUT}/regs.sv"]
hdl_toplevel = "a"
[build.broken]
needs = ["python"]
sources = ["{OUT}/a.sv", "broken.sv"]
hdl_toplevel = "a"
[build.generated]
prepare = [["sh", "-c", "echo 'module a; wire a = ; endmodule' > $0/a.sv", "{OUT}"]]
sources = ["{OUT}/a.sv"]
hdl_toplevel = "a"
"#;

#[test]
fn a_step_that_fails_fails_the_builds_that_need_it_with_its_reason() {
    let project = Project::with_cocotb(COCOTB, FAILURES);
    project.file("broken.sv", "module a; endmodule\n");
    let ran = project.run(&["build"]).expect_code(3);
    let text = &ran.text;
    for part in [
        "two/A=1 (icarus): bad field in line 3",
        "error[step::failed]: step `fails` failed (`python3`: exit status 1, ",
        "  line\n  bad field in line 3\n  log: ",
        "the same in 2 more builds: `",
        "error[step::failed]: step `dies` failed (`sh`: signal 9 (SIGKILL), ",
        "error[step::timeout]: `sh` of step `hangs` ran longer than 0.5 s and was stopped",
        "error[step::output]: step `slips` did not write `regs.sv`",
        "  it wrote `reg.sv`",
        "help: did you mean `reg.sv`?",
        "outputs = [\"regs.sv\"]",
        // An empty file is a file, and messages name the file itself.
        "BUILD [",
        "/out/a.sv:1: syntax error",
        "8 builds: 1 built, 7 failed",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let place = text
        .lines()
        .find(|line| line.starts_with("  sim_build") && line.contains("/out/a.sv:1: "))
        .unwrap();
    let file = place.trim().split(':').next().unwrap();
    assert!(project.path(file).exists(), "{place}");

    // A program that is missing is reported before anything is made.
    let missing = Project::with_cocotb(
        COCOTB,
        "\n[build.a]\nprepare = [[\"no-such-generator\", \"{OUT}\"]]\nsources = [\"{OUT}/a.sv\"]\n\
         hdl_toplevel = \"a\"\n",
    );
    let ran = missing.run(&["build"]).expect_code(5);
    assert!(
        ran.text
            .contains("error[tool::not-found]: `no-such-generator` was not found"),
        "{}",
        ran.text
    );
    assert!(!missing.path("sim_build").exists());
}
