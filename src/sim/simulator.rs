//! What cocorun has to know about a simulator: one trait, implemented once per simulator in its own
//! folder and listed in [`crate::sim::registry`].
//!
//! Invariant: an implementation is pure. It describes commands, files and lines of text; finding
//! programs, running them and reading files happens elsewhere.

use crate::edge::env::Environment;
use crate::model::build::Build;
use crate::model::build::BuiltDesign;
use crate::model::build::Language;
use crate::model::build::SimulatorName;
use crate::model::test::GpiUser;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;
use crate::sim::log_text;
use crate::sim::recipe::Recipe;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// One simulator.
pub trait Simulator: fmt::Debug + Send + Sync {
    // Identity.

    /// Returns the name in `runner.toml`, cocotb's own spelling; letters, digits, `_` and `-`.
    fn name(&self) -> SimulatorName;

    /// Returns names that people use for it by mistake, such as those of its programs.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the languages that it compiles.
    fn languages(&self) -> &'static [Language];

    // Finding it.

    /// Returns Python packages that it may be installed in.
    fn python_packages(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns files of cocotb that a build needs, relative to cocotb's `share` folder.
    fn cocotb_files(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns where it may be installed, preferred place first; never empty. `python` is `None`
    /// if the Python environment cannot be used.
    fn locations(&self, environment: &Environment, python: Option<&PythonEnv>) -> Vec<Location>;

    /// Returns the system's packages that contain it, if there are any.
    fn system_packages(&self) -> Option<SystemPackages> {
        None
    }

    /// Returns how to install it otherwise, or what to use instead, as a help line without a full
    /// stop.
    fn install_help(&self) -> &'static str;

    /// Returns other programs that builds run.
    fn needs(&self) -> &'static [Need] {
        &[]
    }

    /// Returns the names of licences; every simulator process takes one of each.
    fn licences(&self) -> &'static [&'static str] {
        &[]
    }

    // Building.

    /// Says whether its compiler cannot handle paths that contain blanks; it then gets links.
    fn splits_paths_at_blanks(&self) -> bool {
        false
    }

    /// Returns inherited variables that change the output of its builds.
    fn inherited_variables(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the compiler arguments for a library in a file list.
    fn args_for_library(&self, library: &Library) -> Vec<String>;

    /// Returns why it cannot give a parameter this SystemVerilog text as its value, and what to do
    /// instead; `None` if it can.
    fn refused_parameter(&self, text: &str) -> Option<(&'static str, &'static str)> {
        let _ = text;
        None
    }

    /// Returns why it cannot elaborate several toplevels, and what to do instead; `None` if it can.
    fn refused_toplevels(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Returns why it cannot load VPI libraries, and what to do instead; `None` if it can.
    fn refused_vpi_libraries(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Returns the commands that make a build.
    fn recipe(&self, build: &Build, tool: &SimulatorTool, python: &PythonEnv) -> Recipe;

    /// Says whether a line of the compiler's log should be shown to the user.
    fn is_complaint(&self, line: &str) -> bool {
        log_text::is_common_complaint(line)
    }

    /// Says whether a line of the compiler's log says that the toplevel has no parameter `name`.
    fn is_unknown_parameter(&self, line: &str, name: &str) -> bool {
        let (_, _) = (line, name);
        false
    }

    /// Says whether a line of the compiler's log says that no source has the toplevel `name`.
    fn is_unknown_toplevel(&self, line: &str, name: &str) -> bool {
        let (_, _) = (line, name);
        false
    }

    /// Returns a help line for a compile that failed with this log, if there is one.
    fn remedy(&self, build: &Build, log: &str) -> Option<String> {
        let (_, _) = (build, log);
        None
    }

    /// Returns, for a C++ source that may be part of its runtime and so be the same in every build,
    /// the file that exists next to it if it is.
    fn runtime_marker(&self, source: &Utf8Path) -> Option<Utf8PathBuf> {
        let _ = source;
        None
    }

    /// Returns the header of its runtime with which the C++ sources of its builds begin.
    fn runtime_header(&self) -> Option<RuntimeHeader> {
        None
    }

    /// Says whether a file among its outputs was needed by the compile alone: no run reads it.
    fn is_intermediate(&self, path: &Utf8Path) -> bool {
        let _ = path;
        false
    }

    // Running.

    /// Returns the program that runs a compiled design, and its arguments.
    fn command(&self, launch: &LaunchInput<'_>) -> (Utf8PathBuf, Vec<String>);

    /// Says whether cocotb may write signals at once (`COCOTB_TRUST_INERTIAL_WRITES`); as cocotb's
    /// own launchers have it.
    fn trusts_inertial_writes(&self) -> bool {
        false
    }

    /// Returns the name of the wave file of a run, by the format that the compiler's arguments
    /// choose.
    fn wave_file_name(&self, build_args: &[String]) -> &'static str;

    /// Returns the path of the wave file to give to a process that starts in `cwd`; `None` if there is
    /// no path that it can handle. Both arguments are absolute.
    fn wave_path(&self, waves: &Utf8Path, cwd: &Utf8Path) -> Option<Utf8PathBuf> {
        let _ = cwd;
        Some(waves.to_owned())
    }

    /// Says whether a line of a run's log reports an error of the HDL, such as `$error`.
    fn is_hdl_error(&self, line: &str) -> bool;

    /// Says whether a line of a run's log reports an HDL error that ends the simulation, and for
    /// which the simulator exits with status 1. Text without a line end may come before it.
    fn is_hdl_failure(&self, line: &str) -> bool {
        self.is_hdl_error(line)
    }

    /// Says whether the program that runs a build may contain code that is neither HDL nor the
    /// simulator's, and that may have something to do when the process ends. `inherited` are the
    /// variables that the build's compilers have read.
    fn has_foreign_code(&self, build: &Build, inherited: &BTreeMap<String, String>) -> bool {
        let (_, _) = (build, inherited);
        true
    }

    /// Says whether it starts Python before it reads the design, whose path is an argument.
    fn starts_without_design(&self) -> bool {
        false
    }

    /// Says whether one of its processes can be forked at time 0 and continue in the child.
    fn can_fork(&self) -> bool {
        false
    }

    /// Says whether a process that hangs outside of Python may be interrupted anywhere and asked
    /// what the testcase awaits: this loses nothing, because SIGTERM ends it at once.
    fn can_be_interrupted_anywhere(&self) -> bool {
        false
    }
}

/// A header of a simulator's runtime that is worth precompiling: including it before anything else
/// changes no source that begins with another header of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeHeader {
    /// Its name, as sources include it.
    pub name: &'static str,
    /// A file that exists next to it if it is the simulator's own.
    pub marker: &'static str,
}

/// A place where a simulator may be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The program that compiles.
    pub compiler: Program,
    /// The program that runs a compiled design, if it is a different one.
    pub runtime: Option<Program>,
    /// Environment variables that its programs need.
    pub env: BTreeMap<String, String>,
    /// How to find out its version.
    pub version: Version,
    /// The place in words, for a message that lists the places searched.
    pub shown: String,
    /// What its programs need in order to start, such as the interpreter of a script.
    pub needs: &'static [Need],
}

/// A program to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A name on PATH.
    OnPath(&'static str),
    /// A file that may exist.
    At(Utf8PathBuf),
}

/// How to find out a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// It is already known.
    Known(String),
    /// The compiler prints it as its first line if given this argument.
    Ask(&'static str),
}

/// A program that builds run besides the simulator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What to call it, such as `C++ compiler`.
    pub label: &'static str,
    /// Names on PATH, preferred one first; one of them is enough.
    pub any_of: &'static [&'static str],
    /// The packages that contain it.
    pub packages: SystemPackages,
    /// Whether another version of it produces a different build.
    pub shapes_builds: bool,
}

/// The packages of Linux distributions that contain something; several are separated by blanks, and
/// none are an empty text where every installation has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemPackages {
    /// Debian's and Ubuntu's, for `apt install`.
    pub debian: Cow<'static, str>,
    /// Fedora's, for `dnf install`.
    pub fedora: Cow<'static, str>,
    /// Arch's, for `pacman -S`.
    pub arch: Cow<'static, str>,
}

impl SystemPackages {
    /// Names the packages of each distribution.
    pub const fn new(debian: &'static str, fedora: &'static str, arch: &'static str) -> Self {
        Self {
            debian: Cow::Borrowed(debian),
            fedora: Cow::Borrowed(fedora),
            arch: Cow::Borrowed(arch),
        }
    }
}

/// Where to look for modules that no source defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Library {
    /// `-v FILE`: a file of modules.
    File(Utf8PathBuf),
    /// `-y DIR`: a folder with a file per module.
    Dir(Utf8PathBuf),
    /// `+libext+SUFFIX`: the extension of files in such folders.
    Suffix(String),
}

/// What one simulation needs to know.
#[derive(Clone, Copy, Debug)]
pub struct LaunchInput<'a> {
    /// The compiled design.
    pub design: &'a BuiltDesign,
    /// The simulator, as it was found.
    pub tool: &'a SimulatorTool,
    /// The Python environment.
    pub python: &'a PythonEnv,
    /// VPI libraries to load, in order, absolute.
    pub vpi_libraries: &'a [Utf8PathBuf],
    /// Libraries for cocotb's GPI to load before it starts Python, in order.
    pub gpi_users: &'a [GpiUser],
    /// Extra simulator arguments.
    pub test_args: &'a [String],
    /// With the leading `+`.
    pub plusargs: &'a [String],
    /// The wave file to write, if any, as [`Simulator::wave_path`] has it.
    pub waves: Option<&'a Utf8Path>,
}
