//! The root `runner.toml` and every example, as their READMEs run them.
//!
//! They share one build directory, so that one environment serves all of them.

use crate::support::Project;
use crate::support::Ran;
use crate::support::binary;
use crate::support::repository;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Copies folders and files of the repository into a project whose build directory is shared.
fn copy_of(names: &[&str], into: &str) -> Project {
    let project = Project::new();
    let folder = project.path(into);
    fs::create_dir_all(&folder).unwrap();
    for name in names {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(repository().join(name))
            .arg(&folder)
            .status()
            .unwrap();
        assert!(copied.success());
    }
    project
}

/// Makes a project share `sim_build` with all examples.
fn share_build_dir(folder: &Path) {
    let shared = repository().join("target/test-env/examples");
    fs::create_dir_all(&shared).unwrap();
    fs::remove_dir_all(folder.join("sim_build")).ok();
    symlink(shared, folder.join("sim_build")).unwrap();
}

#[track_caller]
fn example_passes(name: &str) {
    let project = copy_of(&["examples"], ".");
    let folder = project.path("examples").join(name);
    share_build_dir(&folder);
    let output = project
        .command(&["test"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let ran = Ran::from(output).expect_code(0);
    assert!(ran.text.contains(" passed"), "{}", ran.text);
    assert!(!ran.text.contains("warning"), "{}", ran.text);
}

#[test]
fn the_root_project_passes() {
    let project = copy_of(&["hdl", "runner.toml"], ".");
    fs::create_dir(project.path("tests")).unwrap();
    let benches = Command::new("cp")
        .arg("-r")
        .arg(repository().join("tests/cocotb"))
        .arg(project.path("tests"))
        .status()
        .unwrap();
    assert!(benches.success());
    share_build_dir(&project.path("."));
    let ran = project.run(&["test"]).expect_code(0);
    assert!(ran.text.contains(" passed"), "{}", ran.text);
}

#[test]
fn the_icarus_example_passes() {
    example_passes("icarus-counter");
}

#[test]
fn the_verilator_example_passes() {
    example_passes("verilator-alu");
}

#[test]
fn the_parameter_matrix_example_passes() {
    example_passes("parameter-matrix");
}

#[test]
fn the_example_with_python_packages_passes() {
    example_passes("mixed-python-packages");
}

#[test]
fn the_makefile_example_passes_success_and_failure_on() {
    let project = copy_of(&["examples"], ".");
    let folder = project.path("examples/makefile");
    share_build_dir(&folder);
    let make = |goals: &[&str]| {
        Command::new("make")
            .args(goals)
            .arg(format!("COCORUN={}", binary().display()))
            .current_dir(&folder)
            .output()
            .unwrap()
    };
    let both = make(&["-j2", "test", "junit.xml"]);
    assert!(
        both.status.success(),
        "{}",
        String::from_utf8_lossy(&both.stderr)
    );
    assert!(
        fs::read_to_string(folder.join("junit.xml"))
            .unwrap()
            .contains("<testsuite ")
    );

    let core = folder.join("hdl/binary_to_gray.sv");
    let right = fs::read_to_string(&core).unwrap();
    let wrong = right.replace("binary ^ (binary >> 1)", "binary");
    assert_ne!(
        right, wrong,
        "the README names an expression that does not exist"
    );
    fs::write(&core, wrong).unwrap();
    assert!(!make(&["test"]).status.success());
}
