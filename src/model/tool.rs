//! The tools a session uses, as values: a Python with cocotb, and simulators.

use crate::model::build::SimulatorName;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A cocotb version that is compared by release numbers only (`2.1.0.dev0` counts as 2.1.0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CocotbVersion {
    /// As cocotb prints it.
    pub text: String,
    /// Major release number.
    pub major: u32,
    /// Minor release number.
    pub minor: u32,
}

impl CocotbVersion {
    /// Reads the leading `MAJOR.MINOR` of a version; `None` if it has none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|part| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u32>().ok()
        });
        let major = numbers.next()??;
        let minor = numbers.next()??;
        Some(Self {
            text: text.to_owned(),
            major,
            minor,
        })
    }

    /// Says whether this release is at least `major.minor`.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

impl fmt::Display for CocotbVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Everything cocorun needs to know about a Python interpreter; one probe process answers it all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonEnv {
    /// The interpreter as it is started; inside the virtual environment if there is one.
    pub interpreter: Utf8PathBuf,
    /// `sys.prefix`: the virtual environment, or the installation.
    pub prefix: Utf8PathBuf,
    /// Python's own version, `3.11.7`.
    pub python_version: String,
    /// cocotb's version.
    pub cocotb: CocotbVersion,
    /// The directory of cocotb's simulator libraries (`libcocotbvpi_SIMULATOR…`).
    pub libs_dir: Utf8PathBuf,
    /// The directory of the files that cocotb ships for simulators.
    pub share_dir: Utf8PathBuf,
    /// libpython's path, which cocotb needs.
    pub libpython: Utf8PathBuf,
    /// The file of `cocotb.simulator`, the extension module (needed by cocotb 2.1's `GPI_USERS`).
    pub simulator_extension: Option<Utf8PathBuf>,
    /// Directories of the Python packages in which simulators may be installed, by package name;
    /// packages that are not installed are absent.
    pub packages: BTreeMap<String, Utf8PathBuf>,
    /// Installed distributions and their versions, by lower-case name.
    pub distributions: BTreeMap<String, String>,
}

/// A simulator that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulatorTool {
    /// Which simulator.
    pub simulator: SimulatorName,
    /// The program that compiles, absolute.
    pub compiler: Utf8PathBuf,
    /// The program that runs a compiled design, absolute; `None` if the design is a program
    /// itself, or the compiler runs it.
    pub runtime: Option<Utf8PathBuf>,
    /// Environment variables that its programs need.
    pub env: BTreeMap<String, String>,
    /// The version, as one line.
    pub version: String,
    /// Changes when the tool changes: path, size, modification time and version, digested.
    pub identity: String,
    /// Identities of other programs that affect what it compiles, by their name in messages
    /// (`C++ compiler`).
    pub helpers: BTreeMap<String, String>,
}
