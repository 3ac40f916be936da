//! A directory of files that can be made again: whoever makes it marks it, for git and for backups.

use crate::Result;
use crate::fs;

use camino::Utf8Path;

/// What the directory gets: git ignores all of it, and backup programs leave it out
/// (<https://bford.info/cachedir/>).
const MARKS: [(&str, &str); 2] = [
    (".gitignore", "# Made by cocorun.\n*\n"),
    (
        "CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55\n# Made by cocorun.\n",
    ),
];

/// Makes a directory and marks it; one that exists is left as it is.
///
/// # Errors
/// It cannot be made.
pub fn make(dir: &Utf8Path) -> Result<()> {
    if fs::exists(dir) {
        return Ok(());
    }
    fs::create_dirs(dir)?;
    for (name, text) in MARKS {
        // Nothing depends on them, and another session may be making them too.
        fs::write_new(&dir.join(name), text.as_bytes()).ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_that_is_made_here_is_marked_and_no_mark_is_overwritten() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(root.path()).expect("UTF-8");
        make(root).expect("it exists");
        assert_eq!(fs::list(root), Ok(Vec::new()));
        let dir = root.join("a/b");
        make(&dir).expect("made");
        let text = |name: &str| fs::read_if_there(&dir.join(name)).unwrap_or_default();
        assert!(text(".gitignore").lines().any(|line| line == "*"));
        assert!(text("CACHEDIR.TAG").starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
        fs::write(&dir.join(".gitignore"), "mine").expect("written");
        make(&dir).expect("it exists");
        assert_eq!(text(".gitignore"), "mine");
    }
}
