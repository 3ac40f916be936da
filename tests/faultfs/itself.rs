//! The faulty file system itself: what it shows is correct unless a fault was requested.

use crate::client::Client;
use crate::mount::Shore;
use crate::weather::Effect;
use crate::weather::Fault;
use crate::weather::Moment;
use crate::weather::Op;

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

const LONG: Duration = Duration::from_secs(600);

fn code<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn changes_through_the_mount_reach_the_directory_behind_it() {
    let Some(shore) = Shore::new() else { return };
    let mount = shore.mount("a", Client::default());
    let (here, there) = (mount.path(), shore.backing());
    fs::create_dir(here.join("dir")).unwrap();
    fs::write(here.join("dir/file"), "content").unwrap();
    fs::hard_link(here.join("dir/file"), here.join("dir/link")).unwrap();
    symlink("points;nowhere", here.join("dir/symlink")).unwrap();
    assert_eq!(fs::metadata(here.join("dir/link")).unwrap().nlink(), 2);
    fs::rename(here.join("dir"), here.join("moved")).unwrap();
    assert_eq!(
        fs::read_to_string(there.join("moved/file")).unwrap(),
        "content"
    );
    assert_eq!(
        fs::read_to_string(here.join("moved/link")).unwrap(),
        "content"
    );
    let text = fs::read_link(there.join("moved/symlink")).unwrap();
    assert_eq!(text.to_str(), Some("points;nowhere"));
    assert_eq!(fs::read_dir(here.join("moved")).unwrap().count(), 3);
    fs::remove_dir_all(here.join("moved")).unwrap();
    assert_eq!(fs::read_dir(there).unwrap().count(), 0);
}

#[test]
fn a_fault_strikes_when_and_as_often_as_configured() {
    let Some(shore) = Shore::new() else { return };
    let mount = shore.mount("a", Client::default());
    let fault = |moment, effect, skip, times| Fault {
        skip,
        times,
        ..Fault::always(Op::Symlink, ".claim", moment, effect)
    };
    mount
        .weather
        .set(vec![fault(Moment::After, Effect::Fail(libc::EEXIST), 1, 2)]);
    let make = |name: &str| symlink("text", mount.path().join(name));
    assert_eq!(code(make("other")), None);
    assert_eq!(code(make("1.claim")), None);
    assert_eq!(code(make("2.claim")), Some(libc::EEXIST));
    assert_eq!(code(make("3.claim")), Some(libc::EEXIST));
    assert_eq!(code(make("4.claim")), None);
    assert_eq!(
        fs::read_dir(shore.backing()).unwrap().count(),
        5,
        "all were carried out"
    );
    mount.weather.set(vec![fault(
        Moment::Before,
        Effect::Fail(libc::ENOSPC),
        0,
        1,
    )]);
    assert_eq!(code(make("5.claim")), Some(libc::ENOSPC));
    assert!(!shore.backing().join("5.claim").exists());
    assert_eq!(mount.weather.struck(), 3);
}

#[test]
fn two_clients_disagree_for_as_long_as_they_keep_what_they_saw() {
    let Some(shore) = Shore::new() else { return };
    let client = Client {
        attributes_ttl: LONG,
        entries_ttl: LONG,
        negative_ttl: LONG,
        ..Client::default()
    };
    let (one, other) = (
        shore.mount("a", client),
        shore.mount("b", Client::default()),
    );
    let (here, there) = (one.path().join("file"), other.path().join("file"));
    fs::write(&there, "four").unwrap();
    assert_eq!(fs::metadata(&here).unwrap().len(), 4);
    fs::write(&there, "longer").unwrap();
    assert_eq!(fs::metadata(&here).unwrap().len(), 4, "old attributes");
    assert!(!one.path().join("late").exists());
    fs::write(other.path().join("late"), "").unwrap();
    assert!(!one.path().join("late").exists(), "an old absence");
    let made = File::options()
        .write(true)
        .create_new(true)
        .open(one.path().join("late"));
    assert_eq!(code(made), Some(libc::EEXIST), "the server knows better");
}

#[test]
fn an_open_file_that_is_removed_stays_under_a_silly_name() {
    let Some(shore) = Shore::new() else { return };
    let client = Client {
        has_silly_rename: true,
        ..Client::default()
    };
    let mount = shore.mount("a", client);
    let dir = mount.path().join("dir");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "content").unwrap();
    let mut open = File::open(dir.join("file")).unwrap();
    fs::remove_file(dir.join("file")).unwrap();
    assert_eq!(code(fs::remove_dir(&dir)), Some(libc::ENOTEMPTY));
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "content");
    drop(open);
    let patience = Instant::now() + LONG / 5;
    // The kernel reports the close in its own time.
    while fs::remove_dir(&dir).is_err() {
        assert!(Instant::now() < patience);
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_hanging_call_hangs_until_it_is_thawed_or_the_mount_ends() {
    let Some(shore) = Shore::new() else { return };
    let hang = Fault::always(Op::Rename, "", Moment::Before, Effect::Hang);
    for is_thawed in [true, false] {
        let mount = shore.mount("a", Client::default());
        mount.weather.set(vec![hang.clone()]);
        let dir = mount.path().to_owned();
        fs::write(dir.join("from"), "").unwrap();
        let hanging = thread::spawn(move || code(fs::rename(dir.join("from"), dir.join("to"))));
        while mount.weather.hanging() == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(
            mount.path().join("from").exists(),
            "others get their answers"
        );
        assert!(!hanging.is_finished());
        if is_thawed {
            mount.weather.thaw();
        } else {
            drop(mount);
        }
        let ended = hanging.join().unwrap();
        assert!(ended.is_some(), "it was never carried out: {ended:?}");
    }
}

/// Where [`hanging_child`] reports that it hangs.
const SIGN: &str = "COCORUN_FAULTFS_SIGN";

/// Hangs in a call to its own file system until it is killed.
#[test]
fn hanging_child() {
    let Ok(sign) = std::env::var(SIGN) else {
        return;
    };
    let shore = Shore::new().unwrap();
    let mount = shore.mount("a", Client::default());
    let hang = Fault::always(Op::Lookup, "never", Moment::Before, Effect::Hang);
    mount.weather.set(vec![hang]);
    let never = mount.path().join("never");
    thread::spawn(move || never.exists());
    while mount.weather.hanging() == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    fs::write(sign, "").unwrap();
    thread::sleep(LONG);
}

#[test]
fn a_test_that_is_killed_while_it_hangs_in_its_own_file_system_ends() {
    if Shore::new().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let sign = dir.path().join("hangs");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["itself::hanging_child", "--exact"])
        .env(SIGN, &sign)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !sign.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it did not come to it");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    let patience = Instant::now() + LONG / 10;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < patience, "it cannot be killed");
        thread::sleep(Duration::from_millis(20));
    }
}
