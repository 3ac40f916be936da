//! What can go wrong with a lock, as values that name the path, the operation and the holder.

use crate::holder::Holder;
use crate::holder::span;

use camino::Utf8PathBuf;
use cocorun_edge::fs::os_words;
use std::io;
use std::time::Duration;

/// Why a step could not be guarded; never a reason to run it unguarded.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file system refused an operation, or kept failing for longer than the stall limit.
    #[error("cannot {doing} `{path}`: {}", os_words(source))]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// The path it was done to.
        path: Utf8PathBuf,
        /// The operating system's error.
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
    /// A strategy cannot work in this directory.
    #[error("cannot lock by `{strategy}` in `{dir}`: {reason}")]
    Strategy {
        /// The strategy.
        strategy: &'static str,
        /// Where.
        dir: Utf8PathBuf,
        /// Why it cannot work there.
        reason: String,
    },
    /// The file system does not answer.
    #[error("cannot lock in `{dir}`: {reason}")]
    Unresponsive {
        /// Where.
        dir: Utf8PathBuf,
        /// What did not answer, and for how long.
        reason: String,
    },
    /// The directory could not be examined.
    #[error(transparent)]
    Edge(#[from] cocorun_edge::Error),
}
