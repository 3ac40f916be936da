//! Where runs are on disk.
//!
//! `BUILD_DIR/runs/SESSION/BUILD/MODULE.TESTCASE-RUN/`; the run's number makes it unique in the
//! session, the session's name makes it unique in the shared build directory.

use crate::diagnostic::Result;
use crate::edge::fs;
use crate::event::RunId;
use crate::model::build::BuildName;

use camino::Utf8Path;
use camino::Utf8PathBuf;

/// Longest name of a testcase in a path; file systems allow 255 bytes for the whole component.
const NAME_CHARACTERS_MAX: usize = 60;

/// The files of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunFolder {
    pub(super) dir: Utf8PathBuf,
    pub(super) log: Utf8PathBuf,
    pub(super) request: Utf8PathBuf,
    pub(super) results: Utf8PathBuf,
    pub(super) event_file: Utf8PathBuf,
}

impl RunFolder {
    /// Creates the directory of a run and links `run_files` into it.
    ///
    /// # Errors
    /// It cannot be created.
    pub(super) fn make(
        session_dir: &Utf8Path,
        build: &BuildName,
        label: &str,
        run: RunId,
        run_files: &[Utf8PathBuf],
    ) -> Result<Self> {
        let name: String = label
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "_-=.".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .take(NAME_CHARACTERS_MAX)
            .collect();
        let dir = session_dir
            .join(build.for_path())
            .join(format!("{name}-{run}"));
        fs::create_dirs(&dir)?;
        for file in run_files {
            fs::link(file, &dir.join(file.file_name().unwrap_or("file")))?;
        }
        Ok(Self {
            log: dir.join("sim.log"),
            request: dir.join("request.json"),
            results: dir.join("results.xml"),
            event_file: dir.join("events.ndjson"),
            dir,
        })
    }
}
