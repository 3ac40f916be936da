//! What a shared object or header was made from: files, and what they held.
//!
//! Files that the compiler finds itself are not known before it has run, so they are in the record of
//! a result and not in its key, as with a build.

use crate::edge::fs;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::time::SystemTime;

/// Files, and a digest of all that they hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// Absolute paths.
    pub(super) files: Vec<Utf8PathBuf>,
    digest: String,
}

impl Contents {
    /// Digests files that a compiler has read since a time; `None` if one cannot be read, has changed
    /// since, or has a relative path.
    pub(super) fn of(files: Vec<Utf8PathBuf>, since: Option<SystemTime>) -> Option<Self> {
        let is_unchanged = |file: &Utf8PathBuf| {
            let stamp = fs::stamp(file).ok().flatten();
            file.is_absolute()
                && stamp.is_some_and(|stamp| stamp.modified < since && stamp.changed < since)
        };
        let digest = digest(&files)?;
        files
            .iter()
            .all(is_unchanged)
            .then_some(Self { files, digest })
    }

    /// Says whether any of these words is in one of the files, or cannot be searched for.
    pub(super) fn mentions_any(&self, words: &[String]) -> bool {
        let mentions = |file: &Utf8PathBuf| {
            let text = fs::read(file).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            text.is_empty() || words.iter().any(|word| text.contains(word.as_str()))
        };
        !words.is_empty() && self.files.iter().any(mentions)
    }

    /// Says whether the files hold what they held.
    pub(super) fn is_current(&self) -> bool {
        digest(&self.files).as_ref() == Some(&self.digest)
    }
}

fn digest(files: &[Utf8PathBuf]) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let bytes = fs::read(file).ok()?;
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    Some(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    use camino::Utf8Path;

    #[test]
    fn contents_are_current_until_a_file_changes_and_again_once_it_is_as_before() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = Utf8Path::from_path(dir.path()).expect("UTF-8");
        let (a, b) = (dir.join("a.h"), dir.join("b.h"));
        fs::write(&a, "int a;").expect("written");
        fs::write(&b, "int b;").expect("written");
        let later = SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(1 << 40));
        let contents = Contents::of(vec![a.clone(), b.clone()], later).expect("both are there");
        assert!(contents.is_current());
        let mentions = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            contents.mentions_any(&words)
        };
        assert!(!mentions(&[]) && !mentions(&["X"]) && mentions(&["X", "b"]));
        // The sum of both is the same.
        fs::write(&a, "int a;i").expect("written");
        fs::write(&b, "nt b;").expect("written");
        assert!(!contents.is_current());
        fs::write(&a, "int a;").expect("written");
        fs::write(&b, "int b;").expect("written");
        assert!(contents.is_current());
        fs::remove(&b);
        assert!(!contents.is_current());
    }

    #[test]
    fn a_file_that_changed_after_the_compiler_began_is_no_basis() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = Utf8Path::from_path(dir.path()).expect("UTF-8").join("a.h");
        fs::write(&file, "int a;").expect("written");
        let stamp = fs::stamp(&file).expect("read").expect("there");
        assert_eq!(Contents::of(vec![file], stamp.changed), None);
        assert_eq!(Contents::of(vec!["a.h".into()], None), None);
    }
}
