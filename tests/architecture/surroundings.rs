//! Tests see nothing of whoever runs them: `tests/surroundings` starts each program of tests.

use super::repository;

use std::env;
use std::path::Path;

#[test]
fn tests_see_neither_the_variables_nor_the_optional_programs_of_whoever_runs_them() {
    let marked = env::var_os("COCORUN_TEST_SURROUNDINGS");
    assert_eq!(
        marked.as_deref().map(Path::new),
        Some(repository()),
        "start tests with cargo, which puts tests/surroundings before them"
    );
    for name in [
        "CONDA_PREFIX",
        "CXX",
        "MAKEFLAGS",
        "OBJCACHE",
        "PYTHONPATH",
        "TESTCASE",
        "VERILATOR_ROOT",
        "VIRTUAL_ENV",
    ] {
        assert_eq!(env::var_os(name), None, "{name}");
    }
    for name in [
        "ccache",
        "sccache",
        "uv",
        "virtualenv",
        "verilator",
        "conda",
    ] {
        assert_eq!(which::which(name).ok(), None, "{name}");
    }
}
