//! The list of diagnostic codes: one table from which names, exit codes and `cocorun explain` come.
//! What the table says of the exit code is what decides it.

use crate::model::exit_code::ExitCode;

/// What a problem does to the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitEffect {
    /// It leads to this one.
    Exit(ExitCode),
    /// Nothing: it is always a warning.
    Warning,
    /// A signal caused it, and the exit code is that of the signal.
    Signal,
}

macro_rules! effect {
    (Warning) => {
        ExitEffect::Warning
    };
    (Signal) => {
        ExitEffect::Signal
    };
    ($exit:ident) => {
        ExitEffect::Exit(ExitCode::$exit)
    };
}

macro_rules! codes {
    ($( $variant:ident, $name:literal, $effect:ident, $text:literal; )*) => {
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

            /// Returns what this problem does to the exit code.
            pub fn effect(self) -> ExitEffect {
                match self { $( Self::$variant => effect!($effect), )* }
            }

            /// Returns the paragraph that `cocorun explain` prints.
            pub fn explanation(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }
    };
}

codes! {
    ConfigNotFound, "config::not-found", Usage, "There is no `runner.toml` in the current folder or in any folder above it, or the file named with `--config` does not exist. cocorun reads all its settings from that file. Change to the project's folder, name the file with `--config FILE`, or write one: docs/runner-toml.md lists every key.";
    ConfigUnreadable, "config::unreadable", Usage, "`runner.toml` exists but cannot be read: missing permissions, a directory of that name, or bytes that are not UTF-8. Fix what the message names, or save the file as UTF-8.";
    ConfigSyntax, "config::syntax", Usage, "The file is not valid TOML. Strings need quotes and tables need brackets; the caret shows where parsing failed, and the mistake is there or just before.";
    ConfigUnknownKey, "config::unknown-key", Usage, "A table contains a key that cocorun does not know. It is rejected, because ignoring a misspelt key would silently change what is tested. Fix the spelling, or move the key to the table where it belongs: docs/runner-toml.md lists the keys of each table.";
    ConfigWrongType, "config::wrong-type", Usage, "The value of a key has the wrong type, for example a number instead of a list of strings. The message says what is expected.";
    ConfigBadValue, "config::bad-value", Usage, "The value of a key has the right type but is not allowed: an empty name, a limit of zero, a timescale whose precision is coarser than its unit. The message says what is allowed.";
    ConfigMissingKey, "config::missing-key", Usage, "A required key is missing. Add it to the table that is shown: a build needs `sources` and `hdl_toplevel`, a `[[test]]` needs `test_module`.";
    ConfigUnknownSimulator, "config::unknown-simulator", Usage, "`simulator` or `--simulator` names a simulator that cocorun does not support. The message lists those that it does, under the names that cocotb uses. Write one of them, or several as a list.";
    ConfigDuplicateName, "config::duplicate-name", Usage, "Two builds have the same name, or two `[[test]]` tables with different settings plan the same module on the same build; or two variants of a table have the same name. Rename one of the builds; give each table a `name`, so that both run, or narrow their `build` or `test_module`; give each variant a name.";
    ConfigAmbiguousModule, "config::ambiguous-module", Usage, "A `test_module` names a module, or a package above it, that several files have: in two folders of `paths`, or a file and a package next to each other. Python would import one of them and not mention the other, so the wrong testbench could pass. Say which folder is meant with `paths` in the `[[test]]`, or rename one. Other modules with an ambiguous name can be in those folders, but a testcase that imports one fails.";
    ConfigUnknownBuild, "config::unknown-build", Usage, "A `[[test]]` or the command line names a build that `runner.toml` does not define, or a pattern that matches none. The name of a build is that of its table, followed by its matrix values and its simulator, as in `fifo/DEPTH=4@SIMULATOR`; `cocorun build` prints the names.";
    ConfigUnknownTestcase, "config::unknown-testcase", Usage, "`testcase` or `skip_testcase` of a `[[test]]` names a testcase that none of its modules has, `testcase` matches nothing on one of its builds, or `skip_testcase` leaves nothing: the table would run nothing there. This is known once cocotb has listed them; everything else still runs. A name may leave out the parameters (`grants` for `grants/x=1`), and a pattern covers the whole name. `cocorun list` prints the names. Fix the name, or remove it.";
    ConfigTestcaseTwice, "config::testcase-twice", Usage, "Two `[[test]]` tables with different settings select the same testcase of a module on one build. It runs once, with the settings of the first table. Narrow `testcase` or `skip_testcase` of one of them, or give each table a `name`: both then run, and are reported under different names.";
    ConfigEmptyGlob, "config::empty-glob", Usage, "A pattern matches no file. It is an error, because a source list that silently shrinks compiles a different design. Fix the pattern, which is relative to the folder of `runner.toml`, or remove it.";
    ConfigMissingFile, "config::missing-file", Usage, "A file or directory named in `runner.toml` does not exist. Relative paths start at the folder of `runner.toml`; fix the path, or create the file first.";
    ConfigNonUtf8Path, "config::non-utf8-path", Usage, "A path contains bytes that are not UTF-8. Paths are written to TOML, JSON, XML and the environment, where such a name cannot be represented. Rename the file or the folder.";
    ConfigUnknownStep, "config::unknown-step", Usage, "`needs` names a step that `runner.toml` does not define; or, as a warning, no build needs a step that it does. The message suggests the nearest name; each step is a `[step.NAME]` with `command` and `outputs`.";
    ConfigStepCircle, "config::step-circle", Usage, "Steps need one another in a circle, so none of them could run first. The message shows the circle. Remove one of the needs, or make one step of several.";
    ConfigStepOutput, "config::step-output", Usage, "An entry of `sources` is a file in `{OUT}` that the step does not list in `outputs`, or two steps of one build make files of one name, of which an `` `include `` would find only the first. Correct the name, or add the file to `outputs`.";
    ConfigStepInputs, "config::step-inputs", Usage, "It is not known what the command of a step reads, so a step whose generator changed would not run again: the command names no file of the project (a warning), or a folder of too many files. List what it reads in `inputs` of the `[step.NAME]`, or in `prepare_inputs` of the build; an empty list says that it reads no file.";
    ConfigInclude, "config::include", Usage, "A file named in `include` cannot be part of the session, or a setting in it has no effect there. It includes itself, by itself or by way of others; two files include it; the names of its builds would begin as those of another file or build do; or it asks for an interpreter or for requirements that the session does not have, which has one Python environment. Limits such as `jobs` are those of the file that the session is started with, which is a warning. The file can still be run alone, from its own folder.";
    ConfigTemplate, "config::template", Usage, "A string in `runner.toml` contains braces that cannot be replaced by a value. `{NAME}` is a parameter of the build, and `{WIDTH // 8}` an expression of whole numbers with + - * // % **, comparisons, `min`, `max` and `clog2`. The caret shows the part that has no value: a name that the build does not have, a division by zero, parameters that depend on one another. A brace that is meant as such is doubled: `{{` and `}}`.";
    ConfigFileList, "config::file-list", Usage, "A `.f` file list cannot be read: it is missing, includes itself, or contains an option that cocorun does not know. Fix the line that is shown; an option for one simulator only belongs in `build_args`.";
    UsageBadArgument, "usage::bad-argument", Usage, "A command-line value is not valid. The message says which one and why; `cocorun COMMAND --help` lists what each command accepts.";
    NothingSelected, "select::nothing", NothingSelected, "The filters select no testcase or no build, or one of several FILTERs or `--testcase` names selects none. A session that runs nothing, or less than was asked for, is not a success. `cocorun list` prints the names that filters are compared with; a filter is part of such a name, or a pattern that matches all of it.";
    SelectVariable, "select::variable", Warning, "An environment variable is set that plain cocotb (its Makefiles or its runner) uses to select testcases, to set the seed or to stop early. cocorun removes it from the simulator's environment; otherwise what runs would differ from what is reported. The message names the option that does the same; use the option, or unset the variable.";
    SelectVariant, "select::variant", Warning, "`--seed`, `--plusarg` or `--env` would change a value that a variant of a `[[test]]` stands for, so that its name would not be true. The value of the variant stays; the option applies to all other runs. Select other runs with `--module`, or change `variants` or `matrix`.";
    PythonNotFound, "python::not-found", Environment, "The Python interpreter does not exist or does not start. It is taken from `[python] interpreter`, else `$VIRTUAL_ENV`, else `python3` on PATH. Name one that works, or create the environment first.";
    PythonNoCocotb, "python::no-cocotb", Environment, "The interpreter starts but cannot import cocotb. Let cocorun create an environment with `[python] requirements`, or name the interpreter of an environment that has cocotb. The system's own Python often refuses `pip install`.";
    PythonUnsupportedCocotb, "python::unsupported-cocotb", Environment, "This cocotb is older than 1.9, or a part of it that cocorun needs is missing; the message says which. Install 1.9 or newer in that environment, or name it in `[python] requirements`.";
    PythonNoLibpython, "python::no-libpython", Environment, "The simulator embeds Python through its shared library, and none was found for this interpreter. Debian packages it as `libpython3.11` (the number is Python's); conda and uv include it; a statically linked Python cannot be embedded.";
    PythonProvision, "python::provision", Environment, "The environment of `[python] requirements` could not be created. The last lines of the installer are shown, and its log has all of them. Usually a name or version does not exist, or there is no network. If only the means to create environments is missing (the modules `venv` and `ensurepip`, which Debian packages as `python3-venv`; `uv`, `virtualenv` and pip 22.3 do as well), the message says so before anything is made. The next session tries again.";
    ToolNotFound, "tool::not-found", Environment, "A simulator, or a program, library or Python module that the session needs, is not installed. One message lists all that is missing and every place that was searched, before anything is made; it has a command for each platform that installs all of it. A simulator that is a package on PyPI can be added to `[python] requirements`.";
    ToolBroken, "tool::broken", Environment, "A tool was found, but this user may not run it, or it does not report its version. Run it by hand to see what it prints; then fix its installation, or put another one first on PATH.";
    BuildCompile, "build::compile", BuildFailed, "The compiler rejected the design. The first errors are shown; the log, whose path is in the message, in the JUnit report and in the `log` of `build-finished` in JSON, has all of them. Fix the HDL, or what `runner.toml` passes to the compiler. Some compilers treat warnings as errors; the message then says which argument lets them pass. Testcases of other builds still run; the modules of this one are reported as not able to run.";
    BuildUnknownParameter, "build::unknown-parameter", BuildFailed, "`parameters` or `matrix` of a build names a parameter that its toplevel does not have. It is an error on every simulator, because otherwise one design would be tested under many names. Fix the name. Only a value that just stands in braces, such as one for a step that generates the toplevel, goes in `variables`, which are passed to no simulator; a key of `matrix` that is also there varies the variable. If the parameter is passed on purpose, write `unknown_parameters = \"warn\"` in that `[build.NAME]`: the build is then made without it.";
    BuildUnsupported, "build::unsupported", BuildFailed, "The compiler of a build cannot handle a path that contains a blank, and no link without blanks could be made to it. Testcases of other builds still run. Set `TMPDIR` to a folder of yours whose path has no blank, or choose another simulator for this build.";
    BuildNoArtifact, "build::no-artifact", BuildFailed, "The compiler reported success, but the file it should have written does not exist. Check the log and `build_args` for an argument that makes it write elsewhere or only check the sources; then run `cocorun build --force`.";
    BuildNotBuilt, "build::not-built", BuildFailed, "`--assume-built` was given, and the build directory has no result for the current sources, parameters and tools of this build. With that option cocorun neither compiles nor waits for another process that does. Run `cocorun build` first, or omit the option.";
    BuildTimeout, "build::timeout", BuildFailed, "The compiler exceeded `build_timeout_s` and was killed together with its child processes. Raise the limit, or check the log for what took so long.";
    StepFailed, "step::failed", BuildFailed, "A command of a `[step.NAME]` or of `prepare` failed, so the builds that need what it writes were not compiled. The end of what it printed is shown, and the log has all of it. Fix the generator or its input; commands run in the folder of `runner.toml`, without a shell, with the interpreter of `[python]` as `python3`.";
    StepTimeout, "step::timeout", BuildFailed, "A command of a `[step.NAME]` or of `prepare` exceeded its limit and was killed together with its child processes. Raise `timeout_s` of the step, or `build_timeout_s` if it has none; check the log for what took so long.";
    StepOutput, "step::output", BuildFailed, "The commands of a step exited with status 0, but a file that a build needs is not in `{OUT}`, or something there is not a regular file. The message lists what was written. Correct `outputs` or `sources`, or pass `{OUT}` to the command as the folder to write to.";
    BuildSourcesChanged, "build::sources-changed", BuildFailed, "A source file changed while it was being compiled, several times in a row. The result would not match its key, so it was not published. Wait until the checkout or the generator has finished, then run again.";
    LockTimeout, "lock::timeout", Environment, "Another process holds the lock and did not release it in time. cocorun never builds while another process does; raise the limit, or look at the holder that the message names.";
    LockStorage, "lock::storage", Environment, "The file system rejected an operation that locking needs. The message names the operation and the file; if the error persists, put `build_dir` on another disk.";
    LockStrategy, "lock::strategy", Guard, "A locking method cannot work in this directory: its operations fail there, exclude nobody, or the mount keeps such locks local to one node. cocorun refuses to use it rather than pretend to lock. Omit `--strategy` to let the file system decide.";
    LockLost, "lock::lost", Guard, "The lock was taken over while the command was running: somebody removed it with `cocorun locks break`, or this process showed no sign of life for the whole stale time-out because the node was frozen or the network was down. If it was still running, the command was killed, and nothing that it wrote for `--target` was published; anything else it did may have overlapped with the next holder. Run it again; if nodes freeze for long, raise `--stale-timeout`.";
    LockNoOutput, "lock::no-output", Guard, "The command exited with status 0, but wrote no regular file under the temporary name that `cocorun lock --target` passed to it. Nothing was published. Make the command write the file that its argument names.";
    LockTarget, "lock::target", Guard, "The command of `cocorun lock --target=OUT` does not name OUT, so it cannot be made to write to a temporary name; writing to the shared name would not be safe. Name OUT as an argument of its own, as `-oOUT`, or as `--output=OUT`. The same code is used if OUT exists and is not a regular file: a device, a FIFO or a folder is never replaced.";
    DiskUnwritable, "disk::unwritable", Environment, "A directory cannot be written: the file system is read-only, permission is missing, or it is not a directory. Fix its permissions, or choose another place: `build_dir` in `runner.toml`, `TMPDIR` for temporary files.";
    DiskUnreadable, "disk::unreadable", Environment, "A file or a directory exists, but this user may not read it. Fix its permissions, or those of the folders above it.";
    DiskFull, "disk::full", Environment, "The disk or the quota is full. Free some space and run again: everything in `build_dir` may be deleted while nothing runs.";
    DiskIo, "disk::io", Environment, "A file operation failed for a reason that has no code of its own. The message contains the operating system's words. Run again; check the disk or its server if the error persists.";
    TestImport, "test::import", TestFailed, "A test module cannot be imported, so its testcases are not known. It is reported as a module that could not run; in JUnit and JSON, which count results, as one errored testcase called `(module)`. The traceback shows the line that fails: usually a package is not installed, or a module is in none of the folders of `paths`. Add its folder to `paths` in the `[[test]]` or in `[python]`, or the package to `requirements`.";
    TestNoTestcases, "test::no-testcases", TestFailed, "A test module contains no testcase. A module that tests nothing is a mistake, although plain cocotb would exit with status 0. Put `@cocotb.test()` above its coroutines, or remove the module from `test_module`.";
    TestStartup, "test::startup", TestFailed, "The simulator ended before cocotb could list or start a testcase: the design has no such toplevel, a library is missing, or the HDL ended the simulation at time 0. The end of the log is shown and says which.";
    TestPreload, "test::preload", Warning, "A module of `preload` cannot be used before testcases are forked: it does not exist, needs `cocotb.top` while it is imported, or starts threads, which do not survive a fork. No testcase is lost: modules that cannot be preloaded are imported by the testcases, and if threads were started, each testcase runs in a process of its own that is not forked. Remove the module from `preload`.";
    TestCheckpoint, "test::checkpoint", Warning, "Testcases cannot be forked from the end of a function of `checkpoint`, so that each of them runs it itself: the function leaves something behind that copies of one process would share, such as an open file, a thread or another process, or no process could be started for it. No verdict depends on it. Close what the function opens before it returns, or remove it from `checkpoint`.";
    TestNeverRuns, "test::never-runs", Warning, "A test module defines a testcase that cocotb cannot find, so that it never runs, and everything else may pass: its name is given to something else further down, such as a second testcase, or it is in a class. A warning, because plain cocotb says nothing. Give it a name of its own, or move it out of the class.";
    TestReturnedValue, "test::returned-value", Warning, "A testcase that passed has returned a value, which cocotb ignores. Usually `return` stands where `assert` was meant, or a coroutine is returned that nobody awaits. A warning; the testcase counts as passed. With cocotb 2.0, values of parametrised testcases and of those with a timeout cannot be seen. Use `assert` or `await`, or return nothing.";
    TestAgent, "test::agent", Warning, "cocotb itself, or cocorun's code inside the simulator, failed outside any testcase, or a line on their channel could not be read: a testcase wrote to the channel, a signal cut a line short, or cocorun does not know this version of cocotb. Verdicts stand, but something that should be shown may be missing. Report it with the message, unless a testcase writes to file descriptors that it did not open.";
    TestSharedFolder, "test::shared-folder", Warning, "Files appeared or changed in a folder that `cwd` of a `[[test]]` makes the working directory of its runs. Runs that write there at the same time disturb each other; which run it was, or whether another program did it, is not known. Results, logs and waves are not there. Write to a temporary folder, or remove `cwd`: each run then has a directory of its own.";
    TestTimeout, "test::timeout", TestFailed, "A testcase exceeded `timeout_s` of wall-clock time and was killed together with its child processes. Testcases that had finished keep their results; the rest of the module ran in a new process. The stack that is shown says where it hung; if it was only slow, raise `timeout_s` or pass `--timeout`.";
    TestFailedCode, "test::failed", TestFailed, "A testcase failed: an `assert` or another exception, or an `$error` or `$fatal` of the HDL while it ran. The message and the place in its file are shown. The command printed with it repeats the testcase alone and with the same seed; `--waves` dumps the signals.";
    TestCrashed, "test::crashed", TestFailed, "The simulator was killed by a signal while a testcase was running: a bug in the simulator or in a C library that Python or the HDL calls, or a kill from outside, usually because memory ran out. Run the testcase alone with the command that is printed; if that does not crash, set `fork = false` in its `[[test]]`.";
    TestNoResult, "test::no-result", TestFailed, "The simulator ended, but a planned testcase has no result. cocorun never counts that as a pass, whatever the exit status. Usually the HDL called `$finish` or the testcase called `sys.exit`; the end of the log is shown. Make sure the testcase finishes before the simulation ends.";
    TestExitStatus, "test::exit-status", TestFailed, "All testcases of a process passed, but the simulator exited with a status other than 0: the HDL reported errors, or the simulator failed while shutting down. Check the end of its log; `atexit` handlers and `final` blocks run there.";
    SessionInterrupted, "session::interrupted", Signal, "A signal ended the session. Everything that had finished was reported; everything else counts as not run. Run again: finished builds are kept.";
    SessionTimeout, "session::timeout", TestFailed, "The session exceeded `session_timeout_s`. Everything that had finished was reported; everything else counts as not run. Raise the limit, allow more `--jobs`, or select less.";
    ReportUnwritable, "report::unwritable", Environment, "A report file or standard output cannot be written: the path is a directory or below a file, permission is missing, or the disk is full. Pass another path to `--junit`, or fix what the message names; a session does not start before its report can be written.";
    ReportUnreadable, "report::unreadable", Usage, "A recorded event stream cannot be read: it is not the output of `cocorun test --format json`, a line of it is damaged or cut off, or another version of cocorun wrote it. The message names the line. Record the session again, or use the version that wrote it.";
}

impl Code {
    /// Says whether this means that the session ended, and not that something is wrong.
    pub fn is_stop(self) -> bool {
        matches!(self, Self::SessionInterrupted | Self::SessionTimeout)
    }

    /// Returns the exit code that this problem leads to as an error. Where it depends on a signal, and
    /// none is known, the environment failed.
    pub fn exit_code(self) -> ExitCode {
        match self.effect() {
            ExitEffect::Exit(code) => code,
            ExitEffect::Warning | ExitEffect::Signal => ExitCode::Environment,
        }
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
    fn every_explanation_says_what_happened_and_then_what_to_do() {
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
