//! The node's private cache: results of probing tools, and Python's byte code, off the shared disk.
//!
//! Invariant: losing it costs only time. An unreadable or outdated entry is a miss.

use crate::edge::env::Environment;
use crate::edge::fs;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::UNIX_EPOCH;

/// A directory on this node that only this user can write.
#[derive(Clone, Debug)]
pub struct NodeCache {
    dir: Option<Utf8PathBuf>,
}

/// The state of a file when a value that depends on it was cached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    path: Utf8PathBuf,
    size: u64,
    modified_ns: u128,
}

#[derive(Serialize, Deserialize)]
struct Entry<T> {
    watched: Vec<Watched>,
    value: T,
}

impl NodeCache {
    /// Opens `$TMPDIR/cocorun-UID` (`/tmp` where `TMPDIR` is not set), making it with mode 0700.
    ///
    /// If that directory belongs to another user or is open to others, there is no cache.
    pub fn open(environment: &Environment) -> Self {
        let parent = Utf8PathBuf::from(environment.get("TMPDIR").unwrap_or("/tmp"));
        let dir = parent.join(format!("cocorun-{}", nix::unistd::getuid()));
        Self {
            dir: fs::private_dir(&dir).then_some(dir),
        }
    }

    /// Creates a cache that never stores anything.
    pub fn none() -> Self {
        Self { dir: None }
    }

    /// Returns the directory for Python's byte code, if there is a cache.
    pub fn byte_code_dir(&self) -> Option<Utf8PathBuf> {
        self.dir.as_ref().map(|dir| dir.join("pycache"))
    }

    /// Returns the directory for links without blanks, if there is a cache.
    pub fn links_dir(&self) -> Option<Utf8PathBuf> {
        self.dir.as_ref().map(|dir| dir.join("links"))
    }

    /// Stores a set of files in a folder named after their content, and returns the folder that
    /// contains `package`; `None` if there is no cache.
    pub fn keep_files(
        &self,
        kind: &str,
        package: &str,
        files: &[(&str, &str)],
    ) -> Option<Utf8PathBuf> {
        let parts: Vec<&str> = files
            .iter()
            .flat_map(|(name, text)| [*name, *text])
            .collect();
        let name = entry_name(kind, &parts);
        let dir = self.dir.as_ref()?.join(name.trim_end_matches(".json"));
        let is_whole = || {
            files.iter().all(|(name, text)| {
                let stamp = fs::stamp(&dir.join(package).join(name)).ok().flatten();
                stamp.is_some_and(|stamp| stamp.size == text.len() as u64)
            })
        };
        if is_whole() {
            return Some(dir);
        }
        fs::create_dirs(&dir.join(package)).ok()?;
        for (name, text) in files {
            // Others may be reading, so the file is published atomically.
            fs::replace(&dir.join(package).join(name), text.as_bytes()).ok()?;
        }
        is_whole().then_some(dir)
    }

    /// Returns a cached value if every file it depends on is unchanged.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let text = fs::read_if_there(&self.dir.as_ref()?.join(name))?;
        let entry: Entry<T> = serde_json::from_str(&text).ok()?;
        entry
            .watched
            .iter()
            .all(|watched| watch(&watched.path).as_ref() == Some(watched))
            .then_some(entry.value)
    }

    /// Caches a value together with the files it depends on.
    ///
    /// If a file is missing now, or the cache cannot be written, nothing is cached.
    pub fn put<T: Serialize>(&self, name: &str, learned_from: &[&Utf8Path], value: &T) {
        let Some(dir) = &self.dir else { return };
        let watched: Option<Vec<Watched>> = learned_from.iter().map(|path| watch(path)).collect();
        let Some(watched) = watched else { return };
        let Ok(text) = serde_json::to_string(&Entry { watched, value }) else {
            return;
        };
        fs::replace(&dir.join(name), text.as_bytes()).ok();
    }
}

/// Returns a file's state as the cache records it.
fn watch(path: &Utf8Path) -> Option<Watched> {
    let stamp = fs::stamp(path).ok()??;
    let modified_ns = stamp.modified?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    let size = if stamp.is_dir { 0 } else { stamp.size };
    Some(Watched {
        path: path.to_owned(),
        size,
        modified_ns,
    })
}

/// Returns a short digest that names a cache entry.
pub(super) fn entry_name(kind: &str, parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    format!("{kind}-{}.json", &hasher.finalize().to_hex()[..24])
}
