//! `cocorun lock` and `cocorun once` as makefiles and people use them, with real compilers.

use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Child;
use std::process::ChildStderr;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::support::Project;
use crate::support::Ran;
use crate::support::binary;

const STRATEGIES: [&str; 4] = ["flock", "byte-range", "ledger", "exclusive-create"];
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn start(project: &Project, args: &[&str]) -> Child {
    let mut command = project.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

pub(crate) fn end(child: Child) -> Ran {
    Ran::from(child.wait_with_output().unwrap())
}

/// Waits until a file exists.
#[track_caller]
pub(crate) fn await_file(project: &Project, name: &str) {
    let until = Instant::now() + PATIENCE;
    while !project.path(name).exists() {
        assert!(Instant::now() < until, "{name} does not appear");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A call that waits for another process, and what it has printed about that.
pub(crate) struct Waiter {
    pub(crate) child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Waiter {
    /// Starts a call and returns when it has reported that it waits: it has looked by then.
    #[track_caller]
    pub(crate) fn start(project: &Project, args: &[&str]) -> Self {
        let mut command = project.command(args);
        command.env("CT_LOCK_WARN_INTERVAL", "0.02");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("held by ") {
            let bytes = stderr.read_line(&mut said).unwrap();
            assert!(bytes > 0, "it did not wait:\n{said}");
        }
        Self {
            child,
            stderr,
            said,
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ran {
        self.stderr.read_to_string(&mut self.said).unwrap();
        Ran {
            stderr: self.said,
            ..end(self.child)
        }
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// Leftover names in a directory of the project.
fn private_files(project: &Project) -> Vec<String> {
    let names = fs::read_dir(project.path("")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".tmp")).collect()
}

#[test]
fn with_every_strategy_commands_run_one_after_the_other() {
    for strategy in STRATEGIES {
        let project = Project::new();
        // `mkdir` fails if two are inside.
        let script = "mkdir inside && sleep 0.05 && rmdir inside && echo in >> log";
        let children: Vec<Child> = (0..6)
            .map(|_| {
                let args = [
                    "lock",
                    "--strategy",
                    strategy,
                    "--poll-interval",
                    "0.02",
                    "a",
                ];
                let command = ["--", "sh", "-c", script];
                start(&project, &[&args[..], &command[..]].concat())
            })
            .collect();
        for child in children {
            end(child).expect_code(0);
        }
        let log = fs::read_to_string(project.path("log")).unwrap();
        assert_eq!(log.lines().count(), 6, "{strategy}");
    }
}

#[test]
fn the_exit_status_is_that_of_the_command_and_ours_is_125() {
    let project = Project::new();
    let code = |args: &[&str]| project.run(args).code;
    assert_eq!(code(&["lock", "a", "--", "sh", "-c", "exit 7"]), 7);
    assert_eq!(code(&["lock", "a", "--", "sh", "-c", "kill -9 $$"]), 137);
    assert_eq!(code(&["lock", "a", "--", "/nowhere/cc"]), 125);
    assert_eq!(code(&["lock", "absent/a", "--", "true"]), 125);
    assert_eq!(code(&["lock", "--no-such-flag", "a", "--", "true"]), 125);
    assert_eq!(code(&["lock", "a"]), 125);
    assert_eq!(code(&["lock", "--help"]), 0);
}

#[test]
fn a_caller_that_gives_up_waiting_sees_who_holds_the_lock() {
    for strategy in STRATEGIES {
        let project = Project::new();
        let lock = [
            "lock",
            "--strategy",
            strategy,
            "--timeout",
            "0.2",
            "a",
            "--",
        ];
        let script = "touch held; while ! test -e go; do sleep 0.02; done";
        let holder = start(&project, &[&lock[..], &["sh", "-c", script]].concat());
        await_file(&project, "held");
        let refused = project.run(&[&lock[..], &["touch", "robbed"]].concat());
        let refused = refused.expect_code(125);
        let pid = holder.id().to_string();
        assert!(
            refused.stderr.contains("lock::timeout"),
            "{}",
            refused.stderr
        );
        assert!(
            refused.stderr.contains(&format!("pid {pid}")),
            "{}",
            refused.stderr
        );
        assert!(!project.path("robbed").exists());
        project.file("go", "");
        end(holder).expect_code(0);
    }
}

#[test]
fn a_wait_is_reported_from_time_to_time_and_ends_at_once_by_a_signal() {
    let project = Project::new();
    let script = "touch held; while ! test -e go; do sleep 0.02; done";
    let holder = start(&project, &["lock", "a", "--", "sh", "-c", script]);
    await_file(&project, "held");
    // It looks at the lock so rarely that only the signal can end it within the bound.
    let args = ["lock", "--poll-interval=600", "a", "--", "touch", "entered"];
    let waiting = Waiter::start(&project, &args);
    signal(&waiting.child, Signal::SIGINT);
    let began = Instant::now();
    let ran = waiting.end().expect_code(130);
    assert!(began.elapsed() < PATIENCE);
    assert!(ran.stderr.contains("held by pid"), "{}", ran.stderr);
    assert!(ran.stderr.contains("sh -c touch held"), "{}", ran.stderr);
    assert!(!project.path("entered").exists());
    project.file("go", "");
    end(holder).expect_code(0);
}

#[test]
fn a_holder_that_was_killed_blocks_nobody() {
    for strategy in STRATEGIES {
        let project = Project::new();
        let args = ["lock", "--strategy", strategy, "a", "--"];
        let holder = start(
            &project,
            &[&args[..], &["sh", "-c", "touch held; exec sleep 60"]].concat(),
        );
        await_file(&project, "held");
        signal(&holder, Signal::SIGKILL);
        holder.wait_with_output().unwrap();
        let next = [&["lock", "--timeout", "20"], &args[1..], &["true"]].concat();
        project.run(&next).expect_code(0);
    }
}

#[test]
fn what_a_killed_holder_had_started_keeps_the_kernel_lock() {
    for strategy in ["flock", "byte-range"] {
        let project = Project::new();
        let args = ["lock", "--strategy", strategy, "a", "--", "sh", "-c"];
        let script =
            "sh -c 'touch held; while ! test -e go; do sleep 0.02; done; touch over'; true";
        let mut holder = start(&project, &[&args[..], &[script]].concat());
        await_file(&project, "held");
        signal(&holder, Signal::SIGKILL);
        // Its output stays open as long as what it had started is running.
        holder.wait().unwrap();
        let next = Waiter::start(&project, &[&args[..], &["test -e over"]].concat());
        project.file("go", "");
        assert_eq!(next.end().code, 0, "two were inside: {strategy}");
    }
}

#[test]
fn holders_get_rising_numbers_if_the_strategy_has_them() {
    let project = Project::new();
    let fence = |strategy: &str| {
        let args = ["lock", "--strategy", strategy, "a", "--", "sh", "-c"];
        let ran = project.run(&[&args[..], &["echo $COCORUN_LOCK_FENCE"]].concat());
        ran.expect_code(0).stdout.trim().to_owned()
    };
    assert_eq!(fence("flock"), "");
    assert_eq!(fence("ledger"), "1");
    assert_eq!(fence("lockdir"), "2");
    // The registers are the same, so the two even exclude each other.
    assert_eq!(fence("cifs"), "3");
}

#[test]
fn a_target_is_published_complete_or_not_at_all() {
    for strategy in STRATEGIES {
        let project = Project::new();
        let args = ["lock", "--strategy", strategy, "--target=out.o", "--"];
        let run =
            |script: &str| project.run(&[&args[..], &["sh", "-c", script, "sh", "out.o"]].concat());
        run("echo part > $1; test ! -e out.o || exit 9; exit 3").expect_code(3);
        assert!(!project.path("out.o").exists());
        run("echo whole > $1").expect_code(0);
        assert_eq!(
            fs::read_to_string(project.path("out.o")).unwrap(),
            "whole\n"
        );
        run("echo part > $1; exit 4").expect_code(4);
        assert_eq!(
            fs::read_to_string(project.path("out.o")).unwrap(),
            "whole\n"
        );
        let nothing = run("true").expect_code(125);
        assert!(
            nothing.stderr.contains("lock::no-output"),
            "{}",
            nothing.stderr
        );
        assert_eq!(private_files(&project), Vec::<String>::new());
    }
}

#[test]
fn a_command_that_does_not_name_the_target_is_not_run() {
    let project = Project::new();
    let ran = project.run(&["lock", "--target=out.o", "--", "touch", "other"]);
    let ran = ran.expect_code(125);
    assert!(ran.stderr.contains("lock::target"), "{}", ran.stderr);
    assert!(!project.path("other").exists());
}

#[test]
fn a_target_that_another_process_built_meanwhile_is_not_built_again() {
    let project = Project::new();
    let script =
        "echo run >> log; touch held; while ! test -e go; do sleep 0.02; done; echo x > $1";
    let args = [
        "lock",
        "--target=out.o",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        "out.o",
    ];
    let first = start(&project, &args);
    await_file(&project, "held");
    let second = Waiter::start(&project, &args);
    project.file("go", "");
    end(first).expect_code(0);
    second.end().expect_code(0);
    let runs = || lines_of(&project, "log");
    assert_eq!(runs(), 1);
    // There was no wait: the caller, like make, has decided that it must be built.
    project.run(&args).expect_code(0);
    assert_eq!(runs(), 2);
    let skipping = [&["lock", "--skip-if-exists"], &args[1..]].concat();
    project.run(&skipping).expect_code(0);
    let newer = [&["lock", "--skip-if-newer-than=log"], &args[1..]].concat();
    project.run(&newer).expect_code(0);
    assert_eq!(runs(), 2);
    project.file("source", "newer than the target");
    let source = fs::File::options().write(true).open(project.path("source"));
    let ahead = SystemTime::now() + Duration::from_secs(3600);
    source.unwrap().set_modified(ahead).unwrap();
    let older = [&["lock", "--skip-if-newer-than=source"], &args[1..]].concat();
    project.run(&older).expect_code(0);
    assert_eq!(runs(), 3);
}

#[test]
fn a_signal_reaches_the_compiler_and_leaves_no_temporary_file() {
    for strategy in ["flock", "ledger"] {
        let project = Project::new();
        let script = "echo part > $1; touch held; exec sleep 60";
        let args = [
            "lock",
            "--strategy",
            strategy,
            "--target=out.o",
            "--",
            "sh",
            "-c",
        ];
        let child = start(&project, &[&args[..], &[script, "sh", "out.o"]].concat());
        await_file(&project, "held");
        signal(&child, Signal::SIGTERM);
        end(child).expect_code(143);
        assert_eq!(private_files(&project), Vec::<String>::new());
        assert!(!project.path("out.o").exists());
        let next = [&args[..], &["echo x > $1", "sh", "out.o"]].concat();
        project.run(&next).expect_code(0);
    }
}

#[test]
fn in_a_team_directory_the_team_can_write() {
    let project = Project::new();
    let team = project.path("team");
    fs::create_dir(&team).unwrap();
    fs::set_permissions(&team, fs::Permissions::from_mode(0o2775)).unwrap();
    let script = "umask 077; echo x > $1";
    let target = "team/sub/out.o";
    let args = [
        "lock",
        "--target=team/sub/out.o",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        target,
    ];
    project.run(&args).expect_code(0);
    let mode = |name: &str| fs::metadata(project.path(name)).unwrap().mode() & 0o7777;
    assert_eq!(mode("team/sub"), 0o2775);
    assert_eq!(mode(target), 0o664);
    assert_eq!(mode("team/sub/out.o.lock"), 0o666);
}

/// Four makes want all objects at once, as four people or CI jobs in one shared directory do.
#[test]
fn four_makes_compile_each_object_once_and_no_object_is_torn() {
    let count = if std::env::var_os("COCORUN_TEST_ALL").is_some() {
        500
    } else {
        120
    };
    let project = Project::new();
    for number in 0..count {
        let text = format!("int f{number}(int x) {{ return x + {number}; }}\n");
        project.file(&format!("f{number}.c"), &text);
    }
    // The compiler of this test notes each compile.
    project.file("cc.sh", "#!/bin/sh\necho \"$*\" >> log\nexec gcc \"$@\"\n");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(project.path("cc.sh"), executable).unwrap();
    let makefile = format!(
        "OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))\nall: $(OBJECTS)\n%.o: %.c\n\
         \t@{} lock --target=$@ --skip-if-newer-than=$< -- ./cc.sh -MMD -c $< -o $@\n",
        binary().display()
    );
    project.file("Makefile", &makefile);
    let makes: Vec<Child> = (0..4)
        .map(|_| {
            let mut make = Command::new("make");
            make.arg("-j16").current_dir(project.path(""));
            make.stdout(Stdio::piped()).stderr(Stdio::piped());
            make.spawn().unwrap()
        })
        .collect();
    for make in makes {
        end(make).expect_code(0);
    }
    let log = fs::read_to_string(project.path("log")).unwrap();
    assert_eq!(log.lines().count(), count);
    for number in 0..count {
        let object = fs::read(project.path(&format!("f{number}.o"))).unwrap();
        assert!(object.starts_with(b"\x7fELF"), "f{number}.o");
        let rule = fs::read_to_string(project.path(&format!("f{number}.d"))).unwrap();
        assert!(
            rule.starts_with(&format!("f{number}.o: f{number}.c")),
            "{rule}"
        );
    }
    let mut link = Command::new("gcc");
    link.args(["-shared", "-o", "all.so"])
        .current_dir(project.path(""));
    link.args((0..count).map(|number| format!("f{number}.o")));
    // A torn object does not link.
    assert!(link.status().unwrap().success());
    assert_eq!(private_files(&project), Vec::<String>::new());
}

#[test]
fn a_command_runs_once_per_directory_and_name() {
    let project = Project::new();
    let script = "echo run >> log; sleep 0.2; echo said";
    let args = [
        "once", "--dir", "d", "--name", "n", "--", "sh", "-c", script,
    ];
    let children: Vec<Child> = (0..5).map(|_| start(&project, &args)).collect();
    let said: String = children
        .into_iter()
        .map(|c| end(c).expect_code(0).stdout)
        .collect();
    assert_eq!(said, "said\n");
    let other = [&args[..4], &["m"], &args[5..]].concat();
    project.run(&other).expect_code(0);
    let runs = || lines_of(&project, "log");
    assert_eq!(runs(), 2);
    for words in ["forgot 1 result of `n`\n", "`n` has no result here"] {
        let ran = project.run(&["once", "--dir", "d", "--name", "n", "--clean"]);
        let said = ran.expect_code(0).stderr;
        assert!(said.starts_with(words), "{said}");
    }
    project.run(&args).expect_code(0);
    assert_eq!(runs(), 3);
}

#[test]
fn a_failure_is_reported_to_those_who_waited_and_tried_again_by_the_next() {
    let project = Project::new();
    let script = "echo run >> log; touch held; while ! test -e go; do sleep 0.02; done; exit 7";
    let args = [
        "once", "--dir", "d", "--name", "n", "--", "sh", "-c", script,
    ];
    let first = start(&project, &args);
    await_file(&project, "held");
    let second = Waiter::start(&project, &args);
    project.file("go", "");
    end(first).expect_code(7);
    let ended = second.end().expect_code(7);
    assert!(ended.stderr.contains("exit status 7"), "{}", ended.stderr);
    let runs = || lines_of(&project, "log");
    assert_eq!(runs(), 1);
    project.run(&args).expect_code(7);
    assert_eq!(runs(), 2);
}

#[test]
fn a_file_that_is_locked_by_its_own_name_keeps_what_it_holds() {
    let project = Project::new();
    project.file("data.txt", "mine\n");
    for strategy in ["flock", "byte-range"] {
        let strategy = format!("--strategy={strategy}");
        project
            .run(&["lock", &strategy, "data.txt", "--", "true"])
            .expect_code(0);
    }
    let kept = fs::read_to_string(project.path("data.txt")).unwrap();
    assert_eq!(kept, "mine\n");
}

/// Counts the lines of a file in the project.
pub(crate) fn lines_of(project: &Project, name: &str) -> usize {
    let text = fs::read_to_string(project.path(name)).unwrap();
    text.lines().count()
}

#[test]
fn a_target_built_meanwhile_from_older_prerequisites_is_built_again() {
    let project = Project::new();
    project.file("src", "new\n");
    let script = "echo run >> log; touch held; while ! test -e go; do sleep 0.02; done; \
                  cp src \"$1\"; touch -d '1 hour ago' \"$1\"";
    let lock = ["lock", "--target=out", "--skip-if-newer-than=src"];
    let args = [&lock[..], &["--", "sh", "-c", script, "sh", "out"]].concat();
    let first = start(&project, &args);
    await_file(&project, "held");
    let second = Waiter::start(&project, &args);
    project.file("go", "");
    end(first).expect_code(0);
    second.end().expect_code(0);
    assert_eq!(
        lines_of(&project, "log"),
        2,
        "older than `src`, so made again"
    );
}
