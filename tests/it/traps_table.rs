//! The tables of `tests/traps/README.md` as data: which verdicts are right.

/// A simulator and a version of cocotb.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// `icarus` or `verilator`.
    pub(crate) simulator: &'static str,
    /// `1.9.2`, `2.0.1` or `2.1.0`.
    pub(crate) cocotb: &'static str,
}

impl Target {
    fn is_verilator(self) -> bool {
        self.simulator == "verilator"
    }

    fn is_cocotb_1(self) -> bool {
        self.cocotb.starts_with("1.")
    }

    fn is_cocotb_2_0(self) -> bool {
        self.cocotb.starts_with("2.0.")
    }
}

/// Outcomes of which any is right, as the events spell them.
pub(crate) type Right = &'static [&'static str];

/// Which outcomes are right where.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    /// The same everywhere.
    Always(Right),
    /// It depends, in truth, on the simulator or on cocotb.
    On(fn(Target) -> Right),
}

impl Rule {
    /// Returns the outcomes of which any is right on a target.
    pub(crate) fn on(self, target: Target) -> Right {
        match self {
            Self::Always(right) => right,
            Self::On(rule) => rule(target),
        }
    }
}

/// The testcases of a module.
pub(crate) enum Testcases {
    /// Their names, each with its rule. A name may stand here twice.
    Named(&'static [(&'static str, Rule)]),
    /// `test_000` and so on, that many, all failed.
    Failing(usize),
    /// As `Named`, but with cocotb 1.9 the module cannot be imported.
    NamedFrom2(&'static [(&'static str, Rule)]),
}

/// A module of `tests/traps`.
pub(crate) struct Trap {
    /// Its name.
    pub(crate) module: &'static str,
    /// What must be reported of it.
    pub(crate) testcases: Testcases,
}

impl Trap {
    /// Returns every result that must be reported on a target, with the outcomes that are right.
    pub(crate) fn on(&self, target: Target) -> Vec<(String, Right)> {
        match self.testcases {
            Testcases::NamedFrom2(_) if target.is_cocotb_1() => {
                vec![(MODULE.to_owned(), ERRORED_RIGHT)]
            }
            Testcases::Named(named) | Testcases::NamedFrom2(named) => with_names(named, target),
            Testcases::Failing(count) => (0..count)
                .map(|number| (format!("test_{number:03}"), FAILED_RIGHT))
                .collect(),
        }
    }
}

fn with_names(named: &[(&str, Rule)], target: Target) -> Vec<(String, Right)> {
    named
        .iter()
        .map(|(name, rule)| ((*name).to_owned(), rule.on(target)))
        .collect()
}

const ERRORED_RIGHT: Right = &["errored"];
const FAILED_RIGHT: Right = &["failed"];
const FAILED_OR_ERRORED_RIGHT: Right = &["failed", "errored"];

const PASSED: Rule = Rule::Always(&["passed"]);
const FAILED: Rule = Rule::Always(FAILED_RIGHT);
const ERRORED: Rule = Rule::Always(ERRORED_RIGHT);
const TIMED_OUT: Rule = Rule::Always(&["timed-out"]);
const SKIPPED: Rule = Rule::Always(&["skipped"]);
const PASSED_OR_ERRORED: Rule = Rule::Always(&["passed", "errored"]);
const PASSED_OR_TIMED_OUT: Rule = Rule::Always(&["passed", "timed-out"]);
const FAILED_OR_ERRORED: Rule = Rule::Always(FAILED_OR_ERRORED_RIGHT);

/// Verilator's program leaves with 1 at once; cocotb 1.9 is told nothing then.
const FAILED_BY_HDL: Rule = Rule::On(|target| {
    if target.is_verilator() && target.is_cocotb_1() {
        FAILED_OR_ERRORED_RIGHT
    } else {
        FAILED_RIGHT
    }
});
/// As above, for what is meant to happen.
const PASSED_BY_FATAL: Rule = Rule::On(|target| {
    if target.is_verilator() && target.is_cocotb_1() {
        ERRORED_RIGHT
    } else {
        &["passed"]
    }
});
/// `$error` ends the simulation on Verilator only.
const PASSED_BY_ERROR: Rule = Rule::On(|target| {
    if target.is_verilator() {
        PASSED_BY_FATAL.on(target)
    } else {
        FAILED_RIGHT
    }
});
/// Verilator goes on for one more time step, in which cocotb 2.x sees the testcase end.
const FINISHED_AT_THE_END: Rule = Rule::On(|target| {
    if target.is_verilator() && !target.is_cocotb_1() {
        &["passed", "failed"]
    } else {
        FAILED_RIGHT
    }
});
/// cocotb 2.0 takes an exception that means to end the process for a failure.
const ENDED_BY_PYTHON: Rule = Rule::On(|target| {
    if target.is_cocotb_2_0() {
        FAILED_OR_ERRORED_RIGHT
    } else {
        ERRORED_RIGHT
    }
});
/// cocotb 1.9 and 2.0 take the debugger's exception for a failure.
const ENDED_BY_DEBUGGER: Rule = Rule::On(|target| {
    if target.is_cocotb_2_0() || target.is_cocotb_1() {
        FAILED_OR_ERRORED_RIGHT
    } else {
        ERRORED_RIGHT
    }
});

/// Stands for a module whose testcases cannot be listed.
pub(crate) const MODULE: &str = "(module)";
const BEFORE: (&str, Rule) = ("test_before", PASSED);
const AFTER: (&str, Rule) = ("test_after", PASSED);

const fn named(module: &'static str, testcases: &'static [(&'static str, Rule)]) -> Trap {
    Trap {
        module,
        testcases: Testcases::Named(testcases),
    }
}

/// Every module, in the order of the tables.
pub(crate) const TRAPS: &[Trap] = &[
    named("honest", &[("test_passes", PASSED), ("test_fails", FAILED)]),
    // The module itself.
    named("trap_import_error", &[(MODULE, ERRORED)]),
    named("trap_syntax_error", &[(MODULE, ERRORED)]),
    named("trap_no_testcases", &[(MODULE, ERRORED)]),
    named("trap_empty_parametrize", &[(MODULE, ERRORED)]),
    named("trap_not_a_coroutine", &[("test_trap", FAILED_OR_ERRORED)]),
    named("trap_system_exit_at_import", &[(MODULE, ERRORED)]),
    named("trap_os_exit_at_import", &[(MODULE, ERRORED)]),
    named("trap_hang_at_import", &[(MODULE, TIMED_OUT)]),
    // The HDL.
    named("trap_hdl_finish", &[BEFORE, ("test_trap", FAILED), AFTER]),
    named(
        "trap_hdl_finish_at_the_end",
        &[BEFORE, ("test_trap", FINISHED_AT_THE_END), AFTER],
    ),
    named(
        "trap_hdl_fatal",
        &[BEFORE, ("test_trap", FAILED_BY_HDL), AFTER],
    ),
    named(
        "trap_hdl_stop",
        &[BEFORE, ("test_trap", FAILED_BY_HDL), AFTER],
    ),
    named(
        "trap_hdl_error",
        &[BEFORE, ("test_trap", FAILED_BY_HDL), AFTER],
    ),
    named(
        "trap_hdl_zero_delay_loop",
        &[BEFORE, ("test_trap", TIMED_OUT), AFTER],
    ),
    // Time.
    named(
        "trap_no_events_left",
        &[BEFORE, ("test_trap", FAILED), AFTER],
    ),
    named(
        "clocked_trap_endless_simulated_time",
        &[BEFORE, ("test_trap", TIMED_OUT), AFTER],
    ),
    named(
        "trap_simulated_timeout",
        &[BEFORE, ("test_trap", FAILED), AFTER],
    ),
    named(
        "trap_raised_timeout",
        &[BEFORE, ("test_trap", FAILED), AFTER],
    ),
    // The process.
    named(
        "trap_sys_exit_0",
        &[BEFORE, ("test_trap", ENDED_BY_PYTHON), AFTER],
    ),
    named(
        "trap_sys_exit_4",
        &[BEFORE, ("test_trap", ENDED_BY_PYTHON), AFTER],
    ),
    named(
        "trap_keyboard_interrupt",
        &[BEFORE, ("test_trap", ENDED_BY_PYTHON), AFTER],
    ),
    named(
        "trap_breakpoint",
        &[BEFORE, ("test_trap", ENDED_BY_DEBUGGER), AFTER],
    ),
    named("trap_reads_stdin", &[BEFORE, ("test_trap", PASSED), AFTER]),
    named("trap_os_exit_0", &[BEFORE, ("test_trap", ERRORED), AFTER]),
    named("trap_segfault", &[BEFORE, ("test_trap", ERRORED), AFTER]),
    named("trap_sigkill", &[BEFORE, ("test_trap", ERRORED), AFTER]),
    named(
        "trap_python_loop",
        &[BEFORE, ("test_trap", TIMED_OUT), AFTER],
    ),
    named(
        "trap_sleep_ignoring_sigterm",
        &[BEFORE, ("test_trap", TIMED_OUT), AFTER],
    ),
    named(
        "trap_exit_status_after_results",
        &[
            ("test_before", PASSED_OR_ERRORED),
            ("test_trap", PASSED_OR_ERRORED),
        ],
    ),
    named(
        "trap_thread_never_ends",
        &[BEFORE, ("test_trap", PASSED_OR_TIMED_OUT)],
    ),
    named("trap_leaves_daemon", &[("test_trap", PASSED)]),
    named(
        "trap_multiprocessing",
        &[("test_trap", PASSED), ("test_fails", FAILED)],
    ),
    named(
        "trap_closes_all_files",
        &[BEFORE, ("test_trap", PASSED_OR_ERRORED)],
    ),
    // What testcases say of themselves.
    named(
        "trap_expect_fail",
        &[
            ("test_fails_as_expected", PASSED),
            ("test_raises_instead", FAILED),
            ("test_passes_instead", FAILED),
        ],
    ),
    named(
        "trap_expect_error",
        &[
            ("test_raises_as_expected", PASSED),
            ("test_raises_another", FAILED),
            ("test_passes_instead", FAILED),
        ],
    ),
    named(
        "trap_expects_the_end",
        &[
            BEFORE,
            ("test_fatal", PASSED_BY_FATAL),
            ("test_finish", PASSED),
            ("test_error", PASSED_BY_ERROR),
            ("test_fatal_is_no_failure", FAILED_OR_ERRORED),
            ("test_own", PASSED),
            ("test_status_after_own", ERRORED),
            ("test_status_after_finish", ERRORED),
            AFTER,
        ],
    ),
    named("trap_skip", &[BEFORE, ("test_trap", SKIPPED), AFTER]),
    named("trap_passes_early", &[BEFORE, ("test_trap", PASSED), AFTER]),
    named(
        "trap_background_exception",
        &[BEFORE, ("test_trap", FAILED), AFTER],
    ),
    named(
        "trap_logging_disabled",
        &[BEFORE, ("test_trap", FAILED), AFTER],
    ),
    // Names and numbers.
    named(
        "trap_duplicate_names",
        &[("test_same", PASSED), ("test_same", FAILED)],
    ),
    named(
        "trap_suffix_names",
        &[
            ("test_a", PASSED),
            ("my_test_a", FAILED),
            ("test_a_b", FAILED),
        ],
    ),
    Trap {
        module: "trap_parametrize",
        testcases: Testcases::NamedFrom2(&[
            ("test_trap/number=1/text=0", PASSED),
            ("test_trap/number=1/text=1", PASSED),
            ("test_trap/number=-2/text=0", FAILED),
            ("test_trap/number=-2/text=1", FAILED),
        ]),
    },
    named(
        "trap_test_factory",
        &[
            ("run_001", PASSED),
            ("run_002", PASSED),
            ("run_003", FAILED),
        ],
    ),
    Trap {
        module: "trap_256_failures",
        testcases: Testcases::Failing(256),
    },
    Trap {
        module: "trap_300_failures",
        testcases: Testcases::Failing(300),
    },
    // Files and output.
    named(
        "trap_removes_results",
        &[BEFORE, ("test_trap", PASSED_OR_ERRORED)],
    ),
    named(
        "trap_fakes_results",
        &[BEFORE, ("test_trap", ERRORED), ("test_after_fails", FAILED)],
    ),
    named(
        "trap_fakes_output",
        &[("test_trap", ERRORED), ("test_after_fails", FAILED)],
    ),
    named("trap_ugly_message", &[("test_trap", FAILED), AFTER]),
    named(
        "trap_huge_output",
        &[("test_trap", PASSED), ("test_trap_fails", FAILED), AFTER],
    ),
    named(
        "trap_changes_directory",
        &[BEFORE, ("test_trap", PASSED), AFTER],
    ),
    named(
        "trap_removes_directory",
        &[BEFORE, ("test_trap", PASSED_OR_ERRORED)],
    ),
];
