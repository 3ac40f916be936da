//! Whether a holder is still alive, as far as a watcher on another node can know.

mod silence;
pub(crate) mod watcher;
