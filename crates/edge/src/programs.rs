//! Programs: where one is on PATH, and whether it is still the same one.

use crate::fs::real_path;
use crate::fs::stamp;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::time::UNIX_EPOCH;

/// Returns the program of this name that is first in a list of folders such as that of `PATH`.
pub fn on_path(name: &str, path: &str) -> Option<Utf8PathBuf> {
    let found = which::which_in(name, Some(path), "/").ok()?;
    Utf8PathBuf::from_path_buf(found).ok()
}

/// Returns a text that changes when a program is replaced: its real path, size and modification time,
/// a line each.
pub fn identity(program: &Utf8Path) -> String {
    let real = real_path(program).unwrap_or_else(|_| program.to_owned());
    let stamp = stamp(&real).ok().flatten();
    let modified = stamp
        .and_then(|stamp| stamp.modified)
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_nanos());
    let size = stamp.map_or(0, |stamp| stamp.size);
    format!("{real}\n{size}\n{modified}")
}
