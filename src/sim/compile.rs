//! From a build to the commands that make it, and to the files the compiler said it has read.

use crate::model::build::Build;
use crate::model::build::HdlValue;
use crate::model::build::Simulator;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;
use crate::sim::icarus;
use crate::sim::verilator;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;

/// One command of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileStep {
    /// What to call it in messages: `iverilog`, `verilator`, `make`.
    pub name: &'static str,
    /// The program.
    pub program: Utf8PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set.
    pub env: BTreeMap<String, String>,
}

/// A small text file that a step reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Where it belongs.
    pub path: Utf8PathBuf,
    /// What stands in it.
    pub text: String,
}

/// Everything that makes one build in one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Files to write first.
    pub files: Vec<GeneratedFile>,
    /// Commands to run, in order; the first that fails ends it.
    pub steps: Vec<CompileStep>,
    /// The file that must exist afterwards.
    pub artifact: Utf8PathBuf,
    /// Where the compiler lists the files it has read.
    pub dependencies: Utf8PathBuf,
    /// Where `make` left what the C++ compiler has read, as `*.d` files relative to that folder.
    pub make_dependencies: Option<Utf8PathBuf>,
    /// Files below the directory that runs need; everything else may be removed afterwards.
    pub outputs: Vec<Utf8PathBuf>,
}

/// What a recipe is made from, beside the build itself.
#[derive(Clone, Copy, Debug)]
pub struct Toolset<'a> {
    /// The simulator.
    pub tool: &'a SimulatorTool,
    /// The Python environment whose cocotb is linked.
    pub python: &'a PythonEnv,
    /// What `make` puts before the C++ compiler, as words of a shell; see Verilator's `OBJCACHE`.
    pub object_cache: Option<&'a str>,
    /// Variables for that program.
    pub object_env: &'a BTreeMap<String, String>,
}

/// Returns the recipe that makes `build` in `out`, an empty directory of its own.
pub fn recipe(build: &Build, tools: Toolset<'_>, out: &Utf8Path) -> Recipe {
    match build.simulator {
        Simulator::Icarus => icarus::recipe(build, tools, out),
        Simulator::Verilator => verilator::recipe(build, tools, out),
    }
}

/// Variables that `iverilog`, `make` with Verilator's makefiles, and C++ compilers read.
pub const COMPILER_VARIABLES: [&str; 17] = [
    "CFLAGS",
    "CPATH",
    "CPLUS_INCLUDE_PATH",
    "CPPFLAGS",
    "CXXFLAGS",
    "C_INCLUDE_PATH",
    "IVL_ROOT",
    "LDFLAGS",
    "LDLIBS",
    "LIBRARY_PATH",
    "LIBS",
    "LOADLIBES",
    "OPT_FAST",
    "OPT_GLOBAL",
    "OPT_SLOW",
    "USER_CPPFLAGS",
    "USER_LDLIBS",
];

/// Returns what the simulator of this build cannot express, one line each.
pub fn refusals(build: &Build, build_dir: &Utf8Path) -> Vec<String> {
    if build.simulator != Simulator::Verilator {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let paths = [build_dir, &build.project_dir].into_iter();
    for path in paths.chain(build.sources.iter().map(Utf8PathBuf::as_path)) {
        if path.as_str().contains(char::is_whitespace) {
            lines.push(format!(
                "`{path}` holds a space, with which make and Verilator cannot work"
            ));
            break;
        }
    }
    let quotes = |value: &HdlValue| matches!(value, HdlValue::Text(text) if text.contains('"'));
    lines.extend(
        build
            .parameters
            .iter()
            .filter(|(_, value)| quotes(value))
            .map(|(name, _)| {
                format!("parameter `{name}` holds a double quote, which `verilator -G` cannot take")
            }),
    );
    lines
}

/// Reads the compiler's own list of the files it has read, in the order it tells them.
///
/// Relative names are relative to the compiler's working directory and are left so.
pub fn read_dependencies(simulator: Simulator, text: &str) -> Vec<String> {
    match simulator {
        Simulator::Icarus => icarus::read_dependencies(text),
        Simulator::Verilator => verilator::read_dependencies(text),
    }
}

/// Picks out the lines of a compiler's log that complain, first ones first; a short log is shown
/// whole, since no list of words knows every complaint.
pub fn complaints(log: &str, limit: usize) -> Vec<String> {
    let is_short = log.lines().filter(|line| !line.trim().is_empty()).count() <= limit;
    let complains = |line: &&str| {
        let lower = line.to_ascii_lowercase();
        if lower.contains("exiting due to") || lower.trim().is_empty() {
            return false;
        }
        is_short
            || lower.contains("error")
            || lower.contains("sorry:")
            // Icarus 11 of a missing include file, before errors that only follow from it.
            || lower.contains("include file") && lower.contains("not found")
            || lower.contains("unable to open")
            || lower.contains("no such file")
            || lower.starts_with("%warning")
    };
    log.lines()
        .filter(complains)
        .take(limit)
        .map(str::to_owned)
        .collect()
}

/// Writes a number as a parameter override of both simulators.
///
/// Numbers that do not fit 32 bits are sized: an unsized literal is 32 bits wide
/// (IEEE 1800-2017, 5.7.1), and Icarus 11 refuses a minus before a sized one.
pub(super) fn integer_literal(number: i64) -> String {
    if i32::try_from(number).is_ok() {
        number.to_string()
    } else {
        format!("64'sh{number:016x}")
    }
}

/// Writes a macro definition as `NAME` or `NAME=text`; a macro's text is taken as it is.
pub(super) fn define_text(name: &str, value: &HdlValue) -> String {
    match value {
        HdlValue::Integer(number) => format!("{name}={number}"),
        HdlValue::Boolean(value) => format!("{name}={}", u8::from(*value)),
        HdlValue::Text(text) => format!("{name}={text}"),
        HdlValue::Flag => name.to_owned(),
    }
}
