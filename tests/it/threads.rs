//! A module whose import starts threads is imported once for all its testcases if, and only if, the
//! library that starts them ends them before a fork, as `OpenBLAS` does for `NumPy`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::support::COCOTB;
use crate::support::Project;

/// A library that has a thread from its first use on, and what it does about forks.
const LIBRARY: &str = "\
#include <pthread.h>
#include <unistd.h>

static pthread_t thread;
static volatile int is_running, is_over;

static void *work(void *unused) {
  while (!is_over) usleep(200);
  return unused;
}

void use(void) {
  if (is_running) return;
  is_over = 0;
  is_running = 1;
  pthread_create(&thread, 0, work, 0);
}

static void stop(void) {
  if (!is_running) return;
  is_over = 1;
  pthread_join(thread, 0);
  is_running = 0;
}

static void hang(void) {
  for (;;) pause();
}

__attribute__((constructor)) static void load(void) {
  use();
  AT_FORK;
}
";

/// The names of the libraries, and the code that says what happens at a fork.
const LIBRARIES: &[(&str, &str)] = &[
    ("ends", "pthread_atfork(stop, 0, 0)"),
    ("stays", ""),
    ("returns", "pthread_atfork(stop, use, 0)"),
    ("copied", "pthread_atfork(stop, 0, use)"),
    ("hangs_in_copy", "pthread_atfork(stop, 0, hang)"),
    ("hangs_before", "pthread_atfork(hang, 0, 0)"),
];

/// A module that loads a library; its testcases use the thread.
const MODULE: &str = "\
import ctypes, os
import cocotb
from cocotb.triggers import Timer

LIBRARY = ctypes.CDLL(os.environ['COCORUN_PROJECT_DIR'] + '/libNAME.so')
# A copy of this import has its words, and not a log of its own.
print('IMPORTED', os.fstat(1).st_ino)

async def uses_thread(dut):
    LIBRARY.use()
    await Timer(1, 'ns')
    assert len(os.listdir('/proc/self/task')) == 2

@cocotb.test()
async def first(dut): await uses_thread(dut)

@cocotb.test()
async def second(dut): await uses_thread(dut)
";

/// Makes a project with the libraries, and a table for their modules.
fn project(names: &[&str], tables: &str) -> Project {
    let mut toml = "\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n".to_owned();
    write!(
        toml,
        "\n[[test]]\nbuild = \"top\"\ntest_module = {names:?}\n{tables}"
    )
    .unwrap();
    let project = Project::with_cocotb(COCOTB, &toml);
    project.file(
        "top.sv",
        "module top (input d, output q); assign q = d; endmodule\n",
    );
    project.file("library.c", LIBRARY);
    for name in names {
        let (_, at_fork) = LIBRARIES.iter().find(|(known, _)| known == name).unwrap();
        let built = Command::new("gcc")
            .args(["-shared", "-fPIC", "-pthread", "library.c"])
            .args([format!("-DAT_FORK={at_fork}"), format!("-olib{name}.so")])
            .current_dir(project.path(""))
            .status();
        assert!(built.unwrap().success(), "{name}");
        project.file(&format!("{name}.py"), &MODULE.replace("NAME", name));
    }
    project
}

/// Runs all testcases. Returns how often each module was imported, why it was imported by each run,
/// and what was said.
fn run(project: &Project) -> (BTreeMap<String, usize>, BTreeMap<String, String>, String) {
    let ran = project.run(&["test", "--jobs", "4", "--format", "json"]);
    let ran = ran.expect_code(0);
    let mut logs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut reasons = BTreeMap::new();
    for event in ran.events() {
        if event["event"] == "testcase-finished" {
            let log = project.path(event["log"]["path"].as_str().unwrap());
            let text = fs::read_to_string(log).unwrap();
            let imported = text.lines().find(|line| line.starts_with("IMPORTED "));
            let module = event["testcase"]["module"].as_str().unwrap();
            let seen = logs.entry(module.to_owned()).or_default();
            seen.insert(imported.unwrap().to_owned());
        } else if let Some(why) = event["reimported_because"].as_str() {
            reasons.insert(event["module"].as_str().unwrap().to_owned(), why.to_owned());
        }
    }
    let counts = logs.into_iter().map(|(name, seen)| (name, seen.len()));
    (counts.collect(), reasons, ran.text)
}

#[test]
fn what_starts_threads_is_shared_if_they_end_before_a_fork_and_stay_away() {
    let tables = "\
[[test]]
build = \"top\"
test_module = \"warm\"
preload = [\"ends_early\"]

[[test]]
build = \"top\"
test_module = \"cold\"
preload = [\"stays_early\"]

[[test]]
build = \"top\"
test_module = \"up\"
checkpoint = \"ends:uses_thread\"
";
    let project = project(&["ends", "stays", "returns", "copied"], tables);
    let load = |name: &str| {
        format!(
            "import ctypes, os\nctypes.CDLL(os.environ['COCORUN_PROJECT_DIR'] + '/lib{name}.so')\n"
        )
    };
    project.file("ends_early.py", &load("ends"));
    project.file("stays_early.py", &load("stays"));
    project.file("warm.py", &MODULE.replace("NAME", "ends"));
    project.file("cold.py", &MODULE.replace("NAME", "stays"));
    let calls = "from ends import uses_thread\n@cocotb.test()";
    project.file(
        "up.py",
        &MODULE
            .replace("NAME", "ends")
            .replacen("@cocotb.test()", calls, 1),
    );
    let (imports, reasons, said) = run(&project);
    let expected = [
        ("cold", 2),
        ("copied", 2),
        ("ends", 1),
        ("returns", 2),
        ("stays", 2),
        // The words of the module of its checkpoint come first.
        ("up", 1),
        ("warm", 1),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(imports, BTreeMap::from(expected), "{reasons:?} {said}");
    for module in ["copied", "returns", "stays"] {
        let why = "the process has 2 threads, and only one survives a fork";
        assert_eq!(reasons[module], why);
    }
    assert_eq!(said.matches("warning[").count(), 1, "{said}");
    let why = "nothing is forked: the process has 2 threads, and only one survives a fork";
    assert!(said.contains(why), "{said}");
}

/// It waits for the time limit of the fork that is tried.
#[test]
fn a_library_that_hangs_in_a_fork_costs_time_and_no_verdict() {
    if env::var_os("COCORUN_TEST_ALL").is_none() {
        return;
    }
    let project = project(&["hangs_in_copy", "hangs_before"], "");
    let (imports, reasons, said) = run(&project);
    assert!(imports.values().all(|count| *count == 2), "{imports:?}");
    assert!(
        reasons["hangs_in_copy"].ends_with("a copy of it hangs"),
        "{said}"
    );
    let killed = "its fork server was killed by SIGALRM";
    assert_eq!(reasons["hangs_before"], killed, "{said}");
}
