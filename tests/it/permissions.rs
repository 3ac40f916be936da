//! What another user's folder closes: the message names the folder, its owner, and what opens it.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::support::Project;
use crate::support::Ran;
use crate::support::binary;

/// A user who owns nothing.
const NOBODY: u32 = 65534;

/// Returns a command that runs cocorun as a user whom the modes of files stop: root is not.
fn command(project: &Project, args: &[&str]) -> Command {
    let mut program = binary();
    let is_root = nix::unistd::getuid().is_root();
    if is_root {
        // The folder that the tests are run from may be closed to others.
        program = project.path("cocorun");
        fs::copy(binary(), &program).unwrap();
    }
    let mut command = Command::new(program);
    command.args(args).current_dir(project.path(""));
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn set_mode(project: &Project, name: &str, mode: u32) {
    fs::set_permissions(project.path(name), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_closes_a_path_to_this_user_is_named_with_what_opens_it() {
    let project = Project::new();
    project
        .file("closed/python", "")
        .file("team/other", "")
        .file(".venv/bin/other", "")
        .file(
            "runner.toml",
            "[python]\ninterpreter = \".venv/bin/python\"\n[build.top]\nsources = [\"top.sv\"]\n\
             hdl_toplevel = \"top\"\n[[test]]\ntest_module = \"test_top\"\n",
        )
        .file("top.sv", "module top; endmodule\n")
        .file("test_top.py", "");
    symlink(
        project.path("closed/python"),
        project.path(".venv/bin/python"),
    )
    .unwrap();
    set_mode(&project, "", 0o755);
    set_mode(&project, "closed", 0o600);
    set_mode(&project, "team", 0o555);
    let closed = project.path("closed");
    let way = format!(
        "help: `{}` may not be entered by this user (owner ",
        closed.display()
    );
    let configured = Ran::from(command(&project, &["test"]).output().unwrap()).expect_code(5);
    let text = fs::read_to_string(project.path("runner.toml")).unwrap();
    project.file(
        "runner.toml",
        &text.replace("interpreter = \".venv/bin/python\"", ""),
    );
    let mut activated = command(&project, &["test"]);
    activated.env("VIRTUAL_ENV", project.path(".venv"));
    let activated = Ran::from(activated.output().unwrap()).expect_code(5);
    for ran in [configured, activated] {
        assert!(ran.text.contains("disk::unreadable"), "{}", ran.text);
        assert!(
            ran.text.contains(&way) && ran.text.contains("mode 0600"),
            "{}",
            ran.text
        );
    }
    let lock = command(&project, &["lock", "team/build.lock", "--", "true"]).output();
    let ran = Ran::from(lock.unwrap()).expect_code(125);
    for words in [
        "permission denied",
        "team` may not be written by this user",
        "`umask 002`",
    ] {
        assert!(ran.text.contains(words), "{words}: {}", ran.text);
    }
    set_mode(&project, "closed", 0o755);
    set_mode(&project, "team", 0o755);
}
