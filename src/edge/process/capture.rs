//! Asking a tool a short question: start it, wait with a limit, keep what it says.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::clock::Clock;
use crate::edge::fs;
use crate::edge::fs::os_words;
use crate::edge::process::contract::CommandSpec;
use crate::edge::process::contract::Exit;
use crate::edge::process::contract::ProcessEvent;
use crate::edge::process::contract::ProcessHost;
use crate::edge::process::contract::await_event;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a tool answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// How it ended.
    pub exit: Exit,
    /// Both output streams, at most 64 KiB; bytes that are not UTF-8 are replaced.
    pub output: String,
    /// What it wrote to its channel.
    pub lines: Vec<String>,
}

/// Runs a tool to its end, at the longest for `limit`, in `/`.
///
/// # Errors
/// It cannot be started, does not end in time, or the session is stopped; it is killed then.
pub fn capture(
    host: &dyn ProcessHost,
    clock: &dyn Clock,
    program: &Utf8Path,
    args: &[&str],
    env: BTreeMap<String, String>,
    channel_env: Option<&str>,
    limit: Duration,
) -> Result<Captured> {
    let scratch = tempfile::NamedTempFile::new().map_err(|error| {
        // A folder that is missing is as good as one that nobody may write.
        let dir = std::env::temp_dir();
        let words = os_words(&error);
        let text = format!(
            "cannot make a temporary file in `{}`: {words}",
            dir.display()
        );
        Diagnostic::error(Code::DiskUnwritable, text).help("set TMPDIR to another folder")
    })?;
    let log = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).map_err(|path| {
        Diagnostic::error(
            Code::ConfigNonUtf8Path,
            format!("the temporary folder `{}` is not UTF-8", path.display()),
        )
        .help("set TMPDIR to another folder")
    })?;
    let mut process = host.spawn(&CommandSpec {
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env,
        env_remove: Vec::new(),
        cwd: Utf8PathBuf::from("/"),
        log: log.clone(),
        channel_env: channel_env.map(str::to_owned),
        inherits: Vec::new(),
    })?;
    let until = clock.now() + limit;
    let mut lines = Vec::new();
    let ended = loop {
        match await_event(process.as_mut(), clock, until) {
            Some(ProcessEvent::Line(line)) => lines.push(line),
            // A spawned process has no service to lose.
            Some(ProcessEvent::Exited(_) | ProcessEvent::Lost) => break Ok(()),
            None => {
                break Err(Diagnostic::error(
                    Code::ToolBroken,
                    format!("`{program}` did not answer within {} s", limit.as_secs()),
                ));
            }
            Some(ProcessEvent::Stop(_)) => {
                break Err(Diagnostic::error(
                    Code::SessionInterrupted,
                    format!("stopped while asking `{program}`"),
                ));
            }
        }
    };
    let exit = process.end_tree(Duration::ZERO, &mut lines);
    ended?;
    let output = fs::read_range_lossy(&log, 0, 64 << 10);
    Ok(Captured {
        exit,
        output,
        lines,
    })
}
