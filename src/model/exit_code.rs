//! The exit codes of `cocorun`, one per class of failure. Public interface.

use serde::Serialize;

/// Why a session ended, as the number the shell sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitCode {
    /// 0: every planned testcase has a result of its own, and none of them is bad.
    Success,
    /// 1: at least one testcase failed, timed out, crashed or has no result.
    TestFailed,
    /// 2: the command line or `runner.toml` cannot be used as it is.
    Usage,
    /// 3: a build failed; testcases of other builds were still run.
    BuildFailed,
    /// 4: nothing was selected, so nothing was proved.
    NothingSelected,
    /// 5: a lock, a disk, a simulator or an interpreter let us down.
    Environment,
    /// 125: `cocorun lock` or `once` could not do its part; every other code is the command's.
    Guard,
    /// The code that the command of `cocorun lock` or `once` left with.
    Command(u8),
    /// 128+n: a signal ended the session; what had finished was reported.
    Signal(u8),
}

impl ExitCode {
    /// Returns the number for the shell, 0 to 255.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::TestFailed => 1,
            Self::Usage => 2,
            Self::BuildFailed => 3,
            Self::NothingSelected => 4,
            Self::Environment => 5,
            Self::Guard => 125,
            Self::Command(code) => code,
            Self::Signal(number) => 128_u8.saturating_add(number),
        }
    }
}
