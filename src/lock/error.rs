//! What can go wrong with a lock, as values that name the path, the deed and the holder.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::edge::fs::io_problem;
use crate::edge::fs::os_words;
use crate::lock::holder::Holder;
use crate::lock::holder::span;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::io;
use std::time::Duration;

/// Why a step could not be guarded; never a reason to do it unguarded.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file system refused an operation, or went on failing for longer than the stall limit.
    #[error("cannot {doing} `{path}`: {}", os_words(source))]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: Utf8PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file system has no operation from which a lock can be made.
    #[error("cannot guard anything in `{path}`: it has neither symbolic links nor hard links")]
    Unsupported {
        /// Where.
        path: Utf8PathBuf,
    },
    /// Somebody else holds the guard and did not finish within the caller's limit.
    #[error("gave up waiting for `{name}` after {}", span(*waited))]
    Timeout {
        /// The step that was waited for.
        name: String,
        /// How long the caller waited.
        waited: Duration,
        /// Who held it last.
        holder: Box<Holder>,
    },
}

impl LockError {
    /// Makes the problem of a file system that does not answer.
    pub(in crate::lock) fn hangs(dir: &Utf8Path, what: &str) -> Diagnostic {
        Diagnostic::error(Code::LockStorage, format!("cannot lock in `{dir}`: {what}"))
    }

    /// Returns the same as problems.
    pub fn into_problems(self) -> Problems {
        self.into()
    }

    /// Returns the same as a diagnostic.
    pub fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::Storage {
                doing,
                path,
                source,
            } => {
                let problem = io_problem(source, doing, path);
                // Full disks and missing permissions have codes of their own.
                if problem.code == Code::DiskIo {
                    Diagnostic {
                        code: Code::LockStorage,
                        ..problem
                    }
                } else {
                    problem
                }
            }
            Self::Unsupported { .. } => Diagnostic::error(Code::LockStorage, self.to_string())
                .help("put `build_dir` on a file system with symbolic links"),
            Self::Timeout { holder, .. } => Diagnostic::error(Code::LockTimeout, self.to_string())
                .fact(format!("held by {holder}"))
                .fact(format!("lock: {}", holder.path)),
        }
    }
}

impl From<LockError> for Problems {
    fn from(error: LockError) -> Self {
        error.diagnostic().into()
    }
}
