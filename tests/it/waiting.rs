//! Waiting for a build that another process makes: what people and programs see of it.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::live::Live;
use crate::support::COCOTB;
use crate::support::Project;

const RUNNER: &str = "
[build.a_wire]
sources = [\"a_wire.sv\"]
hdl_toplevel = \"a_wire\"

[[test]]
test_module = \"test_wire\"
";

/// A compiler that says what it does, takes long, and waits for permission to continue.
const SLOW_COMPILER: &str = "#!/bin/sh
case \"$*\" in *a_wire.sv*)
  echo 'elaborating' >&2
  printf 'file 3 of 7\\033[2J\\n' >&2
  touch \"$BEGUN\"
  while ! test -e \"$GO\"; do sleep 0.05; done;;
esac
exec \"$REAL\" \"$@\"
";

fn on_path(name: &str) -> std::path::PathBuf {
    env::split_paths(&env::var_os("PATH").unwrap())
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .expect("tests need Icarus Verilog")
}

#[test]
fn waiting_for_a_build_shows_its_holder_and_the_last_line_of_its_compiler() {
    let project = Project::with_cocotb(COCOTB, RUNNER);
    let design = "module a_wire(input logic a, output logic b);\n  assign b = a;\nendmodule\n";
    project.file("a_wire.sv", design);
    project.file("bin/iverilog", SLOW_COMPILER);
    let wrapper = project.path("bin/iverilog");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let real = on_path("iverilog");
    let path = format!(
        "{}:{}:{}",
        project.path("bin").display(),
        real.parent().unwrap().display(),
        env::var("PATH").unwrap()
    );
    let build = |format: &[&str]| -> Command {
        let mut command = project.command(&[&["build"], format].concat());
        command.env("PATH", &path).env("REAL", &real);
        command.env("BEGUN", project.path("begun"));
        command.env("GO", project.path("go"));
        command
    };
    let maker = Live::start(&mut build(&[]));
    let until = Instant::now() + Duration::from_secs(60);
    while !project.path("begun").exists() {
        assert!(Instant::now() < until, "the compiler does not begin");
        thread::sleep(Duration::from_millis(10));
    }
    let mut waiting = Live::start(&mut build(&["--format", "json"]));
    let pid = format!("pid {} on ", maker.pid());
    waiting.wait_for("what the other one is doing", |event| {
        let is_wait = event["event"] == "build-waiting";
        let is_told = |holder: &str| holder.starts_with(&pid) && holder.contains(" since 20");
        if is_wait {
            assert!(event["holder"].as_str().is_some_and(is_told), "{event}");
        }
        is_wait && event["doing"] == "running iverilog: file 3 of 7[2J"
    });
    project.file("go", "");
    assert_eq!(maker.end(Duration::from_secs(60)).code, 0);
    let ended = waiting.end(Duration::from_secs(60));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let outcome = ended.events.iter().find_map(|event| {
        let is_end = event["event"] == "build-finished";
        is_end.then(|| event["outcome"].as_str().unwrap_or_default())
    });
    assert_eq!(outcome, Some("built-elsewhere"));
    let words = ended.events.iter();
    let waits = words.filter(|event| event["event"] == "build-waiting");
    let seconds: Vec<f64> = waits
        .map(|event| event["waited_s"].as_f64().unwrap().floor())
        .collect();
    assert!(
        seconds.is_sorted_by(|a, b| a < b),
        "one a second: {seconds:?}"
    );
}
