//! Running a tool briefly: start it, wait with a limit, keep its output.

use crate::clock::Clock;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::fs;
use crate::fs::os_words;
use crate::process::contract::CommandSpec;
use crate::process::contract::Exit;
use crate::process::contract::ProcessEvent;
use crate::process::contract::ProcessHost;
use crate::process::contract::await_event;

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

/// Runs a tool to its end, for at most `limit`, in `/`.
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
        // A missing folder is treated like one that nobody may write.
        let dir = std::env::temp_dir();
        let words = os_words(&error);
        let text = format!(
            "cannot make a temporary file in `{}`: {words}",
            dir.display()
        );
        Error::new(ErrorKind::Unwritable, text).help("set TMPDIR to another folder")
    })?;
    let log = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).map_err(|path| {
        Error::new(
            ErrorKind::NotUtf8,
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
            // A spawned process cannot lose a service.
            Some(ProcessEvent::Exited(_) | ProcessEvent::Lost) => break Ok(()),
            None => {
                break Err(Error::new(
                    ErrorKind::Broken,
                    format!("`{program}` did not answer within {} s", limit.as_secs()),
                ));
            }
            Some(ProcessEvent::Stop(_)) => {
                break Err(Error::new(
                    ErrorKind::Interrupted,
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
