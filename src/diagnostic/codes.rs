//! The list of diagnostic codes: one table from which names, exit codes and `cocorun explain` come.

use crate::model::exit_code::ExitCode;

macro_rules! codes {
    ($( $variant:ident, $name:literal, $exit:ident, $text:literal; )*) => {
        /// A stable name for one kind of problem. Public interface; never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $( #[doc = $text] $variant, )*
        }

        impl Code {
            /// Every code, in the order they are documented.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// Returns the name, `area::what`.
            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }

            /// Returns the exit code of a session that this problem ends.
            pub fn exit_code(self) -> ExitCode {
                match self { $( Self::$variant => ExitCode::$exit, )* }
            }

            /// Returns the paragraph that `cocorun explain` prints.
            pub fn explanation(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }
    };
}

codes! {
    ConfigNotFound, "config::not-found", Usage, "No `runner.toml` stands in the current folder or in any above it, or the one named with `--config` does not exist. cocorun takes everything it does from that file.";
    ConfigUnreadable, "config::unreadable", Usage, "`runner.toml` exists but cannot be read: permissions, a directory of that name, or bytes that are not UTF-8.";
    ConfigSyntax, "config::syntax", Usage, "The text is not TOML. Strings need quotes, tables need brackets; the caret shows where reading stopped making sense.";
    ConfigUnknownKey, "config::unknown-key", Usage, "A table holds a key that cocorun does not know. It is refused, because a misspelt key that is ignored changes what is tested without a word.";
    ConfigWrongType, "config::wrong-type", Usage, "A key has a value of another type than it takes, for example a number where a list of strings belongs.";
    ConfigBadValue, "config::bad-value", Usage, "A key has a value of the right type that makes no sense there: an empty name, a limit of zero, a timescale whose precision is coarser than its unit.";
    ConfigMissingKey, "config::missing-key", Usage, "A key without which the table means nothing is absent.";
    ConfigUnknownSimulator, "config::unknown-simulator", Usage, "cocorun drives `icarus` and `verilator`; the names are cocotb's.";
    ConfigDuplicateName, "config::duplicate-name", Usage, "Two builds end up with one name, or one module is planned twice on one build by tables that differ.";
    ConfigUnknownBuild, "config::unknown-build", Usage, "A `[[test]]` or the command line names a build that `runner.toml` does not define.";
    ConfigEmptyGlob, "config::empty-glob", Usage, "A pattern matches no file. A source list that shrinks without a word compiles another design than you mean.";
    ConfigMissingFile, "config::missing-file", Usage, "A file or directory that `runner.toml` names does not exist.";
    ConfigNonUtf8Path, "config::non-utf8-path", Usage, "A path has bytes that are not UTF-8. Paths go into TOML, JSON, XML and the environment, where such a name cannot be written.";
    ConfigFileList, "config::file-list", Usage, "A `.f` file list cannot be followed: it is missing, includes itself, or holds an option that cocorun does not know.";
    UsageBadArgument, "usage::bad-argument", Usage, "A command-line value cannot be used.";
    NothingSelected, "select::nothing", NothingSelected, "The filters leave no testcase. A session that runs nothing proves nothing, so it does not end with 0.";
    SelectVariable, "select::variable", Usage, "A variable is set by which cocotb alone, called by its Makefiles or its runner, selects testcases, draws a seed or stops early. cocorun hides it from the simulator, since it would run something else than is reported. The message names the option that does the same; unset the variable, or give the option.";
    PythonNotFound, "python::not-found", Environment, "The interpreter does not exist or does not start. It is taken from `[python] interpreter`, else `$VIRTUAL_ENV`, else `python3` on PATH.";
    PythonNoCocotb, "python::no-cocotb", Environment, "The interpreter starts but cannot import cocotb. Install it there, or let cocorun make an environment with `[python] requirements`.";
    PythonUnsupportedCocotb, "python::unsupported-cocotb", Environment, "This cocotb is older than 1.9, or lacks a part that cocorun needs; the message says which.";
    PythonNoLibpython, "python::no-libpython", Environment, "The simulator embeds Python through its shared library, and none was found for this interpreter. Debian has it in `libpython3-dev`, conda and uv bring it along, a static build of Python cannot be embedded.";
    PythonProvision, "python::provision", Environment, "Making the environment of `[python] requirements` failed; the log holds what the installer said.";
    ToolNotFound, "tool::not-found", Environment, "A simulator is not installed. cocorun looks on PATH, for Verilator also in `$VERILATOR_ROOT` and in the `verilator` package of the Python environment.";
    ToolBroken, "tool::broken", Environment, "A tool was found, but this user may not start it, or it does not answer when it is asked for its version.";
    BuildCompile, "build::compile", BuildFailed, "The compiler refused the design. Its first complaints are shown, the log has them all. Testcases of other builds still run; those of this one are reported as errored.";
    BuildNoArtifact, "build::no-artifact", BuildFailed, "The compiler said success, but the file it should have made is not there.";
    BuildNotBuilt, "build::not-built", BuildFailed, "`--assume-built` was given, and the build directory holds no result that fits the sources, parameters and tools of this build. With that option cocorun neither compiles nor waits for somebody who does.";
    BuildTimeout, "build::timeout", BuildFailed, "The compiler ran longer than `build_timeout_s` and was stopped with its children.";
    BuildSourcesChanged, "build::sources-changed", BuildFailed, "A source changed while it was being compiled, several times in a row. The result would carry the wrong key, so it was not published.";
    LockTimeout, "lock::timeout", Environment, "Another process holds the guard of a build and did not finish in time. cocorun never builds beside it; raise the limit, or look at the holder named in the message.";
    LockStorage, "lock::storage", Environment, "The file system under the build directory refused an operation the guard needs.";
    LockStrategy, "lock::strategy", Environment, "A way of locking cannot work in this directory: its operations fail there, exclude nobody, or the mount keeps such locks on one node. cocorun refuses it rather than lock in appearance. Leave `--strategy` out, so that the file system decides.";
    LockLost, "lock::lost", Environment, "The lock was taken over while the command ran: somebody took it away with `cocorun locks break`, or this process gave no sign of life for the whole stale time-out because of a frozen node or a long cut of the network. The command was killed if it still ran, and nothing it made for `--target` was published; whatever else it did may have been done beside the next holder.";
    LockNoOutput, "lock::no-output", Environment, "The command ended with 0 but left no regular file under the private name that `cocorun lock --target` had put in place of the target's. Nothing was published.";
    LockTarget, "lock::target", Usage, "The command of `cocorun lock --target=OUT` does not name OUT, so it cannot be made to write under a private name; running it on the shared name would not be safe. Name OUT as an argument of its own, as `-oOUT`, or as `--output=OUT`.";
    DiskUnwritable, "disk::unwritable", Environment, "A directory cannot be written: read-only, no permission, or not a directory.";
    DiskUnreadable, "disk::unreadable", Environment, "A file or a directory is there, but this user may not read it.";
    DiskFull, "disk::full", Environment, "The disk or the quota is full.";
    DiskIo, "disk::io", Environment, "An operation on a file failed for another reason than those with a code of their own.";
    TestImport, "test::import", TestFailed, "A test module cannot be imported, so none of its testcases could even be listed. It counts as one errored testcase.";
    TestNoTestcases, "test::no-testcases", TestFailed, "A test module holds no testcase. A module that tests nothing is a mistake, and cocotb itself would end with 0.";
    TestStartup, "test::startup", TestFailed, "The simulator ended before cocotb could list or start a testcase: the toplevel does not exist in the design, a library is missing, or the HDL ended the simulation at time 0.";
    TestPreload, "test::preload", TestFailed, "A module of `preload` cannot be imported before testcases are forked: it does not exist, fails without `cocotb.top`, or starts threads, of which only one survives a fork. The testcases run all the same; where threads were started, each in a process that is spawned.";
    TestTimeout, "test::timeout", TestFailed, "A testcase ran longer than `timeout_s` of wall-clock time and was killed with everything it had started. What had finished before keeps its result; the rest of its module ran in a new process.";
    TestFailedCode, "test::failed", TestFailed, "A testcase failed by its own judgement.";
    TestCrashed, "test::crashed", TestFailed, "The simulator ended by a signal while a testcase was running.";
    TestNoResult, "test::no-result", TestFailed, "The simulator ended and a planned testcase has no result. cocorun never counts that as a pass, whatever the exit status.";
    TestExitStatus, "test::exit-status", TestFailed, "All testcases of a process were green, yet the simulator left with a status other than 0: the HDL reported errors, or the simulator failed while shutting down.";
    SessionInterrupted, "session::interrupted", Environment, "A signal ended the session. What had finished was reported; everything else counts as not run.";
    SessionTimeout, "session::timeout", TestFailed, "The whole session ran longer than `session_timeout_s`. What had finished was reported; everything else counts as not run.";
    ReportUnwritable, "report::unwritable", Environment, "A report file cannot be written.";
}

impl Code {
    /// Finds a code by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}
