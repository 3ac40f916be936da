//! A thousand testcases cost a thousand times one: time, memory and descriptors do not grow with
//! the number already run.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crate::live::Ended;
use crate::live::Live;
use crate::support::COCOTB;
use crate::support::Project;

/// Parts in which testcases are counted; the first one holds every start.
const PARTS: usize = 5;
const TESTCASES: usize = 1_000;
/// A child finds all testcases of its module when it imports it, so modules are of a usual size.
const PER_MODULE: usize = 20;
/// Often enough for some ten looks at the half second that a part takes at least, and seldom enough
/// not to be felt.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const SESSION: Duration = Duration::from_secs(240);

/// What the whole tree below cocorun holds at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at_s: f64,
    /// Each page counted once for each process that has it, divided by how many have it.
    memory_kib: u64,
    descriptors: u64,
    /// Processor time, of ended children too.
    processor_s: f64,
}

/// What is shown and compared of a part.
#[derive(Debug)]
struct Part {
    wall_s: f64,
    processor_s: f64,
    memory_kib: u64,
    descriptors: u64,
}

/// Lists a process and all below it.
fn tree(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let tasks = fs::read_dir(format!("/proc/{}/task", found[next]));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split(' ')
                    .filter_map(|pid| pid.parse::<i32>().ok()),
            );
        }
        next += 1;
    }
    found
}

fn sample(root: i32, began: Instant) -> Sample {
    let mut sample = Sample {
        at_s: began.elapsed().as_secs_f64(),
        ..Sample::default()
    };
    for pid in tree(root) {
        let fds = fs::read_dir(format!("/proc/{pid}/fd"));
        sample.descriptors += fds.into_iter().flatten().count() as u64;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let pss = pss.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        sample.memory_kib += pss.unwrap_or(0);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Fields 14 to 17 of proc(5); the name in parentheses may hold anything.
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let times = fields.split(' ').skip(11).take(4);
        let ticks = times.filter_map(|it| it.parse::<u32>().ok()).sum::<u32>();
        sample.processor_s += f64::from(ticks) / 100.0;
    }
    sample
}

/// Samples a tree until it is told that its session is over.
fn follow(root: i32, began: Instant) -> (mpsc::Sender<()>, JoinHandle<Vec<Sample>>) {
    let (over, is_over) = mpsc::channel();
    let samples = thread::spawn(move || {
        let mut samples = Vec::new();
        while is_over.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
            samples.push(sample(root, began));
        }
        samples
    });
    (over, samples)
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Makes a project with the testcases, and its build.
fn project() -> Project {
    let project = Project::with_cocotb(
        COCOTB,
        "\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\
         [[test]]\nbuild = \"top\"\ntest_module = \"many_*\"\n",
    );
    project.file("top.sv", "module top; logic a; endmodule\n");
    for module in 0..TESTCASES / PER_MODULE {
        let text = format!(
            "import time\nimport cocotb\n\n@cocotb.test()\n\
             @cocotb.parametrize(number=list(range({PER_MODULE})))\n\
             async def takes_5_ms(dut, number):\n    time.sleep(0.005)\n"
        );
        project.file(&format!("many_{module:02}.py"), &text);
    }
    project.run(&["build"]).expect_code(0);
    project
}

#[test]
fn a_thousand_testcases_are_flat_in_time_memory_and_descriptors() {
    let project = project();
    let began = Instant::now();
    let mut command = project.command(&["test", "--format", "json", "--jobs", "2"]);
    let mut live = Live::start(&mut command);
    let (over, samples) = follow(live.pid().as_raw(), began);
    let mut read_s = Vec::new();
    for _ in 0..TESTCASES {
        live.wait_for("a verdict", |event| event["event"] == "testcase-finished");
        read_s.push(began.elapsed().as_secs_f64());
    }
    let ended = live.end(SESSION);
    over.send(()).unwrap();
    let samples = samples.join().unwrap();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.outcomes().len(), TESTCASES);
    let parts = parts_of(&samples, &ends_s(&ended, &read_s));
    let peak_kib = samples.iter().map(|sample| sample.memory_kib).max();
    let all_s = began.elapsed().as_secs_f64();
    let mut report = format!("peak {peak_kib:?} KiB, all {all_s:.2} s\n");
    for part in &parts {
        writeln!(report, "{:.2} s of wall time, {part:?}", part.wall_s).unwrap();
    }
    writeln!(std::io::stderr(), "{report}").unwrap();
    // The first part holds the listing and the server's start. Wall time is the machine's as well,
    // so it is shown, and processor time is compared.
    let first = &parts[1];
    for later in &parts[2..] {
        let processor_max_s = first.processor_s * 1.5;
        assert!(later.processor_s < processor_max_s, "time grows: {report}");
        let memory_max = first.memory_kib + first.memory_kib / 4 + (8 << 10);
        assert!(later.memory_kib < memory_max, "memory grows: {report}");
        let descriptors_max = first.descriptors + 6;
        assert!(
            later.descriptors <= descriptors_max,
            "descriptors grow: {report}"
        );
    }
}

/// Returns the processor time that was used at a moment, as a straight line between two looks says.
fn processor_s_at(samples: &[Sample], at_s: f64) -> f64 {
    let (mut before_s, mut used_s) = (0.0, 0.0);
    for sample in samples {
        // A child that has ended counts nowhere until its server has reaped it: the largest counts.
        let next_s = sample.processor_s.max(used_s);
        if sample.at_s >= at_s {
            let share = (at_s - before_s) / (sample.at_s - before_s);
            return used_s + (next_s - used_s) * share;
        }
        (before_s, used_s) = (sample.at_s, next_s);
    }
    used_s
}

/// Returns when testcases ended, by the clock of this test: an event is read late on a busy machine,
/// so what it says of its time counts, as seen from the one that was read soonest.
fn ends_s(ended: &Ended, read_s: &[f64]) -> Vec<f64> {
    let finished = ended.named("testcase-finished");
    let told_s = finished.iter().map(|it| it["elapsed_s"].as_f64().unwrap());
    let told_s: Vec<f64> = told_s.collect();
    let delays_s = read_s.iter().zip(&told_s).map(|(read, told)| read - told);
    let start_s = delays_s.min_by(f64::total_cmp).unwrap();
    told_s.iter().map(|told_s| told_s + start_s).collect()
}

/// Cuts a session into parts of equally many testcases.
fn parts_of(samples: &[Sample], ends_s: &[f64]) -> Vec<Part> {
    let size = ends_s.len() / PARTS;
    let part = |part: usize| {
        let from_s = if part == 0 {
            0.0
        } else {
            ends_s[part * size - 1]
        };
        let to_s = ends_s[(part + 1) * size - 1];
        let within = |sample: &&Sample| (from_s..to_s).contains(&sample.at_s);
        let seen: Vec<&Sample> = samples.iter().filter(within).collect();
        assert!(seen.len() > 3, "part {part}: {} samples", seen.len());
        Part {
            wall_s: to_s - from_s,
            processor_s: processor_s_at(samples, to_s) - processor_s_at(samples, from_s),
            memory_kib: median(seen.iter().map(|it| it.memory_kib).collect()),
            descriptors: median(seen.iter().map(|it| it.descriptors).collect()),
        }
    };
    (0..PARTS).map(part).collect()
}
