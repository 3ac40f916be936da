//! The exit codes of `cocorun`, one per class of failure. Public interface.

/// How a session ended, as the number that the shell sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitCode {
    /// 0: every planned testcase has its own result, and none of them is bad.
    Success,
    /// 1: at least one testcase failed, timed out, crashed or has no result.
    TestFailed,
    /// 2: the command line or `runner.toml` is invalid.
    Usage,
    /// 3: a build failed; testcases of other builds were still run.
    BuildFailed,
    /// 4: nothing was selected, or less than was asked for by name.
    NothingSelected,
    /// 5: environment failure: lock, disk, simulator or interpreter.
    Environment,
    /// 125: `cocorun lock` or `once` failed itself; any other exit code is the command's.
    Guard,
    /// The exit code of the command of `cocorun lock` or `once`.
    Command(u8),
    /// 128+n: a signal ended the session; finished testcases were reported.
    Signal(u8),
}

impl ExitCode {
    /// Returns the exit code of a session with this number; `None` if no session ends with it.
    pub fn of_session(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Success),
            1 => Some(Self::TestFailed),
            2 => Some(Self::Usage),
            3 => Some(Self::BuildFailed),
            4 => Some(Self::NothingSelected),
            5 => Some(Self::Environment),
            129.. => Some(Self::Signal(number - 128)),
            _ => None,
        }
    }

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
