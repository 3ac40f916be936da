//! A build: one elaborated variant of a design, as the user configured it.

use crate::model::step::Step;
use crate::model::step::StepResult;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The name of a simulator, as `runner.toml` and cocotb spell it; `sim::registry` knows them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SimulatorName(pub String);

impl SimulatorName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SimulatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hardware description language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Verilog and SystemVerilog, which simulators distinguish by file extension or not at all.
    Verilog,
    /// VHDL.
    Vhdl,
}

impl Language {
    /// Returns the language of a source file by its extension: `.vhd` and `.vhdl` are VHDL, in
    /// upper and lower case, and everything else is Verilog.
    pub fn of(path: &Utf8Path) -> Self {
        let is_vhdl = path.extension().is_some_and(|extension| {
            ["vhd", "vhdl"]
                .iter()
                .any(|it| extension.eq_ignore_ascii_case(it))
        });
        if is_vhdl { Self::Vhdl } else { Self::Verilog }
    }

    /// Returns how cocotb spells it in `TOPLEVEL_LANG`.
    pub fn cocotb_name(self) -> &'static str {
        match self {
            Self::Verilog => "verilog",
            Self::Vhdl => "vhdl",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verilog => "Verilog",
            Self::Vhdl => "VHDL",
        })
    }
}

/// One source file of a design.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file, absolute.
    pub path: Utf8PathBuf,
    /// The language it is written in.
    pub language: Language,
    /// The library it is compiled into.
    pub library: String,
}

impl Source {
    /// The library of a source if no other is named.
    pub const DEFAULT_LIBRARY: &str = "work";

    /// Creates a source in the default library, in the language of its extension.
    pub fn new(path: Utf8PathBuf) -> Self {
        Self {
            language: Language::of(&path),
            path,
            library: Self::DEFAULT_LIBRARY.to_owned(),
        }
    }
}

/// The full name of a build: table name, matrix values, and the simulator if there are several.
/// That of an included file begins with the file's prefix.
///
/// Examples: `fifo`, `fifo/DEPTH=4/WIDTH=8`, `fifo/DEPTH=4@SIMULATOR`, `PREFIX/fifo`. Unique in a
/// plan. Never empty; contains no whitespace and no `::`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildName(pub String);

impl BuildName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether `wanted` names this build: it is the whole name, or the name continues after it
    /// with `/` or `@`, as that of a variant does.
    pub fn is_named_by(&self, wanted: &str) -> bool {
        let rest = self.0.strip_prefix(wanted);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '@']))
    }

    /// Returns every name that names this build, from the shortest to its full name: `fifo`,
    /// `fifo/DEPTH=4`, `fifo/DEPTH=4@SIMULATOR`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.match_indices(['/', '@']).map(|(at, _)| at);
        ends.chain([self.0.len()]).map(|end| &self.0[..end])
    }

    /// Returns the name as a valid path component: letters, digits, `_`, `-`, `=`, `.`.
    ///
    /// Two names may give the same result (`a/b` and `a-b`); add a key to distinguish them.
    pub fn for_path(&self) -> String {
        self.0
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "_-=.".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .take(80)
            .collect()
    }
}

impl fmt::Display for BuildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value of a parameter or a define.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type", content = "value")]
pub enum HdlValue {
    /// A whole number.
    Integer(i64),
    /// A finite real number, see [`HdlValue::real`].
    Real(String),
    /// True is 1, false is 0.
    Boolean(bool),
    /// A string; each simulator's backend quotes it.
    Text(String),
    /// SystemVerilog, used as it is: `32'hDEAD_BEEF`, `pkg::MODE_A`.
    Sv(String),
    /// A define without a value (`+define+NAME`). Not allowed for parameters.
    Flag,
}

impl HdlValue {
    /// Makes a real number in the shortest form that reads back as the same number: `2.5`, `1e-9`,
    /// `2.0`. It always has a `.` or an `e`, so that HDL reads a real too. `None` if it is not finite.
    pub fn real(number: f64) -> Option<Self> {
        number
            .is_finite()
            .then(|| Self::Real(format!("{number:?}")))
    }
}

impl HdlValue {
    /// Returns the value as part of a text; a boolean as HDL has it, 1 or 0.
    pub fn in_text(&self) -> String {
        match self {
            Self::Boolean(answer) => u8::from(*answer).to_string(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for HdlValue {
    /// Formats the value as it appears in a build's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Real(value) | Self::Text(value) | Self::Sv(value) => f.write_str(value),
            Self::Flag => Ok(()),
        }
    }
}

/// What happens if the toplevel has none of a parameter's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownParameters {
    /// The build fails.
    #[default]
    Error,
    /// The build is made without the parameter, with a warning.
    Warn,
}

/// A timescale such as `1ns/1ps`: time unit and time precision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timescale {
    /// Time unit, for example `1ns`.
    pub unit: String,
    /// Time precision, for example `1ps`; not coarser than the unit.
    pub precision: String,
}

impl fmt::Display for Timescale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.unit, self.precision)
    }
}

/// One elaboration as planned: paths are absolute, globs and matrices are expanded. What variants
/// of a design have in common is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Build {
    /// Unique name in this plan.
    pub name: BuildName,
    /// The NAME of its `[build.NAME]`, as it is written there.
    pub table: String,
    /// What compiles and runs it.
    pub simulator: SimulatorName,
    /// Source files in the order the user gave them; file lists are expanded in place.
    pub sources: Arc<[Source]>,
    /// Include directories in search order.
    pub includes: Arc<[Utf8PathBuf]>,
    /// The module that is elaborated, `hdl_toplevel` in `runner.toml`.
    pub hdl_toplevel: String,
    /// Further modules that are elaborated next to it, such as `glbl`.
    pub extra_toplevels: Vec<String>,
    /// Compile-time macros.
    pub defines: BTreeMap<String, HdlValue>,
    /// Elaboration-time parameters of the toplevel.
    pub parameters: BTreeMap<String, HdlValue>,
    /// What happens to parameters that the toplevel does not have.
    pub unknown_parameters: UnknownParameters,
    /// Timescale for sources that set none.
    pub timescale: Option<Timescale>,
    /// Extra arguments for the compiler, in order.
    pub build_args: Vec<String>,
    /// Whether the design is built so that it can dump waves.
    pub waves: bool,
    /// Environment variables for the compiler, added to the inherited ones.
    pub build_env: BTreeMap<String, String>,
    /// The folder of its `runner.toml`; the compiler's working directory.
    pub project_dir: Utf8PathBuf,
    /// The steps that write files for it, each after those that it needs. Where other fields name
    /// the directory of one, they hold its marker until `step_results` are known.
    pub steps: Vec<Step>,
    /// What the steps have written, by their names; empty before they have run.
    pub step_results: BTreeMap<String, StepResult>,
    /// Files that its steps must have written because runs need them, by their markers.
    pub run_files: BTreeSet<Utf8PathBuf>,
}

impl Build {
    /// Returns the step in whose directory a path is, and the path relative to that directory.
    pub fn step_of<'a>(&self, path: &'a Utf8Path) -> Option<(&str, &'a Utf8Path)> {
        let mut results = self.step_results.iter();
        results.find_map(|(step, result)| {
            let inside = path.strip_prefix(&result.dir).ok()?;
            Some((step.as_str(), inside))
        })
    }

    /// Returns the toplevel's language: VHDL if all sources are VHDL, else Verilog.
    pub fn toplevel_language(&self) -> Language {
        let is_vhdl = |source: &Source| source.language == Language::Vhdl;
        if !self.sources.is_empty() && self.sources.iter().all(is_vhdl) {
            Language::Vhdl
        } else {
            Language::Verilog
        }
    }
}

#[cfg(test)]
impl Build {
    /// Returns a build of these sources of a project, with no settings of its own.
    pub(crate) fn plain(project_dir: &str, sources: &[&str]) -> Self {
        let project_dir = Utf8PathBuf::from(project_dir);
        let sources = sources
            .iter()
            .map(|name| Source::new(project_dir.join(name)));
        Self {
            name: BuildName("top".to_owned()),
            simulator: SimulatorName("any".to_owned()),
            sources: sources.collect(),
            includes: Vec::new().into(),
            table: "top".to_owned(),
            hdl_toplevel: "top".to_owned(),
            extra_toplevels: Vec::new(),
            defines: BTreeMap::new(),
            parameters: BTreeMap::new(),
            unknown_parameters: UnknownParameters::Error,
            timescale: None,
            build_args: Vec::new(),
            waves: false,
            build_env: BTreeMap::new(),
            run_files: BTreeSet::new(),
            steps: Vec::new(),
            step_results: BTreeMap::new(),
            project_dir,
        }
    }
}

/// A build that exists on disk and may be simulated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltDesign {
    /// The build's name in this plan.
    pub name: BuildName,
    /// What runs it.
    pub simulator: SimulatorName,
    /// The build key: 64 hex digits over everything the compiler was given and read.
    pub key: String,
    /// The directory that holds the compiled design; read-only for runs.
    pub dir: Utf8PathBuf,
    /// The file to start, which the simulator's recipe names.
    pub artifact: Utf8PathBuf,
    /// The toplevel's name, as cocotb needs it.
    pub hdl_toplevel: String,
    /// The toplevel's language, as cocotb needs it.
    pub toplevel_language: Language,
    /// Whether runs may ask for waves.
    pub waves: bool,
    /// Whether its program may contain code that is neither HDL nor the simulator's.
    pub has_foreign_code: bool,
    /// The directories of its steps, by their names, absolute.
    pub step_dirs: BTreeMap<String, Utf8PathBuf>,
}
