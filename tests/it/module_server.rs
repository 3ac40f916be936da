//! A testcase cannot tell whether its module was imported for it alone or for all of its module.
//!
//! Generated modules do at import what real ones do: draw numbers, count, open files, start threads,
//! read variables, register exit functions. Each runs in three ways: forked after the import where
//! that is possible, forked before it, and spawned. Each testcase notes what it finds; the notes must
//! be the same in all three ways. `COCORUN_TEST_ALL=1` runs 200 modules.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use nix::sys::resource::UsageWho;

use crate::support::COCOTB;
use crate::support::Project;

/// What a module may do: its name, what it does when it is imported, and what its testcases note.
/// What differs from process to process is compared with the truth of the process.
const TRAITS: &[(&str, &str, &str)] = &[
    (
        "draws",
        "DRAWN = [random.random() for _ in range(3)]",
        "DRAWN, random.random()",
    ),
    ("seeds", "random.seed(11)", "random.random()"),
    ("counts", "COUNT = [0]", "COUNT.append(1) or len(COUNT)"),
    (
        "reads",
        "LINES = open(__file__, 'rb', buffering=0)\nLINES.readline()",
        "LINES.readline()",
    ),
    (
        "writes",
        "OUT = open('out.txt', 'a')",
        "OUT.write('x') and OUT.flush() or os.path.getsize('out.txt')",
    ),
    (
        "makes_folder",
        "os.makedirs('made', exist_ok=True)",
        "os.path.isdir('made')",
    ),
    (
        "thread",
        "BOX = queue.Queue()\nBACK = queue.Queue()\nthreading.Thread(target=lambda: BACK.put(BOX.get()), daemon=True).start()",
        "BOX.put(7) or BACK.get(timeout=20)",
    ),
    (
        "run_id",
        "RUN = os.environ['COCORUN_RUN_ID']",
        "RUN == os.environ['COCORUN_RUN_ID']",
    ),
    (
        "copies_variables",
        "COPY = os.environ.copy()",
        "COPY['COCORUN_RUN_ID'] == os.environ['COCORUN_RUN_ID']",
    ),
    (
        "sets_variable",
        "os.environ['OWN'] = 'set'",
        "os.environ['OWN'], os.environb[b'OWN']",
    ),
    ("folder", "HERE = os.getcwd()", "HERE == os.getcwd()"),
    (
        "resolves",
        "HERE = pathlib.Path('x').resolve()",
        "HERE == pathlib.Path('x').resolve()",
    ),
    ("pid", "PID = os.getpid()", "PID == os.getpid()"),
    ("clock", "NOW = time.time()", "mine(NOW)"),
    (
        "imported_clock",
        "from time import monotonic_ns\nNOW = monotonic_ns()",
        "mine(NOW)",
    ),
    ("date", "NOW = datetime.datetime.now()", "mine(NOW)"),
    ("entropy", "TOKEN = os.urandom(8).hex()", "mine(TOKEN)"),
    ("uuid", "TOKEN = uuid.uuid4()", "mine(TOKEN)"),
    ("generator", "OWN = random.Random()", "mine(OWN.random())"),
    (
        "system_random",
        "TOKEN = random.SystemRandom().random()",
        "mine(TOKEN)",
    ),
    ("temporary", "FOLDER = tempfile.mkdtemp()", "mine(FOLDER)"),
    (
        "clock_later",
        "from time import time as clock",
        "clock is time.time, clock.__name__",
    ),
    ("exit", "atexit.register(lambda: note('exit', 1))", "1"),
    (
        "class_clock",
        "class Stamp(logging.Formatter):\n    converter = time.gmtime\n    clock = time.perf_counter",
        "Stamp().converter(0)[0], Stamp().clock() > 0, Stamp.converter is time.gmtime",
    ),
    (
        "default_clock",
        "def later(clock=time.time, *, other=time.monotonic): return clock, other",
        "later() == (time.time, time.monotonic)",
    ),
    (
        "results_file",
        "RESULTS = os.environ['COCOTB_RESULTS_FILE']",
        "RESULTS == os.environ['COCOTB_RESULTS_FILE']",
    ),
    (
        "shown_variables",
        "SHOWN = repr(os.environ)",
        "os.environ['COCORUN_RUN_ID'] in SHOWN",
    ),
    (
        "bound_date",
        "now = datetime.datetime.now\nNOW = now()",
        "mine(NOW)",
    ),
    ("pipe", "os.mkfifo('ctl')", "os.path.exists('ctl')"),
    (
        "own_process",
        "SELF = os.readlink('/proc/self')",
        "SELF == str(os.getpid())",
    ),
    (
        "patch",
        "unittest.mock.patch('time.perf_counter', return_value=1.5).start()",
        "time.perf_counter()",
    ),
    (
        "clock_in_table",
        "CLOCKS = {'wall': time.time}",
        "CLOCKS['wall'] is time.time",
    ),
    ("replaces_clock", "time.time = lambda: 42.0", "time.time()"),
    (
        "keyword_seed",
        "OWN = random.Random()\nOWN.seed(a=5)\nrandom.seed(a=5)",
        "mine(OWN.random()) if False else OWN.random()",
    ),
    (
        "late_generator",
        "def steps():\n    yield 1\n    yield 2\nSTEPS = steps()",
        "next(STEPS)",
    ),
    (
        "handler",
        "signal.signal(signal.SIGCHLD, lambda *_: None)",
        "callable(signal.getsignal(signal.SIGCHLD))",
    ),
    (
        "timer",
        "signal.signal(signal.SIGALRM, lambda *_: None)\nsignal.setitimer(signal.ITIMER_REAL, 500)",
        "signal.getitimer(signal.ITIMER_REAL)[0] > 0",
    ),
    ("path", "sys.path.append('/nowhere')", "sys.path[-1]"),
    (
        "logs",
        "logging.getLogger('own').setLevel(5)",
        "logging.getLogger('own').level",
    ),
    (
        "process",
        "SAID = subprocess.run(['echo', 'x'], capture_output=True).stdout",
        "SAID",
    ),
    (
        "shared",
        "SHARED = mmap.mmap(-1, 4096)",
        "SHARED.write(b'1') and SHARED.tell(), SHARED[:3]",
    ),
    (
        "lock",
        "LOCK = multiprocessing.Lock()",
        "LOCK.acquire(timeout=0.1)",
    ),
    (
        "socket",
        "OURS, THEIRS = socket.socketpair()",
        "OURS.send(b'x') and THEIRS.recv(9)",
    ),
    (
        "fork_hook",
        "os.register_at_fork(after_in_child=lambda: HOOKS.append(1))\nHOOKS = []",
        "HOOKS",
    ),
    ("top", "NAME = cocotb.top._name", "NAME"),
    ("seed", "SEED = cocotb.RANDOM_SEED", "SEED"),
    ("plusargs", "PLUS = dict(cocotb.plusargs)", "sorted(PLUS)"),
    (
        "helper",
        "import helper\nhelper.CALLS.append(__name__)",
        "helper.CALLS",
    ),
    ("prints", "print('printed at import')", "1"),
    (
        "module_order",
        "NEW = sorted(set(sys.modules) & {'helper', 'wave', 'colorsys'})\nimport wave",
        "NEW",
    ),
    ("collector", "gc.disable()", "gc.isenabled()"),
    (
        "garbage",
        "class Loop: pass\ngc.collect()\nloop = Loop(); loop.loop = loop; GONE = weakref.ref(loop); del loop",
        "(gc.collect(), GONE() is None)[1]",
    ),
    (
        "recursion",
        "sys.setrecursionlimit(2345)",
        "sys.getrecursionlimit()",
    ),
    ("mask", "os.umask(0o077)", "oct(os.umask(0o077))"),
    ("changes_folder", "os.chdir('/')", "os.getcwd()"),
];

const HEAD: &str = "\
import atexit, datetime, gc, logging, mmap, multiprocessing, os, pathlib, queue, random, signal
import socket, subprocess, sys, tempfile, threading, time, unittest.mock, uuid, weakref
import cocotb

if os.environ['HOW'] == '1':
    os.getpid()

def note(name, value):
    with open(os.environ['COCORUN_PROJECT_DIR'] + '/noted', 'a') as file:
        print(os.environ['HOW'], __name__, CURRENT[0], name, repr(value), sep='|', file=file)

def mine(value):
    with open(os.environ['COCORUN_PROJECT_DIR'] + '/own', 'a') as file:
        print(os.environ['HOW'], __name__, value, sep='|', file=file)

CURRENT = ['']
";

/// Numbers that are the same in every run of this test.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        // Knuth's MMIX generator; the high bits are the random ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// Writes a module that has some of the traits, in some order.
fn module(number: usize, numbers: &mut Numbers) -> String {
    // Each trait has a module that has no other, which would hide it.
    let mut chosen = vec![number % TRAITS.len()];
    let more = if number < TRAITS.len() {
        0
    } else {
        1 + numbers.below(4)
    };
    for _ in 0..more {
        let another = numbers.below(TRAITS.len());
        // Two of them would set the same name.
        if !chosen.iter().any(|it| clash(*it, another)) {
            chosen.push(another);
        }
    }
    let mut text = HEAD.to_owned();
    for index in &chosen {
        writeln!(text, "{}", TRAITS[*index].1).unwrap();
    }
    for testcase in ["first", "second"] {
        write!(
            text,
            "\n@cocotb.test()\nasync def {testcase}(dut):\n    CURRENT[0] = '{testcase}'\n"
        )
        .unwrap();
        for index in &chosen {
            let (name, _, value) = TRAITS[*index];
            writeln!(text, "    note('{name}', ({value}))").unwrap();
        }
    }
    text
}

fn clash(one: usize, other: usize) -> bool {
    let names = |index: usize| -> Vec<&str> {
        let lines = TRAITS[index].1.lines();
        lines.filter_map(|line| line.split(" = ").next()).collect()
    };
    // Where the folder changes, relative names mean other files.
    let moves = |index: usize| TRAITS[index].0 == "changes_folder";
    one == other
        || moves(one)
        || moves(other)
        || names(one).iter().any(|name| names(other).contains(name))
}

/// What was noted, by module, testcase and trait.
type Notes = BTreeMap<(String, String, String), Vec<String>>;

fn notes(text: &str) -> BTreeMap<String, Notes> {
    let mut by_way: BTreeMap<String, Notes> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(5, '|').collect();
        let [way, module, testcase, name, value] = fields.as_slice() else {
            panic!("{line}");
        };
        let key = (*module, *testcase, *name);
        let key = (key.0.to_owned(), key.1.to_owned(), key.2.to_owned());
        let notes = by_way.entry((*way).to_owned()).or_default();
        notes.entry(key).or_default().push((*value).to_owned());
    }
    by_way
}

#[test]
fn a_testcase_cannot_tell_for_whom_its_module_was_imported() {
    let all = env::var_os("COCORUN_TEST_ALL").is_some();
    let count = if all { 200 } else { TRAITS.len() + 10 };
    let names: Vec<String> = (0..count).map(|number| format!("m{number}")).collect();
    let mut toml = "\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\
                    matrix = { HOW = [0, 1, 2] }\n"
        .to_owned();
    for way in 0..3 {
        // What differs is the process that imports.
        let how = if way == 2 { "fork = false\n" } else { "" };
        write!(
            toml,
            "\n[[test]]\nbuild = \"top/HOW={way}\"\ntest_module = {names:?}\n\
             env = {{ HOW = {way} }}\n{how}"
        )
        .unwrap();
    }
    let project = Project::with_cocotb(COCOTB, &toml);
    project.file(
        "top.sv",
        "module top #(parameter HOW = 0) (input d, output q); assign q = d; endmodule\n",
    );
    project.file("helper.py", "CALLS = []\n");
    let mut numbers = Numbers(1);
    for (number, name) in names.iter().enumerate() {
        project.file(&format!("{name}.py"), &module(number, &mut numbers));
    }
    project.run(&["test", "--seed", "7"]).expect_code(0);

    let text = fs::read_to_string(project.path("noted")).unwrap();
    let by_way = notes(&text);
    let spawned = &by_way["2"];
    assert!(spawned.len() >= 2 * count, "{}", spawned.len());
    for way in ["0", "1"] {
        let differences: Vec<String> = spawned
            .iter()
            .filter(|(key, value)| by_way[way].get(*key) != Some(value))
            .map(|(key, value)| format!("{key:?}: {:?}, spawned {value:?}", by_way[way].get(key)))
            .collect();
        assert!(differences.is_empty(), "way {way}: {differences:#?}");
        assert_eq!(by_way[way].len(), spawned.len(), "way {way}");
    }
    // What should be each process's own is.
    let own = fs::read_to_string(project.path("own")).unwrap();
    let mut seen = BTreeMap::new();
    for line in own.lines() {
        *seen.entry(line).or_insert(0) += 1;
    }
    let shared: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(!seen.is_empty() && shared.is_empty(), "{shared:?}");
}

/// A project with modules of trivial testcases.
fn trivial(modules: &[(&str, &str, usize)]) -> Project {
    let mut toml = "\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n".to_owned();
    for (name, ..) in modules {
        write!(
            toml,
            "\n[[test]]\nbuild = \"top\"\ntest_module = \"{name}\"\n"
        )
        .unwrap();
    }
    let project = Project::with_cocotb(COCOTB, &toml);
    project.file(
        "top.sv",
        "module top (input d, output q); assign q = d; endmodule\n",
    );
    for (name, head, count) in modules {
        let mut text =
            format!("import os, time, cocotb\nfrom cocotb.triggers import Timer\n{head}\n");
        for number in 0..*count {
            write!(
                text,
                "@cocotb.test()\nasync def t{number}(dut): await Timer(1, 'ns')\n"
            )
            .unwrap();
        }
        project.file(&format!("{name}.py"), &text);
    }
    project
}

/// How often a module was imported, by what its import has printed into the logs of testcases: a
/// copy of the import's own words has the number that the first has drawn.
fn imports(project: &Project, ran: &[serde_json::Value], module: &str) -> BTreeSet<String> {
    let mut drawn = BTreeSet::new();
    for event in ran {
        if event["event"] == "testcase-finished" && event["testcase"]["module"] == module {
            let log = project.path(event["log"]["path"].as_str().unwrap());
            let text = fs::read_to_string(log).unwrap();
            let lines = text
                .lines()
                .filter_map(|line| line.strip_prefix("IMPORTED "));
            drawn.extend(lines.map(str::to_owned));
        }
    }
    drawn
}

#[test]
fn a_module_is_imported_once_unless_its_import_does_what_copies_would_share() {
    let once = "print('IMPORTED', os.fstat(1).st_ino)";
    let each = "print('IMPORTED', os.getpid())";
    let project = trivial(&[("once", once, 4), ("each", each, 4)]);
    let ran = project.run(&["test", "--format", "json"]).expect_code(0);
    let events = ran.events();
    assert_eq!(imports(&project, &events, "once").len(), 1);
    assert_eq!(imports(&project, &events, "each").len(), 4);
    // The tables differ in nothing that a fork server is started with.
    let run = events.iter().find(|it| it["event"] == "run-started");
    let run = PathBuf::from(run.unwrap()["dir"].as_str().unwrap());
    let folders = fs::read_dir(run.parent().unwrap()).unwrap();
    let names = folders.map(|it| it.unwrap().file_name().into_string().unwrap());
    let servers: Vec<String> = names.filter(|it| it.starts_with("server-")).collect();
    assert_eq!(servers.len(), 1, "{servers:?}");
}

#[test]
fn a_module_does_not_fail_because_of_those_listed_before_it() {
    let pipe = "os.mkfifo('ctl')";
    let modules = [("a", pipe, 1), ("b", pipe, 1), ("c", "raise OSError(7)", 1)];
    let project = trivial(&modules);
    let toml = fs::read_to_string(project.path("runner.toml")).unwrap();
    let one_table = toml.split("\n[[test]]").next().unwrap().to_owned()
        + "\n[[test]]\nbuild = \"top\"\ntest_module = [\"a\", \"b\", \"c\"]\n";
    project.file("runner.toml", &one_table);
    for args in [&["test", "-j1"][..], &["test", "-j1", "--no-fork"]] {
        let ran = project.run(args).expect_code(1);
        assert!(
            ran.text.contains("2 passed, 1 module could not run"),
            "{}",
            ran.text
        );
        assert_eq!(ran.text.matches("ERROR [").count(), 2, "{}", ran.text);
    }
    let listed = project.run(&["list", "--module", "a", "--module", "b"]);
    assert_eq!(listed.expect_code(0).stdout.lines().count(), 2);
}

/// Returns how many minor page faults a whole session takes, that of all its processes.
fn faults(project: &Project) -> i64 {
    let so_far = || {
        let usage = nix::sys::resource::getrusage(UsageWho::RUSAGE_CHILDREN);
        usage.unwrap().minor_page_faults()
    };
    let before = so_far();
    project.run(&["test", "--jobs", "1"]).expect_code(0);
    so_far() - before
}

/// Fails unless its process was forked by the C library's own function.
const BY_LIBC: &str = "import sys\n\n@cocotb.test()\nasync def is_forked_by_libc(dut):\n    \
                       assert sys.modules['cocorun_agent.forks']._fork is not os.fork\n";

/// Times differ from machine to machine; page faults repeat almost to the page.
#[test]
fn one_more_testcase_costs_few_page_faults() {
    // The servers of two builds are forked from one simulator.
    let twin = "\n[build.twin]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\
                defines = { TWIN = 1 }\n\n[[test]]\nbuild = \"twin\"\ntest_module = \"m\"\n";
    for (builds, more_toml) in [(1, ""), (2, twin)] {
        let [few, more] = [10, 50].map(|count| {
            let project = trivial(&[("m", BY_LIBC, count)]);
            let toml = fs::read_to_string(project.path("runner.toml")).unwrap();
            project.file("runner.toml", &format!("{toml}{more_toml}"));
            project.run(&["test"]).expect_code(0);
            project
        });
        let each = (faults(&more) - faults(&few)) / (40 * builds);
        assert!(each < 1440, "{builds} builds: {each} page faults");
    }
}
