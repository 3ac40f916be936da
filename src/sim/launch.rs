//! The command and environment that simulate a built design with a given cocotb.

use crate::model::test::GpiUser;
use crate::sim::simulator::LaunchInput;
use crate::sim::simulator::Simulator;

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
    /// Inherited variables that would change what runs, and must be hidden.
    pub env_remove: Vec<String>,
}

/// Variables with which some cocotb selects or changes testcases; inherited from a user's shell,
/// they would make what runs differ from what is reported.
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

/// Variables that people set on the command line of `make` or of plain cocotb to change what is built
/// or run, and cocorun's equivalent.
pub const TYPED_VARIABLES: [(&str, &str); 14] = [
    ("COMPILE_ARGS", "set `build_args` in `[build.NAME]`"),
    (
        "EXTRA_ARGS",
        "set `build_args` in `[build.NAME]`, `test_args` in `[[test]]`",
    ),
    (
        "PLUSARGS",
        "give `--plusarg`, or set `plusargs` in `[[test]]`",
    ),
    (
        "SIM",
        "give `--simulator`, or set `simulator` in `runner.toml`",
    ),
    ("SIM_ARGS", "set `test_args` in `[[test]]`"),
    ("WAVES", "give `--waves`, or set `waves` in `[[test]]`"),
    ("COCOTB_MAX_FAILURES", "there is no such limit here"),
    (
        "COCOTB_PDB_ON_EXCEPTION",
        "testcases have no terminal here; see \"Debugging\" in docs/runner-toml.md",
    ),
    (
        "COCOTB_RANDOM_TEST_ORDER",
        "each testcase runs in its own process here",
    ),
    ("COCOTB_RANDOM_SEED", "give `--seed`"),
    ("COCOTB_TESTCASE", "give `--testcase`"),
    ("COCOTB_TEST_FILTER", "give a FILTER"),
    ("RANDOM_SEED", "give `--seed`"),
    ("TESTCASE", "give `--testcase`"),
];

/// Returns how to start a simulation.
pub fn launch(simulator: &dyn Simulator, input: &LaunchInput<'_>) -> Launch {
    let (program, args) = simulator.command(input);
    let env = environment(simulator, input);
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

fn environment(simulator: &dyn Simulator, input: &LaunchInput<'_>) -> BTreeMap<String, String> {
    let python = input.python;
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        env.insert(name.to_owned(), value.to_owned());
    };
    set(
        "TOPLEVEL_LANG",
        input.design.toplevel_language.cocotb_name(),
    );
    if python.cocotb.at_least(2, 0) {
        set("COCOTB_TOPLEVEL", &input.design.hdl_toplevel);
        set("PYGPI_PYTHON_BIN", python.interpreter.as_str());
        // As cocotb's own runner and Makefiles do; it decides when a write becomes visible.
        let trusts = simulator.trusts_inertial_writes();
        set(
            "COCOTB_TRUST_INERTIAL_WRITES",
            if trusts { "1" } else { "0" },
        );
    } else {
        set("TOPLEVEL", &input.design.hdl_toplevel);
        // cocotb 1.9 finds its interpreter through this name.
        set("VIRTUAL_ENV", python.prefix.as_str());
    }
    match &python.simulator_extension {
        Some(extension) if python.cocotb.at_least(2, 1) => {
            let libpython = std::iter::once(python.libpython.to_string());
            let libraries = libpython.chain(input.gpi_users.iter().map(|user| entry(user, ',')));
            // cocotb's own entry point comes last: if a library fails, Python does not start.
            let all: Vec<String> = libraries
                .chain([format!("{extension},initialize")])
                .collect();
            set("GPI_USERS", &all.join(";"));
        }
        _ => {
            set("LIBPYTHON_LOC", python.libpython.as_str());
            if !input.gpi_users.is_empty() {
                let all: Vec<String> = input.gpi_users.iter().map(|it| entry(it, ':')).collect();
                set("GPI_EXTRA", &all.join(","));
            }
        }
    }
    // The agent starts cocotb's own entry points itself; see `docs/agent.md`.
    let variable = if python.cocotb.at_least(2, 0) {
        "PYGPI_USERS"
    } else {
        "PYGPI_ENTRY_POINT"
    };
    set(variable, "cocorun_agent.boot:start");
    env
}

/// Returns a library as cocotb's GPI names it, with its function after `separator`.
fn entry(user: &GpiUser, separator: char) -> String {
    match &user.function {
        Some(function) => format!("{}{separator}{function}", user.library),
        None => user.library.to_string(),
    }
}
