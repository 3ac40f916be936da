//! The job budget: never more compilers at once than `--jobs`, and no fewer where there is work.
//!
//! A wrapper named `c++` on PATH writes a line when it begins and one when it ends, and compiles
//! nothing. Each one lingers until once as many were at work as should be at once, so that it does
//! not depend on the machine whether they meet; 5 s at most.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::binary;

const RUNNER: &str = "\
simulator = \"verilator\"
[build.top]
sources = [\"top.sv\"]
hdl_toplevel = \"top\"
[build.top.matrix]
WIDTH = [1, 2, 3, 4]
";

const TOP: &str = "\
module top #(parameter WIDTH = 2) (input logic clk, output logic [WIDTH-1:0] q);
  always_ff @(posedge clk) q <= q + 1'b1;
endmodule
";

const COMPILER: &str = "\
#!/bin/sh
output= before=
for word; do
  [ \"$before\" = -o ] && output=$word
  before=$word
done
[ -n \"$output\" ] || exec /usr/bin/c++ \"$@\"
case \" $* \" in *\" c++-header \"*) exit 1 ;; esac
echo + >> \"$COMPILERS\"
if [ -n \"$KILL_MAKE\" ]; then
  until [ \"$(grep -c + \"$COMPILERS\")\" -ge 3 ]; do sleep 0.02; done
  [ \"$(cat /proc/$PPID/comm)\" = make ] && kill -9 $PPID
  exec sleep 1000
fi
waits=0
until [ -e \"$COMPILERS.met\" ] || [ $waits -ge 250 ]; do
  begun=$(grep -c + \"$COMPILERS\")
  ended=$(grep -c - \"$COMPILERS\")
  [ $((begun - ended)) -ge \"$MEET\" ] && : > \"$COMPILERS.met\"
  waits=$((waits + 1))
  sleep 0.02
done
if [ \"${before##*/}\" = \"$HELD\" ]; then
  until [ \"$(grep -c - \"$COMPILERS\")\" -ge \"$HELD_UNTIL\" ] || [ $waits -ge 3000 ]; do
    waits=$((waits + 1))
    sleep 0.02
  done
  echo $waits > \"$COMPILERS.held\"
fi
# One more than allowed has time to show itself.
sleep 0.1
: > \"$output\"
echo \"$output: \" > \"${output%.o}.d\"
echo - >> \"$COMPILERS\"
";

fn project() -> Project {
    let project = Project::with_cocotb(COCOTB, RUNNER);
    project.file("top.sv", TOP).file("bin/c++", COMPILER);
    let compiler = project.path("bin/c++");
    fs::set_permissions(compiler, fs::Permissions::from_mode(0o755)).unwrap();
    project
}

/// Runs `command` with the wrapper on PATH, of which `meet` should be at work at once.
fn ran(command: &mut Command, project: &Project, meet: usize) -> Ran {
    let bin = project.path("bin");
    command
        .env("MEET", meet.to_string())
        .env(
            "PATH",
            format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()),
        )
        .env("COMPILERS", project.path("compilers.txt"));
    Ran::from(command.output().unwrap())
}

/// Returns how many compilers ran at most at once, and how many in all.
fn compilers(project: &Project) -> (usize, usize) {
    let text = fs::read_to_string(project.path("compilers.txt")).unwrap();
    let (mut running, mut most) = (0_usize, 0);
    for line in text.lines() {
        if line == "+" {
            running += 1;
        } else {
            running -= 1;
        }
        most = most.max(running);
    }
    assert_eq!(running, 0, "every compiler has ended");
    (most, text.lines().count() / 2)
}

#[test]
fn four_builds_at_once_use_all_jobs_and_no_more() {
    let project = project();
    ran(&mut project.command(&["build", "--jobs", "2"]), &project, 2).expect_code(0);
    let (most, all) = compilers(&project);
    assert_eq!(most, 2);
    assert!(all >= 12, "{all} compiles of four builds");
}

#[test]
fn a_single_build_uses_the_jobs_of_idle_slots() {
    let project = project();
    ran(
        &mut project.command(&["build", "--jobs", "3", "top/WIDTH=1"]),
        &project,
        3,
    )
    .expect_code(0);
    assert_eq!(compilers(&project).0, 3);
}

#[test]
fn a_build_that_waits_for_what_another_compiles_gives_its_job_back() {
    let project = project();
    let mut build = project.command(&["build", "--jobs", "2", "top/WIDTH=1", "top/WIDTH=2"]);
    // Both need this object. It is finished after all others: each build's own two, and three more
    // that they share.
    build.env("HELD", "verilated.cpp").env("HELD_UNTIL", "7");
    ran(&mut build, &project, 1).expect_code(0);
    let (most, _) = compilers(&project);
    assert_eq!(most, 2);
    let waits = fs::read_to_string(project.path("compilers.txt.held")).unwrap();
    let waits: u32 = waits.trim().parse().unwrap();
    assert!(waits < 3000, "no other compiler ran meanwhile");
}

/// Returns a `make` of these targets, each of which is a session in the folder of its name.
fn outer_make(project: &Project, make_args: &[&str], cocorun_args: &str) -> Command {
    let program = binary();
    let program = program.display();
    let rule = format!(".PHONY: a b\na b:\n\t+{program} --config $@/runner.toml {cocorun_args}\n");
    project.file("Makefile", &rule);
    let mut make = Command::new("make");
    make.args(make_args).current_dir(project.path("."));
    make
}

fn copy_into(project: &Project, folder: &str) {
    for file in ["runner.toml", "top.sv"] {
        let text = fs::read_to_string(project.path(file)).unwrap();
        project.file(&Path::new(folder).join(file).display().to_string(), &text);
    }
}

#[test]
fn two_sessions_in_recipes_of_one_make_share_its_jobs() {
    let project = project();
    copy_into(&project, "a");
    copy_into(&project, "b");
    let mut make = outer_make(&project, &["-j3", "a", "b"], "build --jobs 8");
    let ran = ran(&mut make, &project, 3).expect_code(0);
    assert_eq!(compilers(&project).0, 3);
    // At its end, make counts its tokens.
    assert!(!ran.text.contains("INTERNAL"), "{}", ran.text);
}

#[test]
fn jobs_bounds_what_is_taken_of_an_outer_make() {
    let project = project();
    copy_into(&project, "a");
    let mut make = outer_make(&project, &["-j8", "a"], "build --jobs 2");
    ran(&mut make, &project, 2).expect_code(0);
    assert_eq!(compilers(&project).0, 2);
}

#[test]
fn a_compile_that_is_killed_costs_an_outer_make_no_job() {
    let project = project();
    copy_into(&project, "a");
    let mut make = outer_make(&project, &["-j3", "a"], "build --jobs 8 top/WIDTH=1");
    make.env("KILL_MAKE", "1");
    // Three compilers at once have killed their own make, which held two jobs that were borrowed.
    let ran = ran(&mut make, &project, 3).expect_code(2);
    assert!(ran.text.contains("signal 9"), "{}", ran.text);
    assert!(!ran.text.contains("INTERNAL"), "{}", ran.text);
}
