//! Every key of `runner.toml`, by table, and the names that people use instead.
//!
//! One list, so that a misspelt key, a key in the wrong table and the reference page agree.

use crate::model::build::SimulatorName;

/// The kinds of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Top,
    Include,
    Python,
    Build,
    Simulator,
    Step,
    /// `{ sv = "…" }`.
    Sv,
    Test,
    TestVariant,
}

/// The keys of `[build.NAME]`, besides tables named after simulators.
const BUILD_KEYS: &[&str] = &[
    "build_args",
    "defines",
    "env",
    "exclude",
    "extra_toplevels",
    "hdl_toplevel",
    "include",
    "includes",
    "matrix",
    "needs",
    "parameters",
    "prepare",
    "prepare_inputs",
    "simulator",
    "sources",
    "timescale",
    "unknown_parameters",
    "variables",
    "variants",
    "waves",
];

impl Table {
    const ALL: [Self; 9] = [
        Self::Top,
        Self::Include,
        Self::Python,
        Self::Build,
        Self::Simulator,
        Self::Step,
        Self::Sv,
        Self::Test,
        Self::TestVariant,
    ];

    /// Returns the keys that this table takes, besides tables named after simulators.
    fn own_keys(self) -> &'static [&'static str] {
        match self {
            Self::Top => &[
                "build",
                "build_dir",
                "build_timeout_s",
                "fork",
                "include",
                "isolation",
                "jobs",
                "lock_timeout_s",
                "param_env",
                "python",
                "session_timeout_s",
                "simulator",
                "step",
                "strict_file_lists",
                "test",
                "timeout_s",
            ],
            Self::Include => &["file", "prefix"],
            Self::Python => &["interpreter", "paths", "requirements"],
            Self::Build => BUILD_KEYS,
            Self::Step => &["command", "env", "inputs", "needs", "outputs", "timeout_s"],
            Self::Simulator => &[
                "build_args",
                "defines",
                "extra_toplevels",
                "includes",
                "parameters",
                "sources",
            ],
            Self::Sv => &["sv"],
            Self::Test => &[
                "build",
                "checkpoint",
                "cwd",
                "env",
                "fail_on_hdl_error",
                "fork",
                "gpi_users",
                "isolation",
                "matrix",
                "name",
                "param_env",
                "paths",
                "plusargs",
                "preload",
                "pygpi_users",
                "run_files",
                "seed",
                "skip_testcase",
                "test_args",
                "test_module",
                "testcase",
                "timeout_s",
                "variants",
                "vpi_libraries",
                "waves",
            ],
            Self::TestVariant => &["env", "plusargs", "seed"],
        }
    }

    /// Returns every key that this table takes, sorted, where these simulators are known.
    pub(super) fn keys(self, simulators: &[SimulatorName]) -> Vec<&str> {
        let mut keys = self.own_keys().to_vec();
        if self == Self::Build {
            keys.extend(simulators.iter().map(SimulatorName::as_str));
            keys.sort_unstable();
        }
        keys
    }

    /// Returns how the table is written.
    fn header(self) -> &'static str {
        match self {
            Self::Top => "the top level, above all `[tables]`",
            Self::Include => "an entry of `include`",
            Self::Python => "`[python]`",
            Self::Build => "`[build.NAME]`",
            Self::Simulator => "`[build.NAME.SIMULATOR]`",
            Self::Step => "`[step.NAME]`",
            Self::Sv => "the value of a parameter",
            Self::Test => "`[[test]]`",
            Self::TestVariant => "`variants` and `matrix` of `[[test]]`",
        }
    }
}

/// Names the first table that takes a key.
pub(super) fn home_of(key: &str, simulators: &[SimulatorName]) -> Option<&'static str> {
    Table::ALL
        .iter()
        .find(|table| table.keys(simulators).contains(&key))
        .map(|table| table.header())
}

/// Returns the key for a name that cocotb's makefiles, other runners or habit use instead.
pub(super) fn known_as(key: &str) -> Option<&'static str> {
    let known = match key.to_lowercase().replace('-', "_").as_str() {
        "toplevel" | "top" | "top_module" | "cocotb_toplevel" => "hdl_toplevel",
        "module" | "modules" | "test_modules" | "cocotb_test_modules" => "test_module",
        "verilog_sources" | "files" | "source" => "sources",
        "include" | "include_dirs" | "incdirs" | "verilog_include_dirs" => "includes",
        "extra_env" | "environment" => "env",
        "extra_args" | "compile_args" => "build_args",
        "sim_args" => "test_args",
        "sim" | "simulators" => "simulator",
        "sim_build" => "build_dir",
        "vpi" | "vpi_modules" | "vpi_libs" | "vpi_library" => "vpi_libraries",
        "gpi_user" | "gpi_extra" => "gpi_users",
        "pygpi_user" | "pygpi_entry_point" | "entry_points" => "pygpi_users",
        "testcases" | "cocotb_testcase" | "tests_to_run" => "testcase",
        "skip" | "skip_testcases" | "exclude" => "skip_testcase",
        "workdir" | "working_dir" | "working_directory" | "run_dir" => "cwd",
        "timeout" => "timeout_s",
        "session_timeout" => "session_timeout_s",
        "build_timeout" => "build_timeout_s",
        "lock_timeout" => "lock_timeout_s",
        "random_seed" | "cocotb_random_seed" => "seed",
        "members" | "subprojects" => "include",
        "builds" => "build",
        "tests" => "test",
        "steps" => "step",
        "cmd" | "commands" => "command",
        "depends" | "depends_on" => "needs",
        "generics" | "params" => "parameters",
        "pythonpath" | "path" => "paths",
        "requires" | "dependencies" => "requirements",
        _ => return None,
    };
    Some(known)
}

/// Lists names for a sentence: `` `a`, `b` and `c` ``.
pub(super) fn in_words(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sim::registry::Registry;

    #[test]
    fn every_alias_leads_to_a_key_that_exists() {
        for alias in ["toplevel", "MODULE", "sim", "timeout", "tests", "Build-Dir"] {
            if let Some(key) = known_as(alias) {
                assert!(
                    home_of(key, &[]).is_some(),
                    "`{alias}` suggests `{key}`, which is not a key"
                );
            }
        }
    }

    #[test]
    fn the_reference_page_describes_every_key() {
        let page = include_str!("../../docs/runner-toml.md");
        for table in Table::ALL {
            for key in table.keys(&Registry::builtin().names()) {
                assert!(
                    page.contains(&format!("`{key}`")),
                    "`{key}` is not in docs/runner-toml.md"
                );
            }
        }
    }
}
