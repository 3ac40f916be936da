//! What one client of the shared file system keeps in mind, and what it can do at all.

use std::time::Duration;

/// How one client behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// For how long it believes the attributes it has seen.
    pub(crate) attributes_ttl: Duration,
    /// For how long it believes that a name stands for what it stood for.
    pub(crate) entries_ttl: Duration,
    /// For how long it believes that a name it found missing is missing.
    pub(crate) negative_ttl: Duration,
    /// Whether a file that it has open becomes `.nfsXXXX` where it is removed here.
    pub(crate) has_silly_rename: bool,
    /// Whether symbolic links can be made.
    pub(crate) has_symlinks: bool,
    /// Whether hard links can be made.
    pub(crate) has_links: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            attributes_ttl: Duration::ZERO,
            entries_ttl: Duration::ZERO,
            negative_ttl: Duration::ZERO,
            has_silly_rename: false,
            has_symlinks: true,
            has_links: true,
        }
    }
}
