//! A simulator that cocorun does not know, registered by this file alone: two shell scripts that
//! speak the agent's protocol. Builds, runs, waves, verdicts and findings come from it, through the
//! whole program.
//!
//! Needs `sh` and `sed`. The program is this test binary: [`PROGRAM`] becomes it when it is started
//! with [`ARGUMENTS`].
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise, and starts the program itself"
)]

use cocorun::commands;
use cocorun::edge::env::Environment;
use cocorun::model::build::Build;
use cocorun::model::build::Language;
use cocorun::model::build::SimulatorName;
use cocorun::model::tool::PythonEnv;
use cocorun::model::tool::SimulatorTool;
use cocorun::sim::literal;
use cocorun::sim::recipe::CompileStep;
use cocorun::sim::recipe::Dependencies;
use cocorun::sim::recipe::Recipe;
use cocorun::sim::recipe::Words;
use cocorun::sim::registry::Registry;
use cocorun::sim::simulator::LaunchInput;
use cocorun::sim::simulator::Library;
use cocorun::sim::simulator::Location;
use cocorun::sim::simulator::Need;
use cocorun::sim::simulator::Program;
use cocorun::sim::simulator::Simulator;
use cocorun::sim::simulator::SystemPackages;
use cocorun::sim::simulator::Version;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;

/// The test that becomes the program.
const PROGRAM: &str = "a_registered_simulator_is_known_like_those_that_are_built_in";
/// The variable with the arguments of the program, one a line.
const ARGUMENTS: &str = "TOY_ARGUMENTS";

/// Writes the parameters and sources into one file; refuses what is BROKEN.
const COMPILER: &str = r#"#!/bin/sh
test "$1" = --version && { echo 'Toy 1.0'; exit 0; }
out=$1 dependencies=$2
shift 2
for word; do
    case $word in
    -p*) echo "$word" >> "$out" ;;
    *) echo "$word" >> "$dependencies" && cat "$word" >> "$out" ;;
    esac
done
! grep BROKEN "$out" | sed 's/^/toy is unhappy: /' | grep .
"#;

/// Speaks the protocol of docs/agent.md, for one module with three testcases.
const RUNTIME: &str = r#"#!/bin/sh
request=$(cat "$COCORUN_AGENT_REQUEST")
say() { printf '%s\n' "$1" >> "/proc/self/fd/$COCORUN_AGENT_EVENT_FD"; }
text() { printf '%s' "$request" | sed -n "s/.*\"$1\":\[*\"\([^\"]*\)\".*/\1/p"; }
module=$(text modules)
say "{\"event\":\"hello\",\"protocol\":2,\"cocotb\":\"2.1.0\",\"pid\":$$}"
case $(text mode) in
list)
    say "{\"event\":\"listing\",\"module\":\"$module\"}"
    for name in passes fails errs; do
        list="$list${list:+,}{\"testcase\":\"$name\",\"skip\":false,\"stage\":0}"
    done
    say "{\"event\":\"listed\",\"module\":\"$module\",\"testcases\":[$list]}"
    say '{"event":"listing_finished"}'
    ;;
run)
    name=$(text testcase)
    about="\"module\":\"$module\",\"testcase\":\"$name\""
    say "{\"event\":\"testcase_started\",$about}"
    case $2 in --waves=*) echo toggles > "${2#--waves=}" ;; esac
    end='"outcome":"passed"'
    case $name in
    fails) end="\"outcome\":\"failed\",\"cause\":\"test\",\"message\":\"$TOPLEVEL_LANG\"" ;;
    errs) echo 'TOY ERROR at top.vhd:3: overflow' ;;
    esac
    say "{\"event\":\"testcase_finished\",$about,$end}"
    say '{"event":"regression_finished"}'
    ;;
esac
"#;

#[derive(Debug)]
struct Toy;

impl Simulator for Toy {
    fn name(&self) -> SimulatorName {
        SimulatorName("toy".to_owned())
    }

    fn languages(&self) -> &'static [Language] {
        &[Language::Verilog, Language::Vhdl]
    }

    fn locations(&self, _environment: &Environment, _python: Option<&PythonEnv>) -> Vec<Location> {
        vec![Location {
            compiler: Program::OnPath("toy-compile"),
            runtime: Some(Program::OnPath("toy-run")),
            env: BTreeMap::new(),
            version: Version::Ask("--version"),
            shown: "PATH".to_owned(),
            needs: &[],
        }]
    }

    fn install_help(&self) -> &'static str {
        "make one from paper"
    }

    fn needs(&self) -> &'static [Need] {
        static SED: Need = Need {
            label: "stream editor",
            any_of: &["sed"],
            packages: SystemPackages::new("sed", "sed", "sed"),
            shapes_builds: false,
        };
        std::slice::from_ref(&SED)
    }

    fn licences(&self) -> &'static [&'static str] {
        &["toy-seat"]
    }

    fn args_for_library(&self, _library: &Library) -> Vec<String> {
        Vec::new()
    }

    fn recipe(&self, build: &Build, tool: &SimulatorTool, _python: &PythonEnv) -> Recipe {
        let mut words = Words::new(build);
        words.own_output("", "design.toy");
        words.own_output("", "inputs.txt");
        for (name, value) in &build.parameters {
            let value = literal::parameter(value, str::to_owned);
            words.value(&format!("parameter `{name}`"), &format!("-p{name}="), value);
        }
        for (index, source) in build.sources.iter().enumerate() {
            words.path(&format!("sources[{index}]"), "", &source.path);
        }
        Recipe {
            files: Vec::new(),
            steps: vec![CompileStep {
                name: "toy-compile".to_owned(),
                program: tool.compiler.clone(),
                args: words.finish(),
                env: BTreeMap::new(),
                launcher_variable: None,
            }],
            artifact: Utf8PathBuf::from("design.toy"),
            dependencies: vec![Dependencies::Lines(Utf8PathBuf::from("inputs.txt"))],
            outputs: vec![Utf8PathBuf::from("design.toy")],
        }
    }

    fn is_complaint(&self, line: &str) -> bool {
        line.starts_with("toy is unhappy: ")
    }

    fn remedy(&self, _build: &Build, log: &str) -> Option<String> {
        log.contains("BROKEN").then(|| "glue it".to_owned())
    }

    fn command(&self, launch: &LaunchInput<'_>) -> (Utf8PathBuf, Vec<String>) {
        let mut args = vec![launch.design.artifact.to_string()];
        args.extend(launch.waves.map(|path| format!("--waves={path}")));
        (launch.tool.runtime.clone().unwrap(), args)
    }

    fn wave_file_name(&self, _build_args: &[String]) -> &'static str {
        "waves.toy"
    }

    fn is_hdl_error(&self, line: &str) -> bool {
        line.starts_with("TOY ERROR at ")
    }
}

fn registry() -> Registry {
    Registry::builtin().with(Arc::new(Toy))
}

#[test]
#[expect(clippy::exit, reason = "as the program, it ends as `main` does")]
fn a_registered_simulator_is_known_like_those_that_are_built_in() {
    if let Ok(arguments) = env::var(ARGUMENTS) {
        let arguments = std::iter::once("cocorun").chain(arguments.lines());
        let code = commands::main(registry(), arguments.map(Into::into).collect());
        std::process::exit(i32::from(code.code()));
    }
    let names = registry().names();
    assert!(names.len() > 1 && names.contains(&Toy.name()), "{names:?}");
}

/// A project with one build, a Python that answers as one with cocotb does, and the toy on PATH.
struct Project {
    _dir: tempfile::TempDir,
    root: Utf8PathBuf,
}

struct Ran {
    code: i32,
    /// The report, wherever it goes, and errors.
    text: String,
    events: Vec<Value>,
}

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(dir.path().canonicalize().unwrap()).unwrap();
        let project = Self { _dir: dir, root };
        let root = &project.root;
        let answer = json!({
            "prefix": root, "python_version": "3.11.7", "site_dirs": [],
            "libpython": root.join("libpython.so"), "distributions": {}, "packages": {},
            "modules": [], "is_externally_managed": false,
            "cocotb": {
                "version": "2.1.0", "libs_dir": root, "share_dirs": [root.join("share")],
                "simulator_extension": root.join("simulator.so"),
            },
        });
        project.file("answer.json", &format!("{answer}\n"));
        for name in registry().cocotb_files() {
            project.file(&format!("share/{name}"), "");
        }
        let python = "#!/bin/sh\ncat \"$(dirname \"$0\")/../answer.json\" \
                      > \"/proc/self/fd/$COCORUN_PROBE_FD\"\n";
        project.program("bin/python", python);
        project.program("bin/toy-compile", COMPILER);
        project.program("bin/toy-run", RUNTIME);
        project.file("test_toy.py", "");
        project.file("top.vhd", "entity top\n");
        project.configure(1);
        project
    }

    fn configure(&self, depth: u32) {
        let text = format!(
            "simulator = 'toy'\n[python]\ninterpreter = 'bin/python'\n\
             [build.top]\nsources = ['top.vhd']\nhdl_toplevel = 'top'\n\
             parameters = {{ DEPTH = {depth} }}\n[[test]]\ntest_module = 'test_toy'\n"
        );
        self.file("runner.toml", &text);
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        self.file(name, text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.root.join(name), mode).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let path = env::var("PATH").unwrap();
        let output = Command::new(env::current_exe().unwrap())
            .args([PROGRAM, "--exact", "--nocapture", "--test-threads=1"])
            .env(ARGUMENTS, arguments.join("\n"))
            .env("PATH", format!("{}:{path}", self.root.join("bin")))
            .env("TMPDIR", &self.root)
            .current_dir(&self.root)
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let (events, report): (Vec<&str>, Vec<&str>) =
            stdout.lines().partition(|line| line.starts_with('{'));
        let errors = String::from_utf8(output.stderr).unwrap();
        Ran {
            code: output.status.code().unwrap(),
            text: report.join("\n") + &errors,
            events: events
                .into_iter()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        }
    }
}

impl Ran {
    #[track_caller]
    fn says(&self, text: &str) {
        assert!(self.text.contains(text), "no {text:?} in\n{}", self.text);
    }

    /// Returns the result of a testcase.
    fn result(&self, testcase: &str) -> &Value {
        let mut results = self.events.iter();
        let is_it = |event: &&Value| {
            event["event"] == "testcase-finished" && event["testcase"]["testcase"] == testcase
        };
        results
            .find(is_it)
            .unwrap_or_else(|| panic!("no result of {testcase}: {:#?}\n{}", self.events, self.text))
    }
}

#[test]
fn its_testcases_have_verdicts_and_waves() {
    let project = Project::new();
    let ran = project.run(&["test", "--waves", "--format", "json"]);
    assert_eq!(ran.code, 1, "{}", ran.text);
    assert_eq!(ran.result("passes")["outcome"], "passed");
    let failed = ran.result("fails");
    assert_eq!(failed["outcome"], "failed");
    assert_eq!(
        failed["message"], "vhdl",
        "the toplevel's language is passed on"
    );
    let told = ran.result("errs");
    assert_eq!(told["outcome"], "failed", "its HDL errors count");
    assert_eq!(told["cause"], "hdl-error");
    let waves = Utf8Path::new(ran.result("passes")["waves"].as_str().unwrap());
    assert_eq!(waves.file_name(), Some("waves.toy"));
    assert_eq!(fs::read_to_string(waves).unwrap(), "toggles\n");
}

#[test]
fn its_builds_are_made_once_and_again_when_their_recipe_changes() {
    let project = Project::new();
    project.run(&["build"]).says("BUILD");
    project.run(&["build"]).says("UP TO DATE");
    project.configure(2);
    let ran = project.run(&["build", "--explain"]);
    ran.says("parameter `DEPTH` changed: 1 -> 2");
    project.file("top.vhd", "entity top -- edited\n");
    let ran = project.run(&["build", "--explain"]);
    ran.says("content of `top.vhd` changed");
    project.file("top.vhd", "BROKEN\n");
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 3, "{}", ran.text);
    ran.says("toy is unhappy: BROKEN");
    ran.says("help: glue it");
}

#[test]
fn what_it_needs_is_found_or_reported_with_a_remedy() {
    let project = Project::new();
    let compiler = project.root.join("bin/toy-compile");
    let ran = project.run(&["build", "--verbose"]);
    ran.says(&format!("TOOL simulator `toy`: {compiler} (Toy 1.0)"));
    ran.says("TOOL stream editor for `toy`: ");
    ran.says("TOOL licence for `toy`: each run takes one `toy-seat`");
    fs::remove_file(project.root.join("bin/toy-run")).unwrap();
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 5, "{}", ran.text);
    ran.says("`toy-run` was not found");
    ran.says("help: make one from paper");
}

#[test]
fn messages_name_it_with_the_others() {
    let project = Project::new();
    let ran = project.run(&["build", "--simulator", "tow"]);
    assert_eq!(ran.code, 2, "{}", ran.text);
    ran.says("unknown simulator `tow`");
    ran.says("and `toy`");
}
