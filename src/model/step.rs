//! A step: commands that write files for builds, each into a directory of its own.
//!
//! Where a step writes is not known before it has run. Until then, texts of a build and of its steps
//! name that directory by a marker, which no other text can contain.

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The name of the step that the `prepare` of a build makes; no `[step.NAME]` has it.
pub const PREPARE: &str = "prepare";

/// Begins and ends a marker. `runner.toml` contains no such character: neither arguments nor
/// environment variables can hold it.
const MARK: char = '\0';

/// Commands that write files for one build, as planned.
///
/// The same step may be needed by several builds, and builds may render one table differently:
/// steps that are equal run once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name, unique in a build: that of its `[step.NAME]`, or [`PREPARE`].
    pub name: String,
    /// The commands, in order, each a program and its arguments; the first that fails ends it.
    pub commands: Vec<Vec<String>>,
    /// Files that it reads, absolute: declared ones, and those that its commands name.
    pub inputs: Vec<Utf8PathBuf>,
    /// What it must write, relative to its directory: names and patterns.
    pub outputs: Vec<String>,
    /// Environment variables for its commands, added to the inherited ones.
    pub env: BTreeMap<String, String>,
    /// The names of other steps of the build, whose directories it may read.
    pub needs: Vec<String>,
    /// How long one of its commands may run; the limit of a compile if it has none.
    pub timeout: Option<Duration>,
    /// The folder of `runner.toml`; the working directory of its commands.
    pub project_dir: Utf8PathBuf,
}

/// What a step has written, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepResult {
    /// Its directory, absolute; nothing writes there any more.
    pub dir: Utf8PathBuf,
    /// Every file in it, sorted by path.
    pub files: Vec<StepFile>,
    /// Whether it was there before this session.
    pub is_reused: bool,
}

/// A file that a step has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFile {
    /// Relative to the step's directory.
    pub path: Utf8PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Digest of its content.
    pub digest: String,
}

/// Returns the marker of a step's directory.
pub fn marker(step: &str) -> String {
    format!("{MARK}{step}{MARK}")
}

/// Returns the path of a file that a step writes, by its marker.
pub fn path_in(step: &str, path: &Utf8Path) -> String {
    Utf8Path::new(&marker(step)).join(path).into_string()
}

/// Says whether a text names the directory of a step.
pub fn is_marked(text: &str) -> bool {
    text.contains(MARK)
}

/// Splits a text that begins with a marker into the step's name and what follows the marker.
pub fn split_marker(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(MARK)?.split_once(MARK)
}

/// Returns the names of the steps that a text marks, in order.
pub fn marked_steps(text: &str) -> impl Iterator<Item = &str> {
    text.split(MARK).skip(1).step_by(2)
}

/// Replaces each marker by what `dir_of` returns for the name of its step.
pub fn replace_markers(text: &str, dir_of: impl Fn(&str) -> String) -> String {
    let parts = text.split(MARK).enumerate();
    parts
        .map(|(index, part)| match index % 2 {
            0 => part.to_owned(),
            _ => dir_of(part),
        })
        .collect()
}

/// Returns a text as `runner.toml` spells it, for people.
pub fn shown(text: &str) -> String {
    replace_markers(text, |step| format!("{{OUT:{step}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_found_and_replaced_wherever_they_are() {
        let text = format!("-I{}/inc:{}", marker("regs"), marker("axi"));
        assert_eq!(marked_steps(&text).collect::<Vec<_>>(), ["regs", "axi"]);
        assert_eq!(shown(&text), "-I{OUT:regs}/inc:{OUT:axi}");
        let real = replace_markers(&text, |step| format!("/b/{step}"));
        assert_eq!(real, "-I/b/regs/inc:/b/axi");
        assert_eq!(split_marker(&text), None, "it is not at the beginning");
        let path = format!("{}/regs.sv", marker("regs"));
        assert_eq!(split_marker(&path), Some(("regs", "/regs.sv")));
        assert!(is_marked(&path) && !is_marked("/regs/regs.sv"));
        assert_eq!(replace_markers("plain", |_| String::new()), "plain");
    }
}
