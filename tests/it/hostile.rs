//! Testcases that do their worst to the process they are in, side by side with honest ones: each
//! has its right verdict, no other one is harmed, and nothing is left running.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::live::Live;
use crate::processes::Found;
use crate::processes::Watch;
use crate::processes::of_project;
use crate::support::COCOTB;
use crate::support::Project;
use crate::support::repository;

/// Limits of a testcase; only what spins or stops comes to it. The others are for a machine that
/// takes longer than the one before for what ends by itself, of which one writes a gigabyte.
const LIMITS_S: [&str; 3] = ["12", "45", "150"];
const SESSION: Duration = Duration::from_secs(400);
/// cocorun's own memory, with 1 GB of log about: some 20 MiB in a debug build.
const MEMORY_KIB_MAX: u64 = 100 << 10;

const HONEST: &str = "\
import time
import cocotb
from hdl_commands import check_inverter

@cocotb.test()
async def works(dut):
    await check_inverter(dut)
    time.sleep(0.2)
";
/// Waits, where it was forked, until it is killed or all may go on.
const WAITS_IF_FORKED: &str = "\
import os
import time
import cocotb
from hdl_commands import check_inverter

PROJECT = os.environ['COCORUN_PROJECT_DIR']

@cocotb.test()
async def works(dut):
    await check_inverter(dut)
    parent = os.readlink(f'/proc/{os.getppid()}/cwd')
    if '/server-' in parent or '/list-' in parent:
        open(f'{PROJECT}/{__name__}.begun', 'w').close()
        while not os.path.exists(f'{PROJECT}/free'):
            time.sleep(0.02)
";
/// Module, what its testcase does, and its right verdict.
const HOSTILE: [(&str, &str, &str); 7] = [
    ("segfaults", "ctypes.string_at(0)", "errored"),
    ("spins", "while True: pass", "timed-out"),
    // More than memory has room for twice, by one write a mebibyte.
    (
        "fills_log",
        "for _ in range(1024): os.write(1, LINES)",
        "passed",
    ),
    ("daemon", "leave_daemon(lambda: None)", "passed"),
    // One that has closed and ignored everything it could, and writes to the log of the run.
    (
        "noisy_daemon",
        "leave_daemon(lambda: [signal.signal(number, signal.SIG_IGN) for number in (1, 2, 15)])",
        "passed",
    ),
    // Its results come through the event file, and its end is an orderly one.
    ("closes_all", "os.closerange(0, 1 << 16)", "passed"),
    // Stops itself, as a debugger would; only a limit ends that.
    ("stops", "os.kill(os.getpid(), signal.SIGSTOP)", "timed-out"),
];
const PRELUDE: &str = "\
import ctypes
import os
import signal
import cocotb
from hdl_commands import check_inverter

PROJECT = os.environ['COCORUN_PROJECT_DIR']
LINES = (b'x' * 1023 + b'\\n') * 1024

def leave_daemon(prepare):
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            prepare()
            os.chdir('/')
            os.execve('/bin/sleep', [PROJECT, '300'], {})
        os._exit(0)
    os.waitpid(child, 0)

@cocotb.test()
async def hostile(dut):
    await check_inverter(dut)
";

fn project(simulator: &str, modules: &[String], timeout_s: &str) -> Project {
    let project = Project::with_cocotb(
        COCOTB,
        &format!(
            "simulator = \"{simulator}\"\ntimeout_s = {timeout_s}\n\n[build.plain]\n\
             sources = [\"commands.sv\", \"plain.sv\"]\nhdl_toplevel = \"plain\"\n\
             [[test]]\nbuild = \"plain\"\ntest_module = {modules:?}\n"
        ),
    );
    project.share_runtime();
    for name in ["commands.sv", "plain.sv", "hdl_commands.py"] {
        let path = repository().join("tests/traps").join(name);
        project.file(name, &fs::read_to_string(path).unwrap());
    }
    project
}

fn start(project: &Project, jobs: &str) -> Live {
    Live::start(&mut project.command(&["test", "--format", "json", "--jobs", jobs]))
}

/// Follows the largest resident memory of a process.
struct Memory {
    peak_kib: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Memory {
    fn of(pid: i32) -> Self {
        let (peak_kib, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        thread::spawn({
            let (peak_kib, is_over) = (peak_kib.clone(), is_over.clone());
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    let status = fs::read_to_string(format!("/proc/{pid}/status"));
                    let peak = status.unwrap_or_default();
                    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                    let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
                    peak_kib.fetch_max(peak.unwrap_or(0), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Self { peak_kib, is_over }
    }

    fn peak_kib(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.peak_kib.load(Ordering::Relaxed)
    }
}

/// Runs the hostile ones among three times as many honest ones.
fn check(simulator: &str, args: &[&str]) {
    for (limit_s, is_last) in LIMITS_S.into_iter().zip([false, false, true]) {
        if check_with(simulator, args, limit_s, is_last) {
            return;
        }
    }
}

/// Returns whether the machine was fast enough for the limit.
fn check_with(simulator: &str, args: &[&str], limit_s: &str, is_last: bool) -> bool {
    let honest: Vec<String> = (0..21)
        .map(|number| format!("honest_{number:02}"))
        .collect();
    let mut modules = Vec::new();
    for (at, (module, ..)) in HOSTILE.iter().enumerate() {
        modules.extend(honest[3 * at..3 * at + 3].iter().cloned());
        modules.push((*module).to_owned());
    }
    let project = project(simulator, &modules, limit_s);
    for module in &honest {
        project.file(&format!("{module}.py"), HONEST);
    }
    for (module, body, _) in HOSTILE {
        project.file(&format!("{module}.py"), &format!("{PRELUDE}    {body}\n"));
    }
    let watch = Watch::over(&project.path(""));
    let mut command = project.command(&["test", "--format", "json", "--jobs", "3"]);
    let live = Live::start(command.args(args));
    let memory = Memory::of(live.pid().as_raw());
    let ended = live.end(SESSION);
    watch.expect_nothing_left();
    assert!(watch.groups_seen() > 10);
    let mut wanted: Vec<String> = honest
        .iter()
        .map(|module| format!("{module} works passed"))
        .chain(
            HOSTILE
                .iter()
                .map(|(module, _, verdict)| format!("{module} hostile {verdict}")),
        )
        .collect();
    wanted.sort();
    if !is_last && ended.was_too_slow(&wanted) {
        return false;
    }
    assert_eq!(ended.outcomes(), wanted, "{}", ended.stderr);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let filled = ended
        .named("testcase-finished")
        .into_iter()
        .find(|event| event["testcase"]["module"] == "fills_log")
        .unwrap();
    assert!(filled["log"]["end"].as_u64().unwrap() > 1 << 30, "{filled}");
    let peak_kib = memory.peak_kib();
    assert!((1..MEMORY_KIB_MAX).contains(&peak_kib), "{peak_kib} KiB");
    true
}

#[test]
fn hostile_testcases_cost_only_themselves_on_icarus() {
    check("icarus", &[]);
}

#[test]
fn hostile_testcases_cost_only_themselves_where_each_is_spawned() {
    check("icarus", &["--no-fork"]);
}

#[test]
fn hostile_testcases_cost_only_themselves_on_verilator() {
    check("verilator", &[]);
}

/// Finds the fork servers: children of cocorun in a server's folder.
fn servers(project: &Project, cocorun: Pid) -> Vec<Found> {
    children(project, cocorun.as_raw(), "/server-")
}

/// Returns the children of a process that run in a folder with a name of this kind.
fn children(project: &Project, parent: i32, kind: &str) -> Vec<Found> {
    let is_server = |found: &Found| {
        let proc = format!("/proc/{}", found.pid);
        let stat = fs::read_to_string(format!("{proc}/stat")).unwrap_or_default();
        let its_parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        let cwd = fs::read_link(format!("{proc}/cwd")).unwrap_or_default();
        its_parent == Some(&parent.to_string()) && cwd.to_string_lossy().contains(kind)
    };
    let folder = project.path("").canonicalize().unwrap();
    of_project(&folder).into_iter().filter(is_server).collect()
}

/// Twenty honest modules, whose testcases wait while they are forked.
struct Honest {
    project: Project,
    modules: Vec<String>,
}

impl Honest {
    fn new() -> Self {
        let modules: Vec<String> = (0..20)
            .map(|number| format!("honest_{number:02}"))
            .collect();
        let project = project("icarus", &modules, "120");
        for module in &modules {
            project.file(&format!("{module}.py"), WAITS_IF_FORKED);
        }
        Self { project, modules }
    }

    fn await_begun(&self, count: usize) {
        let begun = |module: &&String| self.project.path(&format!("{module}.begun")).exists();
        let until = Instant::now() + SESSION;
        while self.modules.iter().filter(begun).count() < count {
            assert!(Instant::now() < until, "fewer than {count} have begun");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the one server of a session.
    fn server(&self, live: &Live) -> i32 {
        let [server] = &servers(&self.project, live.pid())[..] else {
            panic!("there is one server at a time")
        };
        server.pid
    }

    /// Lets the testcases go on; all of them pass, and so many runs were lost.
    fn end(&self, live: Live, lost: usize) {
        self.project.file("free", "");
        let ended = live.end(SESSION);
        let modules = self.modules.iter();
        let wanted: Vec<String> = modules.map(|it| format!("{it} works passed")).collect();
        assert_eq!(ended.outcomes(), wanted, "{}", ended.stderr);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let is_lost = |event: &&&serde_json::Value| event["verdict"] == "lost";
        let runs = ended.named("run-finished");
        assert_eq!(runs.iter().filter(is_lost).count(), lost);
    }
}

fn kill_at_once(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[test]
fn a_server_that_is_killed_in_mid_session_takes_no_verdict_with_it() {
    let honest = Honest::new();
    let watch = Watch::over(&honest.project.path(""));
    // The server with its first children, and then the one that takes its place.
    let live = start(&honest.project, "3");
    for killed in 0..2 {
        honest.await_begun(3 * (killed + 1));
        kill_at_once(honest.server(&live));
    }
    honest.end(live, 6);
    watch.expect_nothing_left();
}

#[test]
fn a_modules_server_that_is_killed_takes_no_verdict_with_it() {
    let honest = Honest::new();
    let watch = Watch::over(&honest.project.path(""));
    let live = start(&honest.project, "3");
    honest.await_begun(3);
    let of_modules = children(&honest.project, honest.server(&live), "/list-");
    assert!(of_modules.len() >= 3, "each module has its server");
    for found in &of_modules {
        kill_at_once(found.pid);
    }
    honest.end(live, 3);
    watch.expect_nothing_left();
}
