//! `cocorun lock --target` and `cocorun locks` on a faulty file system.

use crate::client::Client;
use crate::mount::Shore;
use crate::support::binary;
use crate::weather::Effect;
use crate::weather::Fault;
use crate::weather::Moment;
use crate::weather::Op;

use std::fs;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// No command here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(150);

fn start(at: &Path, args: &[&str]) -> Child {
    Command::new(binary())
        .args(args)
        .current_dir(at)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for the end of the command and of all processes that have its output open.
#[track_caller]
fn end(child: Child) -> (Option<i32>, String) {
    let (tell, told) = mpsc::channel::<Output>();
    thread::spawn(move || tell.send(child.wait_with_output().unwrap()).ok());
    let output = told.recv_timeout(PATIENCE).expect("cocorun hangs");
    let words = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    (output.status.code(), words.join("\n"))
}

/// Makes a target of two parts, between which another process could look.
fn make(at: &Path, target: &str, text: &str) -> Child {
    let script = format!("echo {text} > $1; sleep 0.2; echo whole >> $1");
    let option = format!("--target={target}");
    start(
        at,
        &["lock", &option, "--", "sh", "-c", &script, "sh", target],
    )
}

#[track_caller]
fn expect_made(child: Child) {
    let (code, words) = end(child);
    assert_eq!(code, Some(0), "{words}");
}

/// Leftover names in a directory.
fn private_files(at: &Path) -> Vec<String> {
    let names = fs::read_dir(at).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".tmp")).collect()
}

#[test]
fn targets_are_published_complete_where_rename_never_returns() {
    let Some(shore) = Shore::new() else { return };
    let mount = shore.mount("node", Client::default());
    let hang = Fault::always(Op::Rename, "", Moment::Before, Effect::Hang);
    mount.weather.set(vec![hang]);
    let at = mount.path();
    let read = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    // One new target, one existing one, two that two processes want.
    expect_made(make(at, "new.o", "first"));
    assert_eq!(read("new.o"), "first\nwhole\n");
    assert_eq!(mount.weather.seen(Op::Rename), 0, "it need not be asked");
    expect_made(make(at, "new.o", "second"));
    assert_eq!(read("new.o"), "second\nwhole\n");
    let both = ["a.o", "b.o"].map(|name| [make(at, name, "one"), make(at, name, "two")]);
    for child in both.into_iter().flatten() {
        expect_made(child);
    }
    for name in ["a.o", "b.o"] {
        let text = read(name);
        assert!(
            ["one\nwhole\n", "two\nwhole\n"].contains(&text.as_str()),
            "{text}"
        );
    }
    let (code, words) = end(start(
        at,
        &[
            "lock",
            "--target=new.o",
            "--",
            "sh",
            "-c",
            "exit 7",
            "sh",
            "new.o",
        ],
    ));
    assert_eq!(code, Some(7), "{words}");
    assert_eq!(read("new.o"), "second\nwhole\n");
    assert_eq!(private_files(at), Vec::<String>::new());
}

#[test]
fn a_rename_that_returns_replaces_a_target_at_once() {
    let Some(shore) = Shore::new() else { return };
    let mount = shore.mount("node", Client::default());
    let at = mount.path();
    for text in ["first", "second"] {
        expect_made(make(at, "a.o", text));
    }
    // One in the trial, one for the target, whose name was never without a file.
    assert_eq!(mount.weather.seen(Op::Rename), 2);
    assert_eq!(
        fs::read_to_string(at.join("a.o")).unwrap(),
        "second\nwhole\n"
    );
    let names = fs::read_dir(at).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with(".cocorun")).count(), 0);
}

#[test]
fn a_target_is_never_removed_where_no_link_can_follow() {
    let Some(shore) = Shore::new() else { return };
    let mount = shore.mount("node", Client::default());
    let at = mount.path();
    let no_links = Fault::always(Op::Link, "", Moment::Before, Effect::Fail(libc::EPERM));
    // Slower than the limit for one that never returns, but only once.
    let slow = Effect::Delay(Duration::from_secs(6));
    let slow = Fault {
        times: 1,
        ..Fault::always(Op::Rename, "", Moment::Before, slow)
    };
    fs::write(at.join("a.o"), "old\n").unwrap();
    mount.weather.set(vec![no_links, slow]);
    for text in ["first", "second"] {
        expect_made(make(at, "a.o", text));
        let made = fs::read_to_string(at.join("a.o")).unwrap();
        assert_eq!(made, format!("{text}\nwhole\n"));
    }
    // If a rename does not return at all, the existing file stays.
    let no_links = Fault::always(Op::Link, "", Moment::Before, Effect::Fail(libc::EPERM));
    let hang = Fault::always(Op::Rename, "", Moment::Before, Effect::Hang);
    mount.weather.set(vec![no_links, hang]);
    let (code, words) = end(make(at, "a.o", "third"));
    assert_eq!(code, Some(125), "{words}");
    let kept = fs::read_to_string(at.join("a.o")).unwrap();
    assert_eq!(kept, "second\nwhole\n");
}

#[test]
fn what_cannot_be_removed_is_reported_and_the_exit_code_says_so() {
    let Some(shore) = Shore::new() else { return };
    let mount = shore.mount("node", Client::default());
    let at = mount.path();
    let script = "touch held; exec sleep 600";
    let once = ["once", "--dir=d", "--name=n", "--", "sh", "-c", script];
    let mut holder = start(at, &once);
    while !at.join("held").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    let refuse = Fault::always(Op::Rmdir, "", Moment::Before, Effect::Fail(libc::EACCES));
    mount.weather.set(vec![refuse]);
    let (code, words) = end(start(at, &["locks", "clean"]));
    assert_eq!(code, Some(5), "{words}");
    assert!(
        words.contains("error[lock::storage]: cannot clean `./d/attempts/"),
        "{words}"
    );
    assert!(
        words.contains("0 pytest-cocotb locks and 0 files; 0 kept, 2 failed"),
        "{words}"
    );
    mount.weather.clear_up();
    let (code, words) = end(start(at, &["locks", "clean"]));
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("removed 1 attempt directories"), "{words}");
}
