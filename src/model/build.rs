//! A build: one elaborated flavour of a design, as the user wishes it.

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The simulators that cocorun drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Simulator {
    /// Icarus Verilog: `iverilog` compiles, `vvp` runs.
    Icarus,
    /// Verilator: the design becomes a C++ program.
    Verilator,
}

impl Simulator {
    /// Every simulator, in the order they are documented.
    pub const ALL: [Self; 2] = [Self::Icarus, Self::Verilator];

    /// Returns the name used in `runner.toml`, cocotb's own spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Icarus => "icarus",
            Self::Verilator => "verilator",
        }
    }
}

impl fmt::Display for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The full name of a build: table name, matrix values, and the simulator where there are several.
///
/// Examples: `fifo`, `fifo/DEPTH=4/WIDTH=8`, `fifo/DEPTH=4@verilator`. Unique in a plan. Never
/// empty; holds no whitespace and no `::`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildName(pub String);

impl BuildName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the `[build.NAME]` that it is a flavour of.
    pub fn table(&self) -> &str {
        self.0.split(['/', '@']).next().unwrap_or_default()
    }

    /// Returns the name made fit for one path component: letters, digits, `_`, `-`, `=`, `.`.
    ///
    /// Two names may share a result (`a/b` and `a-b`); a key beside it must tell them apart.
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
    /// True is 1, false is 0.
    Boolean(bool),
    /// A string; each simulator's backend quotes it.
    Text(String),
    /// A define without a value (`+define+NAME`). Not allowed for parameters.
    Flag,
}

impl fmt::Display for HdlValue {
    /// Writes the value as it reads in a build's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::Flag => Ok(()),
        }
    }
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

/// One elaboration as the plan wants it: paths are absolute, globs and matrices are expanded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Build {
    /// Unique name in this plan.
    pub name: BuildName,
    /// What compiles and runs it.
    pub simulator: Simulator,
    /// Source files in the order the user gave them; file lists are expanded in place.
    pub sources: Vec<Utf8PathBuf>,
    /// Include directories in search order.
    pub includes: Vec<Utf8PathBuf>,
    /// The module that is elaborated, `hdl_toplevel` in `runner.toml`.
    pub hdl_toplevel: String,
    /// Compile-time macros.
    pub defines: BTreeMap<String, HdlValue>,
    /// Elaboration-time parameters of the toplevel.
    pub parameters: BTreeMap<String, HdlValue>,
    /// Timescale for sources that state none.
    pub timescale: Option<Timescale>,
    /// Further arguments for the compiler, in order.
    pub build_args: Vec<String>,
    /// Whether the design is built so that it can write waves.
    pub waves: bool,
    /// Environment for the compiler, beside the inherited one.
    pub build_env: BTreeMap<String, String>,
    /// The folder of `runner.toml`; the compiler's working directory.
    pub project_dir: Utf8PathBuf,
}

/// A build that exists on disk and may be simulated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltDesign {
    /// The build's name in this plan.
    pub name: BuildName,
    /// What runs it.
    pub simulator: Simulator,
    /// The build key: 64 hex digits over everything the compiler was given and read.
    pub key: String,
    /// The directory that holds the compiled design; read-only for runs.
    pub dir: Utf8PathBuf,
    /// The file to start: `sim.vvp` for Icarus, the program for Verilator.
    pub artifact: Utf8PathBuf,
    /// The toplevel's name, as cocotb needs it.
    pub hdl_toplevel: String,
    /// Whether runs may ask for waves.
    pub waves: bool,
}
