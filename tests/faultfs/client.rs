//! What one client of the shared file system caches, and which operations it supports.

use std::time::Duration;

/// How one client behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// How long it caches attributes.
    pub(crate) attributes_ttl: Duration,
    /// How long it caches what a name refers to.
    pub(crate) entries_ttl: Duration,
    /// How long it caches that a name is missing.
    pub(crate) negative_ttl: Duration,
    /// Whether a file that it has open becomes `.nfsXXXX` when it is removed here.
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
