//! The whole program with its build directory on a faulty file system.

use crate::client::Client;
use crate::mount::Mount;
use crate::mount::Shore;
use crate::support::COCOTB;
use crate::support::binary;
use crate::support::python;
use crate::weather::Effect;
use crate::weather::Fault;
use crate::weather::Moment;
use crate::weather::Op;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// No session here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(150);

/// Writes a project with a design and a passing test.
fn project(at: &Path, build_dir: &Path) {
    fs::create_dir_all(at).unwrap();
    let toml = format!(
        "build_dir = \"{}\"\n[python]\ninterpreter = \"{}\"\n[build.a_wire]\n\
         sources = [\"a_wire.sv\"]\nhdl_toplevel = \"a_wire\"\n\
         [[test]]\ntest_module = \"test_wire\"\n",
        build_dir.display(),
        python(COCOTB).display()
    );
    fs::write(at.join("runner.toml"), toml).unwrap();
    let design = "module a_wire(input logic a, output logic b);\n  assign b = a;\nendmodule\n";
    fs::write(at.join("a_wire.sv"), design).unwrap();
    let test = "import cocotb\nfrom cocotb.triggers import Timer\n\n\n@cocotb.test()\n\
                async def follows(dut):\n    dut.a.value = 1\n    await Timer(1, 'ns')\n    \
                assert dut.b.value == 1\n";
    fs::write(at.join("test_wire.py"), test).unwrap();
}

/// Runs cocorun to its end; if it hangs, unmounting frees it.
fn run(at: &Path, args: &[&str]) -> (Option<i32>, String) {
    let child = Command::new(binary())
        .args(args)
        .current_dir(at)
        .env_remove("VIRTUAL_ENV")
        .env_remove("PYTHONPATH")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (tell, told) = mpsc::channel::<Output>();
    thread::spawn(move || tell.send(child.wait_with_output().unwrap()).ok());
    let output = told.recv_timeout(PATIENCE).expect("cocorun hangs");
    let words = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    (output.status.code(), words.join("\n"))
}

#[track_caller]
fn expect_green(at: &Path, args: &[&str]) -> String {
    let (code, words) = run(at, args);
    assert_eq!(code, Some(0), "{words}");
    words
}

fn calm(shore: &Shore) -> Mount {
    shore.mount("node", Client::default())
}

#[test]
fn builds_and_tests_work_where_rename_never_returns() {
    let Some(shore) = Shore::new() else { return };
    let mount = calm(&shore);
    let hang = Fault::always(Op::Rename, "", Moment::Before, Effect::Hang);
    mount.weather.set(vec![hang]);
    let elsewhere = tempfile::tempdir().unwrap();
    // Only the build directory, then the sources and the tests as well.
    for project_dir in [elsewhere.path().to_owned(), mount.path().join("project")] {
        let name = if project_dir.starts_with(mount.path()) {
            "b"
        } else {
            "a"
        };
        project(&project_dir, &mount.path().join(name));
        expect_green(&project_dir, &["build"]);
        let compiled = mount.weather.seen(Op::Create);
        assert!(compiled > 0, "nothing was made on the mount");
        let words = expect_green(&project_dir, &["test", "--format", "json"]);
        assert!(words.contains("\"outcome\":\"passed\""), "{words}");
        assert_eq!(mount.weather.hanging(), 0, "something renames");
        assert_eq!(mount.weather.seen(Op::Rename), 0, "something renames");
    }
}

#[test]
fn hard_links_guard_builds_where_there_are_no_symbolic_links() {
    let Some(shore) = Shore::new() else { return };
    let client = Client {
        has_symlinks: false,
        ..Client::default()
    };
    let mount = shore.mount("node", client);
    let elsewhere = tempfile::tempdir().unwrap();
    project(elsewhere.path(), &mount.path().join("build"));
    expect_green(elsewhere.path(), &["test"]);
    assert!(mount.weather.seen(Op::Link) > 0, "no link was made");
    let made = mount.weather.seen(Op::Link);
    expect_green(elsewhere.path(), &["test"]);
    assert_eq!(mount.weather.seen(Op::Link), made, "it was built again");
}

#[test]
fn a_file_system_without_any_links_is_refused_and_nothing_is_built_there() {
    let Some(shore) = Shore::new() else { return };
    let client = Client {
        has_symlinks: false,
        has_links: false,
        ..Client::default()
    };
    let mount = shore.mount("node", client);
    let elsewhere = tempfile::tempdir().unwrap();
    project(elsewhere.path(), &mount.path().join("build"));
    let (code, words) = run(elsewhere.path(), &["test"]);
    assert!(!matches!(code, Some(0 | 1)), "{code:?}: {words}");
    assert!(
        words.contains("neither symbolic links nor hard links"),
        "{words}"
    );
    assert!(
        words.contains("help: put `build_dir` on a file system"),
        "{words}"
    );
    assert!(!words.contains("passed"), "{words}");
}

#[test]
fn a_full_or_failing_disk_is_not_a_verdict_and_the_next_session_passes() {
    let Some(shore) = Shore::new() else { return };
    for (number, (op, error)) in [
        (Op::Write, libc::ENOSPC),
        (Op::Write, libc::EDQUOT),
        (Op::Create, libc::ENOSPC),
        (Op::Mkdir, libc::EDQUOT),
        (Op::Symlink, libc::ENOSPC),
        (Op::Write, libc::EIO),
    ]
    .into_iter()
    .enumerate()
    {
        let mount = calm(&shore);
        let elsewhere = tempfile::tempdir().unwrap();
        let build_dir = mount.path().join(format!("build{number}"));
        project(elsewhere.path(), &build_dir);
        let fault = Fault::always(op, "", Moment::Before, Effect::Fail(error));
        mount.weather.set(vec![fault]);
        let (code, words) = run(elsewhere.path(), &["test"]);
        // 0 means passed and 1 means that testcases failed: both would be verdicts.
        assert!(
            !matches!(code, None | Some(0 | 1)),
            "{op:?} {error} {code:?}: {words}"
        );
        assert!(mount.weather.struck() > 0);
        mount.weather.clear_up();
        expect_green(elsewhere.path(), &["test"]);
    }
}
