//! A process that no signal ends holds a session up once, and not at the end of every run.

use std::fs;
use std::process::Child;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::live::Live;
use crate::support::COCOTB;
use crate::support::Project;
use crate::support::skip;

/// A session that nothing else holds up.
const SESSION: Duration = Duration::from_secs(240);
/// For how long what was killed is waited for.
const WAIT_S: f64 = 5.0;

/// Leaves one process for all testcases, which end once somebody has hold of it.
const LEAVES_ONE: &str = "\
import ctypes, os, subprocess, time
import cocotb

PROJECT = os.environ['COCORUN_PROJECT_DIR']

def may_be_traced():
    PR_SET_PTRACER, ANY = 0x59616d61, ctypes.c_ulong(-1)
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)

@cocotb.test()
@cocotb.parametrize(number=range(5))
async def leaves(dut, number):
    if not os.path.exists(PROJECT + '/left'):
        left = subprocess.Popen(['sleep', '1000'], start_new_session=True, preexec_fn=may_be_traced)
        with open(PROJECT + '/left.new', 'w') as file:
            file.write(str(left.pid))
        os.rename(PROJECT + '/left.new', PROJECT + '/left')
    while not os.path.exists(PROJECT + '/held'):
        time.sleep(0.02)
";

/// A tracer that does nothing: whom it traces cannot be reaped by others, dead or not.
struct Holder(Child);

impl Holder {
    /// Takes hold of a process, or returns nothing where that is forbidden.
    fn of(pid: &str) -> Option<Self> {
        let strace = Command::new("strace")
            .args(["-q", "-o", "/dev/null", "-p", pid])
            .spawn();
        let mut holder = Self(strace.unwrap());
        let is_held = || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            !status.contains("TracerPid:\t0\n")
        };
        while !is_held() {
            if holder.0.try_wait().unwrap().is_some() {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let strace = i32::try_from(holder.0.id()).unwrap();
        kill(Pid::from_raw(strace), Signal::SIGSTOP).unwrap();
        Some(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn what_cannot_be_killed_is_waited_for_once() {
    let project = Project::with_cocotb(
        COCOTB,
        "fork = false\n\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\n\
         [[test]]\ntest_module = \"leaves_one\"\n",
    );
    project.file("top.sv", "module top; endmodule\n");
    project.file("leaves_one.py", LEAVES_ONE);
    let live = Live::start(&mut project.command(&["test", "--format", "json", "--jobs", "1"]));
    let until = Instant::now() + SESSION;
    while !project.path("left").exists() {
        assert!(Instant::now() < until, "nothing was left");
        thread::sleep(Duration::from_millis(20));
    }
    let holder = Holder::of(&fs::read_to_string(project.path("left")).unwrap());
    project.file("held", "");
    let ended = live.end(SESSION);
    if holder.is_none() {
        return skip("no process may be traced");
    }
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let runs = ended.named("run-finished");
    let took: Vec<f64> = runs
        .iter()
        .map(|run| run["duration_s"].as_f64().unwrap())
        .collect();
    // The first testcase waits. A slow machine may take as long for some of the others.
    assert_eq!(took.len(), 5, "{took:?}");
    assert!(took[0] >= WAIT_S, "{took:?}");
    assert!(took[1..].iter().any(|took| *took < WAIT_S), "{took:?}");
}
