//! What a run may be given from outside: plusargs and environment variables.

/// Returns a plusarg with its leading `+`, which may be left out; `None` if it has no name.
pub fn plusarg(text: &str) -> Option<String> {
    let name = text.strip_prefix('+').unwrap_or(text);
    (!name.is_empty() && !name.starts_with(['=', '+'])).then(|| format!("+{name}"))
}

/// Returns what to do instead of setting a variable that cocorun sets for every simulation.
pub fn refused_variable(name: &str) -> Option<String> {
    let instead = match name {
        "COCOTB_TESTCASE" | "TESTCASE" | "COCOTB_TEST_FILTER" => {
            "name testcases on the command line, such as `--testcase NAME`"
        }
        "COCOTB_TEST_MODULES" | "MODULE" => "use `test_module`, or `--module` on the command line",
        "COCOTB_RANDOM_SEED" | "RANDOM_SEED" => "use `seed`, or `--seed` on the command line",
        "COCOTB_TOPLEVEL" | "TOPLEVEL" => "use `hdl_toplevel` of the build",
        "COCOTB_TRUST_INERTIAL_WRITES"
        | "TOPLEVEL_LANG"
        | "PYGPI_ENTRY_POINT"
        | "PYGPI_PYTHON_BIN"
        | "LIBPYTHON_LOC"
        | "PYTHONHOME"
        | "VIRTUAL_ENV" => "remove it; `interpreter` in `[python]` chooses the Python",
        "GPI_EXTRA" | "GPI_USERS" => "use `gpi_users` in this `[[test]]`",
        "PYGPI_USERS" => "use `pygpi_users` in this `[[test]]`",
        "PYTHONPATH" => "use `paths` in this `[[test]]`",
        "COCOTB_RESULTS_FILE" | "PYTHONDONTWRITEBYTECODE" | "PYTHONPYCACHEPREFIX" => "remove it",
        _ if name.starts_with("COCORUN_") => "remove it",
        _ => return None,
    };
    Some(instead.to_owned())
}
