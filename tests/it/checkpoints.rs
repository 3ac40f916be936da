//! Testcases that are forked from the end of a bring-up get the verdicts that they get without.
//!
//! Generated testcases call their checkpoint first, late, from a task, with other arguments, or not at
//! all. Each notes what it finds; notes and verdicts must be the same with `--no-fork`, where the
//! checkpoint is an ordinary function. `checkpoint_failures` has the bring-ups that fail.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::support::COCOTB;
use crate::support::COCOTB_VERSIONS;
use crate::support::Project;

const DESIGN: &str = include_str!("../checkpoints/top.sv");

/// What brings the design up, in three levels, each of which notes that it was called. What it does
/// wrong is said by `WRONG`.
const COMMON: &str = include_str!("../checkpoints/common.py");

pub(crate) const HEAD: &str = include_str!("../checkpoints/head.py");

/// Testcases: whether they can be forked from the checkpoint, decorator's arguments, and body.
const TESTCASES: &[(bool, &str, &str)] = &[
    (
        true,
        "",
        "note(NAME, await bring_up(dut), DRAWN, cocotb.RANDOM_SEED)",
    ),
    (
        true,
        "",
        "cocotb.log.info('first words')\n    width = int(dut.W.value)\n    await bring_up(dut)\n    note(NAME, width)",
    ),
    (
        true,
        "",
        "made = Event(), Queue(), Clock(dut.clk, 10, 'ns'), Timer(5, 'ns'), dut.rst, dut.count\n    await bring_up(dut)\n    note(NAME, len(dut.count))",
    ),
    (
        true,
        "",
        "before = get_sim_time('ns')\n    await bring_up(dut)\n    note(NAME, before, NOW('ns'))",
    ),
    (
        true,
        "",
        "before = random.random()\n    await bring_up(dut)\n    note(NAME, before, random.random())",
    ),
    (true, "", "note(NAME, await common.bring_up(dut))"),
    (
        true,
        "",
        "_, seen = await bring_up(dut)\n    gc.collect()\n    note(NAME, GARBAGE() is None, seen.garbage() is None)",
    ),
    (
        true,
        "",
        "made = await bring_up(dut)\n    made = weakref.ref(made)\n    note(NAME, made() is None)",
    ),
    (
        true,
        "",
        "await bring_up(dut)\n    before = RAW()[1]\n    await Timer(70, 'ns')\n    note(NAME, RAW()[1] - before)",
    ),
    (true, "", "note(NAME, await helper(dut), random.random())"),
    (
        true,
        "",
        "await bring_up(dut)\n    _, seen = await bring_up(dut)\n    note(NAME, len(seen))",
    ),
    (
        true,
        "",
        "_, seen = await bring_up(dut)\n    await ClockCycles(dut.clk, 5)\n    note(NAME, len(seen))",
    ),
    (
        true,
        "",
        "await bring_up(dut)\n    common.GO.set()\n    await ClockCycles(dut.clk, 5)",
    ),
    (
        true,
        "",
        "await bring_up(dut)\n    assert dut.count.value == 7",
    ),
    (
        true,
        "expect_fail=True",
        "await bring_up(dut)\n    assert False",
    ),
    (
        true,
        "expect_error=ValueError",
        "await bring_up(dut)\n    await Timer(1, 'ns')\n    raise ValueError(NAME)",
    ),
    (true, "expect_fail=True", "await bring_up(dut)"),
    (true, "", "await bring_up(dut)\n    os._exit(0)"),
    (
        true,
        "",
        "task = cocotb.start_soon(forever()) if await bring_up(dut) else None\n    await First(Timer(30, 'ns'), RisingEdge(dut.rst))\n    note(NAME, task.done())",
    ),
    (true, "skip=True", "await bring_up(dut)"),
    (false, "", "await Timer(1, 'ns')"),
    (false, "", "note(NAME, 'ends')"),
    (false, "", "raise ValueError(NAME)"),
    (false, "", "common.count('')\n    os._exit(0)"),
    (
        false,
        "",
        "value = str(dut.count.value)\n    await bring_up(dut)\n    note(NAME, value)",
    ),
    (false, "", "dut.rst.value = 1\n    await bring_up(dut)"),
    (
        false,
        "",
        "cocotb.start_soon(forever())\n    await bring_up(dut)",
    ),
    (false, "", "note(NAME, await common.reset(dut, 5))"),
    (false, "", "await bring_up(dut=dut)"),
    (
        false,
        "",
        "note(NAME, await cocotb.start_soon(bring_up(dut)))",
    ),
    (
        false,
        "",
        "note(NAME, await with_timeout(bring_up(dut), 50, 'us'))",
    ),
    (
        false,
        "",
        "await Timer(3, 'ns')\n    await bring_up(dut)\n    note(NAME, get_sim_time('ns'))",
    ),
    (
        false,
        "",
        "thread = threading.Thread(target=print)\n    thread.start()\n    thread.join()\n    await bring_up(dut)",
    ),
    (false, "", "common.GO.set()\n    await bring_up(dut)"),
    (
        true,
        "",
        "if not common.LEVEL:\n        await bring_up(dut)\n        note(NAME, get_sim_time('ns'))",
    ),
    (
        false,
        "",
        "common.CONFIG['cycles'] = 7\n    note(NAME, await bring_up(dut), get_sim_time('ns'))",
    ),
    (
        false,
        "",
        "common.SLOW.factor = 2\n    note(NAME, await bring_up(dut), get_sim_time('ns'))",
    ),
    (
        false,
        "",
        "common.EXTRA = 9\n    note(NAME, await bring_up(dut), get_sim_time('ns'))",
    ),
    (
        false,
        "",
        "os.environ['EXTRA'] = '6'\n    note(NAME, await bring_up(dut), get_sim_time('ns'))",
    ),
    (
        false,
        "",
        "open('extra.txt', 'w').write('8')\n    note(NAME, await bring_up(dut), get_sim_time('ns'))",
    ),
    (
        false,
        "",
        "with mock.patch.object(common, 'count', side_effect=ValueError('x')):\n        await bring_up(dut)",
    ),
    (
        false,
        "",
        "ctypes.CDLL(None).getpid()\n    note(NAME, await bring_up(dut))",
    ),
    (
        false,
        "timeout_time=300, timeout_unit='ns'",
        "await bring_up(dut)",
    ),
];

/// Testcases that have a limit on simulated time: cocotb 2.1 can go on with what is left of it.
const LIMITED: &[&str] = &[
    "await bring_up(dut)\n    await Timer(50, 'ns')\n    note(NAME, get_sim_time('ns'))",
    "await bring_up(dut)\n    await Timer(5000, 'ns')",
];

pub(crate) fn toml(checkpoint: &str, more: &str) -> String {
    format!(
        "\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\n[[test]]\nbuild = \"top\"\n\
         test_module = \"test_x\"\ncheckpoint = {checkpoint}\n{more}\n"
    )
}

pub(crate) fn project(cocotb: &str, toml: &str) -> Project {
    let project = Project::with_cocotb(cocotb, toml);
    project.file("top.sv", DESIGN).file("common.py", COMMON);
    project
}

/// Runs a session and returns its events.
pub(crate) fn events(project: &Project, how: &str, args: &[&str], code: i32) -> Vec<Value> {
    let mut command = project.command(&["test", "--seed", "5", "--format", "json"]);
    command.args(args).env("HOW", how);
    let ran = crate::support::Ran::from(command.output().unwrap());
    ran.expect_code(code).events()
}

/// The last verdict on each testcase, and whether it was forked from a checkpoint.
pub(crate) fn verdicts(events: &[Value]) -> BTreeMap<String, (Value, bool)> {
    let mut is_forked: BTreeMap<String, bool> = BTreeMap::new();
    let mut verdicts = BTreeMap::new();
    for event in events {
        let name = |testcase: &Value| testcase["testcase"].as_str().unwrap().to_owned();
        match event["event"].as_str().unwrap() {
            "run-started" => {
                for testcase in event["testcases"].as_array().unwrap() {
                    is_forked.insert(name(testcase), event["checkpoint"].is_string());
                }
            }
            "testcase-finished" => {
                let name = name(&event["testcase"]);
                let message = event["message"].as_str().unwrap_or_default();
                let verdict = serde_json::json!([
                    event["outcome"],
                    event["cause"],
                    event["expected_failure"],
                    event["sim_time_ns"],
                    message.lines().next(),
                ]);
                let is_forked = is_forked.get(&name).copied().unwrap_or_default();
                verdicts.insert(name, (verdict, is_forked));
            }
            _ => {}
        }
    }
    verdicts
}

pub(crate) fn counted(project: &Project) -> String {
    let text = fs::read_to_string(project.path("counted")).unwrap_or_default();
    fs::remove_file(project.path("counted")).ok();
    text
}

#[test]
fn verdicts_and_what_testcases_find_are_those_without_a_checkpoint() {
    for cocotb in COCOTB_VERSIONS {
        let mut text = HEAD.to_owned();
        let mut add = |number: usize, arguments: &str, body: &str| {
            write!(
                text,
                "\n@cocotb.test({arguments})\nasync def t{number}(dut):\n    NAME = 't{number}'\n    {body}\n"
            )
            .unwrap();
        };
        // What is the same in all versions is tried with one.
        let all = cocotb == COCOTB || env::var_os("COCORUN_TEST_ALL").is_some();
        let is_tried = |number: &usize| all || number.is_multiple_of(3);
        for (number, (_, arguments, body)) in TESTCASES.iter().enumerate() {
            if is_tried(&number) {
                add(number, arguments, body);
            }
        }
        for (more, body) in LIMITED.iter().enumerate() {
            let number = TESTCASES.len() + more;
            add(number, "timeout_time=2000, timeout_unit='ns'", body);
        }
        let project = project(cocotb, &toml("\"common:bring_up\"", ""));
        project.file("test_x.py", &text);
        let with = events(&project, "with", &[], 1);
        let calls = counted(&project);
        let without = events(&project, "without", &["--no-fork"], 1);
        let (with, without) = (verdicts(&with), verdicts(&without));
        let tried = (0..TESTCASES.len()).filter(is_tried).count();
        assert_eq!(with.len(), tried + LIMITED.len(), "{cocotb}");
        let mut forked = BTreeSet::new();
        for (name, (verdict, _)) in &without {
            let (own, is_forked) = &with[name];
            assert_eq!(own, verdict, "{cocotb}: {name}");
            if *is_forked {
                forked.insert(name.clone());
            }
        }
        let mut expected: BTreeSet<String> = TESTCASES
            .iter()
            .enumerate()
            .filter(|(number, _)| is_tried(number))
            .filter(|(_, (fits, arguments, _))| *fits && *arguments != "skip=True")
            .map(|(number, _)| format!("t{number}"))
            .collect();
        if cocotb == COCOTB {
            expected.extend((0..LIMITED.len()).map(|more| format!("t{}", TESTCASES.len() + more)));
        }
        assert_eq!(forked, expected, "{cocotb}");
        // Only one of these calls is not a testcase's own.
        let own_calls = calls.matches('t').count();
        assert!(own_calls < 1 + (with.len() - forked.len()) * 2, "{calls}");

        let noted = fs::read_to_string(project.path("noted")).unwrap();
        let of = |how: &str| -> BTreeSet<&str> {
            let lines = noted.lines().filter_map(|line| line.split_once('|'));
            let lines = lines.filter(|(way, _)| *way == how);
            lines.map(|(_, rest)| rest).collect()
        };
        assert!(of("without").len() > 5, "{noted}");
        // Without, the check for dependences on order has noted something in addition.
        let more: Vec<&str> = of("with").difference(&of("without")).copied().collect();
        assert!(more.is_empty(), "{cocotb}: {more:?}");
        let names = |how: &str| -> BTreeSet<&str> {
            let lines = of(how).into_iter();
            lines.filter_map(|line| line.split('|').next()).collect()
        };
        assert_eq!(names("with"), names("without"), "{cocotb}");
    }
}

pub(crate) const LEVELS: &str = "[\"common:reset\", \"common:boot\", \"common:train\"]";

/// Testcases that call three, two, one and none of three checkpoints; and one that leaves one out.
const OF_LEVELS: &str = "
@cocotb.test()
async def t{N}(dut):
    NAME = 't{N}'
    found = []
    for level in [common.reset, common.boot, common.train][:{N} % 4]:
        found.append(await level(dut) in (3, dut, 'link'))
    await ClockCycles(dut.clk, 2) if {N} % 4 else Timer(1, 'ns')
    note(NAME, found, get_sim_time('ns'), random.random())
";

pub(crate) fn of_levels(count: usize) -> String {
    let mut text = HEAD.to_owned();
    for number in 0..count {
        text.push_str(&OF_LEVELS.replace("{N}", &number.to_string()));
    }
    text.push_str(
        "\n@cocotb.test()\nasync def leaves_out(dut):\n    await common.reset(dut)\n    \
         await common.train(dut)\n    note('leaves_out', get_sim_time('ns'))\n",
    );
    text
}

#[test]
fn each_of_three_levels_runs_once_for_many_testcases() {
    // A model of Verilator takes a minute to compile.
    let all = env::var_os("COCORUN_TEST_ALL").is_some();
    let simulators = if all {
        &["icarus", "verilator"][..]
    } else {
        &["icarus"]
    };
    let ways = COCOTB_VERSIONS.iter().flat_map(|cocotb| {
        simulators
            .iter()
            .map(move |simulator| (*cocotb, *simulator))
    });
    for (cocotb, simulator) in ways {
        let top = "hdl_toplevel = \"top\"\n";
        let on = format!("{top}simulator = \"{simulator}\"\n");
        let project = project(cocotb, &toml(LEVELS, "").replace(top, &on));
        project.share_runtime();
        project.file("test_x.py", &of_levels(8));
        let ran = events(&project, "with", &[], 0);
        // `leaves_out` trains itself.
        assert_eq!(counted(&project), "rbtt", "{cocotb}");
        let reached = ran.iter().filter(|it| it["event"] == "checkpoint-reached");
        let reached: Vec<(&str, f64)> = reached
            .map(|it| {
                let name = it["checkpoint"].as_str().unwrap();
                (name, it["sim_time_ns"].as_f64().unwrap().round())
            })
            .collect();
        let names: Vec<&str> = reached.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["common:reset", "common:boot", "common:train"]);
        assert!(reached[0].1 < reached[1].1 && reached[1].1 < reached[2].1);
        events(&project, "without", &["--no-fork"], 0);
        let noted = fs::read_to_string(project.path("noted")).unwrap();
        let of = |how: &str| -> BTreeSet<String> {
            let lines = noted.lines().filter_map(|line| line.split_once('|'));
            let lines = lines.filter(|(way, _)| *way == how);
            lines.map(|(_, rest)| rest.to_owned()).collect()
        };
        assert_eq!(of("with"), of("without"), "{cocotb}");
    }
}

#[test]
fn where_a_checkpoint_is_not_used_it_is_said() {
    let project = project(COCOTB, &toml("\"common:bring_up\"", "waves = true"));
    project.file(
        "test_x.py",
        &format!("{HEAD}\n@cocotb.test()\nasync def t(dut):\n    await bring_up(dut)\n"),
    );
    let ran = project.run(&["test", "--verbose"]).expect_code(0);
    for words in [
        "`checkpoint` has no effect with `waves = true`",
        "not from its checkpoint: waves are written",
    ] {
        assert!(ran.text.contains(words), "{}", ran.text);
    }
    assert_eq!(counted(&project), "rbt");
}

/// Says that it has passed while it is observed, and ends without having called anything.
const SAYS_SO_ITSELF: &str = "
import json, os, stat, sys
import cocotb
from cocotb.triggers import Timer

@cocotb.test()
async def says_so_itself(dut):
    checkpoint = sys.modules.get('cocorun_agent.checkpoint')
    if checkpoint is not None and checkpoint._window is not None:
        nothing = ('defined_in', 'cause', 'message', 'error_type', 'traceback', 'seed', 'returned')
        said = dict.fromkeys((*nothing, 'log_offset'))
        said.update(event='testcase_finished', module='test_x', testcase='says_so_itself')
        said.update(occurrence=0, outcome='passed', expected_failure=False, simulation_ended=False)
        said.update(duration_s=0.1, sim_time_ns=1.0)
        for fd in range(3, 64):
            try:
                if stat.S_ISFIFO(os.fstat(fd).st_mode):
                    os.write(fd, json.dumps(said).encode() + b'\\n')
            except OSError:
                pass
        os._exit(0)
    await Timer(1, 'ns')
    assert False
";

#[test]
fn a_result_that_comes_before_the_calls_is_no_verdict() {
    let project = project(COCOTB, &toml("\"common:bring_up\"", ""));
    project.file("test_x.py", SAYS_SO_ITSELF);
    let ran = events(&project, "with", &[], 1);
    let finished = ran.iter().filter(|it| it["event"] == "testcase-finished");
    let outcomes: Vec<&str> = finished.map(|it| it["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failed"]);
    let runs = ran.iter().filter(|it| it["event"] == "run-finished");
    let missed = runs.filter(|it| it["verdict"] == "checkpoint-missed");
    assert_eq!(missed.count(), 1);
}

#[test]
fn a_module_is_imported_once_at_the_end_of_a_checkpoint() {
    let project = project(COCOTB, &toml("\"common:bring_up\"", ""));
    let mut text = format!("{HEAD}\n");
    for number in 0..5 {
        write!(
            text,
            "\n@cocotb.test()\nasync def t{number}(dut):\n    await bring_up(dut)\n    \
             note({number}, os.getppid())\n"
        )
        .unwrap();
    }
    project.file("test_x.py", &text);
    events(&project, "x", &["--jobs", "1"], 0);
    let noted = fs::read_to_string(project.path("noted")).unwrap();
    let mut parents: BTreeMap<&str, usize> = BTreeMap::new();
    for line in noted.lines() {
        *parents.entry(line.rsplit('|').next().unwrap()).or_default() += 1;
    }
    // The first is forked from the checkpoint: for a single testcase it would not pay.
    let mut counts: Vec<usize> = parents.into_values().collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 4], "{noted}");
}
