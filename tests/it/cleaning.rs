//! `cocorun locks clean` and `list` with real processes that are alive, or died and left things
//! behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Child;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::support::Project;

const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is killed at the latest at the end of its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Running {
    /// Starts cocorun with a command that reports when it runs and then continues for long.
    fn start(project: &Project, name: &str, args: &[&str]) -> Self {
        let script = format!("test -z \"$1\" || echo half > \"$1\"; touch {name}; exec sleep 600");
        let command = ["--", "sh", "-c", &script, "sh"];
        let target = args.iter().find_map(|arg| arg.strip_prefix("--target="));
        let all = [args, &command[..], &[target.unwrap_or("")]].concat();
        let mut command = project.command(&all);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let running = Self(command.spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while !project.path(name).exists() {
            assert!(Instant::now() < until, "{name} does not begin");
            thread::sleep(Duration::from_millis(5));
        }
        running
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn pid(&self) -> String {
        format!("pid {}", self.0.id())
    }
}

/// Reads everything below a directory that would show a change.
fn snapshot(dir: &Path, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let link = fs::read_link(&path).unwrap_or_default();
        let text = if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let times = (
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        );
        let facts = format!(
            "{:o} {} {times:?} {} {text:?}",
            meta.mode(),
            meta.ino(),
            link.display()
        );
        into.insert(path.display().to_string(), facts);
        if meta.is_dir() {
            snapshot(&path, into);
        }
    }
}

/// Names below the project that contain one of these words.
fn left(project: &Project, words: &[&str]) -> Vec<String> {
    let mut all = BTreeMap::new();
    snapshot(&project.path(""), &mut all);
    let root = project.path("").display().to_string();
    let names = all.into_keys().map(|name| name.replace(&root, "/"));
    // This comes with the first sign of life, if that is in time.
    let is_meant = |name: &String| {
        words.iter().any(|word| name.contains(word)) && !name.ends_with("doing.txt")
    };
    names.filter(is_meant).collect()
}

/// Kills cocorun at work in every way that leaves something.
fn leave_behind(project: &Project) {
    for (name, args) in [
        ("k1", &["lock", "--strategy=ledger", "a"][..]),
        ("k2", &["lock", "--strategy=exclusive-create", "e"]),
        ("k3", &["lock", "--strategy=ledger", "--target=out.o"]),
        ("k4", &["lock", "--strategy=flock", "--target=sub/f.o"]),
        ("k5", &["once", "--dir=d", "--name=n"]),
    ] {
        Running::start(project, name, args).kill();
    }
}

/// Starts what must not be touched.
fn hold(project: &Project) -> [Running; 3] {
    [
        Running::start(project, "l1", &["lock", "--strategy=ledger", "b"]),
        Running::start(
            project,
            "l2",
            &["lock", "--strategy=flock", "--target=sub/g.o"],
        ),
        Running::start(project, "l3", &["once", "--dir=e", "--name=n"]),
    ]
}

#[test]
fn what_killed_processes_left_is_removed_and_what_live_ones_hold_stays() {
    let project = Project::new();
    leave_behind(&project);
    let alive = hold(&project);
    let words = [".tmp", "n.lock", "/attempts/0"];
    let count = left(&project, &words).len();
    let snapshot_of_the_dead = || {
        let mut all = BTreeMap::new();
        snapshot(&project.path(""), &mut all);
        // Live processes give signs of life all the time, and `touch` sets the time of what it has made.
        let is_mark = |name: &String| name.rsplit('/').next().is_some_and(|it| it.len() == 2);
        all.retain(|name, _| {
            !name.contains("b.ledger/") && !name.contains("/e/") && !is_mark(name)
        });
        all
    };
    let before = snapshot_of_the_dead();
    let dry = project.run(&["locks", "clean", "--dry-run"]);
    let dry = dry.expect_code(0).stdout;
    assert_eq!(before, snapshot_of_the_dead());
    let sum = "would end 4, would remove 1 attempt directories, 1 pytest-cocotb locks and 2 files; 2 kept";
    assert!(dry.contains(sum), "{dry}");

    let report = project.run(&["locks", "clean"]).expect_code(0).stdout;
    let plainly = [("would end", "ended"), ("would remove", "removed")];
    let as_done = plainly
        .iter()
        .fold(dry, |text, (from, to)| text.replace(from, to));
    assert_eq!(report, as_done);
    let kept: Vec<&str> = report
        .lines()
        .filter(|line| line.starts_with("kept"))
        .collect();
    for running in [&alive[0], &alive[2]] {
        let pid = running.pid();
        assert!(kept.iter().any(|line| line.contains(&pid)), "{report}");
    }
    let rest = left(&project, &words);
    let is_alive = |name: &String| name.contains("/e/") || name.contains("/.g.");
    assert!(rest.iter().all(is_alive), "{rest:#?}");
    // The dead left two temporary files, a pytest-cocotb lock of three names and an attempt.
    assert_eq!(rest.len(), count - 6, "{rest:#?}");
    assert_eq!(rest.iter().filter(|name| name.contains(".g.")).count(), 1);

    // The next caller does not wait for a dead process.
    for (lock, strategy) in [("a", "ledger"), ("e", "exclusive-create")] {
        let strategy = format!("--strategy={strategy}");
        let args = ["lock", &strategy, "--timeout=0", lock, "--", "true"];
        project.run(&args).expect_code(0);
    }
    let held = [
        "lock",
        "--strategy=ledger",
        "--timeout=0",
        "b",
        "--",
        "true",
    ];
    project.run(&held).expect_code(125);
}

/// Returns the line about a path.
#[track_caller]
fn line_about<'a>(listed: &'a str, path: &str) -> &'a str {
    let start = format!("./{path}: ");
    let line = listed.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{path} is not in\n{listed}"))
}

#[test]
fn every_kind_of_lock_is_listed_with_its_holder_and_none_is_disturbed() {
    let project = Project::new();
    project.file("data.txt", "mine\n");
    let held = [
        ("flock", "f.lock"),
        ("byte-range", "r.lock"),
        ("flock", "data.txt"),
        ("exclusive-create", "x"),
    ]
    .map(|(strategy, path)| {
        let strategy = format!("--strategy={strategy}");
        Running::start(&project, path_as_name(path), &["lock", &strategy, path])
    });
    let [f, r, data, x] = held.each_ref().map(Running::pid);
    let once = Running::start(&project, "l1", &["once", "--dir=d", "--name=n"]);
    let freed = ["lock", "--strategy=flock", "free.lock", "--", "true"];
    project.run(&freed).expect_code(0);
    project.file("plain.lock", "of somebody else\n");

    let before = project.run(&["locks", "list"]).expect_code(0).stdout;
    let says = |path: &str, words: &[&str]| {
        let line = line_about(&before, path);
        assert!(words.iter().all(|word| line.contains(word)), "{before}");
    };
    says("f.lock", &["held by flock: ", &f, " since ", "sh -c"]);
    says("r.lock", &["held by byte-range: ", &r, " since "]);
    says("data.txt", &["held by flock: ", &data]);
    says(".locks/x.ledger", &["alive on this node", &x]);
    says(
        "d/.locks/n.lock",
        &["pytest-cocotb lock of cocorun: ", &once.pid(), "alive"],
    );
    says("free.lock", &["free on this node; last held by pid "]);
    assert!(!before.contains("plain.lock"), "{before}");
    // Holders keep their locks, and a call that does not wait gets none.
    for (strategy, path) in [("flock", "f.lock"), ("byte-range", "r.lock")] {
        let strategy = format!("--strategy={strategy}");
        let args = ["lock", &strategy, "--timeout=0", path, "--", "true"];
        project.run(&args).expect_code(125);
    }
    drop(held);
    once.kill();
    // What a killed holder has started keeps the kernel lock until it ends, too.
    let until = Instant::now() + PATIENCE;
    let after = loop {
        let after = project.run(&["locks", "list"]).expect_code(0).stdout;
        let is_free = |path: &&str| line_about(&after, path).starts_with("free ");
        let is_all_free = ["f.lock", "r.lock"].iter().all(is_free) && !after.contains("data.txt");
        if is_all_free {
            break after;
        }
        assert!(Instant::now() < until, "{after}");
    };
    let gate = line_about(&after, "d/.locks/n.lock");
    assert!(gate.contains("no longer running on this node"), "{after}");
}

/// Names the marker of a running command after the file that it locks.
fn path_as_name(path: &str) -> &'static str {
    match path {
        "f.lock" => "m1",
        "r.lock" => "m2",
        "x" => "m3",
        _ => "m4",
    }
}

#[test]
fn a_lock_of_pytest_cocotb_is_listed_and_its_text_cannot_control_the_terminal() {
    let project = Project::new();
    let node = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let node = node.trim();
    let me = std::process::id();
    for (name, info) in [
        (
            "alive",
            format!(r#"{{"hostname": "{node}", "pid": {me}, "timestamp": 4e9}}"#),
        ),
        (
            "gone",
            format!(r#"{{"hostname": "{node}", "pid": 2147483600, "timestamp": 1e9}}"#),
        ),
        (
            "far",
            r#"{"hostname": "n\u001b[2J\u0007\u202e7", "pid": 12, "timestamp": 1e9}"#.to_owned(),
        ),
        ("nameless", "{".to_owned()),
    ] {
        project.file(&format!(".locks/{name}.lock/holder.info"), &info);
    }
    let listed = project.run(&["locks", "list"]).expect_code(0).stdout;
    for (name, start, end) in [
        (
            "alive",
            format!("lock of pytest-cocotb: pid {me} on {node}"),
            "alive on this node",
        ),
        (
            "gone",
            format!("lock of pytest-cocotb: pid 2147483600 on {node} since 20"),
            "no longer running on this node",
        ),
        (
            "far",
            "lock of pytest-cocotb: pid 12 on n[2J7 since 20".to_owned(),
            "is on another node",
        ),
        (
            "nameless",
            "lock of pytest-cocotb: no holder is named".to_owned(),
            "",
        ),
    ] {
        let line = line_about(&listed, &format!(".locks/{name}.lock"));
        assert!(line.starts_with(&start) && line.ends_with(end), "{listed}");
    }
    let report = project.run(&["locks", "clean"]).expect_code(0).stdout;
    assert!(report.contains("4 kept"), "{report}");
}
