//! From a built design to the command and environment that simulate it under a given cocotb.

use crate::model::build::BuiltDesign;
use crate::model::build::Simulator;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;

/// What a simulation is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program.
    pub program: Utf8PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set.
    pub env: BTreeMap<String, String>,
    /// Inherited variables that would change what runs, and must not be seen.
    pub env_remove: Vec<String>,
}

/// What one simulation needs to know.
#[derive(Clone, Copy, Debug)]
pub struct LaunchInput<'a> {
    /// The compiled design.
    pub design: &'a BuiltDesign,
    /// The simulator.
    pub tool: &'a SimulatorTool,
    /// The Python environment.
    pub python: &'a PythonEnv,
    /// Further simulator arguments.
    pub test_args: &'a [String],
    /// With the leading `+`.
    pub plusargs: &'a [String],
    /// The wave file to write, if any.
    pub waves: Option<&'a Utf8Path>,
}

/// Selects or changes testcases in some cocotb; inherited from a user's shell it would make
/// cocorun run something else than it reports.
const STRAY_VARIABLES: [&str; 24] = [
    "COCOTB_LIST_TESTS",
    "COCOTB_MAX_FAILURES",
    "COCOTB_PDB_ON_EXCEPTION",
    "COCOTB_PYTEST_ARGS",
    "COCOTB_PYTEST_REPORTER_ADDRESS",
    "COCOTB_RANDOM_SEED",
    "COCOTB_RANDOM_TEST_ORDER",
    "COCOTB_RESULTS_ATTACHMENTS",
    "COCOTB_RESULTS_RELATIVE_TO",
    "COCOTB_TESTCASE",
    "COCOTB_TEST_FILTER",
    "COCOTB_TEST_MODULES",
    "COCOTB_TOPLEVEL",
    "GPI_EXTRA",
    "GPI_USERS",
    "GUI",
    "MODULE",
    "PYGPI_ENTRY_POINT",
    "PYGPI_USERS",
    "PYTEST_CURRENT_TEST",
    "PYTHONHOME",
    "RANDOM_SEED",
    "TESTCASE",
    "TOPLEVEL",
];

/// Those of them that are typed before a command to run something else than usual, and what says the
/// same to cocorun.
pub const TYPED_VARIABLES: [(&str, &str); 8] = [
    ("COCOTB_MAX_FAILURES", "there is no such limit here"),
    (
        "COCOTB_PDB_ON_EXCEPTION",
        "testcases have no terminal here; see \"Debugging\" in docs/runner-toml.md",
    ),
    (
        "COCOTB_RANDOM_TEST_ORDER",
        "testcases have processes of their own here",
    ),
    ("COCOTB_RANDOM_SEED", "give `--seed`"),
    ("COCOTB_TESTCASE", "give `--testcase`"),
    ("COCOTB_TEST_FILTER", "give a FILTER"),
    ("RANDOM_SEED", "give `--seed`"),
    ("TESTCASE", "give `--testcase`"),
];

/// Returns how to start a simulation.
pub fn launch(input: LaunchInput<'_>) -> Launch {
    let (program, args) = match input.design.simulator {
        Simulator::Icarus => icarus_command(input),
        Simulator::Verilator => verilator_command(input),
    };
    let env = environment(input);
    let env_remove = STRAY_VARIABLES
        .into_iter()
        .filter(|name| !env.contains_key(*name))
        .map(str::to_owned)
        .collect();
    Launch {
        program,
        args,
        env,
        env_remove,
    }
}

fn icarus_command(input: LaunchInput<'_>) -> (Utf8PathBuf, Vec<String>) {
    let libs = &input.python.libs_dir;
    // Without -n, `$stop` and SIGINT open a prompt that waits for ever, or goes on at its end.
    let mut args = vec!["-n".to_owned()];
    if input.python.cocotb.at_least(2, 1) {
        args.extend([
            "-m".to_owned(),
            libs.join("libcocotbvpi_icarus.so").to_string(),
        ]);
    } else {
        args.extend(["-M".to_owned(), libs.to_string()]);
        args.extend(["-m".to_owned(), "libcocotbvpi_icarus".to_owned()]);
    }
    args.push(input.design.artifact.to_string());
    // `-fst` and `-none` are read by vvp's system tasks, so they stand behind the design.
    args.push(
        if input.waves.is_some() {
            "-fst"
        } else {
            "-none"
        }
        .to_owned(),
    );
    if let Some(waves) = input.waves {
        // `$value$plusargs` of Icarus 11 loses what is not ASCII. The file stands in the folder that
        // vvp starts in; the whole path is better where it can be had, since a testcase may leave.
        let told = match waves.file_name() {
            Some(name) if !waves.as_str().is_ascii() => name,
            _ => waves.as_str(),
        };
        args.push(format!("+dumpfile_path={told}"));
    }
    args.extend(input.test_args.iter().cloned());
    args.extend(input.plusargs.iter().cloned());
    let runtime = input
        .tool
        .runtime
        .clone()
        .unwrap_or_else(|| Utf8PathBuf::from("vvp"));
    (runtime, args)
}

fn verilator_command(input: LaunchInput<'_>) -> (Utf8PathBuf, Vec<String>) {
    let mut args = Vec::new();
    if let Some(waves) = input.waves {
        args.extend([
            "--trace".to_owned(),
            "--trace-file".to_owned(),
            waves.to_string(),
        ]);
    }
    args.extend(input.test_args.iter().cloned());
    args.extend(input.plusargs.iter().cloned());
    (input.design.artifact.clone(), args)
}

fn environment(input: LaunchInput<'_>) -> BTreeMap<String, String> {
    let python = input.python;
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        env.insert(name.to_owned(), value.to_owned());
    };
    set("TOPLEVEL_LANG", "verilog");
    if python.cocotb.at_least(2, 0) {
        set("COCOTB_TOPLEVEL", &input.design.hdl_toplevel);
        set("PYGPI_PYTHON_BIN", python.interpreter.as_str());
        // cocotb's own runner and Makefiles do so; it decides when a write becomes visible.
        let trusts_inertial = input.design.simulator == Simulator::Verilator;
        set(
            "COCOTB_TRUST_INERTIAL_WRITES",
            if trusts_inertial { "1" } else { "0" },
        );
    } else {
        set("TOPLEVEL", &input.design.hdl_toplevel);
        // cocotb 1.9 finds its interpreter through this name.
        set("VIRTUAL_ENV", python.prefix.as_str());
    }
    match &python.simulator_extension {
        Some(extension) if python.cocotb.at_least(2, 1) => {
            set(
                "GPI_USERS",
                &format!("{};{extension},initialize", python.libpython),
            );
        }
        _ => set("LIBPYTHON_LOC", python.libpython.as_str()),
    }
    // The agent starts cocotb's own entry points itself; see `docs/agent.md`.
    let entry = if python.cocotb.at_least(2, 0) {
        "PYGPI_USERS"
    } else {
        "PYGPI_ENTRY_POINT"
    };
    set(entry, "cocorun_agent.boot:start");
    env
}
